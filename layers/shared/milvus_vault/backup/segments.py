"""Which objects make up a collection: its segments' insert logs and delta logs.

The rule that makes a list trustworthy: list the segments, list the objects, list the segments again. What
is in both answers was not yet replaced when its objects were listed, and garbage collection deletes only
objects of replaced segments; so all of its objects were there, delta logs too. Segments that came in
between are listed in the next pass.

A segment of deletes (L0) that goes away takes more with it: its deletes are by then in new delta logs of
segments that keep their IDs. So all segments are listed anew.
"""

import json
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import batched
from types import MappingProxyType

from milvus_vault.archive.layout import DELTA_LOG, LogKey, parse_log_key
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
from milvus_vault.ports import ObjectStore, Segments
from milvus_vault.source import MilvusStorage
from milvus_vault.spans import list_in_spans
from milvus_vault.tables import LISTED, listed_object, listed_row, open_tables, room_on_disk

_KEPT_TOGETHER = 1000
# A whole number of the adapter's calls.
_TOLD_TOGETHER = 1000
_DELETES = -1  # stands for the field of delta logs, which have none

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

    def all(self) -> list[ListedObject]:
        """Return all objects."""
        return [*self.insert_logs.values(), *self.delta_logs.values()]

    def rows(self) -> Iterator[tuple[int, int, ListedObject]]:
        """Yield field (or column group, `_DELETES` for delta logs), log and object of each."""
        yield from ((field_id, log_id, listed) for (field_id, log_id), listed in self.insert_logs.items())
        yield from ((_DELETES, log_id, listed) for log_id, listed in self.delta_logs.items())

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


# Numbers of keys may be larger than any that is a number in a table.
_LOGS = f"""
CREATE TABLE logs (segment TEXT, field TEXT, log TEXT, {LISTED});
CREATE INDEX by_segment ON logs (segment);
CREATE TABLE told (segment TEXT PRIMARY KEY, logs TEXT);
"""
_READ = "SELECT * FROM logs WHERE segment = ? ORDER BY rowid"


class Listing:
    """The logs that a listing of a collection found, on the function's disk: there may be millions."""

    def __init__(self) -> None:
        """Begin empty."""
        self._tables = open_tables(_LOGS)
        self._rows: list[tuple[str | int | None, ...]] = []
        self.partitions: dict[int, int] = {}
        """By segment of which there are logs, the partition of the first that was found."""
        self.channels: dict[int, str] = {}
        """Of segments whose logs the server has named."""
        self.has_archived = False
        """Whether any of the logs lies in an archive class of S3."""

    def ask(self, database: Segments, name: CollectionName, collection_id: int, segments: Sequence[int]) -> None:
        """Have the server name the logs of segments, as far as it does: `told` returns them."""
        for together in batched(segments, _TOLD_TOGETHER, strict=False):
            told = database.describe_segments(name.database, collection_id, together)
            self.channels |= {number: logs.virtual_channel for number, logs in told.items()}
            rows = (
                (str(number), json.dumps((sorted(logs.insert_logs), sorted(logs.delta_logs))))
                for number, logs in told.items()
            )
            with room_on_disk():
                self._tables.executemany("INSERT OR REPLACE INTO told VALUES (?, ?)", rows)

    def told(self, segment: int) -> SegmentLogs | None:
        """Return the logs that the server has named; None where it named none."""
        row = self._tables.execute("SELECT logs FROM told WHERE segment = ?", (str(segment),)).fetchone()
        if row is None:
            return None
        inserts, deletes = json.loads(row[0])
        insert_logs = frozenset((field_id, log_id) for field_id, log_id in inserts)
        return SegmentLogs(self.channels[segment], insert_logs, delta_logs=frozenset(deletes))

    def add(self, key: LogKey, listed: ListedObject) -> None:
        """Add a log that was listed."""
        self.partitions.setdefault(key.segment_id, key.partition_id)
        self._add(key.segment_id, _DELETES if key.kind == DELTA_LOG else key.field_id, key.log_id, listed)

    def _add(self, segment: int, field_id: int, log_id: int, listed: ListedObject) -> None:
        self.has_archived = self.has_archived or bool(listed.archive_class)
        self._rows.append((str(segment), str(field_id), str(log_id), *listed_row(listed)))
        if len(self._rows) == _KEPT_TOGETHER:
            self._keep()

    def _keep(self) -> None:
        if self._rows:
            with room_on_disk():
                self._tables.executemany("INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._rows)
            self._rows.clear()

    def read(self, segment: int) -> SegmentObjects:
        """Return the objects of a segment; none of one that has none."""
        self._keep()
        found = SegmentObjects()
        for _, of_field, log, *listed in self._tables.execute(_READ, (str(segment),)):
            if (field_id := int(of_field)) == _DELETES:
                found.delta_logs[int(log)] = listed_object(*listed)
            else:
                found.insert_logs[field_id, int(log)] = listed_object(*listed)
        return found

    def keep_only(self, segment: int, objects: SegmentObjects) -> None:
        """Forget all objects of a segment but these."""
        self._keep()
        self._tables.execute("DELETE FROM logs WHERE segment = ?", (str(segment),))
        for field_id, log_id, listed in objects.rows():
            self._add(segment, field_id, log_id, listed)


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """The objects of one segment, in a listing on the disk."""

    listing: Listing
    number: int
    has_deletes: bool
    """Whether there is a delta log."""
    only_deletes: bool = False
    """Whether its insert logs are of no account."""

    def read(self) -> SegmentObjects:
        """Return them."""
        found = self.listing.read(self.number)
        return SegmentObjects(delta_logs=found.delta_logs) if self.only_deletes else found


@dataclass(frozen=True, slots=True)
class CollectionObjects:
    """A collection's segments, and all their objects, which are read from the disk whenever they are asked for."""

    segments: tuple[Segment, ...]
    stored: tuple[StoredSegment, ...]
    replaced_deletes: tuple[ListedObject, ...] = ()
    """Delta logs of segments that are not among these: what a compaction may have applied to their rows for good."""
    uncounted: frozenset[int] = frozenset()
    """Segments that Milvus names no longer: how many rows they have, only their logs tell."""

    @property
    def objects(self) -> Iterator[ListedObject]:
        """Yield all objects, segment by segment; the same each time."""
        return (listed for segment in self.stored for listed in segment.read().all())

    @property
    def archived(self) -> Iterator[ListedObject]:
        """Yield those that cannot be read at once, since they lie in an archive class of S3."""
        stored = (segment for segment in self.stored if segment.listing.has_archived)
        return (listed for segment in stored for listed in segment.read().all() if listed.archive_class)

    @property
    def undeleted_row_count(self) -> int | None:
        """Return the number of rows where none is deleted; None where some may be."""
        if any(segment.has_deletes for segment in self.stored):
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
        stored = tuple(segment for segment in self.stored if segment.number in ids)
        return replace(self, segments=segments, stored=stored, uncounted=self.uncounted & ids)


def capture_objects(
    database: Segments,
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
    capture = _Capture(
        database,
        _Logs(store, storage, description.collection_id),
        description.name,
        description.collection_schema,
        since,
        can_be_older=can_be_older,
    )
    last = capture.begin()
    for _ in range(PASSES):
        last = capture.look(last)
        if last.is_settled:
            return capture.settled(last)
        time.sleep(PAUSE_SECONDS)
    raise capture.unsettled(last)


@dataclass(frozen=True, slots=True)
class _Logs:
    """Where a collection's insert logs and delta logs lie."""

    store: ObjectStore
    storage: MilvusStorage
    collection_id: int

    def list(
        self, wanted: Container[int] = (), below: Iterable[str] = ("",), homes: Mapping[int, int] = MappingProxyType({})
    ) -> Iterator[tuple[LogKey, ListedObject]]:
        """Yield all delta logs, which are few, and the insert logs below some folders.

        `homes` are segments that should be there, with their partitions: the more it knows, the sooner it has listed.

        Raises `VersionUnsupportedError` for a delta log whose name cannot be read, and for such an insert log of a
        wanted segment: without them deletes or rows would be lost.
        """
        deletes, inserts = self.storage.delta_logs(self.collection_id), self.storage.insert_logs(self.collection_id)
        for folder, names in ((deletes, ("",)), (inserts, below)):
            for listed in self._below(folder, names, homes):
                if key := parse_log_key(listed.key):
                    yield key, listed
                if key or listed.key.endswith("/"):
                    # The marker of a folder, as consoles make them.
                    continue
                segment = listed.key.removeprefix(folder).split("/")[1:2]
                if folder == deletes or (segment and segment[0].isdigit() and int(segment[0]) in wanted):
                    msg = f"s3://{self.storage.bucket}/{listed.key} is not named as Milvus {KNOWN} name their logs"
                    raise VersionUnsupportedError(msg, hint=NEWER_STORAGE_HINT)

    def of_segments(
        self, segments: Iterable[Segment], found: Listing, since: datetime | None, *, at_once: bool
    ) -> dict[LogKey, ListedObject]:
        """Add the objects of some segments to a listing, by listing the collection or each segment.

        Delta logs are listed as a whole each time: those of all segments that were written since a time are returned.
        """
        homes = {segment.segment_id: segment.partition_id for segment in segments}
        deletes = dict[LogKey, ListedObject]()
        if not homes:
            return deletes
        below = [""] if at_once else [f"{partition}/{segment}/" for segment, partition in homes.items()]
        for key, listed in self.list(homes, below, homes):
            if key.segment_id in homes:
                found.add(key, listed)
            if key.kind == DELTA_LOG and is_recent(listed, since):
                deletes[key] = listed
        return deletes

    def all(self, wanted: Container[int], homes: Mapping[int, int], found: Listing) -> None:
        """Add the logs of all segments to a listing. Raises as `list`."""
        for key, listed in self.list(wanted, homes=homes):
            found.add(key, listed)

    def replaced(self, logs: Iterable[tuple[LogKey, ListedObject]], captured: Container[int]) -> Iterator[ListedObject]:
        """Yield those delta logs of segments with rows that are not captured: a compaction or a drop replaced them.

        Those of L0 segments, which have no rows, were only moved into other delta logs.
        """
        has_rows: dict[int, bool] = {}
        for key, listed in logs:
            if key.segment_id in captured:
                continue
            if key.segment_id not in has_rows:
                folder = f"{self.storage.insert_logs(self.collection_id)}{key.partition_id}/{key.segment_id}/"
                has_rows[key.segment_id] = any(True for _ in self._below(folder, ("",)))
            if has_rows[key.segment_id]:
                yield listed

    def _below(
        self, folder: str, names: Iterable[str], homes: Mapping[int, int] = MappingProxyType({})
    ) -> Iterator[ListedObject]:
        def marks() -> Sequence[str]:
            return sorted(f"{folder}{partition}/{segment}/" for segment, partition in homes.items())

        for name in names:
            yield from list_in_spans(self.store, self.storage.bucket, folder + name, marks)


@dataclass(frozen=True, slots=True)
class _Pass:
    """What is known after a listing of objects between two of segments."""

    segments: Mapping[int, Segment]
    """As Milvus named them last."""
    whole: Mapping[int, StoredSegment] = field(default_factory=dict)
    """Those of them whose objects are all known."""
    torn: Mapping[int, StoredSegment] = field(default_factory=dict)
    """Those of them that were there all the time, and lack objects all the same."""
    channels: Mapping[int, str] = field(default_factory=dict)
    """Of segments whose logs the server has named."""
    deletes: Mapping[LogKey, ListedObject] = field(default_factory=dict)
    """The delta logs that any listing found, as far as they were written since the time that is asked for."""
    has_lost: bool = False
    """Whether a segment went, in this pass or before."""
    has_folded: bool = False
    """Whether a segment of deletes went in this pass, so that all others may have got new delta logs."""

    @property
    def is_settled(self) -> bool:
        return self.whole.keys() == self.segments.keys() and not self.has_folded

    @property
    def open(self) -> list[Segment]:
        """The segments whose objects are not known yet."""
        return [segment for number, segment in self.segments.items() if number not in self.whole]

    def then(self, segments: Mapping[int, Segment], found: "_Listed") -> "_Pass":
        """Return what is known after a listing of the open segments' objects, and of the segments once more."""
        # In both answers, and so listed when it was not yet replaced.
        stayed = self.segments.keys() & segments.keys()
        gone = self.segments.keys() - stayed
        has_folded = any(self.segments[number].level is SegmentLevel.L0 for number in gone)
        whole = _only({**self.whole, **found.whole}, stayed)
        return _Pass(
            segments=segments,
            whole={} if has_folded else whole,
            torn=_only(found.torn, stayed),
            channels={**self.channels, **found.channels},
            deletes={**self.deletes, **found.deletes},
            has_lost=self.has_lost or bool(gone),
            has_folded=has_folded,
        )


@dataclass(frozen=True, slots=True)
class _Listed:
    """What a listing of some segments' objects found."""

    whole: Mapping[int, StoredSegment]
    torn: Mapping[int, StoredSegment]
    channels: Mapping[int, str]
    deletes: Mapping[LogKey, ListedObject]
    """Delta logs of all segments that were written since the time that is asked for."""
    is_empty: bool
    """Whether none of the segments has any object."""


def _only(objects: Mapping[int, StoredSegment], numbers: Container[int]) -> dict[int, StoredSegment]:
    return {number: made_of for number, made_of in objects.items() if number in numbers}


@dataclass(frozen=True, slots=True)
class _Capture:
    """Looks at a collection, pass by pass."""

    database: Segments
    logs: _Logs
    name: CollectionName
    schema: CollectionSchema
    since: datetime | None
    """When the oldest deletes of replaced segments that are looked for were written; None: all are."""
    can_be_older: bool

    def begin(self) -> _Pass:
        segments = _list_segments(self.database, self.name)
        return _Pass(segments, has_lost=not segments)

    def look(self, last: _Pass) -> _Pass:
        """List the objects of the segments that are not known to be whole, then the segments again."""
        found = self._list(last.open, at_once=not last.whole or len(last.open) > SINGLY_LISTED_SEGMENTS)
        if not last.whole and found.is_empty and any(segment.row_count for segment in last.open):
            raise self.logs.storage.wrong(self.name, self.logs.collection_id)
        return last.then(_list_segments(self.database, self.name), found)

    def _list(self, segments: Sequence[Segment], *, at_once: bool) -> _Listed:
        ids = [segment.segment_id for segment in segments]
        found = Listing()
        found.ask(self.database, self.name, self.logs.collection_id, ids)
        deletes = self.logs.of_segments(segments, found, self.since, at_once=at_once)
        whole: dict[int, StoredSegment] = {}
        torn: dict[int, StoredSegment] = {}
        for segment in segments:
            number = segment.segment_id
            stored = _complete(self.schema, segment, found, self.can_be_older)
            if stored is None:
                torn[number] = StoredSegment(found, number, has_deletes=False)
            else:
                whole[number] = stored
        return _Listed(whole, torn, found.channels, deletes, is_empty=not found.partitions)

    def settled(self, last: _Pass) -> CollectionObjects:
        """Return what was captured. Of replaced segments, the deletes written since `since` are looked for."""
        # A segment whose rows are all deleted goes without another in its place, and is in no list then.
        there = self.logs.list(below=()) if last.has_lost else ()
        gone = {key: listed for key, listed in there if is_recent(listed, self.since)}
        deletes = {**last.deletes, **gone}
        return CollectionObjects(
            segments=tuple(_on_channel(last.segments[number], last.channels) for number in sorted(last.whole)),
            stored=tuple(last.whole[number] for number in sorted(last.whole)),
            replaced_deletes=tuple(self.logs.replaced(deletes.items(), last.whole)),
        )

    def unsettled(self, last: _Pass) -> SegmentTornError | SourceChangedError:
        """Return why the passes were not enough."""
        for number, stored in last.torn.items():
            rows = last.segments[number].row_count
            msg = f"segment {number} of {self.name} has {rows} row(s), and is not whole ({stored.read()})"
            hint = "Let MilvusRestUri be reached where Milvus has it (2.5.8 and newer), or compact the collection."
            return SegmentTornError(msg, hint=hint)
        msg = f"the segments of {self.name} kept changing while their objects were listed, {PASSES} times"
        return SourceChangedError(msg, hint="Back up again when fewer rows are written, or pause garbage collection.")


def capture_flushed(
    database: Segments,
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
    name, schema = description.name, description.collection_schema
    logs = _Logs(store, storage, description.collection_id)
    wanted = frozenset(point.segment_ids) | arrived
    listed_now = _list_segments(database, name)
    found = Listing()
    found.ask(database, name, description.collection_id, sorted(wanted))
    homes = {number: segment.partition_id for number, segment in listed_now.items()}
    logs.all(wanted | listed_now.keys(), homes, found)
    rows: dict[int, StoredSegment] = {}
    segments: list[Segment] = []
    for number in sorted(wanted & found.partitions.keys()):
        segment = listed_now.get(number) or _as_told_by_logs(schema, number, found)
        whole = _complete(schema, segment, found, can_be_older)
        if whole is None and number not in listed_now:
            # It was replaced, and garbage collection is taking it.
            return None
        if whole is None:
            msg = f"segment {number} of {name} is not whole ({found.read(number)})"
            raise SegmentTornError(msg, hint="Compact the collection, and back up again.")
        rows[number] = whole
        segments.append(_on_channel(segment, found.channels))
    if _has_lost(point, found.partitions, listed_now):
        return None
    others = _with_deletes(found, rows)
    # Asked for apart, because one segment that has gone refuses a whole batch.
    rest = (found.partitions.keys() - rows.keys()) & listed_now.keys()
    found.ask(database, name, description.collection_id, sorted(rest))
    segments += [_on_channel(_of_deletes(number, found), found.channels) for number in others]
    replaced = (
        listed
        for number, there in others.items()
        if number not in listed_now and found.read(number).insert_logs
        for listed in there.read().all()
    )
    return CollectionObjects(
        segments=tuple(sorted(segments, key=lambda segment: segment.segment_id)),
        stored=(*rows.values(), *others.values()),
        # What was replaced before the flush had its deletes before the flush wrote any rows.
        replaced_deletes=_until(_last_written(rows, point.segment_ids), replaced),
        uncounted=frozenset(rows.keys() - listed_now.keys()),
    )


def _as_told_by_logs(schema: CollectionSchema, number: int, found: Listing) -> Segment:
    """Return what the logs of a segment tell of it; its rows have to be counted."""
    there = found.read(number)
    if not there.insert_logs:
        return _of_deletes(number, found)
    version = PACKED_VERSION if is_packed(schema, there.logs_by_field()) else 0
    return Segment(segment_id=number, partition_id=found.partitions[number], row_count=0, storage_version=version)


def _of_deletes(number: int, found: Listing) -> Segment:
    return Segment(segment_id=number, partition_id=found.partitions[number], row_count=0, level=SegmentLevel.L0)


def _with_deletes(found: Listing, but: Container[int]) -> dict[int, StoredSegment]:
    """Return the other segments that have deletes, and of them no more than that."""
    others = (number for number in found.partitions if number not in but)
    return {
        number: StoredSegment(found, number, has_deletes=True, only_deletes=True)
        for number in others
        if found.read(number).delta_logs
    }


def _until(sealed: datetime | None, deletes: Iterable[ListedObject]) -> tuple[ListedObject, ...]:
    """Return the deletes that may have been written before the flush had written its last row."""
    return tuple(o for o in deletes if not (sealed and o.modified_at and o.modified_at > sealed))


def _has_lost(point: FlushPoint, found: Container[int], listed_now: Mapping[int, Segment]) -> bool:
    """Return whether nothing is left of a segment with rows that there was when a collection was flushed."""
    for number in point.segment_ids:
        # Of what the flush sealed, an empty segment leaves nothing behind; all others were there with their objects.
        was_empty = number in point.sealed_ids if number not in listed_now else not listed_now[number].row_count
        if number not in found and not was_empty:
            return True
    return False


def _on_channel(segment: Segment, channels: Mapping[int, str]) -> Segment:
    """Return a segment with its channel, where the server tells."""
    return segment.model_copy(update={"virtual_channel": channels.get(segment.segment_id, "")})


def _last_written(segments: Mapping[int, StoredSegment], numbers: Iterable[int]) -> datetime | None:
    """Return when the last row of some segments was written."""
    there = (segments[number].read() for number in numbers if number in segments)
    inserts = (listed for objects in there for listed in objects.insert_logs.values())
    return max((listed.modified_at for listed in inserts if listed.modified_at), default=None)


def _list_segments(database: Segments, name: CollectionName) -> dict[int, Segment]:
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


def _complete(schema: CollectionSchema, segment: Segment, found: Listing, can_be_older: bool) -> StoredSegment | None:
    """Return what makes up a segment; None where it lacks objects that it must have."""
    there, logs = found.read(segment.segment_id), found.told(segment.segment_id)
    made_of = there.only(logs) if logs is not None else there
    if made_of is None:
        return None
    counts, deletes = made_of.logs_by_field(), len(made_of.delta_logs)
    if lacking(schema, segment, counts, deletes, can_be_older=can_be_older):
        return None
    if made_of != there:
        found.keep_only(segment.segment_id, made_of)
    return StoredSegment(found, segment.segment_id, has_deletes=deletes > 0)


def is_recent(listed: ListedObject, since: datetime | None) -> bool:
    """Return whether an object may have been written since a time. None: whenever that was."""
    return since is None or listed.modified_at is None or listed.modified_at >= since
