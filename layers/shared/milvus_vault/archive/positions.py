"""The timestamps in two of Milvus' messages that milvus-backup keeps as bytes.

Read by their wire format: a restore must not need Milvus' client for it, which only adapters know.
"""

from collections.abc import Iterator

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5

_POSITION_TIMESTAMP = 4  # msg.MsgPosition.timestamp
_PROPERTIES = 3  # common.ImmutableMessage.properties, a map: entries of key (1) and value (2)
_TIME_TICK = b"_tt"
_BASE = 36


def position_timestamp(message: bytes) -> int:
    """Return the timestamp of a `msg.MsgPosition`. Raises `ValueError` where there is none."""
    for number, value in _fields(message):
        if number == _POSITION_TIMESTAMP and isinstance(value, int):
            return value
    msg = "a position without a timestamp"
    raise ValueError(msg)


def flush_timestamp(message: bytes) -> int:
    """Return the timestamp of the `common.ImmutableMessage` of a flush. Raises `ValueError` where there is none."""
    for number, value in _fields(message):
        if number == _PROPERTIES and isinstance(value, bytes):
            entry = dict(_fields(value))
            text = entry.get(2)
            if entry.get(1) == _TIME_TICK and isinstance(text, bytes):
                return int(text, _BASE)
    msg = "a message without a timestamp"
    raise ValueError(msg)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of a message."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield tag >> 3, value
            continue
        sizes = {_FIXED_64: 8, _FIXED_32: 4}
        if kind == _BYTES:
            size, place = _varint(message, place)
        elif kind in sizes:
            size = sizes[kind]
        else:
            msg = f"no message: wire type {kind}"
            raise ValueError(msg)
        if place + size > len(message):
            msg = "a message that ends too early"
            raise ValueError(msg)
        yield tag >> 3, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(message):
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a number
            return value, place
    msg = "a message that ends too early"
    raise ValueError(msg)
