"""CarryOutPrune: delete the backups of a prune's plan, remove what ended executions left behind, and report."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from aws_lambda_powertools.utilities.typing import LambdaContext

from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.catalogue import Catalogue
from milvus_vault.deleting import STOP_SECONDS, deletion_pacer
from milvus_vault.model.messages_prune import CarryOutPruneRequest, CarryOutPruneResult
from milvus_vault.parallel import each
from milvus_vault.retention.delete import BackupDeletion
from milvus_vault.retention.freed import tell_freed
from milvus_vault.retention.report import report_prune
from milvus_vault.retention.sweep import Sweep
from milvus_vault.retention.working_files import PLAN, SWEPT, PrunePlan, Swept
from milvus_vault.runs.collections import phases_of
from milvus_vault.runs.following import follow_prune
from milvus_vault.runs.paces import remember_paces
from milvus_vault.runtime import logger, task
from milvus_vault.settings import StorageSettings, SweepSettings
from milvus_vault.stores import open_workspace
from milvus_vault.workspace import Workspace

# They share one rate (`deletion_pacer`). A small backup is mostly claims and documents, one request after the other.
_DELETIONS_AT_A_TIME = 2
# As many as an event has.
_NAMED = 20


@task
def handler(event: CarryOutPruneRequest, context: LambdaContext) -> CarryOutPruneResult:
    """Return what was done so far, and whether that is all. Safe to repeat: each thing is dealt with under a claim."""
    run = open_workspace(StorageSettings.from_env(), event.run)
    plan = run.read(PLAN, PrunePlan)

    def seconds_left() -> float:
        return context.get_remaining_time_in_millis() / 1000

    if plan.request.dry_run:
        is_done = tell_freed(run, plan, seconds_left)
    else:
        is_done = _delete(run, plan, seconds_left) and (not plan.sweeps or _sweep(run, plan, seconds_left))
    end = report_prune(run, plan, datetime.now(UTC))
    if is_done and not plan.request.dry_run:
        # What was deleted is told even where this is refused.
        remember_paces(run, "prune", lambda: phases_of(follow_prune(run, plan.execution_arn)))
    report = end.report
    deleted = [outcome for outcome in report.outcomes if outcome.status == "deleted"]
    to_delete = sum(not decision.keep for decision in report.decisions)
    return CarryOutPruneResult(
        is_done=is_done,
        status="failed" if end.error else "complete",
        error=end.error,
        cause=end.cause,
        dry_run=report.dry_run,
        kept_count=len(report.decisions) - to_delete,
        deleted_count=to_delete if report.dry_run else len(deleted),
        deleted_bytes=sum(gone.size_bytes for gone in plan.spared or deleted),
        freed_object_count=report.freed.object_count if report.freed else None,
        freed_bytes=report.freed.size_bytes if report.freed else None,
        skipped_count=sum(outcome.status == "skipped" for outcome in report.outcomes),
        failed_count=sum(outcome.status == "failed" for outcome in report.outcomes),
        swept_objects=report.swept.object_count,
        pool_object_count=report.swept.pool_object_count,
        pool_size_bytes=report.swept.pool_size_bytes,
        pool_waiting_count=len(report.swept.pool_waiting),
        pool_reasons=report.swept.pool_reasons[:_NAMED],
        warnings=report.damaged[:_NAMED],
        report_key=end.report_key,
    )


def _delete(run: Workspace, plan: PrunePlan, seconds_left: Callable[[], float]) -> bool:
    """Delete the backups of the plan, or write down why not; return whether all are dealt with."""
    catalogue, executions = Catalogue(run.store, run.bucket, run.prefix), StepFunctionsExecutions()
    now, pacer = datetime.now(UTC), deletion_pacer()

    def is_deleted(index: int) -> bool:
        if seconds_left() < STOP_SECONDS:
            return False
        return BackupDeletion(
            run=run,
            plan=plan,
            index=index,
            catalogue=catalogue,
            executions=executions,
            now=now,
            seconds_left=seconds_left,
            pacer=pacer,
        ).delete()

    return all(each(is_deleted, range(len(plan.deletions)), threads=_DELETIONS_AT_A_TIME))


def _sweep(run: Workspace, plan: PrunePlan, seconds_left: Callable[[], float]) -> bool:
    """Remove what ended executions left behind, and write down what that was; return whether it was all."""
    storage, settings = StorageSettings.from_env(), SweepSettings.from_env()
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
        seconds_left=seconds_left,
    ).sweep()
    logger.info("swept", **swept.model_dump(mode="json"))
    run.write(SWEPT, (run.find(SWEPT, Swept) or Swept()).plus(swept))
    return is_done
