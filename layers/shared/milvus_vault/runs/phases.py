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
        "TendPauses": "ending",
        "HasFailed": "ending",
        "IsBackupComplete": "ending",
        "HasVerification": "ending",
        "StartVerify": "ending",
        "VerificationNotStarted": "ending",
        "HasRetention": "ending",
        "StartPrune": "ending",
        "BackupSucceeded": "ending",
        "BackupPartial": "ending",
        "RecordFailure": "recording the failure",
        "BackupFailed": "ending",
    },
    "restore": {
        **_COPYING,
        "BeginRestore": "preparing",
        "PrepareRestore": "checking the backup and the target",
        "AreContentsChecked": "checking the backup and the target",
        "CheckBatches": "checking objects one by one",
        "AttemptRestore": "preparing",
        "HasCuts": "preparing",
        "CutCollections": "reading logs",
        "IsStaged": "preparing",
        "Staged": "copying",
        "StagingIncomplete": "cleaning up",
        "AdvanceRestore": "restoring collections",
        "AreAllRestored": "restoring collections",
        "WaitForMilvus": "restoring collections",
        "Restored": "cleaning up",
        "CleanUpRestore": "cleaning up",
        "HasFailed": "cleaning up",
        "ReportRestore": "reporting",
        "IsRestoreComplete": "ending",
        "RestoreSucceeded": "ending",
        "RestoreIncomplete": "ending",
        "RecordFailure": "recording the failure",
        "RestoreFailed": "ending",
    },
    "verify": {
        "AttemptVerify": "preparing",
        "BeginVerify": "preparing",
        "VerifyBackup": "checking documents and objects",
        "IsVerified": "checking documents and objects",
        "CheckBatches": "checking objects one by one",
        "Verified": "ending",
        "IsIntact": "ending",
        "VerifySucceeded": "ending",
        "BackupDamaged": "ending",
        "RecordFailure": "recording the failure",
        "VerifyFailed": "ending",
    },
    "prune": {
        "AttemptPrune": "preparing",
        "PlanPrune": "deciding what is kept",
        "CarryOutPrune": "deleting and sweeping",
        "IsCarriedOut": "deleting and sweeping",
        "CarriedOut": "ending",
        "IsPruneComplete": "ending",
        "PruneSucceeded": "ending",
        "PruneIncomplete": "ending",
        "RecordFailure": "recording the failure",
        "PruneFailed": "ending",
    },
    "export": {
        **_COPYING,
        "AttemptExport": "preparing",
        "PrepareExport": "checking the backup",
        "IsPublished": "preparing",
        "HasObjects": "preparing",
        "PublishBackup": "publishing",
        "ExportSucceeded": "ending",
        "RecordFailure": "recording the failure",
        "ExportFailed": "ending",
    },
}


def phase_of(kind: RunKind, state: str) -> str:
    """Return what a run does in a state; `starting` before the first, and the state's name for a newer machine's."""
    return PHASES[kind].get(state, state) or "starting"
