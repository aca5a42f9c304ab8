"""PrepareDrill: choose a backup and collections, refuse what cannot work, and make the scratch database."""

from datetime import UTC, datetime
from functools import partial

from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.catalogue import Catalogue
from milvus_vault.connection import connect_milvus
from milvus_vault.drills.preparing import DrillPreparation, choose_backup, input_of
from milvus_vault.drills.scratch import ScratchDatabases
from milvus_vault.execution_records import record_execution
from milvus_vault.model.messages_drill import PrepareDrillRequest, PrepareDrillResult
from milvus_vault.model.names import drill_restore_name, drill_run
from milvus_vault.model.requests import DrillRequest
from milvus_vault.runtime import logger, read_request, task
from milvus_vault.settings import MilvusSettings, StorageSettings
from milvus_vault.stores import open_store, open_workspace
from milvus_vault.wiring import milvus_identity, milvus_storage, open_scratch_records, restore_run_of


@task
def handler(event: PrepareDrillRequest) -> PrepareDrillResult:
    """Return what the rest of the machine needs. Safe to repeat: it finds its own claim and its own database."""
    request = read_request(DrillRequest, event.request, "drill request")
    storage, milvus = StorageSettings.from_env(), MilvusSettings.from_env()
    target = milvus_storage(storage)
    catalogue = Catalogue(open_store(storage), storage.backup_bucket_name, storage.backup_prefix)
    name = choose_backup(catalogue, request)
    run = open_workspace(storage, drill_run(name, event.execution.arn))
    logger.set_correlation_id(run.run)
    record_execution(run, event.execution, "drill", name)
    executions = StepFunctionsExecutions()
    with connect_milvus(milvus) as database:
        restore = DrillPreparation(
            run=run,
            request=request,
            backup_name=name,
            catalogue=catalogue,
            database=database,
            scratches=ScratchDatabases(
                open_scratch_records(storage),
                executions,
                database,
                milvus_identity(milvus.milvus_uri, target),
                datetime.now(UTC),
            ),
            executions=executions,
            execution_arn=event.execution.arn,
            started_at=event.execution.started_at,
            restore_run_of=partial(restore_run_of, milvus_uri=milvus.milvus_uri, target=target),
        ).prepare()
    return PrepareDrillResult(
        run=run.run,
        backup_name=name,
        restore_name=drill_restore_name(event.execution.arn),
        restore=input_of(restore),
    )
