"""Captures while the server flushes, sorts, folds, compacts and collects; and what a flush says."""

from collections.abc import Callable, Iterator

import pytest

from milvus_vault.adapters.milvus import MilvusDatabase, connect
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.backup.segments import capture_flushed, capture_objects
from milvus_vault.backup.snapshot import SnapshotBatch
from milvus_vault.errors import SegmentTornError, VersionUnsupportedError
from milvus_vault.inspection.segments import unfit_collections
from milvus_vault.model.collections import CollectionName, SegmentLevel
from milvus_vault.model.flushes import FlushPoint
from milvus_vault.model.objects import ListedObject
from milvus_vault.ports import ObjectStore
from tests.compatibility.features import Feature
from tests.conformance.asking import Milvus, base_fields
from tests.conformance.conftest import Running, Start
from tests.conformance.test_capture import FULL_NAME, NAME, ROWS, Open, backups
from tests.support.capturing import Backups
from tests.support.milvus_server import compaction
from tests.support.milvus_server.catalog import FLUSHED, L0
from tests.support.milvus_server.versions import ALL, FROM_2_5, FROM_2_6, NEWER
from tests.support.short_pages import shorten

COLLECTION = CollectionName(database="default", name=NAME)
__all__ = ["backups"]


def _insert(milvus: Milvus) -> None:
    milvus.make(NAME, *base_fields(), shards=2, partitions=("p",))
    milvus.insert(NAME, range(ROWS))
    milvus.insert(NAME, range(ROWS, 2 * ROWS), "p")
    milvus.flush(NAME)


def _meddling(taken: Backups, folder: str, work: Callable[[], None]) -> ObjectStore:
    """Return S3 where something happens before the first listing of a collection's logs of one kind."""
    waiting = [work]

    class Meddling(S3ObjectStore):
        def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
            if folder in prefix and waiting:
                waiting.pop()()
            return super().list_objects(bucket, prefix, after=after)

    store = taken.store
    return Meddling(store.client, store.copier, store.parts)


def _fold(running: Running) -> None:
    core = running.server.core
    with core.lock:
        collection = core.catalog.collection("default", NAME)
        for segment in collection.of_state(FLUSHED):
            if segment.level == L0:
                compaction.fold_deletes(core, collection, segment)


def _compact_and_collect(running: Running) -> None:
    core = running.server.core
    with core.lock:
        compaction.compact(core, core.catalog.collection("default", NAME))
        compaction.collect_garbage(core)


@pytest.mark.thread("milvus#29122")
@pytest.mark.feature(Feature.CHANGES_MEANWHILE)
@pytest.mark.parametrize("folder", ["delta_log", "insert_log"])
@pytest.mark.parametrize("version", NEWER)
def test_deletes_that_are_folded_while_objects_are_listed_are_not_lost(
    start: Start, backups: Open, version: str, folder: str
) -> None:
    running = start(version)
    _insert(running.milvus)
    running.milvus.delete(NAME, range(5))
    running.milvus.flush(NAME)
    running.milvus.settle()
    taken = backups(running)
    described = taken.database.describe_collection("default", NAME)
    store = _meddling(taken, folder, lambda: _fold(running))

    captured = capture_objects(taken.database, store, taken.storage, described)

    assert {segment.level for segment in captured.segments} == {SegmentLevel.L1}
    assert [item for item in captured.objects if "/delta_log/" in item.key]


@pytest.mark.feature(Feature.CHANGES_MEANWHILE)
@pytest.mark.parametrize("sort_seconds", [0.2, 4, 40])
@pytest.mark.parametrize("version", FROM_2_5)
def test_no_row_is_captured_twice_whenever_its_segment_is_sorted(
    start: Start, backups: Open, version: str, sort_seconds: float
) -> None:
    running = start(version, {"sort": sort_seconds})
    _insert(running.milvus)
    taken = backups(running)
    assert taken.take("b").failures == ()
    assert taken.rows("b", FULL_NAME) == taken.live_rows(FULL_NAME)


@pytest.mark.thread("milvus-backup#858", "milvus-backup#1172")
@pytest.mark.feature(Feature.CHANGES_MEANWHILE)
@pytest.mark.parametrize("version", ALL)
def test_objects_that_are_collected_before_they_are_copied_are_captured_anew(
    start: Start, backups: Open, version: str
) -> None:
    running = start(version, {"gc_tolerance": 0})
    _insert(running.milvus)
    running.milvus.delete(NAME, range(5))
    waiting = [_compact_and_collect]

    def meddle() -> None:
        if waiting:
            waiting.pop()(running)

    taken = backups(running, before_copies=meddle)
    assert taken.take("b").failures == ()
    assert taken.rows("b", FULL_NAME) == taken.live_rows(FULL_NAME)
    assert len(taken.rows("b", FULL_NAME)) == 2 * ROWS - 5


@pytest.mark.thread("milvus-backup#476", "milvus-backup#635", "milvus-backup#913")
@pytest.mark.feature(Feature.EXACT_LOGS)
@pytest.mark.parametrize("version", FROM_2_5)
def test_logs_that_the_server_does_not_name_are_left_out(start: Start, backups: Open, version: str) -> None:
    running = start(version)
    _insert(running.milvus)
    running.milvus.settle()
    taken = backups(running)
    keys = list(running.milvus.keys(f"{running.milvus.root}/insert_log/"))
    stray = f"{keys[-1].rpartition('/')[0]}/999"
    taken.s3.put_object(Bucket=running.server.bucket, Key=stray, Body=b"left by a flush that was repeated")
    assert taken.take("b").failures == ()
    assert taken.rows("b", FULL_NAME) == taken.live_rows(FULL_NAME)


@pytest.mark.feature(Feature.LISTED_LOGS)
@pytest.mark.parametrize("version", ALL)
def test_a_server_whose_rest_cannot_be_reached_is_backed_up_by_listing(
    start: Start, backups: Open, version: str
) -> None:
    running = start(version)
    _insert(running.milvus)
    taken = backups(running)
    with connect(running.server.uri, rest_uri="http://127.0.0.1:9") as database:
        without_rest = Backups(running.server, database, taken.s3)
        assert without_rest.take("b").failures == ()
    assert without_rest.rows("b", FULL_NAME) == without_rest.live_rows(FULL_NAME)
    assert {segment.virtual_channel for segment in without_rest.document("b").segments} == {""}


@pytest.mark.feature(Feature.EXACT_LOGS)
@pytest.mark.parametrize("version", FROM_2_5)
def test_each_segment_names_its_channel(start: Start, backups: Open, version: str) -> None:
    running = start(version)
    _insert(running.milvus)
    taken = backups(running)
    taken.take("b")
    described = taken.database.describe_collection("default", NAME)
    assert {segment.virtual_channel for segment in taken.document("b").segments} == set(described.virtual_channels)


@pytest.mark.feature(Feature.FLUSH_LIMIT)
@pytest.mark.parametrize("version", NEWER)
def test_a_limit_on_flushes_is_waited_for(start: Start, backups: Open, version: str) -> None:
    running = start(version, {"flush_limit": 100})
    _insert(running.milvus)
    taken = backups(running)
    assert taken.take("b", collections=[FULL_NAME]).failures == ()
    assert len(taken.rows("b", FULL_NAME)) == 2 * ROWS


@pytest.mark.feature(Feature.SKIP_FLUSH)
@pytest.mark.parametrize("version", ALL)
def test_without_a_flush_only_flushed_rows_are_captured(start: Start, backups: Open, version: str) -> None:
    running = start(version)
    _insert(running.milvus)
    running.milvus.insert(NAME, range(2 * ROWS, 2 * ROWS + 3))
    taken = backups(running)
    manifest = taken.take("b", skip_flush=True)
    (collection,) = taken.archive("b").collections
    assert (manifest.flush_all, manifest.moment, collection.moment) == (None, 0, 0)
    assert taken.document("b").channel_checkpoints == ()
    assert len(taken.rows("b", FULL_NAME)) == 2 * ROWS


@pytest.mark.feature(Feature.CHECKPOINTS, since="2.4")
@pytest.mark.parametrize("version", ALL)
def test_a_flush_is_recorded_with_the_checkpoint_of_each_channel(start: Start, backups: Open, version: str) -> None:
    running = start(version)
    _insert(running.milvus)
    taken = backups(running)
    manifest = taken.take("b", collections=[FULL_NAME])
    document = taken.document("b")
    assert manifest.flush_all is None
    assert len(document.channel_checkpoints) == (2 if version >= "2.4" else 0)
    assert all(item.position and item.timestamp for item in document.channel_checkpoints)
    assert 0 < document.moment < document.flush_timestamp


@pytest.mark.feature(Feature.FLUSH_ALL)
@pytest.mark.parametrize("version", FROM_2_6)
def test_one_flush_of_everything_tells_the_time_of_each_channel(start: Start, backups: Open, version: str) -> None:
    running = start(version)
    _insert(running.milvus)
    running.milvus.make("other", *base_fields())
    taken = backups(running)
    manifest = taken.take("b")
    assert manifest.flush_all is not None
    documents = [taken.document("b", number) for number in (0, 1)]
    assert [len(document.channel_checkpoints) for document in documents] == [2, 1]
    times = {item.timestamp for document in documents for item in document.channel_checkpoints}
    assert times == {channel.timestamp for channel in manifest.flush_all.channels}
    assert all(time >= manifest.flush_all.timestamp for time in times)


def test_an_older_server_is_not_flushed_twice(start: Start, backups: Open) -> None:
    running = start("2.5.27")
    _insert(running.milvus)
    assert backups(running).take("b").flush_all is None


def test_a_storage_version_that_is_not_known_is_refused_by_name(
    start: Start, backups: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start("2.6.19")
    _insert(running.milvus)
    taken = backups(running)
    described = taken.database.describe_collection("default", NAME)
    segment = taken.database.list_segments("default", NAME)[0].model_copy(update={"storage_version": 3})
    monkeypatch.setattr(taken.database, "list_segments", lambda *_: [segment])
    with pytest.raises(VersionUnsupportedError, match=f"of default.{NAME}, as .* have storage version 3") as caught:
        capture_objects(taken.database, taken.store, taken.storage, described)
    assert "common.storage.useLoonFFI" in caught.value.hint
    # What is left of the failure in a backup, and in the mail about it, is the message.
    assert "common.storage.useLoonFFI" in caught.value.message
    (unfit,) = unfit_collections(taken.store, taken.database, taken.storage, [described.name])
    assert (unfit.message, unfit.hint) == (caught.value.message, caught.value.hint)


@pytest.mark.parametrize("is_by_flush", [False, True], ids=["present", "flushed"])
@pytest.mark.parametrize("kind", ["insert_log", "delta_log"])
def test_a_log_whose_name_says_nothing_is_refused_whichever_way_a_collection_is_listed(
    start: Start, backups: Open, kind: str, is_by_flush: bool
) -> None:
    running = start("2.6.19")
    _insert(running.milvus)
    taken = backups(running)
    described = taken.database.describe_collection("default", NAME)
    point = taken.database.flush("default", NAME, timeout_seconds=30)
    segment = taken.database.list_segments("default", NAME)[0]
    # Deletes concern rows of other segments, too.
    number = segment.segment_id if kind == "insert_log" else 7
    folder = f"{running.milvus.root}/{kind}/{described.collection_id}/{segment.partition_id}/{number}"
    taken.s3.put_object(Bucket=running.server.bucket, Key=f"{folder}/x.parquet", Body=b"of another format")
    there = (taken.database, taken.store, taken.storage, described)
    with pytest.raises(VersionUnsupportedError, match=f"{number}/x.parquet is not named as Milvus"):
        capture_flushed(*there, point) if is_by_flush else capture_objects(*there)


@pytest.mark.parametrize("is_by_flush", [False, True], ids=["present", "flushed"])
def test_a_collection_with_many_objects_is_listed_in_spans(
    start: Start, backups: Open, monkeypatch: pytest.MonkeyPatch, *, is_by_flush: bool
) -> None:
    running = start("2.3.5")
    _insert(running.milvus)
    taken = backups(running)
    described = taken.database.describe_collection("default", NAME)
    point = taken.database.flush("default", NAME, timeout_seconds=30)
    cuts: list[str] = []

    class Noting(S3ObjectStore):
        def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
            cuts.append(after.removeprefix(prefix))
            return super().list_objects(bucket, prefix, after=after)

    def captured() -> object:
        store = Noting(taken.store.client, taken.store.copier, taken.store.parts)
        there = (taken.database, store, taken.storage, described)
        found = capture_flushed(*there, point) if is_by_flush else capture_objects(*there)
        assert found is not None
        return found.segments, list(found.objects)

    expected = captured()
    assert set(cuts) == {""}
    shorten(monkeypatch)

    assert captured() == expected
    segments = taken.database.list_segments("default", NAME)
    assert set(cuts) & {f"{segment.partition_id}/{segment.segment_id}/" for segment in segments}


@pytest.mark.parametrize("version", ALL)
def test_a_replaced_segment_that_garbage_collection_has_taken_in_part_is_gone_and_not_torn(
    start: Start, backups: Open, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start(version)
    _insert(running.milvus)
    taken = backups(running)
    described = taken.database.describe_collection("default", NAME)
    point = taken.database.flush("default", NAME, timeout_seconds=30)
    keys = running.milvus.keys(f"{running.milvus.root}/insert_log/")
    key = next(key for key in keys if "/0/" in key and any(f"/{number}/" in key for number in point.segment_ids))
    taken.s3.delete_object(Bucket=running.server.bucket, Key=key)
    there = (taken.database, taken.store, taken.storage, described, point)
    with pytest.raises(SegmentTornError):
        capture_flushed(*there)
    monkeypatch.setattr(taken.database, "list_segments", lambda *_: [])
    assert capture_flushed(*there) is None


def _delete_for_good(running: Running) -> None:
    """Delete rows, and leave nothing behind that tells of it."""
    _delete_and_compact(running)
    _collect(running)


def _collect(running: Running) -> None:
    with running.server.core.lock:
        compaction.collect_garbage(running.server.core)


def _collect_hours_later(running: Running) -> None:
    _collect(running)
    _let_hours_pass(running)


def _delete_and_compact(running: Running) -> None:
    running.milvus.delete(NAME, range(5))
    running.milvus.flush(NAME)
    running.milvus.settle()
    with running.server.core.lock:
        compaction.compact(running.server.core, running.server.core.catalog.collection("default", NAME))


def _let_hours_pass(running: Running) -> None:
    """Be at a time when an execution that was stopped goes on, and Milvus' garbage collection has been there."""
    running.server.core.clock.behind -= 3 * 3600


@pytest.mark.versions("2.3.5", "2.5.27", "2.6.19")
@pytest.mark.parametrize("collections", [[FULL_NAME], None])
@pytest.mark.parametrize("version", ["2.3.5", "2.5.27", "2.6.19"])
def test_an_execution_that_goes_on_hours_later_takes_a_later_moment(
    start: Start, backups: Open, version: str, collections: list[str] | None
) -> None:
    running = start(version, {"gc_tolerance": 0}, auto_compaction=False)
    _insert(running.milvus)
    taken = backups(running)
    run, plan = taken.prepare("b", collections=collections)
    _delete_for_good(running)
    _let_hours_pass(running)

    taken.finish(run, plan)

    assert taken.document("b").moment > plan.moment
    assert taken.rows("b", FULL_NAME) == taken.live_rows(FULL_NAME)


@pytest.mark.versions("2.3.5", "2.5.27", "2.6.19")
@pytest.mark.parametrize("version", ["2.3.5", "2.5.27", "2.6.19"])
def test_a_second_look_hours_later_is_none(
    start: Start, backups: Open, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    running = start(version, {"gc_tolerance": 0}, auto_compaction=False)
    _insert(running.milvus)
    taken = backups(running)
    run, plan = taken.prepare("b", collections=[FULL_NAME])
    _delete_and_compact(running)
    _before_round_two(monkeypatch, lambda: _collect_hours_later(running))

    taken.finish(run, plan)

    assert taken.document("b").moment > plan.moment
    assert taken.rows("b", FULL_NAME) == taken.live_rows(FULL_NAME)


@pytest.mark.versions("2.3.5", "2.5.27", "2.6.19")
@pytest.mark.parametrize("version", ["2.3.5", "2.5.27", "2.6.19"])
def test_where_the_segments_of_a_flush_are_gone_before_the_second_look_a_later_moment_is_taken(
    start: Start, backups: Open, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    running = start(version, {"gc_tolerance": 0}, auto_compaction=False)
    _insert(running.milvus)
    taken = backups(running)
    run, plan = taken.prepare("b", collections=[FULL_NAME])
    flush, flushes = MilvusDatabase.flush, list[FlushPoint]()

    def flush_and_compact(database: MilvusDatabase, place: str, name: str, *, timeout_seconds: float) -> FlushPoint:
        flushes.append(flush(database, place, name, timeout_seconds=timeout_seconds))
        if len(flushes) == 1:
            _delete_and_compact(running)
        return flushes[-1]

    monkeypatch.setattr(MilvusDatabase, "flush", flush_and_compact)
    _before_round_two(monkeypatch, lambda: _collect(running))

    taken.finish(run, plan)

    assert taken.document("b").moment > plan.moment
    assert taken.rows("b", FULL_NAME) == taken.live_rows(FULL_NAME)


def _before_round_two(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> None:
    take = SnapshotBatch.take

    def take_after(batch: SnapshotBatch, number: int) -> int:
        if batch.round == 2:
            work()
        return take(batch, number)

    monkeypatch.setattr(SnapshotBatch, "take", take_after)


@pytest.mark.feature(Feature.LIVE_ROWS)
@pytest.mark.parametrize("version", ALL)
def test_the_number_of_live_rows_is_that_of_the_rows_in_the_backup(start: Start, backups: Open, version: str) -> None:
    running = start(version)
    _insert(running.milvus)
    running.milvus.delete(NAME, range(5))
    running.milvus.load(NAME)
    taken = backups(running)
    (entry,) = taken.take("b", collections=[FULL_NAME]).collections
    assert entry.live_row_count == len(taken.rows("b", FULL_NAME)) == 2 * ROWS - 5


@pytest.mark.parametrize(("later_rows", "deletes", "expected"), [(0, 0, 2 * ROWS), (3, 0, None), (0, 3, None)])
def test_rows_that_came_after_the_flush_of_all_are_not_counted(
    start: Start, backups: Open, later_rows: int, deletes: int, expected: int | None
) -> None:
    running = start("2.6.19")
    _insert(running.milvus)
    running.milvus.load(NAME)
    running.milvus.settle()
    if deletes:
        running.milvus.delete(NAME, range(deletes))
    taken = backups(running)
    run, plan = taken.prepare("b")
    if later_rows:
        running.milvus.insert(NAME, range(2 * ROWS, 2 * ROWS + later_rows))
    (entry,) = taken.finish(run, plan).collections
    assert entry.live_row_count == expected
    assert len(taken.rows("b", FULL_NAME)) == 2 * ROWS - deletes
