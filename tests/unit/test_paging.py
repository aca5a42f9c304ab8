"""An answer holds what Lambda passes on, and the parts of a list are all of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.errors import InvalidRequestError
from milvus_vault.model.resources import BackedUpCollection
from milvus_vault.paging import answer_bytes, fitting, index_of, position_of, token_of


def collection(name: str) -> BackedUpCollection:
    """Return a collection of a backup."""
    return BackedUpCollection(database="db", name=name, row_count=1, segment_count=1, object_count=1, size_bytes=1)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30), max_size=5))
def test_what_items_take_is_what_they_take_as_a_text_within_json(names: list[str]) -> None:
    items = [collection(name) for name in names]
    body = "[" + ",".join(item.model_dump_json() for item in items) + "]"
    taken = len(json.dumps(body, ensure_ascii=False).encode())
    # The brackets and the quotes around all; of the last one no comma follows.
    assert sum(map(answer_bytes, items)) == taken - 4 + bool(items)


@pytest.mark.parametrize(("room", "count"), [(0, 1), (9, 1), (10, 1), (19, 1), (20, 2), (29, 2), (30, 3), (99, 3)])
def test_as_many_go_into_an_answer_as_it_has_room_for_and_one_at_least(room: int, count: int) -> None:
    assert answer_bytes("abcde") == 10
    assert fitting(["abcde"] * 3, room) == count
    assert fitting([], room) == 0


def test_a_token_leads_to_the_position_that_it_was_made_of() -> None:
    place = collection("ü")
    assert position_of(token_of(place), BackedUpCollection) == place
    assert index_of(None) == 0
    assert index_of("12") == 12


@pytest.mark.parametrize("token", ["", "x", "-1", "1 ", "1234567", "ü"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not one of this list"):
        index_of(token)
    with pytest.raises(InvalidRequestError, match="is not one of this list"):
        position_of(token, BackedUpCollection)
