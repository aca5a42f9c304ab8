"""Captures while names go from one collection to another, and partitions are dropped: no rows are lost unseen."""

from collections.abc import Callable
from typing import Any

import pytest

from milvus_vault.adapters.milvus import MilvusDatabase
from tests.conformance.asking import Milvus, base_fields
from tests.conformance.conftest import Start
from tests.conformance.test_capture import FULL_NAME, NAME, ROWS, Open, backups

VERSIONS = ["2.2.16", "2.3.5", "2.5.27", "2.6.19"]
CALLS = [
    ("describe_collection", 1),
    ("flush", 1),
    ("list_segments", 1),
    ("list_segments", 2),
    ("describe_collection", 2),
]
NEW_ROWS = 3
__all__ = ["backups"]


def _fill(milvus: Milvus) -> None:
    milvus.make(NAME, *base_fields(), shards=2, partitions=("p",))
    milvus.insert(NAME, range(ROWS))
    milvus.insert(NAME, range(ROWS, 2 * ROWS), "p")
    milvus.flush(NAME)
    milvus.delete(NAME, range(5))


def _make_anew(milvus: Milvus) -> None:
    milvus.make(NAME, *base_fields())
    milvus.insert(NAME, range(1000, 1000 + NEW_ROWS))


def _make_anew_empty(milvus: Milvus) -> None:
    milvus.make(NAME, *base_fields())


def _swap(milvus: Milvus) -> None:
    _move_away(milvus)
    milvus.must("RenameCollection", oldName="other", newName=NAME)


def _move_away(milvus: Milvus) -> None:
    milvus.make("other", *base_fields())
    milvus.insert("other", range(1000, 1000 + NEW_ROWS))
    milvus.must("RenameCollection", oldName=NAME, newName="old")


def _give_the_name_as_an_alias(milvus: Milvus) -> None:
    _move_away(milvus)
    milvus.must("CreateAlias", collection_name="other", alias=NAME)


def _before(monkeypatch: pytest.MonkeyPatch, call: str, number: int, work: Callable[[], object]) -> None:
    """Have something done before a call about the collection, by its name and how often it was made."""
    real, made = getattr(MilvusDatabase, call), list[str]()

    def ask(database: MilvusDatabase, place: str, name: str, **named: Any) -> Any:
        made.extend([name] * (name == NAME))
        if len(made) == number and name == NAME:
            work()
        return real(database, place, name, **named)

    monkeypatch.setattr(MilvusDatabase, call, ask)


@pytest.mark.versions(*VERSIONS)
@pytest.mark.parametrize("work", [_make_anew, _make_anew_empty, _swap])
@pytest.mark.parametrize(("call", "number"), CALLS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_collection_that_gets_the_name_of_another_has_a_later_moment(
    start: Start,
    backups: Open,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    call: str,
    number: int,
    work: Callable[[Milvus], None],
) -> None:
    running = start(version)
    _fill(running.milvus)
    taken = backups(running)
    run, plan = taken.prepare("b", collections=[FULL_NAME])
    before = taken.live_rows(FULL_NAME)
    _before(monkeypatch, call, number, lambda: work(running.milvus))

    manifest = taken.finish(run, plan)

    assert manifest.failures == ()
    (entry,) = manifest.collections
    if entry.moment == plan.moment:
        # It was captured before that.
        assert taken.rows("b", FULL_NAME) == before
    else:
        assert entry.moment > plan.moment
        assert len(taken.rows("b", FULL_NAME)) == (0 if work is _make_anew_empty else NEW_ROWS)
    assert not taken.document("b").moment_doubt


@pytest.mark.versions("2.3.5", "2.6.19")
@pytest.mark.parametrize(("call", "number"), CALLS)
@pytest.mark.parametrize("work", [_move_away, _give_the_name_as_an_alias])
@pytest.mark.parametrize("version", ["2.3.5", "2.6.19"])
def test_a_collection_that_has_its_name_no_more_fails_and_no_other_is_taken_for_it(
    start: Start,
    backups: Open,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    call: str,
    number: int,
    work: Callable[[Milvus], None],
) -> None:
    running = start(version)
    _fill(running.milvus)
    running.milvus.make("stays", *base_fields())
    taken = backups(running)
    run, plan = taken.prepare("b", collections=[FULL_NAME, "default.stays"])
    before = taken.live_rows(FULL_NAME)
    _before(monkeypatch, call, number, lambda: work(running.milvus))

    manifest = taken.finish(run, plan)

    assert {entry.name.name for entry in manifest.collections} - {NAME} == {"stays"}
    if manifest.failures:
        (failure,) = manifest.failures
        assert (str(failure.name), failure.error) == (FULL_NAME, "CollectionNotFoundError")
        assert failure.message == "default.c was dropped or renamed after the backup had begun"
    else:
        assert taken.rows("b", FULL_NAME) == before


@pytest.mark.versions(*VERSIONS)
@pytest.mark.parametrize(("call", "number"), [("flush", 1), ("list_segments", 1), ("describe_collection", 2)])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_collection_that_loses_a_partition_while_it_is_captured_has_a_later_moment(
    start: Start, backups: Open, monkeypatch: pytest.MonkeyPatch, version: str, call: str, number: int
) -> None:
    running = start(version)
    _fill(running.milvus)
    taken = backups(running)
    run, plan = taken.prepare("b", collections=[FULL_NAME])
    drop = {"collection_name": NAME, "partition_name": "p"}
    _before(monkeypatch, call, number, lambda: running.milvus.must("DropPartition", **drop))

    manifest = taken.finish(run, plan)

    assert manifest.failures == ()
    assert taken.document("b").moment > plan.moment
    assert taken.rows("b", FULL_NAME) == taken.live_rows(FULL_NAME)


@pytest.mark.versions("2.3.5", "2.6.19")
@pytest.mark.parametrize("version", ["2.3.5", "2.6.19"])
def test_a_collection_that_is_captured_by_one_name_is_not_captured_by_another(
    start: Start, backups: Open, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    running = start(version)
    _fill(running.milvus)
    running.milvus.make("other", *base_fields())
    running.milvus.insert("other", range(1000, 1000 + NEW_ROWS))
    swaps = [lambda: running.milvus.must("RenameCollection", oldName="other", newName=NAME)]
    swaps += [lambda: running.milvus.must("RenameCollection", oldName=NAME, newName="old")]

    def swap() -> None:
        # After the first round, in which one of both was captured.
        while swaps:
            swaps.pop()()

    taken = backups(running, before_copies=swap)
    run, plan = taken.prepare("b", collections=[FULL_NAME, "default.other"])
    drop = {"collection_name": NAME, "partition_name": "p"}
    _before(monkeypatch, "list_segments", 1, lambda: running.milvus.must("DropPartition", **drop))

    manifest = taken.finish(run, plan)

    assert [(str(found.name), found.error) for found in manifest.failures] == [(FULL_NAME, "CollectionNotFoundError")]
    assert [entry.name.name for entry in manifest.collections] == ["other"]
    assert taken.rows("b", "default.other") == taken.live_rows(FULL_NAME)


@pytest.mark.versions("2.3.5", "2.6.19")
@pytest.mark.parametrize("version", ["2.3.5", "2.6.19"])
def test_rows_that_were_counted_while_a_partition_was_released_are_not_the_number_of_rows(
    start: Start, backups: Open, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    running = start(version)
    _fill(running.milvus)
    running.milvus.load(NAME)
    release = {"collection_name": NAME, "partition_names": ["p"]}
    _before(monkeypatch, "count_rows", 1, lambda: running.milvus.must("ReleasePartitions", **release))
    taken = backups(running)

    (entry,) = taken.take("b", collections=[FULL_NAME]).collections

    assert entry.live_row_count is None
    assert taken.rows("b", FULL_NAME) == taken.live_rows(FULL_NAME)


def test_a_plan_that_an_older_build_wrote_has_no_ids(start: Start, backups: Open) -> None:
    running = start("2.5.27")
    _fill(running.milvus)
    taken = backups(running)
    run, plan = taken.prepare("b", collections=[FULL_NAME])
    assert plan.collection_ids == (taken.database.collection_id("default", NAME),)

    taken.finish(run, plan.model_copy(update={"collection_ids": ()}))

    assert taken.document("b").moment == plan.moment
    assert taken.rows("b", FULL_NAME) == taken.live_rows(FULL_NAME)
