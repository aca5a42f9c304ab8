"""Documents of the catalogue carry their own digest: a damaged one is never obeyed.

The first line is the document, the second its SHA-256. Documents of earlier releases have one line and no digest.
"""

import hashlib
import json

from pydantic import BaseModel


def seal(document: BaseModel) -> bytes:
    """Return a document with its digest."""
    body = document.model_dump_json().encode()
    return body + b"\n" + json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode()


def is_sealed(body: bytes) -> bool:
    """Return whether a document has a digest, right or wrong."""
    return b"\n" in body.strip()


def unseal(body: bytes) -> bytes:
    """Return the document, without its digest where it has one. Raises `ValueError` where that is another one."""
    document, line, digest = body.partition(b"\n")
    if line and digest != json.dumps({"sha256": hashlib.sha256(document).hexdigest()}).encode():
        msg = "the document is not the one that was written"
        raise ValueError(msg)
    return document
