"""SnapshotBatch: flush collections and record what they are made of, up to one moment."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from threading import BoundedSemaphore
from typing import NamedTuple

from milvus_vault.archive.added_vectors import IN_ROUNDS_HINT, older_segments
from milvus_vault.archive.layout import BackupLayout, parse_log_key
from milvus_vault.archive.manifest import CollectionDocument, CollectionFailure
from milvus_vault.backup.moment import Margin, check_clock, evidence_of, take_moment
from milvus_vault.backup.segments import CollectionObjects, capture_flushed, capture_objects
from milvus_vault.backup.selection import ids_of
from milvus_vault.backup.working_files import BackupPlan, Evidence, Snapshot, Verdict, shared_name, snapshot_name
from milvus_vault.copying.verify import read_copy_check
from milvus_vault.copying.working_files import CopyTarget, drop_target, write_lines, write_target
from milvus_vault.errors import (
    CollectionNotFoundError,
    MilvusPermissionError,
    MilvusRequestError,
    MilvusUnavailableError,
    SourceChangedError,
    VaultError,
)
from milvus_vault.model.collections import CollectionDescription, CollectionName, LoadState
from milvus_vault.model.flushes import FlushAllPoint, FlushPoint
from milvus_vault.model.hybrid import milliseconds
from milvus_vault.model.names import COLLECTIONS_PER_BATCH
from milvus_vault.model.objects import CopyItem, ListedObject
from milvus_vault.model.readable import first_of
from milvus_vault.model.versions import (
    ServerVersion,
    adds_fields,
    hides_expired,
    parse_version,
    stamps_in_order,
    tells_flush_times,
)
from milvus_vault.parallel import each, for_each
from milvus_vault.pool.sharing import Pool, ranges
from milvus_vault.ports import VectorDatabase
from milvus_vault.source import MilvusStorage
from milvus_vault.workspace import Workspace

# A Lambda function runs for at most 900 s; the rest is for describing, listing and writing.
FLUSH_TIMEOUT_SECONDS = 600.0

# Milvus' garbage collection leaves what was replaced for 3 hours, and a pause of it ends with the execution that asked
# for it. An hour is for the rest of the work.
_REPLACED_STAYS_SECONDS = 2 * 3600

_AGAIN_HINT = "Start the backup again when collections and partitions are not dropped or renamed."

# Of which lists of many collections fit into the memory.
_FEW_OBJECTS = 5000


class _At(NamedTuple):
    """The moment of a collection."""

    collection_id: int
    """Which collection had the name before the moment; 0: none had."""
    moment: int
    """0: it has none."""
    is_settled: bool
    """Whether requests that were stamped before it must have arrived by now."""
    before: Snapshot | None = None
    """What gets a second look."""
    margin: Margin | None = None
    """What is waited for before a flush that no count has settled; None: it is over."""
    flushed: FlushAllPoint | None = None
    """The flush of all collections that PrepareBackup made after the moment, before any was counted."""


class _Captured(NamedTuple):
    """What a round records of a collection."""

    document: CollectionDocument
    objects: CollectionObjects
    is_settled: bool
    point: FlushPoint = FlushPoint()
    is_second_look: bool = False
    counted: int | None = None
    """How many rows Milvus counted, where that proves which there are."""


class _Placed(NamedTuple):
    """Where the objects of a collection lie in the backup bucket, or will."""

    stored: Iterator[tuple[ListedObject, str]]
    """Each with its key there."""
    object_count: int
    lost_count: int = 0
    """How many of them the pool has lost."""
    has_target: bool = True
    """Whether any is to be copied."""


@dataclass(frozen=True, slots=True)
class SnapshotBatch:
    """One invocation's work: the collections of one batch, in one round of one execution."""

    run: Workspace
    plan: BackupPlan
    layout: BackupLayout
    database: VectorDatabase
    storage: MilvusStorage
    attempt: str
    round: int
    threads: int
    pool: Pool | None = None
    """Where the objects of an incremental backup lie."""

    def take(self, batch: int) -> int:
        """Snapshot the collections of a batch that this round asks for, and return how many there were.

        One that fails is recorded as failed. Done again, it skips what this round did already.
        """
        first = batch * COLLECTIONS_PER_BATCH
        wanted = list(range(first, min(first + COLLECTIONS_PER_BATCH, len(self.plan.collections))))
        if self.round > 1:
            again = frozenset(read_copy_check(self.run, self.attempt, self.round - 1).again)
            wanted = [index for index in wanted if index in again]
        found = each(
            lambda index: self.run.find(snapshot_name(self.attempt, index), Snapshot),
            wanted,
            threads=COLLECTIONS_PER_BATCH,
        )
        there = dict(zip(wanted, found, strict=True))
        left = {index: found for index, found in there.items() if found is None or found.round != self.round}
        moments = self._moments(left)
        asking = BoundedSemaphore(self.threads)
        for_each(
            left,
            lambda index: self._snapshot(index, moments[index], left[index], asking),
            threads=2 * self.threads,
            on_failure=self._record_failure,
        )
        return len(wanted)

    def _moments(self, before: Mapping[int, Snapshot | None]) -> dict[int, _At]:
        """Return the moment of each collection: the plan's in the first round, one of its own afterwards.

        Or a moment gets a second look. Where a compaction came after the flush, the segments that it replaced still lie
        there. And what was stamped before a flush has arrived when the flush has ended, for which servers from 2.3 on
        wait (on 2.2 a whole round has gone by): a second flush seals what it arrived in. If that does not help, rows
        may be gone, and only a later moment does.
        """
        if not self.plan.moment:
            return {index: _At(number, 0, is_settled=True) for index, number in self._ids(before).items()}
        now = self.database.current_timestamp()
        # An execution that was stopped may go on days later, when only a later moment is one.
        is_first = self.round == 1 and _shows_replaced(self.plan.moment, now)
        ids = self._ids(before, is_first=is_first)
        if is_first:
            at = _At(
                0,
                self.plan.moment,
                is_settled=self._is_ordered,
                margin=Margin(self.plan.moment) if self.plan.leaves_margin else None,
                flushed=self.plan.flush_all,
            )
            return {index: at._replace(collection_id=number) for index, number in ids.items()}
        found: dict[int, _At] = {}
        for index, snapshot in before.items():
            if snapshot and snapshot.document and snapshot.evidence and snapshot.wants_second_look:
                number, moment = snapshot.document.description.collection_id, snapshot.document.moment
                if _shows_replaced(moment, now):
                    found[index] = _At(number, moment, is_settled=True, before=snapshot)
        rest = [index for index in before if index not in found]
        moment = self._later_moment([self.plan.collections[index] for index in rest if ids[index]])
        return found | {index: _At(ids[index], moment, is_settled=self._is_ordered) for index in rest}

    def _ids(self, indexes: Collection[int], *, is_first: bool = True) -> Mapping[int, int]:
        """Return which collections had the names before the moment: for the plan's by the plan, and now else."""
        if is_first and self.plan.collection_ids:
            return {index: self.plan.collection_ids[index] for index in indexes}
        names = [self.plan.collections[index] for index in indexes]
        found = zip(indexes, ids_of(names, self.database.list_collections), strict=True)
        return {index: 0 if self._is_captured(number, index) else number for index, number in found}

    def _is_captured(self, collection_id: int, index: int) -> bool:
        """Return whether the backup has a collection by the name that it had when the backup began."""
        if collection_id not in self.plan.collection_ids:
            return False
        before = self.plan.collection_ids.index(collection_id)
        found = self.run.find(snapshot_name(self.attempt, before), Snapshot) if before != index else None
        return bool(found and found.document and found.document.description.collection_id == collection_id)

    def _later_moment(self, names: Sequence[CollectionName]) -> int:
        """Return a moment of now; 0 where there is no collection that it could be one of."""
        moment = take_moment(self.database, names)
        if moment is None:
            return 0
        moment.wait(self.database)
        return moment.timestamp

    def _snapshot(self, index: int, at: _At, before: Snapshot | None, asking: BoundedSemaphore) -> None:
        name = self.plan.collections[index]
        with ExitStack() as turn:
            turn.enter_context(asking)
            captured = self._capture(name, at)
            if next(islice(captured.objects.objects, _FEW_OBJECTS, None), None) is None:
                # Others ask Milvus while this is written down. A long list keeps its turn, for the disk.
                turn.close()
            self._write_down(index, captured, before, at)

    def _write_down(self, index: int, captured: _Captured, before: Snapshot | None, at: _At) -> None:
        """Write what was captured of a collection: what is to be copied, and at the end its snapshot."""
        name = self.plan.collections[index]
        document = captured.document
        placed = self._place(index, name, document, captured.objects)
        # What an earlier round has copied anew is there by now.
        lost_count = max(placed.lost_count, before.lost_count if before else 0)
        evidence = self._evidence(captured, placed.stored) if at.moment else None
        is_proven = (
            evidence is not None
            and evidence.has_nothing_newer
            and not captured.is_second_look
            and not evidence.lacks_deletes(document)
        )
        # Last: it is what says that the collection is done.
        snapshot = Snapshot(
            round=self.round,
            document=document,
            flushed=captured.point.segment_ids,
            sealed=captured.point.sealed_ids,
            object_count=placed.object_count,
            is_second_look=captured.is_second_look,
            has_target=placed.has_target,
            warnings=tuple(_warnings(document, captured.objects, lost_count)),
            lost_count=lost_count,
            evidence=evidence,
            verdict=Verdict.PROVEN if is_proven else None,
        )
        self.run.write(snapshot_name(self.attempt, index), snapshot)

    def _place(
        self, index: int, name: CollectionName, document: CollectionDocument, captured: CollectionObjects
    ) -> _Placed:
        """Write down what is to be copied of a collection, and what the pool has of it."""
        number = document.description.collection_id
        if self.pool is None:
            target = CopyTarget(index=index, name=str(name), folders=self.layout.collection_folders(number))
            count = write_target(self.run, self.attempt, target, _items(self._stored(captured)))
            return _Placed(self._stored(captured), count)
        places = self.pool.places(number, captured.objects)
        shared = (place.shared for place in places if place.shared)
        write_lines(self.run, shared_name(self.attempt, index), shared)
        new = (place.key for place in places if not place.shared)
        there = (place.key for place in places if place.shared)
        if folders := ranges(self.pool.folder(number), new, there):
            target = CopyTarget(index=index, name=str(name), folders=folders, is_shared=True)
            to_copy = ((place.listed, place.key) for place in places if not place.shared)
            write_target(self.run, self.attempt, target, _items(to_copy))
        else:
            # It may have been one in an earlier round.
            drop_target(self.run, self.attempt, index)
        stored = ((place.listed, place.key) for place in places)
        return _Placed(stored, places.count, places.count_lost(), has_target=bool(folders))

    def _stored(self, captured: CollectionObjects) -> Iterator[tuple[ListedObject, str]]:
        return ((listed, self._stored_key(listed)) for listed in captured.objects)

    def _evidence(self, captured: _Captured, stored: Iterable[tuple[ListedObject, str]]) -> Evidence:
        segments = captured.document.segments
        return evidence_of(
            stored,
            {segment.segment_id: segment.storage_version for segment in segments},
            captured.objects.replaced_deletes,
            uncounted=captured.objects.uncounted,
            since=self.plan.recent_since,
            is_settled=captured.is_settled,
            undeleted_row_count=captured.objects.undeleted_row_count,
            counted_row_count=captured.counted,
            hides_expired=hides_expired(self._version),
        )

    def _record_failure(self, index: int, error: VaultError) -> None:
        failure = CollectionFailure(
            name=self.plan.collections[index], error=type(error).__name__, message=error.message
        )
        drop_target(self.run, self.attempt, index)
        if self.pool is not None:
            # Of an earlier round: with it, and no target, the collection would be taken for one that is all shared.
            self.run.delete([shared_name(self.attempt, index)])
        verdict = Verdict.CHANGED if isinstance(error, SourceChangedError) else None
        snapshot = Snapshot(round=self.round, failure=failure, hint=error.hint, verdict=verdict)
        self.run.write(snapshot_name(self.attempt, index), snapshot)

    def _capture(self, name: CollectionName, at: _At) -> _Captured:
        if not at.collection_id:
            msg = f"{name} was dropped or renamed after the backup had begun"
            raise CollectionNotFoundError(msg, hint="Back up the collection by the name that it has now.")
        try:
            return self._capture_one(name, at)
        except VaultError as err:
            # Whatever it is about, it may be about two collections.
            if not err.retryable and self.database.collection_id(name.database, name.name) != at.collection_id:
                raise _changed(name) from err
            raise

    def _capture_one(self, name: CollectionName, at: _At) -> _Captured:
        request = self.plan.request
        description = self._describe(name, at)
        if request.meta_only:
            document = CollectionDocument(description=description, segments=())
            return _Captured(document, CollectionObjects((), ()), is_settled=True)
        if at.before is not None:
            if (again := self._capture_again(description, at.before)) is not None:
                return again
            # What it was when it was flushed is gone, and maybe what tells which rows went with it.
            at = _At(at.collection_id, self._later_moment([name]), is_settled=self._is_ordered)
        counted = self._live_rows(description)
        if counted is not None and not at.flushed:
            # A count waits for all requests that were stamped before it.
            at = at._replace(is_settled=True)
        # Without the margin the second that some servers tell of a flush may be the moment's own.
        if at.margin is not None and (counted is None or not tells_flush_times(self._version)):
            at.margin.wait(self.database)
        point = self._flush(description, at.flushed)
        if at.moment:
            check_clock(at.moment, point.timestamp, f"the flush of {name}")
        captured = self._list(description, point)
        # A partition that came since the first look has segments; one that went took its rows with it.
        described, description = description, self._describe(name, at)
        if at.moment:
            _check_partitions(described, description)
        if not _is_loaded(description):
            # What was released since may have been so when the rows were counted.
            counted = None
        captured = captured.within({partition.partition_id for partition in description.partitions})
        self.storage.check_readable(name, captured.archived)
        return self._judged(description, captured, point, counted, at)

    def _describe(self, name: CollectionName, at: _At) -> CollectionDescription:
        """Return the collection that had the name before the moment. Raises `SourceChangedError` for another one."""
        description = self.database.describe_collection(name.database, name.name)
        if description.collection_id != at.collection_id:
            raise _changed(name)
        return description

    def _judged(
        self,
        description: CollectionDescription,
        captured: CollectionObjects,
        point: FlushPoint,
        counted: int | None,
        at: _At,
    ) -> _Captured:
        """Return what was captured of a collection, with what the count of its rows before the flush says of it."""
        # Rows that came between the flush of all collections and the count are in it, and not in the backup. Between
        # the moment and the count nothing may have come either: that is seen when the backup is proved.
        is_known = at.moment and (not at.flushed or captured.undeleted_row_count == counted)
        # Logs that Milvus names are all that there are: rows that it does not count have expired, and come back.
        has_expired = counted is not None and captured.is_told and counted < (captured.undeleted_row_count or 0)
        document = CollectionDocument(
            description=description,
            segments=captured.segments,
            flush_timestamp=point.timestamp,
            flushed_at_seconds=milliseconds(point.timestamp) // 1000,
            channel_checkpoints=point.checkpoints,
            moment=at.moment,
            live_row_count=counted if is_known and not has_expired else None,
        )
        return _Captured(
            document,
            captured,
            at.is_settled,
            point,
            counted=None if has_expired else counted,
        )

    def _list(self, description: CollectionDescription, point: FlushPoint) -> CollectionObjects:
        """Return what there is of a collection; from the second round on, what there was when it was flushed.

        The latter finds more objects than are needed. It is for collections that are compacted all the time.
        """
        where = (self.database, self.run.store, self.storage, description)
        older = self._can_be_older
        found = None
        if self.round > 1 and point.segment_ids:
            found = capture_flushed(*where, point, can_be_older=older)
        return capture_objects(*where, self.plan.recent_since, can_be_older=older) if found is None else found

    @property
    def _is_ordered(self) -> bool:
        """Whether requests that were stamped before a moment have arrived before a flush that came after it."""
        return stamps_in_order(self._version)

    @property
    def _can_be_older(self) -> bool:
        """Whether segments may be older than fields of their collection."""
        return adds_fields(self._version)

    @property
    def _version(self) -> ServerVersion:
        return parse_version(self.plan.source.milvus_version)

    def _capture_again(self, description: CollectionDescription, before: Snapshot) -> _Captured | None:
        """Return what there was at the flush of the round before, and what came later but belongs before its moment.

        None where some of it is gone.
        """
        document, evidence = before.document, before.evidence
        if document is None or evidence is None:
            return None
        _check_partitions(document.description, description)
        arrived = () if evidence.is_settled else self._flush(description).sealed_ids
        point = FlushPoint(segment_ids=before.flushed, sealed_ids=before.sealed)
        found = capture_flushed(
            self.database,
            self.run.store,
            self.storage,
            description,
            point,
            arrived=frozenset(arrived),
            can_be_older=self._can_be_older,
        )
        if found is None:
            return None
        found = found.within({partition.partition_id for partition in description.partitions})
        self.storage.check_readable(description.name, found.archived)
        update = {"description": description, "segments": found.segments, "live_row_count": None}
        again = document.model_copy(update=update)
        return _Captured(again, found, is_settled=True, point=point, is_second_look=True)

    def _flush(self, description: CollectionDescription, flushed: FlushAllPoint | None = None) -> FlushPoint:
        """Flush a collection, unless it is not wanted or PrepareBackup has just flushed all of them at once."""
        if self.plan.request.skip_flush:
            return FlushPoint()
        if flushed is not None:
            return flushed.of(description.virtual_channels)
        name = description.name
        return self.database.flush(name.database, name.name, timeout_seconds=FLUSH_TIMEOUT_SECONDS)

    def _live_rows(self, description: CollectionDescription) -> int | None:
        """Return the number of live rows, where the server can tell: in a collection loaded as a whole."""
        if not _is_loaded(description):
            return None
        try:
            return self.database.count_rows(description.name.database, description.name.name)
        except (MilvusRequestError, MilvusPermissionError, MilvusUnavailableError):
            # Released since, query nodes are down or far behind, or the user may not query: a backup can do without the
            # number. Where it is all of Milvus that is away, the flush says so.
            return None

    def _stored_key(self, listed: ListedObject) -> str:
        key = parse_log_key(listed.key)
        if key is None:
            msg = f"not a log of Milvus: {listed.key}"
            raise ValueError(msg)
        return self.layout.log(key)


def _shows_replaced(moment: int, now: int | None) -> bool:
    """Return whether it is seen what was replaced since a moment. `now` is by the server; None: it tells no time."""
    return now is None or milliseconds(now) - milliseconds(moment) < _REPLACED_STAYS_SECONDS * 1000


def _is_loaded(description: CollectionDescription) -> bool:
    """Return whether a collection is loaded as a whole."""
    return description.load_state is LoadState.LOADED and all(part.is_loaded for part in description.partitions)


def _check_partitions(before: CollectionDescription, now: CollectionDescription) -> None:
    """Raise `SourceChangedError` where partitions went since the moment, and their rows with them."""
    there = {partition.partition_id for partition in now.partitions}
    if gone := [partition.name for partition in before.partitions if partition.partition_id not in there]:
        msg = f"{now.name} lost {len(gone)} partition(s) while it was captured: {first_of(gone)}"
        raise SourceChangedError(msg, hint=_AGAIN_HINT)


def _changed(name: CollectionName) -> SourceChangedError:
    msg = f"{name} was dropped or renamed while the backup was made, and its name may be another collection's by now"
    return SourceChangedError(msg, hint=_AGAIN_HINT)


def _items(to_copy: Iterable[tuple[ListedObject, str]]) -> Iterator[CopyItem]:
    for listed, key in to_copy:
        yield CopyItem(source_key=listed.key, key=key, size_bytes=listed.size_bytes, source_etag=listed.etag)


def _warnings(document: CollectionDocument, captured: CollectionObjects, lost_count: int) -> Iterator[str]:
    """Yield what keeps a collection from being restored, though it is in the backup, or kept an older one from it."""
    logs = (key for listed in captured.objects if (key := parse_log_key(listed.key)))
    description = document.description
    if older := older_segments(description.collection_schema, document.segments, logs):
        yield f"{older.of(description.name)}. {IN_ROUNDS_HINT}"
    if lost_count:
        lost = f"{lost_count} object(s) of {description.name} in the pool were gone or not as they had been recorded"
        yield f"{lost}, and are copied anew. Verify the older incremental backups."
