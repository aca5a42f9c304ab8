"""What a round copies."""

import json

import pytest
from pydantic import ValidationError

from milvus_vault.copying.working_files import CopyTarget, read_batch, read_items, write_target
from milvus_vault.errors import ObjectNotFoundError, WorkingFileError
from milvus_vault.model.objects import CopyItem
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.copying.job import BACKUPS, SOURCE, Job, folder_of


def test_plans_all_objects_of_all_targets_in_shared_batches(job: Job) -> None:
    job.write_sources(t0=5, t1=1, t2=4)

    plan = job.plan()

    assert (plan.object_count, plan.size_bytes, plan.batch_count) == (10, 10, 3)
    assert (plan.present_object_count, plan.present_size_bytes) == (0, 0)
    batches = json.loads(job.store.get(plan.bucket, plan.batches_key))
    assert batches == [{"batch": f"copy/first/r1/batch-{number}.jsonl"} for number in range(3)]
    planned = [item.key for entry in batches for item in read_batch(job.run, entry["batch"])]
    assert sorted(planned) == sorted(job.expected_bodies())


def test_plans_nothing_where_all_is_there(job: Job) -> None:
    job.write_sources(t0=5)
    job.plan()
    job.copy()

    plan = job.plan(round_number=2)

    assert (plan.batch_count, plan.object_count, plan.present_object_count) == (0, 0, 5)
    with pytest.raises(ObjectNotFoundError):
        job.store.get(plan.bucket, plan.batches_key)


def test_plans_an_object_again_that_is_there_with_another_content(job: Job) -> None:
    job.write_sources(t0=3)
    job.plan()
    job.copy()
    job.store.put(BACKUPS, job.key(0, 1), b"!")

    plan = job.plan(round_number=2)

    assert (plan.object_count, plan.present_object_count) == (1, 2)


def test_knows_copies_by_recorded_etags_where_each_write_has_another(job: Job) -> None:
    job.store = InMemoryObjectStore(SOURCE, BACKUPS, has_random_etags=True)
    job.write_sources(t0=5)
    job.plan()
    job.copy()
    job.start_again("second")

    assert job.plan().object_count == 0


def test_does_not_take_a_recorded_copy_of_an_earlier_source_for_one_of_the_present(job: Job) -> None:
    job.store = InMemoryObjectStore(SOURCE, BACKUPS, has_random_etags=True)
    job.write_sources(t0=2)
    job.plan()
    job.copy()
    job.store.put(SOURCE, job.source_key(0, 1), b"!")
    job.list_items(0)

    assert job.plan(round_number=2).object_count == 1


def test_reports_an_item_that_lies_outside_its_targets_folders(job: Job) -> None:
    job.write_sources(t0=1)
    job.write_items(0, [CopyItem("files/x", f"{folder_of(1)}x", 1, "etag")])

    with pytest.raises(WorkingFileError, match="lies outside its folders"):
        job.plan()


def test_reports_a_target_without_items(job: Job) -> None:
    job.write_sources(t0=1)
    job.run.delete(["copy/first/items/0.jsonl"])

    with pytest.raises(ObjectNotFoundError, match=r"copy/first/items/0\.jsonl"):
        job.plan()


@pytest.mark.parametrize("line", ["{", '["a","b",1]', '["a","b","1","c"]', "{}"])
def test_names_the_damaged_line_of_a_list(job: Job, line: str) -> None:
    job.run.write_bytes("copy/first/items/0.jsonl", f'["a","b",1,"c"]\n{line}\n'.encode())

    with pytest.raises(WorkingFileError, match=r"copy/first/items/0.jsonl is damaged in line 2"):
        list(read_items(job.run, job.attempt, 0))


def test_keeps_items_of_any_name(job: Job) -> None:
    items = [CopyItem("a\u2028b\n\"'", "ü/日本\\", 5, ""), CopyItem("", "", 0, "e-2")]

    job.write_items(7, iter(items))

    assert list(read_items(job.run, job.attempt, 7)) == items


@pytest.mark.parametrize("folder", ["", "/", "backup/collection"])
def test_refuses_a_target_that_names_no_folder(folder: str) -> None:
    with pytest.raises(ValidationError, match="end with a slash"):
        CopyTarget(index=0, name="default.a", folders=(folder,))


def test_a_target_that_deletes_nothing_may_be_found_by_any_prefix() -> None:
    target = CopyTarget(index=0, name="default.a", folders=("pool/group/067e8",), is_shared=True)
    assert target.contains("pool/group/067e812/object")


def test_refuses_a_folder_inside_another_targets_folder(job: Job) -> None:
    job.write_sources(t0=1)
    write_target(job.run, job.attempt, CopyTarget(index=1, name="default.b", folders=("nightly/binlogs/x-/",)), [])
    write_target(job.run, job.attempt, CopyTarget(index=2, name="default.c", folders=("nightly/binlogs/x/",)), [])
    assert job.plan().object_count == 1
    write_target(job.run, job.attempt, CopyTarget(index=3, name="default.d", folders=(f"{folder_of(0)}1/",)), [])

    with pytest.raises(WorkingFileError, match=f"lies in folder {folder_of(0)}"):
        job.plan()
    with pytest.raises(WorkingFileError, match=f"lies in folder {folder_of(0)}"):
        job.verify()
