"""Errors as answers: RFC 9457's `application/problem+json`."""

from http import HTTPStatus

from milvus_vault import errors
from milvus_vault.errors import VaultError
from milvus_vault.model.resources import Problem

CONTENT_TYPE = "application/problem+json"

INTERNAL_FAULT = "InternalFault"
"""Name of an error that is none of ours: a fault of the program, which is in the log."""

# What the caller can do about it decides: 4xx where another request helps, 502 where somebody else refuses (Milvus,
# S3, Step Functions), 503 where the same request may work in a minute, and 500 where only a run can meet it.
_STATUS: dict[HTTPStatus, tuple[type[VaultError], ...]] = {
    HTTPStatus.BAD_REQUEST: (errors.InvalidRequestError, errors.NameConflictError, errors.EmptySelectionError),
    HTTPStatus.FORBIDDEN: (errors.ApiAccessDeniedError,),
    HTTPStatus.NOT_FOUND: (
        errors.ApiNotFoundError,
        errors.BackupNotFoundError,
        errors.CollectionNotFoundError,
        errors.DatabaseNotFoundError,
        errors.ObjectNotFoundError,
        errors.RouteNotFoundError,
        errors.RunNotFoundError,
        errors.ScheduleNotFoundError,
    ),
    HTTPStatus.CONFLICT: (
        errors.AliasConflictError,
        errors.BackupDamagedError,
        errors.BackupExistsError,
        errors.BackupFormatError,
        errors.BinlogUnreadableError,
        errors.BackupHeldError,
        errors.BackupInProgressError,
        errors.BackupInUseError,
        errors.BackupLockedError,
        errors.BackupNotExportableError,
        errors.BucketNotLockableError,
        errors.CollectionExistsError,
        errors.DatabaseExistsError,
        errors.DatasetExistsError,
        errors.IdempotencyConflictError,
        errors.LockRefusedError,
        errors.MomentOutOfRangeError,
        errors.ResourceGroupError,
        errors.RunEndedError,
        errors.RunTakenOverError,
        errors.ScheduleManagedError,
        errors.ScratchInUseError,
        errors.TargetClaimedError,
        errors.VersionUnsupportedError,
    ),
    HTTPStatus.UNPROCESSABLE_CONTENT: (errors.AnswerTimeoutError,),
    HTTPStatus.BAD_GATEWAY: (
        errors.BucketNotFoundError,
        errors.ClientCertificateError,
        errors.MilvusAuthenticationError,
        errors.MilvusCertificateError,
        errors.MilvusPermissionError,
        errors.MilvusRequestError,
        errors.MilvusTlsError,
        errors.ObjectArchivedError,
        errors.ObjectChangedError,
        errors.ServerClockError,
        errors.ServiceRequestError,
        errors.StorageAccessDeniedError,
        errors.StorageRequestError,
        errors.ConditionalWriteUnsupportedError,
        errors.WrongRootPathError,
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        errors.CopyInProgressError,
        errors.ApiUnavailableError,
        errors.MilvusUnavailableError,
        errors.ServiceUnavailableError,
        errors.StorageThrottledError,
        errors.StorageUnavailableError,
    ),
    HTTPStatus.INTERNAL_SERVER_ERROR: (
        errors.BackupFailedError,
        errors.BackupPartialError,
        errors.CheckIncompleteError,
        errors.DatasetIncompleteError,
        errors.CopyIncompleteError,
        errors.CopyNotStartedError,
        errors.CopyUnfinishedError,
        errors.DiskFullError,
        errors.DrillFailedError,
        errors.FieldIdMismatchError,
        errors.FlushTimeoutError,
        errors.ImportFailedError,
        errors.ImportStalledError,
        errors.IndexFailedError,
        errors.LoadFailedError,
        errors.LocalStackError,
        errors.MilvusSecretError,
        errors.PruneFailedError,
        errors.RestoreFailedError,
        errors.RestorePartialError,
        errors.RowCountMismatchError,
        errors.RunStoppedError,
        errors.RunTimedOutError,
        errors.SettingsError,
        errors.SegmentTornError,
        errors.SourceChangedError,
        errors.VerificationNotStartedError,
        errors.WaitTimeoutError,
        errors.WorkingFileError,
    ),
}
STATUS_BY_ERROR = {leaf: status for status, leaves in _STATUS.items() for leaf in leaves}


def problem_of(error: VaultError, request_id: str) -> Problem:
    """Return what the API answers for an error."""
    return Problem(
        type=_type(type(error).__name__),
        title=" ".join((type(error).__doc__ or "").split()),
        status=STATUS_BY_ERROR[type(error)],
        detail=error.message,
        instance=_instance(request_id),
        error=type(error).__name__,
        hint=error.hint,
    )


def internal_problem(request_id: str) -> Problem:
    """Return what the API answers for a fault of its own. It tells nothing of the inside."""
    return Problem(
        type=_type(INTERNAL_FAULT),
        title="The program has a fault.",
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
        detail="the request could not be answered",
        instance=_instance(request_id),
        error=INTERNAL_FAULT,
        hint="Look for the request's ID in the log of the API's function, and report what you find.",
    )


def _type(name: str) -> str:
    return f"urn:milvus-vault:error:{name}"


def _instance(request_id: str) -> str:
    return f"urn:uuid:{request_id}" if request_id else ""
