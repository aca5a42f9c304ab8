"""Which objects a verification looks at one by one, in which batches, and what was found of all of them."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby, islice
from math import ceil
from operator import itemgetter

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.archive.layout import INSERT_LOG, BackupLayout, log_of, parse_log_key
from milvus_vault.archive.manifest import Manifest
from milvus_vault.archive.reader import read_archive
from milvus_vault.catalogue.digests import read_digests, write_digests
from milvus_vault.copying.batches import BatchLimits, cut_batches
from milvus_vault.copying.working_files import raise_refusal
from milvus_vault.errors import CheckIncompleteError
from milvus_vault.model.hybrid import HybridTimestamp, from_datetime
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.requests import VerifyLevel, VerifyOptions
from milvus_vault.parallel import LISTS_AT_A_TIME_BYTES, SMALL_REQUESTS_AT_A_TIME, begun, do_each, each
from milvus_vault.pool.doubts import Doubt
from milvus_vault.tables import open_tables, room_on_disk
from milvus_vault.verifying.working_files import (
    JOB,
    LOCKED,
    BatchShare,
    CheckedBatch,
    CheckedCollection,
    CheckedSegment,
    CheckItem,
    CheckJob,
    batch_name,
    collection_name,
    done_batches,
    done_name,
    error_name,
    items_name,
    listed_collections,
    read_items,
    read_records,
    write_batches,
    write_items,
)
from milvus_vault.workspace import Workspace

POSITIONS = 2**32
"""Samples read objects in the order of a hash of this many values."""

# Hashed and parsed at 240 MB a CPU second (measured, logs of 15 MB), of which a function has 1.7, a batch takes some
# ten seconds, or a minute where S3 gives 70 MB/s: little is lost with a function. A terabyte has 250 batches.
DEEP_LIMITS = BatchLimits(max_objects=1000, max_bytes=4 * 1024**3)

# A request each, 64 at a time.
CHECKSUM_LIMITS = BatchLimits(max_objects=10_000, max_bytes=2**63)

MAX_READ_BYTES = 9 * 1024**3
"""Larger objects do not fit beside others into the 10 GiB that a function has on its disk."""

_SCHEMA = """
CREATE TABLE items (
    segment TEXT, collection INTEGER, key TEXT, etag TEXT, recorded_etag TEXT, size_bytes INTEGER, source_key TEXT,
    checksum TEXT, digest TEXT
);
"""
_INSERT = "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_IN_ORDER = "SELECT * FROM items ORDER BY segment, rowid"

# Batches are given to CheckObjects that often: a function may be killed for reasons of its own.
MAX_CHECKS = 3

# What no clock is wrong by: no row of a backup is newer than the end of the backup by more.
_CLOCK_TOLERANCE = timedelta(days=1)

_WHOLE = 100

_COUNTS = {"checksum_count", "incomparable_count", "read_count", "read_bytes", "baseline_count", "locked_count"}

MOST_DAMAGED = 100
"""As many damaged contents as a verification keeps of a backup. Where it has so many, any other may be damaged, too."""


def position_of(backup_name: str, below: str) -> int:
    """Return where an object stands in the order in which samples of a backup read its objects.

    Each backup has an order of its own, so that the samples of backups which share objects read others each.

    Args:
        backup_name: The backup.
        below: The object's key as `BackupLayout.below` has it, which it keeps wherever the backup is copied.
    """
    return int.from_bytes(hashlib.sha256(f"{backup_name}\n{below}".encode()).digest()[:4])


@dataclass(frozen=True, slots=True)
class Sample:
    """A part of that order: from `begin` on, and up to `end`, exclusive."""

    begin: int
    end: int

    @property
    def next_position(self) -> int:
        """Return where the next sample begins: at the front again once all was read."""
        return self.end if self.end < POSITIONS else 0


def next_sample(begin: int, percent: float | None, positions: Iterable[int]) -> Sample:
    """Return the first sample from there on that has an object, at the front again where none follows.

    Samples of one size read each object once until the order has ended.

    Args:
        begin: Where the last sample ended.
        percent: How much of the order it takes; None: all that follows.
        positions: Of all objects, in any order. Without any the sample that begins there is returned.
    """
    width = ceil(POSITIONS * (_WHOLE if percent is None else percent) / _WHOLE)
    ahead = POSITIONS
    for position in positions:
        # Those before it come when the order begins again.
        ahead = min(ahead, (position - begin) % POSITIONS)
        if begin + ahead < min(begin + width, POSITIONS):
            break
    first = begin + ahead
    if ahead == POSITIONS:
        start = begin
    elif first < POSITIONS:
        start = begin + ahead // width * width
    else:
        start = (first - POSITIONS) // width * width
    return Sample(start, min(start + width, POSITIONS))


def within_bytes(sample: Sample, found: Iterable[tuple[int, int]], max_bytes: int) -> Sample:
    """Return as much of a sample from its front as has no more bytes, but at least one object.

    Args:
        sample: The sample.
        found: Position and bytes of each object in it.
        max_bytes: The limit. Objects of one position, of which there are two among 100,000, are not parted.
    """
    total, is_first = 0, True
    for position, together in groupby(sorted(found), key=itemgetter(0)):
        total += sum(size_bytes for _, size_bytes in together)
        if total > max_bytes and not is_first:
            return Sample(sample.begin, position)
        is_first = False
    return sample


@dataclass(frozen=True, slots=True)
class _Segment:
    """Objects of one segment, which are looked at together: their rows are compared with each other."""

    items: list[CheckItem]

    @property
    def size_bytes(self) -> int:
        """Return their bytes."""
        return sum(item.size_bytes for item in self.items)

    @property
    def object_count(self) -> int:
        """Return how many there are."""
        return len(self.items)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The objects that are looked at."""

    run: Workspace
    layout: BackupLayout
    sample: Sample | None
    """None: all of them."""
    always: Collection[str]

    def segments(self) -> Iterator[_Segment]:
        """Yield them, collection by collection."""
        for listed in self._lists():
            for items in _by_segment(listed):
                # What is wrong may be seen only where all logs of the segment are read.
                is_whole = any(item.key in self.always for item in items)
                if chosen := [item for item in items if is_whole or self._is_sampled(item)]:
                    yield _Segment(chosen)

    def positions(self) -> Iterator[int]:
        """Yield the position of each object in the sample."""
        return (position for position, _ in self.sizes())

    def sizes(self) -> Iterator[tuple[int, int]]:
        """Yield position and bytes of each object in the sample."""
        for listed in self._lists():
            for item in listed:
                if self._is_sampled(item):
                    yield self._position(item), item.size_bytes

    def _lists(self) -> Iterator[Iterator[CheckItem]]:
        """Yield the objects of each collection."""
        list_bytes = listed_collections(self.run)

        return each(
            lambda index: begun(read_items(self.run, items_name(index))),
            sorted(list_bytes),
            threads=SMALL_REQUESTS_AT_A_TIME,
            weight=lambda index: list_bytes[index],
            max_weight=LISTS_AT_A_TIME_BYTES,
        )

    def _is_sampled(self, item: CheckItem) -> bool:
        return self.sample is None or self.sample.begin <= self._position(item) < self.sample.end

    def _position(self, item: CheckItem) -> int:
        return position_of(self.layout.name, self.layout.below(item.key))


def _by_segment(items: Iterable[CheckItem]) -> Iterator[list[CheckItem]]:
    """Yield those of each segment, which a list has in several places: insert logs, and deletes behind all of them."""
    with closing(open_tables(_SCHEMA)) as tables, room_on_disk():
        logs = ((parse_log_key(item.source_key), item) for item in items)
        tables.executemany(_INSERT, ((str(log.segment_id) if log else "", *item) for log, item in logs))
        for _, together in groupby(tables.execute(_IN_ORDER), key=itemgetter(0)):
            yield [CheckItem(*row[1:]) for row in together]


@dataclass(frozen=True, slots=True)
class ChecksPlanned:
    """What is to be looked at."""

    batches: tuple[BatchShare, ...]
    next_position: int
    """Where the next sample begins."""


def plan_checks(
    run: Workspace,
    layout: BackupLayout,
    options: VerifyOptions,
    *,
    begin: int,
    always: Collection[str],
    lock: ObjectLock | None = None,
) -> ChecksPlanned:
    """Write the batches of a verification, and return what each has. Repeated, it writes the same ones.

    Args:
        run: The run's working files, with the lists of the collections' objects.
        layout: Where the backup lies.
        options: The level, and how much is to be read.
        begin: Where a sample begins.
        always: Keys that are read whatever the sample is, with all others of their segments.
        lock: How each object must be locked; None: no lock is looked at.
    """
    sample = None
    if options.sample_percent is not None or options.max_bytes is not None:
        sample = next_sample(begin, options.sample_percent, _Chosen(run, layout, None, always).positions())
        if options.max_bytes is not None:
            sample = within_bytes(sample, _Chosen(run, layout, sample, always).sizes(), options.max_bytes)

    is_deep = options.level == "deep"

    def write(numbered: tuple[int, list[_Segment]]) -> BatchShare:
        number, batch = numbered
        write_items(run, batch_name(number), (item for segment in batch for item in segment.items))
        size_bytes = sum(segment.size_bytes for segment in batch)
        return BatchShare(sum(segment.object_count for segment in batch), size_bytes if is_deep else 0)

    limits = DEEP_LIMITS if is_deep else CHECKSUM_LIMITS
    segments = _Chosen(run, layout, sample, always).segments()
    run.write(JOB, CheckJob(level=options.level, lock=lock))
    batches = tuple(each(write, enumerate(cut_batches(segments, limits))))
    write_batches(run, len(batches))
    return ChecksPlanned(batches, sample.next_position if sample else 0)


def write_collection(
    run: Workspace,
    layout: BackupLayout,
    level: VerifyLevel,
    index: int,
    collection: ArchivedCollection,
    objects: Iterable[tuple[ArchivedObject, str | None]],
    *,
    newest: int,
    doubts: Mapping[str, Doubt],
    has_lock: bool = False,
) -> int:
    """Write down which of a collection's objects can be looked at, and what they must be; return how many there are.

    Args:
        run: The run's working files.
        layout: Where the backup lies.
        level: How they are to be looked at: `checksum` takes those of which a checksum of the whole was recorded.
        index: Which collection of the archive it is.
        collection: The collection.
        objects: Its object list, with ETags as far as they were recorded; of each the ETag under which a listing found
            it as it was, or None.
        newest: Hybrid timestamp; no row or delete may be newer. 0: not known.
        doubts: Of the pool, by key. A digest that one has goes before those that were written down for this backup.
        has_lock: Whether locks are looked at: then each object is.
    """
    is_deep = level == "deep"
    known = read_digests(run.store, run.bucket, layout, collection) if is_deep else {}

    count = 0
    log_counts: Counter[int] = Counter()

    def items() -> Iterator[CheckItem]:
        nonlocal count
        for item, etag in objects:
            log = log_of(item)
            log_counts[log.segment_id] += log.kind == INSERT_LOG
            if etag is None or (is_deep and item.size_bytes > MAX_READ_BYTES):
                continue
            if is_deep or has_lock or (item.checksum and "-" not in item.checksum):
                doubt = doubts.get(item.stored_key)
                digest = (doubt.digest if doubt else "") or known.get(layout.below(item.stored_key), "")
                count += 1
                yield CheckItem(
                    index, item.stored_key, etag, item.etag, item.size_bytes, item.source_key, item.checksum, digest
                )

    write_items(run, items_name(index), items())
    document = CheckedCollection(
        name=str(collection.name),
        collection_schema=collection.layout.collection_schema,
        partitions={partition.partition_id: partition.name for partition in collection.partitions},
        segments={
            segment.segment_id: CheckedSegment(
                row_count=segment.row_count,
                storage_version=segment.storage_version,
                log_count=log_counts[segment.segment_id],
            )
            for segment in collection.segments
        },
        newest=newest,
    )
    run.write(collection_name(index), document)
    return count


def newest_of(manifest: Manifest | None) -> HybridTimestamp:
    """Return what no row or delete of a backup may be newer than; 0 where nobody knows."""
    return from_datetime(manifest.finished_at + _CLOCK_TOLERANCE) if manifest else 0


def are_missing(run: Workspace, layout: BackupLayout, batch_count: int, check_count: int) -> bool:
    """Return whether batches are still to be given to CheckObjects.

    Args:
        run: The working files.
        layout: Of the backup, for messages.
        batch_count: How many batches there are.
        check_count: How often they were given to it.

    Raises:
        VaultError: The refusal for which the first of them gave up that wrote one down.
        CheckIncompleteError: CheckObjects ended again and again before it had looked at all objects.
    """
    missing = sorted(set(range(batch_count)) - done_batches(run)) if batch_count else []
    if missing and check_count:
        raise_refusal(run, map(error_name, missing))
        if check_count >= MAX_CHECKS:
            msg = f"{len(missing)} of {batch_count} batches of objects of backup '{layout.name}' were not looked at"
            raise CheckIncompleteError(
                msg, hint="CheckObjects ended before it could say why: its log has the reason. Start the run again."
            )
    return bool(missing)


def damaged_items(run: Workspace, batch_count: int) -> Iterator[tuple[CheckItem, str]]:
    """Yield each damaged object, or the first one of a damaged segment, with what is wrong, of however many it is."""

    def found_in(number: int) -> Sequence[tuple[CheckItem, str]]:
        damaged = run.read(done_name(number), CheckedBatch).damaged
        items = read_items(run, batch_name(number)) if damaged else ()
        return [(item, damaged[item.key]) for item in items if item.key in damaged]

    for found in each(found_in, range(batch_count)):
        yield from found


def damage_by_collection(run: Workspace, batch_count: int) -> dict[int, list[str]]:
    """Return what is wrong with objects, by the index of their collection."""
    damage: defaultdict[int, list[str]] = defaultdict(list)
    for item, text in damaged_items(run, batch_count):
        damage[item.collection].append(text)
    return dict(damage)


def looked_at(run: Workspace, batch_count: int, keys: Collection[str]) -> frozenset[str]:
    """Return which of these objects a batch has."""
    numbers = range(batch_count) if keys else ()
    found = each(lambda number: [item.key for item in read_items(run, batch_name(number)) if item.key in keys], numbers)
    return frozenset(key for some in found for key in some)


def forget_damage(run: Workspace, batch_count: int) -> None:
    """Let the batches be looked at again in which something was wrong: it may have been mended since."""
    names = list(run.names("check/"))
    done = run.numbers("check/done-", names)

    def forget(number: int) -> None:
        if number in done:
            batch = run.read(done_name(number), CheckedBatch)
            is_wrong = bool(batch.damaged or batch.archived or batch.unlocked)
        else:
            is_wrong = error_name(number) in names or any(
                record.problem or record.lock not in {"", LOCKED} for record in read_records(run, number)
            )
        if is_wrong:
            found = [name for name in names if name.startswith(f"check/checked-{number}.")]
            run.delete([done_name(number), error_name(number), *found])

    do_each(forget, range(batch_count))


def conclude(run: Workspace, layout: BackupLayout, batch_count: int) -> CheckedBatch:
    """Return what was found of all objects, after writing down the digests of those that had none. Safe to repeat."""
    total = Counter[str]()
    damaged: dict[str, str] = {}
    archived, unlocked = list[str](), list[str]()
    digests: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for batch in each(lambda number: run.read(done_name(number), CheckedBatch), range(batch_count)):
        total += Counter(batch.model_dump(include=_COUNTS))
        damaged |= dict(islice(batch.damaged.items(), max(0, MOST_DAMAGED - len(damaged))))
        archived += batch.archived[: MOST_DAMAGED - len(archived)]
        unlocked += batch.unlocked[: MOST_DAMAGED - len(unlocked)]
        for index, found in batch.digests.items():
            digests[index] |= {layout.below(key): digest for key, digest in found.items()}
    if digests:
        collections = read_archive(run.store, run.bucket, layout).collections

        def add(index: int) -> None:
            known = read_digests(run.store, run.bucket, layout, collections[index])
            write_digests(run.store, run.bucket, layout, collections[index], {**digests[index], **known})

        do_each(add, digests)
    return CheckedBatch(**total, damaged=damaged, archived=tuple(archived), unlocked=tuple(unlocked))
