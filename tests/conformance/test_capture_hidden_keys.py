"""Backups while S3 leaves keys out of its listings, as one that lies or has not heard of an object yet.

No backup is called complete of which rows are lost or deleted ones come back: the collection fails, or what was left
out is found elsewhere. Where nothing but the listing tells of a log, that is said here, and in docs/limits.md.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from milvus_vault.archive.manifest import Manifest
from milvus_vault.backup import segments
from milvus_vault.errors import SegmentTornError
from tests.conformance.asking import Milvus, base_fields, field, numbers
from tests.conformance.conftest import Running, Start
from tests.conformance.test_capture import Open, backups
from tests.support.capturing import Backups
from tests.support.milvus_server import compaction
from tests.support.milvus_server.catalog import FLUSHED, L0
from tests.support.milvus_server.versions import ALL, FROM_2_5, NEWER, OLDER
from tests.support.quick_s3 import QuickS3

__all__ = ["backups"]

ROWS, LEFT = 30, 27
TORN, SOUND = "default.torn", "default.sound"

DESCRIBES = frozenset({"/v2/vectordb/segments/describe"})


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for what is missing at shorter intervals: nothing here comes about by itself."""
    monkeypatch.setattr(segments, "PAUSE_SECONDS", 0.02)


def filled(start: Start, version: str, *, tells_logs: bool = False) -> Running:
    """Return a server with two collections that have rows, of which one has lost some."""
    running = start(version, {"gc_tolerance": 0})
    milvus = running.milvus
    for name in ("sound", "torn"):
        milvus.make(name, *base_fields(), field("n", "Int64"))
        milvus.insert(name, range(ROWS), extra=[numbers("n", range(ROWS))])
        milvus.flush(name)
    milvus.settle()
    milvus.delete("torn", range(ROWS - LEFT))
    milvus.flush("torn")
    milvus.settle()
    if not tells_logs:
        running.server.core.faults.unavailable_names = DESCRIBES
        running.server.core.faults.unavailable_calls = 10**6
    return running


def fold(running: Running) -> None:
    """Move deletes of level 0 into their segment."""
    core = running.server.core
    with core.lock:
        collection = core.catalog.collection("default", "torn")
        for segment in collection.of_state(FLUSHED):
            if segment.level == L0:
                compaction.fold_deletes(core, collection, segment)


def without_its_delete_log(start: Start, quick_s3: QuickS3, version: str) -> Running:
    """Return a loaded server whose only delete log, folded into its segment, no listing shows."""
    running = filled(start, version)
    fold(running)
    collect_garbage(running)
    running.milvus.load("torn")
    (hidden,) = keys(running.milvus, "delta_log")
    quick_s3.hidden_keys = {hidden}
    return running


def collect_garbage(running: Running) -> None:
    """Delete the files of what was replaced."""
    with running.server.core.lock:
        compaction.collect_garbage(running.server.core)


def keys(milvus: Milvus, kind: str) -> list[str]:
    """Return the keys of the logs that the collection's present segments have of a kind."""
    number = milvus.must("DescribeCollection", collection_name="torn").collectionID
    there = {str(info.segmentID) for info in milvus.infos("torn")}
    return [key for key in milvus.keys(f"{milvus.root}/{kind}/{number}/") if there & set(key.split("/"))]


def fields_of(listed: Sequence[str]) -> dict[int, str]:
    """Return insert logs by their field or column group."""
    return {int(key.split("/")[-2]): key for key in listed}


def is_refused(manifest: Manifest) -> bool:
    """Return whether the one collection failed by name, and the other is there."""
    if not manifest.failures:
        return False
    (failure,) = manifest.failures
    assert (str(failure.name), failure.error) == (TORN, SegmentTornError.__name__)
    assert [str(entry.name) for entry in manifest.collections] == [SOUND]
    return True


def rows(quick_s3: QuickS3, taken: Backups) -> int:
    """Return how many rows of the collection a restore of the backup brings back."""
    quick_s3.hidden_keys.clear()
    return len(taken.rows("b", TORN))


def doubts(manifest: Manifest) -> list[str]:
    """Return what a backup that has all collections says of moments that it does not prove."""
    assert manifest.failures == ()
    return [warning for warning in manifest.warnings if "could not be proven" in warning]


@pytest.mark.parametrize(
    ("version", "tells_logs"), [*((version, False) for version in ALL), *((version, True) for version in FROM_2_5)]
)
def test_no_insert_log_is_missed(
    start: Start, backups: Open, quick_s3: QuickS3, version: str, tells_logs: bool
) -> None:
    running = filled(start, version, tells_logs=tells_logs)
    found = fields_of(keys(running.milvus, "insert_log"))
    # Row ID, timestamp, and the three fields; or the groups of key, scalar and vector.
    assert sorted(found) == ([0, 1, 101] if version >= "2.6" else [0, 1, 100, 101, 102])

    for number, key in found.items():
        quick_s3.hidden_keys = {key}
        assert is_refused(backups(running).take("b")), number


@pytest.mark.parametrize("group", [1, 101])
def test_a_column_group_is_lost_unseen_where_the_server_does_not_name_logs_and_the_others_are_not_read(
    start: Start, backups: Open, quick_s3: QuickS3, group: int
) -> None:
    running = filled(start, "2.6.19")
    quick_s3.hidden_keys = {fields_of(keys(running.milvus, "insert_log"))[group]}
    taken = backups(running)
    run, plan = taken.prepare("b")
    # As if all had been written long ago.
    plan = plan.model_copy(update={"recent_since": datetime.now(UTC) + timedelta(hours=1)})
    assert doubts(taken.finish(run, plan)) == []


@pytest.mark.parametrize("version", ALL)
def test_no_segment_is_missed_of_which_no_insert_log_is_listed(
    start: Start, backups: Open, quick_s3: QuickS3, version: str
) -> None:
    running = filled(start, version)
    quick_s3.hidden_keys = set(keys(running.milvus, "insert_log"))
    assert is_refused(backups(running).take("b"))


@pytest.mark.parametrize("version", ALL)
def test_logs_of_statistics_are_not_needed(start: Start, backups: Open, quick_s3: QuickS3, version: str) -> None:
    running = filled(start, version)
    quick_s3.hidden_keys = set(keys(running.milvus, "stats_log"))
    assert quick_s3.hidden_keys
    taken = backups(running)
    assert doubts(taken.take("b")) == []
    assert taken.rows("b", TORN) == taken.live_rows(TORN)


@pytest.mark.parametrize("tells_logs", [False, True], ids=["logs listed", "logs told"])
@pytest.mark.parametrize("version", NEWER)
def test_no_delete_log_of_level_zero_is_missed(
    start: Start, backups: Open, quick_s3: QuickS3, version: str, tells_logs: bool
) -> None:
    running = filled(start, version, tells_logs=tells_logs)
    (hidden,) = keys(running.milvus, "delta_log")
    quick_s3.hidden_keys = {hidden}
    assert is_refused(backups(running).take("b"))


@pytest.mark.parametrize("version", FROM_2_5)
def test_no_delete_log_is_missed_that_the_server_names(
    start: Start, backups: Open, quick_s3: QuickS3, version: str
) -> None:
    running = filled(start, version, tells_logs=True)
    fold(running)
    collect_garbage(running)
    quick_s3.hidden_keys = set(keys(running.milvus, "delta_log"))
    assert is_refused(backups(running).take("b"))


@pytest.mark.parametrize("version", [*OLDER, "2.4.23"])
def test_a_delete_log_that_nothing_but_a_listing_tells_of_is_missed_where_rows_are_counted(
    start: Start, backups: Open, quick_s3: QuickS3, version: str
) -> None:
    running = without_its_delete_log(start, quick_s3, version)
    manifest = backups(running).take("b")
    assert is_refused(manifest)
    assert f"counted {LEFT} of {ROWS} row(s), and there is no delete of any" in manifest.failures[0].message


@pytest.mark.parametrize("version", FROM_2_5)
def test_where_counted_rows_may_have_expired_too_a_missed_delete_log_is_a_warning(
    start: Start, backups: Open, quick_s3: QuickS3, version: str
) -> None:
    taken = backups(without_its_delete_log(start, quick_s3, version))
    manifest = taken.take("b")
    (warning,) = doubts(manifest)
    assert f"{TORN} could not be proven: Milvus counted {LEFT} of {ROWS} row(s), and there is no delete" in warning
    assert "common.entityExpiration" in warning
    entry = next(entry for entry in manifest.collections if str(entry.name) == TORN)
    assert (entry.live_row_count, rows(quick_s3, taken)) == (None, ROWS)


@pytest.mark.parametrize("version", NEWER)
def test_deletes_are_found_where_they_lay_before_they_were_folded(
    start: Start, backups: Open, quick_s3: QuickS3, version: str
) -> None:
    running = filled(start, version)
    fold(running)
    running.milvus.load("torn")
    (hidden,) = keys(running.milvus, "delta_log")
    quick_s3.hidden_keys = {hidden}
    taken = backups(running)
    assert doubts(taken.take("b")) == []
    assert rows(quick_s3, taken) == LEFT


@pytest.mark.parametrize("is_loaded", [False, True], ids=["idle", "loaded, no flush"])
@pytest.mark.parametrize("version", ALL)
def test_a_delete_log_is_lost_unseen_where_nothing_but_a_listing_tells_of_it(
    start: Start, backups: Open, quick_s3: QuickS3, version: str, is_loaded: bool
) -> None:
    running = filled(start, version)
    fold(running)
    if is_loaded:
        running.milvus.load("torn")
    (hidden,) = keys(running.milvus, "delta_log")
    quick_s3.hidden_keys = {hidden}
    taken = backups(running)
    # Without a flush rows and deletes are counted that are not to be in the backup.
    assert doubts(taken.take("b", skip_flush=is_loaded)) == []
    assert rows(quick_s3, taken) == ROWS


@pytest.mark.parametrize("tells_logs", [False, True], ids=["logs listed", "logs told"])
@pytest.mark.parametrize("version", ["2.4.23", *FROM_2_5])
def test_rows_that_expire_by_a_setting_of_the_server_do_not_fail_a_backup(
    start: Start, backups: Open, version: str, tells_logs: bool
) -> None:
    running = start(version, entity_expiration=0.01)
    milvus = running.milvus
    milvus.make("torn", *base_fields())
    milvus.insert("torn", range(ROWS))
    milvus.flush("torn")
    milvus.settle()
    milvus.load("torn")
    if not tells_logs:
        running.server.core.faults.unavailable_names = DESCRIBES
        running.server.core.faults.unavailable_calls = 10**6
    taken = backups(running)
    assert taken.database.count_rows("default", "torn") == (ROWS if version == "2.4.23" else 0)

    manifest = taken.take("b")

    assert len(doubts(manifest)) == int(version != "2.4.23" and not tells_logs)
    (entry,) = manifest.collections
    # A restore would refuse to bring back more than were alive.
    assert (entry.live_row_count, entry.row_count) == (ROWS if version == "2.4.23" else None, ROWS)
