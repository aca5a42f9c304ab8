"""Import jobs: what is refused at once, how long a job takes, and what it leaves behind."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from tests.support.milvus_server import import_checks, refusals
from tests.support.milvus_server.binlog import DamagedBinlogError, Delete
from tests.support.milvus_server.catalog import ALL_PARTITIONS, L1, LEGACY, Collection
from tests.support.milvus_server.core import Core
from tests.support.milvus_server.flushing import add_level_zero
from tests.support.milvus_server.import_files import (
    ImportFailedError,
    StagedSegment,
    find_segments,
    read_level_zero,
    read_segment,
)
from tests.support.milvus_server.objects import NoSuchObjectError
from tests.support.milvus_server.rows import channel_of
from tests.support.milvus_server.values import Columns, join, rows_in, take

PENDING, IMPORTING, COMPLETED, FAILED = "Pending", "Importing", "Completed", "Failed"

# How far into a job its files are read; before that it waits, and looks as if it did nothing.
_PENDING_SHARE, _READING_SHARE = 0.15, 0.6
_INDEX_PERCENT = 70
_INDEX_POLL_SECONDS = 0.5


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Detail:
    """What became of one file of a job, as REST tells it."""

    name: str
    rows: int


@dataclass
class Job:
    """An import job."""

    job_id: int
    collection: Collection
    partition: str
    files: list[list[str]]
    options: dict[str, str]
    created_at: float
    begins_at: float
    created: str = field(default_factory=_now)
    state: str = PENDING
    reason: str = ""
    rows: int = 0
    progress: int = 0
    segment_ids: list[int] = field(default_factory=list)
    details: list[Detail] = field(default_factory=list)
    ended_at: float | None = None
    completed: str = ""

    @property
    def is_level_zero(self) -> bool:
        """Whether it asks for an import of deletes, which only from 2.4 on there is."""
        return import_checks.is_set(self.options, "l0_import")


class Imports:
    """All import jobs of a server. They survive its restart."""

    def __init__(self, core: Core) -> None:
        """Begin without any."""
        self._core = core
        self._jobs: dict[int, Job] = {}
        self._busy_until = 0.0
        self._lives = 0
        """How often the server has ended; what a life of it had in hand ends with it."""

    def create(
        self, collection: Collection, partition: str, files: Sequence[Sequence[str]], options: dict[str, str]
    ) -> Job:
        """Begin a job, or refuse it."""
        core = self._core
        groups = [list(paths) for paths in files]
        import_checks.check(core, collection, partition, groups, options)
        running = sum(job.ended_at is None for job in self._jobs.values())
        import_checks.check_room(core, running)
        now = core.clock.now()
        begins = now
        if not core.version.has_import_v2:
            # One after the other, whoever asks for them.
            begins = max(now, self._busy_until)
            self._busy_until = begins + core.durations.import_job
        job = Job(core.clock.new_id(), collection, partition, groups, options, now, begins)
        self._jobs[job.job_id] = job
        lasts = core.durations.import_job
        self._at(job, begins + lasts * _PENDING_SHARE, lambda: self._start(job))
        self._at(job, begins + lasts * _READING_SHARE, lambda: self._run(job))
        return job

    def find(self, job_id: int) -> Job:
        """Return a job, or refuse: unknown, or so long at its end that it was forgotten."""
        self._forget()
        if job_id not in self._jobs:
            raise refusals.job_not_found(self._core.version, job_id)
        return self._jobs[job_id]

    def all(self) -> Iterator[Job]:
        """Yield all jobs, newest first."""
        self._forget()
        yield from reversed(self._jobs.values())

    def _forget(self) -> None:
        before = self._core.clock.now() - self._core.durations.import_retention
        for number, job in list(self._jobs.items()):
            has_ended = job.ended_at is not None
            if has_ended and (self._core.faults.forgets_imports or (job.ended_at or 0) <= before):
                del self._jobs[number]

    def _at(self, job: Job, moment: float, work: Callable[[], None]) -> None:
        life = self._lives

        def unless_ended() -> None:
            if job.ended_at is None and life == self._lives:
                work()

        self._core.after(max(0.0, moment - self._core.clock.now()), unless_ended)

    def _start(self, job: Job) -> None:
        job.state, job.progress = IMPORTING, 10

    def halt(self) -> None:
        """Do nothing more: the server has ended."""
        self._lives += 1

    def run_again(self) -> None:
        """Take up the jobs that had not ended when the server did, each from the last state that it had reached."""
        self.halt()
        for job in self._jobs.values():
            has_rows = job.progress >= _INDEX_PERCENT
            self._at(job, self._core.clock.now(), partial(self._wait_for_index if has_rows else self._run, job))

    def _run(self, job: Job) -> None:
        core = self._core
        if core.faults.expires_imports:
            self._fail(job, "the import task expired")
            return
        job.progress = 40
        try:
            import_checks.check_quota(core, job.options)
            with core.unlocked():
                work = self._read(job)
        except ImportFailedError as err:
            self._fail(job, str(err))
            return
        except NoSuchObjectError as err:
            # It was listed, and a clean-up has removed it since.
            self._fail(job, f"NoSuchKey(key={err.args[0]}): importing data failed")
            return
        except DamagedBinlogError as err:
            if core.faults.dies_of_damage:
                core.die()
            elif core.faults.empties_damaged:
                self._end(job, COMPLETED)
            else:
                self._fail(job, f"{err}: importing data failed")
            return
        job.progress = 60
        self._at(job, job.begins_at + core.durations.import_job, lambda: self._finish(job, work))

    def _read(self, job: Job) -> Callable[[], None]:
        has_level_zero = self._core.version.has_import_v2 and job.is_level_zero
        return self._read_level_zero(job) if has_level_zero else self._read_rows(job)

    def _read_rows(self, job: Job) -> Callable[[], None]:
        core, parts, details = self._core, list[Columns](), list[Detail]()
        if not core.version.has_import_v2:
            import_checks.check_legacy_files(job.files[0], job.options)
        for paths in job.files:
            insert_path, delta_path = (*paths, "")[:2]
            for segment in find_segments(core.version, core.objects, insert_path, delta_path):
                columns = self._read_one(job, segment)
                parts.append(columns)
                details.append(Detail(f"[{','.join(segment.paths)}]", rows_in(columns)))

        def keep() -> None:
            job.details, job.rows = details, sum(detail.rows for detail in details)
            self._add_segments(job, join(parts))

        return keep

    def _read_one(self, job: Job, segment: StagedSegment) -> Columns:
        core = self._core
        try:
            return read_segment(core.version, core.objects, job.collection, segment, job.options)
        except ImportFailedError as err:
            if core.version.at_least(2, 5):
                msg = f"error: {err}, file: id:{core.clock.new_id()}  {segment.name}"
                raise ImportFailedError(msg) from err
            raise

    def _add_segments(self, job: Job, columns: Columns) -> None:
        """Cut rows anew, by channel."""
        core, collection = self._core, job.collection
        partition_id = collection.partitions[job.partition].partition_id
        keys = columns.get(collection.key_field.fieldID, [])
        homes: dict[str, list[int]] = {}
        for row, key in enumerate(keys):
            homes.setdefault(channel_of(collection, key), []).append(row)
        for channel, rows in homes.items():
            level = L1 if core.version.has_l0 else LEGACY
            segment = core.new_segment(collection, partition_id, channel, level)
            if core.version.sorts:
                rows = sorted(rows, key=lambda row: (keys[row],))  # noqa: PLW2901
                segment.is_sorted = True
            segment.columns = take(columns, rows)
            core.writer.write_rows(segment.place, collection.schema, segment.columns, segment.logs, merges=False)
            core.mark_flushed(segment)
            job.segment_ids.append(segment.segment_id)

    def _read_level_zero(self, job: Job) -> Callable[[], None]:
        core = self._core
        import_checks.check_level_zero_paths(core, job.files)
        paths = [path for group in job.files for path in group]
        deletes = read_level_zero(core.version, core.objects, paths)

        def keep() -> None:
            job.rows = len(deletes)
            if deletes or not core.version.at_least(2, 5):
                job.details = [Detail(f"[{','.join(paths)}]", job.rows)]
            self._add_level_zero(job, deletes)

        return keep

    def _add_level_zero(self, job: Job, deletes: list[Delete]) -> None:
        collection = job.collection
        partition_id = collection.partitions[job.partition].partition_id if job.partition else ALL_PARTITIONS
        homes: dict[str, list[Delete]] = {}
        for delete in deletes:
            homes.setdefault(channel_of(collection, delete[0]), []).append(delete)
        for channel, own in homes.items():
            add_level_zero(self._core, collection, partition_id, channel, own)

    def _finish(self, job: Job, work: Callable[[], None]) -> None:
        collection = job.collection
        there = self._core.catalog.databases[collection.database].collections.get(collection.name)
        if there is not collection or (job.partition and job.partition not in collection.partitions):
            self._fail(job, f"collection {collection.collection_id} or partition '{job.partition}' dropped")
            return
        work()
        self._wait_for_index(job)

    def _wait_for_index(self, job: Job) -> None:
        core = self._core
        job.progress = _INDEX_PERCENT
        waits = core.version.has_import_v2 and core.settings.waits_for_index and job.collection.indexes
        newest = max((job.collection.segments[number].flushed_at for number in self._kept(job)), default=0.0)
        is_built = newest + core.durations.index <= core.clock.now()
        if core.faults.stuck_at_index or (waits and not is_built):
            self._at(job, core.clock.now() + _INDEX_POLL_SECONDS, lambda: self._wait_for_index(job))
        else:
            self._end(job, COMPLETED)

    def _kept(self, job: Job) -> list[int]:
        return [number for number in job.segment_ids if number in job.collection.segments]

    def _fail(self, job: Job, reason: str) -> None:
        job.reason = reason
        self._end(job, FAILED)

    def _end(self, job: Job, state: str) -> None:
        job.state, job.progress = state, 100 if state == COMPLETED else 0
        job.ended_at, job.completed = self._core.clock.now(), _now()
