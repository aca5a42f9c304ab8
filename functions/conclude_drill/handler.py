"""ConcludeDrill: say what a drill has found, write it down, and drop the scratch database, after failures as well."""

from datetime import UTC, datetime

from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.catalogue import Catalogue
from milvus_vault.connection import connect_milvus
from milvus_vault.drills.concluding import conclude, refused
from milvus_vault.drills.scratch import ScratchDatabases, find_scratch
from milvus_vault.drills.working_files import PLAN, DrillPlan
from milvus_vault.execution_records import find_execution_record
from milvus_vault.model.messages_drill import ConcludeDrillRequest, ConcludeDrillResult
from milvus_vault.runtime import task
from milvus_vault.settings import MilvusSettings, StorageSettings
from milvus_vault.stores import open_store, open_workspace
from milvus_vault.wiring import open_scratch_records


@task
def handler(event: ConcludeDrillRequest) -> ConcludeDrillResult:
    """Conclude. Safe to repeat: what is written is written anew, and what is gone stays gone.

    What was found is written first, so that it is known also where Milvus cannot be reached any more.
    """
    storage, now, arn = StorageSettings.from_env(), datetime.now(UTC), event.execution.arn
    store, bucket, prefix = open_store(storage), storage.backup_bucket_name, storage.backup_prefix
    record = find_execution_record(store, bucket, prefix, arn)
    run = open_workspace(storage, record.run) if record else None
    plan = run.find(PLAN, DrillPlan) if run else None
    if run is None or plan is None:
        return refused(arn, error=event.error, cause=event.cause, now=now)
    records = open_scratch_records(storage)
    scratch = find_scratch(records, plan.milvus, plan.database, arn)
    result = conclude(
        run,
        Catalogue(store, bucket, prefix),
        has_scratch=scratch is not None and scratch.is_made,
        error=event.error,
        cause=event.cause,
        now=now,
    )
    if scratch is not None:
        with connect_milvus(MilvusSettings.from_env()) as database:
            ScratchDatabases(records, StepFunctionsExecutions(), database, plan.milvus, now).drop(scratch)
    return result
