"""What a run does now, in words, from the state that its machine has entered last."""

from collections.abc import Mapping

from milvus_vault.model.resources import RunKind

_COPYING: Mapping[str, str] = {
    # What is little is copied as soon as it is planned.
    "PlanCopy": "copying",
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
        "SnapshotCollections": "flushing and listing",
        "SnapshotBatch": "flushing and listing",
        "HasObjects": "flushing and listing",
        "PublishBackup": "publishing",
        "AreObjectsLocked": "publishing",
        "Published": "publishing",
        "TendPauses": "ending",
        "HasFailed": "ending",
        "StartVerify": "ending",
        "VerificationNotStarted": "ending",
        "HasCopy": "ending",
        "StartExport": "ending",
        "WasVerificationStarted": "ending",
        "CopyNotStarted": "ending",
        "NeitherStarted": "ending",
        "HasAllStarted": "ending",
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
        # The branch that copies ends while the other goes on with the collections.
        "IsCopyComplete": "restoring collections",
        "Staged": "restoring collections",
        "StagingIncomplete": "cleaning up",
        "AdvanceRestore": "restoring collections",
        "AreAllRestored": "restoring collections",
        "WaitForMilvus": "restoring collections",
        "Restored": "reporting",
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
        "BeginExport": "preparing",
        "PrepareExport": "checking the backup",
        "IsDataset": "preparing",
        "WriteBatches": "writing rows",
        "DatasetWritten": "ending",
        "HasObjects": "preparing",
        "PublishBackup": "publishing",
        "AreObjectsLocked": "publishing",
        "Published": "publishing",
        "ExportSucceeded": "ending",
        "RecordFailure": "recording the failure",
        "ExportFailed": "ending",
    },
    "drill": {
        "AttemptDrill": "preparing",
        "PrepareDrill": "checking the backup and the target",
        "RestoreCollections": "restoring collections",
        "ProveDrill": "comparing rows",
        "IsCompared": "comparing rows",
        "WaitForMilvus": "comparing rows",
        "Compared": "dropping the scratch database",
        "ConcludeDrill": "dropping the scratch database",
        "IsProven": "ending",
        "DrillSucceeded": "ending",
        "NotProven": "ending",
        "RecordFailure": "recording the failure",
        "DrillFailed": "ending",
    },
}


# A dry run of a prune goes through the same states.
_OF_DRY_RUNS: Mapping[str, str] = {
    "CarryOutPrune": "finding what would be freed",
    "IsCarriedOut": "finding what would be freed",
}


def phase_of(kind: RunKind, state: str, *, is_dry_run: bool = False) -> str:
    """Return what a run does in a state; `starting` before the first, and the state's name for a newer machine's."""
    words = {**PHASES[kind], **(_OF_DRY_RUNS if is_dry_run else {})}
    return words.get(state, state) or "starting"
