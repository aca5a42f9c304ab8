"""The archive of each version, whole, by the rules that milvus-backup's own archives were found to keep."""

import json
from typing import Any

import pytest
from pymilvus.grpc_gen import schema_pb2

from tests.compatibility.features import Feature
from tests.conformance.asking import base_fields, field
from tests.conformance.conftest import Running, Start
from tests.conformance.test_capture import Open, backups
from tests.support.capturing import Backups
from tests.support.go_json import FILES, check_archive, check_properties
from tests.support.milvus_server.versions import ALL

__all__ = ["backups"]

NAME, OTHER, EMPTY = "c", "dynamic", "empty"
ROWS = 30
PROPERTIES = {"collection.ttl.seconds": "864000"}


def _fill(running: Running) -> None:
    """Make rows in two partitions and two channels, deletes of one partition and of all, and collections without."""
    milvus = running.milvus
    milvus.make(NAME, *base_fields(), shards=2, partitions=("p", "void"), properties=PROPERTIES)
    milvus.make(EMPTY, *base_fields())
    schema = schema_pb2.CollectionSchema(name=OTHER, description='a <b> & "ü" \u2028', enable_dynamic_field=True)
    schema.fields.extend([field("id", "Int64", is_primary_key=True), field("v", "FloatVector", dim=4)])
    milvus.must("CreateCollection", collection_name=OTHER, schema=schema.SerializeToString(), shards_num=1)
    milvus.must("CreateAlias", collection_name=NAME, alias="nick")
    milvus.insert(NAME, range(ROWS))
    milvus.insert(NAME, range(ROWS, 2 * ROWS), "p")
    milvus.flush(NAME)
    milvus.delete(NAME, range(5))
    milvus.must("Delete", collection_name=NAME, partition_name="p", expr=f"id in {[ROWS, ROWS + 1]}")


def _archive(taken: Backups) -> tuple[dict[str, bytes], dict[str, int]]:
    """Return milvus-backup's files, and the sizes of all objects that are no metadata."""
    layout, store = taken.layout("b"), taken.store
    files = {name: store.get(taken.bucket, layout.meta(name)) for name in FILES}
    objects = {
        item.key.removeprefix(layout.root): item.size_bytes for item in store.list_objects(taken.bucket, layout.root)
    }
    return files, {key: size for key, size in objects.items() if not key.startswith("meta/")}


@pytest.mark.feature(Feature.PEER_METADATA)
@pytest.mark.parametrize("version", ALL)
def test_an_archive_of_each_version_is_one_of_milvus_backup(start: Start, backups: Open, version: str) -> None:
    running = start(version)
    _fill(running)
    taken = backups(running)
    taken.take("b")
    files, objects = _archive(taken)
    assert check_archive(files, objects, own_members=["vault"]) == []
    assert check_properties(files["full_meta.json"]) == []
    found = {item["collection_name"]: item for item in json.loads(files["full_meta.json"])["collection_backups"]}
    assert set(found) == {NAME, OTHER, EMPTY}
    assert found[NAME]["aliases"] == ["nick"]
    by_partition = {item["partition_name"]: item for item in found[NAME]["partition_backups"]}
    for partition in by_partition.values():
        segments = partition.get("segment_backups", [])
        assert partition["size"] == sum(segment["size"] for segment in segments)
        assert [segment["group_id"] for segment in segments] == [segment["segment_id"] for segment in segments]
    has_l0 = version >= "2.4"
    assert _levels(by_partition["p"]) == ({False, True} if has_l0 else {False})
    assert _levels(by_partition["_default"]) == {False}
    of_all = found[NAME].get("l0_segments", [])
    assert bool(of_all) == has_l0
    for segment in of_all:
        assert (segment["partition_id"], segment["is_l0"], "group_id" in segment) == (-1, True, False)
        folder = f"binlogs/delta_log/{segment['collection_id']}/-1/{segment['segment_id']}/"
        assert sum(size for key, size in objects.items() if key.startswith(folder)) == segment["size"] > 0


def _levels(partition: dict[str, Any]) -> set[bool]:
    return {segment.get("is_l0", False) for segment in partition["segment_backups"]}
