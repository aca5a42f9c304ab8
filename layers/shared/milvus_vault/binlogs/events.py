"""The envelope of storage version 1: a magic number, a descriptor, and events of which each carries a Parquet file."""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Self

from milvus_vault.errors import BinlogUnreadableError

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
    names_next: bool
    """Whether its header says where the next one begins."""
    first: int
    """The oldest timestamp in it; up to 2.4 only: 1 from 2.5 on."""
    last: int
    payload: memoryview

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
    events: tuple[Event, ...]


def read(body: bytes) -> Log:
    """Return what is in a file. Raises `BinlogUnreadableError`."""
    view = memoryview(body)
    if view[: len(MAGIC)] != MAGIC:
        msg = "it does not begin as a log of Milvus does"
        raise BinlogUnreadableError(msg)
    written, kind, _, descriptor = _event(view, len(MAGIC), _DESCRIPTOR.size + _LENGTHS + _SIZE.size)
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
    position = len(MAGIC) + _HEADER.size + len(descriptor)
    while position < len(view):
        at, kind, following, content = _event(view, position, _SPAN.size)
        first_in, last_in = _SPAN.unpack_from(content)
        events.append(Event(at, kind, following != _NO_POSITION, first_in, last_in, content[_SPAN.size :]))
        position += _HEADER.size + len(content)
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


def write(log: Log, events: Sequence[Event], share: tuple[int, int]) -> bytes:
    """Return the log with other events, which hold so many of so many (`share`) of its values."""
    last = min(log.last, max(event.last for event in events))
    kept, there = share
    extra = _ORIGINAL_SIZE.sub(lambda size: b"%d" % (int(size[0]) * kept // there), log.extra)
    fixed = _DESCRIPTOR.pack(*log.ids, log.field_id, log.first, last, log.data_type)
    described = fixed + log.lengths + _SIZE.pack(len(extra)) + extra
    length = _HEADER.size + len(described)
    position = len(MAGIC) + length
    parts = [MAGIC, _HEADER.pack(log.written, _DESCRIBES, length, position), described]
    for event in events:
        length = _HEADER.size + _SPAN.size + len(event.payload)
        position += length
        following = position if event.names_next else _NO_POSITION
        header = _HEADER.pack(event.written, event.kind, length, following) + _SPAN.pack(event.first, event.last)
        parts += header, bytes(event.payload)
    return b"".join(parts)
