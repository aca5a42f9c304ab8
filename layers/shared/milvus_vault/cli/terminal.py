"""The door to the terminal: nothing that came from outside is obeyed by it."""

import codecs
import json
import re
from collections.abc import Iterable
from typing import override

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

# What moves the cursor, changes colours, titles or the clipboard, or turns the direction of what is read: control
# characters except tabs and line feeds, separators of lines, marks of direction, and halves of characters.
_HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_FIRST_PICTURE, _PICTURES, _UNKNOWN = 0x2400, 0x20, "\ufffd"


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(_FIRST_PICTURE + code) if code < _PICTURES else _UNKNOWN


def harmless(text: str) -> str:
    """Return a text with a picture in the place of each character that a terminal would obey."""
    return _HARMFUL.sub(_picture, text)


def escaped(document: str, encoding: str) -> str:
    """Return a JSON text that means the same, with escapes in the place of those characters.

    JSON has escaped some of them by itself; the others can only be within its strings. What is not of Unicode gets
    escapes for all that is not ASCII.
    """
    harmless_text = _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", document)
    if codecs.lookup(encoding).name.startswith("utf"):
        return harmless_text
    return _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], harmless_text)


class HarmlessConsole(Console):
    """The door to the terminal: whatever is written goes through here, and nothing that came from outside is obeyed."""

    @override
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is to be written. Rich's own control codes are segments of another kind."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(harmless(segment.text), segment.style)
