"""What the prefix holds: what backups list, what is stored, and which schedule costs how much of it."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain, repeat
from threading import Lock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.pool import PoolLayout, is_pooled
from milvus_vault.catalogue import Catalogue
from milvus_vault.errors import InvalidRequestError, ServiceUnavailableError
from milvus_vault.inspection.estimate import GB
from milvus_vault.inspection.stats import prefix_stats
from milvus_vault.model.prices import GB_MONTH_USD
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
    assert asked
    assert not [name for name in asked if name.startswith(f"{PREFIX}/.pool/")]


def test_of_nothing_there_is_nothing() -> None:
    found = stats(World())
    assert (found.backup_count, found.size_bytes, found.ratio, found.schedules) == (0, 0, None, ())
    assert found.stored == ObjectCount()


def test_one_that_cannot_be_read_is_counted_as_damaged(world: World) -> None:
    layout = BackupLayout(PREFIX, "full")
    world.store.put(BUCKET, layout.manifest, b"{}")
    found = stats(world)
    assert (found.backup_count, found.damaged_count, found.modes[0].backup_count) == (3, 1, 0)


@pytest.fixture
def _page_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the clock looked at after each object."""
    monkeypatch.setattr("milvus_vault.inspection.stats.LISTED_AT_A_TIME", 1)


def by_tokens(world: World, times: Iterator[bool]) -> list[Stats]:
    """Return all answers, one after the other; `times` says at each look at the clock whether there is time."""
    lock = Lock()

    def has_time() -> bool:
        with lock:
            return next(times)

    catalogue, answers = Catalogue(world.store, BUCKET, PREFIX), list[Stats]()
    while not answers or answers[-1].next_token:
        token = answers[-1].next_token if answers else None
        assert token is None or len(token) <= 4096
        answers.append(
            prefix_stats(world.store, BUCKET, PREFIX, catalogue, with_pool=True, token=token, has_time=has_time)
        )
        assert len(answers) < 20
    return answers


@pytest.mark.usefixtures("_page_of_one")
@given(st.lists(st.booleans(), max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_pool_of_any_size_is_told_of_over_as_many_answers_as_it_takes(times: list[bool]) -> None:
    with closing(World()) as world:
        for name, logs in BACKUPS.items():
            world.finish(world.make(name, logs))
        *before, last = by_tokens(world, chain(times, repeat(False)))
        assert last == stats(world)
        for answer in before:
            assert (answer.pool, answer.stored, answer.ratio, answer.storage_cost_usd_per_month) == (None,) * 4
            assert answer.backup_count == 2
        found = [answer.listing.object_count for answer in before if answer.listing]
        assert found == sorted(found)
        assert len(found) == len(before)


@pytest.mark.usefixtures("_page_of_one")
def test_how_far_the_listing_is_is_told_in_collections(world: World) -> None:
    first, *_ = by_tokens(world, repeat(False))
    assert first.listing is not None
    assert (first.listing.object_count, first.listing.size_bytes) == (1, 10)
    # Which of the two collections comes first, the one of two objects or the other, is a matter of hashes.
    assert (first.listing.collection_count, first.listing.collection_total) in {(0, 2), (1, 2)}


@pytest.mark.usefixtures("_page_of_one")
def test_what_went_between_two_answers_is_no_fault(world: World) -> None:
    first, *_ = by_tokens(world, repeat(False))
    for key in [key for key in world.store.buckets[BUCKET] if is_pooled(key)]:
        world.store.delete(BUCKET, [key])
    catalogue = Catalogue(world.store, BUCKET, PREFIX)
    last = prefix_stats(world.store, BUCKET, PREFIX, catalogue, with_pool=True, token=first.next_token)
    assert (last.pool, last.next_token) == (ObjectCount(object_count=1, size_bytes=10), None)


@pytest.mark.parametrize("token", ["nonsense", "e30x", "eyJhZnRlciI6IDF9"])
def test_a_token_that_is_none_is_refused(world: World, token: str) -> None:
    catalogue = Catalogue(world.store, BUCKET, PREFIX)
    with pytest.raises(InvalidRequestError, match="not one of this list"):
        prefix_stats(world.store, BUCKET, PREFIX, catalogue, with_pool=True, token=token)


@pytest.mark.parametrize("checks", [0, 1])
def test_it_ends_whenever_it_is_told_to(world: World, checks: int) -> None:
    left = iter(range(checks))

    def check() -> None:
        if next(left, None) is None:
            msg = "no time"
            raise ServiceUnavailableError(msg)

    catalogue = Catalogue(world.store, BUCKET, PREFIX)
    with pytest.raises(ServiceUnavailableError):
        prefix_stats(world.store, BUCKET, PREFIX, catalogue, with_pool=True, check=check)
