"""The envelope of storage version 1: a magic number, a descriptor, and events of which each carries a Parquet file."""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Self

from milvus_vault.errors import BinlogUnreadableError

type Content = bytes | memoryview
"""Of a whole file."""

MAGIC = struct.pack("<i", 0xFFFABC)

_HEADER = struct.Struct("<QbiI")  # when written, kind, length of the event, position of the next
_DESCRIPTOR = struct.Struct("<qqqqQQi")  # collection, partition, segment, field, first and last timestamp, data type
_LENGTHS = 8  # a byte for each kind of event there is
_SIZE = struct.Struct("<i")
_SPAN = struct.Struct("<QQ")  # first and last timestamp
_DESCRIBES = 0
_NO_POSITION = 0xFFFFFFFF  # from 2.5 on
_ORIGINAL_SIZE = re.compile(rb'(?<="original_size":")[0-9]{1,18}(?=")')


class Kind(IntEnum):
    """What an event holds."""

    ROWS = 1
    DELETES = 2


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    written: int
    kind: int
    following: int
    """Where its header says that the next one begins; a number that is none from 2.5 on."""
    end: int
    """Where it ends."""
    first: int
    """The oldest timestamp in it; up to 2.4 only: 1 from 2.5 on."""
    last: int
    payload: memoryview

    @property
    def names_next(self) -> bool:
        """Return whether its header says where the next one begins."""
        return self.following != _NO_POSITION

    def with_payload(self, payload: bytes, last: int) -> Self:
        """Return the event with less in it: what is left ends at `last`."""
        return replace(self, last=min(self.last, last), payload=memoryview(payload))


@dataclass(frozen=True, slots=True)
class Log:
    """A whole file."""

    written: int
    ids: tuple[int, int, int]
    field_id: int
    first: int
    """As of an event, and 0 from 2.5 on."""
    last: int
    data_type: int
    lengths: bytes
    extra: bytes
    """A JSON document: how large the values are in memory, whether they may be null."""
    following: int
    """Where the descriptor's header says that the first event begins."""
    start: int
    """Where it begins."""
    events: tuple[Event, ...]


def contradictions(log: Log) -> Iterator[str]:
    """Yield what a log says of its own form that is not so, and that `read` does not need."""
    if log.following != log.start:
        yield f"its descriptor says that the next event begins at byte {log.following:,}, and it does at {log.start:,}"
    for event in log.events:
        if event.names_next and event.following != event.end:
            yield f"an event says that the next one begins at byte {event.following:,}, and it ends at {event.end:,}"
        if event.first > event.last:
            yield "an event says that it ends before it begins"
    if log.first > log.last:
        yield "it says that it ends before it begins"
    fixed = {_DESCRIBES: _DESCRIPTOR.size} | dict.fromkeys((event.kind for event in log.events), _SPAN.size)
    for kind, size in fixed.items():
        if not 0 <= kind < len(log.lengths) or log.lengths[kind] != size:
            yield f"its descriptor gives events of kind {kind} another length than {size}"


def read(body: Content) -> Log:
    """Return what is in a file. Raises `BinlogUnreadableError`."""
    view = memoryview(body)
    if view[: len(MAGIC)] != MAGIC:
        msg = "it does not begin as a log of Milvus does"
        raise BinlogUnreadableError(msg)
    written, kind, begins, descriptor = _event(view, len(MAGIC), _DESCRIPTOR.size + _LENGTHS + _SIZE.size)
    if kind != _DESCRIBES:
        msg = f"it begins with an event of kind {kind} instead of its descriptor"
        raise BinlogUnreadableError(msg)
    *ids, field_id, first, last, data_type = _DESCRIPTOR.unpack_from(descriptor)
    lengths = descriptor[_DESCRIPTOR.size :][:_LENGTHS]
    extra = descriptor[_DESCRIPTOR.size + _LENGTHS + _SIZE.size :]
    if _SIZE.unpack_from(descriptor, _DESCRIPTOR.size + _LENGTHS) != (len(extra),):
        msg = "its descriptor has another length than it says"
        raise BinlogUnreadableError(msg)
    events = []
    start = position = len(MAGIC) + _HEADER.size + len(descriptor)
    while position < len(view):
        at, kind, following, content = _event(view, position, _SPAN.size)
        first_in, last_in = _SPAN.unpack_from(content)
        position += _HEADER.size + len(content)
        events.append(Event(at, kind, following, position, first_in, last_in, content[_SPAN.size :]))
    if not events:
        msg = "it ends after its descriptor"
        raise BinlogUnreadableError(msg)
    collection, partition, segment = ids
    return Log(
        written,
        (collection, partition, segment),
        field_id,
        first,
        last,
        data_type,
        bytes(lengths),
        bytes(extra),
        begins,
        start,
        tuple(events),
    )


def _event(view: memoryview, position: int, least: int) -> tuple[int, int, int, memoryview]:
    """Return the event that begins there: when written, kind, position of the next, and what follows the header."""
    if len(view) < position + _HEADER.size:
        msg = f"it ends within the event at byte {position:,}"
        raise BinlogUnreadableError(msg)
    written, kind, length, following = _HEADER.unpack_from(view, position)
    if length < _HEADER.size + least:
        msg = f"the event at byte {position:,} says that it has {length:,} bytes, which is too few"
        raise BinlogUnreadableError(msg)
    if position + length > len(view):
        msg = f"the event at byte {position:,} has {length:,} bytes, and the log ends after {len(view):,}"
        raise BinlogUnreadableError(msg)
    return written, kind, following, view[position + _HEADER.size : position + length]


def cut(log: Log, events: Sequence[Event], share: tuple[int, int]) -> bytes:
    """Return the log with other events, which hold so many of so many (`share`) of its values."""
    last = min(log.last, max(event.last for event in events))
    kept, there = share
    return _written(replace(log, last=last, events=tuple(events)), lambda size: size * kept // there)


def join(logs: Sequence[Log], payload: bytes) -> bytes:
    """Return the first of some logs with one event, whose payload holds the values of all."""
    every = [event for log in logs for event in log.events]
    first, last = min(event.first for event in every), max(event.last for event in every)
    sizes = sum(int(size[0]) for log in logs if (size := _ORIGINAL_SIZE.search(log.extra)))
    whole = replace(
        logs[0],
        first=min(log.first for log in logs),
        last=max(log.last for log in logs),
        events=(replace(every[0], first=first, last=last, payload=memoryview(payload)),),
    )
    return _written(whole, lambda _: sizes)


def _written(log: Log, resized: Callable[[int], int]) -> bytes:
    """Return a log as a file, with another size of its values in memory."""
    extra = _ORIGINAL_SIZE.sub(lambda size: b"%d" % resized(int(size[0])), log.extra)
    fixed = _DESCRIPTOR.pack(*log.ids, log.field_id, log.first, log.last, log.data_type)
    described = fixed + log.lengths + _SIZE.pack(len(extra)) + extra
    length = _HEADER.size + len(described)
    position = len(MAGIC) + length
    parts = [MAGIC, _HEADER.pack(log.written, _DESCRIBES, length, position), described]
    for event in log.events:
        length = _HEADER.size + _SPAN.size + len(event.payload)
        position += length
        following = position if event.names_next else _NO_POSITION
        header = _HEADER.pack(event.written, event.kind, length, following) + _SPAN.pack(event.first, event.last)
        parts += header, bytes(event.payload)
    return b"".join(parts)
