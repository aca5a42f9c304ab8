"""What the prefix holds: what backups list, what is stored, and which schedule costs how much of it."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.pool import PoolLayout
from milvus_vault.catalogue import Catalogue
from milvus_vault.errors import ServiceUnavailableError
from milvus_vault.inspection.estimate import GB, GB_MONTH_USD
from milvus_vault.inspection.stats import prefix_stats
from milvus_vault.model.requests import ScheduleTag
from milvus_vault.model.resources import ObjectCount, Stats
from tests.support.pool_world import BUCKET, PREFIX, World
from tests.unit.archive.samples import sample_contents, write_backup

# Each object has ten bytes.
BACKUPS = {"r0": {1: [10, 11], 2: [20]}, "r1": {1: [10]}}


def stats(world: World, *, with_pool: bool = True) -> Stats:
    """Return what the prefix holds."""
    catalogue = Catalogue(world.store, BUCKET, PREFIX)
    return prefix_stats(world.store, BUCKET, PREFIX, catalogue, with_pool=with_pool)


@pytest.fixture
def world() -> Iterator[World]:
    """Two incremental backups, and a full one of the schedule `nightly`."""
    with closing(World()) as world:
        for name, logs in BACKUPS.items():
            world.finish(world.make(name, logs))
        layout = BackupLayout(PREFIX, "full")
        began = datetime(2026, 11, 22, tzinfo=UTC)
        write_backup(
            world.store, layout, sample_contents(layout), started_at=began, schedule=ScheduleTag(name="nightly")
        )
        yield world


def test_what_backups_list_is_added_up_and_what_they_share_is_stored_once(world: World) -> None:
    found = stats(world)
    full, incremental = found.modes
    assert (full.mode, full.backup_count, incremental.mode, incremental.backup_count) == ("full", 1, "incremental", 2)
    assert (incremental.object_count, incremental.size_bytes) == (4, 40)
    assert (found.backup_count, found.size_bytes) == (3, full.size_bytes + 40)
    assert found.pool == ObjectCount(object_count=3, size_bytes=30)
    assert found.stored == ObjectCount(object_count=full.object_count + 3, size_bytes=full.size_bytes + 30)
    assert found.ratio == found.size_bytes / found.stored.size_bytes
    assert found.storage_cost_usd_per_month == found.stored.size_bytes / GB * GB_MONTH_USD


def test_schedules_have_all_of_their_full_backups_and_their_part_of_the_pool(world: World) -> None:
    catalogue = Catalogue(world.store, BUCKET, PREFIX)
    stats(world)
    summary = next(item for item in catalogue.list(10, None).items if item.name == "r1")
    catalogue.forget("r1")
    catalogue.publish(summary.model_copy(update={"schedule": "nightly"}))
    found = stats(world)
    full = found.modes[0]
    nightly, others = found.schedules
    assert (nightly.schedule, nightly.backup_count, nightly.size_bytes) == ("nightly", 2, full.size_bytes + 10)
    # A quarter of the 40 bytes that are listed, and so of the 30 in the pool.
    assert (nightly.stored_bytes, others.stored_bytes) == (full.size_bytes + 8, 22)
    assert (others.schedule, others.backup_count) == (None, 1)
    assert nightly.storage_cost_usd_per_month == (full.size_bytes + 8) / GB * GB_MONTH_USD


def test_what_no_backup_lists_any_more_is_stored_all_the_same(world: World) -> None:
    world.finish(world.delete("r0"))
    world.store.put(BUCKET, f"{PoolLayout(PREFIX).condemned_lists}x.json", b"{}")
    found = stats(world)
    assert found.pool == ObjectCount(object_count=3, size_bytes=30)
    assert found.modes[1].size_bytes == 10


def test_without_the_pool_nothing_is_said_of_what_is_stored(world: World) -> None:
    asked: list[str] = []
    world.store.before = lambda _, __, name: asked.append(name)
    found = stats(world, with_pool=False)
    assert (found.pool, found.stored, found.ratio, found.storage_cost_usd_per_month) == (None, None, None, None)
    assert [(one.stored_bytes, one.storage_cost_usd_per_month) for one in found.schedules] == [(None, None)] * 2
    assert not [name for name in asked if "/.pool/" in name]


def test_of_nothing_there_is_nothing() -> None:
    found = stats(World())
    assert (found.backup_count, found.size_bytes, found.ratio, found.schedules) == (0, 0, None, ())
    assert found.stored == ObjectCount()


def test_one_that_cannot_be_read_is_counted_as_damaged(world: World) -> None:
    layout = BackupLayout(PREFIX, "full")
    world.store.put(BUCKET, layout.manifest, b"{}")
    found = stats(world)
    assert (found.backup_count, found.damaged_count, found.modes[0].backup_count) == (3, 1, 0)


@pytest.mark.parametrize("checks", [0, 1, 3])
def test_it_ends_whenever_it_is_told_to(world: World, checks: int) -> None:
    left = iter(range(checks))

    def check() -> None:
        if next(left, None) is None:
            msg = "no time"
            raise ServiceUnavailableError(msg)

    catalogue = Catalogue(world.store, BUCKET, PREFIX)
    with pytest.raises(ServiceUnavailableError):
        prefix_stats(world.store, BUCKET, PREFIX, catalogue, with_pool=True, check=check)
