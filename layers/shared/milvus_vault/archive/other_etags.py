"""Objects of a backup that have another ETag than was recorded, and the same content.

A copy in parts and one into a bucket under KMS have ETags of their own, so that by ETags alone no replica of a backup
could be told from a damaged one. A repair compares the content, and notes the ETags under which it was proven in a
document of the backup's folder. That document can be lost without harm: without it, the objects are `changed` again.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import batched
from threading import Lock
from typing import override

from milvus_vault.archive.json_reader import JsonReader
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.sealing import seal_pieces, unseal_pieces
from milvus_vault.errors import ObjectNotFoundError
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.ports import ObjectStore
from milvus_vault.tables import open_tables, room_on_disk

_MIB = 1024**2

# An ETag of parts is the MD5 of their MD5s and says how many there were, not how large: those of our copies are 64 MiB,
# of the AWS CLI 8, of Milvus' own client 16; the others are round numbers that uploaders are set to.
_PART_MIB = (5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 200, 250, 256, 500, 512, 1000, 1024, 2048, 4096, 5120)


_NOTED = "CREATE TABLE noted (key TEXT PRIMARY KEY, recorded TEXT, here TEXT) WITHOUT ROWID"
_TOGETHER = 1000
_PIECE_BYTES = 8 * 1024**2


class OtherEtags(Mapping[str, tuple[str, str]]):
    """What the document notes, on the function's disk: there may be millions of objects under another key of KMS.

    By key below `binlogs/`, or from `.pool/` on: the ETag that was recorded, and the one that it has here.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._tables = open_tables(_NOTED)
        self._lock = Lock()

    def note(self, noted: Iterable[tuple[str, tuple[str, str]]]) -> None:
        """Note ETags, in place of what was noted of the same objects. Raises `DiskFullError`."""
        for some in batched(noted, _TOGETHER, strict=False):
            rows = [(key, *etags) for key, etags in some]
            with self._lock, room_on_disk():
                self._tables.executemany("INSERT OR REPLACE INTO noted VALUES (?, ?, ?)", rows)

    @override
    def __getitem__(self, key: str) -> tuple[str, str]:
        with self._lock:
            row = self._tables.execute("SELECT recorded, here FROM noted WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        recorded, here = row
        return recorded, here

    @override
    def __iter__(self) -> Iterator[str]:
        return (key for (key,) in self._tables.execute("SELECT key FROM noted ORDER BY key"))

    @override
    def __len__(self) -> int:
        with self._lock:
            (count,) = self._tables.execute("SELECT count(*) FROM noted").fetchone()
        return int(count)

    def __bool__(self) -> bool:
        """Return whether anything is noted. It is asked for each object of a backup, and to count takes time."""
        with self._lock:
            return self._tables.execute("SELECT 1 FROM noted LIMIT 1").fetchone() is not None

    def document(self) -> Iterator[bytes]:
        """Yield the document in pieces."""
        piece, comma = bytearray(b'{"objects":{'), b""
        for key, *etags in self._tables.execute("SELECT key, recorded, here FROM noted ORDER BY key"):
            piece += comma + f"{json.dumps(key)}:{json.dumps(etags)}".encode()
            comma = b","
            if len(piece) >= _PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
        yield bytes(piece) + b"}}"


def read_other_etags(store: ObjectStore, bucket: str, layout: BackupLayout) -> Mapping[str, tuple[str, str]]:
    """Return, by key as in `OtherEtags`, the ETag that was recorded and the one under which the content was proven.

    Nothing where there is no such document, or one that rots: the objects are as unproven then as they were.
    """
    found = OtherEtags()
    try:
        found.note(_noted(unseal_pieces(store.chunks(bucket, layout.other_etags))))
    except (ObjectNotFoundError, ValueError):
        return {}
    return found


def _noted(pieces: Iterable[bytes]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield what a document notes. Raises `ValueError`, at the latest at its end, where it is none."""
    reader = JsonReader(pieces)
    for name in reader.names():
        if name != "objects":
            reader.value()
            continue
        for key in reader.names():
            match reader.value()[0]:
                case [str(recorded), str(here)]:
                    yield key, (recorded, here)
                case other:
                    msg = f"no two ETags: {other!r:.100}"
                    raise ValueError(msg)
    reader.end()


def write_other_etags(store: ObjectStore, bucket: str, layout: BackupLayout, noted: OtherEtags) -> None:
    """Write the document in place of the one that is there."""
    store.put_in_parts(bucket, layout.other_etags, seal_pieces(noted.document()))


def has_recorded_content(store: ObjectStore, bucket: str, item: ArchivedObject, etag: str) -> bool:
    """Return whether an object that has this ETag now has the content that was recorded of it.

    The checksum that S3 keeps with it decides, if one of the same kind was recorded. Otherwise the recorded ETag does,
    if it was made of the content: the object is read once. If an object was recorded under KMS, and without a checksum,
    its content is not known, and the answer is no.

    Raises:
        ObjectNotFoundError: It is gone.
        ObjectChangedError: It has yet another ETag.
    """
    if item.checksum and are_comparable(item.checksum, here := store.checksum(bucket, item.stored_key, etag)):
        return here == item.checksum
    hashes = list(etag_hashes(item.etag, item.size_bytes))
    if not hashes:
        return False
    for chunk in store.chunks(bucket, item.stored_key, etag):
        for one in hashes:
            one.add(chunk)
    return item.etag in {one.etag for one in hashes}


def are_comparable(recorded: str, here: str) -> bool:
    """Return whether two checksums are equal if and only if the contents are: those of parts depend on the parts."""
    is_whole = "-" not in recorded and "-" not in here
    return recorded == here or (is_whole and recorded.partition(":")[0] == here.partition(":")[0])


class EtagHash:
    """The ETag that content has as a whole, or in parts of a size."""

    def __init__(self, part_bytes: int) -> None:
        self._part_bytes = part_bytes
        self._left = part_bytes
        self._part = _md5()
        self._parts: list[bytes] = []

    def add(self, chunk: bytes) -> None:
        """Go on with the content."""
        view = memoryview(chunk)
        while self._part_bytes and len(view) >= self._left:
            self._part.update(view[: self._left])
            view = view[self._left :]
            self._end_part()
        self._part.update(view)
        self._left -= len(view)

    @property
    def etag(self) -> str:
        """Return the ETag of all that was added."""
        if not self._part_bytes:
            return self._part.hexdigest()
        if self._left < self._part_bytes:
            self._end_part()
        return f"{_md5(b''.join(self._parts)).hexdigest()}-{len(self._parts)}"

    def _end_part(self) -> None:
        self._parts.append(self._part.digest())
        self._part, self._left = _md5(), self._part_bytes


def _md5(body: bytes = b"") -> "hashlib._Hash":
    return hashlib.md5(body, usedforsecurity=False)


def etag_hashes(etag: str, size_bytes: int) -> Iterator[EtagHash]:
    """Yield what may have made an ETag of content of this size."""
    _, dash, count = etag.partition("-")
    if not dash:
        yield EtagHash(0)
        return
    if not count.isascii() or not count.isdigit():
        return
    for part_bytes in _part_sizes(size_bytes, int(count)):
        yield EtagHash(part_bytes)


def _part_sizes(size_bytes: int, count: int) -> Iterable[int]:
    """Return the sizes of parts, in bytes, by which content of this size is so many."""
    # As large as parts have to be where there is a limit on their number, in whole MiB: as our copies and others do.
    smallest = -(-size_bytes // (count * _MIB)) if count else 0
    sizes = {*_PART_MIB, smallest} - {0}
    return [mib * _MIB for mib in sorted(sizes) if -(-size_bytes // (mib * _MIB)) == count]
