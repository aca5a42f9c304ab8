"""How large the pages of a Parquet file are, before anything is unpacked: only the pages themselves say it.

A page begins with a header, a struct in Thrift's compact protocol, whose second and third fields are the sizes of its
content, unpacked and as it is stored.
"""

from collections.abc import Iterator

import pyarrow.parquet as pq

_TRUE, _FALSE, _BYTE, _SHORT, _INT, _LONG, _DOUBLE, _BINARY = range(1, 9)
_STRUCT = 12
_NUMBERS = (_SHORT, _INT, _LONG)
_SIZES = {_BYTE: 1, _DOUBLE: 8}
_UNPACKED, _STORED = 2, 3
_DEEPEST = 8  # a page's header has two levels
_GOES_ON = 0x80
_BITS = 63


def page_sizes(content: memoryview, chunk: pq.ColumnChunkMetaData) -> Iterator[int]:
    """Yield the bytes of each page of a column, unpacked. Raises `ValueError` where pages do not fill it."""
    starts = [chunk.dictionary_page_offset, chunk.data_page_offset]
    place = min(start for start in starts if start)
    end = place + chunk.total_compressed_size
    try:
        while place < end:
            sizes, place = _struct(content, place, 0)
            yield sizes[_UNPACKED]
            place += sizes[_STORED]
            if sizes[_STORED] < 0:
                break
    except (IndexError, KeyError) as err:
        msg = f"the page at byte {place:,} has no whole header"
        raise ValueError(msg) from err
    if place != end:
        msg = f"the pages of a column end at byte {place:,}, and it does at {end:,}"
        raise ValueError(msg)


def _struct(content: memoryview, place: int, depth: int) -> tuple[dict[int, int], int]:
    """Return the numbers of a struct by their fields, and where it ends."""
    if depth > _DEEPEST:
        raise IndexError
    found: dict[int, int] = {}
    field = 0
    while head := content[place]:
        place += 1
        kind = head & 15
        if head >> 4:
            field += head >> 4
        else:
            field, place = _number(content, place)
        if kind in _NUMBERS:
            found[field], place = _number(content, place)
        else:
            place = _skip(content, place, kind, depth)
    return found, place + 1


def _skip(content: memoryview, place: int, kind: int, depth: int) -> int:
    """Return where a value of a kind ends."""
    if kind in {_TRUE, _FALSE}:
        return place
    if kind in _SIZES:
        return place + _SIZES[kind]
    if kind == _STRUCT:
        return _struct(content, place, depth + 1)[1]
    if kind == _BINARY:
        size, place = _unsigned(content, place)
        return place + size
    raise IndexError  # headers of pages have no lists


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
    raise IndexError
