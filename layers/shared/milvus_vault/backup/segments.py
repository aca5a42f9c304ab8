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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from milvus_vault.archive.layout import DELTA_LOG, LogKey, parse_log_key
from milvus_vault.errors import SegmentTornError, SourceChangedError, VersionUnsupportedError
from milvus_vault.model.collections import ALL_PARTITIONS, CollectionName, Segment, SegmentLevel, SegmentLogs
from milvus_vault.model.objects import ListedObject
from milvus_vault.ports import ObjectStore, VectorDatabase
from milvus_vault.source import MilvusStorage

# From 2.5 on every segment is replaced once, 0.2 to 0.8 s after its flush: two passes are normal there.
PASSES = 8
PAUSE_SECONDS = 0.5

# So many segments are listed one by one in a later pass; above it, one listing of the collection is cheaper.
SINGLY_LISTED_SEGMENTS = 50

# What a segment is made of from version 3 on is told by a manifest of its own.
NEWEST_STORAGE_VERSION = 2
_NEWER_STORAGE = (
    "Milvus 2.6.7 and newer write storage version 3 where common.storage.useLoonFFI is true; versions up to 2 can be"
    " backed up. Set it to false and write the collection anew, or leave it out."
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

    @property
    def is_even(self) -> bool:
        """Return whether each field has as many logs as the others; a torn segment has not."""
        return len(set(self._logs_by_field().values())) <= 1

    def __str__(self) -> str:
        """Return how many logs there are."""
        logs = ", ".join(f"{count} of field {number}" for number, count in sorted(self._logs_by_field().items()))
        return f"insert logs: {logs or 'none'}; delta logs: {len(self.delta_logs)}"

    def _logs_by_field(self) -> Counter[int]:
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

    @property
    def undeleted_row_count(self) -> int | None:
        """Return the number of rows where none is deleted; None where some may be."""
        keys = (parse_log_key(listed.key) for listed in self.objects)
        if any(key is not None and key.kind == DELTA_LOG for key in keys):
            return None
        return sum(segment.row_count for segment in self.segments)

    def within(self, partitions: set[int]) -> "CollectionObjects":
        """Return what lies in these partitions, and the deletes that lie in none (L0)."""
        kept = partitions | {ALL_PARTITIONS}
        segments = tuple(segment for segment in self.segments if segment.partition_id in kept)
        ids = {segment.segment_id for segment in segments}
        keys = ((listed, parse_log_key(listed.key)) for listed in self.objects)
        return CollectionObjects(segments, tuple(listed for listed, key in keys if key and key.segment_id in ids))


def capture_objects(
    database: VectorDatabase, store: ObjectStore, storage: MilvusStorage, name: CollectionName, collection_id: int
) -> CollectionObjects:
    """Return a collection's flushed segments with all their objects, as of one answer of the server.

    Raises `WrongRootPathError` where there are segments but no object at all, `VersionUnsupportedError` for a
    storage version that this release does not know, `SegmentTornError` for a segment that stays and never is whole,
    and `SourceChangedError` where segments are replaced faster than they can be listed.
    """
    whole: dict[int, SegmentObjects] = {}
    torn: dict[int, SegmentObjects] = {}
    channels: dict[int, str] = {}
    segments = _list_segments(database, name)
    for _ in range(PASSES):
        new = [segment for number, segment in segments.items() if number not in whole]
        told = database.describe_segments(name.database, collection_id, [segment.segment_id for segment in new])
        found = _list(store, storage, collection_id, new, at_once=not whole or len(new) > SINGLY_LISTED_SEGMENTS)
        if not whole and not found and any(segment.row_count for segment in new):
            raise storage.wrong(name, collection_id)
        for segment in new:
            logs = told.get(segment.segment_id)
            channels[segment.segment_id] = logs.virtual_channel if logs else ""
            if (objects := _complete(segment, found[segment.segment_id], logs)) is not None:
                whole[segment.segment_id] = objects
        before, segments = segments, _list_segments(database, name)
        # In both answers, and so listed when it was not yet replaced.
        torn = {number: found[number] for number in before if number in segments and number not in whole}
        has_folded = any(s.level is SegmentLevel.L0 and s.segment_id not in segments for s in before.values())
        whole = {} if has_folded else {number: objects for number, objects in whole.items() if number in segments}
        if whole.keys() == segments.keys() and not has_folded:
            return CollectionObjects(
                segments=tuple(
                    segments[number].model_copy(update={"virtual_channel": channels[number]})
                    for number in sorted(whole)
                ),
                objects=tuple(o for number in sorted(whole) for o in whole[number].all()),
            )
        time.sleep(PAUSE_SECONDS)
    for number, objects in torn.items():
        msg = f"segment {number} of {name} has {segments[number].row_count} row(s), and is not whole ({objects})"
        raise SegmentTornError(
            msg, hint="Let MilvusRestUri be reached where Milvus has it (2.5.8 and newer), or compact the collection."
        )
    msg = f"the segments of {name} kept changing while their objects were listed, {PASSES} times"
    raise SourceChangedError(msg, hint="Back up again when fewer rows are written, or pause garbage collection.")


def _list_segments(database: VectorDatabase, name: CollectionName) -> dict[int, Segment]:
    segments = {segment.segment_id: segment for segment in database.list_segments(name.database, name.name)}
    unknown = next((s for s in segments.values() if s.storage_version > NEWEST_STORAGE_VERSION), None)
    if unknown is not None:
        msg = f"segment {unknown.segment_id} of {name} has storage version {unknown.storage_version}"
        raise VersionUnsupportedError(msg, hint=_NEWER_STORAGE)
    return segments


def _complete(segment: Segment, objects: SegmentObjects, logs: SegmentLogs | None) -> SegmentObjects | None:
    """Return what makes up a segment; None where it lacks objects that it must have."""
    if logs is not None:
        return objects.only(logs)
    if segment.level is SegmentLevel.L0:
        return objects if objects.delta_logs else None
    return objects if objects.is_even and (objects.insert_logs or not segment.row_count) else None


def _list(
    store: ObjectStore, storage: MilvusStorage, collection_id: int, segments: Iterable[Segment], *, at_once: bool
) -> dict[int, SegmentObjects]:
    """Return the objects of some segments, by one listing of the collection or one of each segment."""
    homes = {segment.segment_id: segment.partition_id for segment in segments}
    found: dict[int, SegmentObjects] = defaultdict(SegmentObjects)
    if not homes:
        return found
    below = [""] if at_once else [f"{partition}/{segment}/" for segment, partition in homes.items()]
    for folder in (storage.delta_logs(collection_id), storage.insert_logs(collection_id)):
        for listed in _below(store, storage.bucket, folder, below):
            key = parse_log_key(listed.key)
            if key is None:
                _refuse_unknown(storage, folder, listed, homes)
            elif key.segment_id in homes:
                found[key.segment_id].add(key, listed)
    return found


def _refuse_unknown(storage: MilvusStorage, folder: str, listed: ListedObject, wanted: Iterable[int]) -> None:
    """Raise for an object of a wanted segment whose name says nothing: left out, its rows would be lost."""
    segment = listed.key[len(folder) :].split("/")[1:2]
    if segment and segment[0].isdigit() and int(segment[0]) in wanted:
        msg = f"s3://{storage.bucket}/{listed.key} is not named as Milvus 2.2 to 2.6 name their logs"
        raise VersionUnsupportedError(msg, hint=_NEWER_STORAGE)


def _below(store: ObjectStore, bucket: str, folder: str, names: list[str]) -> Iterator[ListedObject]:
    for name in names:
        yield from store.list_objects(bucket, folder + name)
