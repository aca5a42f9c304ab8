"""CheckObjects: look at the objects of one batch of a verification or of a content check, one by one.

Runs in the distributed Map of check_objects.asl.yaml, which the machines verify and restore start.
"""

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from milvus_vault.model.messages_verify import CheckObjectsRequest, CheckObjectsResult
from milvus_vault.runtime import logger, metrics, task
from milvus_vault.settings import StorageSettings
from milvus_vault.stores import open_workspace
from milvus_vault.verifying.objects import check_batch


@task
def handler(request: CheckObjectsRequest, context: LambdaContext) -> CheckObjectsResult:
    """Look at as many objects as there is time for. Safe to repeat: what was looked at is written down."""
    run = open_workspace(StorageSettings.from_env(), request.run)
    result = check_batch(run, request.batch, seconds_left=lambda: context.get_remaining_time_in_millis() / 1000)
    logger.info("checked", **result.model_dump(mode="json"))
    metrics.add_metric(name="BytesRead", unit=MetricUnit.Bytes, value=result.read_bytes)
    return result
