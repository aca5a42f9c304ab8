"""To copy a batch, as CopyBatch does and PlanCopy where a round is small."""

from collections.abc import Callable

from aws_lambda_powertools.metrics import MetricUnit

from milvus_vault.claims import check_owner
from milvus_vault.copying.engine import copy_batch
from milvus_vault.copying.pacer import Pacer
from milvus_vault.copying.working_files import BatchResult, attempt_of_batch
from milvus_vault.runtime import logger, metrics
from milvus_vault.workspace import Workspace


def copy_and_count(
    run: Workspace, batch: str, threads: int, deadline_seconds_left: Callable[[], float], pacer: Pacer
) -> BatchResult:
    """Copy a batch as `copy_batch` does, while the run is its attempt's, and tell log and metrics of it.

    Raises:
        RunTakenOverError: Another attempt has the run.
        VaultError: As `copy_batch`.
    """

    def owned_seconds_left() -> float:
        # Asked for at the beginning and every 20 s. Copies that nobody waits for would come too late.
        check_owner(run, attempt_of_batch(batch))
        return deadline_seconds_left()

    result = copy_batch(run, batch, threads=threads, deadline_seconds_left=owned_seconds_left, pacer=pacer)
    logger.info("copied", requests_per_second=round(pacer.rate), **result.model_dump(mode="json"))
    metrics.add_metric(name="ObjectsCopied", unit=MetricUnit.Count, value=result.copied_count)
    metrics.add_metric(name="BytesCopied", unit=MetricUnit.Bytes, value=result.copied_bytes)
    return result
