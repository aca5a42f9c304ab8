"""JSON text that is read while it comes, of which no more is held than the value that is asked for."""

import json
import re
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_OF_NUMBERS = "0123456789.eE+-"
_DECODE = json.JSONDecoder().raw_decode

# The largest values that are asked for are segments of other tools' archives, of some 150 characters a log: 200,000
# logs, more than any has. What is damaged may have no end.
MOST_CHARACTERS = 32 * 1024 * 1024


def too_deep() -> ValueError:
    """Return the error for a text that nests more deeply than anybody can read."""
    return ValueError("file: it nests too deeply")


class JsonReader:
    """A text, and how far it is read. Whatever is asked of it raises `ValueError` where that is not what comes next."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        """Begin with a text that comes in pieces."""
        self._pieces = iter(pieces)
        self._decoder = getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._has_ended = False

    def next(self) -> str:
        """Return the character that comes next, or nothing at the end."""
        while True:
            self._at = self._skipped()
            if self._at < len(self._text) or self._has_ended:
                return self._text[self._at : self._at + 1]
            self._read_on()

    def end(self) -> None:
        """Return if there is nothing more."""
        if self.next():
            msg = "file: there is more behind its end"
            raise ValueError(msg)

    def names(self) -> Iterator[str]:
        """Yield the name of each member of an object. Whoever takes it reads the member's value."""
        count = 0
        self._take("{")
        while not self._ends("}", is_first=not count):
            name, _ = self.value()
            if not isinstance(name, str):
                msg = "file: the name of a member is no text"
                raise ValueError(msg)  # noqa: TRY004 - a wrong content
            self._take(":")
            yield name
            count += 1

    def items(self) -> Iterator[int]:
        """Yield the position of each item of an array. Whoever takes it reads the item."""
        count = 0
        self._take("[")
        while not self._ends("]", is_first=not count):
            yield count
            count += 1

    def value(self) -> tuple[Any, str]:
        """Read a value as a whole, and return it with its text."""
        self.next()
        while True:
            try:
                value, end = _DECODE(self._text, self._at)
            except RecursionError as err:
                raise too_deep() from err
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

    def _read_on(self) -> None:
        """Read at least as much as there is unread, so that a value is begun anew a few times only."""
        unread = self._text[self._at :]
        if len(unread) > MOST_CHARACTERS:
            msg = f"file: a value has no end within {MOST_CHARACTERS} characters"
            raise ValueError(msg)
        parts, count = [unread], 0
        while count <= len(unread) and not self._has_ended:
            piece = next(self._pieces, None)
            self._has_ended = piece is None
            parts.append(self._decoder.decode(piece or b"", final=self._has_ended))
            count += len(parts[-1])
        self._text, self._at = "".join(parts), 0
