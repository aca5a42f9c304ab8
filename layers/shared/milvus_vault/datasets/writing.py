"""WriteRows: write the files of one batch of a dataset."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from milvus_vault.archive.contents import ArchivedCollection, ArchivedPartition
from milvus_vault.archive.manifest import read_object_list
from milvus_vault.claims import check_owner
from milvus_vault.copying.working_files import BatchError
from milvus_vault.datasets.working_files import (
    PLAN,
    Batch,
    DatasetPlan,
    DatasetSource,
    PlannedFile,
    WrittenFile,
    WrittenName,
    attempt_of_batch,
    error_name,
    list_written,
    source_name,
)
from milvus_vault.errors import VaultError
from milvus_vault.model.collections import SegmentLevel
from milvus_vault.model.messages_rows import WriteRowsResult
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.rows import Rows, read_segments
from milvus_vault.rows.writing import parquet_pieces
from milvus_vault.workspace import Workspace

RESERVE_SECONDS = 450.0
"""What is kept of a task's time for a file that is begun. One of 512 MiB of logs takes a fraction of it; a larger
segment, which has a file for itself, is begun with all the time that a task has."""


@dataclass(slots=True)
class _Counted:
    """What has gone by."""

    row_count: int = 0
    size_bytes: int = 0

    def rows(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield batches as they come."""
        for batch in batches:
            self.row_count += batch.num_rows
            yield batch

    def pieces(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield pieces as they come."""
        for piece in pieces:
            self.size_bytes += len(piece)
            yield piece


def write_batch(run: Workspace, name: str, *, seconds_left: Callable[[], float]) -> WriteRowsResult:
    """Write the files of a batch that are not written, and return how far it is. Safe to repeat: keys are the same.

    A file is there once it is whole. Where time runs short before the next one, the next call goes on.

    Args:
        run: The run's working files.
        name: Of the batch.
        seconds_left: How long the invocation may still take.

    Raises:
        RunTakenOverError: Another execution writes the dataset by now.
        BackupDamagedError: An object of the backup is missing, or not the one that was recorded. This and other lasting
            failures are left for PrepareExport, which raises them.
        BinlogUnreadableError: The content of an object cannot be read; likewise.
        StorageThrottledError: S3 wants fewer requests; files that were written before stay.
        StorageUnavailableError: S3 failed; likewise.
    """
    plan, batch = run.read(PLAN, DatasetPlan), run.read(f"{name}.json", Batch)
    writer = _Writer(run, name, plan, batch.index)
    there = list_written(run, f"{plan.written}{batch.index}-")
    waiting = [file for file in batch.files if WrittenName.of(batch.index, file) not in there]
    row_count = size_bytes = 0
    try:
        for place, file in enumerate(waiting):
            if place and seconds_left() < RESERVE_SECONDS:
                return WriteRowsResult(is_done=False, file_count=place, row_count=row_count, size_bytes=size_bytes)
            found = writer.write(file)
            row_count += found.row_count
            size_bytes += found.size_bytes
    except VaultError as err:
        if not err.retryable:
            error = BatchError(error=type(err).__name__, message=err.message, hint=err.hint)
            run.write(error_name(name), error)
        raise
    return WriteRowsResult(is_done=True, file_count=len(waiting), row_count=row_count, size_bytes=size_bytes)


class _Writer:
    """Writes files of one collection."""

    def __init__(self, run: Workspace, name: str, plan: DatasetPlan, index: int) -> None:
        self._run, self._plan, self._index = run, plan, index
        self._attempt = attempt_of_batch(name)
        self._collection = run.read(source_name(self._attempt, index), DatasetSource).collection
        self._objects: list[ArchivedObject] = list(read_object_list(run.read_bytes(f"{name}.jsonl")))

    def write(self, file: PlannedFile) -> WrittenFile:
        """Write a file, then that it is written."""
        run, layout = self._run, self._plan.layout
        collection = only(self._collection, file)
        rows = read_segments(run.store, run.bucket, self._plan.request.backup_name, collection, self._objects)
        counted = _Counted()
        pieces = counted.pieces(parquet_pieces(Rows(rows.schema, counted.rows(rows.batches))))
        key = layout.file(self._collection.name, file.number)
        run.store.put_in_parts(layout.bucket, key, self._owned(pieces))
        written = WrittenFile(size_bytes=counted.size_bytes, row_count=counted.row_count, left_out=dict(rows.left_out))
        run.write(WrittenName.of(self._index, file).below(self._plan.written), written)
        return written

    def _owned(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield pieces while nobody else writes the dataset: a file that is begun too late is not ended."""
        check_owner(self._run, self._attempt)
        yield from pieces
        check_owner(self._run, self._attempt)


def only(collection: ArchivedCollection, file: PlannedFile) -> ArchivedCollection:
    """Return a collection with the segments of one file, and with all of level 0."""

    def stays(partition: ArchivedPartition) -> ArchivedPartition:
        wanted = set(file.segments) if partition.partition_id == file.partition_id else set[int]()
        segments = (
            found for found in partition.segments if found.segment_id in wanted or found.level is SegmentLevel.L0
        )
        return replace(partition, segments=tuple(segments))

    return replace(collection, partitions=tuple(map(stays, collection.partitions)))
