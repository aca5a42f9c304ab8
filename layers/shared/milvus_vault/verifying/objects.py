"""CheckObjects: look at the objects of one batch, one by one, and write down what was found of each."""

import hashlib
import mmap
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from threading import Event, Lock

import pyarrow as pa

from milvus_vault.archive.layout import DELTA_LOG, INSERT_LOG, LogKey, parse_log_key
from milvus_vault.archive.other_etags import are_comparable, etag_hashes
from milvus_vault.binlogs.checking import ExpectedLog, check_log, check_segment
from milvus_vault.copying.working_files import BatchError
from milvus_vault.errors import (
    ObjectArchivedError,
    ObjectChangedError,
    ObjectNotFoundError,
    StorageUnavailableError,
    VaultError,
)
from milvus_vault.model.collections import ALL_PARTITIONS
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.messages_verify import CheckObjectsResult
from milvus_vault.model.versions import PACKED_VERSION
from milvus_vault.ports import ObjectStore
from milvus_vault.verifying.checksums import checksum_of, is_as_good_as_an_etag, is_of_content
from milvus_vault.verifying.locks import lock_problem
from milvus_vault.verifying.working_files import (
    JOB,
    LOCKED,
    CheckedBatch,
    CheckedCollection,
    CheckItem,
    CheckJob,
    CheckRecord,
    Finding,
    batch_name,
    collection_name,
    done_name,
    error_name,
    read_items,
    read_records,
    write_records,
)
from milvus_vault.workspace import Workspace

IN_MEMORY_BYTES = 16 * 1024**2
"""Larger objects go into a file, one at a time: so that 8 threads hold 128 MiB, whatever the objects' size."""

DEEP_THREADS = 8
"""Objects that are read at a time: one is hashed and parsed while others come in."""

CHECKSUM_THREADS = 64
"""Requests at a time, as CopyBatch has."""

RESERVE_SECONDS = 30.0
"""What is kept of a task's time to write down what was found. An object that is not read by then is read again."""

CHECKPOINT_SECONDS = 20.0
"""How often is written down what was found: what a killed function repeats at most."""

READ_ATTEMPTS = 3
"""Reads of one object whose connection broke, before it is left to the task's retry."""


@dataclass(slots=True)
class _Batch:
    """A batch under way."""

    run: Workspace
    number: int
    job: CheckJob
    items: list[CheckItem]
    collections: dict[int, CheckedCollection]
    records: dict[str, CheckRecord]
    large: Lock = field(default_factory=Lock)
    """Held by who has an object in a file."""
    stop: Event = field(default_factory=Event)
    """Set when time is over: what is still read is read again by the next call."""

    @property
    def store(self) -> ObjectStore:
        return self.run.store

    def check(self, item: CheckItem) -> CheckRecord | None:
        """Look at one object; None where time was over first. Raises what keeps it from being looked at."""
        try:
            is_checksum = self.job.level == "checksum"
            record = self._compare_checksum(item) if is_checksum else self._read_persistently(item)
            return record if record is None or self.job.lock is None else self._with_lock(item, record, self.job.lock)
        except ObjectNotFoundError:
            return self._damaged(item, "it is missing")
        except ObjectChangedError:
            return self._damaged(item, "it was changed after it was listed: it has another ETag")
        except ObjectArchivedError:
            text = f"{self.collections[item.collection].name}: {item.key} is archived"
            return CheckRecord(item.collection, item.key, "archived", 0, 0, "", text)

    def _with_lock(self, item: CheckItem, record: CheckRecord, lock: ObjectLock) -> CheckRecord:
        wrong = lock_problem(self.store.lock_of(self.run.bucket, item.key), lock)
        return record._replace(lock=f"{self._place(item)}: {wrong}" if wrong else LOCKED)

    def _compare_checksum(self, item: CheckItem) -> CheckRecord:
        here = self.store.checksum(self.run.bucket, item.key, item.etag)
        if not here or not are_comparable(item.checksum, here):
            return CheckRecord(item.collection, item.key, "incomparable", 0, 0, "", "")
        if here != item.checksum:
            return self._damaged(item, f"S3 keeps the checksum {here} with it, and {item.checksum} was recorded")
        return CheckRecord(item.collection, item.key, "checksum", 0, 0, "", "")

    def _read_persistently(self, item: CheckItem) -> CheckRecord | None:
        for _ in range(READ_ATTEMPTS - 1):
            with suppress(StorageUnavailableError):
                return self._read(item)
        return self._read(item)

    def _read(self, item: CheckItem) -> CheckRecord | None:
        hashes = _Hashes(item)
        if item.size_bytes <= IN_MEMORY_BYTES:
            body = bytearray()
            for chunk in self._chunks(item, hashes):
                body += chunk
            return None if self.stop.is_set() else self._judge(item, hashes, pa.py_buffer(body))
        with self.large, TemporaryFile() as file:
            for chunk in self._chunks(item, hashes):
                file.write(chunk)
            file.flush()
            # The mapping ends with the last buffer that points into it, and the space on the disk with that.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.tell() else b""
            return None if self.stop.is_set() else self._judge(item, hashes, pa.py_buffer(mapped))

    def _chunks(self, item: CheckItem, hashes: "_Hashes") -> Iterator[bytes]:
        """Yield the content as far as there is time, and hash it."""
        for chunk in self.store.chunks(self.run.bucket, item.key, item.etag):
            if self.stop.is_set():
                return
            hashes.add(chunk)
            yield chunk

    def _judge(self, item: CheckItem, hashes: "_Hashes", content: pa.Buffer) -> CheckRecord:
        """Return what an object's content is: whether it is what was recorded, and a log as its key says."""
        finding, digest, wrong = self._compare_content(item, hashes, content)
        problems = [wrong] if wrong else []
        if content.size != item.size_bytes:
            problems.append(f"it has {content.size:,} bytes when it is read, and {item.size_bytes:,} when it is listed")
        checked = check_log(content, self._expected(item))
        problems += checked.problems
        if problems:
            text = f"{self._place(item)}: {'; '.join(problems)}"
            return CheckRecord(item.collection, item.key, "damaged", content.size, checked.row_count, "", text)
        return CheckRecord(item.collection, item.key, finding, content.size, checked.row_count, digest, "")

    def _compare_content(self, item: CheckItem, hashes: "_Hashes", content: pa.Buffer) -> tuple[Finding, str, str]:
        """Return how content was proven, the digest to remember, and what is wrong with it, if anything."""
        is_etag_right = hashes.is_etag_right
        is_etag_needless = is_as_good_as_an_etag(item.checksum)
        if not (is_etag_right or is_etag_needless or "-" in item.etag) and self._has_md5_etag(item):
            return "damaged", "", f"its content is not the one of its ETag {item.etag}: something below S3 changed it"
        if is_etag_right and item.recorded_etag:
            return "etag", "", ""
        if is_of_content(item.checksum):
            found = checksum_of(memoryview(content), item.checksum.partition(":")[0])
            is_right = found == item.checksum
            return "checksum", "", "" if is_right else f"its checksum is {found}, and {item.checksum} was recorded"
        digest = hashes.sha256 or hashlib.sha256(content).hexdigest()
        if not item.digest:
            return "baseline", digest, ""
        if item.digest == digest:
            return "digest", "", ""
        return "damaged", "", f"its SHA-256 is {digest}, and was {item.digest} when it was first verified"

    def _has_md5_etag(self, item: CheckItem) -> bool:
        return self.store.has_md5_etag(self.run.bucket, item.key, item.etag)

    def _expected(self, item: CheckItem) -> ExpectedLog:
        collection, log = self.collections[item.collection], _log(item)
        segment = collection.segments.get(log.segment_id)
        return ExpectedLog(
            kind=log.kind,
            collection_id=log.collection_id,
            partition_id=log.partition_id,
            segment_id=log.segment_id,
            field_id=log.field_id,
            storage_version=segment.storage_version if segment else 0,
            schema=collection.collection_schema,
            newest=collection.newest or None,
        )

    def _damaged(self, item: CheckItem, why: str) -> CheckRecord:
        return CheckRecord(item.collection, item.key, "damaged", 0, 0, "", f"{self._place(item)}: {why}")

    def _place(self, item: CheckItem) -> str:
        """Return collection, partition, segment and field of an object, and its key."""
        collection, log = self.collections[item.collection], _log(item)
        return f"{collection.name}, {place_of(collection, log)}, {item.key}"

    def segment_problems(self) -> Iterator[tuple[str, str]]:
        """Yield of each segment whose logs were all read what is wrong with their rows, by the key of the first."""
        logs: defaultdict[tuple[int, int], list[tuple[LogKey, CheckRecord]]] = defaultdict(list)
        for item in self.items:
            log, record = _log(item), self.records[item.key]
            if log.kind == INSERT_LOG:
                logs[item.collection, log.segment_id].append((log, record))
        for (index, number), found in logs.items():
            collection = self.collections[index]
            segment = collection.segments.get(number)
            is_whole = segment is not None and segment.log_count == len(found)
            if not is_whole or segment is None or any(record.problem for _, record in found):
                continue
            rows = {(log.field_id, log.log_id): record.row_count for log, record in found}
            if problems := check_segment(segment.row_count, rows):
                first = min(record.key for _, record in found)
                where = f"{collection.name}, {_partition(collection, found[0][0])}, segment {number}"
                yield first, f"{where}: {'; '.join(problems)}"

    def result(self) -> CheckedBatch:
        """Return what was found of all."""
        records = list(self.records.values())
        count = defaultdict[str, int](int)
        digests: defaultdict[int, dict[str, str]] = defaultdict(dict)
        for record in records:
            count[record.finding] += 1
            if record.digest:
                digests[record.collection][record.key] = record.digest
        damaged = {record.key: record.problem for record in records if record.finding == "damaged"}
        is_deep = self.job.level == "deep"
        return CheckedBatch(
            checksum_count=0 if is_deep else count["checksum"],
            incomparable_count=count["incomparable"],
            read_count=sum(1 for record in records if record.read_bytes) if is_deep else 0,
            read_bytes=sum(record.read_bytes for record in records),
            baseline_count=count["baseline"],
            damaged=damaged | (dict(self.segment_problems()) if is_deep else {}),
            archived=tuple(record.problem for record in records if record.finding == "archived"),
            locked_count=sum(1 for record in records if record.lock == LOCKED),
            unlocked=tuple(record.lock for record in records if record.lock not in {"", LOCKED}),
            digests=digests,
        )


class _Hashes:
    """What is computed of content while it is read."""

    def __init__(self, item: CheckItem) -> None:
        self._etag = item.etag
        is_needless = is_as_good_as_an_etag(item.checksum)
        self._etags = [] if is_needless else list(etag_hashes(item.etag, item.size_bytes))
        # What has an ETag of its content, or a checksum, needs nothing else; of all other contents a digest is compared
        # or remembered.
        is_told = is_of_content(item.checksum) or (item.recorded_etag and "-" not in item.etag)
        self._sha256 = None if is_told else hashlib.sha256()

    def add(self, chunk: bytes) -> None:
        """Go on with the content."""
        for one in self._etags:
            one.add(chunk)
        if self._sha256:
            self._sha256.update(chunk)

    @property
    def is_etag_right(self) -> bool:
        """Return whether the content has the ETag that the object has."""
        return any(one.etag == self._etag for one in self._etags)

    @property
    def sha256(self) -> str:
        """Return the SHA-256 in hexadecimal digits, or an empty text where it was not computed."""
        return self._sha256.hexdigest() if self._sha256 else ""


def _log(item: CheckItem) -> LogKey:
    key = parse_log_key(item.source_key)
    if key is None:
        msg = f"not a log of Milvus: {item.source_key}"
        raise ValueError(msg)
    return key


def place_of(collection: CheckedCollection, log: LogKey) -> str:
    """Return partition, segment and field of a log, in words."""
    where = f"{_partition(collection, log)}, segment {log.segment_id}"
    if log.kind == DELTA_LOG:
        return f"{where}, deletes"
    segment = collection.segments.get(log.segment_id)
    if segment is not None and segment.storage_version >= PACKED_VERSION:
        return f"{where}, column group {log.field_id}"
    names = {0: "row IDs", 1: "timestamps"}
    schema = collection.collection_schema
    fields = (*schema.fields, *(inner for struct in schema.struct_array_fields for inner in struct.fields))
    names |= {found.field_id: f"field {found.name}" for found in fields}
    return f"{where}, {names.get(log.field_id, f'field {log.field_id}')}"


def _partition(collection: CheckedCollection, log: LogKey) -> str:
    if log.partition_id == ALL_PARTITIONS:
        return "all partitions"
    return f"partition {collection.partitions.get(log.partition_id, log.partition_id)}"


def check_batch(
    run: Workspace,
    number: int,
    *,
    seconds_left: Callable[[], float],
    clock: Callable[[], float] = time.monotonic,
) -> CheckObjectsResult:
    """Look at the objects of a batch that were not looked at before, and return how far it is. Safe to repeat.

    What is wrong with an object is written down, and costs no other one. Where time runs out, the next call goes on.

    Args:
        run: The run's working files.
        number: Which batch.
        seconds_left: How long the invocation may still take.
        clock: Seconds that only grow.

    Raises:
        StorageThrottledError: S3 wants fewer requests; what was found is written down.
        StorageUnavailableError: S3 failed on some objects again and again; likewise.
        StorageAccessDeniedError: S3 refuses to give an object; likewise. This and other refusals are left for
            VerifyBackup, which raises them.
        ObjectNotFoundError: There is no such batch.
        WorkingFileError: A working file is damaged.
    """
    done = run.find(done_name(number), CheckedBatch)
    if done is None:
        job, items = run.read(JOB, CheckJob), list(read_items(run, batch_name(number)))
        indexes = {item.collection for item in items}
        batch = _Batch(
            run=run,
            number=number,
            job=job,
            items=items,
            collections={index: run.read(collection_name(index), CheckedCollection) for index in sorted(indexes)},
            records={record.key: record for record in read_records(run, number)},
        )
        failures = _look_at_all(batch, seconds_left, clock)
        lasting = next((err for err in failures if not err.retryable), None)
        if lasting:
            error = BatchError(error=type(lasting).__name__, message=lasting.message, hint=lasting.hint)
            run.write(error_name(number), error)
        if failures:
            raise lasting or failures[0]
        if len(batch.records) < len(items):
            read_bytes = sum(record.read_bytes for record in batch.records.values())
            return CheckObjectsResult(
                run=run.run, batch=number, is_done=False, checked_count=len(batch.records), read_bytes=read_bytes
            )
        done = batch.result()
        run.write(done_name(number), done)
    checked_count = done.read_count + done.checksum_count + done.incomparable_count
    return CheckObjectsResult(
        run=run.run, batch=number, is_done=True, checked_count=checked_count, read_bytes=done.read_bytes
    )


def _look_at_all(batch: _Batch, seconds_left: Callable[[], float], clock: Callable[[], float]) -> list[VaultError]:
    """Look at what was not looked at, as far as there is time, and return what kept some objects from it."""
    waiting = iter([item for item in batch.items if item.key not in batch.records])
    threads = DEEP_THREADS if batch.job.level == "deep" else CHECKSUM_THREADS
    executor = ThreadPoolExecutor(threads, thread_name_prefix="check")
    running: set[Future[CheckRecord | None]] = set()
    failures: list[VaultError] = []
    written, written_at = len(batch.records), clock()
    try:
        while (left := seconds_left() - RESERVE_SECONDS) > 0:
            while len(running) < threads and (item := next(waiting, None)) is not None:
                running.add(executor.submit(batch.check, item))
            if not running:
                break
            finished, running = wait(running, timeout=min(CHECKPOINT_SECONDS, left), return_when=FIRST_COMPLETED)
            for future in finished:
                error = future.exception()
                if isinstance(error, VaultError):
                    failures.append(error)
                elif record := future.result():
                    batch.records[record.key] = record
            if clock() - written_at >= CHECKPOINT_SECONDS and len(batch.records) > written:
                written, written_at = len(batch.records), clock()
                write_records(batch.run, batch.number, batch.records.values())
        batch.stop.set()
        # What goes on would take memory and disk from the next call.
        wait(running, timeout=RESERVE_SECONDS / 2)
    finally:
        batch.stop.set()
        # Not waited for: a large object may take longer than the invocation has.
        executor.shutdown(wait=False, cancel_futures=True)
    if len(batch.records) > written:
        write_records(batch.run, batch.number, batch.records.values())
    return failures
