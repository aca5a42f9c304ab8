"""Datasets have the rows that `rows` reads, whatever batches they are written in, and are there once they are whole."""

from typing import Any

import pytest

from milvus_vault.archive.reader import read_archive, read_objects
from milvus_vault.backup.places import Place
from milvus_vault.catalogue import Catalogue
from milvus_vault.claims import CLAIM
from milvus_vault.copying.batches import BatchLimits
from milvus_vault.datasets import preparing, writing
from milvus_vault.datasets.preparing import Unwritten
from milvus_vault.errors import (
    BackupDamagedError,
    BackupInProgressError,
    BackupNotExportableError,
    BackupNotFoundError,
    BinlogUnreadableError,
    CollectionNotFoundError,
    DatasetExistsError,
    DatasetIncompleteError,
    RunTakenOverError,
    StorageUnavailableError,
)
from milvus_vault.model.collections import ALL_PARTITIONS
from milvus_vault.model.names import attempt_of, export_run
from milvus_vault.model.requests import ExportPlace, ExportRequest
from milvus_vault.rows.reading import METADATA
from milvus_vault.runs.collections import follow_export
from tests.support.dataset_export import DatasetExport
from tests.support.memory_store import InMemoryObjectStore
from tests.support.oracle import as_queried
from tests.unit.archive.samples import BUCKET, PREFIX, golden_store
from tests.unit.rows.test_golden import COLLECTIONS, key_of, oracle_of, rows_of
from tests.unit.rows.test_reading import LAYOUT, NAME, OTHER_PARTITION, Made
from tests.unit.test_claims import FakeExecutions
from tests.unit.test_export import ORIGINAL, note_damaged_contents, write

HERE = Place(bucket=BUCKET, prefix=PREFIX)
REQUEST = ExportRequest(backup_name=LAYOUT.name, export_name="table", format="parquet")


def export(store: InMemoryObjectStore, **more: Any) -> DatasetExport:
    given: dict[str, Any] = {"request": REQUEST, "place": HERE, "backups": HERE, **more}
    return DatasetExport(store, **given)


@pytest.fixture
def made() -> Made:
    """A collection of several segments in two partitions, with deletes at each place where there can be some."""
    made = Made(moment=50)
    made.rows(20, [(1, 10), (2, 10), (3, 10), (9, 60)])
    made.rows(20, [(4, 10), (5, 10)])
    made.rows(10, [(6, 10), (2, 30), (7, 10)], OTHER_PARTITION)
    made.rows(11, [(8, 10), (4, 20), (8, 12)])
    made.rows(13, [(11, 10), (12, 10)], OTHER_PARTITION)
    made.segments[12] = {"segment_id": 12, "partition_id": 8, "row_count": 0}
    made.deletes(20, [(1, 11), (8, 11)])
    made.deletes(90, [(5, 11), (6, 11), (11, 11)])
    made.deletes(91, [(4, 20), (2, 30), (12, 11), (3, 51)], ALL_PARTITIONS)
    made.deletes(92, [(7, 11), (8, 20)], OTHER_PARTITION)
    return made


@pytest.fixture(params=[1, 200_000, 2**62], ids=["a segment a file", "two files", "all together"])
def limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many bytes a file may have."""
    monkeypatch.setattr(preparing, "FILE_LIMITS", BatchLimits(max_objects=2**63, max_bytes=request.param))
    monkeypatch.setattr(preparing, "BATCH_LIMITS", BatchLimits(max_objects=2, max_bytes=2 * request.param))
    return int(request.param)


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize("archive", sorted({archive for _, archive, _ in COLLECTIONS}))
def test_datasets_of_golden_archives_are_what_the_oracles_hold(archive: str) -> None:
    request = REQUEST.model_copy(update={"backup_name": archive})
    run = export(golden_store(archive), request=request)
    result = run.succeed()

    expected = [(version, name) for version, found, name in COLLECTIONS if found == archive]
    assert result.collection_count == len(expected)
    counts = {str(found.name): found.row_count for found in run.document().collections}
    for version, name in expected:
        oracle = oracle_of(version)[name]
        assert counts[name] == oracle["count"]
        # That `rows` reads what the oracles hold its own tests show; of 2.3 it is also compared with them directly.
        rows = rows_of(archive, name)
        table = run.table(name)
        assert table.schema.equals(rows.schema)
        assert (table.schema.metadata or {})[METADATA] == (rows.schema.metadata or {})[METADATA]
        assert [field.metadata[b"milvus_type"] for field in table.schema] == [
            field.metadata[b"milvus_type"] for field in rows.schema
        ]
        assert table.to_pylist() == [row for batch in rows.batches for row in batch.to_pylist()]
        if version == "2_3":
            assert as_queried(run.rows(name), key_of(version, name)) == oracle["rows"]
    assert result.row_count == sum(counts.values())


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize("is_incremental", [False, True])
def test_deletes_reach_across_files_as_they_do_within_one(made: Made, is_incremental: bool) -> None:
    made.is_incremental = is_incremental
    expected = made.write().read()
    run = export(made.store)
    run.succeed()
    assert run.table(str(NAME)).to_pylist() == expected
    assert [row["title"] for row in expected] == ["8@10", "4@20", "8@12", "3@10", "6@10", "2@30", "11@10"]


def test_files_sorted_by_name_have_the_rows_in_the_order_of_rows_and_the_document_says_which(made: Made) -> None:
    run = export(made.write().store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparing, "FILE_LIMITS", BatchLimits(max_objects=2**63, max_bytes=1))
        result = run.succeed()
    collection = next(found for found in run.document().collections if found.name == NAME)
    assert [(file.path, file.partition, file.segments) for file in collection.files] == [
        (f"shop.articles/part-{number:06}.parquet", partition, segments)
        for number, (partition, segments) in enumerate(
            [("_default", (11,)), ("_default", (12,)), ("_default", (20,)), ("p", (10,)), ("p", (13,))]
        )
    ]
    sizes = {key.removeprefix(run.layout.root): len(found.body) for key, found in made.store.buckets[BUCKET].items()}
    assert all(sizes[file.path] == file.size_bytes for file in collection.files)
    assert [file.row_count for file in collection.files] == [3, 0, 1, 2, 1]
    assert (collection.row_count, collection.moment, result.location) == (7, 50, f"s3://{BUCKET}/{run.layout.root}")
    # Nothing but what the document names lies there.
    there = {name for name in sizes if run.layout.root + name in made.store.buckets[BUCKET]}
    named = {file.path for found in run.document().collections for file in found.files}
    assert there == named | {"_dataset.json"}


def test_a_collection_without_rows_is_a_file_with_its_schema(made: Made) -> None:
    run = export(made.write().store)
    result = run.succeed()
    empty = next(found for found in run.document().collections if found.name != NAME)
    table = run.table(str(empty.name))
    assert (table.num_rows, len(empty.files), empty.row_count) == (0, 1, 0)
    assert [field.name for field in table.schema]
    assert result.collection_count == 2


def test_only_what_is_asked_for_is_written(made: Made) -> None:
    run = export(made.write().store, request=REQUEST.model_copy(update={"collections": (str(NAME),)}))
    assert run.succeed().collection_count == 1
    absent = REQUEST.model_copy(update={"export_name": "other", "collections": ("shop.absent",)})
    other = export(made.store, request=absent)
    before = dict(made.store.buckets[BUCKET])
    with pytest.raises(CollectionNotFoundError, match=r"shop\.absent"):
        other.prepare()
    assert made.store.buckets[BUCKET] == before


def test_files_of_a_killed_execution_are_not_written_again(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "FILE_LIMITS", BatchLimits(max_objects=2**63, max_bytes=1))
    monkeypatch.setattr(preparing, "BATCH_LIMITS", BatchLimits(max_objects=2, max_bytes=2**62))
    first = export(made.write().store)
    found = first.prepare()
    assert isinstance(found, Unwritten)
    batches = first.batches(found)
    assert len(batches) == 4
    # Time is short: of two files one is written. So is another batch.
    assert not first.write(batches[1], seconds_left=writing.RESERVE_SECONDS - 1).is_done
    assert first.write(batches[2]).is_done
    with pytest.raises(BackupInProgressError, match="dataset 'table'"):
        export(made.store, arn="second").prepare()

    written = {key: found for key, found in made.store.buckets[BUCKET].items() if key.endswith(".parquet")}
    assert len(written) == 3
    second = export(made.store, arn="second", executions=FakeExecutions(first="ABORTED"))
    again = second.prepare()
    assert isinstance(again, Unwritten)
    assert [name.rpartition("/")[2] for name in second.batches(again)] == ["batch-0-0", "batch-1-0", "batch-1-2"]
    # What the first one's function still does ends before it has written anything.
    with pytest.raises(RunTakenOverError):
        first.write(batches[3])
    assert second.succeed().row_count == 7
    now = made.store.buckets[BUCKET]
    assert all(now[key] is found for key, found in written.items())
    assert second.table(str(NAME)).to_pylist() == made.read()


def test_one_that_was_killed_after_its_document_is_told_of_and_no_other_takes_its_name(made: Made) -> None:
    first = export(made.write().store)
    result = first.succeed()
    before = dict(made.store.buckets[BUCKET])
    died = FakeExecutions(first="FAILED")
    assert export(made.store, arn="second", executions=died).prepare() == result
    made.store.buckets[BUCKET] = before
    other = REQUEST.model_copy(update={"collections": (str(NAME),)})
    for arn, request, executions in (
        ("second", REQUEST, FakeExecutions(first="SUCCEEDED")),
        ("second", other, died),
        ("second", REQUEST, FakeExecutions()),
    ):
        with pytest.raises(DatasetExistsError, match="a dataset 'table' exists already"):
            export(made.store, arn=arn, request=request, executions=executions).prepare()
    assert made.store.buckets[BUCKET] == before


def test_a_task_that_comes_once_more_gives_the_same_result(made: Made) -> None:
    run = export(made.write().store)
    result = run.succeed()
    assert run.prepare(1) == run.prepare() == result


def test_what_lies_there_and_is_none_of_its_own_is_not_touched(made: Made) -> None:
    run = export(made.write().store)
    made.store.put(BUCKET, f"{run.layout.root}shop.articles/part-000000.parquet", b"mine")
    before = dict(made.store.buckets[BUCKET])
    with pytest.raises(DatasetExistsError, match="something lies in"):
        run.prepare()
    assert made.store.buckets[BUCKET] == before


def test_leftovers_of_a_killed_execution_of_another_request_go(made: Made) -> None:
    first = export(made.write().store)
    found = first.prepare()
    assert isinstance(found, Unwritten)
    for batch in first.batches(found):
        first.write(batch)
    request = REQUEST.model_copy(update={"collections": (str(NAME),)})
    second = export(made.store, arn="second", request=request, executions=FakeExecutions(first="FAILED"))
    second.succeed()
    keys = [key for key in made.store.buckets[BUCKET] if key.startswith(second.layout.root)]
    assert {key.removeprefix(second.layout.root).partition("/")[0] for key in keys} == {
        "shop.articles",
        "_dataset.json",
    }


def test_a_file_that_was_deleted_meanwhile_is_written_again(made: Made) -> None:
    run = export(made.write().store)
    found = run.prepare()
    assert isinstance(found, Unwritten)
    for batch in run.batches(found):
        run.write(batch)
    lost = f"{run.layout.root}shop.articles/part-000000.parquet"
    made.store.delete(BUCKET, [lost])
    again = run.prepare(1)
    assert isinstance(again, Unwritten)
    assert len(run.batches(again)) == 1
    assert run.succeed().row_count == 7


def test_an_original_is_claimed_while_it_is_read(made: Made) -> None:
    run = export(made.write().store)
    run.prepare()
    claimed = export_run(LAYOUT.name, f"{BUCKET}/{run.layout.root}")
    assert f"{PREFIX}/.runs/{claimed}/{CLAIM}" in made.store.buckets[BUCKET]


def test_a_damaged_backup_is_refused_and_nothing_is_left(made: Made) -> None:
    made.write()
    lost = next(key for key in made.bodies if key.field_id == 101)
    made.store.delete(BUCKET, [made.stored(lost)])
    run = export(made.store)
    with pytest.raises(BackupDamagedError, match="missing"):
        run.prepare()
    assert not [key for key in made.store.buckets[BUCKET] if key.endswith((CLAIM, "_claim.json"))]
    # Its other collection can be written.
    other = next(found for found in read_archive(made.store, BUCKET, LAYOUT).collections if found.name != NAME)
    request = REQUEST.model_copy(update={"collections": (str(other.name),)})
    assert export(made.store, request=request).succeed().collection_count == 1


def test_damage_that_is_met_while_rows_are_read_is_the_failure_of_the_run(made: Made) -> None:
    made.write()
    run = export(made.store)
    found = run.prepare()
    assert isinstance(found, Unwritten)
    lost = made.stored(next(key for key in made.bodies if key.field_id == 101))
    made.store.delete(BUCKET, [lost])
    failed = 0
    for batch in run.batches(found):
        try:
            run.write(batch)
        except BackupDamagedError:
            failed += 1
    assert failed == 1
    with pytest.raises(BackupDamagedError, match="is missing"):
        run.prepare(1)


def test_a_log_that_cannot_be_read_is_the_failure_of_the_run(made: Made) -> None:
    number = next(key for key in made.bodies if key.field_id == 101)
    made.bodies[number] = b"nothing"
    run = export(made.write().store)
    found = run.prepare()
    assert isinstance(found, Unwritten)
    shop = run.batches(found)[1]
    with pytest.raises(BinlogUnreadableError):
        run.write(shop)
    with pytest.raises(BinlogUnreadableError):
        run.prepare(1)


def test_a_run_that_writes_nothing_ends(made: Made) -> None:
    run = export(made.write().store)
    assert isinstance(run.prepare(), Unwritten)
    assert isinstance(run.prepare(1), Unwritten)
    with pytest.raises(DatasetIncompleteError, match="2 batches of dataset 'table' were not written"):
        run.prepare(preparing.MAX_WRITES)


def test_a_passing_failure_of_s3_leaves_no_error_behind(made: Made) -> None:
    run = export(made.write().store)
    found = run.prepare()
    assert isinstance(found, Unwritten)

    def fail(operation: str, _: str, key: str) -> None:
        if operation == "put" and key.endswith(".parquet"):
            raise StorageUnavailableError(key)

    made.store.before = fail
    with pytest.raises(StorageUnavailableError):
        run.write(run.batches(found)[0])
    made.store.before = lambda *_: None
    assert not [key for key in made.store.buckets[BUCKET] if "/error-" in key]
    assert run.succeed().row_count == 7


def test_a_backup_of_metadata_alone_has_no_rows() -> None:
    store = InMemoryObjectStore(BUCKET)
    write(store, meta_only=True)
    request = REQUEST.model_copy(update={"backup_name": "night"})
    with pytest.raises(BackupNotExportableError, match="metadata alone"):
        export(store, request=request).prepare()


def test_known_damage_of_contents_is_refused_where_it_concerns_what_is_asked_for() -> None:
    store = InMemoryObjectStore(BUCKET)
    manifest = write(store, "full")
    collections = read_archive(store, BUCKET, ORIGINAL).collections
    objects = {str(found.name): read_objects(store, BUCKET, ORIGINAL, found) for found in collections}
    damaged = next(name for name, found in objects.items() if found)
    key = objects[damaged][0].stored_key
    for found in objects.values():
        for item in found:
            store.put(BUCKET, item.stored_key, b"." * item.size_bytes)
    note_damaged_contents(store, "night", manifest.finished_at, {key: "log 7 is another one"})
    request = REQUEST.model_copy(update={"backup_name": "night"})
    with pytest.raises(BackupDamagedError, match="log 7 is another one"):
        export(store, request=request).prepare()
    others = tuple(name for name in objects if name != damaged)
    assert export(store, request=request.model_copy(update={"collections": others})).succeed()


def test_there_has_to_be_a_backup(made: Made) -> None:
    request = REQUEST.model_copy(update={"backup_name": "absent"})
    with pytest.raises(BackupNotFoundError, match="absent"):
        export(made.write().store, request=request).prepare()


def test_one_in_another_place_lies_there_and_its_working_files_here(made: Made) -> None:
    made.write().store.buckets["archive"] = {}
    there = Place(bucket="archive", prefix="exports/team")
    request = REQUEST.model_copy(update={"to": ExportPlace(bucket="archive", prefix="exports/team")})
    run = export(made.store, request=request, place=there)
    assert run.succeed().location == "s3://archive/exports/team/.datasets/table/"
    assert all(key.startswith("exports/team/.datasets/table/") for key in made.store.buckets["archive"])
    assert run.table(str(NAME)).to_pylist() == made.read()


def test_a_dataset_is_no_backup(made: Made) -> None:
    run = export(made.write().store, request=REQUEST.model_copy(update={"export_name": "meta"}))
    run.succeed()
    assert Catalogue(made.store, BUCKET, PREFIX).folders() == {LAYOUT.name}


def test_progress_is_told_by_files_and_by_the_bytes_of_their_logs(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "FILE_LIMITS", BatchLimits(max_objects=2**63, max_bytes=1))
    monkeypatch.setattr(preparing, "BATCH_LIMITS", BatchLimits(max_objects=1, max_bytes=2**62))
    run = export(made.write().store)
    found = run.prepare()
    assert isinstance(found, Unwritten)
    assert follow_export(run.run, "another") is None
    for done, batch in enumerate(run.batches(found)):
        followed = follow_export(run.run, run.arn)
        assert followed is not None
        assert followed.copying is not None
        assert (followed.copying.total.objects_done, followed.copying.total.objects_total) == (done, 6)
        run.write(batch)
    made.store.requests.clear()
    followed = follow_export(run.run, run.arn)
    assert made.store.requests["list_objects"] == 1
    assert followed is not None
    assert list(followed.statuses) == ["done", "done"]


def test_attempts_have_folders_of_their_own(made: Made) -> None:
    run = export(made.write().store)
    found = run.prepare()
    assert isinstance(found, Unwritten)
    assert run.batches(found)[0].startswith(f"rows/{attempt_of('first')}/batch-0-")


class DiedError(BaseException):
    """The execution is no more."""


def test_one_that_dies_at_any_request_is_completed_by_the_next(made: Made) -> None:
    expected = made.write().read()
    before = dict(made.store.buckets[BUCKET])
    step = 0
    while True:
        made.store.buckets[BUCKET] = dict(before)
        left = [step]

        def die(_operation: str, _bucket: str, _key: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise DiedError

        made.store.before = die
        has_died = False
        try:
            export(made.store).succeed()
        except DiedError:
            has_died = True
        made.store.before = lambda *_: None
        second = export(made.store, arn="second", executions=FakeExecutions(first="ABORTED"))
        assert second.succeed().row_count == len(expected), step
        assert second.table(str(NAME)).to_pylist() == expected
        there = {key for key in made.store.buckets[BUCKET] if key.startswith(second.layout.root)}
        files = {file.path for found in second.document().collections for file in found.files}
        assert there == {second.layout.document, *(second.layout.root + path for path in files)}, step
        if not has_died:
            break
        step += 1
    assert step > 30
