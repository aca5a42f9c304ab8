"""Objects of a backup that have another ETag than was recorded, and the same content.

A copy in parts and one into a bucket under KMS have ETags of their own, so that by ETags alone no replica of a backup
could be told from a damaged one. A repair compares the content, and notes the ETags under which it was proven in a
document of the backup's folder. That document can be lost without harm: without it, the objects are `changed` again.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from pydantic import ValidationError

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.sealing import is_sealed, seal, unseal
from milvus_vault.errors import ObjectNotFoundError
from milvus_vault.model.base import Model
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.ports import ObjectStore

_MIB = 1024**2

# An ETag of parts is the MD5 of their MD5s and says how many there were, not how large: those of our copies are 64 MiB,
# of the AWS CLI 8, of Milvus' own client 16; the others are round numbers that uploaders are set to.
_PART_MIB = (5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 200, 250, 256, 500, 512, 1000, 1024, 2048, 4096, 5120)


class OtherEtags(Model):
    """The document."""

    objects: dict[str, tuple[str, str]]
    """By key below `binlogs/`, or from `.pool/` on: the ETag that was recorded, and the one that it has here."""


def read_other_etags(store: ObjectStore, bucket: str, layout: BackupLayout) -> Mapping[str, tuple[str, str]]:
    """Return, by key as in `OtherEtags`, the ETag that was recorded and the one under which the content was proven.

    Nothing where there is no such document, or one that rots: the objects are as unproven then as they were.
    """
    try:
        body = store.get(bucket, layout.other_etags)
        return OtherEtags.model_validate_json(unseal(body)).objects if is_sealed(body) else {}
    except (ObjectNotFoundError, ValidationError, ValueError):
        return {}


def write_other_etags(
    store: ObjectStore, bucket: str, layout: BackupLayout, noted: Mapping[str, tuple[str, str]]
) -> None:
    """Write the document in place of the one that is there."""
    store.put(bucket, layout.other_etags, seal(OtherEtags(objects=dict(noted))))


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
