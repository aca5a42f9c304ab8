"""Lines of contents that come in pieces, and rows as lines of JSON: an array each, since names would be half of it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic_core import from_json, to_json


def split_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a content, without their ends. Only a line feed ends one, and no line comes after the last."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest


# By pydantic's reader and writer of JSON, which take a fifth of the time of Python's: there are millions of rows.
def row_line(row: Sequence[str | int]) -> bytes:
    """Return a row as a line of ASCII, with its end."""
    return to_json(row, ensure_ascii=True) + b"\n"


def parse_row(line: bytes, columns: tuple[type, ...]) -> list[Any]:
    """Return the row of a line. Raises `ValueError` where it is no row of these columns."""
    # Hardly a value is there twice.
    row = from_json(line, cache_strings=False)
    if not isinstance(row, list) or tuple(map(type, row)) != columns:
        names = ", ".join(column.__name__ for column in columns)
        msg = f"not a row of {names}: {line[:120]!r}"
        raise ValueError(msg)
    return row
