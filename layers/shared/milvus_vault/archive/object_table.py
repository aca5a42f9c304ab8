"""The objects of a collection as a backup lists them, on the function's disk: there may be millions of them."""

from collections.abc import Callable, Iterable, Iterator
from itertools import starmap
from typing import Any, Literal, NamedTuple

from milvus_vault.errors import BackupDamagedError, WorkingFileError
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.tables import evenly, open_tables, room_on_disk

_SCHEMA = """
CREATE TABLE items (
    position INTEGER PRIMARY KEY, part TEXT, key TEXT, source_key TEXT, size_bytes INTEGER, etag TEXT, checksum TEXT
);
CREATE TABLE there (position INTEGER PRIMARY KEY, etag TEXT);
"""
_READ = "SELECT key, source_key, size_bytes, etag, checksum FROM items"
_OF_PART = f"{_READ} WHERE part = ? ORDER BY position"
_RECORDED = "SELECT key, position, size_bytes, etag, checksum FROM items"
_OF_KEY = f"{_RECORDED} WHERE key = ? ORDER BY position"
_BY = {
    "position": " ORDER BY position",
    "stored_key": " ORDER BY key, position",
    "source_key": " ORDER BY source_key, position",
}
_NOTED = """
SELECT key, source_key, size_bytes, items.etag, checksum, there.etag
FROM items LEFT JOIN there USING (position)
"""
_MISSING = """
SELECT DISTINCT key FROM items LEFT JOIN there USING (position) WHERE there.position IS NULL ORDER BY position
"""
_INDEXES = {"key": "CREATE INDEX by_key ON items (key)", "part": "CREATE INDEX by_part ON items (part)"}
_KEPT_TOGETHER = 1000

type Order = Literal["position", "stored_key", "source_key"]


class Recorded(NamedTuple):
    """What a list says of one key."""

    positions: tuple[int, ...]
    """Where it stands, which is one place in every list that is in order."""
    size_bytes: int
    etag: str
    checksum: str


class _Walk:
    """A walk through rows that are in the order of their keys, which come first in them."""

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self._rows = rows
        self._ahead = next(rows, None)
        self.passed = ""
        """The last key that was asked for: what is behind it is still ahead."""

    def to(self, key: str) -> list[tuple[Any, ...]]:
        """Return the rows of a key behind the last one, none of which is to be asked for again."""
        self.passed = key
        while self._ahead and self._ahead[0] < key:
            self._ahead = next(self._rows, None)
        found = []
        while self._ahead and self._ahead[0] == key:
            found.append(self._ahead)
            self._ahead = next(self._rows, None)
        return found


class ObjectTable:
    """The objects of a collection, in the order of its list, told as often as they are asked for.

    For one thread at a time. A listing can be written beside them: which of them were found.
    """

    def __init__(
        self, objects: Iterable[ArchivedObject], part_of: Callable[[ArchivedObject], str] | None = None
    ) -> None:
        """Take objects in.

        Args:
            objects: In the order in which they are to be told again.
            part_of: Returns which part of the collection an object is of, as `of` is asked for it.

        Raises:
            BackupDamagedError: What is recorded of one cannot be of an object in S3; and what reading `objects` raises.
            DiskFullError: There are more than the disk has room for.
        """
        self._tables = open_tables(_SCHEMA)
        self._found: list[tuple[int, str | None]] = []
        self._indexes: set[str] = set()
        self._reading: ArchivedObject | None = None
        self._walk: _Walk | None = None
        self.size_bytes = 0
        """Of all of them."""
        rows = ((n, part_of(o) if part_of else "", *o) for n, o in enumerate(self._read(objects)))
        try:
            with room_on_disk():
                self.count = self._tables.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?)", rows).rowcount
        except (UnicodeEncodeError, OverflowError) as err:
            # JSON can name half of a character, and a number of any length; S3 has neither.
            msg = f"what is recorded of an object cannot be of one in S3: {self._reading!r:.200}"
            raise BackupDamagedError(msg, hint="Restore the other collections, or from another backup.") from err

    def _read(self, objects: Iterable[ArchivedObject]) -> Iterator[ArchivedObject]:
        for item in objects:
            self._reading = item
            self.size_bytes += item.size_bytes
            yield item

    def __iter__(self) -> Iterator[ArchivedObject]:
        """Yield all, in their order."""
        return self.sorted_by("position")

    def of(self, part: str) -> Iterator[ArchivedObject]:
        """Yield those of a part, in their order."""
        self._index("part")
        return starmap(ArchivedObject, self._rows(_OF_PART, part))

    def sorted_by(self, order: Order) -> Iterator[ArchivedObject]:
        """Yield all, by their place in the list, by where they lie, or by where Milvus kept them."""
        return starmap(ArchivedObject, self._rows(_READ + _BY[order]))

    def keys_evenly(self) -> list[str]:
        """Return some thousand of the keys where they lie, as `list_in_spans` takes marks."""
        self._index("key")
        return evenly(self._tables, "items")

    def find(self, stored_key: str) -> Recorded | None:
        """Return what is recorded of a key: where that is more than once, what is recorded last. None: nothing is.

        Asked for in their order, as S3 lists them, all keys are found by one walk through the table.
        """
        self._index("key")
        if self._walk is None:
            self._walk = _Walk(self._rows(_RECORDED + _BY["stored_key"]))
        is_ahead = stored_key > self._walk.passed
        rows = self._walk.to(stored_key) if is_ahead else self._rows(_OF_KEY, stored_key)
        found = [*rows]
        return Recorded(tuple(row[1] for row in found), *found[-1][2:]) if found else None

    def proven(self, stored_key: str) -> Recorded:
        """Return what is recorded of a copy that has to be there. Raises `WorkingFileError` where it is not."""
        if (found := self.find(stored_key)) is None:
            msg = f"object {stored_key} belongs to what was found complete, and is not among it"
            raise WorkingFileError(msg, hint="Delete the run's folder and start the run again.")
        return found

    def note(self, found: Recorded, etag: str | None) -> None:
        """Note that an object was listed: with which ETag, if it is as it was and can be read, else None."""
        for position in found.positions:
            self._found.append((position, etag))
        if len(self._found) >= _KEPT_TOGETHER:
            self._keep()

    def noted(self, order: Order = "position") -> Iterator[tuple[ArchivedObject, str | None]]:
        """Yield all, sorted as `sorted_by` does, each with the ETag that was noted of it, or None."""
        self._keep()
        return ((ArchivedObject(*row[:5]), row[5]) for row in self._rows(_NOTED + _BY[order]))

    def forget_notes(self) -> None:
        """Be as before the first note."""
        self._found.clear()
        self._walk = None
        self._tables.execute("DELETE FROM there")

    def missing(self) -> list[str]:
        """Return the keys of those that were not noted, in their order."""
        self._keep()
        return [key for (key,) in self._rows(_MISSING)]

    def _rows(self, query: str, *values: str) -> Iterator[tuple[Any, ...]]:
        # What is sorted goes to the disk as well, ahead of the first row.
        with room_on_disk():
            return self._tables.execute(query, values)

    def _keep(self) -> None:
        with room_on_disk():
            self._tables.executemany("INSERT OR REPLACE INTO there VALUES (?, ?)", self._found)
        self._found.clear()

    def _index(self, column: Literal["key", "part"]) -> None:
        """Make an index, if it is not there."""
        if column not in self._indexes:
            with room_on_disk():
                self._tables.execute(_INDEXES[column])
            self._indexes.add(column)

    def close(self) -> None:
        """Give the disk's space back, which is otherwise given back with the last reference."""
        self._tables.close()
