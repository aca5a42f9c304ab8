"""A backup of real collections has the layout and the metadata from which milvus-backup restores; so has an export.

Its rules are those that `tests/support/go_json.py` knows; the tool itself does not run here.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from local.stack import LocalStack
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.archive.contents import Archive
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.reader import read_archive, read_objects
from milvus_vault.archive.reference_reader import read_reference_archive
from milvus_vault.model.collections import IndexDescription
from tests.compatibility.features import Feature
from tests.support.fill_collections import DATABASE, SHAPES, fill
from tests.support.go_json import FILES, check_archive, check_properties
from tests.support.oracle import drop_everything
from tests.support.vault_runs import succeed

NAME, INCREMENTAL, EXPORT = "interoperability", "interoperability_shared", "interoperability_export"
OWN_MEMBERS = ["vault"]


class Written(NamedTuple):
    """What the backup machine wrote; keys are relative to the backup's folder."""

    sizes: Mapping[str, int]
    """Of all objects."""
    meta: Mapping[str, bytes]
    """Milvus-backup's files by their names."""
    ours: Archive
    """Read from our own documents."""
    theirs: Archive
    """Read from milvus-backup's files, as if there were no others."""
    our_objects: dict[str, list[tuple[str, str, int]]]
    """Key, source key and size by collection."""

    @property
    def binlogs(self) -> dict[str, int]:
        """Return the sizes of all objects but the metadata."""
        return {key: size for key, size in self.sizes.items() if not key.startswith("meta/")}

    @property
    def collections(self) -> list[dict[str, Any]]:
        """Return the collections as `full_meta.json` has them."""
        found: list[dict[str, Any]] = json.loads(self.meta["full_meta.json"])["collection_backups"]
        return found


@pytest.fixture(scope="module")
def filled(stack: LocalStack) -> Iterator[LocalStack]:
    """Make a collection of every shape, and a full and an incremental backup, of which the second is exported."""
    drop_everything(stack.milvus_uri)
    fill(stack.milvus_uri)
    succeed(stack, "Backup", {"backup_name": NAME})
    succeed(stack, "Backup", {"backup_name": INCREMENTAL, "mode": "incremental"})
    succeed(stack, "Export", {"backup_name": INCREMENTAL, "export_name": EXPORT})
    yield stack
    drop_everything(stack.milvus_uri)


@pytest.fixture(scope="module", params=[NAME, EXPORT])
def written(filled: LocalStack, request: pytest.FixtureRequest) -> Written:
    """Read what was written."""
    stack, name = filled, request.param
    bucket, layout = stack.outputs["BackupBucketName"], BackupLayout(stack.outputs["BackupPrefix"], name)
    s3 = stack.client("s3")
    store = S3ObjectStore(s3, s3, ThreadPoolExecutor(1))
    meta = {name: store.get(bucket, layout.meta(name)) for name in FILES}
    ours = read_archive(store, bucket, layout)
    return Written(
        {o.key.removeprefix(layout.root): o.size_bytes for o in store.list_objects(bucket, layout.root)},
        meta,
        ours,
        read_reference_archive(store, bucket, layout, meta["backup_meta.json"]),
        {
            str(collection.name): [
                (o.stored_key, o.source_key, o.size_bytes) for o in read_objects(store, bucket, layout, collection)
            ]
            for collection in ours.collections
        },
    )


def test_metadata_and_objects_keep_all_rules_of_milvus_backup(written: Written) -> None:
    assert check_archive(written.meta, written.binlogs, own_members=OWN_MEMBERS) == []


def test_properties_stand_where_milvus_backup_restores_them_from(written: Written) -> None:
    with_properties = [found["collection_name"] for found in written.collections if found.get("properties")]

    assert with_properties == ["by_name"]
    assert check_properties(written.meta["full_meta.json"]) == []


def test_nothing_else_lies_below_binlogs_or_beside_the_metadata(written: Written) -> None:
    beside = {key for key in written.sizes if not key.startswith(("binlogs/", "meta/vault/"))}

    assert beside == {f"meta/{name}" for name in FILES}


def has_deletes(segment: Mapping[str, Any]) -> bool:
    return any(logs.get("binlogs") for logs in segment["deltalogs"])


# Of the later one a compaction may have applied deletes.
@pytest.mark.parametrize("written", [NAME], indirect=True)
def test_the_rules_were_put_to_the_test_by_every_shape(written: Written) -> None:
    full = json.loads(written.meta["full_meta.json"])
    named = {f"{found['db_name']}.{found['collection_name']}": found for found in written.collections}
    segments = {
        name: [segment for partition in found["partition_backups"] for segment in partition.get("segment_backups", [])]
        for name, found in named.items()
    }

    assert sorted(named) == sorted(SHAPES)
    assert [database["db_name"] for database in full["database_backups"]] == ["default", DATABASE]
    assert {name for name, found in segments.items() if not found} == {f"{DATABASE}.empty"}
    assert {name for name, found in segments.items() if any(map(has_deletes, found))} == {
        "default.every_type",
        "default.by_name",
        f"{DATABASE}.generations",
    }
    assert len(segments[f"{DATABASE}.generations"]) > len(segments["default.every_type"])
    assert any(len(found["partition_backups"]) > 1 for found in named.values())


def parameters(indexes: Iterable[IndexDescription]) -> dict[str, dict[str, str]]:
    return {index.name: {item.key: item.value for item in index.params} for index in indexes}


@pytest.mark.feature(Feature.PEER_METADATA)
@pytest.mark.parametrize("name", SHAPES)
def test_milvus_backups_files_alone_tell_the_same_as_ours(written: Written, name: str) -> None:
    [ours] = [collection for collection in written.ours.collections if str(collection.name) == name]
    [theirs] = [collection for collection in written.theirs.collections if str(collection.name) == name]

    assert theirs.layout.collection_schema.fields == ours.layout.collection_schema.fields
    assert theirs.layout.properties == ours.layout.properties
    assert theirs.layout.partitions == ours.layout.partitions
    assert (theirs.layout.shards, theirs.layout.consistency_level) == (
        ours.layout.shards,
        ours.layout.consistency_level,
    )
    assert parameters(theirs.indexes) == parameters(ours.indexes)
    assert (theirs.load_state, theirs.aliases) == (ours.load_state, ours.aliases)
    assert [segment.segment_id for segment in theirs.segments] == [segment.segment_id for segment in ours.segments]
    assert theirs.row_count == ours.row_count
    assert sorted((o.stored_key, o.source_key, o.size_bytes) for o in theirs.listed_objects) == sorted(
        written.our_objects[name]
    )
