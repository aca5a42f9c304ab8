"""WriteRows: write the files of one batch of a dataset.

Runs in the distributed Map of write_rows.asl.yaml, which the machine export starts.
"""

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from milvus_vault.datasets.writing import write_batch
from milvus_vault.model.messages_rows import WriteRowsRequest, WriteRowsResult
from milvus_vault.runtime import logger, metrics, task
from milvus_vault.settings import StorageSettings
from milvus_vault.stores import open_workspace


@task
def handler(request: WriteRowsRequest, context: LambdaContext) -> WriteRowsResult:
    """Write as many files as there is time for. Safe to repeat: a file has the same key and the same rows each time."""
    run = open_workspace(StorageSettings.from_env(), request.run)
    result = write_batch(run, request.batch, seconds_left=lambda: context.get_remaining_time_in_millis() / 1000)
    logger.info("written", **result.model_dump(mode="json"))
    metrics.add_metric(name="RowsWritten", unit=MetricUnit.Count, value=result.row_count)
    metrics.add_metric(name="BytesWritten", unit=MetricUnit.Bytes, value=result.size_bytes)
    return result
