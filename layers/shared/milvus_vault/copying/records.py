"""What earlier copies of a run left behind, and whether an object is the copy that it should be."""

from collections.abc import Iterable
from functools import partial
from typing import Self

from milvus_vault.copying.working_files import CopyRecord, most_complete, read_records
from milvus_vault.model.objects import CopyItem, ListedObject
from milvus_vault.parallel import each
from milvus_vault.workspace import Workspace


class Records:
    """The copies that batches of a run recorded, in all its attempts.

    S3 gives a copy another ETag than its source's where the source was uploaded in parts, where the copy
    is made in parts, and under KMS. Only what the copy's answer said tells such a copy from another object.
    """

    def __init__(self, records: Iterable[CopyRecord] = ()) -> None:
        """Hold the records of copies; those of missing and changed sources are left out."""
        # Two invocations may both have copied an object, each with an ETag of its own: hence the pair.
        self._copies = {(r.key, r.etag): (r.source_etag, r.checksum) for r in records if r.status == "copied"}
        self._keys = {key for key, _ in self._copies}

    @classmethod
    def load(cls, run: Workspace, names: Iterable[str]) -> Self:
        """Read the records of all attempts, by the names of the run's working files."""
        return cls.read(run, (found.name for found in most_complete(names)))

    @classmethod
    def read(cls, run: Workspace, names: Iterable[str]) -> Self:
        """Read the records of these `copied` files."""
        return cls(record for records in each(partial(_read, run), names) for record in records)

    def is_copy(self, item: CopyItem, found: ListedObject, in_use: tuple[str, ...] = ()) -> bool:
        """Return whether the object found at the item's key is a copy of what the item names.

        Below the prefixes that are `in_use` that was proven before: a copy that is made again, of which nobody has
        recorded the ETag, has the same content.
        """
        if found.size_bytes != item.size_bytes:
            return False
        if found.etag == item.source_etag or found.key.startswith(in_use):
            return True
        source_etag, _ = self._copies.get((found.key, found.etag), (None, ""))
        return source_etag == item.source_etag

    def have_any(self, keys: Iterable[str]) -> bool:
        """Return whether a copy to one of the keys was recorded."""
        return any(key in self._keys for key in keys)

    def checksum(self, found: ListedObject) -> str:
        """Return the checksum that was recorded for an object, or an empty text."""
        _, checksum = self._copies.get((found.key, found.etag), ("", ""))
        return checksum


def _read(run: Workspace, name: str) -> list[CopyRecord]:
    return list(read_records(run, name))
