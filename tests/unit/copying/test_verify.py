"""What verification finds, and what it does about it."""

import pytest

from milvus_vault.copying.progress import TargetProgress, copy_state
from milvus_vault.copying.verify import read_copy_check
from milvus_vault.copying.working_files import BatchError, CopyProgress, error_name, write_verified
from milvus_vault.errors import ObjectNotFoundError, StorageAccessDeniedError, StorageRequestError, VaultError
from milvus_vault.model.objects import CopiedObject, CopyItem
from tests.support.memory_store import InMemoryObjectStore
from tests.support.short_pages import SortedStore, shorten
from tests.support.verified import read_verified
from tests.unit.copying.job import BACKUPS, SOURCE, Job, folder_of


def test_finds_complete_what_was_copied_and_lists_it(job: Job) -> None:
    job.write_sources(t0=3, t1=2)
    job.plan()
    job.copy()

    found = job.verify()

    assert found.complete == (0, 1)
    assert found.again == ()
    assert (found.object_count, found.size_bytes, found.deleted_count) == (5, 5, 0)
    verified = read_verified(job.run, job.attempt, 0)
    assert set(verified) == {job.key(0, number) for number in range(3)}
    etag, checksum = verified[job.key(0, 1)]
    assert etag == job.store.buckets[BACKUPS][job.key(0, 1)].etag
    assert checksum.startswith("MD5:")
    assert read_copy_check(job.run, "first", 1) == found


def test_targets_with_many_objects_are_listed_in_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)
    job = Job(SortedStore(SOURCE, BACKUPS))
    job.write_sources(t0=9)
    job.plan()
    job.copy()
    assert isinstance(job.store, SortedStore)
    job.store.cuts.clear()

    assert job.plan().object_count == 0
    by_plan = job.store.cuts.copy()
    assert job.verify().complete == (0,)

    # The first page, and spans of four.
    assert by_plan == [job.key(0, 1), job.key(0, 5)]
    assert job.store.cuts == by_plan * 2


def test_finds_complete_a_target_without_objects(job: Job) -> None:
    job.write_sources(t0=0)
    job.plan()

    assert job.verify().complete == (0,)
    assert read_verified(job.run, job.attempt, 0) == {}


def test_tells_a_source_that_vanished_from_a_copy_that_did_not_happen(job: Job) -> None:
    job.write_sources(t0=3, t1=3, t2=3)
    job.plan()
    job.store.delete(SOURCE, [job.source_key(0, 1)])
    job.copy()
    job.store.delete(BACKUPS, [job.key(1, 2)])

    found = job.verify()

    assert found.complete == (2,)
    assert found.again == (0, 1)
    (missing,) = found.missing_source
    assert (missing.index, missing.name, missing.missing_source_count) == (0, "default.c0", 1)
    assert missing.example_key == job.key(0, 1)
    (incomplete,) = found.incomplete
    assert (incomplete.index, incomplete.incomplete_count, incomplete.example_key) == (1, 1, job.key(1, 2))


def test_finds_a_changed_source(job: Job) -> None:
    job.write_sources(t0=3)
    job.plan()
    job.store.put(SOURCE, job.source_key(0, 1), b"!")
    job.copy()

    assert [problem.index for problem in job.verify().missing_source] == [0]


@pytest.mark.parametrize("body", [b"!", b"other size"])
def test_finds_an_object_with_another_content(job: Job, body: bytes) -> None:
    job.write_sources(t0=3)
    job.plan()
    job.copy()
    job.store.put(BACKUPS, job.key(0, 1), body)

    assert [problem.index for problem in job.verify().incomplete] == [0]


def test_goes_another_round_with_only_what_is_missing(job: Job) -> None:
    job.write_sources(t0=3, t1=3)
    job.plan()
    job.store.delete(SOURCE, [job.source_key(0, 1)])
    job.copy()
    assert job.verify().again == (0,)
    job.list_items(0)

    plan = job.plan(round_number=2)
    job.copy(round_number=2)

    assert plan.object_count == 0
    assert job.verify(round_number=2).complete == (0, 1)


def test_deletes_objects_that_do_not_belong_to_a_target(job: Job) -> None:
    job.write_sources(t0=3, t1=3)
    job.plan()
    job.copy()
    job.store.put(BACKUPS, f"{folder_of(0)}replaced-segment", b"rows that would be doubled")
    job.store.put(BACKUPS, "nightly/meta/backup_meta.json", b"not in a folder of a target")

    found = job.verify()

    assert found.deleted_count == 1
    assert found.complete == (0, 1)
    bodies = job.copied_bodies()
    assert bodies.pop("nightly/meta/backup_meta.json")
    assert bodies == job.expected_bodies()


def test_deletes_the_objects_of_a_segment_that_a_new_listing_leaves_out(job: Job) -> None:
    job.write_sources(t0=3)
    job.plan()
    job.copy()
    job.store.delete(SOURCE, [job.source_key(0, 2)])
    job.list_items(0)
    job.plan(round_number=2)

    found = job.verify(round_number=2)

    assert (found.object_count, found.deleted_count) == (2, 1)
    assert set(job.copied_bodies()) == {job.key(0, 0), job.key(0, 1)}


def test_accepts_recorded_etags_where_each_write_has_another(job: Job) -> None:
    job.store = InMemoryObjectStore(SOURCE, BACKUPS, has_random_etags=True)
    job.write_sources(t0=5)
    job.plan()
    job.copy()

    assert job.verify().complete == (0,)

    body = job.store.get(BACKUPS, job.key(0, 1))
    job.store.put(BACKUPS, job.key(0, 1), body)  # the same bytes, but nobody can know

    assert job.verify().again == (0,)


def test_accepts_an_object_of_unknown_etag_only_by_its_record(job: Job) -> None:
    job.write_sources(t0=1)
    job.write_items(0, [CopyItem(job.source_key(0, 0), job.key(0, 0), 1, "")])
    job.store.put(BACKUPS, job.key(0, 0), b"?")
    assert job.plan().object_count == 1

    job.copy()

    assert job.verify().complete == (0,)
    assert job.copied_bodies() == job.expected_bodies()


def test_takes_back_the_list_of_a_target_that_is_no_longer_complete(job: Job) -> None:
    job.write_sources(t0=1)
    write_verified(job.run, job.attempt, 0, [CopiedObject("stale", "etag")])
    job.plan()

    assert job.verify().again == (0,)
    with pytest.raises(ObjectNotFoundError):
        read_verified(job.run, job.attempt, 0)


@pytest.mark.parametrize("error", [StorageAccessDeniedError, StorageRequestError])
def test_raises_what_made_a_batch_give_up(job: Job, error: type[VaultError]) -> None:
    job.write_sources(t0=5)
    job.plan()

    def refuse(operation: str, _: str, key: str) -> None:
        if operation == "copy":
            raise error(f"cannot copy {key}", hint="Ask for it.")

    job.store.before = refuse
    job.copy()

    with pytest.raises(error, match=r"cannot copy .* \(batches that gave up: 2\)") as caught:
        job.verify()
    assert caught.value.hint == "Ask for it."


@pytest.mark.parametrize(
    ("messages", "said"), [(("first",), "first"), (("first", "second"), "first (batches that gave up: 2)")]
)
def test_of_batches_that_gave_up_the_first_is_quoted(job: Job, messages: tuple[str, ...], said: str) -> None:
    job.write_sources(t0=5)
    job.plan()
    for number, message in enumerate(messages):
        job.run.write(error_name("copy/first/r1", number), BatchError(error="StorageRequestError", message=message))
    with pytest.raises(StorageRequestError) as caught:
        job.verify()
    assert caught.value.message == said


def test_does_not_raise_what_an_earlier_attempt_met(job: Job) -> None:
    job.write_sources(t0=5)
    job.plan()

    def refuse(operation: str, *_: str) -> None:
        if operation == "copy":
            msg = "AccessDenied"
            raise StorageAccessDeniedError(msg)

    job.store.before = refuse
    job.copy()
    job.store.before = lambda *_: None
    job.start_again("second")
    job.plan()
    job.copy()

    assert job.verify().complete == (0,)


def test_tells_the_progress_of_the_latest_round(job: Job) -> None:
    nothing = copy_state(job.run, job.attempt)
    job.write_sources(t0=6)
    job.plan()
    planned = copy_state(job.run, job.attempt)
    job.copy()
    copied = copy_state(job.run, job.attempt)
    job.store.delete(BACKUPS, [job.key(0, 5)])
    job.plan(round_number=2)
    again = copy_state(job.run, job.attempt)

    assert nothing is None
    assert planned is not None
    assert copied is not None
    assert again is not None
    assert planned.total == CopyProgress(objects_done=0, objects_total=6, bytes_done=0, bytes_total=6)
    assert copied.total == CopyProgress(objects_done=6, objects_total=6, bytes_done=6, bytes_total=6)
    assert again.total == CopyProgress(objects_done=5, objects_total=6, bytes_done=5, bytes_total=6)
    assert copied.by_target[0] == TargetProgress(objects_done=6, objects_total=6, bytes_done=6, bytes_total=6)
    assert (again.by_target[0].objects_done, again.copied_bytes) == (5, 0)
    assert copy_state(job.run, "another") is None
