"""Small collections of every shape that a Milvus 2.3 can hold, for backups that must bring all of it back.

`fill` makes those that are asked for, each by its full name; the functions below tell what is in them.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from pymilvus import DataType, MilvusClient

DATABASE = "ledger"

# Alphabets, quotes, control characters, nothing at all, and more than one byte a character.
TEXTS = ("plain", "äöü ß", "日本語", "quo'te\"s \\", "line\nfeed", "", "🜁🜂", "much " * 30)
DOCUMENTS: tuple[Any, ...] = (
    {"n": 1, "nested": {"list": [1, None, 2.5, "x"], "yes": True}},
    {"far": 2**53 - 1, "near": -2.5e-7},
    {"ключ": "значение"},
    {},
)


def fill(uri: str, *names: str) -> None:
    """Create the collections of the given full names, or of all shapes there are."""
    client = MilvusClient(uri)
    if DATABASE not in client.list_databases():
        client.create_database(DATABASE)
    with ThreadPoolExecutor() as pool:
        made = [pool.submit(SHAPES[name], _connect(uri, name)) for name in names or SHAPES]
        for one in made:
            one.result()


def _connect(uri: str, full_name: str) -> MilvusClient:
    return MilvusClient(uri, db_name=full_name.partition(".")[0])


def _vector(rng: np.random.Generator, dimensions: int) -> list[float]:
    numbers: list[float] = rng.uniform(-1, 1, dimensions).tolist()
    return numbers


def _index(client: MilvusClient, name: str, field: str, index_type: str, **options: Any) -> None:
    """Create an index. Before rows are flushed: Milvus 2.3 can take until its next full minute to index those."""
    indexes = client.prepare_index_params()
    indexes.add_index(field, index_type=index_type, **options)
    client.create_index(name, indexes)


def _every_type(client: MilvusClient) -> None:
    """Every type of field, keys below zero, dynamic values, rows replaced and deleted since the flush, two aliases."""
    name, rng = "every_type", np.random.default_rng(1)
    schema = client.create_schema(auto_id=False, enable_dynamic_field=True, description="every type, ünïcode")
    schema.add_field("key", DataType.INT64, is_primary=True, description="the key")
    for number_type in (DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64, DataType.FLOAT, DataType.DOUBLE):
        schema.add_field(number_type.name.lower(), number_type)
    schema.add_field("bool", DataType.BOOL)
    schema.add_field("json", DataType.JSON)
    schema.add_field("text", DataType.VARCHAR, max_length=500)
    schema.add_field("numbers", DataType.ARRAY, element_type=DataType.INT64, max_capacity=6)
    schema.add_field("texts", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=6, max_length=500)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=6)

    def row(number: int) -> dict[str, Any]:
        fixed = {
            "key": number - 120,
            "int8": number % 256 - 128,
            "int16": number * 11 - 2000,
            "int32": number * 90_001 - 2**24,
            "int64": (number - 120) * 10**16,
            "float": number / 7,
            "double": number / 9e9,
            "bool": number % 3 == 0,
            "json": DOCUMENTS[number % len(DOCUMENTS)],
            "text": f"{number} {TEXTS[number % len(TEXTS)]}",
            "numbers": [number << shift for shift in range(0, 8 * (number % 6), 8)],
            "texts": list(TEXTS[: number % 5]),
            "vector": _vector(rng, 6),
        }
        return fixed if number % 4 == 0 else fixed | {"word": TEXTS[-(number % 3) - 1], "half": number / 2}

    client.create_collection(name, schema=schema, num_shards=2, consistency_level="Strong")
    _index(
        client, name, "vector", "HNSW", metric_type="COSINE", params={"M": 6, "efConstruction": 32}, index_name="near"
    )
    _index(client, name, "text", "Trie", index_name="prefix")
    _index(client, name, "int64", "STL_SORT", index_name="sorted")
    client.load_collection(name)
    client.insert(name, [row(number) for number in range(240)])
    client.flush(name)
    client.upsert(name, [row(number) for number in range(225, 255)])
    client.delete(name, ids=list(range(-120, -60, 3)))
    for alias in ("types_now", "types_before"):
        client.create_alias(name, alias)


def _by_name(client: MilvusClient) -> None:
    """Texts as keys, partitions of which two are empty, bits as vectors, a deleted part, a property; not loaded."""
    name, rng = "by_name", np.random.default_rng(2)
    schema = client.create_schema(auto_id=False)
    schema.add_field("name", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("rank", DataType.INT16)
    schema.add_field("bits", DataType.BINARY_VECTOR, dim=48)
    client.create_collection(
        name,
        schema=schema,
        num_shards=1,
        consistency_level="Bounded",
        properties={"collection.ttl.seconds": 86_400_000},
    )
    for partition in ("east", "west", "nowhere"):
        client.create_partition(name, partition)
    _index(client, name, "bits", "BIN_IVF_FLAT", metric_type="HAMMING", params={"nlist": 3})
    client.load_collection(name)
    for partition in ("east", "west"):
        rows = [{"name": f"{partition} №{rank}", "rank": rank, "bits": rng.bytes(6)} for rank in range(90)]
        client.insert(name, rows, partition_name=partition)
    client.flush(name)
    client.delete(name, ids=[f"west №{rank}" for rank in range(0, 90, 9)])
    client.flush(name)
    client.release_collection(name)


def _tenants(client: MilvusClient) -> None:
    """Keys that the server makes, rows spread over the partitions by another field, an alias in another database."""
    name, rng = "tenants", np.random.default_rng(3)
    schema = client.create_schema(auto_id=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("tenant", DataType.VARCHAR, max_length=32, is_partition_key=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    client.create_collection(name, schema=schema, num_partitions=3, num_shards=1)
    _index(client, name, "vector", "IVF_SQ8", metric_type="IP", params={"nlist": 4})
    client.load_collection(name)
    client.insert(name, [{"tenant": f"tenant {i % 13}", "vector": _vector(rng, 4)} for i in range(260)])
    client.flush(name)
    client.create_alias(name, "customers")


def _generations(client: MilvusClient) -> None:
    """Segment after segment, deletes that reach back into older ones, rows that come again after their delete."""
    name, rng = "generations", np.random.default_rng(4)
    schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    client.create_collection(name, schema=schema, num_shards=2)
    _index(client, name, "vector", "FLAT", metric_type="L2")
    client.load_collection(name)

    def row(number: int, generation: int) -> dict[str, Any]:
        return {"id": number, "vector": _vector(rng, 2), "generation": generation}

    for generation in range(4):
        first = generation * 60
        client.insert(name, [row(number, generation) for number in range(first, first + 60)])
        client.flush(name)
        client.delete(name, ids=list(range(0, first + 60, 13)))
        # 26 is deleted again by the next generation, and 39 is not.
        if generation in {2, 3}:
            client.insert(name, [row(13 * generation, 100 + generation)])


def _empty(client: MilvusClient) -> None:
    """No rows, no index."""
    _create_plain(client, "empty")


def _growing(client: MilvusClient) -> None:
    """Rows that were never flushed, no index."""
    rng = np.random.default_rng(6)
    _create_plain(client, "growing")
    client.insert("growing", [{"id": i, "vector": _vector(rng, 2)} for i in range(45)])


def _create_plain(client: MilvusClient, name: str) -> None:
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    client.create_collection(name, schema=schema, num_shards=1)


SHAPES: dict[str, Callable[[MilvusClient], None]] = {
    "default.every_type": _every_type,
    "default.by_name": _by_name,
    f"{DATABASE}.tenants": _tenants,
    f"{DATABASE}.generations": _generations,
    f"{DATABASE}.empty": _empty,
    f"{DATABASE}.growing": _growing,
}
