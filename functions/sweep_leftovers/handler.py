"""SweepLeftovers: remove what ended executions left behind."""

from datetime import UTC, datetime, timedelta

from aws_lambda_powertools.utilities.typing import LambdaContext

from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.model.messages_prune import SweepLeftoversRequest, SweepLeftoversResult
from milvus_vault.retention.documents import PLAN, SWEPT, PrunePlan, Swept
from milvus_vault.retention.sweep import Sweep
from milvus_vault.runtime import logger, task
from milvus_vault.settings import StorageSettings, SweepSettings
from milvus_vault.wiring import open_workspace


@task
def handler(event: SweepLeftoversRequest, context: LambdaContext) -> SweepLeftoversResult:
    """Sweep, and say whether that was all. Safe to repeat: each thing goes under a claim, and only if it is old."""
    storage, settings = StorageSettings.from_env(), SweepSettings.from_env()
    run = open_workspace(storage, event.run)
    plan = run.read(PLAN, PrunePlan)
    swept, is_done = Sweep(
        store=run.store,
        executions=StepFunctionsExecutions(),
        bucket=run.bucket,
        prefix=run.prefix,
        milvus_bucket=storage.milvus_bucket_name,
        staging_prefix=storage.staging_prefix,
        run=run.run,
        execution_arn=plan.execution_arn,
        now=datetime.now(UTC),
        grace=timedelta(days=settings.keep_working_files_days),
        seconds_left=lambda: context.get_remaining_time_in_millis() / 1000,
    ).sweep()
    logger.info("swept", **swept.model_dump(mode="json"))
    run.write(SWEPT, (run.find(SWEPT, Swept) or Swept()).plus(swept))
    return SweepLeftoversResult(is_done=is_done)
