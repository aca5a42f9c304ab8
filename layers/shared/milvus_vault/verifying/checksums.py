"""The checksums of whole objects that S3 keeps, computed of their content.

What S3 calls a full-object checksum is that of all bytes in their order, however the object was uploaded or copied.
CRC64NVME is the one that it gives to every object by itself; clients may send others.
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import anycrc

# A checksum of a piece this large takes 0.2 ms, in which no other thread runs: anycrc keeps the interpreter's lock.
_PIECE_BYTES = 1024**2


class _Hash(Protocol):
    """What computes a checksum, as hashlib has it."""

    def update(self, data: memoryview, /) -> None:
        """Go on with the content."""

    def digest(self) -> bytes:
        """Return the checksum of all of it."""


class _Crc:
    """A cyclic redundancy check, by its name in the catalogue of parametrised CRC algorithms."""

    def __init__(self, name: str, width_bytes: int) -> None:
        self._model = anycrc.Model(name)
        self._width_bytes = width_bytes
        self._value: int = self._model.calc(b"")

    def update(self, data: memoryview, /) -> None:
        """Go on with the content."""
        self._value = self._model.calc(data, self._value)

    def digest(self) -> bytes:
        """Return the checksum of all of it, the highest byte first."""
        return self._value.to_bytes(self._width_bytes)


_ALGORITHMS: Mapping[str, Callable[[], _Hash]] = {
    "CRC64NVME": partial(_Crc, "CRC64-NVME", 8),
    "CRC32C": partial(_Crc, "CRC32C", 4),
    "CRC32": partial(_Crc, "CRC32", 4),
    "SHA512": hashlib.sha512,
    "SHA256": hashlib.sha256,
    "SHA1": partial(hashlib.sha1, usedforsecurity=False),
    "MD5": partial(hashlib.md5, usedforsecurity=False),
}


def is_of_content(checksum: str) -> bool:
    """Return whether `checksum_of` can tell whether content has this checksum, which was recorded.

    That is if it is one of the whole, since those of parts depend on the parts, and by an algorithm that is known here.
    """
    return "-" not in checksum and checksum.partition(":")[0] in _ALGORITHMS


def is_as_good_as_an_etag(checksum: str) -> bool:
    """Return whether a recorded checksum makes the MD5 of content needless: of damage, 64 bits miss one in 2^64.

    CRC64NVME takes 0.15 CPU seconds a GB, and an MD5 1.8 (measured).
    """
    return is_of_content(checksum) and not checksum.startswith("CRC32")


def checksum_of(content: bytes | memoryview, algorithm: str) -> str:
    """Return a checksum of content as S3 writes it, `<algorithm>:<base64>`.

    Raises `KeyError` for an algorithm of which `is_of_content` says that it is none.
    """
    hashed, view = _ALGORITHMS[algorithm](), memoryview(content).cast("B")
    for begin in range(0, len(view), _PIECE_BYTES):
        hashed.update(view[begin : begin + _PIECE_BYTES])
    return f"{algorithm}:{b64encode(hashed.digest()).decode()}"
