"""Targets of a restore: under which names the collections of a backup come back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.errors import (
    CollectionNotFoundError,
    DatabaseNotFoundError,
    EmptySelectionError,
    InvalidRequestError,
    NameConflictError,
)
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.restore.naming import resolve_targets

ARCHIVED = ("db.b", "db.a", "other.a")

names = st.text("ab", min_size=1, max_size=2)
full_names = st.builds("{}.{}".format, names, names)


def named(text: str) -> CollectionName:
    """Return the collection of a full name."""
    database, _, name = text.partition(".")
    return CollectionName(database=database, name=name)


def targets(*archived: str, **request: Any) -> dict[str, str]:
    """Return which collection becomes which."""
    asked = RestoreRequest.model_validate({"backup_name": "nightly"} | request)
    found = resolve_targets(asked, [named(text) for text in archived])
    return {str(source): str(target) for source, target in found.collections.items()}


def empty_ones(*databases: str, **request: Any) -> dict[str, str]:
    """Return which databases without collections, of those recorded, become which."""
    asked = RestoreRequest.model_validate({"backup_name": "nightly"} | request)
    return resolve_targets(asked, [named(text) for text in ARCHIVED], databases).empty_databases


def test_collections_keep_their_names_and_come_in_order() -> None:
    assert list(targets(*ARCHIVED).items()) == [("db.a", "db.a"), ("db.b", "db.b"), ("other.a", "other.a")]


def test_a_suffix_is_added_to_every_name_but_not_to_the_database() -> None:
    assert targets("db.a", "other.a", suffix="_old") == {"db.a": "db.a_old", "other.a": "other.a_old"}


def test_only_what_is_selected_is_restored() -> None:
    assert targets(*ARCHIVED, collections=["db.*"]) == {"db.a": "db.a", "db.b": "db.b"}


def test_a_collection_is_renamed_also_into_another_database() -> None:
    assert targets(*ARCHIVED, rename={"db.a": "new.c"})["db.a"] == "new.c"


def test_a_database_is_renamed_with_all_its_collections() -> None:
    assert targets(*ARCHIVED, rename={"db.*": "new.*"}) == {"db.a": "new.a", "db.b": "new.b", "other.a": "other.a"}


def test_a_collections_own_rule_goes_before_its_databases() -> None:
    renamed = targets(*ARCHIVED, rename={"db.*": "new.*", "db.a": "db.z"})
    assert (renamed["db.a"], renamed["db.b"]) == ("db.z", "new.b")


def test_two_collections_can_swap_their_names() -> None:
    assert targets("db.a", "db.b", rename={"db.a": "db.b", "db.b": "db.a"}) == {"db.a": "db.b", "db.b": "db.a"}


@pytest.mark.parametrize("rename", [{"db.a": "db.b"}, {"db.*": "other.*"}])
def test_two_collections_on_one_target_are_refused_and_both_are_named(rename: dict[str, str]) -> None:
    with pytest.raises(NameConflictError, match=r"\w+\.a and \w+\.\w would both be restored as"):
        targets(*ARCHIVED, rename=rename)


def test_a_suffix_may_lead_to_a_name_that_another_collection_leaves() -> None:
    assert targets("db.a", "db.ab", suffix="b") == {"db.a": "db.ab", "db.ab": "db.abb"}


@pytest.mark.parametrize("rename", [{"db.a": "db.a"}, {"db.*": "db.*"}])
def test_a_rule_that_changes_nothing_is_refused(rename: dict[str, str]) -> None:
    with pytest.raises(NameConflictError, match="its own name"):
        targets(*ARCHIVED, rename=rename)


@pytest.mark.parametrize("rename", [{"db.typo": "db.c"}, {"nope.*": "new.*"}, {"other.a": "new.a"}])
def test_a_rule_for_something_that_is_not_restored_is_refused(rename: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError, match="not among the collections to restore") as caught:
        targets(*ARCHIVED, collections=["db.*"], rename=rename)
    assert caught.value.hint == "To be restored are: db.a, db.b."


def test_what_the_backup_does_not_hold_cannot_be_restored() -> None:
    with pytest.raises(CollectionNotFoundError, match=r"db\.c"):
        targets(*ARCHIVED, collections=["db.c"])
    with pytest.raises(DatabaseNotFoundError, match="nope"):
        targets(*ARCHIVED, collections=["nope.*"])
    with pytest.raises(EmptySelectionError):
        targets()


def test_a_database_without_collections_is_restored_where_it_is_selected() -> None:
    assert empty_ones("db", "hollow") == {"hollow": "hollow"}
    assert empty_ones("hollow", suffix="_old") == {"hollow": "hollow"}
    assert empty_ones("hollow", "void", collections=["hollow.*"]) == {"hollow": "hollow"}
    assert empty_ones("hollow", rename={"hollow.*": "full.*"}) == {"hollow": "full"}
    assert empty_ones("hollow", collections=["db.*"]) == {}
    assert empty_ones("hollow", skip_create=True) == {}
    with pytest.raises(InvalidRequestError, match=r"hollow\.\* cannot be restored: Milvus takes no database"):
        empty_ones("hollow", rename={"hollow.*": "a-b.*"})
    with pytest.raises(EmptySelectionError, match=r"\(hollow\.\*\) matches no collection"):
        empty_ones("hollow", collections=["hollow.*"], skip_create=True)


@given(st.sets(full_names, min_size=1), st.data())
def test_no_two_collections_ever_get_one_name(archived: set[str], data: st.DataObject) -> None:
    rename = data.draw(st.dictionaries(st.sampled_from(sorted(archived)), full_names))
    try:
        found = targets(*archived, rename=rename)
    except NameConflictError:
        return
    assert found.keys() == archived
    assert len(set(found.values())) == len(found)
    assert all(found[source] == rename.get(source, source) for source in archived)


@pytest.mark.parametrize(
    ("request_", "what", "shown"),
    [
        ({"rename": {"db.a": "db.with-hyphen"}}, "collection", "'with-hyphen'"),
        ({"rename": {"db.a": "db.cost$"}}, "collection", r"'cost\$'"),
        ({"rename": {"db.a": "db.9lives"}}, "collection", "'9lives'"),
        ({"rename": {"db.a": "db.bell\a"}}, "collection", r"'bell\\x07'"),
        ({"rename": {"db.a": "db.größe"}}, "collection", r"'gr\\xf6\\xdfe'"),
        ({"rename": {"db.a": f"db.{'n' * 256}"}}, "collection", "'n"),
        ({"rename": {"db.*": "an-other.*"}}, "database", "'an-other'"),
    ],
)
def test_a_name_that_milvus_takes_for_nothing_is_refused(request_: dict[str, Any], what: str, shown: str) -> None:
    with pytest.raises(
        InvalidRequestError, match=f"db.a cannot be restored: Milvus takes no {what} of the name {shown}"
    ):
        targets("db.a", **request_)


def test_a_suffix_counts_for_the_length_of_a_name() -> None:
    longest = "n" * 250
    assert targets(f"db.{longest}", suffix="_back") == {f"db.{longest}": f"db.{longest}_back"}
    with pytest.raises(InvalidRequestError, match="takes no collection of the name"):
        targets(f"db.{longest}", suffix="_again")
