"""Rows go in and come out as they are, by the clients that people use, through files and compactions."""

from collections.abc import Iterator
from typing import Any

import pytest
from pymilvus import DataType, MilvusClient

from tests.conformance.asking import Milvus, base_fields
from tests.conformance.conftest import Running, Start
from tests.support.milvus_server.versions import ALL

pytestmark = pytest.mark.tools("milvus")

NAME = "c"


@pytest.fixture
def running(start: Start) -> Running:
    return start("2.6.19")


@pytest.fixture
def client(running: Running) -> Iterator[MilvusClient]:
    client = MilvusClient(running.server.uri)
    yield client
    client.close()


def _load(client: MilvusClient, **fields: str) -> None:
    indexes = client.prepare_index_params()
    for name, metric in fields.items():
        indexes.add_index(name, index_type="AUTOINDEX", metric_type=metric)
    client.create_index(NAME, indexes)
    client.load_collection(NAME)


def test_arrays_of_structs_come_back(client: MilvusClient) -> None:
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    struct = client.create_struct_field_schema()
    struct.add_field("word", DataType.VARCHAR, max_length=20)
    struct.add_field("place", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("words", DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=struct, max_capacity=8)
    client.create_collection(NAME, schema=schema)
    rows = [
        {"id": 1, "v": [0.5, 1.0], "words": [{"word": "a", "place": [1.0, 2.0]}, {"word": "é", "place": [3.0, 4.0]}]},
        {"id": 2, "v": [0.25, 0.0], "words": [{"word": "", "place": [0.0, 0.5]}]},
    ]
    client.insert(NAME, rows)
    client.flush(NAME)
    _load(client, **{"v": "L2", "words[place]": "MAX_SIM_COSINE"})
    found = client.query(NAME, "id >= 0", output_fields=["*"])
    assert [(row["id"], row["v"], _plain(row["words"])) for row in found] == [
        (row["id"], row["v"], row["words"]) for row in rows
    ]


def _plain(words: Any) -> list[dict[str, Any]]:
    return [{"word": word["word"], "place": [float(number) for number in word["place"]]} for word in words]


def test_nulls_and_defaults_are_told_apart(client: MilvusClient) -> None:
    schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("maybe", DataType.VARCHAR, max_length=20, nullable=True)
    schema.add_field("usually", DataType.INT64, default_value=7)
    client.create_collection(NAME, schema=schema)
    client.insert(NAME, [{"id": 1, "v": [0, 0]}, {"id": 2, "v": [0, 0], "maybe": "", "usually": 3, "more": {"a": [1]}}])
    client.flush(NAME)
    _load(client, v="L2")
    found = [dict(row) for row in client.query(NAME, "id in [1, 2]", output_fields=["maybe", "usually", "more"])]
    assert found[0] == {"id": 1, "maybe": None, "usually": 7}
    assert found[1] == {"id": 2, "maybe": "", "usually": 3, "more": {"a": [1]}}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("id in [1, 3]", [1, 3]),
        ("id not in [1, 3]", [0, 2, 4]),
        ("id >= 3", [3, 4]),
        ("id > 0 and n < 30", [1, 2]),
        ("id == 4 or n == 0", [0, 4]),
        ("not (id < 4)", [4]),
        ('word == "w2"', [2]),
        ('tag["k"] == 1', [1]),
        ("extra == 3", [3]),
    ],
)
def test_filters_find_rows(client: MilvusClient, expression: str, expected: list[int]) -> None:
    schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("n", DataType.INT32)
    schema.add_field("word", DataType.VARCHAR, max_length=9)
    schema.add_field("tag", DataType.JSON)
    client.create_collection(NAME, schema=schema)
    rows = [{"id": i, "v": [0, 0], "n": i * 10, "word": f"w{i}", "tag": {"k": i}, "extra": i} for i in range(5)]
    client.insert(NAME, rows)
    _load(client, v="L2")
    assert [row["id"] for row in client.query(NAME, expression)] == expected


@pytest.mark.parametrize(("metric", "nearest"), [("L2", 3), ("IP", 9), ("COSINE", 9)])
def test_a_search_finds_the_nearest_rows(client: MilvusClient, metric: str, nearest: int) -> None:
    client.create_collection(NAME, dimension=2, metric_type=metric)
    client.insert(NAME, [{"id": i, "vector": [float(i), 1.0], "n": i} for i in range(10)])
    client.load_collection(NAME)
    (hits,) = client.search(NAME, [[3.0, 0.5 if metric == "L2" else 0.0]], limit=4, output_fields=["n"])
    assert (hits[0]["id"], hits[0]["entity"]["n"], len(hits)) == (nearest, nearest, 4)


def _live(milvus: Milvus, running: Running) -> list[Any]:
    assert milvus.bucket == running.server.bucket
    return sorted(running.server.live_rows("default", NAME)[100], key=int)


@pytest.mark.parametrize("version", ALL)
def test_a_key_that_is_deleted_and_inserted_again_is_there_once(start: Start, version: str) -> None:
    running = start(version, {"flush_limit": 0})
    milvus = running.milvus
    milvus.make(NAME, *base_fields())
    for _ in range(2):
        milvus.insert(NAME, range(10))
        milvus.flush(NAME)
        milvus.delete(NAME, range(5))
        milvus.flush(NAME)
    milvus.insert(NAME, range(3))
    expected = sorted([*range(3), *range(5, 10), *range(5, 10)])
    assert _live(milvus, running) == expected
    milvus.must("ManualCompaction", collection_name=NAME)
    assert _live(milvus, running) == expected
