"""Tables on the function's disk, for what a run may have millions of.

The tables are SQLite's, in a temporary file of its own that nobody else can open and that is gone with the connection.
Few pages of it are held in memory. The file is made with the first page that finds no room there, so that small tables
need none, and large ones take no more memory than that.

A merge of sorted streams would need no tables, but nothing comes sorted: an item list is in the order in which a
restore imports, records are in that of the batches, and a store may list in any order. All three would have to be
sorted first, on the same disk.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from errno import ENOSPC
from itertools import islice
from typing import Literal

from milvus_vault.errors import DiskFullError
from milvus_vault.model.objects import ListedObject

LISTED = "key TEXT, size_bytes INTEGER, etag TEXT, modified_at TEXT, archive_class TEXT"
"""The columns of an object as a listing shows it."""

# The name by which SQLite makes a database in a temporary file, which it deletes as soon as it has opened it.
_OF_ITS_OWN = ""

# Of each table. Some 60 are open at a time, where many small targets are looked at side by side.
_CACHE_KIB = 4096
_EVENLY = 10_000


class _Tables(sqlite3.Connection):
    """Tables that nobody has to close."""

    def __del__(self) -> None:
        """Give the disk's space back."""
        self.close()


def open_tables(schema: str) -> sqlite3.Connection:
    """Return a connection to new tables, for one thread at a time. They are gone with it.

    Args:
        schema: Statements that make the tables.
    """
    connection = sqlite3.connect(_OF_ITS_OWN, isolation_level=None, check_same_thread=False, factory=_Tables)
    # What is lost with the function is made anew by its next call. Without a journal nothing is written twice.
    connection.executescript(
        f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{_CACHE_KIB}; BEGIN; {schema}"
    )
    return connection


def listed_row(listed: ListedObject) -> tuple[str, int, str, str | None, str]:
    """Return the values of the columns `LISTED`."""
    modified_at = listed.modified_at.isoformat() if listed.modified_at else None
    return listed.key, listed.size_bytes, listed.etag, modified_at, listed.archive_class


def listed_object(key: str, size_bytes: int, etag: str, modified_at: str | None, archive_class: str) -> ListedObject:
    """Return the object that has these values of the columns `LISTED`."""
    when = datetime.fromisoformat(modified_at) if modified_at else None
    return ListedObject(key, size_bytes, etag, when, archive_class)


def evenly(tables: sqlite3.Connection, table: Literal["items", "known"]) -> list[str]:
    """Return some thousand keys of a table, in order, with as many others between any two as between two others."""
    query = {"items": "SELECT key FROM items ORDER BY key", "known": "SELECT key FROM known ORDER BY key"}[table]
    (count,) = tables.execute(query.replace("SELECT key", "SELECT count(*)")).fetchone()
    return [key for (key,) in islice(tables.execute(query), 0, None, count // _EVENLY + 1)]


@contextmanager
def room_on_disk() -> Iterator[None]:
    """Raise `DiskFullError` where tables, or other files, find no room."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as err:
        code = err.sqlite_errorcode if isinstance(err, sqlite3.OperationalError) else err.errno
        if code != (sqlite3.SQLITE_FULL if isinstance(err, sqlite3.OperationalError) else ENOSPC):
            raise
        msg = "the disk of the function is full: it holds what is copied and what is there, to compare them"
        raise DiskFullError(msg, hint="Raise EphemeralStorage of the function in the template.") from err
