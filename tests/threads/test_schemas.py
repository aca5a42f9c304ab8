"""What newer servers can have in a schema, and older tools lost."""

import re
from typing import Any

import pytest
from inspect_milvus.handler import handler as inspect_milvus
from pymilvus import DataType

from tests.restore.conftest import Deploy
from tests.support.milvus_server.versions import FROM_2_5, NEWER
from tests.support.restoring import Json, Restoring
from tests.threads.helpers import client_of, live

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

ROWS = 10


def filled(restoring: Restoring, *fields: dict[str, Any], rows: list[dict[str, Any]], dynamic: bool = False) -> None:
    """Make a collection with more fields than a key and a vector."""
    client = client_of(restoring)
    schema = client.create_schema(auto_id=False, enable_dynamic_field=dynamic)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    for field in fields:
        schema.add_field(**field)
    client.create_collection("c", schema=schema)
    client.insert("c", [{"id": number, "v": [number, 0.5]} | row for number, row in enumerate(rows)])
    client.flush("c")
    client.close()


def again(deploy: Deploy, source: Restoring, version: str, name: str) -> tuple[Restoring, Json]:
    """Back a server up, and restore into another of its version."""
    backup = f"{name}_{version.replace('.', '_')}"
    source.back_up(backup)
    target = deploy(version)
    return target, target.restore({"backup_name": backup})


def fields_of(restoring: Restoring) -> Any:
    client = client_of(restoring)
    found = client.describe_collection("c")["fields"]
    client.close()
    return found


@pytest.mark.thread("milvus-backup#439", "milvus#36341")
@pytest.mark.parametrize("version", FROM_2_5)
def test_nulls_come_back_as_nulls_and_defaults_as_defaults(deploy: Deploy, version: str) -> None:
    source = deploy(version)
    filled(
        source,
        {"field_name": "maybe", "datatype": DataType.INT64, "nullable": True},
        {"field_name": "text", "datatype": DataType.VARCHAR, "max_length": 9, "nullable": True},
        {"field_name": "usual", "datatype": DataType.INT64, "default_value": 7},
        rows=[{} if number % 2 else {"maybe": 0, "text": "", "usual": 1} for number in range(ROWS)],
    )
    target, report = again(deploy, source, version, "nulls")
    assert report["status"] == "complete"
    assert fields_of(target) == fields_of(source)
    assert live(target, "c") == live(source, "c")
    assert [values[102] for _, values in sorted(live(target, "c").items())] == [0, None] * (ROWS // 2)
    assert [values[104] for _, values in sorted(live(target, "c").items())] == [1, 7] * (ROWS // 2)


@pytest.mark.thread("milvus#41099")
@pytest.mark.parametrize("version", NEWER)
def test_the_elements_of_arrays_keep_their_types(deploy: Deploy, version: str) -> None:
    source = deploy(version)
    array = {"datatype": DataType.ARRAY, "max_capacity": 8}
    filled(
        source,
        {"field_name": "numbers", "element_type": DataType.INT64} | array,
        {"field_name": "words", "element_type": DataType.VARCHAR, "max_length": 9} | array,
        {"field_name": "facts", "element_type": DataType.BOOL} | array,
        rows=[{"numbers": [number], "words": [f"w{number}"], "facts": [True]} for number in range(ROWS)],
    )
    target, report = again(deploy, source, version, "arrays")
    assert report["status"] == "complete"
    assert fields_of(target) == fields_of(source)
    assert live(target, "c") == live(source, "c")


@pytest.mark.thread("milvus-backup#910", "milvus-backup#1012", "milvus-backup#1013")
@pytest.mark.parametrize("version", NEWER)
def test_dynamic_values_come_back_though_their_field_is_hidden(deploy: Deploy, version: str) -> None:
    source = deploy(version)
    filled(source, rows=[{"more": {"deep": [number]}} for number in range(ROWS)], dynamic=True)
    target, report = again(deploy, source, version, "dynamic")
    assert report["status"] == "complete"
    assert live(target, "c") == live(source, "c")
    hidden = [
        [field.SerializeToString() for field in found.server.core.catalog.collection("default", "c").schema.fields]
        for found in (source, target)
    ]
    assert hidden[0] == hidden[1]


@pytest.mark.thread("milvus-backup#1188")
def test_an_array_of_structs_keeps_what_this_release_does_not_know_of_it(deploy: Deploy) -> None:
    source = deploy("2.6.19")
    client = client_of(source)
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    struct = client.create_struct_field_schema()
    struct.add_field("word", DataType.VARCHAR, max_length=20)
    schema.add_field("words", DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=struct, max_capacity=8)
    client.create_collection("c", schema=schema)
    client.close()
    # Field 99 of the message, a varint: whatever a newer server tells.
    of_tomorrow = bytes([0x98, 0x06, 0x01])
    made = source.server.core.catalog.collection("default", "c").schema.struct_array_fields[0]
    made.MergeFromString(of_tomorrow)
    target, report = again(deploy, source, "2.6.19", "structs")
    assert report["status"] == "complete"
    found = target.server.core.catalog.collection("default", "c").schema.struct_array_fields[0]
    assert found.SerializeToString().endswith(of_tomorrow)


@pytest.mark.thread("milvus#53361")
def test_rows_older_than_a_nullable_vector_field_are_told_of_and_come_back(deploy: Deploy) -> None:
    source = deploy("2.6.19")
    filled(source, rows=[{} for _ in range(ROWS)])
    client = client_of(source)
    client.add_collection_field("c", "later", DataType.FLOAT_VECTOR, dim=2, nullable=True)
    client.close()
    source.back_up("later_vectors")
    said = rf"1 segment\(s\) of default\.c with {ROWS} row\(s\), as \d+, are older than its vector field\(s\) later"
    (warning,) = source.manifest("later_vectors")["warnings"]
    assert re.match(said, warning)
    with source.functions() as called:
        found = {item["name"]: item for item in called(inspect_milvus, {"inspection": "check"})["found"]["checks"]}
    assert found["segments"]["verdict"] == "warning"
    about = "1 of 1 collections cannot be backed up, or be restored only in rounds"
    assert re.match(f"{about}: {said}", found["segments"]["message"])
    target = deploy("2.6.19")
    assert target.restore({"backup_name": "later_vectors"})["status"] == "complete"
    assert live(target, "c") == live(source, "c")
    assert fields_of(target) == fields_of(source)
