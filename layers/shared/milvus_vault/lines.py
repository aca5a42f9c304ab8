"""Lines of contents that come in pieces."""

from collections.abc import Iterable, Iterator


def split_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a content, without their ends. Only a line feed ends one, and no line comes after the last."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest
