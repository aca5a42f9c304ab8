"""Write a backup's metadata as milvus-backup does, so that this tool can restore it.

The text of a segment goes into two files, and a backup of a million objects has a quarter of a gigabyte
of them: so texts are made per segment, never collected as a tree, and files are put together piece by piece.
"""

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from milvus_vault.archive.go_json import Encoded, Value, array, message
from milvus_vault.archive.layout import INSERT_LOG, log_of
from milvus_vault.archive.manifest import CollectionDocument, Manifest, VaultMark, digest
from milvus_vault.archive.object_table import ObjectTable
from milvus_vault.archive.reference_rbac import encode_rbac
from milvus_vault.archive.reference_schema import encode_index, encode_key_values, encode_schema
from milvus_vault.errors import WorkingFileError
from milvus_vault.model.collections import (
    ALL_PARTITIONS,
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


class CollectionTexts:
    """What milvus-backup's files have of a collection. A segment without objects is left out: it imports no empty one.

    Objects are taken in and told on the function's disk, so that of a large collection no more is held than a segment.
    """

    def __init__(self, backup_id: str, document: CollectionDocument, objects: Iterable[ArchivedObject]) -> None:
        """Take objects in; they are in `objects` then.

        Raises:
            WorkingFileError: An object belongs to no segment of its collection, or a segment to no partition.
        """
        self._backup_id, self._document = backup_id, document
        self._sizes: Counter[int] = Counter()
        self.objects = ObjectTable(objects, self._segment_of)
        homes = {partition.partition_id for partition in document.description.partitions} | {ALL_PARTITIONS}
        left = set(self._sizes)
        for segment in document.segments:
            if segment.partition_id not in homes:
                name = document.description.name
                msg = f"segment {segment.segment_id} of {name} is in an unknown partition {segment.partition_id}"
                raise WorkingFileError(msg, hint=_HINT)
            left.discard(segment.segment_id)
        if left:
            msg = f"objects of {document.description.name} belong to no segment of it: {first_of(sorted(left))}"
            raise WorkingFileError(msg, hint=_HINT)

    def _segment_of(self, item: ArchivedObject) -> str:
        key, description = log_of(item), self._document.description
        if key.collection_id != description.collection_id:
            msg = f"not the key of a log of {description.name}: {item.source_key}"
            raise WorkingFileError(msg, hint=_HINT)
        self._sizes[key.segment_id] += item.size_bytes
        return str(key.segment_id)

    def write(self, files: Mapping[str, IO[bytes]]) -> None:
        """Add what each of `FILES` has of the collection: items of its array, with commas between all that it has."""
        description, backup_id = self._document.description, self._backup_id
        by_partition: defaultdict[int, list[Segment]] = defaultdict(list)
        for segment in self._document.segments:
            if segment.segment_id in self._sizes:
                by_partition[segment.partition_id].append(segment)
        sizes = {number: sum(self._sizes[s.segment_id] for s in found) for number, found in by_partition.items()}
        size_bytes = sum(sizes.values())
        partitions: list[Encoded] = []
        outlines: list[Encoded] = []
        for partition in description.partitions:
            members: dict[str, Value] = {
                "partition_id": partition.partition_id,
                "partition_name": partition.name,
                "collection_id": description.collection_id,
            }
            rest: dict[str, Value] = {
                "size": sizes.get(partition.partition_id, 0),
                "load_state": LoadState.LOADED if partition.is_loaded else LoadState.NOT_LOADED,
            }
            partitions.append(message(members | rest))
            hole = array([_HOLE] if by_partition[partition.partition_id] else [])
            outlines.append(message(members | {"segment_backups": hole} | rest))
        level_zero = by_partition[ALL_PARTITIONS]
        outline = _collection_info(
            backup_id,
            self._document,
            array([_HOLE] if partitions else []),
            array([_HOLE] if level_zero else []),
            size_bytes,
        )
        without_segments = _collection_info(backup_id, self._document, array(partitions), Encoded(), size_bytes)
        _add(files[COLLECTION_META], without_segments)
        for text in partitions:
            _add(files[PARTITION_META], text)
        full = files[FULL_META]
        _add(full, "")
        before, *between = outline.split(_HOLE)
        full.write(before.encode())
        if partitions:
            for number, (partition, text) in enumerate(zip(description.partitions, outlines, strict=True)):
                full.write(b"," if number else b"")
                before, *after = text.split(_HOLE)
                full.write(before.encode())
                self._write_segments(by_partition[partition.partition_id], full, files[SEGMENT_META])
                full.write("".join(after).encode())
            full.write(between.pop(0).encode())
        if level_zero:
            # Those of all partitions are here only.
            self._write_segments(level_zero, full)
            full.write(between.pop(0).encode())

    def _write_segments(self, segments: Iterable[Segment], full: IO[bytes], alone: IO[bytes] | None = None) -> None:
        """Write segments into an array of `FULL_META`, and add them to a file that has nothing else."""
        for number, segment in enumerate(segments):
            text = self._segment(segment)
            full.write(b"," if number else b"")
            full.write(text.encode())
            if alone is not None:
                _add(alone, text)

    def _segment(self, segment: Segment) -> Encoded:
        inserts: defaultdict[int, list[Encoded]] = defaultdict(list)
        deletes: list[Encoded] = []
        for item in self.objects.of(str(segment.segment_id)):
            key = log_of(item)
            binlog = message({"log_path": item.source_key, "log_size": item.size_bytes, "log_id": key.log_id})
            (inserts[key.field_id] if key.kind == INSERT_LOG else deletes).append(binlog)
        return message(
            {
                "segment_id": segment.segment_id,
                "collection_id": self._document.description.collection_id,
                "partition_id": segment.partition_id,
                "num_of_rows": segment.row_count,
                "binlogs": array(
                    message({"fieldID": field, "binlogs": array(inserts[field])}) for field in sorted(inserts)
                ),
                # One entry without a field, and an empty one where nothing was deleted: as from a listing.
                "deltalogs": array([message({"binlogs": array(deletes)})]),
                "size": self._sizes[segment.segment_id],
                "group_id": 0 if segment.partition_id == ALL_PARTITIONS else segment.segment_id,
                "is_l0": segment.level is SegmentLevel.L0,
                "v_channel": segment.virtual_channel,
                "storage_version": segment.storage_version,
            }
        )


def _add(file: IO[bytes], text: str) -> None:
    """Add an item to the array in a file."""
    file.write(b"," if file.tell() else b"")
    file.write(text.encode())


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

    def pieces(self, name: str, texts: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
        """Yield a file, by what `CollectionTexts` wrote of its collections, in their order.

        Args:
            name: Which file.
            texts: Each of one or of several collections, as pieces of a text: none is the end of one.
        """
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


def _array_file(key: str, before: str, after: str, texts: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
    """Yield a struct with one long array, which is left out where it is empty."""
    separator = f'{before}"{key}":['.encode()
    is_empty = True
    for pieces in texts:
        is_begun = False
        for piece in filter(None, pieces):
            if not is_begun:
                yield separator
                separator, is_begun, is_empty = b",", True, False
            yield piece
    yield f"{before}{after.removeprefix(',')}".encode() if is_empty else f"]{after}".encode()


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
