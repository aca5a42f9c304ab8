"""What a run does now, in words, from the state that its machine has entered last."""

from collections.abc import Mapping

from milvus_vault.model.resources import RunKind

_COPYING: Mapping[str, str] = {
    "PlanCopy": "planning the copy",
    "HasBatches": "planning the copy",
    "CopyObjects": "copying",
    "VerifyCopy": "verifying the copy",
    "IsCopyComplete": "verifying the copy",
    "NextRound": "beginning another round",
}

# Every state of the machines, and a test keeps it so.
PHASES: Mapping[RunKind, Mapping[str, str]] = {
    "backup": {
        **_COPYING,
        "AttemptBackup": "preparing",
        "PrepareBackup": "preparing",
        "IsPublished": "preparing",
        "SnapshotCollections": "flushing and listing",
        "SnapshotBatch": "flushing and listing",
        "HasObjects": "flushing and listing",
        "PublishBackup": "publishing",
        "IsBackupComplete": "ending",
        "BackupSucceeded": "ending",
        "BackupPartial": "ending",
        "RecordFailure": "recording the failure",
        "BackupFailed": "ending",
    },
    "restore": {
        **_COPYING,
        "PrepareRestore": "checking the backup and the target",
        "AttemptRestore": "preparing",
        "IsStaged": "preparing",
        "StagingIncomplete": "cleaning up",
        "CreateCollections": "creating collections",
        "HasRows": "creating collections",
        "StartImports": "importing",
        "WaitForImports": "importing",
        "GetImportProgress": "importing",
        "AreImportsDone": "importing",
        "FinishCollections": "indexing and loading",
        "AreCollectionsFinished": "indexing and loading",
        "WaitForMilvus": "indexing and loading",
        "AttemptDone": "cleaning up",
        "CleanUpRestore": "cleaning up",
        "HasFailed": "cleaning up",
        "ReportRestore": "reporting",
        "IsRestoreComplete": "ending",
        "RestoreSucceeded": "ending",
        "RestoreIncomplete": "ending",
        "RecordFailure": "recording the failure",
        "RestoreFailed": "ending",
    },
}


def phase_of(kind: RunKind, state: str) -> str:
    """Return what a run does in a state; `starting` before the first, and the state's name for a newer machine's."""
    return PHASES[kind].get(state, state) or "starting"
