"""Selections: which collections a request means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.backup.selection import select_collections, select_databases
from milvus_vault.errors import CollectionNotFoundError, DatabaseNotFoundError
from milvus_vault.model.names import temporary_name

HIDDEN = temporary_name("restore-x", 0, 1)
SERVER = {"default": ["b", "a", HIDDEN], "other": ["a"], "empty": []}

names = st.text("ab", min_size=1, max_size=3)
servers = st.dictionaries(names, st.lists(names, unique=True), min_size=1)


def select(selectors: list[str] | None, server: dict[str, list[str]]) -> list[str]:
    """Return the selected collections of a server as `db.collection`."""
    return [str(name) for name in select_collections(selectors, list(server), lambda database: server[database])]


def test_no_selection_means_all_collections_of_all_databases() -> None:
    assert select(None, SERVER) == ["default.a", "default.b", "other.a"]


def test_a_star_means_all_of_its_database() -> None:
    assert select(["default.*"], SERVER) == ["default.a", "default.b"]


def test_a_name_means_itself() -> None:
    assert select(["other.a"], SERVER) == ["other.a"]


def test_what_is_named_twice_is_taken_once_and_all_is_in_order() -> None:
    assert select(["other.a", "default.*", "default.a"], SERVER) == ["default.a", "default.b", "other.a"]


def test_collections_of_a_running_restore_are_taken_only_by_their_name() -> None:
    assert f"default.{HIDDEN}" not in select(None, SERVER)
    assert select([f"default.{HIDDEN}"], SERVER) == [f"default.{HIDDEN}"]


def test_a_database_that_is_not_there_is_named_and_those_that_are_too() -> None:
    with pytest.raises(DatabaseNotFoundError, match=r"'nope' of 'nope\.\*'") as caught:
        select(["nope.*"], SERVER)
    assert caught.value.hint == "There are: default, other, empty."


def test_a_collection_that_is_not_there_is_named() -> None:
    with pytest.raises(CollectionNotFoundError, match=r"'default\.c' does not exist"):
        select(["default.a", "default.c"], SERVER)


def test_names_are_case_sensitive() -> None:
    with pytest.raises(CollectionNotFoundError, match="case sensitive"):
        select(["default.A"], SERVER)


@pytest.mark.parametrize(
    ("selectors", "whole"), [(["empty.*"], ["empty"]), (None, ["empty", "restoring"]), (["restoring.*"], ["restoring"])]
)
def test_a_database_without_collections_is_selected_by_itself(selectors: list[str] | None, whole: list[str]) -> None:
    server = {"restoring": [HIDDEN], "empty": []}
    assert select(selectors, server) == []
    assert select_databases(selectors, server) == whole


def test_a_collection_does_not_select_its_database() -> None:
    assert select_databases(["other.a", "default.*"], SERVER) == ["default"]


def test_only_the_databases_that_are_named_are_asked() -> None:
    asked: list[str] = []

    def collections_of(database: str) -> list[str]:
        asked.append(database)
        return SERVER[database]

    select_collections(["other.*"], list(SERVER), collections_of)
    assert asked == ["other"]


def test_a_database_that_is_dropped_meanwhile_has_no_collections_unless_it_was_named() -> None:
    def collections_of(database: str) -> list[str]:
        if database == "gone":
            raise DatabaseNotFoundError(database, hint="")
        return ["books"]

    assert [str(name) for name in select_collections(None, ["default", "gone"], collections_of)] == ["default.books"]
    with pytest.raises(DatabaseNotFoundError):
        select_collections(["gone.*"], ["default", "gone"], collections_of)


@given(servers)
def test_all_is_everything_that_there_is_each_once(server: dict[str, list[str]]) -> None:
    there = sorted((database, name) for database, found in server.items() for name in found)
    assert select(None, server) == [f"{database}.{name}" for database, name in there]


@given(servers, st.data())
def test_the_order_of_the_selectors_does_not_matter(server: dict[str, list[str]], data: st.DataObject) -> None:
    there = [f"{database}.{name}" for database, found in server.items() for name in found]
    if there:
        chosen = data.draw(st.lists(st.sampled_from(there), min_size=1))
        assert select(chosen, server) == select(chosen[::-1], server)
        assert set(select(chosen, server)) == set(chosen)


def test_a_name_that_is_not_there_tells_where_it_was_looked_for_and_which_are_near() -> None:
    there = ["customers", "orders", temporary_name("restore-x", 0, 1)]
    with pytest.raises(CollectionNotFoundError) as refused:
        select_collections(["shop.custmers"], ["shop"], lambda _: there, where="backup 'first'")
    assert refused.value.message == "collection 'shop.custmers' does not exist in backup 'first'"
    assert refused.value.hint == "Did you mean 'shop.customers'?"
    with pytest.raises(DatabaseNotFoundError, match=r"database 'shp' of 'shp\.\*' does not exist in Milvus") as lacking:
        select_collections(["shp.*"], ["shop"], lambda _: there)
    assert lacking.value.hint == "Did you mean 'shop'?"
