"""Objects of a collection on the function's disk."""

import sqlite3
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.archive import object_table
from milvus_vault.archive.object_table import ObjectTable
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.tables import open_tables

MANY = 500


def item(key: str, size_bytes: int = 1) -> ArchivedObject:
    return ArchivedObject(key, f"files/{key}", size_bytes, f"etag of {size_bytes}")


@given(listed=st.lists(st.text("ab/\x7fé€😀", max_size=3)), asked=st.lists(st.text("ab/\x7fé€😀", max_size=3)))
def test_a_key_is_found_whatever_was_asked_for_before(listed: list[str], asked: list[str]) -> None:
    table = ObjectTable(item(key, size) for size, key in enumerate(listed))
    positions = defaultdict[str, list[int]](list)
    for position, key in enumerate(listed):
        positions[key].append(position)

    for key in (*asked, *sorted(listed), *reversed(listed)):
        found = table.find(key)
        if key in positions:
            assert found is not None
            # What is recorded last counts.
            assert (found.positions, found.size_bytes) == (tuple(positions[key]), positions[key][-1])
        else:
            assert found is None


def test_all_of_a_listing_are_found_by_one_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query for each took a third of the time in which a backup is compared with a listing."""
    queries: list[str] = []

    def watched(schema: str) -> sqlite3.Connection:
        tables = open_tables(schema)
        tables.set_trace_callback(queries.append)
        return tables

    monkeypatch.setattr(object_table, "open_tables", watched)
    keys = [f"{number:04}" for number in range(MANY)]
    table = ObjectTable(map(item, reversed(keys)))

    for key in keys:
        assert table.find(key)

    assert sum(query.startswith("SELECT") for query in queries) == 1


def test_what_is_forgotten_is_found_again() -> None:
    table = ObjectTable(map(item, "abc"))
    for key in "abc":
        found = table.find(key)
        assert found is not None
        table.note(found, "etag")
    assert table.missing() == []

    table.forget_notes()

    assert table.missing() == ["a", "b", "c"]
    assert all(table.find(key) for key in "abc")
