"""Documents of the catalogue carry their own digest: a damaged one is never obeyed.

The first line is the document, the second its SHA-256. Documents of earlier releases have one line and no digest.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator

from pydantic import BaseModel

_MOST_OF_A_LINE = 1024


def seal(document: BaseModel) -> bytes:
    """Return a document with its digest."""
    return b"".join(seal_pieces([document.model_dump_json().encode()]))


def seal_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a document that comes in pieces with its digest, which the last piece has."""
    digest, last = hashlib.sha256(), b""
    for piece in pieces:
        digest.update(piece)
        if last:
            yield last
        last = piece
    yield last + b"\n" + _line(digest)


def _line(digest: "hashlib._Hash") -> bytes:
    return json.dumps({"sha256": digest.hexdigest()}).encode()


def is_sealed(body: bytes) -> bool:
    """Return whether a document has a digest, right or wrong."""
    return b"\n" in body.strip()


def unseal(body: bytes) -> bytes:
    """Return the document, without its digest where it has one. Raises `ValueError` where that is another one."""
    document, line, digest = body.partition(b"\n")
    if line and digest != _line(hashlib.sha256(document)):
        msg = "the document is not the one that was written"
        raise ValueError(msg)
    return document


def unseal_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a document that comes in pieces, without its digest.

    What was yielded is only as good as its end: `ValueError` is raised there where it has none, or another one.
    """
    digest, line, is_document = hashlib.sha256(), b"", True
    for piece in pieces:
        if is_document:
            document, feed, rest = piece.partition(b"\n")
            digest.update(document)
            yield document
            is_document, line = not feed, rest
        elif len(line) < _MOST_OF_A_LINE:
            line += piece
    if is_document or line != _line(digest):
        msg = "the document is not the one that was written"
        raise ValueError(msg)
