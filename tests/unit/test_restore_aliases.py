"""Aliases of restored collections, on a Milvus in memory."""

from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.errors import AliasConflictError
from milvus_vault.model.collections import (
    CollectionLayout,
    CollectionName,
    CollectionSchema,
    FieldSchema,
    KeyValue,
    LoadState,
)
from milvus_vault.model.readable import warning_parts
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.ports import Schemas
from milvus_vault.restore.aliases import check_switches, foresee_aliases, give_aliases
from tests.support.memory_database import InMemoryDatabase

PLACE = "default"
KEY = FieldSchema(field_id=100, name="id", data_type=5, is_primary_key=True)
VECTOR = FieldSchema(field_id=101, name="v", data_type=101, type_params=(KeyValue(key="dim", value="2"),))


def name(collection: str, database: str = PLACE) -> CollectionName:
    return CollectionName(database=database, name=collection)


def layout(*fields: FieldSchema) -> CollectionLayout:
    """Return the layout of a key, a vector and some more fields."""
    schema = CollectionSchema(name="", fields=(KEY, VECTOR, *fields))
    return CollectionLayout(collection_schema=schema, shards=1, consistency_level=0)


def archived(collection: str, database: str = PLACE, **more: Any) -> ArchivedCollection:
    """Return a collection of a backup that was loaded once."""
    there: dict[str, Any] = {"aliases": (), "load_state": LoadState.LOADED, "replicas": 1, **more}
    return ArchivedCollection(
        name=name(collection, database),
        collection_id=7,
        layout=layout(),
        indexes=(),
        partitions=(),
        l0_segments=(),
        live_row_count=None,
        object_list=None,
        **there,
    )


def database(*collections: str) -> InMemoryDatabase:
    """Return a Milvus with collections."""
    made = InMemoryDatabase()
    for each in collections:
        made.create_collection(PLACE, each, layout())
    return made


def test_a_free_alias_is_given_and_may_be_given_again() -> None:
    there = database("a")
    for _ in range(2):
        assert give_aliases(there, name("a"), ["one", "two"], switch=False) == (["one", "two"], [])
    assert there.list_aliases(PLACE, "a") == {"one", "two"}


def test_an_alias_in_use_stays_where_it_is_and_the_others_are_given() -> None:
    there = database("a", "b")
    there.create_alias(PLACE, "b", "one")
    given, (warning,) = give_aliases(there, name("a"), ["one", "two"], switch=False)
    assert (given, warning.startswith("Alias one stays where it is, and is not given to ")) == (["two"], True)
    assert there.list_aliases(PLACE, "b") == {"one"}


def test_a_switch_takes_an_alias_from_whoever_has_it() -> None:
    there = database("a", "b")
    there.create_alias(PLACE, "b", "one")
    assert give_aliases(there, name("a"), ["one"], switch=True) == (["one"], [])
    assert there.list_aliases(PLACE, "a") == {"one"}
    assert not there.list_aliases(PLACE, "b")


def test_switches_are_possible_to_new_names_and_from_other_collections() -> None:
    there = database("a")
    there.create_alias(PLACE, "a", "one")
    check_switches([(archived("a", aliases=("one",)), name("a_new"))], there)


def test_one_alias_cannot_be_switched_to_two_collections() -> None:
    pairs = [(archived(each, aliases=("one",)), name(each)) for each in ("a", "b")]
    with pytest.raises(AliasConflictError, match=r"alias one of database default cannot be both default\.a and"):
        check_switches(pairs, database())


@pytest.mark.parametrize("is_target", [False, True])
def test_an_alias_that_is_a_collections_name_cannot_be_switched(is_target: bool) -> None:
    there = database() if is_target else database("one")
    pairs = [(archived("a", aliases=("one",)), name("a"))]
    pairs += [(archived("b"), name("one"))] * is_target
    with pytest.raises(AliasConflictError, match="alias one cannot be switched to"):
        check_switches(pairs, there)


def test_an_alias_that_readers_use_in_another_database_cannot_be_switched() -> None:
    there = database("a")
    there.create_database("new")
    pairs = [(archived("a", aliases=("one",)), name("a", "new"))]
    check_switches(pairs, there)
    there.create_alias(PLACE, "a", "one")
    with pytest.raises(AliasConflictError, match="alias one is one of database default"):
        check_switches(pairs, there)


COLLECTIONS = ("a", "b", "c", "d")
ALIASES = ("one", "two", "three", "c")


def restored(
    made: InMemoryDatabase, chosen: list[tuple[ArchivedCollection, CollectionName]], *, switch: bool
) -> list[tuple[list[str], list[str]]]:
    """Restore collections in turn; return of each its aliases, and its warnings without what Milvus said."""
    own = {target: made.list_aliases(PLACE, target.name) for _, target in chosen if _is_there(made, target)}
    # What is replaced hands its aliases on in the step that drops it, so that no other collection gets them.
    for _, target in chosen:
        if target in own:
            made.drop_collection(PLACE, target.name)
        made.create_collection(PLACE, target.name, layout())
        give_aliases(made, target, sorted(own.get(target, ())), switch=False)
    found = []
    for collection, target in chosen:
        # One that was switched away meanwhile is not handed on.
        wanted = sorted({*collection.aliases, *made.list_aliases(PLACE, target.name)})
        _, warnings = give_aliases(made, target, wanted, switch=switch)
        found.append([warning_parts(warning)[0] for warning in warnings])
    has = [sorted(made.list_aliases(PLACE, target.name)) for _, target in chosen]
    return list(zip(has, found, strict=True))


def _is_there(made: InMemoryDatabase, target: CollectionName) -> bool:
    return target.name in made.list_collections(PLACE)


@given(
    there=st.sets(st.sampled_from(COLLECTIONS)),
    held=st.dictionaries(st.sampled_from(ALIASES), st.sampled_from(COLLECTIONS)),
    wanted=st.dictionaries(
        st.sampled_from(COLLECTIONS), st.frozensets(st.sampled_from(ALIASES)), min_size=1, max_size=3
    ),
    suffix=st.sampled_from(["", "_new"]),
    switch=st.booleans(),
)
def test_what_is_foreseen_of_aliases_is_what_becomes_of_them(
    there: set[str], held: dict[str, str], wanted: dict[str, frozenset[str]], suffix: str, switch: bool
) -> None:
    made = database(*sorted(there))
    for alias, owner in held.items():
        if owner in there and alias not in there:
            made.create_alias(PLACE, owner, alias)
    chosen = [(archived(one, aliases=tuple(sorted(had))), name(one + suffix)) for one, had in sorted(wanted.items())]
    replaced = {index for index, (_, target) in enumerate(chosen) if _is_there(made, target)}
    # Such targets are refused.
    assume(not made.list_aliases(PLACE) & {target.name for _, target in chosen})
    if switch:
        try:
            check_switches(chosen, made)
        except AliasConflictError:
            reject()
    request = RestoreRequest(backup_name="b", drop_existing=True, switch_aliases=switch)
    foreseen = foresee_aliases(request, chosen, replaced, set(), made)
    assert foreseen == restored(made, chosen, switch=switch)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_an_alias_is_foreseen_of_one_collection_where_it_is_switched_from_another_that_is_replaced(order: str) -> None:
    there = database("a", "b")
    there.create_alias(PLACE, "b", "one")
    chosen = [(archived(each, aliases=("one",) if each == "a" else ()), name(each)) for each in order]
    request = RestoreRequest(backup_name="b", drop_existing=True, switch_aliases=True)
    foreseen = foresee_aliases(request, chosen, {0, 1}, set(), there)
    assert dict(zip(order, foreseen, strict=True)) == {"a": (["one"], []), "b": ([], [])}


@pytest.mark.parametrize("switch", [False, True])
def test_a_collection_that_is_left_out_gets_no_alias_and_keeps_none_from_others(switch: bool) -> None:
    there = database("a")
    there.create_alias(PLACE, "a", "two")
    chosen = [(archived("a", aliases=("one",)), name("a")), (archived("b", aliases=("one", "two")), name("b"))]
    request = RestoreRequest(backup_name="b", drop_existing=True, switch_aliases=switch, skip_damaged=True)
    left, other = foresee_aliases(request, chosen, {0}, {0}, there)
    assert left == ([], [])
    # What a collection has that stays is its own as ever.
    stays = ["Alias two stays where it is, and is not given to default.b: another collection has that name."]
    assert other == ((["one", "two"], []) if switch else (["one"], stays))


def test_a_plan_says_what_will_be_dropped_and_not_what_was() -> None:
    there = database("a")
    there.create_alias(PLACE, "a", "one")
    request = RestoreRequest(backup_name="b", drop_existing=True, restore_aliases=False)
    (foreseen,) = foresee_aliases(request, [(archived("a"), name("a"))], {0}, set(), there)
    assert foreseen == ([], ["Alias one of the replaced collection will be dropped with it."])


def test_milvus_is_not_asked_where_nothing_is_replaced_and_nothing_has_an_alias() -> None:
    milvus = Mock(spec=Schemas)
    chosen = [(archived(each), name(each)) for each in "ab"]
    assert foresee_aliases(RestoreRequest(backup_name="b"), chosen, set(), set(), milvus) == [([], [])] * 2
    assert milvus.mock_calls == []
