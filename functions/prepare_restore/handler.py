"""PrepareRestore: check the backup and the target, claim the target, and write down what is to be done."""

from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.connection import connect_milvus
from milvus_vault.execution_records import record_execution
from milvus_vault.model.messages import PrepareRestoreRequest, PrepareRestoreResult
from milvus_vault.model.messages_copy import Round
from milvus_vault.model.names import attempt_of
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.restore.prepare import RestorePreparation, Unchecked
from milvus_vault.restore.staging import FoldLimits
from milvus_vault.runtime import logger, read_request, task
from milvus_vault.settings import MilvusSettings, RestoreSettings, StorageSettings
from milvus_vault.stores import open_workspace
from milvus_vault.wiring import milvus_storage, restore_run_of


@task
def handler(event: PrepareRestoreRequest) -> PrepareRestoreResult:
    """Return what the rest of the machine needs, or what CheckObjects is to look at before it is called again.

    Safe to repeat: it finds its own claims and files.
    """
    request = read_request(RestoreRequest, event.request, "restore request")
    storage, milvus = StorageSettings.from_env(), MilvusSettings.from_env()
    fold = RestoreSettings.from_env()
    target = milvus_storage(storage)
    run = open_workspace(storage, restore_run_of(request, milvus.milvus_uri, target))
    logger.set_correlation_id(run.run)
    record_execution(run, event.execution, "restore", request.backup_name)
    with connect_milvus(milvus) as database:
        plan = RestorePreparation(
            run=run,
            request=request,
            layout=BackupLayout(storage.backup_prefix, request.backup_name),
            database=database,
            executions=StepFunctionsExecutions(),
            storage=target,
            staging_prefix=storage.staging_prefix,
            execution_arn=event.execution.arn,
            started_at=event.execution.started_at,
            fold_limits=FoldLimits(fold.fold_copies, fold.fold_segment_bytes),
            check_count=event.check_count,
        ).prepare()
    result = PrepareRestoreResult(
        run=run.run, attempt=attempt_of(event.execution.arn), round=Round(number=1), check_count=event.check_count
    )
    if isinstance(plan, Unchecked):
        return result.model_copy(
            update={
                "has_batches": True,
                "check_run": plan.run,
                "bucket": run.bucket,
                "batches_key": plan.batches_key,
                "check_count": event.check_count + 1,
            }
        )
    return result.model_copy(
        update={
            "collection_count": len(plan.targets),
            "is_staged": plan.is_staged,
            "has_cuts": bool(plan.cuts),
        }
    )
