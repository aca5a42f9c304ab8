"""What proves that a log holds what its key and the backup's metadata say."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from milvus_vault.binlogs import events, parquet
from milvus_vault.binlogs.deletes import read_deletes
from milvus_vault.errors import BinlogUnreadableError
from milvus_vault.model.collections import CollectionSchema

_DELTA_LOG = "delta_log"


@dataclass(frozen=True, slots=True)
class ExpectedLog:
    """What a log must be, by its key and the backup's metadata."""

    kind: str
    collection_id: int
    partition_id: int
    segment_id: int
    field_id: int
    storage_version: int
    schema: CollectionSchema
    newest: int | None


@dataclass(frozen=True, slots=True)
class CheckedLog:
    """What was found of a log."""

    row_count: int
    problems: tuple[str, ...]


def check_log(content: pa.Buffer, expected: ExpectedLog) -> CheckedLog:
    """Return what was found of a log: nothing is raised."""
    body = memoryview(content).cast("B")
    try:
        if bytes(body[: len(parquet.MAGIC)]) == parquet.MAGIC:
            return CheckedLog(_rows(body), ())
        log = events.read(body)  # type: ignore[arg-type]
        ids = (expected.collection_id, expected.partition_id, expected.segment_id)
        problems: tuple[str, ...] = (
            () if log.ids == ids else (f"it is of collection, partition and segment {log.ids}, not {ids}",)
        )
        if expected.kind == _DELTA_LOG:
            return CheckedLog(len(read_deletes(bytes(body)).keys), problems)
        if log.field_id != expected.field_id:
            problems += (f"it is of field {log.field_id}, not {expected.field_id}",)
        return CheckedLog(sum(_rows(event.payload) for event in log.events), problems)
    except BinlogUnreadableError as err:
        return CheckedLog(0, (err.message,))


def _rows(payload: memoryview) -> int:
    return sum(batch.num_rows for batch in parquet.ParquetFile(payload).batches())


def check_segment(row_count: int, logs: Mapping[tuple[int, int], int]) -> tuple[str, ...]:
    """Return what is wrong with the rows of a segment, by field or column group and the log's own ID."""
    rows = Counter[int]()
    for (field, _), count in logs.items():
        rows[field] += count
    return tuple(
        f"its logs of field {field} have {found:,} rows, and metadata says {row_count:,}"
        for field, found in rows.items()
        if found != row_count
    )
