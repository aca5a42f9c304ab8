"""What stands in the way of a restore, on a Milvus in memory."""

import pytest

from milvus_vault.errors import (
    CollectionExistsError,
    CollectionNotFoundError,
    FieldIdMismatchError,
    InvalidRequestError,
)
from milvus_vault.model.collections import CollectionName, FieldSchema, IndexDescription
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.restore.journal import Journal
from milvus_vault.restore.targets import TargetCheck, check_takes_deletes, find_occupied
from milvus_vault.restore.working_files import Created, Finished
from milvus_vault.workspace import Workspace
from tests.support.memory_database import InMemoryDatabase
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.test_restore_aliases import PLACE, archived, layout, name

INDEX = IndexDescription(index_id=0, name="by_v", field_name="v", params=())


class Restore:
    """A restore of collections under their own names."""

    def __init__(self, *wanted: str, **request: object) -> None:
        self.database = InMemoryDatabase()
        self.journal = Journal(Workspace(InMemoryObjectStore("vault"), "vault", "", "restore-b-0123456789ab"))
        self._request = RestoreRequest.model_validate({"backup_name": "b", **request})
        self._wanted = [(archived(each), name(each)) for each in wanted]

    @property
    def _check(self) -> TargetCheck:
        return TargetCheck(self._request, self.database, self.journal)

    def make(self, *names: str) -> list[int]:
        """Make collections in the target, and return their IDs."""
        return [self.database.create_collection(PLACE, each, layout()) for each in names]

    def replaced(self) -> list[int | None]:
        """Return what would be replaced."""
        return self._check.replaced(self._wanted, self.journal.read())

    def gone(self) -> list[int]:
        """Return what was finished and is gone."""
        return self._check.gone(self._wanted, self.journal.read())


def test_names_that_nobody_has_are_free() -> None:
    restore = Restore("a", "b")
    restore.make("c")
    assert restore.replaced() == [None, None]


def test_collections_that_are_there_are_named_and_aliases_told_from_them() -> None:
    restore = Restore("a", "b", "c")
    restore.make("a", "other")
    restore.database.create_alias(PLACE, "other", "b")
    with pytest.raises(CollectionExistsError, match=r"the target has default\.a, default\.b \(an alias\) already"):
        restore.replaced()


def test_with_drop_existing_the_collections_to_replace_are_told_by_their_ids() -> None:
    restore = Restore("a", "b", drop_existing=True)
    (number,) = restore.make("b")
    assert restore.replaced() == [None, number]


def test_an_alias_is_never_replaced() -> None:
    restore = Restore("a", drop_existing=True)
    restore.make("other")
    restore.database.create_alias(PLACE, "other", "a")
    with pytest.raises(CollectionExistsError, match="an alias"):
        restore.replaced()


@pytest.mark.parametrize("step", ["created", "finished"])
def test_what_this_run_made_before_does_not_count(step: str) -> None:
    restore = Restore("a")
    (number,) = restore.make("a")
    if step == "created":
        restore.journal.note(0, step, Created(collection_id=number), 1)
    else:
        restore.journal.note(0, step, Finished(collection_id=number, row_count=0))
    assert restore.replaced() == [None]
    restore.database.drop_collection(PLACE, "a")
    restore.make("a")
    with pytest.raises(CollectionExistsError):
        restore.replaced()


def test_a_finished_collection_that_somebody_dropped_or_made_anew_is_gone() -> None:
    restore = Restore("a", "b", "c", "d")
    numbers = restore.make("a", "b", "c")
    for index, number in enumerate(numbers):
        restore.journal.note(index, "finished", Finished(collection_id=number, row_count=0))
    assert restore.gone() == []
    restore.database.drop_collection(PLACE, "a")
    restore.database.drop_collection(PLACE, "b")
    restore.make("b")
    assert restore.gone() == [0, 1]


def test_skip_create_takes_an_empty_collection_of_the_same_fields() -> None:
    restore = Restore("a", skip_create=True)
    restore.make("a")
    assert restore.replaced() == [None]


def test_skip_create_needs_the_collection() -> None:
    with pytest.raises(CollectionNotFoundError, match=r"default\.a does not"):
        Restore("a", skip_create=True).replaced()


def test_skip_create_refuses_rows_even_those_still_in_memory() -> None:
    restore = Restore("a", skip_create=True)
    restore.make("a")
    restore.database.insert_row(PLACE, "a", {"id": 1}, {"v": [0.0, 0.0]})
    with pytest.raises(CollectionExistsError, match=r"default\.a has 1 row\(s\)"):
        restore.replaced()


def test_skip_create_refuses_other_fields() -> None:
    restore = Restore("a", skip_create=True)
    restore.database.create_collection(PLACE, "a", layout(FieldSchema(field_id=102, name="more", data_type=5)))
    with pytest.raises(FieldIdMismatchError, match="more"):
        restore.replaced()


def test_a_database_that_is_not_there_has_nothing_in_the_way() -> None:
    occupied = find_occupied(InMemoryDatabase(), [CollectionName(database="new", name="a")])
    assert (occupied.collections, occupied.aliases) == (frozenset(), frozenset())


def test_a_loaded_collection_takes_no_deletes_by_themselves() -> None:
    restore = Restore("a")
    restore.make("a")
    check_takes_deletes(restore.database, name("a"))
    restore.database.create_index(PLACE, "a", INDEX)
    restore.database.request_load(PLACE, "a", replicas=1)
    with pytest.raises(InvalidRequestError, match=r"default\.a is loaded"):
        check_takes_deletes(restore.database, name("a"))
