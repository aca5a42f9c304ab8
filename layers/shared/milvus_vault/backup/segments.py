"""Which objects make up a collection: its segments' insert logs and delta logs.

The rule that makes a list trustworthy: list the segments, list the objects, list the segments again. What
is in both answers was not yet replaced when its objects were listed, and garbage collection deletes only
objects of replaced segments; so all of its objects were there, delta logs too. Segments that came in
between are listed in the next pass.

A segment of deletes (L0) that goes away takes more with it: its deletes are by then in new delta logs of
segments that keep their IDs. So all segments are listed anew.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from milvus_vault.archive.layout import DELTA_LOG, INSERT_LOG, LogKey, parse_log_key
from milvus_vault.archive.segment_logs import is_packed, lacking
from milvus_vault.errors import SegmentTornError, SourceChangedError, VersionUnsupportedError
from milvus_vault.model.collections import (
    ALL_PARTITIONS,
    CollectionDescription,
    CollectionName,
    CollectionSchema,
    Segment,
    SegmentLevel,
    SegmentLogs,
)
from milvus_vault.model.flushes import FlushPoint
from milvus_vault.model.objects import ListedObject
from milvus_vault.model.versions import KNOWN, NEWER_STORAGE, NEWEST_STORAGE_VERSION, PACKED_VERSION
from milvus_vault.ports import ObjectStore, VectorDatabase
from milvus_vault.source import MilvusStorage

# From 2.5 on every segment is replaced once, 0.2 to 0.8 s after its flush: two passes are normal there.
PASSES = 8
PAUSE_SECONDS = 0.5

# So many segments are listed one by one in a later pass; above it, one listing of the collection is cheaper.
SINGLY_LISTED_SEGMENTS = 50

NEWER_STORAGE_HINT = (
    f"{NEWER_STORAGE}; versions up to {NEWEST_STORAGE_VERSION} can be backed up. Set it to false and write the"
    " collection anew, or leave it out."
)


@dataclass(slots=True)
class SegmentObjects:
    """The objects of one segment."""

    insert_logs: dict[tuple[int, int], ListedObject] = field(default_factory=dict)
    """By field (or column group) and log."""
    delta_logs: dict[int, ListedObject] = field(default_factory=dict)
    """By log."""

    def add(self, key: LogKey, listed: ListedObject) -> None:
        """Add an object that was listed."""
        if key.kind == DELTA_LOG:
            self.delta_logs[key.log_id] = listed
        else:
            self.insert_logs[key.field_id, key.log_id] = listed

    def all(self) -> list[ListedObject]:
        """Return all objects."""
        return [*self.insert_logs.values(), *self.delta_logs.values()]

    def __str__(self) -> str:
        """Return how many logs there are."""
        logs = ", ".join(f"{count} of field {number}" for number, count in sorted(self.logs_by_field().items()))
        return f"insert logs: {logs or 'none'}; delta logs: {len(self.delta_logs)}"

    def logs_by_field(self) -> Counter[int]:
        """Return how many insert logs each field, or column group, has."""
        return Counter(field_id for field_id, _ in self.insert_logs)

    def only(self, logs: SegmentLogs) -> "SegmentObjects | None":
        """Return the objects that the server names; None where one of them is not there."""
        if not logs.insert_logs <= self.insert_logs.keys() or not logs.delta_logs <= self.delta_logs.keys():
            return None
        return SegmentObjects(
            {key: self.insert_logs[key] for key in sorted(logs.insert_logs)},
            {log: self.delta_logs[log] for log in sorted(logs.delta_logs)},
        )


@dataclass(frozen=True, slots=True)
class CollectionObjects:
    """A collection's segments, and all their objects."""

    segments: tuple[Segment, ...]
    objects: tuple[ListedObject, ...]
    replaced_deletes: tuple[ListedObject, ...] = ()
    """Delta logs of segments that are not among these: what a compaction may have applied to their rows for good."""
    uncounted: frozenset[int] = frozenset()
    """Segments that Milvus names no longer: how many rows they have, only their logs tell."""

    @property
    def undeleted_row_count(self) -> int | None:
        """Return the number of rows where none is deleted; None where some may be."""
        keys = (parse_log_key(listed.key) for listed in self.objects)
        if any(key is not None and key.kind == DELTA_LOG for key in keys):
            return None
        return sum(segment.row_count for segment in self.segments)

    @property
    def is_told(self) -> bool:
        """Return whether Milvus named the logs of all segments, so that no listing can have left one out."""
        return all(segment.virtual_channel for segment in self.segments)

    def within(self, partitions: set[int]) -> "CollectionObjects":
        """Return what lies in these partitions, and the deletes that lie in none (L0)."""
        kept = partitions | {ALL_PARTITIONS}
        segments = tuple(segment for segment in self.segments if segment.partition_id in kept)
        ids = {segment.segment_id for segment in segments}
        keys = ((listed, parse_log_key(listed.key)) for listed in self.objects)
        objects = tuple(listed for listed, key in keys if key and key.segment_id in ids)
        return replace(self, segments=segments, objects=objects, uncounted=self.uncounted & ids)


def capture_objects(
    database: VectorDatabase,
    store: ObjectStore,
    storage: MilvusStorage,
    description: CollectionDescription,
    since: datetime | None = None,
    *,
    can_be_older: bool = True,
) -> CollectionObjects:
    """Return a collection's flushed segments with all their objects, as of one answer of the server.

    `can_be_older` is whether segments may be older than nullable fields of the schema, as `adds_fields` says.
    Of segments that were replaced, the delta logs that were written since a time are looked for; by default all.
    Raises `WrongRootPathError` where there are segments but no object at all, `VersionUnsupportedError` for a
    storage version that this release does not know, `SegmentTornError` for a segment that stays and never is whole,
    and `SourceChangedError` where segments are replaced faster than they can be listed.
    """
    name, collection_id, schema = description.name, description.collection_id, description.collection_schema
    whole: dict[int, SegmentObjects] = {}
    torn: dict[int, SegmentObjects] = {}
    told_of: dict[int, SegmentLogs] = {}
    deletes: dict[LogKey, ListedObject] = {}
    segments = _list_segments(database, name)
    has_lost = not segments
    for _ in range(PASSES):
        new = [segment for number, segment in segments.items() if number not in whole]
        told = database.describe_segments(name.database, collection_id, [segment.segment_id for segment in new])
        told_of |= told
        at_once = not whole or len(new) > SINGLY_LISTED_SEGMENTS
        found = _list(store, storage, collection_id, new, deletes, at_once=at_once)
        if not whole and not found and any(segment.row_count for segment in new):
            raise storage.wrong(name, collection_id)
        for segment in new:
            logs = told.get(segment.segment_id)
            if (objects := _complete(schema, segment, found[segment.segment_id], logs, can_be_older)) is not None:
                whole[segment.segment_id] = objects
        before, segments = segments, _list_segments(database, name)
        # In both answers, and so listed when it was not yet replaced.
        torn = {number: found[number] for number in before if number in segments and number not in whole}
        has_lost = has_lost or not before.keys() <= segments.keys()
        has_folded = any(s.level is SegmentLevel.L0 and s.segment_id not in segments for s in before.values())
        whole = {} if has_folded else {number: objects for number, objects in whole.items() if number in segments}
        if whole.keys() == segments.keys() and not has_folded:
            if has_lost:
                # A segment whose rows are all deleted goes without another in its place, and is in no list then.
                deletes |= dict(_logs(store, storage, collection_id, below=()))
            return CollectionObjects(
                segments=tuple(_on_channel(segments[number], told_of.get(number)) for number in sorted(whole)),
                objects=tuple(o for number in sorted(whole) for o in whole[number].all()),
                replaced_deletes=tuple(_replaced(store, storage, collection_id, _written_since(deletes, since), whole)),
            )
        time.sleep(PAUSE_SECONDS)
    for number, objects in torn.items():
        msg = f"segment {number} of {name} has {segments[number].row_count} row(s), and is not whole ({objects})"
        raise SegmentTornError(
            msg, hint="Let MilvusRestUri be reached where Milvus has it (2.5.8 and newer), or compact the collection."
        )
    msg = f"the segments of {name} kept changing while their objects were listed, {PASSES} times"
    raise SourceChangedError(msg, hint="Back up again when fewer rows are written, or pause garbage collection.")


def capture_flushed(
    database: VectorDatabase,
    store: ObjectStore,
    storage: MilvusStorage,
    description: CollectionDescription,
    point: FlushPoint,
    *,
    arrived: frozenset[int] = frozenset(),
    can_be_older: bool = True,
) -> CollectionObjects | None:
    """Return the segments that there were when a collection was flushed, though they may have been replaced since.

    Their objects stay until garbage collection, so that a compaction after the flush, which may have applied deletes
    that are newer than the moment, is of no account. `arrived` are segments that another flush has sealed since.

    Deletes are taken from wherever they lie, as L0 segments: of segments that have replaced others, and of L0 segments
    that were folded. One that is there twice deletes once. None where garbage collection has taken a segment already.
    Raises `SegmentTornError` and `VersionUnsupportedError`.
    """
    name, collection_id, schema = description.name, description.collection_id, description.collection_schema
    flushed = frozenset(point.segment_ids)
    listed_now = _list_segments(database, name)
    told = database.describe_segments(name.database, collection_id, sorted(flushed | arrived))
    found = _list_all(store, storage, collection_id, flushed | arrived | listed_now.keys())
    segments: list[Segment] = []
    objects: list[ListedObject] = []
    for number in sorted((flushed | arrived) & found.keys()):
        there, logs = found.pop(number), told.get(number)
        segment = listed_now.get(number) or there.segment(schema, number)
        whole = _complete(schema, segment, there.objects, logs, can_be_older)
        if whole is None and number not in listed_now:
            # It was replaced, and garbage collection is taking it.
            return None
        if whole is None:
            msg = f"segment {number} of {name} is not whole ({there.objects})"
            raise SegmentTornError(msg, hint="Compact the collection, and back up again.")
        segments.append(_on_channel(segment, logs))
        objects += whole.all()
    taken = {segment.segment_id for segment in segments}
    # Of what the flush sealed, an empty segment leaves nothing behind; all others were there with their objects.
    lost = flushed - taken - (frozenset(point.sealed_ids) - listed_now.keys())
    if any(number not in listed_now or listed_now[number].row_count for number in lost):
        return None
    sealed = _last_written(objects, flushed)
    # Asked for apart, because one segment that has gone refuses a whole batch.
    told = database.describe_segments(name.database, collection_id, sorted(found.keys() & listed_now.keys()))
    replaced = []
    for number, there in found.items():
        deletes = list(there.objects.delta_logs.values())
        if deletes:
            alone = _Found(there.partition_id, SegmentObjects(delta_logs=there.objects.delta_logs))
            segments.append(_on_channel(alone.segment(schema, number), told.get(number)))
            objects += deletes
        if there.objects.insert_logs and number not in listed_now:
            # What was replaced before the flush had its deletes before the flush wrote any rows.
            replaced += [o for o in deletes if not (sealed and o.modified_at and o.modified_at > sealed)]
    return CollectionObjects(
        segments=tuple(sorted(segments, key=lambda segment: segment.segment_id)),
        objects=tuple(objects),
        replaced_deletes=tuple(replaced),
        uncounted=frozenset(number for number in taken if number not in listed_now),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """A segment as its objects tell of it."""

    partition_id: int
    objects: SegmentObjects

    def segment(self, schema: CollectionSchema, number: int) -> Segment:
        """Return what is known of it; its rows have to be counted."""
        if not self.objects.insert_logs:
            return Segment(segment_id=number, partition_id=self.partition_id, row_count=0, level=SegmentLevel.L0)
        version = PACKED_VERSION if is_packed(schema, self.objects.logs_by_field()) else 0
        return Segment(segment_id=number, partition_id=self.partition_id, row_count=0, storage_version=version)


def _on_channel(segment: Segment, logs: SegmentLogs | None) -> Segment:
    """Return a segment with its channel, where the server tells."""
    return segment.model_copy(update={"virtual_channel": logs.virtual_channel if logs else ""})


def _last_written(objects: Iterable[ListedObject], segments: Container[int]) -> datetime | None:
    """Return when the last row of some segments was written."""
    keys = ((listed.modified_at, parse_log_key(listed.key)) for listed in objects)
    written = (at for at, key in keys if key and key.kind == INSERT_LOG and key.segment_id in segments)
    return max((at for at in written if at), default=None)


def _list_all(
    store: ObjectStore, storage: MilvusStorage, collection_id: int, wanted: Container[int]
) -> dict[int, _Found]:
    """Return all segments of which there are objects."""
    found: dict[int, _Found] = {}
    for key, listed in _logs(store, storage, collection_id, wanted):
        found.setdefault(key.segment_id, _Found(key.partition_id, SegmentObjects())).objects.add(key, listed)
    return found


def _list_segments(database: VectorDatabase, name: CollectionName) -> dict[int, Segment]:
    segments = {segment.segment_id: segment for segment in database.list_segments(name.database, name.name)}
    if newer := newer_storage(name, segments.values()):
        raise VersionUnsupportedError(newer, hint=NEWER_STORAGE_HINT)
    return segments


def newer_storage(name: CollectionName, segments: Iterable[Segment]) -> str:
    """Return which segments of a collection are of a storage version that this release does not know, in words."""
    newer = [segment for segment in segments if segment.storage_version > NEWEST_STORAGE_VERSION]
    if not newer:
        return ""
    # The setting is in the message, too: what a failed collection leaves in a backup is without a hint.
    first = f"{len(newer)} segment(s) of {name}, as {newer[0].segment_id}, have storage version"
    return f"{first} {newer[0].storage_version}: {NEWER_STORAGE}"


def _complete(
    schema: CollectionSchema, segment: Segment, objects: SegmentObjects, logs: SegmentLogs | None, can_be_older: bool
) -> SegmentObjects | None:
    """Return what makes up a segment; None where it lacks objects that it must have."""
    made_of = objects.only(logs) if logs is not None else objects
    if made_of is None:
        return None
    counts, deletes = made_of.logs_by_field(), len(made_of.delta_logs)
    return None if lacking(schema, segment, counts, deletes, can_be_older=can_be_older) else made_of


def _list(
    store: ObjectStore,
    storage: MilvusStorage,
    collection_id: int,
    segments: Iterable[Segment],
    deletes: dict[LogKey, ListedObject],
    *,
    at_once: bool,
) -> dict[int, SegmentObjects]:
    """Return the objects of some segments, by one listing of the collection or one of each segment.

    Delta logs are few, and listed as a whole each time: those of all segments are added to `deletes`.
    """
    homes = {segment.segment_id: segment.partition_id for segment in segments}
    found: dict[int, SegmentObjects] = defaultdict(SegmentObjects)
    if not homes:
        return found
    below = [""] if at_once else [f"{partition}/{segment}/" for segment, partition in homes.items()]
    for key, listed in _logs(store, storage, collection_id, homes, below):
        if key.segment_id in homes:
            found[key.segment_id].add(key, listed)
        if key.kind == DELTA_LOG:
            deletes[key] = listed
    return found


def _logs(
    store: ObjectStore,
    storage: MilvusStorage,
    collection_id: int,
    wanted: Container[int] = (),
    below: Iterable[str] = ("",),
) -> Iterator[tuple[LogKey, ListedObject]]:
    """Yield all delta logs of a collection, which are few, and its insert logs below some folders.

    Raises `VersionUnsupportedError` for a delta log whose name says nothing, and for such an insert log of a wanted
    segment: left out, deletes or rows would be lost.
    """
    deletes, inserts = storage.delta_logs(collection_id), storage.insert_logs(collection_id)
    for folder, names in ((deletes, ("",)), (inserts, below)):
        for listed in _below(store, storage.bucket, folder, names):
            if key := parse_log_key(listed.key):
                yield key, listed
            if key or listed.key.endswith("/"):
                # The marker of a folder, as consoles make them.
                continue
            segment = listed.key.removeprefix(folder).split("/")[1:2]
            if folder == deletes or (segment and segment[0].isdigit() and int(segment[0]) in wanted):
                msg = f"s3://{storage.bucket}/{listed.key} is not named as Milvus {KNOWN} name their logs"
                raise VersionUnsupportedError(msg, hint=NEWER_STORAGE_HINT)


def _written_since(
    logs: Mapping[LogKey, ListedObject], since: datetime | None
) -> Iterator[tuple[LogKey, ListedObject]]:
    return ((k, o) for k, o in logs.items() if since is None or o.modified_at is None or o.modified_at >= since)


def _replaced(
    store: ObjectStore,
    storage: MilvusStorage,
    collection_id: int,
    others: Iterable[tuple[LogKey, ListedObject]],
    captured: Container[int],
) -> Iterator[ListedObject]:
    """Yield the delta logs of segments with rows that are not captured: a compaction or a drop has replaced them.

    Those of L0 segments, which have no rows, were only moved into other delta logs.
    """
    has_rows: dict[int, bool] = {}
    for key, listed in others:
        if key.segment_id in captured:
            continue
        if key.segment_id not in has_rows:
            folder = f"{storage.insert_logs(collection_id)}{key.partition_id}/{key.segment_id}/"
            has_rows[key.segment_id] = next(store.list_objects(storage.bucket, folder), None) is not None
        if has_rows[key.segment_id]:
            yield listed


def _below(store: ObjectStore, bucket: str, folder: str, names: Iterable[str]) -> Iterator[ListedObject]:
    for name in names:
        yield from store.list_objects(bucket, folder + name)
