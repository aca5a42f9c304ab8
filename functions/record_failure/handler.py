"""RecordFailure: write down why an execution failed, give it the failure's own name, and remove its secrets."""

import json

from milvus_vault.backup.unpublished_rbac import remove_unpublished_rbac
from milvus_vault.errors import VaultError
from milvus_vault.failures import record_failure, unrecorded_failure
from milvus_vault.model.messages import RecordFailureRequest, RecordFailureResult
from milvus_vault.runtime import task
from milvus_vault.settings import StorageSettings
from milvus_vault.stores import open_store


@task
def handler(event: RecordFailureRequest) -> RecordFailureResult:
    """Write the record. Safe to repeat: there is one for each execution."""
    storage = StorageSettings.from_env()
    place = (open_store(storage), storage.backup_bucket_name, storage.backup_prefix)
    try:
        record = record_failure(
            *place,
            machine=event.machine,
            execution_arn=event.execution_arn,
            error=event.error,
            cause=event.cause,
            request=json.dumps(event.request),
        )
        if event.machine in {"backup", "export"}:
            remove_unpublished_rbac(*place, event.execution_arn)
    except VaultError as err:
        if err.retryable:
            raise
        # Where it cannot be written is often what failed in the first place; either way the first failure counts.
        error, cause = unrecorded_failure(event.error, event.cause, err.message)
        return RecordFailureResult(error=error, cause=cause)
    return RecordFailureResult(error=record.error, cause=record.cause)
