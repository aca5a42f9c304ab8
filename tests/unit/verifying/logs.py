"""A backup whose objects are logs as Milvus writes them, and the machine that verifies it."""

import hashlib
from datetime import UTC, datetime

from pymilvus.grpc_gen import schema_pb2

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import CollectionDocument
from milvus_vault.archive.pool import PooledKey, PoolLayout
from milvus_vault.model.messages_verify import VerifyBackupResult
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.requests import VerifyRequest
from milvus_vault.verifying.objects import check_batch
from milvus_vault.verifying.verify import verify_backup
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.support.milvus_server import binlog
from tests.support.milvus_server.binlog import Place
from tests.support.milvus_server.values import Value
from tests.unit.archive.samples import BUCKET, PREFIX, write_backup
from tests.unit.test_claims import FakeExecutions

LAYOUT = BackupLayout(PREFIX, "books")
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
GROUP = "0123456789ab-11"
COLLECTION, PARTITION, SEGMENTS, ROWS = 11, 12, (13, 14, 15), 4

# 2026-03-01, an hour before the backup.
TIMESTAMP = 1_772_330_400_000 << 18

FIELDS = {
    0: schema_pb2.FieldSchema(fieldID=0, name="RowID", data_type=5),
    1: schema_pb2.FieldSchema(fieldID=1, name="Timestamp", data_type=5),
    100: schema_pb2.FieldSchema(fieldID=100, name="id", data_type=5),
    101: schema_pb2.FieldSchema(fieldID=101, name="pages", data_type=5),
}


def log_of(segment: int, field: int, more: int = 0, rows: range = range(ROWS)) -> bytes:
    """Return the log of a field of a segment, or one with other values."""
    values: list[Value] = [1000 * segment + 10 * field + row + more for row in rows]
    times = [TIMESTAMP + row for row in rows]
    place = Place(COLLECTION, PARTITION, segment)
    return binlog.write_insert_log(place, FIELDS[field], times if field == 1 else values, times, names_fields=False)


def other_values_of(segment: int, field: int) -> bytes:
    """Return a log of a field that has other values, which could as well be right, and as many bytes."""
    size = len(log_of(segment, field))
    return next(body for more in range(1, 1000) if len(body := log_of(segment, field, more)) == size)


def contents() -> dict[str, bytes]:
    """Return the logs of three segments, the last with two of each field, by their keys below Milvus' root path."""
    found = {
        f"insert_log/{COLLECTION}/{PARTITION}/{segment}/{field}/{100 * segment + field + 50 * number}": log_of(
            segment, field, rows=rows
        )
        for segment in SEGMENTS
        for field in FIELDS
        for number, rows in enumerate((range(3), range(3, ROWS)) if segment == SEGMENTS[-1] else (range(ROWS),))
    }
    deletes: list[binlog.Delete] = [(1000 * SEGMENTS[0] + 1000, TIMESTAMP + 9)]
    place = Place(COLLECTION, PARTITION, SEGMENTS[0])
    found[f"delta_log/{COLLECTION}/{PARTITION}/{SEGMENTS[0]}/99"] = binlog.write_delta_log(
        place, deletes, names_fields=False
    )
    return found


DOCUMENT = CollectionDocument.model_validate(
    {
        "description": {
            "collection_id": COLLECTION,
            "name": {"database": "default", "name": "books"},
            "schema_proto": "",
            "collection_schema": {
                "name": "books",
                "fields": [
                    {"field_id": 100, "name": "id", "data_type": 5, "is_primary_key": True},
                    {"field_id": 101, "name": "pages", "data_type": 5},
                ],
            },
            "shards": 1,
            "consistency_level": 2,
            "properties": [],
            "partitions": [{"partition_id": PARTITION, "name": "_default"}],
            "indexes": [],
            "aliases": [],
            "load_state": "NotLoad",
        },
        "segments": [
            {"segment_id": segment, "partition_id": PARTITION, "row_count": ROWS, "level": "L1"} for segment in SEGMENTS
        ],
    }
)


def backup(
    store: InMemoryObjectStore,
    *,
    name: str = "books",
    is_pooled: bool = False,
    checksums: dict[str, str] | None = None,
    rows: int = ROWS,
) -> dict[str, str]:
    """Write the backup, and return the keys of its objects by those that they have in Milvus' bucket.

    `rows` is how many its metadata says that a segment has.
    """
    segments = tuple(segment.model_copy(update={"row_count": rows}) for segment in DOCUMENT.segments)
    document = DOCUMENT.model_copy(update={"segments": segments})
    layout, keys, objects = BackupLayout(PREFIX, name), {}, []
    for source, body in contents().items():
        keys[source] = _key(layout, source, is_pooled=is_pooled)
        objects.append(
            ArchivedObject(keys[source], f"files/{source}", len(body), "", (checksums or {}).get(source, ""))
        )
    write_backup(store, layout, [(document, objects)])
    # Over what stands for content in other tests, and with the ETags that it has then.
    for source, body in contents().items():
        store.put(BUCKET, keys[source], body)
    listed = [
        ArchivedObject(
            o.stored_key, o.source_key, o.size_bytes, store.get_with_etag(BUCKET, o.stored_key)[1], o.checksum
        )
        for o in objects
    ]
    held = {key: store.buckets[BUCKET][key] for key in keys.values()}
    manifest = write_backup(store, layout, [(document, listed)])
    if is_pooled:
        entries = tuple(entry.model_copy(update={"group": GROUP}) for entry in manifest.collections)
        write_backup(store, layout, [(document, listed)], mode="incremental", collections=entries)
    store.buckets[BUCKET] |= held
    return keys


def _key(layout: BackupLayout, source: str, *, is_pooled: bool) -> str:
    kind, collection, partition, segment, *rest = source.split("/")
    if is_pooled:
        content = hashlib.sha256(source.encode()).hexdigest()[:32]
        return PoolLayout(PREFIX).key(PooledKey(GROUP, int(segment), content, "1a2b3c4d"))
    return f"{layout.binlogs}{'/'.join((kind, collection, partition, segment, segment, *rest))}"


def verify(
    store: InMemoryObjectStore, *, run: str = "verify-1", name: str = "books", **options: object
) -> VerifyBackupResult:
    """Verify a backup as the machine does."""
    workspace, check_count = Workspace(store, BUCKET, PREFIX, run), 0
    while True:
        result = verify_backup(
            workspace,
            VerifyRequest.model_validate({"backup_name": name, **options}),
            executions=FakeExecutions(),
            execution_arn="verify",
            now=NOW,
            seconds_left=lambda: 900.0,
            check_count=check_count,
        )
        if result.is_done:
            return result
        check_count = result.check_count
        for batch in batches_of(workspace):
            while not check_batch(workspace, batch, seconds_left=lambda: 900.0).is_done:
                """Another invocation goes on."""


def batches_of(workspace: Workspace) -> range:
    """Return the numbers of the batches that were written."""
    return range(workspace.read_bytes("check/batches.json").count(b'"batch"'))
