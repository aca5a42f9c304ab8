"""Write a backup's metadata as milvus-backup does, so that this tool can restore it.

The text of a segment goes into two files, and a backup of a million objects has a quarter of a gigabyte
of them: so texts are made per collection, never collected as a tree, and files are put together piece by piece.
"""

import base64
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from milvus_vault.archive.go_json import Encoded, Value, array, message
from milvus_vault.archive.layout import INSERT_LOG, log_of
from milvus_vault.archive.manifest import CollectionDocument, Manifest, VaultMark, digest
from milvus_vault.archive.reference_rbac import encode_rbac
from milvus_vault.archive.reference_schema import encode_index, encode_key_values, encode_schema
from milvus_vault.errors import WorkingFileError
from milvus_vault.model.collections import (
    ALL_PARTITIONS,
    CollectionDescription,
    DatabaseDescription,
    LoadState,
    Segment,
    SegmentLevel,
)
from milvus_vault.model.flushes import FlushAllPoint
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.rbac import Rbac
from milvus_vault.model.readable import first_of

COLLECTION_META = "collection_meta.json"
PARTITION_META = "partition_meta.json"
SEGMENT_META = "segment_meta.json"
FULL_META = "full_meta.json"

_HINT = "Its working files contradict each other: start the backup again, under another `backup_name`."


FILES = (COLLECTION_META, PARTITION_META, SEGMENT_META, FULL_META)
"""milvus-backup's metadata files, except the marker."""


def collection_texts(
    backup_id: str, document: CollectionDocument, objects: Iterable[ArchivedObject]
) -> Mapping[str, bytes]:
    """Return what each of `FILES` has of a collection: items of its array, with commas between them.

    A segment without objects is left out: milvus-backup would import an empty folder.

    Raises:
        WorkingFileError: An object belongs to no segment of its collection, or a segment to no partition.
    """
    texts = _collection(backup_id, document, objects)
    return {
        COLLECTION_META: texts.without_segments.encode(),
        PARTITION_META: ",".join(texts.partitions).encode(),
        SEGMENT_META: ",".join(texts.segments).encode(),
        FULL_META: _written(texts.full),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceFiles:
    """What milvus-backup's files say of a backup, beside its collections."""

    backup_id: str
    backup_name: str
    milvus_version: str
    databases: Sequence[DatabaseDescription]
    size_bytes: int
    """Of all objects."""
    flush_all: FlushAllPoint | None = None
    rbac: Rbac | None = None

    def pieces(self, name: str, texts: Iterable[bytes]) -> Iterator[bytes]:
        """Yield a file, by `collection_texts` of its collections in their order, each of one or of several of them."""
        if name != FULL_META:
            yield from _array_file("infos", "{", "}", texts)
            return
        before = message({"id": self.backup_id, "state_code": 0, "name": self.backup_name}).removesuffix("}") + ","
        rest: dict[str, Value] = {
            "size": self.size_bytes,
            "milvus_version": self.milvus_version,
            "rbac_meta": encode_rbac(self.rbac) if self.rbac else Encoded(),
            "database_backups": array(_database(database) for database in self.databases),
        }
        after = "," + message(rest | _flush_all(self.flush_all)).removeprefix("{")
        yield from _array_file("collection_backups", before, after, texts)


def _array_file(key: str, before: str, after: str, texts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a struct with one long array, which is left out where it is empty."""
    separator = f'{before}"{key}":['.encode()
    is_empty = True
    for text in filter(None, texts):
        yield separator
        yield text
        separator, is_empty = b",", False
    yield f"{before}{after.removeprefix(',')}".encode() if is_empty else f"]{after}".encode()


def _written(pieces: Iterable[str]) -> bytes:
    """Return pieces as one text, which is never there twice."""
    body = io.BytesIO()
    for piece in pieces:
        body.write(piece.encode())
    return body.getvalue()


def _database(database: DatabaseDescription) -> Encoded:
    return message(
        {
            "db_name": database.name,
            "db_id": database.database_id,
            "properties": encode_key_values(database.properties),
        }
    )


def _flush_all(point: FlushAllPoint | None) -> dict[str, Value]:
    if point is None:
        return {}
    return {
        "flush_all_msgs_base64": {item.channel: _base64(item.message) for item in point.channels},
        "control_channel_name": point.control_channel,
        "physical_channel_names": point.physical_channels,
    }


def _base64(body: bytes) -> str:
    return base64.b64encode(body).decode()


def marker_file(manifest: Manifest, manifest_body: bytes) -> bytes:
    """Return the commit marker of a backup: milvus-backup's summary, and our manifest's digest.

    It follows from the manifest alone, so that a reader can tell a damaged marker.
    """
    manifest_digest = digest("", manifest_body)
    mark = VaultMark(
        format_version=manifest.format_version,
        manifest_sha256=manifest_digest.sha256,
        manifest_size_bytes=manifest_digest.size_bytes,
        holds_secrets=manifest.holds_secrets,
        status="partial" if manifest.is_partial else "complete",
        export_of=manifest.export_of,
        lock=manifest.lock,
    )
    return message(
        {
            "id": manifest.backup_id,
            "state_code": 0,
            "name": manifest.backup_name,
            "size": manifest.size_bytes,
            "milvus_version": manifest.source.milvus_version,
            # Without members of no value: the marker of a backup without secrets does not speak of them.
            "vault": Encoded(mark.model_dump_json(exclude_defaults=True)),
        }
    ).encode()


# Where items are put into a text later. Nothing else in a JSON text can look like this.
_HOLE = Encoded("\0")


def _fill(outline: Encoded, items: Iterable[Iterable[str]]) -> Iterator[str]:
    before, _, after = outline.partition(_HOLE)
    yield before
    for number, pieces in enumerate(items):
        if number:
            yield ","
        yield from pieces
    yield after


@dataclass(frozen=True, slots=True)
class _CollectionTexts:
    full: Iterator[str]
    """In pieces: of a large collection it is a large text."""
    without_segments: Encoded
    partitions: list[Encoded]
    """Without segments, too."""
    segments: list[Encoded]
    """Those of partitions; the ones of all partitions are in `full` only."""


def _collection(backup_id: str, document: CollectionDocument, objects: Iterable[ArchivedObject]) -> _CollectionTexts:
    description = document.description
    logs = _logs_by_segment(description, objects)
    by_partition: dict[int, list[Encoded]] = {p.partition_id: [] for p in description.partitions}
    by_partition[ALL_PARTITIONS] = []
    sizes: defaultdict[int, int] = defaultdict(int)
    for segment in document.segments:
        if segment.partition_id not in by_partition:
            msg = (
                f"segment {segment.segment_id} of {description.name} is in an unknown partition {segment.partition_id}"
            )
            raise WorkingFileError(msg, hint=_HINT)
        if segment_logs := logs.pop(segment.segment_id, None):
            by_partition[segment.partition_id].append(_segment(description.collection_id, segment, segment_logs))
            sizes[segment.partition_id] += segment_logs.size_bytes
    if logs:
        msg = f"objects of {description.name} belong to no segment of it: {first_of(sorted(logs))}"
        raise WorkingFileError(msg, hint=_HINT)

    l0_segments = by_partition.pop(ALL_PARTITIONS)
    size_bytes = sum(sizes.values())
    partitions: list[Encoded] = []
    full_partitions: list[Iterable[str]] = []
    for partition in description.partitions:
        members: dict[str, Value] = {
            "partition_id": partition.partition_id,
            "partition_name": partition.name,
            "collection_id": description.collection_id,
        }
        rest: dict[str, Value] = {
            "size": sizes[partition.partition_id],
            "load_state": LoadState.LOADED if partition.is_loaded else LoadState.NOT_LOADED,
        }
        partitions.append(message(members | rest))
        segments = by_partition[partition.partition_id]
        outline = message(members | {"segment_backups": array([_HOLE] if segments else [])} | rest)
        full_partitions.append(_fill(outline, [[segment] for segment in segments]))
    hole = array([_HOLE] if partitions else [])
    return _CollectionTexts(
        full=_fill(_collection_info(backup_id, document, hole, array(l0_segments), size_bytes), full_partitions),
        without_segments=_collection_info(backup_id, document, array(partitions), Encoded(), size_bytes),
        partitions=partitions,
        segments=list(chain.from_iterable(by_partition.values())),
    )


def _collection_info(
    backup_id: str, document: CollectionDocument, partitions: Encoded, l0_segments: Encoded, size_bytes: int
) -> Encoded:
    description = document.description
    return message(
        {
            "id": backup_id,
            "collection_id": description.collection_id,
            "db_name": description.name.database,
            "collection_name": description.name.name,
            "schema": encode_schema(description),
            "shards_num": description.shards,
            "consistency_level": description.consistency_level,
            "partition_backups": partitions,
            "backup_timestamp": document.flush_timestamp,
            "size": size_bytes,
            "has_index": bool(description.indexes),
            "index_infos": array(encode_index(index) for index in description.indexes),
            "load_state": description.load_state,
            "backup_physical_timestamp": document.flushed_at_seconds,
            # That of FlushAll has no position; milvus-backup takes it from the messages of the backup.
            "channel_checkpoints": {
                item.channel: _base64(item.position) for item in document.channel_checkpoints if item.position
            },
            "l0_segments": l0_segments,
            "properties": encode_key_values(description.properties),
            "db_id": description.database_id,
            "created_timestamp": description.created_timestamp,
            "virtual_channel_names": description.virtual_channels,
            "physical_channel_names": description.physical_channels,
            "aliases": description.aliases,
        }
    )


class _SegmentLogs:
    """The logs of one segment, encoded: a million of them must not be a million trees."""

    def __init__(self) -> None:
        self.inserts: defaultdict[int, list[Encoded]] = defaultdict(list)
        self.deletes: list[Encoded] = []
        self.size_bytes = 0


def _logs_by_segment(
    description: CollectionDescription, objects: Iterable[ArchivedObject]
) -> defaultdict[int, _SegmentLogs]:
    logs: defaultdict[int, _SegmentLogs] = defaultdict(_SegmentLogs)
    for item in objects:
        key = log_of(item)
        if key.collection_id != description.collection_id:
            msg = f"not the key of a log of {description.name}: {item.source_key}"
            raise WorkingFileError(msg, hint=_HINT)
        segment_logs = logs[key.segment_id]
        binlog = message({"log_path": item.source_key, "log_size": item.size_bytes, "log_id": key.log_id})
        (segment_logs.inserts[key.field_id] if key.kind == INSERT_LOG else segment_logs.deletes).append(binlog)
        segment_logs.size_bytes += item.size_bytes
    return logs


def _segment(collection_id: int, segment: Segment, logs: _SegmentLogs) -> Encoded:
    inserts = array(
        message({"fieldID": field, "binlogs": array(logs.inserts[field])}) for field in sorted(logs.inserts)
    )
    return message(
        {
            "segment_id": segment.segment_id,
            "collection_id": collection_id,
            "partition_id": segment.partition_id,
            "num_of_rows": segment.row_count,
            "binlogs": inserts,
            # One entry without a field, and an empty one where nothing was deleted: as from a listing.
            "deltalogs": array([message({"binlogs": array(logs.deletes)})]),
            "size": logs.size_bytes,
            "group_id": 0 if segment.partition_id == ALL_PARTITIONS else segment.segment_id,
            "is_l0": segment.level is SegmentLevel.L0,
            "v_channel": segment.virtual_channel,
            "storage_version": segment.storage_version,
        }
    )
