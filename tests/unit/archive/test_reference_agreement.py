"""What milvus-backup's files say of one backup is held against each other: other content is never taken for intact."""

import dataclasses
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from milvus_vault.archive.check import check_objects, raise_if_damaged
from milvus_vault.archive.layout import log_of
from milvus_vault.archive.reader import Archive, read_archive, read_objects
from milvus_vault.errors import BackupDamagedError, BackupFormatError
from tests.support.memory_store import InMemoryObjectStore
from tests.support.reference_shapes import meta_files
from tests.unit.archive.samples import BUCKET, full_meta, golden_layout, golden_store

ALL = ["golden_0516", "golden_057", "golden_meta", "golden_2_4", "golden_2_5", "golden_2_6"]
NAME = "golden_0516"
LAYOUT = golden_layout(NAME)
FULL = LAYOUT.meta("full_meta.json")
FLIPS = 150


def known_twice(archive: Archive) -> Archive:
    """Return what more than one file says of an archive: not its databases' properties, and not its users and rights.

    What a path has besides its log's own numbers is read by nobody.
    """
    return dataclasses.replace(
        archive,
        rbac=None,
        databases=(),
        database_descriptions=(),
        warnings=(),
        collections=tuple(
            dataclasses.replace(
                collection,
                listed_objects=tuple(item._replace(source_key=str(log_of(item))) for item in collection.listed_objects),
            )
            for collection in archive.collections
        ),
    )


def with_objects(name: str) -> tuple[InMemoryObjectStore, Archive]:
    """Return an archive with an object for each that it names: of the newer ones only the metadata is kept."""
    store = golden_store(name)
    archive = read_archive(store, BUCKET, golden_layout(name))
    for collection in archive.collections:
        for item in collection.listed_objects:
            store.put(BUCKET, item.stored_key, b"." * item.size_bytes)
    return store, archive


def read_and_check(store: InMemoryObjectStore, name: str) -> Archive:
    layout = golden_layout(name)
    archive = read_archive(store, BUCKET, layout)
    for collection in archive.collections:
        objects = read_objects(store, BUCKET, layout, collection)
        raise_if_damaged(collection, check_objects(store, BUCKET, layout, collection, objects))
    return archive


@pytest.mark.parametrize("name", ALL)
def test_each_archive_agrees_with_itself(name: str) -> None:
    store, archive = with_objects(name)
    assert read_and_check(store, name) == archive


@pytest.mark.parametrize("name", ALL)
def test_a_flipped_bit_is_refused_or_changes_nothing(name: str) -> None:
    store, archive = with_objects(name)
    expected = known_twice(archive)
    key = golden_layout(name).meta("full_meta.json")
    body = store.get(BUCKET, key)
    chosen = random.Random(name)  # noqa: S311 - the same each time
    refused = 0
    for bit in chosen.sample(range(8 * len(body)), FLIPS):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        store.put(BUCKET, key, bytes(flipped))
        try:
            found = read_and_check(store, name)
        except (BackupDamagedError, BackupFormatError):
            refused += 1
        else:
            assert known_twice(found) == expected, f"bit {bit}"
    assert refused > FLIPS // 2


def collection(meta: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = meta["collection_backups"][0]
    return found


def partition(meta: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = collection(meta)["partition_backups"][0]
    return found


def segment(meta: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = partition(meta)["segment_backups"][0]
    return found


ONE_SIDED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another type": (
        lambda meta: collection(meta)["schema"]["fields"][1].update(data_type=20),
        r"collection_meta\.json .* collection books\.tenants: schema\.fields\.1\.data_type",
    ),
    "a field that may be null": (
        lambda meta: collection(meta)["schema"]["fields"][2].update(nullable=True),
        r"collection_meta\.json .* collection books\.tenants: schema\.fields\.2\.nullable",
    ),
    "another name": (
        lambda meta: collection(meta).update(collection_name="tenant"),
        r"collection_meta\.json .* collection books\.tenant: collection_name",
    ),
    "another parameter of an index": (
        lambda meta: collection(meta)["index_infos"][0]["params"].update(metric_type="L2"),
        r"collection_meta\.json .* collection books\.tenants: index_infos\.0\.params",
    ),
    "a collection less": (
        lambda meta: meta["collection_backups"].pop(0),
        r"collection_meta\.json .* collection books\.tenants: full_meta\.json does not have it",
    ),
    "another partition": (
        lambda meta: partition(meta).update(partition_name="_default_77"),
        r"collection_meta\.json .* collection books\.tenants: partition_backups\.0\.partition_name",
    ),
    "a row less": (
        lambda meta: segment(meta).update(num_of_rows=107),
        r"segment_meta\.json .* collection books\.tenants, segment 470642820001452548: num_of_rows",
    ),
    "a log less": (
        lambda meta: segment(meta)["binlogs"].pop(),
        r"segment_meta\.json .* segment 470642820001452548: binlogs",
    ),
    "a segment more": (
        lambda meta: partition(meta)["segment_backups"].append(segment(meta) | {"segment_id": 7}),
        r"segment_meta\.json .* segment 7: only full_meta\.json has it",
    ),
    "another version": (
        lambda meta: meta.update(milvus_version="v2.3.4"),
        r"backup_meta\.json .* the backup: milvus_version",
    ),
    "another database": (
        lambda meta: meta["database_backups"].pop(),
        r"has no database books, in which collection tenants is: database_backups",
    ),
}


@pytest.mark.parametrize("kind", ONE_SIDED)
def test_what_one_file_alone_says_is_damage_that_names_file_collection_and_member(kind: str) -> None:
    edit, message = ONE_SIDED[kind]
    meta = full_meta(NAME)
    edit(meta)
    store = golden_store(NAME)
    store.put(BUCKET, FULL, json.dumps(meta).encode())
    with pytest.raises(BackupDamagedError, match=message):
        read_archive(store, BUCKET, LAYOUT)
    if kind not in {"another version", "another database"}:
        # Whoever changed it on purpose does as the hint says.
        store.delete(BUCKET, [LAYOUT.meta(f"{level}_meta.json") for level in ("collection", "partition", "segment")])
        read_archive(store, BUCKET, LAYOUT)


def test_a_partition_is_compared_though_the_collections_do_not_name_theirs() -> None:
    meta = full_meta(NAME)
    partition(meta)["partition_name"] = "_default_1"
    store = golden_store(NAME)
    files = meta_files(meta)
    for name in ("full_meta.json", "collection_meta.json"):
        store.put(BUCKET, LAYOUT.meta(name), files[name])
    with pytest.raises(BackupDamagedError, match=r"partition_meta\.json .* partition _default_1: partition_name"):
        read_archive(store, BUCKET, LAYOUT)


def written_otherwise(value: object) -> object:
    """Return the same as Go reads it: zero values written out, absent ones `null`, members in another order."""
    if isinstance(value, list):
        return [written_otherwise(item) for item in value]
    if not isinstance(value, dict):
        return value
    members = {key: written_otherwise(item) for key, item in reversed(value.items())}
    if "fieldID" in members and "name" in members:
        members = {"nullable": False, "description": "", "index_params": [], "functions": None} | members
    if "segment_id" in members:
        members |= {"v_channel": None, "is_l0": members.get("is_l0"), "storage_version": members.get("storage_version")}
    if "infos" in members and isinstance(members["infos"], list):
        members["infos"] = members["infos"][::-1]
    return members | {"a_member_of_tomorrow": None}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "file_name", ["full_meta.json", "collection_meta.json", "partition_meta.json", "segment_meta.json"]
)
def test_another_way_to_write_the_same_is_no_damage(name: str, file_name: str) -> None:
    store = golden_store(name)
    layout = golden_layout(name)
    expected = read_archive(store, BUCKET, layout)
    meta = json.loads(store.get(BUCKET, layout.meta(file_name)))
    store.put(BUCKET, layout.meta(file_name), json.dumps(written_otherwise(meta)).encode())
    assert read_archive(store, BUCKET, layout) == expected


def test_an_older_release_did_not_tell_all_of_a_collection_twice() -> None:
    store = golden_store(NAME)
    expected = read_archive(store, BUCKET, LAYOUT)
    meta = json.loads(store.get(BUCKET, LAYOUT.meta("collection_meta.json")))
    for found in meta["infos"]:
        for member in ("partition_backups", "properties", "aliases", "virtual_channel_names"):
            found.pop(member, None)
    store.put(BUCKET, LAYOUT.meta("collection_meta.json"), json.dumps(meta).encode())
    assert read_archive(store, BUCKET, LAYOUT) == expected


@pytest.mark.parametrize("levels", ["kept", "emptied"])
def test_objects_of_no_collection_are_damage(levels: str) -> None:
    store = golden_store(NAME)
    store.put(BUCKET, FULL, b'{"milvus_version": "v2.3.5-lite"}')
    if levels == "emptied":
        store.delete(BUCKET, [LAYOUT.meta(f"{level}_meta.json") for level in ("collection", "partition", "segment")])
    with pytest.raises(BackupDamagedError, match=r"names no collection|full_meta\.json does not have it"):
        read_archive(store, BUCKET, LAYOUT)


def test_a_backup_without_collections_is_one_where_there_are_no_objects_either() -> None:
    store = InMemoryObjectStore(BUCKET)
    store.put(BUCKET, LAYOUT.marker, b'{"milvus_version": "v2.3.5-lite"}')
    store.put(BUCKET, FULL, b'{"milvus_version": "v2.3.5-lite"}')
    assert read_archive(store, BUCKET, LAYOUT).collections == ()


@pytest.mark.parametrize("name", ["golden_2_4", "golden_2_5", "golden_2_6"])
def test_deletes_of_all_partitions_that_nothing_names_are_damage(name: str) -> None:
    store, _ = with_objects(name)
    meta = full_meta(name)
    for found in meta["collection_backups"]:
        found.pop("l0_segments", None)
    store.put(BUCKET, golden_layout(name).meta("full_meta.json"), json.dumps(meta).encode())
    with pytest.raises(BackupDamagedError, match="is of deletes that the metadata does not name"):
        read_and_check(store, name)


def _named_twice() -> dict[str, tuple[Callable[[Any], object], str]]:
    def logs(meta: Any) -> Any:
        return segment(meta)["binlogs"]

    return {
        "collection": (
            lambda meta: meta["collection_backups"].append(meta["collection_backups"][0]),
            r"names collection books\.tenants twice",
        ),
        "name": (
            lambda meta: meta["collection_backups"].append(
                meta["collection_backups"][0] | {"collection_id": 7, "partition_backups": []}
            ),
            r"names collection books\.tenants twice",
        ),
        "ID": (
            lambda meta: meta["collection_backups"].append(
                meta["collection_backups"][0] | {"collection_name": "other", "partition_backups": []}
            ),
            r"names the ID of collection books\.tenants twice",
        ),
        "partition": (
            lambda meta: meta["collection_backups"][0]["partition_backups"].append(partition(meta)),
            r"names partition _default_0 of books\.tenants twice",
        ),
        "partition under another name": (
            lambda meta: meta["collection_backups"][0]["partition_backups"].append(
                partition(meta) | {"partition_name": "p", "segment_backups": []}
            ),
            r"names collection books\.tenants, partition p twice",
        ),
        "segment": (
            lambda meta: partition(meta)["segment_backups"].append(segment(meta)),
            r"names collection books\.tenants, segment 470642820001452548 twice",
        ),
        "segment of all partitions": (
            lambda meta: meta["collection_backups"][0].update(l0_segments=[segment(meta)]),
            r"names collection books\.tenants, segment 470642820001452548 twice",
        ),
        "logs": (
            lambda meta: [field["binlogs"].append(field["binlogs"][0]) for field in logs(meta)],
            r"full_meta\.json .*segment_backups\.0\.binlogs: .* a log is named twice",
        ),
        "field": (lambda meta: logs(meta).append(logs(meta)[0]), r"binlogs: .* a log is named twice"),
    }


NAMED_TWICE = _named_twice()


@pytest.mark.parametrize("kind", NAMED_TWICE)
def test_what_is_named_twice_is_damage_where_no_other_file_tells(kind: str) -> None:
    edit, message = NAMED_TWICE[kind]
    meta = full_meta(NAME)
    edit(meta)
    store = golden_store(NAME)
    store.put(BUCKET, FULL, json.dumps(meta).encode())
    store.delete(BUCKET, [LAYOUT.meta(f"{level}_meta.json") for level in ("collection", "partition", "segment")])
    with pytest.raises(BackupDamagedError, match=message):
        read_archive(store, BUCKET, LAYOUT)


def test_a_partition_of_no_collection_is_damage() -> None:
    meta = full_meta(NAME)
    files = meta_files(meta)
    meta["collection_backups"].pop(0)
    files["collection_meta.json"] = meta_files(meta)["collection_meta.json"]
    store = golden_store(NAME)
    store.delete(BUCKET, [FULL])
    for file_name in ("collection_meta.json", "partition_meta.json", "segment_meta.json"):
        store.put(BUCKET, LAYOUT.meta(file_name), files[file_name])
    with pytest.raises(BackupDamagedError, match=r"has partition _default_0 of collection \d+, which .* does not know"):
        read_archive(store, BUCKET, LAYOUT)
