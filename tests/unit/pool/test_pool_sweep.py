"""What a sweep of the pool says when it deletes nothing, and how it goes on."""

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.pool import PooledKey, PoolLayout, group_of
from milvus_vault.model.objects import ListedObject
from milvus_vault.pool.doubts import Doubt, PoolDoubts
from milvus_vault.pool.references import References, unlisted
from milvus_vault.retention import pool_sweep
from milvus_vault.retention.pool_sweep import STOP_SECONDS, PoolSweep
from milvus_vault.retention.working_files import POOL_SWEPT, PoolSwept
from milvus_vault.workspace import Workspace
from tests.support.pool_world import BUCKET, MILVUS, NIGHT, PREFIX, SOURCE, World, source_key


@pytest.fixture
def world() -> Iterator[World]:
    """A pool with an object that no backup lists, and one that a backup does."""
    world = World(sweeper=PoolSweep)
    world.finish(world.make("r0", {1: [10]}))
    world.finish(world.make("r1", {1: [11]}))
    world.finish(world.delete("r0"))
    world.pass_night()
    yield world
    # Threads of an actor would wait for their turn for ever.
    world.close()


def sweep(world: World) -> PoolSweep:
    """Sweep."""
    world.finish(world.sweep())
    return world.sweeps[-1]


def test_what_no_backup_lists_goes_and_is_counted(world: World) -> None:
    swept = sweep(world)
    assert (swept.counts, swept.waiting, swept.reasons) == ({"objects": 1, "bytes": 10}, [], [])
    assert len(world.pooled()) == 1
    noted = PoolSwept.model_validate_json(world.store.buckets[BUCKET][swept.run.key(POOL_SWEPT)].body)
    assert (noted.groups_done, noted.groups_total, noted.object_count) == (1, 1, 1)
    assert noted.begun_at is not None


def test_each_list_is_read_when_it_is_condemned_and_when_it_is_decided(world: World) -> None:
    listed = BackupLayout(PREFIX, "r1").object_list(1)
    read: list[str] = []
    world.store.before = lambda operation, _, key: read.append(key) if operation == "chunks" else None
    assert sweep(world).counts["objects"] == 1
    assert read == [listed, listed]


def test_what_was_copied_lately_stays(world: World) -> None:
    world.now -= NIGHT - timedelta(hours=1)
    assert not sweep(world).counts


def test_small_groups_are_dealt_with_side_by_side_and_large_ones_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_sweep, "_SMALL_GROUP", 2)
    for name, logs in (("r2", {number: [number] for number in range(20, 28)}), ("r3", {30: [31, 32, 33, 34]})):
        for number, log in ((of, log) for of, found in logs.items() for log in found):
            world.store.put(MILVUS, source_key(number, log), b"rows of 1")
        world.finish(world.make(name, logs))
        world.finish(world.delete(name))
    world.pass_night()
    world.statuses["mine"] = "RUNNING"
    together, alone = threading.Barrier(2, timeout=20), set[str]()
    under_way: Counter[str] = Counter()
    large = PoolLayout(PREFIX).condemned(group_of(MILVUS, SOURCE.root_path, 30))

    def before(operation: str, _: str, key: str) -> None:
        if operation != "put" or "/.condemned/" not in key:
            return
        under_way[key] += 1
        if key == large:
            alone.add(key)
        elif under_way.total() <= 2:
            together.wait()

    world.store.before = before
    run = Workspace(world.store, BUCKET, PREFIX, "prune-mine")
    sweep = PoolSweep(run, world, "mine", world.grace, lambda: 900.0)
    assert sweep.sweep()
    assert (sweep.counts["objects"], sweep.waiting, sweep.reasons) == (1 + 8 + 4, [], [])
    assert alone == {large}
    assert len(world.pooled()) == 1


@pytest.mark.parametrize("status", ["RUNNING", "UNKNOWN"])
def test_who_may_be_running_is_waited_for_by_name(world: World, status: str) -> None:
    maker = world.make("r2", {1: [12]})
    maker.until("put", "/objects/1.jsonl")
    world.statuses[maker.arn] = status
    swept = sweep(world)
    assert not swept.counts
    assert (len(swept.waiting), len(swept.reasons)) == (1, 1)
    assert f"{maker.arn} ({status})" in swept.reasons[0]
    world.statuses[maker.arn] = "ABORTED"
    assert sweep(world).counts["objects"] == 1
    world.finish(maker)
    assert BackupLayout(PREFIX, "r2").marker not in world.store.buckets[BUCKET]


def test_nothing_goes_while_a_manifest_cannot_be_read(world: World) -> None:
    world.store.put(BUCKET, BackupLayout(PREFIX, "r1").manifest, b"{}")
    swept = sweep(world)
    assert not swept.counts
    assert "r1/meta/vault/manifest.json" in swept.reasons[0]


def test_nothing_of_a_collection_goes_while_a_list_of_it_is_missing(world: World) -> None:
    world.store.delete(BUCKET, [BackupLayout(PREFIX, "r1").object_list(1)])
    swept = sweep(world)
    assert (not swept.counts, len(swept.waiting)) == (True, 1)
    assert "r1/meta/vault/objects/1.jsonl" in swept.reasons[0]


def test_one_that_has_ended_is_waited_for_by_nobody_who_may_not_ask_about_it(world: World) -> None:
    """Such as another stack, which sweeps the same pool."""
    dead = world.sweep()
    dead.until("delete", "/.pool/")
    world.statuses[dead.arn] = "UNKNOWN"
    (reason,) = sweep(world).reasons
    assert reason == f"execution {dead.arn} sweeps the pool: {PoolLayout(PREFIX).claim}"
    world.statuses[dead.arn] = "ABORTED"
    world.now += timedelta(hours=2)
    assert sweep(world).counts["objects"] == 1
    assert PoolLayout(PREFIX).claim not in world.store.buckets[BUCKET]


@pytest.mark.parametrize("is_readable", [True, False])
@pytest.mark.parametrize(("hours", "is_over"), [(24, False), (25, True)])
def test_a_claim_that_nobody_can_be_asked_about_is_taken_over_once_no_execution_is_that_old(
    world: World, hours: int, *, is_over: bool, is_readable: bool
) -> None:
    """Such as that of a stack that was removed while it swept."""
    gone, claim = world.sweep(), PoolLayout(PREFIX).claim
    gone.until("put", "/.condemned/")
    world.hide(gone, is_gone=False)
    if not is_readable:
        world.store.put(BUCKET, claim, b"{")
    world.now += timedelta(hours=hours)
    swept = sweep(world)
    assert swept.counts["objects"] == is_over
    assert (swept.reasons == []) is is_over
    assert (claim in world.store.buckets[BUCKET]) is not is_over
    if is_over and is_readable:
        # It was alive all the same: somebody has redriven it.
        world.finish(gone)
        assert not world.sweeps[0].counts
    world.check()


def test_a_claim_that_was_taken_anew_meanwhile_is_as_young_as_that(world: World) -> None:
    world.hide(world.sweep(), is_gone=True)
    world.store.put(BUCKET, claim := PoolLayout(PREFIX).claim, b"{}")
    world.now += timedelta(hours=30)
    late = world.sweep()
    late.until("list", "/.sweep/")
    world.store.put(BUCKET, claim, b"[]")
    world.finish(late)
    assert "sweeps the pool" in world.sweeps[-1].reasons[0]
    assert world.store.buckets[BUCKET][claim].body == b"[]"


@pytest.mark.parametrize(("hours", "is_over"), [(24, False), (25, True)])
def test_a_note_that_nobody_can_be_asked_about_is_void_once_no_execution_is_that_old(
    world: World, hours: int, *, is_over: bool
) -> None:
    maker = world.make("r2", {1: [12]})
    maker.until("put", "/objects/1.jsonl")
    world.hide(maker, is_gone=False)
    world.now += timedelta(hours=hours)
    swept = sweep(world)
    assert bool(swept.counts["objects"]) is is_over
    assert (swept.reasons == []) is is_over
    world.finish(maker)
    assert (BackupLayout(PREFIX, "r2").marker in world.store.buckets[BUCKET]) is not is_over
    world.check()


@pytest.mark.parametrize("is_readable", [True, False])
def test_the_claim_is_given_back(world: World, is_readable: bool) -> None:
    if not is_readable:
        world.store.put(BUCKET, BackupLayout(PREFIX, "r1").manifest, b"{}")
    assert bool(sweep(world).counts) == is_readable
    assert PoolLayout(PREFIX).claim not in world.store.buckets[BUCKET]


def test_of_two_sweeps_one_works(world: World) -> None:
    first = world.sweep()
    first.until("delete", "/.pool/")
    swept = sweep(world)
    assert (not swept.counts, first.arn in swept.reasons[0]) == (True, True)
    world.finish(first)
    assert world.sweeps[0].counts["objects"] == 1


@pytest.mark.parametrize("checks", range(4))
def test_one_that_runs_out_of_time_goes_on(world: World, checks: int) -> None:
    left = iter([900.0] * checks)
    world.statuses["mine"] = "RUNNING"
    run = Workspace(world.store, BUCKET, PREFIX, "prune-mine")
    done = [
        PoolSweep(run, world, "mine", world.grace, lambda: next(left, STOP_SECONDS - 1), threads=1).sweep(),
        PoolSweep(run, world, "mine", world.grace, lambda: 900.0, threads=1).sweep(),
    ]
    assert done == [False, True]
    assert len(world.pooled()) == 1


@pytest.mark.parametrize(("minutes", "deleted"), [(59, 0), (61, 1)])
def test_what_a_dead_function_began_to_delete_is_gone_on_with_after_an_hour(
    world: World, minutes: int, deleted: int
) -> None:
    first = world.sweep()
    first.until("delete", "/.pool/")
    world.end(first)
    first.kill()
    world.now += timedelta(minutes=minutes)
    swept = sweep(world)
    assert swept.counts["objects"] == deleted
    assert (swept.reasons == []) == bool(deleted)


def test_a_collection_whose_lists_take_too_long_is_tried_alone_and_then_left(world: World) -> None:
    """The others get their turn."""
    world.finish(world.make("r2", {2: [20]}))
    world.finish(world.delete("r2"))
    world.pass_night()
    world.statuses["mine"] = "RUNNING"
    run = Workspace(world.store, BUCKET, PREFIX, "prune-mine")
    slow = group_of(MILVUS, SOURCE.root_path, 1)

    class Slow(PoolSweep):
        looked_at = ""

        def _condemn(self, group: str, references: References, *, are_many: bool) -> bool | None:
            self.looked_at = group
            return super()._condemn(group, references, are_many=are_many)

        def _check_reading(self) -> None:
            if self.looked_at == slow:
                self.seconds_left = lambda: 0.0
            super()._check_reading()

    calls: list[PoolSweep] = []
    for _ in range(6):
        calls.append(Slow(run, world, "mine", world.grace, lambda: 900.0, threads=1))
        if calls[-1].sweep():
            break
    (reason,) = (reason for call in calls for reason in call.reasons)
    assert [group for call in calls for group in call.waiting] == [slow]
    assert "take longer" in reason
    assert all(slow in key for key in world.pooled())


@pytest.mark.parametrize("pages", [1, 2])
def test_a_listing_ends_when_time_does_and_what_it_found_is_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    """Of three objects, each a page, of which backups list none."""
    world.finish(world.make("r0", {1: [10, 12]}))
    for name in ("r0", "r1"):
        world.finish(world.delete(name))
    world.pass_night()
    monkeypatch.setattr(pool_sweep, "_LISTED_BETWEEN_LOOKS", 1)
    monkeypatch.setattr(pool_sweep, "unlisted", partial(unlisted, at_a_time=1))
    world.statuses["mine"] = "RUNNING"
    run = Workspace(world.store, BUCKET, PREFIX, "prune-mine")

    class Short(PoolSweep):
        def _old(self, folder: str) -> Iterator[ListedObject]:
            self.left = pages
            yield from super()._old(folder)

        def _check_reading(self) -> None:
            self.left -= 1
            if self.left < 0:
                self.seconds_left = lambda: 0.0
            super()._check_reading()

    before, calls = len(world.pooled()), list[PoolSweep]()
    while not calls or not calls[-1].sweep():
        calls.append(Short(run, world, "mine", world.grace, lambda: 900.0, threads=1))
        assert len(calls) < 20
    assert (before, len(world.pooled())) == (3, 0)
    assert not [reason for call in calls for reason in call.reasons]
    assert len(calls) > 1


@pytest.mark.parametrize("checks", range(4, 12))
def test_functions_that_have_time_for_little_come_to_an_end_together(world: World, checks: int) -> None:
    world.finish(world.make("r2", {2: [20]}))
    world.finish(world.delete("r2"))
    world.pass_night()
    world.statuses["mine"] = "RUNNING"
    run = Workspace(world.store, BUCKET, PREFIX, "prune-mine")

    def is_done() -> bool:
        left = iter([900.0] * checks)
        return PoolSweep(run, world, "mine", world.grace, lambda: next(left, STOP_SECONDS - 1), threads=1).sweep()

    assert any(is_done() for _ in range(10))
    assert len(world.pooled()) == 1


def test_what_cannot_be_read_is_told_and_keeps_nobody_from_the_rest(world: World) -> None:
    layout = PoolLayout(PREFIX)
    for key in (layout.user("backup-x", "aaaaaaaa"), layout.condemned("0123456789ab-9")):
        world.store.put(BUCKET, key, b"{")
    world.pass_night()
    swept = sweep(world)
    assert not swept.counts
    assert {reason.rpartition("/")[2].partition(",")[0] for reason in swept.reasons} >= {"aaaaaaaa.json"}
    assert not [key for key in world.store.buckets[BUCKET] if key == layout.claim]


def test_notes_and_lists_of_long_ago_go(world: World) -> None:
    dead = world.make("r2", {2: [20]})
    dead.until("put", "/objects/2.jsonl")
    world.end(dead)
    for _ in range(6):
        world.pass_night()
        sweep(world)
    keys = world.store.buckets[BUCKET]
    layout = PoolLayout(PREFIX)
    assert not [key for key in keys if key.startswith(layout.users)]
    assert len([key for key in keys if key.startswith(layout.condemned_lists)]) == 1


def test_doubts_of_a_collection_without_objects_go_once_they_are_old(world: World) -> None:
    doubts, group = PoolDoubts(world.store, BUCKET, PREFIX), "0123456789ab-7"
    layout = PoolLayout(PREFIX)
    key = layout.key(PooledKey(group, 1, "0" * 32, "1a2b3c4d"))
    doubt = Doubt(problem="its rows are others", found_at=world.now, found_by="r1", listed_by=("r1",))
    late = world.sweep()
    late.until("list", layout.users)
    # The sweep has listed the groups by now; this one is made and verified meanwhile.
    doubts.change({key: doubt}, {})
    world.finish(late)
    assert doubts.read() == {key: doubt}
    world.pass_night()
    sweep(world)
    assert doubts.read() == {}
