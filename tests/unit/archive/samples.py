"""Backups for the tests: copies of what milvus-backup made, and one of ours."""

import io
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import (
    CollectionDocument,
    CollectionEntry,
    CollectionFailure,
    FileDigest,
    Manifest,
    Source,
    digest,
    write_object_list,
)
from milvus_vault.archive.pool import parse_pooled_key
from milvus_vault.archive.reference_writer import FILES, CollectionTexts, ReferenceFiles, marker_file
from milvus_vault.model.collections import ALL_PARTITIONS, DatabaseDescription, KeyValue, SegmentLevel
from milvus_vault.model.flushes import FlushAllPoint, FlushedChannel
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.rbac import PrivilegeGroup, Rbac, RbacGrant, RbacRole, RbacUser
from milvus_vault.ports import ObjectStore
from tests.support.memory_store import InMemoryObjectStore

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
BUCKET = "backups"
PREFIX = "nightly"

# Above 2^53, as Milvus' IDs are: a float would change it.
COLLECTION_ID = 470642820001452533
PARTITION_ID = 470642820001452534
OTHER_PARTITION_ID = 470642820001452535
SEGMENT_ID = 470642820001452545

DATABASES = (
    DatabaseDescription(name="default", database_id=1),
    DatabaseDescription(
        name="books",
        database_id=COLLECTION_ID - 1,
        properties=(KeyValue(key="database.max.collections", value="50"),),
    ),
)
# A `common.ImmutableMessage` with this timestamp as its property, and a `msg.MsgPosition`.
FLUSH_MESSAGE = b"\x1a\x13\n\x03_tt\x12\x0c3kq54avu3jt0"
POSITION = b"\n\x07dml_0v0 \x82\xc2\xe7\x8c\xa4\xf2\x83\xc4\x06"
RBAC = Rbac(
    users=(RbacUser(name="ann", password_hash="$2a$10$hash", roles=("reader",)),),
    roles=(RbacRole(name="reader"),),
    grants=(
        RbacGrant(
            role="reader",
            object_type="Collection",
            object_name="works",
            privilege="books_group",
            grantor="root",
            database="books",
        ),
    ),
    privilege_groups=(PrivilegeGroup(name="books_group", privileges=("Query", "Search")),),
)
FLUSH_ALL = FlushAllPoint(
    timestamp=470643281900462339,
    channels=(FlushedChannel(channel="dml_0", timestamp=470643281900462340, message=FLUSH_MESSAGE),),
    control_channel="dml_0_vcchan",
    physical_channels=("dml_1", "dml_0"),
)

type Contents = list[tuple[CollectionDocument, list[ArchivedObject]]]


def golden_layout(name: str) -> BackupLayout:
    """Return where `golden_store` puts an archive."""
    return BackupLayout(PREFIX, name)


def golden_files(name: str) -> dict[str, bytes]:
    """Return all objects of a golden archive, by keys relative to its folder."""
    folder = GOLDEN / name
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def new_store() -> InMemoryObjectStore:
    """Return a store with an empty backup bucket."""
    return InMemoryObjectStore(BUCKET)


def golden_store(*names: str) -> InMemoryObjectStore:
    """Return a store that holds golden archives."""
    store = new_store()
    for name in names:
        for key, body in golden_files(name).items():
            store.put(BUCKET, golden_layout(name).root + key, body)
    return store


def full_meta(name: str) -> dict[str, Any]:
    """Return a golden archive's `full_meta.json`."""
    meta: dict[str, Any] = json.loads((GOLDEN / name / "meta" / "full_meta.json").read_bytes())
    return meta


def stored_objects(
    layout: BackupLayout, collection_id: int, segments: Sequence[dict[str, Any]]
) -> list[ArchivedObject]:
    """Return a log of each field that has to have some, or of deletes only, for each segment."""
    objects = []
    for number, segment in enumerate(segments):
        partition_id, segment_id = segment["partition_id"], segment["segment_id"]
        group_id = 0 if partition_id == ALL_PARTITIONS else segment_id
        fields = [] if segment.get("level") == SegmentLevel.L0 else [0, 1, 100, 101, 102, 103, 104, 105, 111]
        for field in fields:
            log_id = 900 + 10 * number + field
            stored = layout.insert_log(collection_id, partition_id, group_id, segment_id, field, log_id)
            source = f"files/insert_log/{collection_id}/{partition_id}/{segment_id}/{field}/{log_id}"
            objects.append(ArchivedObject(stored, source, 40 + field, f"etag-{number}-{field}", "CRC64NVME:AAA="))
        if not fields or segment.get("has_deletes"):
            log_id = 800 + number
            stored = layout.delta_log(collection_id, partition_id, group_id, segment_id, log_id)
            source = f"files/delta_log/{collection_id}/{partition_id}/{segment_id}/{log_id}"
            objects.append(ArchivedObject(stored, source, 7, f"etag-{number}-delta"))
    return objects


def sample_contents(layout: BackupLayout) -> Contents:
    """Return two collections: one with all that a collection can have, and an empty one."""
    channel = {"virtual_channel": "dml_1v1"}
    segments: list[dict[str, Any]] = [
        {"segment_id": SEGMENT_ID, "partition_id": PARTITION_ID, "row_count": 60, "level": "L1", "has_deletes": True},
        {"segment_id": SEGMENT_ID + 1, "partition_id": PARTITION_ID, "row_count": 40, "level": "L2", **channel},
        {"segment_id": SEGMENT_ID + 2, "partition_id": PARTITION_ID, "row_count": 0, "level": "L0"},
        {"segment_id": SEGMENT_ID + 3, "partition_id": OTHER_PARTITION_ID, "row_count": 5, "storage_version": 2},
        {"segment_id": SEGMENT_ID + 4, "partition_id": ALL_PARTITIONS, "row_count": 0, "level": "L0"},
    ]
    rich = CollectionDocument.model_validate(
        {
            "description": {
                "collection_id": COLLECTION_ID,
                "name": {"database": "books", "name": "works"},
                "schema_proto": b"\x0a\x05works\xff",
                "collection_schema": {
                    "name": "works",
                    "description": 'a < b && c > d, \u2028\u2029 \u00fc \U0001f4da "quoted" \\ \n',
                    "enable_dynamic_field": True,
                    "fields": [
                        {"field_id": 100, "name": "id", "data_type": 5, "is_primary_key": True, "auto_id": True},
                        {
                            "field_id": 101,
                            "name": "title",
                            "data_type": 21,
                            "type_params": [{"key": "max_length", "value": "64"}],
                            "nullable": True,
                            "default_value": b"\x32\x07unknown",
                        },
                        {"field_id": 102, "name": "sparse", "data_type": 104, "is_function_output": True},
                        {"field_id": 103, "name": "tags", "data_type": 22, "element_type": 21},
                        {"field_id": 104, "name": "tenant", "data_type": 21, "is_partition_key": True},
                        {"field_id": 105, "name": "$meta", "data_type": 23, "is_dynamic": True},
                    ],
                    "functions": [
                        {
                            "name": "bm25",
                            "function_id": 100,
                            "function_type": 1,
                            "input_field_names": ["title"],
                            "input_field_ids": [101],
                            "output_field_names": ["sparse"],
                            "output_field_ids": [102],
                            "params": [{"key": "b", "value": "0.75"}],
                        }
                    ],
                    "struct_array_fields": [
                        {
                            "field_id": 110,
                            "name": "pages",
                            "fields": [{"field_id": 111, "name": "text", "data_type": 22}],
                        }
                    ],
                    "properties": [{"key": "mmap.enabled", "value": "true"}],
                },
                "shards": 2,
                "consistency_level": 0,
                "properties": [{"key": "collection.ttl.seconds", "value": "3600"}],
                "partitions": [
                    {"partition_id": PARTITION_ID, "name": "_default", "is_loaded": True},
                    {"partition_id": OTHER_PARTITION_ID, "name": "north"},
                ],
                "indexes": [
                    {
                        "index_id": COLLECTION_ID + 9,
                        "name": "by_title",
                        "field_name": "sparse",
                        "params": [
                            {"key": "metric_type", "value": "BM25"},
                            {"key": "index_type", "value": "SPARSE_INVERTED_INDEX"},
                        ],
                    }
                ],
                "aliases": ["current"],
                "load_state": "Loaded",
                "replicas": 2,
                "created_timestamp": 470643281800462339,
                "virtual_channels": ["dml_0v0", "dml_1v1"],
                "physical_channels": ["dml_0", "dml_1"],
            },
            "segments": [{key: value for key, value in item.items() if key != "has_deletes"} for item in segments],
            "flush_timestamp": 470643281900462339,
            "flushed_at_seconds": 1795361683,
            "channel_checkpoints": [
                {"channel": "dml_0v0", "timestamp": 470643281900462338, "position": POSITION},
                {"channel": "dml_1v1", "timestamp": 470643281900462339},
            ],
            "live_row_count": 97,
        }
    )
    empty = CollectionDocument.model_validate(
        {
            "description": {
                "collection_id": COLLECTION_ID + 100,
                "name": {"database": "default", "name": "empty"},
                "schema_proto": "",
                "collection_schema": {
                    "name": "empty",
                    "fields": [{"field_id": 100, "name": "id", "data_type": 5, "is_primary_key": True}],
                },
                "shards": 1,
                "consistency_level": 2,
                "properties": [],
                "partitions": [{"partition_id": COLLECTION_ID + 101, "name": "_default"}],
                "indexes": [],
                "aliases": [],
                "load_state": "NotLoad",
            },
            "segments": [],
        }
    )
    return [(rich, stored_objects(layout, COLLECTION_ID, segments)), (empty, [])]


def reference_files(
    *,
    backup_id: str,
    backup_name: str,
    milvus_version: str,
    databases: Sequence[DatabaseDescription],
    flush_all: FlushAllPoint | None = None,
    rbac: Rbac | None = None,
    collections: Sequence[tuple[CollectionDocument, Iterable[ArchivedObject]]],
) -> dict[str, bytes]:
    """Return milvus-backup's files of a backup, by their names."""
    given = [(document, list(objects)) for document, objects in collections]
    texts: dict[str, IO[bytes]] = {name: io.BytesIO() for name in FILES}
    for document, objects in given:
        CollectionTexts(backup_id, document, objects).write(texts)
    for text in texts.values():
        text.seek(0)
    reference = ReferenceFiles(
        backup_id=backup_id,
        backup_name=backup_name,
        milvus_version=milvus_version,
        databases=databases,
        size_bytes=sum(item.size_bytes for _, objects in given for item in objects),
        flush_all=flush_all,
        rbac=rbac,
    )
    return {name: b"".join(reference.pieces(name, [texts[name]])) for name in FILES}


def write_backup(
    store: ObjectStore,
    layout: BackupLayout,
    contents: Contents,
    *,
    failures: tuple[CollectionFailure, ...] = (),
    **changes: object,
) -> Manifest:
    """Write a backup of ours with its objects, marker last, and return its manifest with these fields changed."""
    entries, files = [], {}
    for document, objects in contents:
        description = document.description
        for item in objects:
            store.put(BUCKET, item.stored_key, b"." * item.size_bytes)
        files[layout.collection_document(description.collection_id)] = document.model_dump_json().encode()
        files[layout.object_list(description.collection_id)] = write_object_list(objects)
        entries.append(
            CollectionEntry(
                name=description.name,
                collection_id=description.collection_id,
                segment_count=len(document.segments),
                row_count=sum(segment.row_count for segment in document.segments),
                live_row_count=document.live_row_count,
                object_count=len(objects),
                size_bytes=sum(item.size_bytes for item in objects),
                document=_digest(files, layout, layout.collection_document(description.collection_id)),
                objects=_digest(files, layout, layout.object_list(description.collection_id)),
                group=next((pooled.group for item in objects if (pooled := parse_pooled_key(item.stored_key))), ""),
            )
        )
    reference = reference_files(
        backup_id="run-1",
        backup_name=layout.name,
        milvus_version="v2.5.20",
        databases=DATABASES,
        flush_all=FLUSH_ALL,
        rbac=RBAC,
        collections=contents,
    )
    files |= {layout.meta(name): body for name, body in reference.items()}
    files[layout.rbac] = RBAC.model_dump_json().encode()
    manifest = Manifest(
        backup_name=layout.name,
        backup_id="run-1",
        created_by="milvus-vault 0.1.0",
        execution_arn="arn:aws:states:eu-west-1:123456789012:execution:backup:run-1",
        started_at=datetime(2026, 3, 1, 2, tzinfo=UTC),
        finished_at=datetime(2026, 3, 1, 3, tzinfo=UTC),
        source=Source(milvus_version="v2.5.20", bucket="milvus", root_path="files"),
        databases=tuple(database.name for database in DATABASES),
        database_descriptions=DATABASES,
        flush_all=FLUSH_ALL,
        collections=tuple(entries),
        failures=failures,
        warnings=("garbage collection was not paused",),
        rbac=_digest(files, layout, layout.rbac),
        object_count=sum(entry.object_count for entry in entries),
        size_bytes=sum(entry.size_bytes for entry in entries),
        files=tuple(_digest(files, layout, layout.meta(name)) for name in reference),
    ).model_copy(update=changes)
    body = manifest.model_dump_json().encode()
    files[layout.manifest] = body
    files[layout.marker] = marker_file(manifest, body)
    for key, content in files.items():
        store.put(BUCKET, key, content)
    return manifest


def _digest(files: dict[str, bytes], layout: BackupLayout, key: str) -> FileDigest:
    return digest(key.removeprefix(layout.root), files[key])
