"""What each version can have in a schema comes back, into that version and into newer ones."""

from collections.abc import Callable
from typing import Any

import pytest
from pymilvus import DataType, Function, FunctionType, MilvusClient, MilvusException

from tests.restore.conftest import Deploy
from tests.support.restoring import Restoring

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

NAME = "c"
ROWS = 20
ALL = ["2.4.23", "2.5.27", "2.6.19"]

type Make = Callable[[MilvusClient], list[dict[str, Any]]]


def create(client: MilvusClient, *fields: dict[str, Any], dynamic: bool = False, **options: Any) -> None:
    """Create a collection with a key, a vector, and more fields."""
    schema = client.create_schema(auto_id=False, enable_dynamic_field=dynamic)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    for field in fields:
        schema.add_field(**field)
    for function in options.pop("functions", ()):
        schema.add_function(function)
    client.create_collection(NAME, schema=schema, **options)


def rows(**more: Callable[[int], Any]) -> list[dict[str, Any]]:
    """Return rows with some values each."""
    return [{"id": i, "v": [i, 0.5]} | {name: value(i) for name, value in more.items()} for i in range(ROWS)]


def plain(client: MilvusClient) -> list[dict[str, Any]]:
    create(client)
    return rows()


def with_dynamic_values(client: MilvusClient) -> list[dict[str, Any]]:
    create(client, dynamic=True)
    return rows(more=lambda i: {"deep": [i]})


def with_a_partition_key(client: MilvusClient) -> list[dict[str, Any]]:
    tenant = {"field_name": "tenant", "datatype": DataType.VARCHAR, "max_length": 9, "is_partition_key": True}
    create(client, tenant, num_partitions=5, properties={"partitionkey.isolation": "true"})
    return rows(tenant=lambda i: f"t{i % 7}")


def with_properties(client: MilvusClient) -> list[dict[str, Any]]:
    create(client, properties={"collection.ttl.seconds": "86400", "mmap.enabled": "true"})
    return rows()


def with_all_kinds_of_vectors(client: MilvusClient) -> list[dict[str, Any]]:
    create(
        client,
        {"field_name": "bits", "datatype": DataType.BINARY_VECTOR, "dim": 8},
        {"field_name": "words", "datatype": DataType.SPARSE_FLOAT_VECTOR},
    )
    return rows(bits=lambda i: bytes([i]), words=lambda i: {i: 0.5, 99: 1.0})


def with_nulls_and_defaults(client: MilvusClient) -> list[dict[str, Any]]:
    create(
        client,
        {"field_name": "maybe", "datatype": DataType.VARCHAR, "max_length": 9, "nullable": True},
        {"field_name": "usually", "datatype": DataType.INT64, "default_value": 7},
    )
    return [row if row["id"] % 2 else row | {"maybe": "m", "usually": 1} for row in rows()]


def with_a_clustering_key(client: MilvusClient) -> list[dict[str, Any]]:
    create(client, {"field_name": "day", "datatype": DataType.INT64, "is_clustering_key": True})
    return rows(day=lambda i: i % 3)


def with_full_text(client: MilvusClient) -> list[dict[str, Any]]:
    create(
        client,
        {
            "field_name": "body",
            "datatype": DataType.VARCHAR,
            "max_length": 99,
            "enable_analyzer": True,
            "analyzer_params": {"type": "english"},
            "enable_match": True,
        },
        {"field_name": "bm", "datatype": DataType.SPARSE_FLOAT_VECTOR},
        functions=[Function("bm25", FunctionType.BM25, input_field_names=["body"], output_field_names=["bm"])],
    )
    return rows(body=lambda i: f"word{i} and more")


def with_arrays_of_structs(client: MilvusClient) -> list[dict[str, Any]]:
    schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    struct = client.create_struct_field_schema()
    struct.add_field("word", DataType.VARCHAR, max_length=20)
    struct.add_field("place", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("words", DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=struct, max_capacity=8)
    client.create_collection(NAME, schema=schema)
    return rows(words=lambda i: [{"word": f"w{i}", "place": [1.0, i]}])


def with_small_numbers_in_vectors(client: MilvusClient) -> list[dict[str, Any]]:
    create(client, {"field_name": "tiny", "datatype": DataType.INT8_VECTOR, "dim": 2})
    return rows(tiny=lambda i: bytes([i, 1]))


OLD: list[Make] = [plain, with_dynamic_values, with_a_partition_key, with_properties, with_all_kinds_of_vectors]
FROM_2_5: list[Make] = [with_nulls_and_defaults, with_a_clustering_key, with_full_text]
FROM_2_6: list[Make] = [with_arrays_of_structs, with_small_numbers_in_vectors]
MADE = {"2.4.23": OLD, "2.5.27": OLD + FROM_2_5, "2.6.19": OLD + FROM_2_5 + FROM_2_6}


def described(restoring: Restoring) -> dict[str, Any]:
    """Return what a collection is made of, without its ID and times."""
    client = MilvusClient(restoring.server.uri)
    found = client.describe_collection(NAME)
    client.close()
    return {key: found[key] for key in ("fields", "functions", "enable_dynamic_field", "properties", "num_partitions")}


def by_key(restoring: Restoring) -> dict[Any, dict[int, Any]]:
    """Return the live rows."""
    columns = restoring.server.live_rows("default", NAME)
    keys = columns.get(100, [])
    return {key: {field: values[i] for field, values in columns.items() if field > 1} for i, key in enumerate(keys)}


def fill(restoring: Restoring, make: Make) -> None:
    """Make a collection, insert, delete, and insert again, with flushes in between."""
    client = MilvusClient(restoring.server.uri)
    found = make(client)
    client.insert(NAME, found)
    client.flush(NAME)
    client.delete(NAME, ids=[1, 3])
    client.upsert(NAME, [found[3], found[4]])
    client.close()


@pytest.mark.parametrize(
    ("source", "target", "make"),
    [
        pytest.param(source, target, make, id=f"{source}-{target}-{make.__name__}")
        for source in ALL
        for target in ALL
        if source <= target
        for make in MADE[source]
        # Across versions only what is of the older one alone.
        if source == target or make in MADE[source][-3:] or make is with_dynamic_values
    ],
)
def test_a_schema_and_its_rows_come_back(deploy: Deploy, source: str, target: str, make: Make) -> None:
    first = deploy(source)
    fill(first, make)
    name = f"b_{make.__name__}_{source.replace('.', '_')}_{target.replace('.', '_')}"
    first.back_up(name)
    second = deploy(target)
    report = second.restore({"backup_name": name})
    assert (report["status"], [c["message"] for c in report["collections"]]) == ("complete", [""])
    assert by_key(second) == by_key(first)
    assert len(by_key(second)) == ROWS - 1
    assert report["collections"][0]["row_count"] == ROWS - 1
    wanted, found = described(first), described(second)
    found["properties"].pop("timezone", "")
    wanted["properties"].pop("timezone", "")
    assert found == wanted


def test_fields_added_later_keep_their_numbers_beside_dynamic_values(deploy: Deploy) -> None:
    first = deploy("2.6.19")
    client = MilvusClient(first.server.uri)
    create(client, dynamic=True)
    client.insert(NAME, rows(extra=lambda i: i))
    client.flush(NAME)
    for name in ("later", "latest"):
        client.add_collection_field(NAME, name, DataType.INT64, nullable=True)
    client.insert(NAME, [{"id": 100, "v": [0, 0], "later": 5, "latest": 6, "extra": "x"}])
    client.close()
    first.back_up("added")
    second = deploy("2.6.19")
    assert second.restore({"backup_name": "added"})["status"] == "complete"
    assert by_key(second) == by_key(first)
    assert [field["name"] for field in described(second)["fields"]] == ["id", "v", "later", "latest"]
    assert described(second)["fields"] == described(first)["fields"]


@pytest.mark.parametrize("version", ["2.5.27", "2.6.19"])
def test_indexes_that_milvus_named_by_itself_have_the_same_names_again(deploy: Deploy, version: str) -> None:
    first = deploy(version)
    client = MilvusClient(first.server.uri)
    create(client, {"field_name": "doc", "datatype": DataType.JSON})
    indexes = client.prepare_index_params()
    for path in ("doc['a']['b']", "doc['c']"):
        params = {"json_path": path, "json_cast_type": "double"}
        indexes.add_index("doc", index_type="INVERTED", params=params)
    client.create_index(NAME, indexes)
    assert sorted(client.list_indexes(NAME)) == ["doc/a/b", "doc/c"]
    with pytest.raises(MilvusException, match="Invalid index name: doc/d"):
        client.create_index(NAME, _named(client, "doc/d"))
    client.close()
    name = f"named_{version.replace('.', '_')}"
    first.back_up(name)
    second = deploy(version)
    report = second.restore({"backup_name": name})
    assert (report["status"], report["collections"][0]["message"]) == ("complete", "")
    client = MilvusClient(second.server.uri)
    found = {item: client.describe_index(NAME, item)["json_path"] for item in client.list_indexes(NAME)}
    client.close()
    assert found == {"doc/a/b": "doc['a']['b']", "doc/c": "doc['c']"}


def _named(client: MilvusClient, name: str) -> Any:
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_name=name, index_type="FLAT", metric_type="L2")
    return indexes
