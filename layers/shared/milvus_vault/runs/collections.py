"""What has become of each collection of a run so far.

Names of working files tell the status of all by a few listings; documents are read only of those that are asked for.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from milvus_vault.backup import working_files as backup
from milvus_vault.copying.progress import CopyState, TargetProgress, copy_state
from milvus_vault.copying.verify import find_copy_check
from milvus_vault.copying.working_files import CopyProgress, complete_indexes, target_indexes
from milvus_vault.datasets import working_files as datasets
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.names import attempt_of, backup_of
from milvus_vault.model.resources import Progress, RunCollection, UnitCount
from milvus_vault.parallel import each
from milvus_vault.restore import working_files as restore
from milvus_vault.restore.journal import Journal, JournalEntry
from milvus_vault.restore.working_files import (
    ImportedSoFar,
    ImportsMoved,
    Movement,
    ServedSoFar,
    ServingMoved,
    imports_name,
    serving_name,
)
from milvus_vault.runs.measuring import Phase
from milvus_vault.runs.paces import read_paces
from milvus_vault.workspace import Workspace

_ALL = 100

COPYING, WRITING = "copying", "writing rows"
COPIES = frozenset({COPYING, WRITING})
"""Phases whose first unit are the bytes that `Progress` has by themselves."""


type Status = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Followed:
    """The collections of a run, by their indexes in its plan."""

    names: tuple[CollectionName, ...]
    warnings: tuple[str, ...]
    statuses: Sequence[Status]
    copying: CopyState | None
    read: Callable[[int, RunCollection], RunCollection]
    """Adds to a collection what its documents say."""
    phases: Sequence[Phase] = ()
    """Those that have begun, in their order."""
    paces: Callable[[], Mapping[str, float]] = dict
    """Looks up how fast the last runs of this kind were, by phase."""
    has_collections: bool = True
    """Whether it works on collections that its plan names, each for itself."""

    def collections(self, indexes: Iterable[int]) -> tuple[RunCollection, ...]:
        """Return some collections in full."""
        return tuple(each(self._collection, indexes))

    def first(self, count: int) -> tuple[RunCollection, ...]:
        """Return the first few: failed ones, then those at work, then the others."""
        order: Sequence[Status] = ("failed", "running", "waiting", "done")
        indexes = sorted(range(len(self.names)), key=lambda index: order.index(self.statuses[index]))
        return self.collections(indexes[:count])

    def _collection(self, index: int) -> RunCollection:
        name = self.names[index]
        found = self.copying.by_target.get(index) if self.copying else None
        copied = found or TargetProgress()
        collection = RunCollection(
            database=name.database,
            name=name.name,
            status=self.statuses[index],
            objects_done=int(copied.objects_done),
            objects_total=copied.objects_total if found else None,
            bytes_done=int(copied.bytes_done),
            bytes_total=copied.bytes_total if found else None,
        )
        return self.read(index, collection)

    def progress(self, now: datetime) -> Progress:
        """Return how far the run is as a whole."""
        phases = [phase.told(now) for phase in self.phases]
        if any(phase.left and told.eta_from is None for phase, told in zip(self.phases, phases, strict=True)):
            paces = self.paces()
            phases = [phase.told(now, paces.get(phase.name)) for phase in self.phases]
        total = self.copying.total if self.copying else None
        return Progress(
            phases=tuple(phases),
            collections_done=self.statuses.count("done"),
            collections_running=self.statuses.count("running"),
            collections_failed=self.statuses.count("failed"),
            collections_total=len(self.names) if self.has_collections else None,
            objects_done=total.objects_done if total else 0,
            objects_total=total.objects_total if total else None,
            bytes_done=total.bytes_done if total else 0,
            bytes_total=total.bytes_total if total else None,
            bytes_per_second=next((phase.per_second for phase in phases if phase.name in COPIES), None),
            eta_seconds=max((phase.eta_seconds for phase in phases if phase.eta_seconds), default=None),
        )


def phases_of(followed: Followed | None) -> Sequence[Phase]:
    """Return the phases of a run that have begun; none where nobody knows how far it is."""
    return followed.phases if followed else ()


def copying_phases(copying: CopyState | None, name: str = COPYING) -> list[Phase]:
    """Return the phase in which objects are copied; none before it is planned."""
    if copying is None:
        return []
    total = copying.total
    counts = (
        UnitCount(unit="byte", done=total.bytes_done, total=total.bytes_total),
        UnitCount(unit="object", done=total.objects_done, total=total.objects_total),
    )
    begun_with = total.bytes_done - copying.copied_bytes
    return [Phase(name, counts, copying.planned_at, begun_with=begun_with, ended_at=copying.copied_at)]


def follow_backup(run: Workspace, execution_arn: str) -> Followed | None:
    """Return the collections of a backup run, or None where the files are another execution's by now."""
    plan = run.find(backup.PLAN, backup.BackupPlan)
    if plan is None or plan.execution_arn != execution_arn:
        return None
    attempt = attempt_of(execution_arn)
    snapshots = run.numbers(backup.snapshot_folder(attempt))
    targets, verified = target_indexes(run, attempt), complete_indexes(run, attempt)
    # All of these was in the pool: nothing is copied, and the round's check tells whether they are done.
    untouched = run.numbers(backup.shared_folder(attempt)) - targets if plan.is_incremental else set[int]()
    copying = copy_state(run, attempt)
    check = find_copy_check(run, attempt, copying.round_number) if copying and untouched else None

    def status(index: int) -> Status:
        if index in snapshots and index not in targets | untouched:
            return "failed"
        if index in verified or (plan.request.meta_only and index in snapshots):
            return "done"
        if index in untouched:
            return "done" if check and index not in check.again else "running"
        return "running" if index in targets else "waiting"

    def read(index: int, collection: RunCollection) -> RunCollection:
        if collection.status == "waiting":
            return collection
        snapshot = run.read(backup.snapshot_name(attempt, index), backup.Snapshot)
        if snapshot.failure:
            error, message = snapshot.failure.error, snapshot.failure.message
            return collection.model_copy(update={"error": error, "message": message, "hint": snapshot.hint})
        rows = sum(segment.row_count for segment in snapshot.document.segments) if snapshot.document else None
        nothing = {"objects_total": 0, "bytes_total": 0} if index in untouched else {}
        return collection.model_copy(update={"row_count": rows, **nothing})

    statuses = [status(index) for index in range(len(plan.collections))]
    listed = UnitCount(unit="collection", done=len(snapshots), total=len(plan.collections))
    listing = Phase("checking the backup" if plan.export else "flushing and listing", (listed,), plan.started_at)
    phases = [listing, *copying_phases(copying)]
    return Followed(plan.collections, plan.warnings, statuses, copying, read, phases)


def follow_export(run: Workspace, execution_arn: str) -> Followed | None:
    """Return the collections of an export, or None where the files are another execution's by now."""
    # One beside the backups works in the run of the backup that it writes, where no dataset has its files.
    has_backup = backup_of(run.run) != run.run
    plan = None if has_backup else run.find(datasets.PLAN, datasets.DatasetPlan)
    if plan is None:
        # It writes a backup, and has the plan of one.
        return follow_backup(run, execution_arn)
    if plan.execution_arn != execution_arn:
        return None
    files = datasets.list_written(run, plan.written)
    written = datasets.by_collection(files)
    done = [written.get(index, datasets.Share(0, 0)) for index in range(len(plan.collections))]
    total = CopyProgress(
        objects_done=sum(share.files for share in done),
        objects_total=sum(share.files for share in plan.shares),
        bytes_done=sum(share.bytes for share in done),
        bytes_total=sum(share.bytes for share in plan.shares),
    )
    by_target = {
        index: TargetProgress(here.files, share.files, here.bytes, share.bytes)
        for index, (here, share) in enumerate(zip(done, plan.shares, strict=True))
    }
    begun_at = run.store.modified_at(run.bucket, run.key(datasets.PLAN))
    new = sum(name.bytes for name, when in files.items() if begun_at is None or when is None or when >= begun_at)
    writing = CopyState(total, min(new, total.bytes_done), begun_at, 1, by_target=by_target)

    def status(index: int) -> Status:
        if done[index] == plan.shares[index]:
            return "done"
        return "running" if done[index].files else "waiting"

    statuses = [status(index) for index in range(len(plan.collections))]
    phases = copying_phases(writing, WRITING)
    return Followed(plan.collections, plan.warnings, statuses, writing, lambda _, collection: collection, phases)


def follow_restore(run: Workspace, execution_arn: str) -> Followed | None:
    """Return the collections of a restore run, or None where the files are another execution's by now."""
    plan = run.find(restore.PLAN, restore.RestorePlan)
    if plan is None or plan.execution_arn != execution_arn:
        return None
    journal = Journal(run)
    progress = journal.read()
    copying = copy_state(run, attempt_of(execution_arn))
    imports = run.find(imports_name(execution_arn), ImportsMoved)
    serving = run.find(serving_name(execution_arn), ServingMoved) or ServingMoved()

    restoring = _Restoring(plan, progress, imports, serving)

    def status(index: int) -> Status:
        entry = progress[index]
        if entry.is_finished:
            return "done"
        if entry.has_failed:
            return "failed"
        is_copied = copying is not None and copying.by_target[index].objects_done > 0
        return "running" if entry.attempts or is_copied else "waiting"

    def read(index: int, collection: RunCollection) -> RunCollection:
        target = run.read(restore.target_name(index), restore.Target)
        update: dict[str, object] = {
            "database": target.source.database,
            "name": target.source.name,
            "target": str(target.name),
        }
        if collection.status == "running":
            update |= _phase(progress[index], target, restoring.imported.get(index), serving.collections.get(index))
        if collection.status == "done":
            update["row_count"] = journal.get(index, "finished", restore.Finished).row_count
        if collection.status == "failed":
            failed = journal.get(index, "failed", restore.Failed)
            update |= failed.model_dump()
        return collection.model_copy(update=update)

    statuses = [status(index) for index in range(len(plan.targets))]
    phases = [*_cutting(run, plan), *copying_phases(copying), *restoring.phases()]
    return Followed(plan.targets, plan.warnings, statuses, copying, read, phases, lambda: read_paces(run, "restore"))


def _cutting(run: Workspace, plan: restore.RestorePlan) -> list[Phase]:
    """Return the phase in which logs are read; none where none have to be."""
    if not plan.cuts:
        return []
    # Those of collections that an execution before this one has imported lie there as well.
    wanted = {restore.cut_done_name(index) for index in plan.cuts}
    done = sum(name in wanted for name in run.names("cuts/"))
    count = UnitCount(unit="collection", done=done, total=len(plan.cuts))
    # It begins when the plan is written.
    return [Phase("reading logs", (count,), run.store.modified_at(run.bucket, run.key(restore.PLAN)))]


@dataclass(frozen=True, slots=True)
class _Restoring:
    """What Milvus does with the rows of a restore's collections."""

    plan: restore.RestorePlan
    progress: Mapping[int, JournalEntry]
    imports: ImportsMoved | None
    serving: ServingMoved

    @property
    def imported(self) -> Mapping[int, ImportedSoFar]:
        """How far the import of each collection is that has begun."""
        return self.imports.collections if self.imports else {}

    def phases(self) -> Iterator[Phase]:
        """Yield the phases that have begun, in rows: where a backup has none, collections alone tell how far it is."""
        if not sum(self.plan.row_counts):
            return
        if self.imports:
            jobs = self.imported.values()
            job = UnitCount(
                unit="job", done=sum(one.jobs_done for one in jobs), total=sum(one.jobs_total for one in jobs)
            )
            moved = Movement(begun_at=self.imports.begun_at, since=self.imports.since)
            yield self._phase("importing", moved, self._rows_imported, self.imported, job)
        if self.serving.indexing:
            yield self._phase("indexing", self.serving.indexing, self._rows_indexed, self.serving.collections)
        if self.serving.loading:
            yield self._phase("loading", self.serving.loading, self._rows_loaded, self.serving.collections)

    def _phase(
        self, name: str, moved: Movement, done: Callable[[int], int], seen: Container[int], *more: UnitCount
    ) -> Phase:
        """Return a phase in which all rows are done; those of collections that were never seen in it needed no time."""
        wanted = [index for index in range(len(self.plan.row_counts)) if not self.progress[index].has_failed]
        rows = {index: min(done(index), self.plan.row_counts[index]) for index in wanted}
        total = sum(self.plan.row_counts[index] for index in wanted)
        count = UnitCount(unit="row", done=sum(rows.values()), total=total)
        begun_with = sum(number for index, number in rows.items() if index not in seen)
        return Phase(name, (count, *more), moved.begun_at, moved.since, begun_with, moved.since)

    def _rows_imported(self, index: int) -> int:
        if self.progress[index].is_imported:
            return self.plan.row_counts[index]
        found = self.imported.get(index)
        return found.rows_done if found else 0

    def _rows_indexed(self, index: int) -> int:
        if self.progress[index].is_finished:
            return self.plan.row_counts[index]
        found = self.serving.collections.get(index)
        return _indexed_rows(found, self.plan.row_counts[index]) if found else 0

    def _rows_loaded(self, index: int) -> int:
        if self.progress[index].is_finished:
            return self.plan.row_counts[index]
        found = self.serving.collections.get(index)
        return self.plan.row_counts[index] * (found.load_percent or 0) // _ALL if found else 0


def _indexed_rows(served: ServedSoFar, row_count: int) -> int:
    """Return how many rows of a collection are indexed: all where it is loaded, as a part of the rows to index."""
    if served.load_percent is not None:
        return row_count
    return row_count * served.indexed_rows // served.rows_to_index if served.rows_to_index else 0


def _phase(
    entry: JournalEntry, target: restore.Target, imported: ImportedSoFar | None, served: ServedSoFar | None
) -> dict[str, object]:
    """Return what is done with a collection that is being restored, and how far that is."""
    rows = target.row_count
    if entry.is_imported:
        if served is None:
            return {"phase": "indexing"}
        if served.load_percent is None:
            count = UnitCount(unit="row", done=_indexed_rows(served, rows), total=rows)
            return {"phase": "indexing", "counts": (count,)}
        count = UnitCount(unit="row", done=rows * served.load_percent // _ALL, total=rows)
        return {"phase": "loading", "counts": (count,)}
    if entry.has("importing"):
        if imported is None:
            return {"phase": "importing"}
        counts = (
            UnitCount(unit="row", done=min(imported.rows_done, rows), total=rows),
            UnitCount(unit="job", done=imported.jobs_done, total=imported.jobs_total),
        )
        return {"phase": "importing", "counts": counts}
    return {"phase": "creating" if entry.attempts else "copying"}
