"""Values that Milvus keeps as messages of Protocol Buffers: arrays (`schema.ScalarField`) and defaults (`ValueField`).

Read by hand, since they are two flat messages, and whoever reads rows has no generated files of Milvus.
"""

import struct
from collections.abc import Iterable, Iterator

from milvus_vault.errors import BinlogUnreadableError

type Scalar = bool | int | float | str | bytes

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5  # wire types
_BOOL, _INT, _LONG, _FLOAT, _DOUBLE, _STRING, _RAW, _TIME = range(1, 9)  # members of either message
_MEMBERS = {1: _BOOL, 2: _INT, 3: _INT, 4: _INT, 5: _LONG, 10: _FLOAT, 11: _DOUBLE, 20: _STRING, 21: _STRING}
"""By type of element, where an array has them."""
ELEMENT_TYPES = frozenset(_MEMBERS)
"""Milvus' numbers of the types that arrays can have."""

_FIXED = {_FLOAT: (_FIXED_32, "<f"), _DOUBLE: (_FIXED_64, "<d")}
_BITS_A_BYTE, _MORE, _LONGEST_VARINT = 7, 0x80, 10
_SIGN, _MODULUS = 1 << 63, 1 << 64


def read_array(message: bytes, element_type: int) -> list[Scalar]:
    """Return the elements of an array. Raises `BinlogUnreadableError`.

    Args:
        message: Of `schema.ScalarField`; an empty one is an empty array.
        element_type: Number of Milvus' type: one of `ELEMENT_TYPES`.
    """
    wanted = _MEMBERS[element_type]
    found: list[Scalar] = []
    for number, _, content in _members(message):
        if number != wanted or not isinstance(content, bytes):
            msg = f"an array of elements of type {element_type} has member {number}"
            raise BinlogUnreadableError(msg)
        for _, wire, element in _members(content):
            if wire == _BYTES and isinstance(element, bytes) and wanted != _STRING:
                found += _packed(wanted, element)
            else:
                found.append(_value(wanted, element))
    return found


def read_default(message: bytes) -> Scalar | None:
    """Return the value of a default (`schema.ValueField`), None for none. Raises `BinlogUnreadableError`."""
    value = None
    for number, _, content in _members(message):
        value = _value(number, content)
    return value


def _value(member: int, content: int | bytes) -> Scalar:
    if member == _RAW and isinstance(content, bytes):
        return content
    if member == _STRING and isinstance(content, bytes):
        try:
            return content.decode()
        except UnicodeDecodeError as err:
            msg = f"a text in it is no UTF-8: {content[:80]!r}"
            raise BinlogUnreadableError(msg) from err
    if member in _FIXED and isinstance(content, bytes):
        layout = _FIXED[member][1]
        if len(content) == struct.calcsize(layout):
            value: float = struct.unpack(layout, content)[0]
            return value
    if member in {_BOOL, _INT, _LONG, _TIME} and isinstance(content, int):
        return bool(content) if member == _BOOL else _signed(content)
    msg = f"a value in it is of member {member}, and not of its form"
    raise BinlogUnreadableError(msg)


def _packed(member: int, content: bytes) -> Iterable[Scalar]:
    """Return the numbers that stand one behind the other. There are so many that each has no call of its own."""
    if member in _FIXED:
        layout = _FIXED[member][1]
        size = struct.calcsize(layout)
        if len(content) % size:
            msg = f"its last number has {len(content) % size} of {size} bytes"
            raise BinlogUnreadableError(msg)
        return struct.unpack(f"<{len(content) // size}{layout[1]}", content)
    numbers: list[int] = []
    value = shift = 0
    for byte in content:
        value |= (byte & ~_MORE) << shift
        if byte & _MORE:
            shift += _BITS_A_BYTE
            if shift == _BITS_A_BYTE * _LONGEST_VARINT:
                break
        else:
            numbers.append(value)
            value = shift = 0
    if shift:
        msg = f"a number in it has no end: {content[-_LONGEST_VARINT:]!r}"
        raise BinlogUnreadableError(msg)
    if member == _BOOL:
        return [value % _MODULUS != 0 for value in numbers]
    return [value if value < _SIGN else _signed(value % _MODULUS) for value in numbers]


def _signed(value: int) -> int:
    return value - _MODULUS if value & _SIGN else value


def _members(message: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Yield number, wire type and content of each member."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield number, wire, value
            continue
        size = {_FIXED_64: 8, _FIXED_32: 4}.get(wire, -1)
        if wire == _BYTES:
            size, position = _varint(message, position)
        if size < 0 or position + size > len(message):
            msg = f"member {number} of a value ends after it, or is of an unknown form"
            raise BinlogUnreadableError(msg)
        yield number, wire, message[position : position + size]
        position += size


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """Return the number that begins there, and where it has ended."""
    value = 0
    for index, byte in enumerate(content[position : position + _LONGEST_VARINT]):
        value |= (byte & ~_MORE) << (_BITS_A_BYTE * index)
        if not byte & _MORE:
            return value % _MODULUS, position + index + 1
    msg = f"a number in it has no end: {content[position : position + _LONGEST_VARINT]!r}"
    raise BinlogUnreadableError(msg)
