"""What earlier copies of a run left behind, and whether an object is the copy that it should be."""

import sqlite3
from collections.abc import Iterable, Iterator
from functools import partial
from threading import Lock

from milvus_vault.copying.working_files import CopiedName, CopyRecord, most_complete, read_records
from milvus_vault.model.objects import CopyItem, ListedObject
from milvus_vault.parallel import each
from milvus_vault.tables import open_tables, room_on_disk
from milvus_vault.workspace import Workspace

_SCHEMA = """
CREATE TABLE copies (key TEXT, etag TEXT, source_etag TEXT, checksum TEXT, PRIMARY KEY (key, etag)) WITHOUT ROWID;
CREATE TABLE lost (key TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class Records:
    """The copies that batches of a run recorded, in all its attempts. Several threads may ask.

    S3 gives a copy another ETag than its source's where the source was uploaded in parts, where the copy
    is made in parts, and under KMS. Only what the copy's answer said tells such a copy from another object.

    They are read when they are needed first: never, where all ETags are those of the sources and nobody asks for
    checksums.
    """

    def __init__(self, run: Workspace, names: Iterable[str], *, checksums: bool, lost_in: str = "") -> None:
        """Have the records of some `copied` files, of several of a batch those of the most complete one.

        Args:
            run: The run of the batches.
            names: The names of its working files; others than of records are passed by.
            checksums: Whether anybody asks for checksums, or whether a copy was recorded. Else only those copies are
                remembered that have another ETag than their source.
            lost_in: The round, by its folder, of which it is asked what sources it has lost.
        """
        self._run, self._checksums, self._lost_in = run, checksums, lost_in
        self._files = most_complete(names)
        self._lock = Lock()
        self._tables: sqlite3.Connection | None = None

    def is_copy(self, item: CopyItem, found: ListedObject, in_use: tuple[str, ...] = ()) -> bool:
        """Return whether the object found at the item's key is a copy of what the item names.

        Below the prefixes that are `in_use` that was proven before: a copy that is made again, of which nobody has
        recorded the ETag, has the same content.
        """
        if found.size_bytes != item.size_bytes:
            return False
        if found.etag == item.source_etag or found.key.startswith(in_use):
            return True
        recorded = self._one("SELECT source_etag FROM copies WHERE key = ? AND etag = ?", found.key, found.etag)
        return recorded is not None and recorded[0] == item.source_etag

    def have_any(self, keys: Iterable[str]) -> bool:
        """Return whether a copy to one of the keys was recorded."""
        if not self._files:
            return False
        return any(self._one("SELECT 1 FROM copies WHERE key = ? LIMIT 1", key) for key in keys)

    def checksum(self, found: ListedObject) -> str:
        """Return the checksum that was recorded for an object, or an empty text."""
        recorded = self._one("SELECT checksum FROM copies WHERE key = ? AND etag = ?", found.key, found.etag)
        return str(recorded[0]) if recorded else ""

    def is_lost(self, key: str) -> bool:
        """Return whether the round of which it is asked found the source of an object gone or changed."""
        return self._one("SELECT 1 FROM lost WHERE key = ?", key) is not None

    def _one(self, query: str, *arguments: str) -> tuple[object, ...] | None:
        if not self._files:
            return None
        with self._lock:
            if self._tables is None:
                self._tables = self._read()
            found: tuple[object, ...] | None = self._tables.execute(query, arguments).fetchone()
            return found

    def _read(self) -> sqlite3.Connection:
        tables = open_tables(_SCHEMA)
        for file, records in zip(self._files, each(partial(_read, self._run), self._files), strict=True):
            with room_on_disk():
                # Two invocations may both have copied an object, each with an ETag of its own: hence the pair.
                tables.executemany("INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?)", self._copies(records))
                if file.folder == self._lost_in:
                    lost = ((record.key,) for record in records if record.status != "copied")
                    tables.executemany("INSERT OR IGNORE INTO lost VALUES (?)", lost)
        return tables

    def _copies(self, records: Iterable[CopyRecord]) -> Iterator[tuple[str, str, str, str]]:
        for found in records:
            if found.status == "copied" and (self._checksums or found.etag != found.source_etag):
                yield found.key, found.etag, found.source_etag, found.checksum


def _read(run: Workspace, copied: CopiedName) -> list[CopyRecord]:
    return list(read_records(run, copied.name))
