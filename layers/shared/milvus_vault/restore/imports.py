"""The rows of a collection, and the proof that they are all there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from milvus_vault.errors import (
    ImportFailedError,
    ImportStalledError,
    MilvusUnavailableError,
    RowCountMismatchError,
)
from milvus_vault.model.collections import ImportJobState, ImportStatus
from milvus_vault.model.times import utc_minute
from milvus_vault.ports import Importer, VectorDatabase
from milvus_vault.restore.journal import Journal, JournalEntry
from milvus_vault.restore.submission import Submission, jobs_done, submitted
from milvus_vault.restore.working_files import (
    Imported,
    ImportedSoFar,
    ImportJob,
    ImportsMoved,
    JobsDone,
    RestorePlan,
    Target,
    imports_name,
)
from milvus_vault.workspace import Workspace

# Jobs stay at 70 % while Milvus indexes their rows, which for the largest takes hours.
STALLED_SECONDS = 6 * 3600


class Look(NamedTuple):
    """How far the imports of a collection are."""

    is_done: bool
    jobs_done: int
    jobs_total: int
    """Those that are not started yet included."""
    percent: int
    """The sum over all jobs."""
    rows_done: int
    """Of the rows to import, each job's by its percentage."""
    since: datetime
    """When the first were started."""
    is_staged: bool
    """Whether all that is to be imported is there: else Milvus may have nothing to do."""


@dataclass(frozen=True, slots=True)
class Imports:
    """The import jobs of a run, in one call of a function."""

    run: Workspace
    plan: RestorePlan
    database: VectorDatabase
    importer: Importer
    execution_arn: str
    submission: Submission

    def look(
        self, journal: Journal, index: int, entry: JournalEntry, target: Target, *, staged_pairs: int | None
    ) -> Look:
        """Bring the imports of a collection as far as they go without waiting, and check the rows of those that ended.

        Its first `staged_pairs` are staged, or with None all that it has; the others are started by a later look. Jobs
        of 2.4 and newer overlap, those of 2.2 and 2.3 wait for each other; where a server has no room for all, the next
        look starts the others. Raises `MilvusUnavailableError` where none of its questions was answered.
        """
        rows, deletes = (submitted(journal, index, entry, step) for step in ("jobs", "deletes"))
        done, percents = self._ask(journal, index, entry, target, (*rows.jobs, *deletes.jobs))
        for job in rows.jobs:
            if job.job_id in done:
                check_imported_rows(target, job, done[job.job_id])
        for job in deletes.jobs:
            if job.job_id in done:
                check_imported_deletes(target, job, done[job.job_id])
        submission = self.submission
        left = submission.count_left(target.imports, rows.pair_count)
        total = len(rows.jobs) + left + len(deletes.jobs)
        total += submission.count_left(target.deletes, deletes.pair_count)
        is_done, is_staged = False, staged_pairs is None
        if not rows.has_all and total:
            pairs = target.pair_count if staged_pairs is None else staged_pairs
            submission.start_rows(journal, index, entry, target, done, staged_pairs=pairs)
        elif all(job.job_id in done for job in rows.jobs):
            if target.first_round:
                submission.add_fields(journal, index, entry, target)
            if len(done) == total:
                self._note_imported(journal, index, entry, target, sum(done[job.job_id] for job in rows.jobs))
                is_done = True
            elif not deletes.has_all and is_staged:
                # Deletes are copied last: of a folder that is half there none would be missed by the server.
                submission.start_deletes(journal, index, entry, target)
        since = rows.since or datetime.now(UTC)
        rows_done = sum(job.row_count * percents.get(job.job_id, 0) // 100 for job in rows.jobs)
        return Look(is_done, len(done), total, sum(percents.values()), rows_done, since, is_staged)

    def _ask(
        self, journal: Journal, index: int, entry: JournalEntry, target: Target, jobs: Sequence[ImportJob]
    ) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Return the rows of each job that is done, and the percentage that each has come to, by their IDs.

        Those that are done are written down, and not asked for again: their records are gone some hours later, when
        others still run. After the first that gets no answer no other is asked for: each may take a minute.
        """
        known = jobs_done(journal, index, entry)
        done, unanswered = dict(known), list[MilvusUnavailableError]()
        percents = dict.fromkeys(known, 100)
        for job in jobs:
            if job.job_id in known:
                continue
            try:
                state = self.importer.import_state(job.job_id)
            except MilvusUnavailableError as err:
                unanswered.append(err)
                break
            percents[job.job_id] = state.percent
            if is_completed(target, job, state):
                done[job.job_id] = state.row_count
        if len(done) > len(known):
            journal.note_again(index, "done", JobsDone(rows=done), entry.latest)
        if unanswered and len(percents) == len(known):
            raise unanswered[0]
        return done, percents

    def check_moves(self, journal: Journal, looks: Mapping[int, Look]) -> None:
        """Give up the collections that are not done once nothing at all has moved for long.

        While one of them is still staged, it is not Milvus that is waited for.
        """
        waiting = {index: look for index, look in looks.items() if not look.is_done}
        name, now = imports_name(self.execution_arn), datetime.now(UTC)
        percent = sum(look.percent for look in waiting.values())
        moved = self.run.find(name, ImportsMoved)
        # The next looks no longer tell of a collection that is imported by now.
        percents = (moved.percents if moved else {}) | {index: _percent(look) for index, look in looks.items()}
        waits_for_copies = not all(look.is_staged for look in waiting.values())
        if waits_for_copies or moved is None or moved.percent != percent or moved.percents.keys() != percents.keys():
            begun_at = moved.begun_at if moved else now
            collections = (moved.collections if moved else {}) | {index: _so_far(look) for index, look in looks.items()}
            self.run.write(
                name,
                ImportsMoved(percent=percent, since=now, begun_at=begun_at, percents=percents, collections=collections),
            )
        elif (now - moved.since).total_seconds() > STALLED_SECONDS:
            for index, look in waiting.items():
                msg = f"the imports of {self.plan.targets[index]} are at {look.jobs_done} of {look.jobs_total} job(s)"
                msg += f", and no import of this restore has got further since {utc_minute(moved.since)}"
                hint = "See Milvus' log, and whether it builds indexes at all; start the restore again with this input."
                journal.fail(index, ImportStalledError(msg, hint=hint))

    def _note_imported(self, journal: Journal, index: int, entry: JournalEntry, target: Target, rows: int) -> None:
        if self.plan.request.skip_create:
            self._check_not_doubled(target, rows)
        if target.deletes:
            # How many rows they left, no job tells: a query does, where the collection gets loaded.
            rows = rows if target.live_row_count is None else target.live_row_count
            is_known = target.live_row_count is not None
            imported = Imported(row_count=rows, has_deletes_after=not is_known, imported_at=datetime.now(UTC))
        else:
            check_live_rows(target, rows)
            imported = Imported(row_count=rows, imported_at=datetime.now(UTC))
        journal.note(index, "imported", imported, entry.latest)

    def _check_not_doubled(self, target: Target, imported: int) -> None:
        """Raise `RowCountMismatchError` where the user's collection, empty before, has more rows than this run's.

        A function of a killed execution may have started jobs after its successor had looked for them.
        """
        segments = self.database.list_segments(target.name.database, target.name.name)
        found = sum(segment.row_count for segment in segments)
        # Fewer there may be: a compaction leaves out what was deleted or has expired.
        if found > imported:
            msg = f"{target.name} has {found} row(s) in its segments, and {imported} were imported"
            raise RowCountMismatchError(msg, hint="Drop and create the collection, and start the restore again.")


def _so_far(look: Look) -> ImportedSoFar:
    return ImportedSoFar(rows_done=look.rows_done, jobs_done=look.jobs_done, jobs_total=look.jobs_total)


def _percent(look: Look) -> float:
    return 100.0 if look.is_done else look.percent / max(look.jobs_total, 1)


def is_completed(target: Target, job: ImportJob, state: ImportJobState) -> bool:
    """Return whether a job has ended well; raises `ImportFailedError` where it has in any other way."""
    named = f"import job {job.job_id} of {target.name} partition {job.partition or '(all)'}"
    if state.status is ImportStatus.FAILED:
        msg = f"Milvus gave up {named}: {state.reason}"
        raise ImportFailedError(msg, hint="See Milvus' log; start the restore again with the same input.")
    if state.status is ImportStatus.FORGOTTEN:
        msg = f"Milvus no longer knows {named}, so that its rows cannot be proven"
        raise ImportFailedError(msg, hint="It keeps the records of ended jobs for some hours. Start the restore again.")
    return state.status is ImportStatus.COMPLETED


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


def check_imported_deletes(target: Target, job: ImportJob, imported: int) -> None:
    """Raise `RowCountMismatchError` where no deletes were imported: each path that is asked for holds some.

    A server of 2.5 calls a damaged file of deletes completed, and every server one that it cannot see.
    """
    if imported:
        return
    msg = f"{target.name} partition {job.partition or '(all)'} got none of the deletes that the backup holds for it"
    raise RowCountMismatchError(msg, hint="Do not use the collection; see Milvus' log, and start the restore again.")


def check_live_rows(target: Target, imported: int) -> None:
    """Raise `RowCountMismatchError` unless as many rows came back as were alive when the backup was made."""
    alive = target.live_row_count
    if alive is None or alive == imported:
        return
    if target.has_time_to_live and imported > alive:
        # Expired rows are still in the segments until a compaction; queries leave them out.
        return
    msg = f"{target.name} got {imported} row(s); {alive} were alive when the backup was made"
    if imported > alive:
        # From 2.5 on a count leaves such rows out, and no call tells of the setting.
        msg += ": deleted rows came back, or rows that had expired, if the source has common.entityExpiration"
    raise RowCountMismatchError(
        msg, hint="Do not use the restored collection. Please report this with the run's files."
    )
