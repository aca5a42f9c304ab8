"""A dry run says what its deletions would free: of full backups all, and of the pool what no other backup lists."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.model.requests import PruneRequest
from milvus_vault.pool.unique import MOST_BACKUPS
from milvus_vault.retention import freed as freeing
from milvus_vault.retention.freed import LAST_SECONDS, tell_freed
from milvus_vault.retention.report import report_prune
from milvus_vault.retention.working_files import FREED, Deletion, Freed, FreedSoFar, PrunePlan
from milvus_vault.workspace import Workspace
from tests.support.pool_world import BEGIN, BUCKET, PREFIX, World

# Of the pool the segments 10, 11 and 12 of a collection, and 20 of another.
BACKUPS = {"r0": {1: [10, 11], 2: [20]}, "r1": {1: [10, 12]}, "r2": {1: [12]}}
FULL = Deletion(name="full", size_bytes=500, object_count=5, marker_etag="e", may_share=False)


@pytest.fixture
def world() -> Iterator[World]:
    """Three incremental backups."""
    with closing(World()) as world:
        for name, logs in BACKUPS.items():
            world.finish(world.make(name, logs))
        yield world


def spared(name: str) -> Deletion:
    """Return what the plan says of an incremental backup."""
    return Deletion(name=name, size_bytes=70, object_count=7, marker_etag="e")


def plan_of(*deletions: Deletion) -> PrunePlan:
    """Return the plan of a dry run."""
    return PrunePlan(
        request=PruneRequest(dry_run=True),
        execution_arn="arn:prune:dry",
        started_at=BEGIN,
        decisions=(),
        deletions=(),
        spared=deletions,
    )


def told(world: World, plan: PrunePlan, seconds_left: float = 900.0) -> tuple[Freed, int]:
    """Return what is told in the end, and how many calls it takes."""
    run = Workspace(world.store, BUCKET, PREFIX, "prune-dry")
    calls = 1
    while not tell_freed(run, plan, lambda: seconds_left):
        calls += 1
    freed = report_prune(run, plan, BEGIN + timedelta(minutes=1)).report.freed
    assert freed is not None
    return freed, calls


def by_name(freed: Freed) -> dict[str, int]:
    """Return how many objects each backup alone would free."""
    return {backup.name: backup.object_count for backup in freed.backups}


def test_a_full_backup_frees_all_and_others_what_nobody_else_lists(world: World) -> None:
    freed, _ = told(world, plan_of(FULL, spared("r0"), spared("r1")))
    # 11 and 20 are of the first alone, 10 of these two.
    assert by_name(freed) == {"full": 5, "r0": 2, "r1": 0}
    assert (freed.object_count, freed.size_bytes, freed.reasons) == (5 + 3, 500 + 3 * len("rows of 10"), ())


def test_how_far_it_is_is_written_down_as_it_goes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freeing, "_NOTED_AT_A_TIME", 1)
    run = Workspace(world.store, BUCKET, PREFIX, "prune-dry")
    written: list[tuple[int, int | None]] = []

    def look(operation: str, _: str, key: str) -> None:
        if operation == "put" and key == run.key(FREED) and (so_far := run.find(FREED, FreedSoFar)):
            written.append((so_far.groups_done, so_far.groups_total))

    world.store.before = look
    told(world, plan_of(spared("r0")))
    assert written == [(1, 2), (2, 2)]


def test_where_a_whole_call_is_too_short_for_a_collection_nobody_knows_and_it_ends(world: World) -> None:
    freed, calls = told(world, plan_of(FULL, spared("r0")), seconds_left=LAST_SECONDS - 1)
    assert calls == 1
    assert by_name(freed) == {"full": 5}
    assert "take longer" in freed.reasons[0]


@pytest.mark.parametrize("names", [(), ("r2",), ("r0", "r1", "r2")])
def test_however_short_the_calls_are_they_come_to_the_same(world: World, names: tuple[str, ...]) -> None:
    plan = plan_of(FULL, *map(spared, names))
    short, calls = told(world, plan, seconds_left=LAST_SECONDS)
    assert calls == 1 + sum(len(groups) for groups in [{n for name in names for n in BACKUPS[name]}])
    world.store.delete(BUCKET, [key for key in world.store.buckets[BUCKET] if "/prune-dry/" in key])
    assert told(world, plan) == (short, 1)


def test_while_a_manifest_cannot_be_read_only_full_ones_are_told_and_why(world: World) -> None:
    world.store.put(BUCKET, BackupLayout(PREFIX, "r2").manifest, b"{}")
    freed, _ = told(world, plan_of(FULL, spared("r0")))
    assert (by_name(freed), freed.size_bytes) == ({"full": 5}, 500)
    assert "r2/meta/vault/manifest.json" in freed.reasons[0]


def test_a_collection_of_which_a_list_is_damaged_would_stay_and_that_is_told(world: World) -> None:
    world.store.delete(BUCKET, [BackupLayout(PREFIX, "r2").object_list(1)])
    freed, _ = told(world, plan_of(spared("r0")))
    assert by_name(freed) == {"r0": 1}
    assert "r2/meta/vault/objects/1.jsonl" in freed.reasons[0]


def test_of_very_many_it_is_not_told(world: World) -> None:
    freed, _ = told(world, plan_of(FULL, *(spared(f"n{number}") for number in range(MOST_BACKUPS + 1))))
    assert (freed.object_count, len(freed.backups), len(freed.reasons)) == (5, 1, 1)


def test_of_one_of_which_nothing_can_be_read_it_is_not_told(world: World) -> None:
    freed, _ = told(world, plan_of(Deletion(name="odd", size_bytes=0, marker_etag="")))
    assert freed == Freed()
