"""Starting import jobs: never the same rows twice, and as many at a time as the server takes."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import batched, islice, takewhile
from threading import Event
from typing import NamedTuple

from milvus_vault.claims import check_owner
from milvus_vault.model.collections import ImportTask
from milvus_vault.model.names import attempt_of
from milvus_vault.ports import Importer, VectorDatabase
from milvus_vault.restore.create import Creation
from milvus_vault.restore.journal import Journal, JournalEntry
from milvus_vault.restore.staging import import_pair
from milvus_vault.restore.working_files import (
    Attempt,
    ImportJob,
    ImportJobs,
    ImportPaths,
    ImportSource,
    JobsDone,
    RestorePlan,
    Target,
)
from milvus_vault.workspace import Workspace


class Submitted(NamedTuple):
    """The jobs of a collection's attempt for rows, or for deletes."""

    jobs: tuple[ImportJob, ...] = ()
    has_all: bool = False
    """Whether these are all that there will be."""
    since: datetime | None = None
    """When the first of them were started."""

    @property
    def pair_count(self) -> int:
        """Return of how many pairs of prefixes they are."""
        return sum(job.pair_count for job in self.jobs)


def submitted(journal: Journal, index: int, entry: JournalEntry, step: str) -> Submitted:
    """Return the jobs of the latest attempt that are written down under `jobs` or `deletes`."""
    turns = [journal.get(index, step, ImportJobs, entry.latest, turn) for turn in range(1, entry.count(step) + 1)]
    if not turns:
        return Submitted()
    return Submitted(tuple(job for turn in turns for job in turn.jobs), turns[-1].has_all, turns[0].submitted_at)


def jobs_done(journal: Journal, index: int, entry: JournalEntry) -> Mapping[str, int]:
    """Return the rows of each job of the latest attempt that is known to have ended well, by its ID."""
    return journal.get(index, "done", JobsDone, entry.latest).rows if entry.has("done") else {}


@dataclass(frozen=True, slots=True)
class Submission:
    """Starts the import jobs of a run, in one call of a function."""

    run: Workspace
    plan: RestorePlan
    database: VectorDatabase
    importer: Importer
    execution_arn: str
    _is_full: Event = field(default_factory=Event)
    """Set once the server has no room: all that is left waits for the next turn."""

    def start_rows(
        self,
        journal: Journal,
        index: int,
        entry: JournalEntry,
        target: Target,
        done: Container[str],
        *,
        staged_pairs: int,
    ) -> None:
        """Start the jobs for the rows of a collection that are not started yet, as many as the server takes.

        Only those of its first `staged_pairs`: the others are still copied. Rows that are older than a field come
        first; when all of them are `done`, the field is added, and the next are started. Where jobs may have been
        started that nobody wrote down, a new attempt is made; with skip_create there can be none, and they are looked
        for.
        """
        there = submitted(journal, index, entry, "jobs")
        if there.has_all or self._is_full.is_set():
            return
        first = there.pair_count
        left = _between(target.imports, first)
        if left and staged_pairs <= first:
            return
        if there.jobs and left[0].before_field != _last_round(target.imports, first):
            if not all(job.job_id in done for job in there.jobs):
                return
            self.add_fields(journal, index, entry, target, left[0].before_field)
        attempt, turn, may_have_started = entry.latest, entry.count("jobs") + 1, False
        while not journal.note(index, "importing", self._mark(attempt), attempt, turn):
            if self.plan.request.skip_create:
                may_have_started = True
                break
            creation = Creation(self.run, self.plan, self.database, self.execution_arn)
            attempt, turn, first = creation.new_attempt(index, attempt), 1, 0
        name = journal.get(index, "attempt", Attempt, attempt).name
        ready = _between(target.imports, first, staged_pairs)
        together = tuple(takewhile(lambda source: source.before_field == ready[0].before_field, ready))
        found = self._submit(target.name.database, name, together, may_have_started=may_have_started)
        if together != _between(target.imports, first):
            found = found.model_copy(update={"has_all": False})
        if found.jobs or found.has_all or may_have_started:
            journal.note(index, "jobs", found, attempt, turn)
        else:
            journal.take_back(index, "importing", attempt, turn)

    def add_fields(
        self, journal: Journal, index: int, entry: JournalEntry, target: Target, before_field: int = 0
    ) -> None:
        """Add the fields numbered before one (0: all) that the collection of the latest attempt lacks."""
        creation = Creation(self.run, self.plan, self.database, self.execution_arn)
        creation.extend(target, journal.get(index, "attempt", Attempt, entry.latest).name, before_field)

    def start_deletes(self, journal: Journal, index: int, entry: JournalEntry, target: Target) -> None:
        """Start the jobs for deletes, which is right only when all rows are in.

        Not beside or before them: a compaction in between would spend the deletes on nothing. Started twice they
        change nothing, so that there is no mark before the start.
        """
        there = submitted(journal, index, entry, "deletes")
        if there.has_all or self._is_full.is_set():
            return
        name = journal.get(index, "attempt", Attempt, entry.latest).name
        found = self._submit(target.name.database, name, _between(target.deletes, there.pair_count))
        if found.jobs or found.has_all:
            journal.note(index, "deletes", found, entry.latest, entry.count("deletes") + 1)

    def count_left(self, sources: Sequence[ImportSource], pair_count: int = 0) -> int:
        """Return how many jobs sources take beyond their first so many pairs."""
        return sum(1 for source in _between(sources, pair_count) for _ in shares(source, self.importer.pairs_a_job))

    def _submit(
        self, database: str, name: str, sources: Sequence[ImportSource], *, may_have_started: bool = False
    ) -> ImportJobs:
        """Start the jobs for some sources, until the server has no room."""
        jobs: list[ImportJob] = []
        for source in sources:
            for pairs in shares(source, self.importer.pairs_a_job):
                task = ImportTask(
                    partition=source.partition,
                    pairs=tuple(import_pair(pair) for pair in pairs),
                    storage_version=source.storage_version,
                    is_deletes=source.is_deletes,
                    end_timestamp=source.end_timestamp,
                )
                # With skip_create another execution imports into this same collection.
                check_owner(self.run, attempt_of(self.execution_arn))
                job_id = self.importer.find_import(database, name, task) if may_have_started else None
                job_id = job_id or self.importer.start_import(database, name, task)
                if job_id is None:
                    self._is_full.set()
                    return ImportJobs(jobs=tuple(jobs), has_all=False, submitted_at=datetime.now(UTC))
                jobs.append(
                    ImportJob(
                        job_id=job_id,
                        partition=source.partition,
                        row_count=sum(pair.row_count for pair in pairs),
                        has_deletes=any(pair.delta_prefix for pair in pairs),
                        pair_count=len(pairs),
                    )
                )
        return ImportJobs(jobs=tuple(jobs), has_all=True, submitted_at=datetime.now(UTC))

    def _mark(self, attempt: int) -> Attempt:
        return Attempt(number=attempt, name="", execution_arn=self.execution_arn)


def shares(source: ImportSource, pairs_a_job: int) -> Iterator[tuple[ImportPaths, ...]]:
    """Yield what each job for a source takes; `pairs_a_job`: as `Importer` says."""
    return batched(source.pairs, pairs_a_job, strict=False)


def _last_round(sources: Sequence[ImportSource], pair_count: int) -> int:
    """Return what field the last of so many pairs of sources are older than."""
    pairs = (source for source in sources for _ in source.pairs)
    return next(islice(pairs, pair_count - 1, None)).before_field


def _between(sources: Sequence[ImportSource], first: int, end: int | None = None) -> tuple[ImportSource, ...]:
    """Return the sources with those pairs alone that have a number from `first` to before `end`, or to the last one."""
    found, number = [], 0
    for source in sources:
        pairs = source.pairs[max(first - number, 0) : None if end is None else max(end - number, 0)]
        number += len(source.pairs)
        if pairs:
            found.append(source.model_copy(update={"pairs": pairs}))
    return tuple(found)
