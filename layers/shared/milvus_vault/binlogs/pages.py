"""How large the row groups and the pages of a Parquet file are, read before anything of them is unpacked.

The footer and the header of each page are structs in Thrift's compact protocol. They are read here and not by pyarrow,
which tells nothing of pages: 26.0.1 ends the process where it is asked for the description of a column in some damaged
footers, since nothing catches what `parquet` throws there. To read the column raises an error, as it should.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_TRUE, _FALSE, _BYTE, _SHORT, _INT, _LONG, _DOUBLE, _BINARY, _LIST, _SET = range(1, 11)
_STRUCT = 12
_NUMBERS = (_SHORT, _INT, _LONG)
_DEEPEST = 16
_GOES_ON = 0x80  # the bit of a byte of a number that has more bytes
_MANY = 15  # the length of a list in its first byte, where it has one of its own
_BITS = 63

_TAIL = 8  # bytes at the end of a file: the size of its footer, and its magic
_LARGEST_FOOTER = 1 << 23  # and no header of a page is larger
_ROW_GROUPS = 4  # of the footer
_COLUMNS, _SIZE = 1, 2  # of a row group
_DESCRIBED = 3  # of a column
_COLUMN_SIZE, _FIRST_PAGE, _DICTIONARY_PAGE = 7, 9, 11  # of its description
_UNPACKED, _STORED = 2, 3  # of the header of a page


class _WrongError(Exception):
    """Bytes are not what they should be."""


@dataclass(frozen=True, slots=True)
class _Column:
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Some rows of a file."""

    size_bytes: int
    """Of all pages, unpacked, as the footer says."""
    columns: tuple[_Column, ...]


def row_groups(content: memoryview) -> tuple[RowGroup, ...]:
    """Return the row groups of a file, as its footer has them. Raises `ValueError`."""
    size = int.from_bytes(content[-_TAIL : -_TAIL // 2], "little")
    if size > min(_LARGEST_FOOTER, len(content) - _TAIL):
        msg = f"its footer of {size:,} bytes is larger than one can be"
        raise ValueError(msg)
    with _naming("its footer"):
        footer, _ = _struct(content[-_TAIL - size : -_TAIL], 0, 0)
        return tuple(_group(found) for found in footer.get(_ROW_GROUPS, []))


def _group(found: dict[int, object]) -> RowGroup:
    columns = found[_COLUMNS]
    size = found.get(_SIZE)
    if not isinstance(columns, list) or not isinstance(size, int):
        raise _WrongError
    return RowGroup(size, tuple(_column(column[_DESCRIBED]) for column in columns))


def _column(found: dict[int, int]) -> _Column:
    start = min(place for place in (found.get(_DICTIONARY_PAGE), found[_FIRST_PAGE]) if place)
    return _Column(start, start + found[_COLUMN_SIZE])


def page_sizes(content: memoryview) -> Iterator[int]:
    """Yield the bytes of each page of a file, unpacked. Raises `ValueError` where pages do not fill a column."""
    for group in row_groups(content):
        for column in group.columns:
            place = column.start
            while place < column.end:
                with _naming(f"the header of the page at byte {place:,}"):
                    header, size = _struct(content[place : place + _LARGEST_FOOTER], 0, 0)
                    place += size
                    unpacked, stored = header[_UNPACKED], header[_STORED]
                    if unpacked < 0 or stored < 0:
                        raise _WrongError
                    place += stored
                yield unpacked
            if place != column.end:
                msg = f"the pages of a column end at byte {place:,}, and it does at {column.end:,}"
                raise ValueError(msg)


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Turn everything that comes of a wrong struct into a `ValueError`: a number where there should be a list, too."""
    try:
        yield
    except (_WrongError, IndexError, KeyError, TypeError, AttributeError, ValueError) as err:
        msg = f"{what} is none"
        raise ValueError(msg) from err


def _struct(content: memoryview, place: int, depth: int) -> tuple[dict[int, Any], int]:
    """Return the members of a struct by their numbers, and where it ends."""
    if depth > _DEEPEST:
        raise _WrongError
    found: dict[int, Any] = {}
    member = 0
    while head := content[place]:
        place += 1
        if head >> 4:
            member += head >> 4
        else:
            member, place = _number(content, place)
        kind = head & 15
        if kind in {_TRUE, _FALSE}:
            found[member] = kind == _TRUE
        else:
            found[member], place = _value(content, place, kind, depth)
    return found, place + 1


def _value(content: memoryview, place: int, kind: int, depth: int) -> tuple[Any, int]:
    """Return a value, None for one of a kind that nobody asks for, and where it ends."""
    if kind in _NUMBERS:
        return _number(content, place)
    if kind == _STRUCT:
        return _struct(content, place, depth + 1)
    if kind == _BINARY:
        size, place = _unsigned(content, place)
        return None, place + size
    if kind in {_LIST, _SET}:
        head = content[place]
        size, place = (head >> 4, place + 1) if head >> 4 != _MANY else _unsigned(content, place + 1)
        if size > len(content) - place:  # each has a byte at least: no length keeps us here for long
            raise _WrongError
        values = []
        for _ in range(size):
            value, place = _value(content, place, head & 15, depth + 1)
            values.append(value)
        return values, place
    if kind in {_TRUE, _FALSE, _BYTE, _DOUBLE}:
        return None, place + (8 if kind == _DOUBLE else 1)
    raise _WrongError


def _number(content: memoryview, place: int) -> tuple[int, int]:
    value, place = _unsigned(content, place)
    return (value >> 1) ^ -(value & 1), place


def _unsigned(content: memoryview, place: int) -> tuple[int, int]:
    found = shift = 0
    while shift <= _BITS:
        byte = content[place]
        found |= (byte & (_GOES_ON - 1)) << shift
        place, shift = place + 1, shift + 7
        if byte < _GOES_ON:
            return found, place
    raise _WrongError
