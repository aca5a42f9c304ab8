"""Copy the objects of one batch: many at a time, as fast as S3 takes them, resumable."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from milvus_vault.copying.pacer import RATE_HOLDS_SECONDS, Pacer
from milvus_vault.copying.working_files import (
    BatchError,
    BatchResult,
    CopyRecord,
    attempt_of_batch,
    copied_name,
    copied_prefix,
    error_name,
    most_complete,
    parse_batch_name,
    parse_copied_name,
    read_batch,
    read_job,
    read_records,
    records_body,
)
from milvus_vault.errors import (
    BucketNotFoundError,
    CopyUnfinishedError,
    ObjectArchivedError,
    ObjectChangedError,
    ObjectNotFoundError,
    StorageAccessDeniedError,
    StorageRequestError,
    StorageThrottledError,
    StorageUnavailableError,
    VaultError,
)
from milvus_vault.model.objects import CopyItem, CopyJob
from milvus_vault.workspace import Workspace

RESERVE_SECONDS = 20.0
"""What is kept of a task's time to write down what is done: 10 s for requests in flight to end, the rest
for two small writes. A copy that is not done by then (only those in parts take longer) is made again."""

CHECKPOINT_SECONDS = 20.0
"""How often a batch writes down what is done: what a killed function repeats at most, and how fresh the
progress is. A batch of 1,000 objects takes some 5 s, and so writes once."""

UNAVAILABLE_ATTEMPTS = 4
"""Copies of one object that may fail with an error of S3's own before it is left to the task's retry."""

UNAVAILABLE_WAIT_SECONDS = 0.5
"""Wait before the second attempt; doubled each time: 0.5 + 1 + 2 s in all."""

FAILED_OBJECTS = 16
"""Objects that may be refused, or use up their attempts, before the batch stops: then the cause is not the objects."""


@dataclass(slots=True)
class _Work:
    """A batch under way; what its threads share."""

    run: Workspace
    job: CopyJob
    pacer: Pacer
    clock: Callable[[], float]
    waiting: deque[CopyItem]
    records: list[CopyRecord]
    copied_bytes: int
    left: int
    """Items that are not settled."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    stop: threading.Event = field(default_factory=threading.Event)
    refused: list[VaultError] = field(default_factory=list)
    """One error for each item that S3 refuses to copy; no retry can help them."""
    unavailable: list[StorageUnavailableError] = field(default_factory=list)
    """One error for each item that used up its attempts."""

    def work(self) -> None:
        """Copy items until none waits or the batch stops. One thread's whole life."""
        while not self.stop.is_set():
            try:
                item = self.waiting.popleft()
            except IndexError:
                return
            self._settle(item)

    def snapshot(self) -> tuple[list[CopyRecord], int]:
        """Return the records so far, and how many bytes are copied."""
        with self.lock:
            return list(self.records), self.copied_bytes

    def _settle(self, item: CopyItem) -> None:
        """Copy an item, however often it takes, and record what became of it."""
        failures = 0
        while not self.stop.wait(self.pacer.reserve()):
            sent_at = self.clock()
            try:
                copied = self.run.store.copy(self.job, item)
            except StorageThrottledError:
                self.pacer.throttled(sent_at)
            except StorageUnavailableError as err:
                failures += 1
                if failures == UNAVAILABLE_ATTEMPTS:
                    self._leave(err)
                    return
                self.stop.wait(UNAVAILABLE_WAIT_SECONDS * 2 ** (failures - 1))
            except ObjectNotFoundError:
                self._record(CopyRecord(item.key, "missing", "", "", item.source_etag))
                return
            except ObjectChangedError:
                self._record(CopyRecord(item.key, "changed", "", "", item.source_etag))
                return
            except (StorageAccessDeniedError, BucketNotFoundError, ObjectArchivedError, StorageRequestError) as err:
                self._refuse(err)
                return
            else:
                record = CopyRecord(item.key, "copied", copied.etag, copied.checksum, item.source_etag)
                self._record(record, item.size_bytes)
                return

    def _record(self, record: CopyRecord, copied_bytes: int = 0) -> None:
        with self.lock:
            self.records.append(record)
            self.copied_bytes += copied_bytes
            self.left -= 1

    def _leave(self, err: StorageUnavailableError) -> None:
        with self.lock:
            self.unavailable.append(err)
            if len(self.unavailable) >= FAILED_OBJECTS:
                self.stop.set()

    def _refuse(self, err: VaultError) -> None:
        with self.lock:
            self.refused.append(err)
            if len(self.refused) >= FAILED_OBJECTS:
                self.stop.set()


def copy_batch(
    run: Workspace,
    batch_name: str,
    *,
    threads: int,
    deadline_seconds_left: Callable[[], float],
    pacer: Pacer | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> BatchResult:
    """Return what became of the objects of a batch, after copying those that were not settled before.

    Idempotent: what an earlier invocation wrote down is not copied again, and copying an object again
    gives the same object. A source that is missing or is another one is recorded, not raised: compaction
    replaced the segment, and verification sends the collection round again. Throttling is waited out. A
    refusal that no retry helps is recorded beside the result and returned: it must not cost the other objects.

    Args:
        run: The run's working files.
        batch_name: Which batch, by its name in the list that `plan_copy` wrote.
        threads: Objects that are copied at a time.
        deadline_seconds_left: How long the invocation may still take.
        pacer: Carries the rate that S3 was found to take from one batch to the next; by default a new one. One that has
            found none goes on at that of the batch of this round that was written down last.
        clock: Seconds that only grow, the pacer's own clock.

    Raises:
        CopyUnfinishedError: Time ran out; what is done is recorded, and the next invocation goes on.
        StorageUnavailableError: S3 failed on some objects again and again; likewise recorded.
        ObjectNotFoundError: The batch or its job does not exist.
        WorkingFileError: A working file is damaged.
    """
    folder, number = parse_batch_name(batch_name)
    job = read_job(run, attempt_of_batch(batch_name))
    items = read_batch(run, batch_name)
    pacer = pacer or Pacer(clock)
    found = list(run.documents(copied_prefix(folder, number)))
    if (rate := _rate_of_others(found)) is not None:
        pacer.resume(rate)
    earlier = [name for name in most_complete(name for name, _ in found) if name.number == number]
    records = list(read_records(run, earlier[0].name)) if earlier else []
    if earlier:
        # The retry decides anew: what was refused may be allowed by now.
        run.delete([error_name(folder, number)])
    settled = {(record.key, record.source_etag) for record in records}
    waiting = deque(item for item in items if (item.key, item.source_etag) not in settled)
    work = _Work(
        run=run,
        job=job,
        pacer=pacer,
        clock=clock,
        waiting=waiting,
        records=records,
        copied_bytes=earlier[0].bytes if earlier else 0,
        left=len(waiting),
    )

    def write_down() -> int:
        done, copied_bytes = work.snapshot()
        run.write_bytes(copied_name(folder, number, len(done), copied_bytes, pacer.rate), records_body(done))
        return len(done)

    _run_threads(work, threads, deadline_seconds_left, write_down)
    write_down()
    error = None
    if work.refused:
        first = work.refused[0]
        error = BatchError(error=type(first).__name__, message=first.message, hint=first.hint)
        run.write(error_name(folder, number), error)
    elif work.unavailable:
        raise work.unavailable[0]
    elif work.left:
        msg = f"{work.left} of {len(items)} objects of batch {batch_name} were not copied in time"
        raise CopyUnfinishedError(msg, hint="A retry goes on from here. If it never ends, lower COPY_BATCH_BYTES.")
    return _result(batch_name, work, error)


def _rate_of_others(found: Iterable[tuple[str, datetime | None]]) -> int | None:
    """Return the rate of the batch that was written down last, unless that is too long ago."""
    since = datetime.now(UTC) - timedelta(seconds=RATE_HOLDS_SECONDS)
    rates = [
        (written_at, copied.rate)
        for name, written_at in found
        if written_at and written_at > since and (copied := parse_copied_name(name)) and copied.rate is not None
    ]
    return max(rates)[1] if rates else None


def _run_threads(
    work: _Work, threads: int, deadline_seconds_left: Callable[[], float], write_down: Callable[[], int]
) -> None:
    """Let the threads copy until all is settled, the batch stops, or its time is over."""
    if not work.waiting or deadline_seconds_left() <= RESERVE_SECONDS:
        return
    executor = ThreadPoolExecutor(min(threads, len(work.waiting)), thread_name_prefix="copy")
    written = len(work.records)
    running = {executor.submit(work.work) for _ in range(min(threads, len(work.waiting)))}
    try:
        while running and (left := deadline_seconds_left() - RESERVE_SECONDS) > 0:
            done, running = wait(running, timeout=min(CHECKPOINT_SECONDS, left), return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()  # A bug in a thread is raised here, not lost.
            if running and len(work.records) > written:
                written = write_down()
        work.stop.set()
        # S3 finishes the copies that it has started: leave time to record them.
        wait(running, timeout=RESERVE_SECONDS / 2)
    finally:
        work.stop.set()
        # Not waited for: a copy in many parts may take longer than the invocation has.
        executor.shutdown(wait=False, cancel_futures=True)


def _result(batch_name: str, work: _Work, error: BatchError | None) -> BatchResult:
    records, copied_bytes = work.snapshot()
    statuses = [record.status for record in records]
    return BatchResult(
        batch=batch_name,
        copied_count=statuses.count("copied"),
        missing_count=statuses.count("missing"),
        changed_count=statuses.count("changed"),
        copied_bytes=copied_bytes,
        error=error,
    )
