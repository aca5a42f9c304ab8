"""What is recorded of collections and databases besides their rows: all that the server tells."""

import json
from typing import Any

import pytest
from pymilvus.grpc_gen import schema_pb2

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.model.collections import KeyValue
from tests.compatibility.features import Feature
from tests.conformance.asking import base_fields, field
from tests.conformance.conftest import Running, Start
from tests.conformance.test_capture import Open, backups
from tests.support.capturing import Backups
from tests.support.milvus_server.versions import ALL

__all__ = ["backups"]

NAME, FULL_NAME, DATABASE = "all_there_is", "gold.all_there_is", "gold"
PROPERTIES = {"collection.ttl.seconds": "864000", "mmap.enabled": "true", "partitionkey.isolation": "true"}
VECTORS = {
    "BinaryVector": "2.2",
    "Float16Vector": "2.4",
    "BFloat16Vector": "2.4",
    "SparseFloatVector": "2.4",
    "Int8Vector": "2.6",
}


def _schema(version: str) -> Any:
    """Return the schema with the most of everything that a version takes."""
    schema = schema_pb2.CollectionSchema(name=NAME, description="d — ü", enable_dynamic_field=version >= "2.3")
    schema.fields.append(field("id", "VarChar", is_primary_key=True, max_length=64))
    schema.fields.append(field("v", "FloatVector", dim=4))
    if version >= "2.4":
        for kind, since in VECTORS.items():
            if version >= since:
                schema.fields.append(field(kind.lower(), kind, **({} if "Sparse" in kind else {"dim": 8})))
        schema.fields.append(field("tenant", "Int64", is_partition_key=True))
        tags = field("tags", "Array", max_capacity=8, max_length=20)
        tags.element_type = schema_pb2.DataType.Value("VarChar")
        schema.fields.append(tags)
        schema.fields.append(field("doc", "JSON"))
        day = field("day", "Int64")
        day.is_clustering_key = True
        schema.fields.append(day)
    if version >= "2.5":
        number = field("number", "Int64", nullable=True)
        number.default_value.long_data = 0
        text = field("text", "VarChar", max_length=500, enable_analyzer="true", enable_match="true")
        text.type_params.add(key="analyzer_params", value='{"tokenizer": "standard"}')
        schema.fields.extend([number, text, field("terms", "SparseFloatVector")])
        schema.functions.add(name="bm", type=1, input_field_names=["text"], output_field_names=["terms"])
    if version >= "2.6":
        struct = schema.struct_array_fields.add(name="clips", description="of a film")
        struct.fields.append(field("caption", "Array", max_capacity=4, max_length=30))
        struct.fields[0].element_type = schema_pb2.DataType.Value("VarChar")
    return schema


def _make(running: Running, version: str) -> None:
    milvus = running.milvus
    options = {"properties": [{"key": "database.max.collections", "value": "50"}]} if version >= "2.4" else {}
    milvus.must("CreateDatabase", db_name=DATABASE, **options)
    names = {"db_name": DATABASE, "collection_name": NAME}
    milvus.must(
        "CreateCollection",
        **names,
        schema=_schema(version).SerializeToString(),
        shards_num=2,
        consistency_level=3,
        num_partitions=3 if version >= "2.4" else 0,
        properties=[{"key": key, "value": value} for key, value in PROPERTIES.items()],
    )
    if version >= "2.5":
        params = {"index_type": "INVERTED", "json_path": "doc['a']['b']", "json_cast_type": "double"}
        pairs = [{"key": key, "value": value} for key, value in params.items()]
        milvus.must("CreateIndex", **names, field_name="doc", index_name="by_path", extra_params=pairs)
    for alias in ("now", "then"):
        milvus.must("CreateAlias", **names, alias=alias)


def _full_meta(taken: Backups) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        taken.store.get(taken.bucket, BackupLayout("backups", "b").meta("full_meta.json"))
    )
    return found


@pytest.mark.parametrize("version", ALL)
def test_a_schema_is_recorded_with_all_that_the_server_tells(start: Start, backups: Open, version: str) -> None:
    running = start(version)
    _make(running, version)
    told = running.milvus.must("DescribeCollection", db_name=DATABASE, collection_name=NAME)
    taken = backups(running)
    assert taken.take("b").failures == ()
    (collection,) = taken.archive("b").collections
    layout = collection.layout
    assert layout.schema_proto == told.schema.SerializeToString()
    assert (layout.shards, layout.consistency_level, collection.aliases) == (2, 3, ("now", "then"))
    assert {item.key: item.value for item in layout.properties}.items() >= PROPERTIES.items()
    kept = {item.name: item for item in layout.collection_schema.fields}
    for field_told in told.schema.fields:
        found = kept.pop(field_told.name)
        assert (found.field_id, found.data_type, found.nullable, found.is_partition_key, found.is_clustering_key) == (
            field_told.fieldID,
            field_told.data_type,
            field_told.nullable,
            field_told.is_partition_key,
            field_told.is_clustering_key,
        )
    assert kept == {}


@pytest.mark.feature(Feature.PEER_METADATA)
@pytest.mark.parametrize("version", ALL)
def test_milvus_backups_metadata_has_the_same_schema(start: Start, backups: Open, version: str) -> None:
    running = start(version)
    _make(running, version)
    told = running.milvus.must("DescribeCollection", db_name=DATABASE, collection_name=NAME)
    taken = backups(running)
    taken.take("b")
    (collection,) = _full_meta(taken)["collection_backups"]
    schema = collection["schema"]
    fields = {item["name"]: item for item in schema["fields"]}
    assert {name: item["fieldID"] for name, item in fields.items()} == {f.name: f.fieldID for f in told.schema.fields}
    assert {item["key"]: item["value"] for item in schema["properties"]}.items() >= PROPERTIES.items()
    assert schema.get("enable_dynamic_field", False) == told.schema.enable_dynamic_field
    assert collection["shards_num"] == 2
    if version >= "2.5":
        # Zero, which is a value of its own: a field without a default has none.
        assert (fields["number"]["nullable"], fields["number"]["default_value_base64"]) == (True, "GAA=")
        assert {item["key"] for item in fields["text"]["type_params"]} >= {"analyzer_params", "enable_match"}
        (function,) = schema["functions"]
        assert (function["type"], function["input_field_names"], function["output_field_names"]) == (
            1,
            ["text"],
            ["terms"],
        )
        (index,) = collection["index_infos"]
        assert (index["index_name"], index["params"]["json_path"]) == ("by_path", "doc['a']['b']")
    if version >= "2.6":
        (struct,) = schema["struct_array_fields"]
        assert (struct["name"], len(struct["fields"]), struct["fields"][0]["element_type"]) == ("clips", 1, 21)


@pytest.mark.parametrize("version", ALL)
def test_databases_are_recorded_with_their_properties_where_the_server_tells_them(
    start: Start, backups: Open, version: str
) -> None:
    running = start(version)
    _make(running, version)
    taken = backups(running)
    manifest = taken.take("b")
    described = {item.name: item for item in taken.archive("b").database_descriptions}
    wanted = (KeyValue(key="database.max.collections", value="50"),) if version >= "2.4" else ()
    assert list(described) == list(manifest.databases) == ["default", "gold"]
    assert described["gold"].properties == wanted
    theirs = {item["db_name"]: item.get("properties", []) for item in _full_meta(taken)["database_backups"]}
    assert theirs["gold"] == [item.model_dump() for item in wanted]


def test_a_field_that_was_added_later_keeps_its_place(start: Start, backups: Open) -> None:
    running = start("2.6.19")
    running.milvus.make("c", *base_fields(), dynamic=True)
    later = field("later", "Int64", nullable=True)
    running.milvus.must("AddCollectionField", collection_name="c", schema=later.SerializeToString())
    taken = backups(running)
    taken.take("b")
    (collection,) = taken.archive("b").collections
    # 102 is the hidden field of dynamic values, which the server does not tell.
    assert [item.field_id for item in collection.layout.collection_schema.fields] == [100, 101, 103]


@pytest.mark.parametrize(("zone", "count"), [("42", 1), ("", 0)])
def test_a_warning_tells_that_the_key_of_an_encrypted_database_is_not_in_the_backup(
    start: Start, backups: Open, zone: str, count: int
) -> None:
    running = start("2.6.19")
    properties = [{"key": "cipher.ezID", "value": zone}]
    running.milvus.must("CreateDatabase", db_name=DATABASE, properties=properties)
    running.milvus.make("c", *base_fields())
    assert len([text for text in backups(running).take("b").warnings if "gold is encrypted" in text]) == count
