"""StartImports and GetImportProgress: the rows, and the proof that they are all there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched

from milvus_vault.claims import check_owner
from milvus_vault.errors import ImportFailedError, RowCountMismatchError
from milvus_vault.model.collections import ImportJobState, ImportStatus, ImportTask
from milvus_vault.model.names import attempt_of
from milvus_vault.ports import Importer, VectorDatabase
from milvus_vault.restore.create import Creation
from milvus_vault.restore.documents import (
    Attempt,
    Imported,
    ImportJob,
    ImportJobs,
    ImportSource,
    RestorePlan,
    Target,
    target_name,
)
from milvus_vault.restore.journal import Journal, Progress
from milvus_vault.restore.staging import import_pair
from milvus_vault.restore.waiting import seconds_to_wait
from milvus_vault.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far the imports of a run are."""

    is_done: bool
    jobs_total: int
    jobs_done: int
    wait_seconds: int
    """When to ask again."""


@dataclass(frozen=True, slots=True)
class Imports:
    """The import jobs of a run."""

    run: Workspace
    plan: RestorePlan
    database: VectorDatabase
    importer: Importer
    execution_arn: str
    threads: int

    def start_all(self) -> int:
        """Start all jobs of all collections before any is waited for, and return how many there are.

        Jobs of 2.4 and newer overlap, those of 2.2 and 2.3 wait for each other.
        """
        journal = Journal(self.run)
        progress = journal.read()
        waiting = [
            index
            for index, entry in progress.items()
            if entry.has("created") and not (entry.has("jobs") or entry.has_failed or entry.is_finished)
        ]
        journal.work_on(
            waiting,
            lambda index: self._start(journal, index, progress[index]),
            execution_arn=self.execution_arn,
            threads=self.threads,
        )
        entries = journal.read()
        return sum(len(self._jobs(journal, i, e).jobs) for i, e in entries.items() if e.has("jobs"))

    def _start(self, journal: Journal, index: int, entry: Progress) -> None:
        target = self.run.read(target_name(index), Target)
        attempt, may_have_started = entry.latest, False
        while not journal.note(index, "importing", self._mark(attempt), attempt):
            # Somebody was here before and did not write down what was started.
            if self.plan.request.skip_create:
                may_have_started = True
                break
            attempt = Creation(self.run, self.plan, self.database, self.execution_arn, self.threads).new_attempt(
                index, attempt
            )
        name = journal.get(index, "attempt", Attempt, attempt).name
        jobs = self._submit(target.name.database, name, target.imports, may_have_started=may_have_started)
        journal.note(index, "jobs", ImportJobs(jobs=jobs, submitted_at=datetime.now(UTC)), attempt)

    def _submit(
        self, database: str, name: str, sources: Sequence[ImportSource], *, may_have_started: bool = False
    ) -> tuple[ImportJob, ...]:
        """Start the jobs for some sources, and return them."""
        jobs = []
        for source in sources:
            for pairs in batched(source.pairs, self.importer.pairs_a_job, strict=False):
                task = ImportTask(
                    partition=source.partition,
                    pairs=tuple(import_pair(pair) for pair in pairs),
                    storage_version=source.storage_version,
                    is_deletes=source.is_deletes,
                    end_timestamp=source.end_timestamp,
                )
                # With skip_create another execution imports into this same collection.
                check_owner(self.run, attempt_of(self.execution_arn))
                job = self.importer.find_import(database, name, task) if may_have_started else None
                jobs.append(
                    ImportJob(
                        job_id=job or self.importer.start_import(database, name, task),
                        partition=source.partition,
                        row_count=sum(pair.row_count for pair in pairs),
                        has_deletes=any(pair.delta_prefix for pair in pairs) or source.end_timestamp > 0,
                    )
                )
        return tuple(jobs)

    def _mark(self, attempt: int) -> Attempt:
        return Attempt(number=attempt, name="", execution_arn=self.execution_arn)

    def poll(self) -> ImportProgress:
        """Ask for every job that is not done, and check the rows of each collection whose jobs all are."""
        journal = Journal(self.run)
        progress = journal.read()
        running = [
            index
            for index, entry in progress.items()
            if entry.has("jobs") and not (entry.has("imported") or entry.has_failed or entry.is_finished)
        ]
        counts = dict.fromkeys(running, (0, 0))
        oldest = datetime.now(UTC)

        def poll(index: int) -> None:
            nonlocal oldest
            submitted = self._jobs(journal, index, progress[index])
            oldest = min(oldest, submitted.submitted_at)
            counts[index] = self._poll(journal, index, progress[index], submitted.jobs)

        journal.work_on(running, poll, execution_arn=self.execution_arn, threads=self.threads)
        failed = {index for index, entry in journal.read().items() if entry.has_failed}
        done = sum(done for done, _ in counts.values())
        total = sum(total for _, total in counts.values())
        waited = (datetime.now(UTC) - oldest).total_seconds()
        return ImportProgress(
            is_done=all(done == total or index in failed for index, (done, total) in counts.items()),
            jobs_total=total,
            jobs_done=done,
            wait_seconds=seconds_to_wait(waited),
        )

    def _poll(self, journal: Journal, index: int, entry: Progress, jobs: Sequence[ImportJob]) -> tuple[int, int]:
        """Return how many of a collection's jobs are done, and how many there are."""
        target = self.run.read(target_name(index), Target)
        rows = []
        for job in jobs:
            state = self._completed(target, job)
            if state is not None:
                check_imported_rows(target, job, state.row_count)
                rows.append(state.row_count)
        if len(rows) < len(jobs):
            return len(rows), len(jobs) + len(target.deletes)
        done = len(rows)
        if target.deletes:
            deletes = self._deletes(journal, index, entry, target)
            done += sum(self._completed(target, job) is not None for job in deletes)
            if done < len(jobs) + len(deletes):
                return done, len(jobs) + len(deletes)
        self._note_imported(journal, index, entry, target, sum(rows))
        return done, done

    def _note_imported(self, journal: Journal, index: int, entry: Progress, target: Target, rows: int) -> None:
        if self.plan.request.skip_create:
            self._check_not_doubled(target, rows)
        if target.deletes:
            # How many rows they left, no job tells: a query does, where the collection gets loaded.
            rows = rows if target.live_row_count is None else target.live_row_count
            is_known = target.live_row_count is not None
            imported = Imported(row_count=rows, has_deletes_after=not is_known)
        else:
            check_live_rows(target, rows)
            imported = Imported(row_count=rows)
        journal.note(index, "imported", imported, entry.latest)

    def _deletes(self, journal: Journal, index: int, entry: Progress, target: Target) -> Sequence[ImportJob]:
        """Return the jobs for deletes, which are started when all rows are in.

        Not beside or before them: a compaction in between would spend the deletes on nothing. Started twice they
        change nothing, so that there is no mark before the start.
        """
        if not entry.has("deletes"):
            name = journal.get(index, "attempt", Attempt, entry.latest).name
            jobs = self._submit(target.name.database, name, target.deletes)
            journal.note(index, "deletes", ImportJobs(jobs=jobs, submitted_at=datetime.now(UTC)), entry.latest)
        return journal.get(index, "deletes", ImportJobs, entry.latest).jobs

    def _completed(self, target: Target, job: ImportJob) -> ImportJobState | None:
        """Return the state of a job that is completed; None for one that still runs."""
        state = self.importer.import_state(job.job_id)
        named = f"import job {job.job_id} of {target.name} partition {job.partition or '(all)'}"
        if state.status is ImportStatus.FAILED:
            msg = f"Milvus gave up {named}: {state.reason}"
            raise ImportFailedError(msg, hint="See Milvus' log; start the restore again with the same input.")
        if state.status is ImportStatus.FORGOTTEN:
            msg = f"Milvus no longer knows {named}, so that its rows cannot be proven"
            raise ImportFailedError(
                msg, hint="It keeps the records of ended jobs for some hours. Start the restore again."
            )
        return state if state.status is ImportStatus.COMPLETED else None

    def _check_not_doubled(self, target: Target, imported: int) -> None:
        """Raise `RowCountMismatchError` where the user's collection, empty before, has other rows than this run's.

        A function of a killed execution may have started jobs after its successor had looked for them.
        """
        segments = self.database.list_segments(target.name.database, target.name.name)
        found = sum(segment.row_count for segment in segments)
        if found != imported:
            msg = f"{target.name} has {found} row(s) in its segments, and {imported} were imported"
            raise RowCountMismatchError(msg, hint="Drop and create the collection, and start the restore again.")

    @staticmethod
    def _jobs(journal: Journal, index: int, entry: Progress) -> ImportJobs:
        return journal.get(index, "jobs", ImportJobs, entry.latest)


def check_imported_rows(target: Target, job: ImportJob, imported: int) -> None:
    """Raise `RowCountMismatchError` unless a partition got the rows of its segments, less what was deleted.

    "Completed" alone proves nothing: a path that Milvus cannot see is imported with 0 rows and no error.
    """
    if imported == job.row_count or (job.has_deletes and imported < job.row_count):
        return
    msg = f"{target.name} partition {job.partition} got {imported} of {job.row_count} row(s)"
    raise RowCountMismatchError(
        msg,
        hint="Check that MilvusBucketName is the target Milvus' own bucket, and that its role may read the objects.",
    )


def check_live_rows(target: Target, imported: int) -> None:
    """Raise `RowCountMismatchError` unless as many rows came back as were alive when the backup was made."""
    alive = target.live_row_count
    if alive is None or alive == imported:
        return
    if target.has_time_to_live and imported > alive:
        # Expired rows are still in the segments until a compaction; queries leave them out.
        return
    msg = f"{target.name} got {imported} row(s); {alive} were alive when the backup was made"
    raise RowCountMismatchError(
        msg, hint="Do not use the restored collection. Please report this with the run's files."
    )
