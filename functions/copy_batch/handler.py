"""CopyBatch: copy the objects of one batch inside S3.

Runs as state CopyBatch in the distributed Map of copy_objects.asl.yaml, which the machines backup, restore and export
start.
"""

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from milvus_vault.claims import check_owner
from milvus_vault.copying.engine import copy_batch
from milvus_vault.copying.pacer import Pacer
from milvus_vault.copying.working_files import attempt_of_batch
from milvus_vault.model.messages_copy import CopyBatchRequest, CopyBatchResult
from milvus_vault.runtime import logger, metrics, task
from milvus_vault.settings import CopySettings, StorageSettings
from milvus_vault.stores import open_workspace

# Lives as long as the environment, so that a batch starts at the rate that the one before it found.
PACER = Pacer()


@task
def handler(request: CopyBatchRequest, context: LambdaContext) -> CopyBatchResult:
    """Return what became of a batch. Idempotent: objects that are recorded as copied are left out."""
    storage, copying = StorageSettings.from_env(), CopySettings.from_env()
    run = open_workspace(storage, request.run, max_connections=copying.copy_threads)

    def seconds_left() -> float:
        # Asked for at the beginning and every 20 s. Copies that nobody waits for would come too late.
        check_owner(run, attempt_of_batch(request.batch))
        return context.get_remaining_time_in_millis() / 1000

    result = copy_batch(
        run,
        request.batch,
        threads=copying.copy_threads,
        deadline_seconds_left=seconds_left,
        pacer=PACER,
    )
    logger.info("copied", requests_per_second=round(PACER.rate), **result.model_dump(mode="json"))
    metrics.add_metric(name="ObjectsCopied", unit=MetricUnit.Count, value=result.copied_count)
    metrics.add_metric(name="BytesCopied", unit=MetricUnit.Bytes, value=result.copied_bytes)
    return CopyBatchResult(
        copied_count=result.copied_count,
        missing_count=result.missing_count,
        changed_count=result.changed_count,
        copied_bytes=result.copied_bytes,
        error=result.error.error if result.error else "",
    )
