"""When rows were written: field 1 of each segment."""

import pyarrow as pa

from milvus_vault.binlogs import events, parquet
from milvus_vault.errors import BinlogUnreadableError

_TIMESTAMP = 1  # the field's ID
_NONE = pa.nulls(0, pa.int64())


def read_timestamps(body: bytes) -> pa.Array:
    """Return the hybrid timestamps (int64, without nulls) of the rows that one log of a segment holds.

    The log is one of field 1 (storage version 1), or of the column group with that field (storage version 2). Raises
    `BinlogUnreadableError`.
    """
    if parquet.is_bare(body):
        file = parquet.ParquetFile(body)
        name = file.column_of(_TIMESTAMP)
        if name is None:
            msg = "it has no column of timestamps"
            raise BinlogUnreadableError(msg)
        return _joined(file, name)
    log = events.read(body)
    if log.field_id != _TIMESTAMP:
        msg = f"it is a log of field {log.field_id}, not of timestamps"
        raise BinlogUnreadableError(msg)
    found = []
    for event in log.events:
        if event.kind != events.Kind.ROWS:
            msg = f"it has an event of kind {event.kind} among its rows"
            raise BinlogUnreadableError(msg)
        file = parquet.ParquetFile(event.payload)
        if len(file.schema) != 1:
            msg = f"it has {len(file.schema)} columns where one was expected"
            raise BinlogUnreadableError(msg)
        found.append(_joined(file, file.schema.field(0).name))
    return pa.concat_arrays(found)


def count_column_groups(body: bytes) -> int:
    """Return of how many column groups the rows of a log consist, as it says itself; 0: each field has logs of its own.

    Raises `BinlogUnreadableError`.
    """
    return len(parquet.ParquetFile(body).column_groups) if parquet.is_bare(body) else 0


def _joined(file: parquet.ParquetFile, name: str) -> pa.Array:
    kind = file.schema.field(name).type
    if kind != pa.int64():
        msg = f"its timestamps are of type {kind}"
        raise BinlogUnreadableError(msg)
    return pa.concat_arrays([_NONE, *(parquet.whole(batch.column(0), "timestamps") for batch in file.batches([name]))])
