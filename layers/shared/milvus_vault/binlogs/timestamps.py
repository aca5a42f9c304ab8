"""When rows were written: field 1 of each segment."""

import pyarrow as pa

from milvus_vault.binlogs import parquet
from milvus_vault.binlogs.rows import InsertLog
from milvus_vault.errors import BinlogUnreadableError
from milvus_vault.model.collections import TIMESTAMP

_NONE = pa.nulls(0, pa.int64())


def read_timestamps(body: bytes) -> pa.Array:
    """Return the hybrid timestamps (int64, without nulls) of the rows that one log of a segment holds.

    The log is one of field 1 (storage version 1), or of the column group with that field (storage version 2). Raises
    `BinlogUnreadableError`.
    """
    return timestamps_in(InsertLog(body))


def timestamps_in(log: InsertLog) -> pa.Array:
    """Return the timestamps of a log that was opened, as `read_timestamps`."""
    if TIMESTAMP not in log.field_ids:
        msg = "it has no column of timestamps"
        if log.place:
            msg = f"it is a log of field {log.field_ids[0]}, not of timestamps"
        raise BinlogUnreadableError(msg)
    return pa.concat_arrays([_NONE, *(_whole(stored) for stored in log.stored(TIMESTAMP))])


def count_column_groups(body: bytes) -> int:
    """Return of how many column groups the rows of a log consist, as it says itself; 0: each field has logs of its own.

    Raises `BinlogUnreadableError`.
    """
    return len(parquet.ParquetFile(body).column_groups) if parquet.is_bare(body) else 0


def _whole(stored: pa.Array) -> pa.Array:
    if stored.type != pa.int64():
        msg = f"its timestamps are of type {stored.type}"
        raise BinlogUnreadableError(msg)
    return parquet.whole(stored, "timestamps")
