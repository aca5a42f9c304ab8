"""Metadata that milvus-backup can read, judged by an oracle that is held against its own archives."""

import base64
import json
from typing import Any

import pytest

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import CollectionDocument
from milvus_vault.archive.reader import read_archive, read_objects
from milvus_vault.errors import BackupDamagedError, WorkingFileError
from milvus_vault.model.collections import DatabaseDescription
from milvus_vault.model.flushes import FlushAllPoint, FlushedChannel
from milvus_vault.model.objects import ArchivedObject
from tests.support.go_json import FILES, check_archive, check_properties
from tests.unit.archive.samples import (
    BUCKET,
    DATABASES,
    PARTITION_ID,
    SEGMENT_ID,
    full_meta,
    golden_files,
    golden_layout,
    golden_store,
    new_store,
    reference_files,
    sample_contents,
    write_backup,
)

WITH_OBJECTS = ["golden_0516", "golden_057", "golden_meta"]
META_ONLY = ["golden_2_4", "golden_2_5", "golden_2_6"]
LAYOUT = BackupLayout("nightly", "ours")


def split(files: dict[str, bytes]) -> tuple[dict[str, bytes], dict[str, int]]:
    meta = {name: files[f"meta/{name}"] for name in FILES}
    return meta, {key: len(body) for key, body in files.items() if not key.startswith("meta/")}


def our_files() -> dict[str, bytes]:
    store = new_store()
    write_backup(store, LAYOUT, sample_contents(LAYOUT))
    return {
        listed.key.removeprefix(LAYOUT.root): store.get(BUCKET, listed.key)
        for listed in store.list_objects(BUCKET, LAYOUT.root)
    }


def listed_objects(meta: dict[str, bytes]) -> dict[str, int]:
    """Return the objects that a `full_meta.json` lists, for archives of which only that was kept."""
    objects = {}
    for collection in json.loads(meta["full_meta.json"])["collection_backups"]:
        partitions = [*collection["partition_backups"], {"segment_backups": collection.get("l0_segments", [])}]
        for segment in [segment for partition in partitions for segment in partition.get("segment_backups", [])]:
            for field in [*segment.get("binlogs", []), *segment.get("deltalogs", [])]:
                for log in field.get("binlogs", []):
                    head, segment_folder, tail = log["log_path"].partition(f"/{segment['segment_id']}/")
                    group = f"/{segment['group_id']}" if "group_id" in segment else ""
                    objects[f"binlogs/{head.removeprefix('files/')}{group}{segment_folder}{tail}"] = log["log_size"]
    return objects


@pytest.mark.parametrize("name", WITH_OBJECTS)
def test_oracle_accepts_what_milvus_backup_wrote(name: str) -> None:
    meta, objects = split(golden_files(name))

    assert check_archive(meta, objects) == []


@pytest.mark.parametrize("name", META_ONLY)
def test_oracle_accepts_the_metadata_of_newer_servers(name: str) -> None:
    meta, _ = split(golden_files(name))

    assert check_archive(meta, listed_objects(meta)) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (b'"shards_num":1', b'"shards_num":1.0', "not an integer"),
        (b'"shards_num":1', b'"shards_num":"1"', "is not of int32"),
        (b'"shards_num":1', b'"shards_num":99999999999', "is not of int32"),
        (b'"shards_num":1', b'"Shards_num":1', "another case"),
        (b'"has_index":true', b'"has_index":1', "is not of bool"),
        (b'"has_index":true,', b"", "has_index is missing"),
        (b'"is_primary_key":true', b'"is_primary_key":false', "has no value"),
        (b'"deltalogs":[{}]', b'"deltalogs":[]', "has no value"),
        (b'"data_type":5', b'"data_type":5,"default_value":{"Data":{"LongData":3}}', "unknown member default_value"),
        (b'"shards_num":1,"consistency_level":2', b'"consistency_level":2,"shards_num":1', "not in the order"),
        (b'"state_code":0,', b'"state_code":0, ', "as Go's encoder writes"),
        (b'"name":"tenants"', b'"name":"ten<nts"', "as Go's encoder writes"),
        (b'"num_of_rows":108', b'"num_of_rows":107', "tell different things"),
        (b'"group_id":470642820001452734', b'"group_id":470642820001452735', "has 2 segments"),
        (b'"log_size":457', b'"log_size":456', "bytes instead of"),
        (b'"milvus_version"', b'"format":"snapshot","milvus_version"', "not in the order"),
        (b"golden_0516", b"golden-0516", "is not one that all commands take"),
    ],
)
def test_oracle_notices_what_go_or_a_restore_would_refuse(old: bytes, new: bytes, complaint: str) -> None:
    meta, objects = split(golden_files("golden_0516"))
    assert old in meta["full_meta.json"]
    meta["full_meta.json"] = meta["full_meta.json"].replace(old, new)

    assert any(complaint in problem for problem in check_archive(meta, objects))


def test_oracle_notices_missing_and_foreign_objects() -> None:
    meta, objects = split(golden_files("golden_0516"))
    first = next(iter(objects))
    del objects[first]

    problems = check_archive(meta, objects | {"binlogs/insert_log/readme.txt": 1})

    assert f"{first} is listed and not there" in problems
    assert "binlogs/insert_log/readme.txt is not a key that Milvus can parse" in problems


def test_our_archive_is_one_of_milvus_backup() -> None:
    files = our_files()
    meta, objects = split({key: body for key, body in files.items() if not key.startswith("meta/vault/")})

    assert check_archive(meta, objects, own_members=["vault"]) == []
    assert check_properties(meta["full_meta.json"]) == []


def test_an_empty_backup_is_one_of_milvus_backup() -> None:
    store = new_store()
    write_backup(store, LAYOUT, [])

    meta = {name: store.get(BUCKET, LAYOUT.meta(name)) for name in FILES}

    assert check_archive(meta, {}, own_members=["vault"]) == []
    assert meta["segment_meta.json"] == b"{}"


def test_text_is_escaped_as_go_does_and_not_more() -> None:
    body = our_files()["meta/full_meta.json"]

    assert b"a \\u003c b \\u0026\\u0026 c \\u003e d, \\u2028\\u2029 \xc3\xbc \xf0\x9f\x93\x9a" in body


def test_the_dynamic_field_is_left_out_and_the_default_value_is_in_base64() -> None:
    collection = json.loads(our_files()["meta/full_meta.json"])["collection_backups"][0]

    fields = {field["name"]: field for field in collection["schema"]["fields"]}
    assert list(fields) == ["id", "title", "sparse", "tags", "tenant"]
    assert fields["title"]["default_value_base64"] == "Mgd1bmtub3du"
    assert collection["schema"]["properties"] == [
        {"key": "mmap.enabled", "value": "true"},
        {"key": "collection.ttl.seconds", "value": "3600"},
    ]


def without(value: Any, dropped: set[str]) -> Any:
    """Return JSON without some members, and with all lists in order."""
    if isinstance(value, dict):
        return {key: without(item, dropped) for key, item in value.items() if key not in dropped}
    if isinstance(value, list):
        return sorted((without(item, dropped) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


# For replication to another server of 2.5; and what the collections and their schemas have in another order.
NOT_OURS = {"rpc_channel_info", "properties", "id"}


def described_databases(meta: dict[str, Any]) -> list[DatabaseDescription]:
    return [
        DatabaseDescription.model_validate(
            {"name": found["db_name"], "database_id": found.get("db_id", 0), "properties": found.get("properties", [])}
        )
        for found in meta["database_backups"]
    ]


def flush_all(meta: dict[str, Any]) -> FlushAllPoint | None:
    messages = meta.get("flush_all_msgs_base64")
    if messages is None:
        return None
    return FlushAllPoint(
        timestamp=1,
        channels=tuple(
            FlushedChannel(channel=channel, timestamp=1, message=base64.b64decode(message))
            for channel, message in messages.items()
        ),
        control_channel=meta["control_channel_name"],
        physical_channels=tuple(meta["physical_channel_names"]),
    )


@pytest.mark.parametrize("name", ["golden_0516", "golden_2_4", "golden_2_5", "golden_2_6"])
def test_an_archive_of_milvus_backup_written_again_says_the_same(name: str) -> None:
    store = golden_store(name)
    archive = read_archive(store, BUCKET, golden_layout(name))
    original = full_meta(name)
    contents = []
    for collection, info in zip(archive.collections, original["collection_backups"], strict=True):
        partitions = [*info["partition_backups"], {"segment_backups": info.get("l0_segments", [])}]
        told = [segment for partition in partitions for segment in partition.get("segment_backups", [])]
        channels = {segment["segment_id"]: segment.get("v_channel", "") for segment in told}
        document = CollectionDocument.model_validate(
            {
                "description": {
                    "database_id": info.get("db_id", 0),
                    "collection_id": collection.collection_id,
                    "name": collection.name,
                    "schema_proto": "",
                    "collection_schema": collection.layout.collection_schema,
                    "shards": collection.layout.shards,
                    "consistency_level": collection.layout.consistency_level,
                    "properties": collection.layout.properties,
                    "partitions": [
                        {"partition_id": p.partition_id, "name": p.name, "is_loaded": p.is_loaded}
                        for p in collection.partitions
                    ],
                    "indexes": collection.indexes,
                    "aliases": collection.aliases,
                    "load_state": collection.load_state,
                    "created_timestamp": info["created_timestamp"],
                    "virtual_channels": info["virtual_channel_names"],
                    "physical_channels": info["physical_channel_names"],
                },
                "segments": [
                    {
                        "segment_id": segment.segment_id,
                        "partition_id": segment.partition_id,
                        "row_count": segment.row_count,
                        "level": segment.level,
                        "storage_version": segment.storage_version,
                        "virtual_channel": channels.get(segment.segment_id, ""),
                    }
                    for segment in collection.segments
                ],
                "flush_timestamp": info.get("backup_timestamp", 0),
                "flushed_at_seconds": info.get("backup_physical_timestamp", 0),
                "channel_checkpoints": [
                    {"channel": channel, "timestamp": 1, "position": position}
                    for channel, position in info.get("channel_checkpoints", {}).items()
                ],
            }
        )
        contents.append((document, read_objects(store, BUCKET, golden_layout(name), collection)))

    files = reference_files(
        backup_id=original["id"],
        backup_name=name,
        milvus_version=original["milvus_version"],
        databases=described_databases(original),
        flush_all=flush_all(original),
        rbac=archive.rbac,
        collections=contents,
    )

    ours = without(json.loads(files["full_meta.json"]), NOT_OURS)
    theirs = without(original, NOT_OURS)
    for meta in (ours, theirs):
        for collection in meta["collection_backups"]:
            for partition in [*collection["partition_backups"], {"segment_backups": collection.get("l0_segments", [])}]:
                for segment in partition.get("segment_backups", []):
                    # `[{}]` or nothing where there are no deletes; the primary key's ID or none where there are.
                    logs = [log for field in segment.pop("deltalogs", []) for log in field.get("binlogs", [])]
                    segment["deletes"] = logs
    assert ours == theirs
    assert json.loads(files["full_meta.json"])["database_backups"] == original["database_backups"]


def test_a_segment_without_objects_is_left_out() -> None:
    (document, objects), _ = sample_contents(LAYOUT)
    kept = [item for item in objects if f"/{SEGMENT_ID}/" not in item.stored_key]

    files = reference_files(
        backup_id="1", backup_name="b", milvus_version="v2.5.0", databases=DATABASES, collections=[(document, kept)]
    )

    partitions = json.loads(files["full_meta.json"])["collection_backups"][0]["partition_backups"]
    assert SEGMENT_ID not in [segment["segment_id"] for segment in partitions[0]["segment_backups"]]


def test_an_object_of_no_segment_is_refused() -> None:
    (document, objects), _ = sample_contents(LAYOUT)
    source = objects[0].source_key.replace(f"/{SEGMENT_ID}/", "/77/")
    stray = ArchivedObject(objects[0].stored_key, source, 1, "")

    with pytest.raises(WorkingFileError, match=r"belong to no segment of it: 77"):
        reference_files(
            backup_id="1", backup_name="b", milvus_version="v2.5.0", databases=[], collections=[(document, [stray])]
        )


@pytest.mark.parametrize(
    ("key", "error"),
    [("files/stats_log/1/2/3/4/5", BackupDamagedError), ("files/insert_log/9/2/3/4/5", WorkingFileError)],
)
def test_an_object_that_is_no_log_of_the_collection_is_refused(key: str, error: type[Exception]) -> None:
    (document, _), _ = sample_contents(LAYOUT)

    with pytest.raises(error, match="of a log of"):
        reference_files(
            backup_id="1",
            backup_name="b",
            milvus_version="v2.5.0",
            databases=[],
            collections=[(document, [ArchivedObject("x", key, 1, "")])],
        )


def test_a_segment_of_no_partition_is_refused() -> None:
    (document, objects), _ = sample_contents(LAYOUT)
    partitions = tuple(p for p in document.description.partitions if p.partition_id != PARTITION_ID)
    description = document.description.model_copy(update={"partitions": partitions})

    with pytest.raises(WorkingFileError, match="unknown partition"):
        reference_files(
            backup_id="1",
            backup_name="b",
            milvus_version="v2.5.0",
            databases=[],
            collections=[(document.model_copy(update={"description": description}), objects)],
        )
