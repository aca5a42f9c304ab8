"""What Milvus' own files hold: the values of rows, when they were written, and which keys were deleted when.

Pure functions over the bytes of one file, for the logs of Milvus from 2.2 on. Bytes that are no such log, or no whole
one, are a `BinlogUnreadableError`, whose message lacks the key: only the caller knows it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from milvus_vault.binlogs.deletes import Deletes, DeltaLog, compose_deletes, cut_deletes, open_deletes, read_deletes
from milvus_vault.binlogs.timestamps import count_column_groups, read_timestamps
from milvus_vault.errors import BinlogUnreadableError

__all__ = [
    "Deletes",
    "DeltaLog",
    "compose_deletes",
    "count_column_groups",
    "cut_deletes",
    "named",
    "naming",
    "open_deletes",
    "read_deletes",
    "read_timestamps",
]


def named[Result](key: str, body: bytes, read: Callable[[bytes], Result]) -> Result:
    """Return what is read of an object's content. Raises `BinlogUnreadableError` with its key."""
    with naming(key):
        return read(body)


@contextmanager
def naming(key: str) -> Iterator[None]:
    """Give a `BinlogUnreadableError` the key of the object that is read."""
    try:
        yield
    except BinlogUnreadableError as err:
        msg = f"{key}: {err.message}"
        raise BinlogUnreadableError(msg) from err
