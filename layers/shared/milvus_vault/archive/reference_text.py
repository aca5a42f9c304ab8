"""The text of a metadata file of milvus-backup, read while it comes: its segments are taken out one by one.

Of a million objects these files are a quarter of a gigabyte each, nearly all of it the logs of segments. What is left
without them, the outline, is some kilobytes for a collection.
"""

import json
import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable, Mapping
from typing import Any

type Shape = Mapping[str, "Shape | None"]
"""By member of an object that is an array: the shape of its items, or None where they are segments."""

_SPACE = re.compile(r"[ \t\n\r]*")
_OF_NUMBERS = "0123456789.eE+-"
_DECODE = json.JSONDecoder().raw_decode

# A log takes some 150 characters: a segment of 200,000 logs, more than any has. What is damaged may have no end.
MOST_CHARACTERS = 32 * 1024 * 1024


def read_outline[T](
    pieces: Iterable[bytes], shape: Shape, segment: Callable[[str, str], T]
) -> tuple[dict[str, Any], list[list[T]]]:
    """Return an object without its segments, and the arrays of these. In place of an array is its position among them.

    Args:
        pieces: Of the text. No more of it is held than the largest value that is read as a whole, and some pieces.
        shape: Where segments are.
        segment: Returns what is to be in an array for one, given where it is, for messages, and its text.

    Raises:
        ValueError: It is not the JSON text of an object, or nests too deeply, or has something else for an array of
            segments, or a value that is too large; and what `segment` raises.
    """
    reader = _Reader(pieces, segment)
    try:
        outline = reader.members(shape, "")
    except RecursionError as err:
        msg = "it nests too deeply"
        raise ValueError(msg) from err
    if reader.next():
        msg = "there is more behind its end"
        raise ValueError(msg)
    return outline, reader.arrays


class _Reader[T]:
    """A text, and how far it is read."""

    def __init__(self, pieces: Iterable[bytes], segment: Callable[[str, str], T]) -> None:
        self.arrays: list[list[T]] = []
        self._pieces = iter(pieces)
        self._segment = segment
        self._decoder = getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._has_ended = False

    def members(self, shape: Shape, path: str) -> dict[str, Any]:
        """Read an object."""
        found: dict[str, Any] = {}
        self._take("{")
        while not self._ends("}", is_first=not found):
            name = self._value()[0]
            if not isinstance(name, str):
                msg = f"{path or 'file'}: the name of a member is no text"
                raise ValueError(msg)  # noqa: TRY004 - a wrong content
            self._take(":")
            found[name] = self._member(shape[name], f"{path}{name}") if name in shape else self._value()[0]
        return found

    def _member(self, shape: Shape | None, path: str) -> object:
        """Read what should be an array."""
        if self.next() == "[":
            return self._segments(path) if shape is None else self._objects(shape, path)
        value, _ = self._value()
        if value is not None and shape is None:
            msg = f"{path}: it is no array"
            raise ValueError(msg)
        return value

    def _objects(self, shape: Shape, path: str) -> list[Any]:
        found: list[Any] = []
        self._take("[")
        while not self._ends("]", is_first=not found):
            is_object = self.next() == "{"
            found.append(self.members(shape, f"{path}.{len(found)}.") if is_object else self._value()[0])
        return found

    def _segments(self, path: str) -> int:
        found: list[T] = []
        self._take("[")
        while not self._ends("]", is_first=not found):
            found.append(self._segment(f"{path}.{len(found)}", self._value()[1]))
        self.arrays.append(found)
        return len(self.arrays) - 1

    def next(self) -> str:
        """Return the character that comes next, or nothing at the end."""
        while True:
            self._at = self._skipped()
            if self._at < len(self._text) or self._has_ended:
                return self._text[self._at : self._at + 1]
            self._read_on()

    def _skipped(self) -> int:
        space = _SPACE.match(self._text, self._at)
        return space.end() if space else self._at

    def _take(self, expected: str) -> None:
        if self.next() != expected:
            msg = f"file: {expected!r} is missing"
            raise ValueError(msg)
        self._at += 1

    def _ends(self, end: str, *, is_first: bool) -> bool:
        """Go behind the end, or to the next item."""
        if self.next() == end:
            self._at += 1
            return True
        if not is_first:
            self._take(",")
        return False

    def _value(self) -> tuple[Any, str]:
        """Read a value as a whole, and return it with its text."""
        self.next()
        while True:
            try:
                value, end = _DECODE(self._text, self._at)
            except ValueError as err:
                if self._has_ended:
                    msg = f"file: {err}"
                    raise ValueError(msg) from err
            else:
                # A number may go on, as 0 in 0.5 does.
                if self._text[end : end + 1] not in _OF_NUMBERS or self._has_ended:
                    text, self._at = self._text[self._at : end], end
                    return value, text
            self._read_on()

    def _read_on(self) -> None:
        """Read at least as much as there is unread, so that a value is begun anew a few times only."""
        unread = self._text[self._at :]
        if len(unread) > MOST_CHARACTERS:
            msg = f"file: a value has no end within {MOST_CHARACTERS} characters"
            raise ValueError(msg)
        parts, count = [unread], 0
        while count <= len(unread) and not self._has_ended:
            piece = next(self._pieces, b"")
            self._has_ended = not piece
            parts.append(self._decoder.decode(piece, final=self._has_ended))
            count += len(parts[-1])
        self._text, self._at = "".join(parts), 0
