"""CopyBatch: copy the objects of one batch inside S3.

Runs as state CopyBatch in the distributed Map of copy_objects.asl.yaml, which the machines backup, restore and export
start.
"""

from aws_lambda_powertools.utilities.typing import LambdaContext

from milvus_vault.copy_steps.batch import copy_and_count
from milvus_vault.copying.pacer import Pacer
from milvus_vault.model.messages_copy import CopyBatchRequest, CopyBatchResult
from milvus_vault.runtime import task
from milvus_vault.settings import CopySettings, StorageSettings
from milvus_vault.stores import open_workspace

# Lives as long as the environment, so that a batch starts at the rate that the one before it found.
PACER = Pacer()


@task
def handler(request: CopyBatchRequest, context: LambdaContext) -> CopyBatchResult:
    """Return what became of a batch. Idempotent: objects that are recorded as copied are left out."""
    storage, copying = StorageSettings.from_env(), CopySettings.from_env()
    run = open_workspace(storage, request.run, max_connections=copying.copy_threads, copy_client=copying.copy_client)

    def seconds_left() -> float:
        return context.get_remaining_time_in_millis() / 1000

    result = copy_and_count(run, request.batch, copying.copy_threads, seconds_left, PACER)
    return CopyBatchResult(
        copied_count=result.copied_count,
        missing_count=result.missing_count,
        changed_count=result.changed_count,
        copied_bytes=result.copied_bytes,
        error=result.error.error if result.error else "",
    )
