"""Backups of milvus-backup, read: archives that it made from real servers, and what older releases left out."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from milvus_vault.adapters.milvus_schema import schema_to_proto
from milvus_vault.archive.check import check_objects, raise_if_damaged
from milvus_vault.archive.reader import (
    Archive,
    ArchivedCollection,
    read_archive,
    read_objects,
    segments_with_deletes,
)
from milvus_vault.errors import BackupDamagedError, BackupFormatError, BackupNotFoundError
from milvus_vault.model.collections import ALL_PARTITIONS, LoadState, SegmentLevel
from tests.support.memory_store import InMemoryObjectStore
from tests.support.reference_shapes import meta_files
from tests.unit.archive.samples import BUCKET, GOLDEN, PREFIX, full_meta, golden_layout, golden_store

ORACLE: dict[str, Any] = json.loads((GOLDEN / "oracle_2_3.json").read_bytes())
WITH_OBJECTS = ["golden_0516", "golden_057"]
OF_2_3 = [*WITH_OBJECTS, "golden_meta"]
LEVELS = ["collection_meta.json", "partition_meta.json", "segment_meta.json"]
ALL = [*OF_2_3, "golden_2_4", "golden_2_5", "golden_2_6"]

# The oracle spells types by name.
DATA_TYPES = {"Bool": 1, "Int8": 2, "Int16": 3, "Int32": 4, "Int64": 5, "Float": 10, "Double": 11, "VarChar": 21}
DATA_TYPES |= {"Array": 22, "JSON": 23, "BinaryVector": 100, "FloatVector": 101}


def read(name: str) -> Archive:
    return read_archive(golden_store(name), BUCKET, golden_layout(name))


def by_name(archive: Archive) -> dict[str, ArchivedCollection]:
    return {str(collection.name): collection for collection in archive.collections}


def change(store: InMemoryObjectStore, name: str, file_name: str, edit: Callable[[Any], None]) -> None:
    """Edit one file, whatever the others say."""
    key = golden_layout(name).meta(file_name)
    meta = json.loads(store.get(BUCKET, key))
    edit(meta)
    store.put(BUCKET, key, json.dumps(meta).encode())


def make_otherwise(store: InMemoryObjectStore, name: str, edit: Callable[[Any], None]) -> None:
    """Edit what milvus-backup told, in all its files."""
    meta = full_meta(name)
    edit(meta)
    for file_name, body in meta_files(meta).items():
        store.put(BUCKET, golden_layout(name).meta(file_name), body)


def schema_as_oracle_tells(collection: ArchivedCollection) -> dict[str, Any]:
    schema = collection.layout.collection_schema
    names = {number: name for name, number in DATA_TYPES.items()}
    fields = []
    for field in schema.fields:
        members = {
            "fieldID": str(field.field_id),
            "name": field.name,
            "data_type": names[field.data_type],
            "description": field.description,
            "is_primary_key": field.is_primary_key,
            "autoID": field.auto_id,
            "is_partition_key": field.is_partition_key,
            "element_type": names.get(field.element_type),
            "type_params": [{"key": item.key, "value": item.value} for item in field.type_params],
        }
        fields.append({key: value for key, value in members.items() if value})
    members = {"name": schema.name, "description": schema.description, "fields": fields}
    members |= {"enable_dynamic_field": schema.enable_dynamic_field}
    return {key: value for key, value in members.items() if value}


@pytest.mark.parametrize("name", OF_2_3)
def test_collections_are_those_of_the_server(name: str) -> None:
    archive = read(name)

    assert archive.name == name
    assert archive.origin == "milvus_backup"
    assert not archive.has_checksums
    assert archive.meta_only == (name == "golden_meta")
    assert archive.milvus_version.minor_line == (2, 3)
    assert archive.databases == ("default", "books")
    assert archive.warnings == ()
    assert sorted(by_name(archive)) == sorted(ORACLE)
    for collection_name, collection in by_name(archive).items():
        truth = ORACLE[collection_name]
        indexes = {
            index.name: {"field_name": index.field_name, "index_name": index.name}
            | {item.key: item.value for item in index.params}
            for index in collection.indexes
        }
        assert schema_as_oracle_tells(collection) == truth["schema"]
        assert indexes == truth["indexes"]
        assert collection.layout.shards == truth["shards"]
        assert collection.layout.consistency_level == truth["consistency"]
        assert collection.layout.has_partition_key == (collection_name == "books.tenants")
        assert sorted(collection.layout.partitions) == sorted(truth["partitions"])
        assert (collection.load_state is LoadState.LOADED) == truth["loaded"]
        assert collection.replicas == int(truth["loaded"])
        assert all(partition.is_loaded == truth["loaded"] for partition in collection.partitions)
        if name != "golden_057":
            assert sorted(collection.aliases) == sorted(truth["aliases"])


@pytest.mark.parametrize("name", WITH_OBJECTS)
def test_rows_are_those_of_the_server_where_nothing_was_deleted(name: str) -> None:
    store = golden_store(name)
    seen_exact = 0
    for collection_name, collection in by_name(read_archive(store, BUCKET, golden_layout(name))).items():
        truth = ORACLE[collection_name]
        with_deletes = segments_with_deletes(read_objects(store, BUCKET, golden_layout(name), collection))
        assert collection.row_count >= truth["count"]
        assert collection.live_row_count is None
        for partition in collection.partitions:
            if with_deletes.isdisjoint(segment.segment_id for segment in partition.segments):
                seen_exact += 1
                if truth["count_by_partition"]:
                    assert partition.row_count == truth["count_by_partition"][partition.name]
        if not with_deletes:
            assert collection.row_count == truth["count"]
        assert bool(with_deletes) == (collection_name in {"books.layers", "default.by_name", "default.all_types"})
    assert seen_exact == 9


@pytest.mark.parametrize("name", WITH_OBJECTS)
def test_every_listed_object_is_there_and_no_other(name: str) -> None:
    store = golden_store(name)
    layout = golden_layout(name)

    for collection in read_archive(store, BUCKET, layout).collections:
        objects = read_objects(store, BUCKET, layout, collection)
        check = check_objects(store, BUCKET, layout, collection, objects)

        raise_if_damaged(collection, check)
        assert not check.extra
        assert len({item.stored_key for item in objects}) == len(objects)


@pytest.mark.parametrize("name", ALL)
def test_integers_are_exact(name: str) -> None:
    told = {collection["collection_id"] for collection in full_meta(name)["collection_backups"]}

    assert {collection.collection_id for collection in read(name).collections} == told
    assert all(number > 2**53 for number in told)


@pytest.mark.parametrize("name", ["golden_2_4", "golden_2_5", "golden_2_6"])
def test_l0_segments_of_a_partition_and_of_the_collection_are_told_apart(name: str) -> None:
    store = golden_store(name)
    layout = golden_layout(name)
    collection = by_name(read_archive(store, BUCKET, layout))["gold.by_name"]

    (of_all,) = collection.l0_segments
    of_partition = [s for p in collection.partitions for s in p.segments if s.level is SegmentLevel.L0]

    assert (of_all.partition_id, of_all.group_id, of_all.level) == (ALL_PARTITIONS, 0, SegmentLevel.L0)
    assert [s.group_id for s in of_partition] == [s.segment_id for s in of_partition]
    assert [p.row_count for p in collection.partitions if p.name == "north"] == [120]
    keys = [
        item.stored_key for item in read_objects(store, BUCKET, layout, collection) if "delta_log" in item.stored_key
    ]
    folder = f"{PREFIX}/{name}/binlogs/delta_log/{collection.collection_id}"
    partition_id, segment_id = of_partition[0].partition_id, of_partition[0].segment_id
    assert [key.rpartition("/")[0] for key in keys] == [
        f"{folder}/{partition_id}/{segment_id}/{segment_id}",
        f"{folder}/-1/{of_all.segment_id}",
    ]


def test_properties_are_found_where_the_server_put_them() -> None:
    for name in ("golden_2_4", "golden_2_5", "golden_2_6"):
        properties = by_name(read(name))["default.g_modern"].layout.properties

        assert {"collection.ttl.seconds": "864000", "mmap.enabled": "True"}.items() <= {
            item.key: item.value for item in properties
        }.items()


def test_what_newer_servers_know_is_kept() -> None:
    collections = by_name(read("golden_2_6"))
    fields = {field.name: field for field in collections["default.g_modern"].layout.collection_schema.fields}
    (function,) = collections["gold.fulltext"].layout.collection_schema.functions

    assert fields["i64"].nullable
    assert fields["i64"].default_value == b"\x18\x2a"
    assert fields["txt"].default_value is None
    assert (function.function_type, function.output_field_names) == (1, ("bm",))
    assert {s.storage_version for s in collections["gold.grown"].segments} == {2}
    assert collections["default.g_modern"].aliases == ("modern_live",)


def test_leftovers_of_a_failed_run_are_no_backup() -> None:
    store = golden_store("golden_rbac")

    with pytest.raises(BackupNotFoundError, match="unfinished or failed backup"):
        read_archive(store, BUCKET, golden_layout("golden_rbac"))


@pytest.mark.parametrize("name", ALL)
def test_without_full_meta_the_other_files_say_the_same(name: str) -> None:
    store = golden_store(name)
    layout = golden_layout(name)
    whole = by_name(read_archive(store, BUCKET, layout))
    for collection in whole.values():
        for item in read_objects(store, BUCKET, layout, collection):
            # Of the newer archives only the metadata is kept; the listing of L0 segments needs the objects.
            store.put(BUCKET, item.stored_key, b"." * item.size_bytes)
    store.delete(BUCKET, [layout.meta("full_meta.json")])

    archive = read_archive(store, BUCKET, layout)

    assert len(archive.warnings) == 1
    for collection_name, collection in by_name(archive).items():
        expected = whole[collection_name]
        assert collection.partitions == expected.partitions
        assert collection.layout == expected.layout
        assert sorted(collection.l0_segments, key=str) == sorted(expected.l0_segments, key=str)
        assert {(item.stored_key, item.size_bytes) for item in collection.listed_objects} == {
            (item.stored_key, item.size_bytes) for item in expected.listed_objects
        }
        assert segments_with_deletes(collection.listed_objects) == segments_with_deletes(expected.listed_objects)


@pytest.mark.parametrize("file_name", LEVELS)
def test_without_full_meta_each_other_file_is_needed(file_name: str) -> None:
    store = golden_store("golden_0516")
    layout = golden_layout("golden_0516")
    store.delete(BUCKET, [layout.meta("full_meta.json"), layout.meta(file_name)])

    with pytest.raises(BackupDamagedError, match=file_name):
        read_archive(store, BUCKET, layout)


def test_segments_of_an_unknown_partition_are_damage() -> None:
    store = golden_store("golden_0516")
    layout = golden_layout("golden_0516")
    store.delete(BUCKET, [layout.meta("full_meta.json")])
    change(store, "golden_0516", "partition_meta.json", lambda meta: meta["infos"].pop())
    change(store, "golden_0516", "partition_meta.json", lambda meta: meta["infos"].pop(0))

    with pytest.raises(BackupDamagedError, match=r"segment_meta\.json has segments of partition 470642820001452534"):
        read_archive(store, BUCKET, layout)


@pytest.mark.parametrize("name", OF_2_3)
@pytest.mark.parametrize("kept", [0, 1, 100, -1])
@pytest.mark.parametrize("file_name", ["backup_meta.json", "full_meta.json"])
def test_a_truncated_file_is_damage(name: str, kept: int, file_name: str) -> None:
    store = golden_store(name)
    key = golden_layout(name).meta(file_name)
    store.put(BUCKET, key, store.get(BUCKET, key)[:kept])

    with pytest.raises(BackupDamagedError, match=file_name):
        read_archive(store, BUCKET, golden_layout(name))


@pytest.mark.parametrize(
    "edit",
    [
        lambda meta: meta["collection_backups"][0].pop("schema"),
        lambda meta: meta["collection_backups"][0].update(collection_id=4.706428200014525e17),
        lambda meta: meta["collection_backups"][0].update(collection_id="470642820001452533"),
        lambda meta: meta["collection_backups"][0].update(load_state="Half"),
        lambda meta: meta["collection_backups"][0]["schema"]["fields"][0].update(default_value_base64="?"),
        lambda meta: meta["collection_backups"][0]["partition_backups"][0]["segment_backups"][0]["binlogs"][0][
            "binlogs"
        ][0].update(log_path="", log_id=0),
        lambda meta: meta.update(collection_backups={}),
    ],
)
def test_values_that_milvus_backup_never_writes_are_damage(edit: Callable[[Any], None]) -> None:
    store = golden_store("golden_0516")
    change(store, "golden_0516", "full_meta.json", edit)
    store.delete(BUCKET, [golden_layout("golden_0516").meta(name) for name in LEVELS])

    with pytest.raises(BackupDamagedError):
        read_archive(store, BUCKET, golden_layout("golden_0516"))


@pytest.mark.parametrize("file_name", ["backup_meta.json", "full_meta.json"])
@pytest.mark.parametrize("format_name", ["snapshot", "later"])
def test_other_formats_are_refused(file_name: str, format_name: str) -> None:
    store = golden_store("golden_0516")
    change(store, "golden_0516", file_name, lambda meta: meta.update(format=format_name))

    with pytest.raises(BackupFormatError, match=f"format '{format_name}'"):
        read_archive(store, BUCKET, golden_layout("golden_0516"))


def test_an_old_archive_has_no_groups_and_no_database_name() -> None:
    def make_old(meta: dict[str, Any]) -> None:
        meta["state_code"] = 3
        del meta["database_backups"]
        for collection in meta["collection_backups"]:
            collection.pop("load_state")
            collection["db_name"] = ""
            for partition in collection["partition_backups"]:
                for segment in partition.get("segment_backups", []):
                    del segment["group_id"]
                    segment["a_member_of_tomorrow"] = {"x": [1]}
                    for field in segment["binlogs"]:
                        for log in field["binlogs"]:
                            del log["log_id"]

    store = golden_store("golden_0516")
    make_otherwise(store, "golden_0516", make_old)

    archive = read_archive(store, BUCKET, golden_layout("golden_0516"))

    assert archive.databases == ("default",)
    collection = by_name(archive)["default.tenants"]
    assert collection.load_state is LoadState.NOT_LOADED
    (segment,) = collection.partitions[0].segments
    assert segment.group_id == 0
    objects = [item for item in collection.listed_objects if f"/{segment.segment_id}/" in item.stored_key]
    assert len(objects) == 5
    for item in objects:
        # The key in Milvus' bucket and the one in the backup differ by their roots alone.
        assert item.stored_key == f"{PREFIX}/golden_0516/binlogs/{item.source_key.removeprefix('files/')}"


def test_segments_may_share_a_group() -> None:
    def share(meta: dict[str, Any]) -> None:
        for segment in meta["collection_backups"][1]["partition_backups"][0]["segment_backups"]:
            segment["group_id"] = 5

    store = golden_store("golden_0516")
    make_otherwise(store, "golden_0516", share)

    collection = by_name(read_archive(store, BUCKET, golden_layout("golden_0516")))["books.layers"]

    assert {segment.group_id for segment in collection.segments} == {5}
    for item in collection.listed_objects:
        segment_id = item.source_key.split("/")[4]
        assert f"/5/{segment_id}/" in item.stored_key


def test_the_dynamic_field_is_not_part_of_the_schema_to_create() -> None:
    def add(meta: dict[str, Any]) -> None:
        fields = meta["collection_backups"][1]["schema"]["fields"]
        fields.append({"fieldID": 102, "name": "$meta", "data_type": 23, "is_dynamic": True})

    store = golden_store("golden_0516")
    make_otherwise(store, "golden_0516", add)

    schema = by_name(read_archive(store, BUCKET, golden_layout("golden_0516")))["books.layers"].layout.collection_schema

    assert [field.name for field in schema.fields] == ["id", "v"]
    assert schema.enable_dynamic_field


def test_an_old_default_value_is_taken_if_it_is_whole() -> None:
    def add(meta: dict[str, Any]) -> None:
        fields = meta["collection_backups"][0]["schema"]["fields"]
        fields[0]["default_value_proto"] = "\x18*"
        fields[1]["default_value_proto"] = "\x18\ufffd\x01"

    store = golden_store("golden_0516")
    make_otherwise(store, "golden_0516", add)

    archive = read_archive(store, BUCKET, golden_layout("golden_0516"))

    fields = by_name(archive)["books.tenants"].layout.collection_schema.fields
    assert [field.default_value for field in fields] == [b"\x18\x2a", None, None]
    assert archive.warnings == (
        "the default value of field tenant of books.tenants was not recorded in full, and is left out",
    )


def test_structs_and_encrypted_databases_are_told() -> None:
    def add(meta: dict[str, Any]) -> None:
        pages: dict[str, Any] = {"fieldID": 103, "name": "pages", "nullable": True}
        pages["type_params"] = [{"key": "mmap.enabled", "value": "true"}]
        pages["fields"] = [{"fieldID": 104, "name": "text", "data_type": 22}]
        meta["collection_backups"][0]["schema"]["struct_array_fields"] = [pages]
        meta["database_backups"][1]["ezk"] = "key"

    store = golden_store("golden_0516")
    make_otherwise(store, "golden_0516", add)

    archive = read_archive(store, BUCKET, golden_layout("golden_0516"))

    (struct,) = by_name(archive)["books.tenants"].layout.collection_schema.struct_array_fields
    assert (struct.name, [field.name for field in struct.fields]) == ("pages", ["text"])
    made = schema_to_proto(by_name(archive)["books.tenants"].layout.collection_schema).struct_array_fields[0]
    assert (made.nullable, [(item.key, item.value) for item in made.type_params]) == (True, [("mmap.enabled", "true")])
    assert len(archive.warnings) == 1
    assert archive.warnings[0].startswith("database books is encrypted")


def test_no_moment_is_read_out_of_checkpoints_which_are_older_than_the_flush() -> None:
    for name in ("golden_2_4", "golden_2_5", "golden_2_6"):
        archive = read_archive(golden_store(name), BUCKET, golden_layout(name))
        assert {collection.moment for collection in archive.collections} == {0}


def test_databases_have_their_properties() -> None:
    archive = read_archive(golden_store("golden_2_4"), BUCKET, golden_layout("golden_2_4"))
    gold = next(found for found in archive.database_descriptions if found.name == "gold")
    assert [(item.key, item.value) for item in gold.properties] == [("database.max.collections", "50")]
    assert gold.database_id == 470644557325008950


def test_users_and_roles_are_read_with_their_hashes() -> None:
    archive = read_archive(golden_store("golden_2_4"), BUCKET, golden_layout("golden_2_4"))
    assert archive.rbac is not None
    (user,) = archive.rbac.users
    assert (user.name, user.roles, user.password_hash[:4]) == ("ann", ("reader",), "$2a$")
    assert [role.name for role in archive.rbac.roles] == ["reader"]
    assert read_archive(golden_store("golden_0516"), BUCKET, golden_layout("golden_0516")).rbac is None
