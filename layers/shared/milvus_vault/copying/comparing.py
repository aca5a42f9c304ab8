"""What a target has to hold beside what the destination lists: millions of objects, in any order."""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import batched, chain
from typing import Self

from milvus_vault.copying.records import Records
from milvus_vault.copying.working_files import CopyTarget, read_items
from milvus_vault.errors import WorkingFileError
from milvus_vault.model.objects import CopiedObject, CopyItem, CopyJob
from milvus_vault.ports import ObjectStore
from milvus_vault.spans import list_in_spans
from milvus_vault.tables import evenly, open_tables, room_on_disk
from milvus_vault.workspace import Workspace

# Positions are those of the item list, from 0.
_SCHEMA = """
CREATE TABLE items (position INTEGER PRIMARY KEY, source_key TEXT, key TEXT, size_bytes INTEGER, source_etag TEXT);
CREATE TABLE there (position INTEGER PRIMARY KEY, etag TEXT, checksum TEXT);
CREATE TABLE surplus (key TEXT);
"""
_KEPT_TOGETHER = 1000
_FIND = "SELECT position, source_key, key, size_bytes, source_etag FROM items WHERE key = ?"
_MISSING = """
SELECT source_key, key, size_bytes, source_etag FROM items LEFT JOIN there USING (position)
WHERE there.position IS NULL ORDER BY items.position
"""
_THERE = """
SELECT key, etag, checksum FROM there JOIN items USING (position) ORDER BY there.position
"""
_COUNTED = "SELECT count(*), coalesce(sum(size_bytes), 0) FROM items JOIN there USING (position)"


class TargetItems:
    """Items of a target, and which of them are there. For one thread at a time."""

    def __init__(self, items: Iterable[CopyItem], name: str) -> None:
        """Take items in.

        Args:
            items: In the order in which they are to be told again.
            name: The target's, for messages.

        Raises:
            WorkingFileError: Two items have the same key.
            DiskFullError: There are more than the disk has room for.
        """
        self._tables = open_tables(_SCHEMA)
        self._there: list[tuple[int, str, str]] = []
        self.surplus_count = 0
        rows = ((n, i.source_key, i.key, i.size_bytes, i.source_etag) for n, i in enumerate(items))
        with room_on_disk():
            self.item_count = self._tables.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", rows).rowcount
            try:
                self._tables.execute("CREATE UNIQUE INDEX by_key ON items (key)")
            except sqlite3.IntegrityError as err:
                twice = "SELECT key FROM items GROUP BY key HAVING count(*) > 1 LIMIT 1"
                (key,) = self._tables.execute(twice).fetchone()
                msg = f"target {name} has two items of the key {key}: one copy would replace the other"
                raise WorkingFileError(msg, hint="This is a fault of Milvus Vault: please report it.") from err

    @classmethod
    def read(cls, run: Workspace, attempt: str, target: CopyTarget) -> Self:
        """Return what a target has to hold.

        Raises:
            ObjectNotFoundError: The target's item list was not written.
            WorkingFileError: The list is damaged, has a key twice, or an item lies outside the target's folders.
            DiskFullError: There are more than the disk has room for.
        """
        return cls(_inside(target, read_items(run, attempt, target.index)), target.name)

    def keys(self) -> Iterator[str]:
        """Yield the keys of all items."""
        return (key for (key,) in self._tables.execute("SELECT key FROM items"))

    def compare(
        self,
        store: ObjectStore,
        job: CopyJob,
        records: Records,
        folders: Iterable[str],
        in_use: tuple[str, ...] = (),
        *,
        is_shared: bool = False,
    ) -> None:
        """List some folders of the destination, and remember what is there and what does not belong there.

        Args:
            store: Has the destination.
            job: Says which it is, and whether checksums are asked for.
            records: The copies that were recorded.
            folders: Where to look; none lies in another.
            in_use: Prefixes of what was proven before.
            is_shared: Whether the folders hold what belongs to others, which is no surplus.
        """
        surplus: list[tuple[str]] = []
        bucket = job.destination_bucket
        listings = (list_in_spans(store, bucket, folder, lambda: evenly(self._tables, "items")) for folder in folders)
        for listed in chain.from_iterable(listings):
            row = self._tables.execute(_FIND, (listed.key,)).fetchone()
            if row is None:
                if not (is_shared or listed.key.startswith(in_use)):
                    surplus.append((listed.key,))
            elif records.is_copy(CopyItem(*row[1:]), listed, in_use):
                self._there.append((row[0], listed.etag, records.checksum(listed) if job.lists_objects else ""))
            if len(surplus) == _KEPT_TOGETHER or len(self._there) == _KEPT_TOGETHER:
                self._keep(surplus)
        self._keep(surplus)

    def _keep(self, surplus: list[tuple[str]]) -> None:
        with room_on_disk():
            self._tables.executemany("INSERT INTO surplus VALUES (?)", surplus)
            self._tables.executemany("INSERT OR REPLACE INTO there VALUES (?, ?, ?)", self._there)
        self.surplus_count += len(surplus)
        surplus.clear()
        self._there.clear()

    def count(self) -> tuple[int, int]:
        """Return how many of the items are there, and their bytes."""
        objects, size_bytes = self._tables.execute(_COUNTED).fetchone()
        return objects, size_bytes

    def missing(self) -> Iterator[CopyItem]:
        """Yield the items that are not there, in their order."""
        return (CopyItem(*row) for row in self._tables.execute(_MISSING))

    def there(self) -> Iterator[CopiedObject]:
        """Yield the items that are there, in their order, as the destination has them."""
        return (CopiedObject(*row) for row in self._tables.execute(_THERE))

    def surplus(self, at_a_time: int) -> Iterator[list[str]]:
        """Yield the keys of what does not belong into the folders, so many at a time."""
        found = self._tables.execute("SELECT key FROM surplus")
        return ([key for (key,) in some] for some in batched(found, at_a_time, strict=False))

    def close(self) -> None:
        """Give the disk's space back."""
        self._tables.close()


def _inside(target: CopyTarget, items: Iterable[CopyItem]) -> Iterator[CopyItem]:
    for item in items:
        if not target.contains(item.key):
            msg = f"object {item.key} of target {target.name} lies outside its folders {', '.join(target.folders)}"
            raise WorkingFileError(msg, hint="Verifying lists the folders only; it would never find the object.")
        yield item
