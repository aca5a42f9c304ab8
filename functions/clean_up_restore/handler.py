"""CleanUpRestore: remove staged objects and unfinished collections, after success and after failure."""

from milvus_vault.connection import connect_milvus
from milvus_vault.model.messages import CleanUpRestoreResult, RestoreStepRequest
from milvus_vault.restore.cleanup import CleanUp
from milvus_vault.restore.working_files import PLAN, RestorePlan
from milvus_vault.runtime import task
from milvus_vault.settings import MilvusSettings, StorageSettings
from milvus_vault.stores import open_workspace
from milvus_vault.wiring import milvus_storage


@task
def handler(event: RestoreStepRequest) -> CleanUpRestoreResult:
    """Remove what is left. Safe to repeat: what is gone stays gone."""
    storage = StorageSettings.from_env()
    run = open_workspace(storage, event.run)
    plan = run.read(PLAN, RestorePlan)
    clean_up = CleanUp(run, plan, milvus_storage(storage), event.execution_arn)
    clean_up.end_work()
    objects = clean_up.remove_staged_objects()
    clean_up.abandon_unfinished()
    with connect_milvus(MilvusSettings.from_env()) as database:
        dropped = clean_up.drop_temporary_collections(database)
    # A batch that still ran asks only now and then whether it may go on.
    objects += clean_up.remove_staged_objects()
    return CleanUpRestoreResult(object_count=objects, collection_count=dropped)
