"""Our own metadata of a backup: what it holds, and how to know that it is whole.

Three kinds of documents below `meta/vault/`, chained by SHA-256 from the commit marker down:

    backup_meta.json (the marker)  names the manifest's digest
    manifest.json                  names the digest of each collection's two documents
    collections/<id>.json          a `CollectionDocument`
    objects/<id>.jsonl             the collection's objects with size, ETag and checksum, one a line
"""

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import Field

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.pool import parse_pooled_key
from milvus_vault.lines import parse_row, row_line
from milvus_vault.model.base import Count, Model, Number
from milvus_vault.model.collections import CollectionDescription, CollectionName, DatabaseDescription, Segment
from milvus_vault.model.flushes import ChannelCheckpoint, FlushAllPoint
from milvus_vault.model.hybrid import HybridTimestamp
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.requests import ScheduleTag
from milvus_vault.model.times import Time

FULL_FORMAT_VERSION = 2
POOL_FORMAT_VERSION = 3
"""Of incremental backups, whose objects lie in the pool, of exports, and of locked backups."""
FORMAT_VERSION = POOL_FORMAT_VERSION
"""The newest that is read."""


def _is_unset(value: object) -> bool:
    """Return whether a member of format 3 says nothing. It is left out then: those who read format 2 are strict."""
    return value in (None, "")


_COLUMNS = (str, str, int, str, str)

LISTED_OBJECT_BYTES = 320
"""What an object takes in an object list, about: two keys of a hundred characters, ETag and checksum."""


class FileDigest(Model):
    """A metadata object and what its content must be."""

    key: str
    """Relative to the backup's folder, for example `meta/vault/collections/123.json`."""
    size_bytes: Count
    sha256: str


class CollectionEntry(Model):
    """A collection in the manifest."""

    name: CollectionName
    collection_id: Number
    segment_count: Count
    row_count: Count
    """Rows in its segments; rows deleted since are not subtracted."""
    live_row_count: Count | None
    """Rows that a query saw at the time of the backup; None where the collection was not loaded or was changing."""
    moment: HybridTimestamp = 0
    """Hybrid timestamp at which a restore cuts the collection; 0: it is not cut."""
    object_count: Count
    size_bytes: Count
    document: FileDigest
    objects: FileDigest
    group: str = Field(default="", exclude_if=_is_unset)
    """Of an incremental backup with objects: where they lie in the pool. A sweep goes by it, not by `source`, which a
    manifest that was made anew does not know."""


class CollectionFailure(Model):
    """A collection that is not in the backup, and why."""

    name: CollectionName
    error: str
    message: str


class Source(Model):
    """Where the backup was taken from. Holds no credentials."""

    milvus_version: str
    bucket: str
    root_path: str


class ExportOrigin(Model):
    """The backup that an export is a copy of."""

    backup_name: str
    backup_id: str
    exported_at: Time
    """When the export was begun; all other times are those of the original."""


class Manifest(Model):
    """What a backup holds."""

    format_version: Number = FULL_FORMAT_VERSION
    backup_name: str
    backup_id: str
    created_by: str
    """Program and version that wrote the backup."""
    execution_arn: str
    started_at: Time
    finished_at: Time
    mode: str = "full"
    meta_only: bool = False
    schedule: ScheduleTag | None = None
    """The schedule that asked for the backup, with its policy at that time."""
    expires_at: Time | None = None
    """When the backup may be deleted; None: by its schedule's policy, or by hand."""
    source: Source
    databases: tuple[str, ...]
    """Those that were selected as a whole, with or without collections, and those of the collections."""
    database_descriptions: tuple[DatabaseDescription, ...] = ()
    """The databases with their properties, from servers that tell them (2.4.3 and newer)."""
    collections: tuple[CollectionEntry, ...]
    moment: HybridTimestamp = 0
    """Hybrid timestamp that all collections share, except those that have their own; 0: there is none."""
    flush_all: FlushAllPoint | None = None
    """The one flush of all collections, where there was one (2.6.11 and newer, everything selected)."""
    failures: tuple[CollectionFailure, ...] = ()
    warnings: tuple[str, ...] = ()
    rbac: FileDigest | None = None
    """Users and rights of the server; they hold hashes of passwords. None where nobody asked for them."""
    object_count: Count
    size_bytes: Count
    copied_object_count: Count | None = Field(default=None, exclude_if=_is_unset)
    """Of them, those that were copied for this backup; None: all."""
    copied_size_bytes: Count | None = Field(default=None, exclude_if=_is_unset)
    export_of: ExportOrigin | None = Field(default=None, exclude_if=_is_unset)
    """The backup that was exported as this one; None: it was made of Milvus."""
    lock: ObjectLock | None = Field(default=None, exclude_if=_is_unset)
    """How its objects are locked, and its documents; None: they were not when it was made."""
    files: tuple[FileDigest, ...] = ()
    """The files in milvus-backup's format, except the marker."""

    @property
    def documents(self) -> tuple[FileDigest, ...]:
        """Return the documents that belong to no collection, except the marker."""
        return (*self.files, self.rbac) if self.rbac else self.files

    @property
    def is_incremental(self) -> bool:
        """Return whether its objects lie in the pool, which it shares with other backups."""
        return self.mode == "incremental"

    @property
    def holds_secrets(self) -> bool:
        """Return whether the backup has hashes of passwords, which all its readers can read."""
        return self.rbac is not None

    @property
    def selected_databases(self) -> tuple[str, ...]:
        """Return the databases that the backup is of. Format 1 named all of the server, whatever was backed up."""
        if self.format_version > 1:
            return self.databases
        selected = {entry.name.database for entry in self.collections}
        selected |= {failure.name.database for failure in self.failures}
        return tuple(name for name in self.databases if name in selected)

    @property
    def is_partial(self) -> bool:
        """Return whether a collection that was asked for is missing."""
        return bool(self.failures)


class CollectionDocument(Model):
    """A collection in full: description and segments, at one point in time."""

    description: CollectionDescription
    segments: tuple[Segment, ...]
    flush_timestamp: HybridTimestamp = 0
    """Hybrid timestamp up to which every row is in the segments; 0 where nothing was flushed."""
    flushed_at_seconds: Count = 0
    channel_checkpoints: tuple[ChannelCheckpoint, ...] = ()
    """What Flush told of each channel; on a busy one that is seconds before the flush. None before Milvus 2.4."""
    moment: HybridTimestamp = 0
    """Hybrid timestamp at which a restore cuts rows and deletes, inclusive; 0: nobody knows one."""
    moment_doubt: str = ""
    """Why the moment could not be proven; empty where it was, or where there is none."""
    live_row_count: Count | None = None


class VaultMark(Model):
    """What the commit marker says of our documents, under its key `vault`."""

    format_version: Number
    manifest_sha256: str
    manifest_size_bytes: Count
    holds_secrets: bool = False
    """Whether there are hashes of passwords in the backup, in ours and in milvus-backup's metadata."""
    status: str
    """`complete` or `partial`."""
    export_of: ExportOrigin | None = None
    """As the manifest has it, which a repair may have to make anew. Likewise the next."""
    lock: ObjectLock | None = None


def digest(key: str, body: bytes) -> FileDigest:
    """Return the digest of a document."""
    return FileDigest(key=key, size_bytes=len(body), sha256=hashlib.sha256(body).hexdigest())


@dataclass(slots=True)
class ListTotals:
    """What a manifest says of all objects of a list."""

    object_count: int = 0
    size_bytes: int = 0
    group: str = ""

    def add(self, item: ArchivedObject) -> None:
        """Count one in."""
        self.object_count += 1
        self.size_bytes += item.size_bytes
        if not self.group and (pooled := parse_pooled_key(item.stored_key)):
            self.group = pooled.group


def entry_of(layout: BackupLayout, document: CollectionDocument, body: bytes, objects: bytes) -> CollectionEntry:
    """Return what a manifest says of a collection: its document, which is stored as `body`, and its object list.

    Raises `ValueError` where the object list is none.
    """
    totals = ListTotals()
    for item in read_object_list(objects):
        totals.add(item)
    key = layout.object_list(document.description.collection_id).removeprefix(layout.root)
    return entry_by(layout, document, body, digest(key, objects), totals)


def entry_by(
    layout: BackupLayout, document: CollectionDocument, body: bytes, objects: FileDigest, totals: ListTotals
) -> CollectionEntry:
    """Return the same by the digest of the object list, and what was counted of it."""
    number = document.description.collection_id
    return CollectionEntry(
        name=document.description.name,
        collection_id=number,
        segment_count=len(document.segments),
        row_count=sum(segment.row_count for segment in document.segments),
        live_row_count=document.live_row_count,
        moment=document.moment,
        object_count=totals.object_count,
        size_bytes=totals.size_bytes,
        document=digest(layout.collection_document(number).removeprefix(layout.root), body),
        objects=objects,
        group=totals.group,
    )


def write_object_list(objects: Iterable[ArchivedObject]) -> bytes:
    """Return an object list: a JSON array a line, `[stored key, source key, bytes, etag, checksum]`."""
    return b"".join(object_lines(objects))


def object_lines(objects: Iterable[ArchivedObject]) -> Iterator[bytes]:
    """Yield the lines of an object list."""
    return map(row_line, objects)


def read_object_list(body: bytes) -> Iterator[ArchivedObject]:
    """Return the entries of an object list; asking for one raises `ValueError` where its line is none."""
    return map(read_object, io.BytesIO(body))


def read_object(line: bytes) -> ArchivedObject:
    """Return an entry of an object list. Raises `ValueError` where the line is not one."""
    return ArchivedObject(*parse_row(line, _COLUMNS))
