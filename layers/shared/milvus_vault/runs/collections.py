"""What has become of each collection of a run so far.

Names of working files tell the status of all by a few listings; documents are read only of those that are asked for.
"""

from collections.abc import Callable, Iterable, Sequence
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
from milvus_vault.model.resources import Progress, RunCollection
from milvus_vault.parallel import each
from milvus_vault.restore import working_files as restore
from milvus_vault.restore.journal import Journal, JournalEntry
from milvus_vault.restore.working_files import ImportsMoved, imports_name
from milvus_vault.workspace import Workspace

_ALL = 100.0

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
    imports: ImportsMoved | None = None
    """How far Milvus said that the imports are that have begun."""
    import_percent: float | None = None
    """How far the rows of all collections are imported."""

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
        counted = Progress(collections_done=self.statuses.count("done"), collections_total=len(self.names))
        if self.imports is not None:
            percent = self.import_percent
            update = {"import_percent": percent, "eta_seconds": _import_eta(self.imports, percent, now)}
            counted = counted.model_copy(update=update)
        if self.copying is None:
            return counted
        total = self.copying.total
        left = total.bytes_total - total.bytes_done
        # A mean over what comes after the copy would say less and less.
        rate = _rate(self.copying, now) if left > 0 else None
        return counted.model_copy(
            update={
                "objects_done": total.objects_done,
                "objects_total": total.objects_total,
                "bytes_done": total.bytes_done,
                "bytes_total": total.bytes_total,
                "bytes_per_second": rate,
                "eta_seconds": left / rate if rate else counted.eta_seconds,
            }
        )


def _rate(copying: CopyState, now: datetime) -> float | None:
    """Return the bytes a second since the round was planned, as long as it copies; what was there does not count."""
    if copying.planned_at is None or not copying.copied_bytes:
        return None
    seconds = (now - copying.planned_at).total_seconds()
    return copying.copied_bytes / seconds if seconds > 0 else None


def _import_eta(imports: ImportsMoved, percent: float | None, now: datetime) -> float | None:
    """Return how long the imports still take if they go on as until they last moved."""
    if not percent or percent >= _ALL:
        return None
    took = (imports.since - imports.begun_at).total_seconds()
    left = took * (_ALL - percent) / percent - (now - imports.since).total_seconds()
    return left if left > 0 else None


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
    return Followed(plan.collections, plan.warnings, statuses, copying, read)


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
    written = datasets.by_collection(datasets.list_written(run, plan.written))
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
    writing = CopyState(total, 0, None, 1, by_target)

    def status(index: int) -> Status:
        if done[index] == plan.shares[index]:
            return "done"
        return "running" if done[index].files else "waiting"

    statuses = [status(index) for index in range(len(plan.collections))]
    return Followed(plan.collections, plan.warnings, statuses, writing, lambda _, collection: collection)


def follow_restore(run: Workspace, execution_arn: str) -> Followed | None:
    """Return the collections of a restore run, or None where the files are another execution's by now."""
    plan = run.find(restore.PLAN, restore.RestorePlan)
    if plan is None or plan.execution_arn != execution_arn:
        return None
    journal = Journal(run)
    progress = journal.read()
    copying = copy_state(run, attempt_of(execution_arn))
    imports = run.find(imports_name(execution_arn), ImportsMoved)

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
            update |= _phase(progress[index], imports.percents.get(index) if imports else None)
        if collection.status == "done":
            update["row_count"] = journal.get(index, "finished", restore.Finished).row_count
        if collection.status == "failed":
            failed = journal.get(index, "failed", restore.Failed)
            update |= failed.model_dump()
        return collection.model_copy(update=update)

    statuses = [status(index) for index in range(len(plan.targets))]
    imported = {index for index, entry in progress.items() if entry.is_imported}
    percent = imports.overall_percent(plan.row_counts, imported) if imports else None
    return Followed(plan.targets, plan.warnings, statuses, copying, read, imports, percent)


def _phase(entry: JournalEntry, import_percent: float | None) -> dict[str, object]:
    """Return what is done with a collection that is being restored, and how far its import is."""
    if entry.is_imported:
        return {"phase": "indexing and loading"}
    if entry.has("importing"):
        return {"phase": "importing", "import_percent": import_percent}
    return {"phase": "creating" if entry.attempts else "copying"}
