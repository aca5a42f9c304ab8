"""Which objects make up a collection: its segments' insert logs and delta logs.

The rule that makes a list trustworthy: list the segments, list the objects, list the segments again. What
is in both answers was not yet replaced when its objects were listed, and garbage collection deletes only
objects of replaced segments; so all of its objects were there, delta logs too. Segments that came in
between are listed in the next pass.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from milvus_vault.archive.layout import DELTA_LOG, parse_log_key
from milvus_vault.errors import SourceChangedError, VersionUnsupportedError
from milvus_vault.model.collections import ALL_PARTITIONS, CollectionName, Segment, SegmentLevel
from milvus_vault.model.objects import ListedObject
from milvus_vault.ports import ObjectStore, VectorDatabase
from milvus_vault.source import MilvusStorage

# From 2.5 on every segment is replaced once, 0.2 to 0.8 s after its flush: two passes are normal there.
PASSES = 8
PAUSE_SECONDS = 0.5

# So many segments are listed one by one in a later pass; above it, one listing of the collection is cheaper.
SINGLY_LISTED_SEGMENTS = 50


@dataclass(slots=True)
class SegmentObjects:
    """The objects of one segment."""

    insert_logs: list[ListedObject] = field(default_factory=list)
    delta_logs: list[ListedObject] = field(default_factory=list)
    logs_by_field: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def all(self) -> list[ListedObject]:
        """Return all objects."""
        return [*self.insert_logs, *self.delta_logs]

    @property
    def is_even(self) -> bool:
        """Return whether each field has as many logs as the others; a torn segment has not."""
        return len(set(self.logs_by_field.values())) <= 1


@dataclass(frozen=True, slots=True)
class CollectionObjects:
    """A collection's segments, and all their objects."""

    segments: tuple[Segment, ...]
    objects: tuple[ListedObject, ...]

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

    Raises `WrongRootPathError` where there are segments but no object at all, and `SourceChangedError` where
    segments are replaced faster than they can be listed.
    """
    whole: dict[int, SegmentObjects] = {}
    segments = _by_id(database.list_segments(name.database, name.name))
    for _ in range(PASSES):
        new = [segment for number, segment in segments.items() if number not in whole]
        found = _list(store, storage, collection_id, new, at_once=not whole or len(new) > SINGLY_LISTED_SEGMENTS)
        if not whole and not found and any(segment.row_count for segment in new):
            raise storage.wrong(name, collection_id)
        whole |= {s.segment_id: found[s.segment_id] for s in new if not _is_torn(s, found[s.segment_id])}
        segments = _by_id(database.list_segments(name.database, name.name))
        whole = {number: objects for number, objects in whole.items() if number in segments}
        if whole.keys() == segments.keys():
            return CollectionObjects(
                segments=tuple(segments[number] for number in sorted(whole)),
                objects=tuple(o for number in sorted(whole) for o in whole[number].all()),
            )
        time.sleep(PAUSE_SECONDS)
    msg = f"the segments of {name} kept changing while their objects were listed, {PASSES} times"
    raise SourceChangedError(msg, hint="Back up again when fewer rows are written, or pause garbage collection.")


def _by_id(segments: Iterable[Segment]) -> dict[int, Segment]:
    return {segment.segment_id: segment for segment in segments}


def _is_torn(segment: Segment, objects: SegmentObjects) -> bool:
    """Return whether a segment lacks objects that it must have."""
    if segment.level is SegmentLevel.L0:
        return not objects.delta_logs
    return not objects.is_even or (segment.row_count > 0 and not objects.insert_logs)


def _list(
    store: ObjectStore, storage: MilvusStorage, collection_id: int, segments: list[Segment], *, at_once: bool
) -> dict[int, SegmentObjects]:
    """Return the objects of some segments, by one listing of the collection or one of each segment."""
    wanted = {segment.segment_id for segment in segments}
    found: dict[int, SegmentObjects] = defaultdict(SegmentObjects)
    if not wanted:
        return found
    below = [""] if at_once else [f"{segment.partition_id}/{segment.segment_id}/" for segment in segments]
    for folder in (storage.delta_logs(collection_id), storage.insert_logs(collection_id)):
        for listed in _below(store, storage.bucket, folder, below):
            key = parse_log_key(listed.key)
            if key is None:
                _refuse_unknown(storage, folder, listed, wanted)
            elif key.segment_id not in wanted:
                continue
            elif key.kind == DELTA_LOG:
                found[key.segment_id].delta_logs.append(listed)
            else:
                found[key.segment_id].insert_logs.append(listed)
                found[key.segment_id].logs_by_field[key.field_id] += 1
    return found


def _refuse_unknown(storage: MilvusStorage, folder: str, listed: ListedObject, wanted: set[int]) -> None:
    """Raise for an object of a wanted segment whose name says nothing: left out, its rows would be lost."""
    segment = listed.key[len(folder) :].split("/")[1:2]
    if segment and segment[0].isdigit() and int(segment[0]) in wanted:
        msg = f"s3://{storage.bucket}/{listed.key} is not named as Milvus 2.2 to 2.6 name their logs"
        raise VersionUnsupportedError(msg, hint="This release cannot back up this storage version.")


def _below(store: ObjectStore, bucket: str, folder: str, names: list[str]) -> Iterator[ListedObject]:
    for name in names:
        yield from store.list_objects(bucket, folder + name)
