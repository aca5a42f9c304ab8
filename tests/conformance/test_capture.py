"""What a backup captures of each version: every row once, deletes included, whatever the server does meanwhile."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from milvus_vault.adapters.milvus import MilvusDatabase, connect
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.backup import moment, snapshot
from milvus_vault.backup.working_files import Snapshot, Verdict, snapshot_name
from milvus_vault.model.collections import SegmentLevel
from milvus_vault.model.names import attempt_of
from tests.compatibility.features import Feature
from tests.conformance.asking import Milvus, base_fields
from tests.conformance.conftest import Running, Start
from tests.support.capturing import Backups
from tests.support.milvus_server.versions import ALL, NEWER
from tests.support.quick_s3 import QuickS3

NAME, FULL_NAME = "c", "default.c"
ROWS = 40

type Open = Callable[..., Backups]


def _nothing() -> None:
    """Do nothing."""


@pytest.fixture
def backups(quick_s3: QuickS3) -> Iterator[Open]:
    """Return what makes backups of a server: `backups(running, …)`."""
    with ExitStack() as open_connections:

        def open_one(running: Running, before_copies: Callable[[], None] = _nothing) -> Backups:
            database = open_connections.enter_context(connect(running.server.uri))
            return Backups(running.server, database, quick_s3.client(), before_copies=before_copies)

        yield open_one


def _fill(milvus: Milvus) -> None:
    """Make a collection of two partitions with deletes in both, of one and of all partitions."""
    milvus.make(NAME, *base_fields(), shards=2, partitions=("p",))
    milvus.insert(NAME, range(ROWS))
    milvus.insert(NAME, range(ROWS, 2 * ROWS), "p")
    milvus.flush(NAME)
    milvus.delete(NAME, range(5))
    milvus.must("Delete", collection_name=NAME, partition_name="p", expr=f"id in {[ROWS, ROWS + 1]}")
    milvus.insert(NAME, range(2 * ROWS, 2 * ROWS + 3))


def _levels(backups: Backups) -> set[tuple[SegmentLevel, bool]]:
    (collection,) = backups.archive("b").collections
    return {(segment.level, segment.partition_id == -1) for segment in collection.segments}


@pytest.mark.thread("milvus#29122", "milvus-backup#265", "milvus-backup#316")
@pytest.mark.feature(Feature.EVERY_ROW_ONCE, Feature.FLUSH)
@pytest.mark.parametrize("version", ALL)
def test_a_backup_holds_every_live_row_once(start: Start, backups: Open, version: str) -> None:
    running = start(version)
    _fill(running.milvus)
    taken = backups(running)

    manifest = taken.take("b")

    assert manifest.failures == ()
    assert taken.rows("b", FULL_NAME) == taken.live_rows(FULL_NAME)
    assert len(taken.rows("b", FULL_NAME)) == 2 * ROWS + 3 - 7


@pytest.mark.versions("2.3.5", "2.5.27")
@pytest.mark.parametrize("call", ["list_collections", "describe_database", "list_segments"])
@pytest.mark.parametrize("version", ["2.3.5", "2.5.27"])
def test_what_is_dropped_while_all_is_listed_costs_nothing_else(
    start: Start, backups: Open, monkeypatch: pytest.MonkeyPatch, version: str, call: str
) -> None:
    running = start(version)
    _fill(running.milvus)
    running.milvus.must("CreateDatabase", db_name="passing")
    running.milvus.make("a", *base_fields())  # the first that is looked into for rows
    drops = [lambda: running.milvus.must("DropDatabase", db_name="passing")]
    drops += [lambda: running.milvus.must("DropCollection", collection_name="a")] * (call == "list_segments")
    ask = getattr(MilvusDatabase, call)

    def ask_too_late(*arguments: Any) -> Any:
        while drops:
            drops.pop()()
        return ask(*arguments)

    monkeypatch.setattr(MilvusDatabase, call, ask_too_late)
    taken = backups(running)

    manifest = taken.take("b")

    assert {failure.name.name for failure in manifest.failures} == ({"a"} if call == "list_segments" else set())
    assert taken.rows("b", FULL_NAME) == taken.live_rows(FULL_NAME)


@pytest.mark.versions("2.2.16", "2.3.5", "2.5.27", "2.6.19")
@pytest.mark.parametrize("is_loaded", [True, False])
@pytest.mark.parametrize("collections", [[FULL_NAME], None])
@pytest.mark.parametrize("version", ["2.2.16", "2.3.5", "2.5.27", "2.6.19"])
def test_the_margin_is_waited_for_where_no_count_has_waited_for_what_is_on_its_way(
    start: Start,
    backups: Open,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    collections: list[str] | None,
    is_loaded: bool,
) -> None:
    running = start(version)
    _fill(running.milvus)
    if is_loaded:
        running.milvus.load(NAME)
    taken, done = backups(running), list[str]()
    for call in ("count_rows", "flush", "flush_all"):
        monkeypatch.setattr(MilvusDatabase, call, _told(done, call, getattr(MilvusDatabase, call)))
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=_told(done, "margin", time.sleep))
    monkeypatch.setattr(moment, "time", clock)

    taken.take("b", collections=collections)

    expected = [*["count_rows"] * is_loaded, *["margin"] * (not is_loaded), "flush"]
    if version == "2.2.16":
        # It tells no time, so that nobody but PrepareBackup knows how long ago the moment was.
        expected = ["flush", "margin", *["count_rows"] * is_loaded, "flush"]
    elif version == "2.6.19" and collections is None:
        expected = ["margin", "flush_all"]
    assert done[: len(expected)] == expected
    assert taken.rows("b", FULL_NAME) == taken.live_rows(FULL_NAME)


@pytest.mark.parametrize("version", ["2.3.5"])
def test_the_margin_is_waited_for_where_a_flush_tells_its_second_alone(
    start: Start, backups: Open, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    running = start(version)
    _fill(running.milvus)
    running.milvus.load(NAME)
    taken, done = backups(running), list[str]()
    for call in ("count_rows", "flush"):
        monkeypatch.setattr(MilvusDatabase, call, _told(done, call, getattr(MilvusDatabase, call)))
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=_told(done, "margin", time.sleep))
    monkeypatch.setattr(moment, "time", clock)
    monkeypatch.setattr(snapshot, "tells_flush_times", lambda _: False)

    taken.take("b", collections=[FULL_NAME])

    assert done[:3] == ["count_rows", "margin", "flush"]


@pytest.mark.versions("2.3.5", "2.5.27", "2.6.19")
@pytest.mark.parametrize("version", ["2.3.5", "2.5.27", "2.6.19"])
def test_a_loaded_collection_that_nobody_can_query_is_backed_up(
    start: Start, backups: Open, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    running = start(version)
    _fill(running.milvus)
    running.milvus.load(NAME)
    running.server.core.faults.unavailable_names = frozenset({"Query"})
    running.server.core.faults.unavailable_calls = 10**6
    taken, done = backups(running), list[str]()
    monkeypatch.setattr(MilvusDatabase, "flush", _told(done, "flush", MilvusDatabase.flush))
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=_told(done, "margin", time.sleep))
    monkeypatch.setattr(moment, "time", clock)

    taken.take("b", collections=[FULL_NAME])

    assert done[:2] == ["margin", "flush"]
    assert taken.document("b").live_row_count is None
    assert taken.rows("b", FULL_NAME) == taken.live_rows(FULL_NAME)


def _told(done: list[str], what: str, real: Callable[..., Any]) -> Callable[..., Any]:
    """Return what does the same, and notes it."""

    def tell(*arguments: Any, **named: Any) -> Any:
        done.append(what)
        return real(*arguments, **named)

    return tell


@pytest.mark.parametrize("version", ["2.3.5", "2.6.19"])
def test_what_was_written_long_before_is_not_read_again_to_prove_the_moment(
    start: Start, backups: Open, version: str
) -> None:
    running = start(version)
    _fill(running.milvus)
    running.milvus.flush(NAME)
    look: list[Callable[[], Snapshot]] = []
    seen: list[Snapshot] = []
    taken = backups(running, lambda: seen.extend(read() for read in look))
    run, now = taken.prepare("b")
    plan = now.model_copy(update={"recent_since": datetime.now(UTC) + timedelta(hours=1)})
    look.append(lambda: run.read(snapshot_name(attempt_of(plan.execution_arn), 0), Snapshot))

    manifest = taken.finish(run, plan)

    assert [snapshot.verdict for snapshot in seen] == [Verdict.PROVEN]
    assert (taken.document("b").moment, taken.document("b").moment_doubt) == (plan.moment, "")
    assert manifest.failures == ()
    assert taken.rows("b", FULL_NAME) == taken.live_rows(FULL_NAME)


@pytest.mark.thread("milvus#33157", "milvus-backup#316")
@pytest.mark.feature(Feature.LEVEL_ZERO)
@pytest.mark.feature(Feature.COLUMN_GROUPS, since="2.6")
@pytest.mark.parametrize("version", NEWER)
def test_deletes_of_level_zero_are_captured_of_partitions_and_of_all(start: Start, backups: Open, version: str) -> None:
    running = start(version)
    _fill(running.milvus)
    taken = backups(running)
    taken.take("b")
    assert {(SegmentLevel.L0, True), (SegmentLevel.L0, False), (SegmentLevel.L1, False)} <= _levels(taken)
    (collection,) = taken.archive("b").collections
    storage = {segment.storage_version for segment in collection.segments if segment.level is SegmentLevel.L1}
    assert storage == {2 if version >= "2.6" else 0}


@pytest.mark.parametrize("version", NEWER)
def test_level_zero_is_in_the_metadata_of_milvus_backup_as_that_tool_has_it(
    start: Start, backups: Open, version: str
) -> None:
    running = start(version)
    _fill(running.milvus)
    taken = backups(running)
    taken.take("b", collections=[FULL_NAME])
    body = taken.store.get(taken.bucket, BackupLayout("backups", "b").meta("full_meta.json"))
    (collection,) = json.loads(body)["collection_backups"]
    of_all = collection["l0_segments"]
    assert all((s["partition_id"], s["is_l0"], s.get("group_id")) == (-1, True, None) for s in of_all)
    of_one = [s for p in collection["partition_backups"] for s in p["segment_backups"] if s.get("is_l0")]
    assert of_one
    assert all(s["group_id"] == s["segment_id"] for s in of_one)
    assert len(collection["channel_checkpoints"]) == 2
    has_channels = all("v_channel" in segment for segment in [*of_all, *of_one])
    assert has_channels == (version != "2.4.23")
