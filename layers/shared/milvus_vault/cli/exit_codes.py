"""The exit codes of the command line, and which error leads to which."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a script can branch on."""

    OK = 0
    FAILED = 1
    """The run failed, the backup is damaged, or a check did not pass."""
    USAGE = 2
    """The command line or the request is wrong."""
    PARTIAL = 3
    """Some of it was done: at least one collection, or one backup of a prune, was not."""
    NOT_FOUND = 4
    """There is no such backup, run, schedule, collection or database."""
    REFUSED = 5
    """It exists already, is held or in use, has ended, or its version is not supported."""
    DENIED = 6
    """AWS or Milvus refuses these credentials."""
    UNAVAILABLE = 7
    """No API was found, or it, an AWS service or Milvus does not answer."""
    TIMED_OUT = 8
    """The time to wait was over; the run goes on."""
    INTERRUPTED = 130
    """Ctrl-C, or a question was not answered with yes; a run that was followed goes on."""


_NAMES = {
    ExitCode.FAILED: (
        "AnswerTimeoutError BackupDamagedError BackupFailedError BackupFormatError BinlogUnreadableError "
        "DrillFailedError ScratchInUseError CheckIncompleteError CopyIncompleteError CopyUnfinishedError "
        "DatasetIncompleteError "
        "FieldIdMismatchError FlushTimeoutError ImportFailedError ImportStalledError IndexFailedError "
        "LoadFailedError LocalStackError MilvusCertificateError MilvusRequestError MilvusSecretError "
        "MilvusTlsError ObjectArchivedError ObjectChangedError ObjectNotFoundError RestoreFailedError "
        "RowCountMismatchError RunStoppedError RunTakenOverError RunTimedOutError SegmentTornError ServerClockError "
        "ServiceRequestError SettingsError SourceChangedError StorageRequestError WorkingFileError WrongRootPathError "
        "ConditionalWriteUnsupportedError DiskFullError"
    ),
    ExitCode.USAGE: "EmptySelectionError InvalidRequestError NameConflictError RouteNotFoundError",
    ExitCode.PARTIAL: (
        "BackupPartialError CopyNotStartedError PruneFailedError RestorePartialError VerificationNotStartedError"
    ),
    ExitCode.NOT_FOUND: (
        "BackupNotFoundError BucketNotFoundError CollectionNotFoundError DatabaseNotFoundError RunNotFoundError "
        "ScheduleNotFoundError"
    ),
    ExitCode.REFUSED: (
        "AliasConflictError BackupExistsError BackupHeldError BackupInProgressError BackupInUseError BackupLockedError "
        "BackupNotExportableError BucketNotLockableError CollectionExistsError CopyInProgressError "
        "DatabaseExistsError DatasetExistsError IdempotencyConflictError LockRefusedError MomentOutOfRangeError "
        "ResourceGroupError RunEndedError ScheduleManagedError TargetClaimedError VersionUnsupportedError"
    ),
    ExitCode.DENIED: (
        "ApiAccessDeniedError ClientCertificateError MilvusAuthenticationError MilvusPermissionError "
        "StorageAccessDeniedError"
    ),
    ExitCode.UNAVAILABLE: (
        "ApiNotFoundError ApiUnavailableError MilvusUnavailableError ServiceUnavailableError StorageThrottledError "
        "StorageUnavailableError"
    ),
    ExitCode.TIMED_OUT: "WaitTimeoutError",
}

CODES = {name: code for code, names in _NAMES.items() for name in names.split()}
"""The exit code of each leaf of `errors.py`, by its name."""


def code_of(error_name: str) -> ExitCode:
    """Return the exit code of an error; that of a failure for a name that is no leaf, such as `States.Timeout`."""
    return CODES.get(error_name, ExitCode.FAILED)
