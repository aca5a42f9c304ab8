"""CutCollections: read the logs that have to be read before anything is made or imported.

Few restores need it. Of many deletes of level 0 few logs are composed, which are copied beside the segments that they
concern (`folding.py`). Where a person chose the time, it is not known how many rows are newer. Deletes that are
imported by themselves are cut here, since such an import does not cut them. And an archive without a moment is searched
for halves of upserts: if an upsert came during the flush, its delete is in the archive, and its row may be missing.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import batched
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc

from milvus_vault.binlogs import (
    DeltaLog,
    compose_deletes,
    cut_deletes,
    named,
    open_deletes,
    read_deletes,
    read_timestamps,
)
from milvus_vault.claims import check_owner
from milvus_vault.copying.working_files import read_items, read_target, write_target
from milvus_vault.errors import BackupDamagedError, ObjectNotFoundError, WorkingFileError
from milvus_vault.model.hybrid import from_datetime, from_milliseconds
from milvus_vault.model.names import attempt_of, short_hash
from milvus_vault.model.objects import CopyItem
from milvus_vault.parallel import each
from milvus_vault.restore.cut import check_not_after, out_of_range
from milvus_vault.restore.working_files import (
    Composition,
    Cut,
    CutDone,
    CutShare,
    ImportSource,
    LogToCompose,
    RestorePlan,
    Target,
    composed_folder,
    cut_done_name,
    cut_name,
    cut_share_name,
    target_name,
)
from milvus_vault.workspace import Workspace

# Of one collection there is one log in memory, and the timestamps of its deletes. Logs that are opened ahead, and what
# others are composed of, are there of one collection at a time.
COLLECTIONS_AT_A_TIME = 4

# Of deletes in memory that are composed into one log. To write it takes three times as much, and logs that are opened
# ahead have at most 16 MiB each: at that size Milvus flushes deletes (dataNode.segment.deleteBufBytes).
COMPOSED_IN_MEMORY_BYTES = 64 * 1024**2
_OPENED_AHEAD = 4

# Logs that are cut between two notes: 512 MiB at most, at 16 MiB each.
_CUT_AT_A_TIME = 32

_WRITTEN_TO = "Somebody writes to the backup. Restore it from another copy."

# An upsert gets its timestamp some time before its row gets a segment: see MARGIN_SECONDS of a backup.
_MARGIN = from_milliseconds(1500)


@dataclass(frozen=True, slots=True)
class Cutting:
    """Reads what the plan of a restore names."""

    run: Workspace
    plan: RestorePlan
    staging_bucket: str
    """Milvus' own."""
    execution_arn: str
    _ahead: Lock = field(default_factory=Lock, init=False, repr=False)

    def cut_all(self) -> int:
        """Read and cut, and return of how many collections. Repeated, it goes on where it was.

        Raises:
            MomentOutOfRangeError: The time that a person chose does not lie in the backup.
            BackupDamagedError: A log is not there.
            BinlogUnreadableError: A log cannot be read.
        """
        done = list(each(self._cut, self.plan.cuts, threads=COLLECTIONS_AT_A_TIME))
        self._check_range(done)
        return len(done)

    def _cut(self, index: int) -> CutDone:
        done = self.run.find(cut_done_name(index), CutDone)
        if done is None:
            cut = self.run.read(cut_name(index), Cut)
            seen = _Seen(cut.end_timestamp)
            for segment, keys in cut.rows.items():
                for key in keys:
                    seen.add_rows(segment, self._read(key, read_timestamps))
            # A log of 16 MiB takes up to 180 MiB while it is read (714 for four of them).
            with self._ahead:
                for times in each(
                    lambda key: self._read(key, read_deletes).timestamps, cut.deletes, threads=_OPENED_AHEAD
                ):
                    seen.add_deletes(times)
            if cut.compositions:
                self._compose(index, cut.compositions)
            written = {key.rpartition("/")[0] + "/" for key in self._write(index, cut.cut_deletes, cut.end_timestamp)}
            self._update_target(index, cut, seen.rows_until_end, written)
            warnings = () if cut.end_timestamp else tuple(_suspicions(cut, seen.count_unmatched()))
            done = CutDone(moment=cut.moment, oldest=seen.oldest, newest=seen.newest, warnings=warnings)
            check_owner(self.run, attempt_of(self.execution_arn))
            self.run.write(cut_done_name(index), done)
        return done

    def _compose(self, index: int, compositions: Sequence[Composition]) -> None:
        """Compose deletes, and put what comes of it where the items of the collection's copy name the composition."""
        store, bucket, attempt = self.run.store, self.run.bucket, attempt_of(self.execution_arn)

        def composed(number: int, composition: Composition) -> Sequence[tuple[int, str]]:
            name = cut_share_name(index, "composed", number)
            return self._share(name, composition.model_dump_json(), lambda: self._put(composition))

        with self._ahead:
            names = {one.key: composed(number, one) for number, one in enumerate(compositions)}
        there = {listed.key: listed for listed in store.list_objects(bucket, self.run.key(composed_folder(index)))}

        def copies(item: CopyItem) -> Iterator[CopyItem]:
            if item.source_key not in names:
                yield item
                return
            for log_id, key in names[item.source_key]:
                if (found := there.get(key)) is None:
                    msg = f"working file s3://{bucket}/{key} vanished while the run used it"
                    raise WorkingFileError(msg, hint="Start the restore again with the same input.")
                yield CopyItem(key, f"{item.key.rpartition('/')[0]}/{log_id}", found.size_bytes, found.etag)

        items = (copy for item in read_items(self.run, attempt, index) for copy in copies(item))
        write_target(self.run, attempt, read_target(self.run, attempt, index), items)

    def _share(
        self, name: str, made_of: str, write: Callable[[], Iterable[tuple[int, str]]]
    ) -> Sequence[tuple[int, str]]:
        """Return what is written of a share of the deletes, which an earlier call of this execution may have done.

        So calls that end for want of time come to an end together, however many deletes there are.
        """
        of = short_hash(f"{self.execution_arn}\n{made_of}")
        found = self.run.find(name, CutShare)
        if found is None or found.of != of:
            found = CutShare(of=of, logs=tuple(write()))
            check_owner(self.run, attempt_of(self.execution_arn))
            self.run.write(name, found)
        return found.logs

    def _put(self, composition: Composition) -> Iterator[tuple[int, str]]:
        """Write what comes of a composition unless it is there, and yield the ID and the key of each log."""
        for logs in self._gathered(composition.logs):
            for position, body in compose_deletes([opened for _, opened in logs]):
                log_id = logs[position][0].log_id
                key = f"{composition.key.rpartition('/')[0]}/{log_id}-{hashlib.sha256(body).hexdigest()}"
                check_owner(self.run, attempt_of(self.execution_arn))
                self.run.store.put_if_absent(self.run.bucket, key, body)
                yield log_id, key

    def _gathered(self, logs: Sequence[LogToCompose]) -> Iterator[list[tuple[LogToCompose, DeltaLog]]]:
        """Open logs, and yield as many at a time as may be in memory together."""
        some: list[tuple[LogToCompose, DeltaLog]] = []
        size_bytes = 0
        for log, opened in zip(logs, each(self._open, logs, threads=_OPENED_AHEAD), strict=True):
            if some and size_bytes + opened.size_bytes > COMPOSED_IN_MEMORY_BYTES:
                yield some
                some, size_bytes = [], 0
            some.append((log, opened))
            size_bytes += opened.size_bytes
        if some:
            yield some

    def _open(self, log: LogToCompose) -> DeltaLog:
        return self._read(log.key, open_deletes, log.etag)

    def _read[Result](self, key: str, read: Callable[[bytes], Result], etag: str = "") -> Result:
        """Return what is read of an object of the backup, of this ETag unless that is empty."""
        try:
            body, found = self.run.store.get_with_etag(self.run.bucket, key)
        except ObjectNotFoundError as err:
            msg = f"{key} vanished from the backup while it was read"
            raise BackupDamagedError(msg, hint=_WRITTEN_TO) from err
        if etag and found != etag:
            msg = f"{key} changed in the backup since the check"
            raise BackupDamagedError(msg, hint=_WRITTEN_TO)
        return named(key, body, read)

    def _write(self, index: int, items: Iterable[tuple[str, str]], end: int) -> Iterator[str]:
        """Write the delta logs as cut, and yield the keys of those that still hold a delete."""
        for number, some in enumerate(batched(items, _CUT_AT_A_TIME, strict=False)):
            name, made_of = cut_share_name(index, "cut", number), f"{end}\n{some}"
            yield from (key for _, key in self._share(name, made_of, partial(self._write_cut, some, end)))

    def _write_cut(self, items: Iterable[tuple[str, str]], end: int) -> Iterator[tuple[int, str]]:
        for source, key in items:
            body = self._read(source, lambda content: cut_deletes(content, end))
            if body is not None:
                check_owner(self.run, attempt_of(self.execution_arn))
                self.run.store.put(self.staging_bucket, key, body)
                yield int(key.rpartition("/")[2]), key

    def _update_target(self, index: int, cut: Cut, rows: Mapping[int, int], written: set[str]) -> None:
        """Write down how many rows must come back, and which deletes are left to import."""
        target = self.run.read(target_name(index), Target)
        update: dict[str, object] = {}
        if cut.is_chosen:
            update["imports"] = tuple(_counted(source, rows) for source in target.imports)
        if cut.cut_deletes:
            update["deletes"] = tuple(s for s in target.deletes if s.pairs[0].delta_prefix in written)
        if update:
            check_owner(self.run, attempt_of(self.execution_arn))
            self.run.write(target_name(index), target.model_copy(update=update))

    def _check_range(self, done: Sequence[CutDone]) -> None:
        """Raise `MomentOutOfRangeError` where the chosen time is before or after what the backup holds."""
        as_of = self.plan.request.as_of
        if as_of is None:
            return
        # PrepareRestore has looked at known moments, unless it was that of a release before.
        moments = [item.moment for item in done if item.moment]
        check_not_after(self.plan.request, moments or [max(item.newest for item in done)])
        oldest = min((item.oldest for item in done if item.oldest), default=0)
        if from_datetime(as_of) < oldest:
            raise out_of_range(as_of, oldest, is_after=False)


class _Seen:
    """What the timestamps of a collection's rows and deletes say."""

    def __init__(self, end: int) -> None:
        self._end = end
        self._newest_rows = pa.nulls(0, pa.int64())
        self._deletes: list[pa.Array] = []
        self.rows_until_end: dict[int, int] = {}
        """By segment."""
        self.oldest = self.newest = 0

    def add_rows(self, segment: int, times: pa.Array) -> None:
        """Add rows of a segment."""
        until = int(pc.sum(pc.less_equal(times, self._end), min_count=0).as_py())
        self.rows_until_end[segment] = self.rows_until_end.get(segment, 0) + until
        self._add(times)
        both = pa.concat_arrays([self._newest_rows, times])
        # Only those close to the newest one are kept: of all rows it would be gigabytes.
        self._newest_rows = both.filter(pc.greater(both, self._newest_row(both) - _MARGIN))

    def add_deletes(self, times: pa.Array) -> None:
        """Add deletes."""
        self._add(times)
        self._deletes.append(times)

    def count_unmatched(self) -> int:
        """Return how many deletes that are hardly older than the newest row, or newer, have no row of their time."""
        since = self._newest_row(self._newest_rows) - _MARGIN
        deletes = pa.chunked_array(self._deletes, pa.int64())
        recent = deletes.filter(pc.greater(deletes, since))
        return len(recent) - int(pc.sum(pc.is_in(recent, value_set=self._newest_rows), min_count=0).as_py())

    def _add(self, times: pa.Array) -> None:
        if len(times):
            ends = pc.min_max(times).as_py()
            self.oldest = min(self.oldest or ends["min"], ends["min"])
            self.newest = max(self.newest, ends["max"])

    @staticmethod
    def _newest_row(times: pa.Array) -> int:
        return int(pc.max(times).as_py() or 0)


def _suspicions(cut: Cut, count: int) -> Iterator[str]:
    if count:
        yield (
            f"{count} key(s) of {cut.name} were deleted while the backup was made or just before, and it has no row of"
            " the same time: if these were upserts, their rows are lost"
        )


def _counted(source: ImportSource, rows: Mapping[int, int]) -> ImportSource:
    """Return what to import, with the rows that it must bring."""
    return source.model_copy(
        update={
            "pairs": tuple(
                pair.model_copy(update={"row_count": sum(rows.get(segment, 0) for segment in pair.segments)})
                for pair in source.pairs
            )
        }
    )
