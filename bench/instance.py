"""A Milvus of which there is only what a backup asks for, and the settings of the functions that back it up."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any, override

from bench.counting_store import CountingStore
from milvus_vault.model.collections import (
    CollectionDescription,
    CollectionName,
    CollectionSchema,
    FieldSchema,
    LoadState,
    Partition,
    Segment,
)
from milvus_vault.model.flushes import FlushPoint
from milvus_vault.model.health import ServerHealth
from milvus_vault.model.objects import ListedObject
from milvus_vault.model.rbac import Rbac
from milvus_vault.model.rights import Right
from milvus_vault.model.versions import ServerVersion, parse_version
from milvus_vault.ports import Access, Server
from tests.support.memory_database import InMemoryDatabase

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "BACKUP_BUCKET_NAME": "backups",
    "BACKUP_PREFIX": "nightly",
    "EXPORT_PREFIX": "exports",
    "MILVUS_BUCKET_NAME": "milvus",
    "MILVUS_ROOT_PATH": "files",
    "MILVUS_URI": "http://milvus:19530",
    "POWERTOOLS_METRICS_DISABLED": "true",
    "STAGING_PREFIX": "staging",
}

MIB = 1 << 20
# Long ago: what was written after a backup began is read, and there is nothing in it.
BEGIN = datetime(2025, 11, 1, 3, tzinfo=UTC)
DAY = timedelta(days=1)

# A segment has a log of each field: row ID, timestamp, key and seven more.
FIELDS = (0, 1, *range(100, 108))

type Json = dict[str, Any]


def number_at(when: datetime, counter: int) -> int:
    """Return a number as Milvus gives them out: milliseconds, shifted by 18 bits, and a counter."""
    return (int(when.timestamp() * 1000) << 18) + counter


class Instance(InMemoryDatabase, Server, Access):
    """A Milvus with some collections of equal size, whose segments are replaced."""

    def __init__(self, store: CountingStore, collections: int, objects: int) -> None:
        """Fill it with so many objects in all, written during the hundred days before."""
        super().__init__()
        self._store, self._random, self._counter = store, random.Random(13), 0
        schema = [FieldSchema(field_id=100, name="key", data_type=5, is_primary_key=True)]
        schema += [FieldSchema(field_id=number, name=f"f{number}", data_type=5) for number in FIELDS[3:]]
        self._schema = CollectionSchema(name="", fields=tuple(schema))
        self._segments: dict[str, list[int]] = {}
        self._ids: dict[str, int] = {}
        for index in range(collections):
            name = f"c{index:04}"
            self._ids[name] = number_at(BEGIN - 101 * DAY, 10 * index)
            self._segments[name] = []
            count = objects // collections // len(FIELDS)
            self._write(name, count, BEGIN - 100 * DAY, 100 * DAY)

    def _write(self, name: str, count: int, since: datetime, during: timedelta) -> None:
        bucket, moments = self._store.bucket("milvus"), sorted(self._random.random() for _ in range(count))
        for moment in moments:
            self._counter += 1
            written_at = since + during * moment
            segment = number_at(written_at, self._counter)
            self._segments[name].append(segment)
            for field in FIELDS:
                key = f"files/insert_log/{self._ids[name]}/1/{segment}/{field}/{segment + field + 1}"
                etag = f"{segment:020x}{field:012x}"
                bucket.objects[key] = ListedObject(key, MIB, etag, written_at)
        bucket.changed()

    def replace(self, share: float, day: datetime) -> None:
        """Replace a share of the segments, anywhere, by new ones of the day before."""
        bucket = self._store.bucket("milvus")
        for name, segments in self._segments.items():
            gone = set(self._random.sample(segments, round(share * len(segments))))
            self._segments[name] = [segment for segment in segments if segment not in gone]
            for segment in gone:
                for field in FIELDS:
                    del bucket.objects[f"files/insert_log/{self._ids[name]}/1/{segment}/{field}/{segment + field + 1}"]
            self._write(name, len(gone), day - DAY, DAY)

    @override
    def server_version(self) -> ServerVersion:
        return parse_version("v2.5.27")

    @override
    def health(self) -> ServerHealth:
        return ServerHealth()

    @override
    def may(self, right: Right, database: str, name: str = "") -> bool:
        return True

    @override
    def backup_rbac(self) -> Rbac:
        return Rbac()

    @override
    def restore_rbac(self, rbac: Rbac) -> None:
        """Do nothing: there are no users."""

    @override
    def list_collections(self, database: str) -> dict[str, int]:
        return dict(sorted(self._ids.items()))

    @override
    def collection_id(self, database: str, name: str) -> int | None:
        return self._ids.get(name)

    @override
    def describe_collection(self, database: str, name: str) -> CollectionDescription:
        return CollectionDescription(
            collection_id=self._ids[name],
            name=CollectionName(database=database, name=name),
            schema_proto=b"",
            collection_schema=self._schema.model_copy(update={"name": name}),
            shards=1,
            consistency_level=2,
            properties=(),
            partitions=(Partition(partition_id=1, name="_default"),),
            indexes=(),
            aliases=(),
            load_state=LoadState.NOT_LOADED,
        )

    @override
    def current_timestamp(self) -> int | None:
        self._counter += 1
        return number_at(datetime.now(UTC), self._counter)

    @override
    def flush(self, database: str, name: str, *, timeout_seconds: float) -> FlushPoint:
        return FlushPoint(timestamp=self.current_timestamp() or 0)

    @override
    def list_segments(self, database: str, name: str) -> list[Segment]:
        return [Segment(segment_id=number, partition_id=1, row_count=1000) for number in self._segments[name]]
