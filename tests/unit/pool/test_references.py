"""What lists of backups say of the pool: in any order, and nothing where a list is not the one that was written."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.archive.manifest import digest, write_object_list
from milvus_vault.archive.pool import PooledKey, PoolLayout
from milvus_vault.errors import BackupDamagedError
from milvus_vault.model.objects import ArchivedObject, ListedObject
from milvus_vault.pool.references import ReferenceList, unlisted
from tests.support.memory_store import InMemoryObjectStore

BUCKET, GROUP, OTHER = "backups", "0123456789ab-7", "0123456789ac-7"
FOLDER = PoolLayout("nightly").folder(GROUP)
NUMBERS = st.lists(st.integers(0, 30))


def key(number: int, group: str = GROUP) -> str:
    """Return the key of an object in the pool."""
    return PoolLayout("nightly").key(PooledKey(group, number, f"{number:032x}", "01234567"))


def put_list(store: InMemoryObjectStore, name: str, keys: Sequence[str]) -> ReferenceList:
    """Write the list of a backup."""
    body = write_object_list(ArchivedObject(each, "files/insert_log/7/1/2/3/4", 1, "etag") for each in keys)
    store.put(BUCKET, name, body)
    return ReferenceList(name, name, digest(name, body))


@given(NUMBERS, st.lists(NUMBERS, max_size=3), st.integers(1, 40))
def test_what_no_list_has_is_found_in_any_order(listed: list[int], lists: list[list[int]], at_a_time: int) -> None:
    store = InMemoryObjectStore(BUCKET)
    references = [put_list(store, str(index), [key(n) for n in some]) for index, some in enumerate(lists)]
    unique = list(dict.fromkeys(listed))
    objects = [ListedObject(key(number), number, "") for number in unique]
    found = dict(unlisted(store, BUCKET, FOLDER, references, objects, at_a_time=at_a_time))
    expected = set(unique) - {number for some in lists for number in some}
    assert found == {key(number).removeprefix(FOLDER): number for number in expected}


def test_what_is_no_object_of_a_group_is_left_alone() -> None:
    store = InMemoryObjectStore(BUCKET)
    objects = [ListedObject(f"{FOLDER}notes.txt", 1, ""), ListedObject(key(1), 1, "")]
    assert [found for found, _ in unlisted(store, BUCKET, FOLDER, [], objects)] == [key(1).removeprefix(FOLDER)]


@pytest.mark.parametrize("damage", ["gone", "another", "cut", "of another group"])
def test_nothing_is_said_by_a_list_that_is_not_what_was_written(damage: str) -> None:
    store = InMemoryObjectStore(BUCKET)
    reference = put_list(store, "monday", [key(1), key(2, OTHER if damage == "of another group" else GROUP)])
    body = store.get(BUCKET, "monday")
    if damage == "gone":
        store.delete(BUCKET, ["monday"])
    elif damage != "of another group":
        store.put(BUCKET, "monday", body[:-1] if damage == "cut" else body.replace(b"etag", b"gate"))
    with pytest.raises(BackupDamagedError, match="monday"):
        list(unlisted(store, BUCKET, FOLDER, [reference], [ListedObject(key(3), 1, "")]))
