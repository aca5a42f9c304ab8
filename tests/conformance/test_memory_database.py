"""The Milvus in memory answers as the adapter does of a server of each version, in what tests of a restore rely on."""

from collections.abc import Iterator
from typing import Any

import pytest

from milvus_vault.adapters.milvus import connect
from milvus_vault.errors import CollectionExistsError, CollectionNotFoundError, LoadFailedError
from milvus_vault.model.collections import (
    CollectionLayout,
    CollectionSchema,
    FieldSchema,
    IndexDescription,
    KeyValue,
)
from milvus_vault.ports import Flushes, Indexes, Loads, Maker, Schemas, Segments
from tests.support.memory_database import InMemoryDatabase
from tests.support.milvus_server.versions import ALL

PLACE = "default"
KEY = FieldSchema(field_id=100, name="id", data_type=5, is_primary_key=True)
VECTOR = FieldSchema(field_id=101, name="v", data_type=101, type_params=(KeyValue(key="dim", value="2"),))
LAYOUT = CollectionLayout(
    collection_schema=CollectionSchema(name="", fields=(KEY, VECTOR)),
    shards=1,
    consistency_level=0,
    partitions=("_default", "p"),
)
INDEX = IndexDescription(
    index_id=0,
    name="by_v",
    field_name="v",
    params=(KeyValue(key="index_type", value="FLAT"), KeyValue(key="metric_type", value="L2")),
)


class Database(Schemas, Maker, Indexes, Loads, Flushes, Segments):
    """What both are."""


@pytest.fixture(params=["in memory", *ALL])
def database(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "in memory":
        yield InMemoryDatabase()
        return
    with connect(request.getfixturevalue("start")(request.param).milvus.uri) as connected:
        yield connected


def test_collections_are_found_by_name_and_alias_until_they_are_renamed_or_dropped(database: Database) -> None:
    number = database.create_collection(PLACE, "a", LAYOUT)
    other = database.create_collection(PLACE, "b", LAYOUT)
    database.create_alias(PLACE, "a", "reader")
    assert (database.list_databases(), database.list_collections(PLACE)) == ([PLACE], {"a": number, "b": other})
    assert [database.collection_id(PLACE, name) for name in ("a", "reader", "c")] == [number, number, None]
    assert database.list_aliases(PLACE) == {"reader"}
    assert not database.list_aliases(PLACE, "b")
    database.rename_collection(PLACE, "b", "c")
    assert [database.collection_id(PLACE, name) for name in ("b", "c")] == [None, other]
    with pytest.raises(CollectionExistsError):
        database.rename_collection(PLACE, "c", "a")
    database.drop_collection(PLACE, "a")
    database.drop_collection(PLACE, "a")
    assert (database.list_collections(PLACE), database.list_aliases(PLACE)) == ({"c": other}, frozenset())
    with pytest.raises(CollectionNotFoundError):
        database.schema(PLACE, "a")


def test_an_alias_stays_where_it_is_unless_it_is_taken(database: Database) -> None:
    for name in ("a", "b"):
        database.create_collection(PLACE, name, LAYOUT)
    for _ in range(2):
        database.create_alias(PLACE, "a", "reader")
    with pytest.raises(CollectionExistsError):
        database.create_alias(PLACE, "b", "reader")
    with pytest.raises(CollectionExistsError):
        database.create_alias(PLACE, "b", "a", take=True)
    database.create_alias(PLACE, "b", "reader", take=True)
    assert not database.list_aliases(PLACE, "a")
    assert database.list_aliases(PLACE, "b") == {"reader"}


def test_rows_are_in_segments_when_they_are_flushed(database: Database) -> None:
    database.create_collection(PLACE, "a", LAYOUT)
    database.insert_row(PLACE, "a", {"id": 1}, {"v": [0.5, 0.5]})
    assert database.list_segments(PLACE, "a") == []
    database.flush(PLACE, "a", timeout_seconds=30)
    assert [segment.row_count for segment in database.list_segments(PLACE, "a")] == [1]


def test_a_collection_has_the_fields_and_partitions_of_its_layout(database: Database) -> None:
    database.create_collection(PLACE, "a", LAYOUT)
    database.create_missing_partitions(PLACE, "a", ["p", "q"])
    described = database.describe_collection(PLACE, "a")
    assert [item.name for item in database.schema(PLACE, "a").fields] == ["id", "v"]
    assert [partition.name for partition in described.partitions] == ["_default", "p", "q"]
    assert (described.shards, described.replicas, described.indexes) == (1, 0, ())


def test_a_collection_is_loaded_when_it_has_its_index(database: Database) -> None:
    database.create_collection(PLACE, "a", LAYOUT)
    with pytest.raises(LoadFailedError):
        database.request_load(PLACE, "a", replicas=1)
    for _ in range(2):
        database.create_index(PLACE, "a", INDEX)
    assert [index.name for index in database.list_indexes(PLACE, "a")] == ["by_v"]
    assert (database.index_progress(PLACE, "a").is_built, database.load_percent(PLACE, "a")) == (True, None)
    assert database.count_query_nodes("none") == 0
