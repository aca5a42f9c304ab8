"""What deleting backups frees of the pool is known before it is done: by lists, as a sweep goes by them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import digest, write_object_list
from milvus_vault.catalogue import Catalogue
from milvus_vault.errors import BackupDamagedError, ServiceUnavailableError
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.resources import ObjectCount
from milvus_vault.pool.references import ReferenceList, listed_sizes
from milvus_vault.pool.unique import UniqueObjects, unique_objects
from tests.support.memory_store import InMemoryObjectStore
from tests.support.pool_world import BUCKET, OBJECTS, PREFIX, World
from tests.unit.pool.test_references import FOLDER, key

NAMES = ("r0", "r1", "r2", "r3")

_LOGS = st.fixed_dictionaries(
    {number: st.lists(st.sampled_from(logs), unique=True) for number, logs in OBJECTS.items()}
)


def told(world: World, names: Sequence[str]) -> Sequence[UniqueObjects]:
    """Return what would go with these backups."""
    others = Catalogue(world.store, BUCKET, PREFIX).sharing()
    return list(unique_objects(world.store, BUCKET, PREFIX, names, others))


def together(found: Sequence[UniqueObjects]) -> tuple[int, int]:
    """Return how many objects and bytes that is."""
    return sum(one.together.object_count for one in found), sum(one.together.size_bytes for one in found)


def of(found: Sequence[UniqueObjects], name: str) -> tuple[int, int]:
    """Return how much of it is of one backup alone."""
    counts = [one.by_backup.get(name, ObjectCount()) for one in found]
    return sum(count.object_count for count in counts), sum(count.size_bytes for count in counts)


@contextmanager
def made(backups: Sequence[Mapping[int, Sequence[int]]]) -> Iterator[World]:
    """Make backups of these segments, one after the other."""
    world = World(names=NAMES)
    with closing(world):
        for name, logs in zip(NAMES, backups, strict=False):
            world.finish(world.make(name, logs))
        yield world


@given(st.lists(_LOGS, min_size=1, max_size=len(NAMES)), st.sets(st.sampled_from(NAMES), min_size=1))
@settings(max_examples=40, deadline=None)
def test_what_is_told_is_what_a_deletion_and_a_sweep_remove(
    backups: Sequence[Mapping[int, Sequence[int]]], chosen: set[str]
) -> None:
    with made(backups) as world:
        names = sorted(chosen.intersection(NAMES[: len(backups)]))
        found = told(world, names)
        assert {name: of(found, name) for name in names} == {name: together(told(world, [name])) for name in names}
        for name in names:
            world.finish(world.delete(name))
        world.pass_night()
        world.finish(world.sweep())
        counts = world.sweeps[-1].counts
        assert together(found) == (counts["objects"], counts["bytes"])
        world.check()


def test_one_that_is_being_made_counts_as_another() -> None:
    with made([{1: [10, 11]}]) as world:
        maker = world.make("r1", {1: [11]})
        maker.until("put", "/backup_meta.json")
        assert together(told(world, ["r0"]))[0] == 1


def test_of_a_collection_of_which_a_list_is_damaged_nothing_is_counted_and_the_list_is_named() -> None:
    with made([{1: [10, 11], 2: [20]}, {1: [11]}]) as world:
        world.store.put(BUCKET, BackupLayout(PREFIX, "r1").object_list(1), b"[]\n")
        found = told(world, ["r0"])
        damaged, whole = sorted(found, key=lambda one: one.problem is None)
        assert damaged.problem is not None
        assert "r1/meta/vault/objects/1.jsonl" in damaged.problem.message
        assert (damaged.together, damaged.by_backup, whole.together.object_count) == (ObjectCount(), {}, 1)


def test_nothing_is_told_while_a_manifest_cannot_be_read() -> None:
    with made([{1: [10]}, {1: [11]}]) as world:
        world.store.put(BUCKET, BackupLayout(PREFIX, "r1").manifest, b"{}")
        with pytest.raises(BackupDamagedError, match="r1"):
            told(world, ["r0"])


def test_lists_that_are_alike_are_not_read() -> None:
    with made([{1: [10]}, {1: [10]}]) as world:
        asked: list[str] = []
        world.store.before = lambda _, __, name: asked.append(name)
        assert together(told(world, ["r0"])) == (0, 0)
        assert not [name for name in asked if "/objects/" in name]


def test_it_goes_on_behind_a_group() -> None:
    with made([{1: [10], 2: [20]}]) as world:
        first, second = told(world, ["r0"])
        rest = list(unique_objects(world.store, BUCKET, PREFIX, ["r0"], [], after=first.group))
        assert rest == [second]


@pytest.mark.parametrize("checks", range(5))
def test_it_ends_whenever_it_is_told_to(checks: int) -> None:
    left = iter(range(checks))

    def check() -> None:
        if next(left, None) is None:
            msg = "no time"
            raise ServiceUnavailableError(msg)

    with made([{1: [10, 11]}, {1: [11]}]) as world, pytest.raises(ServiceUnavailableError):
        list(unique_objects(world.store, BUCKET, PREFIX, ["r0"], ["r1"], check=check))


@pytest.mark.parametrize("source", ['files/insert_log/7/1/2/3/4"', "a\\b", 'x","y",9,"', "größe"])
def test_sizes_are_read_whatever_the_source_is_called(source: str) -> None:
    store = InMemoryObjectStore(BUCKET)
    body = write_object_list(ArchivedObject(key(number), source, number * 7, "etag") for number in range(3))
    store.put(BUCKET, "monday", body)
    (found,) = listed_sizes(store, BUCKET, FOLDER, ReferenceList("monday", "monday", digest("monday", body)))
    assert found == [(key(n).removeprefix(FOLDER).encode(), str(n * 7).encode()) for n in range(3)]
