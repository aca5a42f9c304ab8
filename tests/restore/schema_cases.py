"""A collection for each thing that a schema can have, with rows."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pymilvus import DataType, Function, FunctionType, MilvusClient

from tests.compatibility.features import Feature
from tests.support.restoring import Restoring

ROWS = 20
DELETED, UPSERTED = (1, 3), (3, 4)
"""Which rows `fill` deletes, and writes once more."""

type Rows = list[dict[str, Any]]
type Make = Callable[[MilvusClient, str], Rows]


def create(client: MilvusClient, name: str, *fields: dict[str, Any], **options: Any) -> None:
    """Create a collection with a key, a vector unless `vector=False`, and more fields."""
    schema = client.create_schema(
        auto_id=options.pop("auto_id", False), enable_dynamic_field=options.pop("dynamic", False)
    )
    schema.add_field("id", DataType.INT64, is_primary=True)
    if options.pop("vector", True):
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    for field in fields:
        schema.add_field(**field)
    for function in options.pop("functions", ()):
        schema.add_function(function)
    client.create_collection(name, schema=schema, **options)


def rows(**more: Callable[[int], Any]) -> Rows:
    """Return rows with some values each."""
    return [{"id": i, "v": [i, 0.5]} | {name: value(i) for name, value in more.items()} for i in range(ROWS)]


def field(name: str, data_type: DataType, **options: Any) -> dict[str, Any]:
    """Return a field."""
    return {"field_name": name, "datatype": data_type, **options}


def of_scalars(client: MilvusClient, name: str) -> Rows:
    """Return values at both ends of each type."""
    numbers = {"i8": (DataType.INT8, 7), "i16": (DataType.INT16, 15), "i32": (DataType.INT32, 31)}
    fields = [field(number, kind) for number, (kind, _) in numbers.items()]
    fields += [field("yes", DataType.BOOL), field("f", DataType.FLOAT), field("d", DataType.DOUBLE)]
    create(client, name, *fields, field("text", DataType.VARCHAR, max_length=99))
    found = rows(
        yes=lambda i: i % 2 == 0, f=lambda i: i / 2, d=lambda i: i / 3, text=lambda i: f"{i} äöü \N{SNOWMAN}" * (i % 3)
    )
    for number, (_, bits) in numbers.items():
        for i, row in enumerate(found):
            row[number] = -(2**bits) if i % 2 else 2**bits - 1
    return found


def of_json(client: MilvusClient, name: str) -> Rows:
    create(client, name, field("doc", DataType.JSON))
    return rows(doc=lambda i: {"a": [i, None, {"b": "ü"}]})


def of_arrays(client: MilvusClient, name: str) -> Rows:
    texts = field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=8, max_length=9)
    create(client, name, texts, field("numbers", DataType.ARRAY, element_type=DataType.INT64, max_capacity=8))
    return rows(tags=lambda i: [f"t{i}"] * (i % 4), numbers=lambda i: [i, -i])


def of_dynamic_values(client: MilvusClient, name: str) -> Rows:
    create(client, name, dynamic=True)
    return rows(more=lambda i: {"deep": [i]})


def of_generated_keys(client: MilvusClient, name: str) -> Rows:
    create(client, name, auto_id=True)
    return [{"v": row["v"]} for row in rows()]


def of_a_partition_key(client: MilvusClient, name: str) -> Rows:
    tenant = field("tenant", DataType.VARCHAR, max_length=9, is_partition_key=True)
    create(client, name, tenant, num_partitions=5)
    return rows(tenant=lambda i: f"t{i % 7}")


def of_isolation(client: MilvusClient, name: str) -> Rows:
    tenant = field("tenant", DataType.VARCHAR, max_length=9, is_partition_key=True)
    create(client, name, tenant, num_partitions=3, properties={"partitionkey.isolation": "true"})
    return rows(tenant=lambda i: f"t{i % 7}")


def of_time_to_live(client: MilvusClient, name: str) -> Rows:
    create(client, name, properties={"collection.ttl.seconds": "86400"})
    return rows()


def of_mmap(client: MilvusClient, name: str) -> Rows:
    create(client, name, properties={"mmap.enabled": "true"})
    return rows()


def of_binary_vectors(client: MilvusClient, name: str) -> Rows:
    create(client, name, field("bits", DataType.BINARY_VECTOR, dim=8), vector=False)
    return [{"id": i, "bits": bytes([i])} for i in range(ROWS)]


def of_several_vectors(client: MilvusClient, name: str) -> Rows:
    create(client, name, field("w", DataType.FLOAT_VECTOR, dim=3), field("bits", DataType.BINARY_VECTOR, dim=8))
    return rows(w=lambda i: [i, 1, 2], bits=lambda i: bytes([i]))


def of_half_vectors(client: MilvusClient, name: str) -> Rows:
    create(client, name, field("h", DataType.FLOAT16_VECTOR, dim=2), field("b", DataType.BFLOAT16_VECTOR, dim=2))
    return rows(h=lambda i: np.array([i, 0.5], np.float16).tobytes(), b=lambda i: bytes([0, 0x3F, i, 0x40]))


def of_sparse_vectors(client: MilvusClient, name: str) -> Rows:
    create(client, name, field("words", DataType.SPARSE_FLOAT_VECTOR))
    return rows(words=lambda i: {i: 0.5, 99: 1.0})


def of_int8_vectors(client: MilvusClient, name: str) -> Rows:
    create(client, name, field("tiny", DataType.INT8_VECTOR, dim=2))
    return rows(tiny=lambda i: bytes([i, 1]))


def of_a_clustering_key(client: MilvusClient, name: str) -> Rows:
    create(client, name, field("day", DataType.INT64, is_clustering_key=True))
    return rows(day=lambda i: i % 3)


def of_nulls(client: MilvusClient, name: str) -> Rows:
    create(client, name, field("maybe", DataType.VARCHAR, max_length=9, nullable=True))
    return [row if row["id"] % 2 else row | {"maybe": "m"} for row in rows()]


def of_defaults(client: MilvusClient, name: str) -> Rows:
    create(
        client, name, field("usually", DataType.INT64, default_value=7), field("zero", DataType.INT64, default_value=0)
    )
    return [row if row["id"] % 2 else row | {"usually": 1, "zero": 2} for row in rows()]


def of_full_text(client: MilvusClient, name: str) -> Rows:
    options = {"enable_analyzer": True, "analyzer_params": {"type": "english"}, "enable_match": True}
    create(
        client,
        name,
        field("body", DataType.VARCHAR, max_length=99, **options),
        field("bm", DataType.SPARSE_FLOAT_VECTOR),
        functions=[Function("bm25", FunctionType.BM25, input_field_names=["body"], output_field_names=["bm"])],
    )
    return rows(body=lambda i: f"word{i} and more")


def of_json_path_indexes(client: MilvusClient, name: str) -> Rows:
    create(client, name, field("doc", DataType.JSON))
    indexes = client.prepare_index_params()
    for name_of_index, path, cast in (("by_a", "doc['a']", "double"), ("by_c", "doc['b']['c']", "varchar")):
        indexes.add_index(
            "doc", index_type="INVERTED", index_name=name_of_index, params={"json_path": path, "json_cast_type": cast}
        )
    client.create_index(name, indexes)
    return rows(doc=lambda i: {"a": i, "b": {"c": str(i)}})


def of_times(client: MilvusClient, name: str) -> Rows:
    create(client, name, field("at", DataType.TIMESTAMPTZ, nullable=True))
    found = rows(at=lambda i: f"2026-03-{i + 1:02}T12:00:00.25+02:00")
    del found[5]["at"]
    return found


def of_geometry(client: MilvusClient, name: str) -> Rows:
    create(client, name, field("place", DataType.GEOMETRY))
    return rows(place=lambda i: f"POINT ({i} {i / 2})")


def of_structs(client: MilvusClient, name: str) -> Rows:
    schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    struct = client.create_struct_field_schema()
    struct.add_field("word", DataType.VARCHAR, max_length=20)
    struct.add_field("place", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("words", DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=struct, max_capacity=8)
    client.create_collection(name, schema=schema)
    return rows(words=lambda i: [{"word": f"w{i}", "place": [1.0, i]}])


CASES: Mapping[Feature, Make] = {
    Feature.SCALARS: of_scalars,
    Feature.JSON_VALUES: of_json,
    Feature.ARRAYS: of_arrays,
    Feature.DYNAMIC: of_dynamic_values,
    Feature.AUTO_ID: of_generated_keys,
    Feature.PARTITION_KEY: of_a_partition_key,
    Feature.ISOLATION: of_isolation,
    Feature.BINARY_VECTORS: of_binary_vectors,
    Feature.SEVERAL_VECTORS: of_several_vectors,
    Feature.HALF_VECTORS: of_half_vectors,
    Feature.SPARSE_VECTORS: of_sparse_vectors,
    Feature.INT8_VECTORS: of_int8_vectors,
    Feature.TIME_TO_LIVE: of_time_to_live,
    Feature.MMAP: of_mmap,
    Feature.CLUSTERING_KEY: of_a_clustering_key,
    Feature.NULLABLE: of_nulls,
    Feature.DEFAULTS: of_defaults,
    Feature.FULL_TEXT: of_full_text,
    Feature.JSON_PATH_INDEXES: of_json_path_indexes,
    Feature.TIMES: of_times,
    Feature.GEOMETRY: of_geometry,
    Feature.STRUCTS: of_structs,
}


def fill(restoring: Restoring, name: str, make: Make) -> None:
    """Make a collection, insert, delete, and insert again, with a flush in between."""
    client = MilvusClient(restoring.server.uri)
    found = make(client, name)
    keys = client.insert(name, found)["ids"]
    client.flush(name)
    client.delete(name, ids=[keys[i] for i in DELETED])
    if "id" in found[0]:
        client.upsert(name, [found[i] for i in UPSERTED])
    client.close()
