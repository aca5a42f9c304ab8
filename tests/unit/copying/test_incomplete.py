"""Which targets can be gone on with while others are still copied."""

from dataclasses import replace

import pytest

from milvus_vault.copying.engine import copy_batch
from milvus_vault.copying.verify import incomplete_targets, verify_copy
from milvus_vault.copying.working_files import write_job
from milvus_vault.errors import CopyUnfinishedError
from milvus_vault.model.objects import CopyJob
from tests.support.verified import read_verified
from tests.unit.copying.job import AN_HOUR, BACKUPS, SOURCE, Job, folder_of


def copy_one(job: Job, number: int) -> None:
    """Copy a batch of the first round."""
    name = f"copy/{job.attempt}/r1/batch-{number}.jsonl"
    copy_batch(job.run, name, threads=1, deadline_seconds_left=lambda: AN_HOUR)


def incomplete(job: Job) -> set[int]:
    """Return the targets that cannot be gone on with."""
    return set(incomplete_targets(job.run, job.attempt, checked=set()))


def test_a_target_is_complete_as_soon_as_no_batch_has_to_copy_to_it_any_more(job: Job) -> None:
    # Four objects a batch, the smallest target first: 2 has batch 0, 1 has 0 and 1, 0 has 1 and 2.
    job.write_sources(t0=5, t1=4, t2=2, t3=0)
    assert incomplete(job) == {0, 1, 2, 3}
    assert job.plan().batch_count == 3
    assert incomplete(job) == {0, 1, 2}
    for number, left in enumerate(({0, 1}, {0}, set[int]())):
        copy_one(job, number)
        assert incomplete(job) == left


def test_the_smallest_target_is_copied_first(job: Job) -> None:
    job.write_sources(t0=4, t1=1, t2=3)
    job.plan()
    copy_one(job, 0)
    assert incomplete(job) == {0}


def test_of_a_batch_that_is_half_done_nothing_is_complete(job: Job) -> None:
    job.write_sources(t0=3)
    job.plan()
    with pytest.raises(CopyUnfinishedError):
        job.copy(seconds_left=0)
    assert incomplete(job) == {0}


def test_what_a_batch_could_not_copy_and_what_lies_there_too_much_are_left_to_the_rounds_end(job: Job) -> None:
    job.write_sources(t0=3, t1=3, t2=3)
    job.plan()
    job.store.delete(SOURCE, [job.source_key(0, 1)])
    job.store.put(BACKUPS, f"{folder_of(1)}surplus", b"?")
    job.copy()
    assert incomplete(job) == {0, 1}
    assert f"{folder_of(1)}surplus" in job.copied_bodies()
    assert job.verify().again == (0,)
    assert incomplete(job) == {0}


@pytest.mark.parametrize("recorded", [True, False])
def test_an_object_of_an_earlier_attempt_with_an_etag_of_its_own_is_known_by_its_record_alone(
    job: Job, *, recorded: bool
) -> None:
    # As after an upload in parts: the copy gets another ETag than its source.
    job.write_sources(t0=3)
    for number in range(3):
        there, key = job.store.buckets[SOURCE], job.source_key(0, number)
        there[key] = replace(there[key], etag=f"{number}-2")
    job.list_items(0)
    job.plan()
    job.copy()
    if not recorded:
        job.run.delete(job.run.names("copy/first/r1/copied-"))
    job.start_again("second")
    job.plan()
    assert incomplete(job) == (set() if recorded else {0})


@pytest.mark.parametrize("lists", [True, False])
def test_the_objects_of_a_complete_target_are_written_down_where_somebody_asks_for_them(
    job: Job, *, lists: bool
) -> None:
    job.write_sources(t0=3)
    write_job(job.run, job.attempt, CopyJob(source_bucket=SOURCE, destination_bucket=BACKUPS, lists_objects=lists))
    job.plan()
    job.copy()
    assert incomplete(job) == set()
    assert len(read_verified(job.run, job.attempt, 0)) == (3 if lists else 0)


def test_what_is_in_use_is_not_looked_at_again_and_nothing_in_its_folders_is_deleted(job: Job) -> None:
    job.write_sources(t0=3, t1=3)
    job.plan()
    job.copy()
    job.store.put(BACKUPS, f"{folder_of(0)}surplus", b"?")
    found = verify_copy(job.run, job.attempt, 1, known={0})
    assert (found.complete, found.deleted_count) == ((1,), 0)
    assert f"{folder_of(0)}surplus" in job.copied_bodies()
