"""How far a run is, from the names of its working files: a few listings, whatever its size."""

from dataclasses import dataclass

from milvus_vault.backup import documents as backup_documents
from milvus_vault.copying.documents import CopyProgress
from milvus_vault.copying.verify import copy_progress
from milvus_vault.model.names import attempt_of
from milvus_vault.restore import documents as restore_documents
from milvus_vault.restore.journal import Journal
from milvus_vault.workspace import Workspace


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run is. Totals are 0 as long as they are not known."""

    collections_done: int
    """Collections that are captured (backup), or have their real names (restore)."""
    collections_total: int
    copy: CopyProgress


def backup_progress(run: Workspace) -> RunProgress:
    """Return how far a backup is."""
    plan = run.find(backup_documents.PLAN, backup_documents.BackupPlan)
    folder = backup_documents.snapshot_folder(attempt_of(plan.execution_arn)) if plan else "collections/"
    done = sum(1 for _ in run.names(folder))
    return RunProgress(done, len(plan.collections) if plan else 0, copy_progress(run))


def restore_progress(run: Workspace) -> RunProgress:
    """Return how far a restore is."""
    plan = run.find(restore_documents.PLAN, restore_documents.RestorePlan)
    done = sum(entry.is_finished for entry in Journal(run).read().values())
    return RunProgress(done, len(plan.targets) if plan else 0, copy_progress(run))
