"""PrepareBackup: validate the request, claim the backup's name, and decide which collections it takes."""

from collections.abc import Sequence

from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.backup.prepare import default_name, prepare_backup
from milvus_vault.catalogue import Catalogue
from milvus_vault.connection import connect_milvus
from milvus_vault.execution_records import record_execution
from milvus_vault.model.messages import PrepareBackupRequest, PrepareBackupResult
from milvus_vault.model.messages_copy import Round
from milvus_vault.model.names import attempt_of, backup_run
from milvus_vault.model.requests import BackupRequest
from milvus_vault.runtime import logger, read_request, task
from milvus_vault.settings import ExportSettings, MilvusSettings, StorageSettings
from milvus_vault.stores import open_workspace
from milvus_vault.wiring import milvus_storage, open_export_places, open_garbage_collector


@task
def handler(event: PrepareBackupRequest) -> PrepareBackupResult:
    """Return what the rest of the machine needs. Safe to repeat: it finds its own claim and plan."""
    request = read_request(BackupRequest, event.request, "backup request")
    storage, milvus = StorageSettings.from_env(), MilvusSettings.from_env()
    name = request.backup_name or default_name(event.execution.started_at, event.execution.arn)
    run = open_workspace(storage, backup_run(name))
    logger.set_correlation_id(run.run)
    catalogue = Catalogue(run.store, run.bucket, run.prefix)
    where = milvus_storage(storage)
    bases: Sequence[str] = ()
    # Before anything is written: a place to which nothing may be copied; and the next two raise where there is no
    # bucket, or it may not be listed.
    open_export_places(storage, ExportSettings.from_env()).check_copy(name, request.copy_to)
    if request.mode == "incremental":
        bases = catalogue.incremental(where.location, request.schedule.name if request.schedule else None)
    else:
        run.store.check_bucket(run.bucket)
    record_execution(run, event.execution, "backup", name)
    with connect_milvus(milvus) as database:
        plan = prepare_backup(
            run,
            request,
            layout=BackupLayout(storage.backup_prefix, name),
            database=database,
            executions=StepFunctionsExecutions(),
            storage=where,
            garbage_collector=open_garbage_collector(milvus),
            execution_arn=event.execution.arn,
            started_at=event.execution.started_at,
            was_listed=lambda: catalogue.remembered(name) is not None,
            bases=bases,
            damaged=catalogue.damaged_in_pool,
        )
    return PrepareBackupResult(
        run=run.run,
        attempt=attempt_of(event.execution.arn),
        round=Round(number=1, batches=tuple(range(plan.batch_count)) if plan else ()),
        backup_name=name,
        collection_count=len(plan.collections) if plan else 0,
        meta_only=request.meta_only,
        is_published=plan is None,
    )
