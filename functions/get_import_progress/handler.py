"""GetImportProgress: ask for the import jobs, and check the rows of the collections that are through."""

from milvus_vault.connection import connect_for_imports
from milvus_vault.model.messages import GetImportProgressResult, RestoreStepRequest
from milvus_vault.restore.documents import PLAN, RestorePlan
from milvus_vault.restore.imports import Imports
from milvus_vault.restore.under_way import naming_imports
from milvus_vault.runtime import task
from milvus_vault.settings import MilvusSettings, StorageSettings
from milvus_vault.wiring import open_workspace


@task
def handler(event: RestoreStepRequest) -> GetImportProgressResult:
    """Ask once. Safe to repeat: it only reads, and writes down what it finds done."""
    milvus = MilvusSettings.from_env()
    run = open_workspace(StorageSettings.from_env(), event.run)
    plan = run.read(PLAN, RestorePlan)
    with naming_imports(run, plan), connect_for_imports(milvus) as connected:
        progress = Imports(run, plan, *connected, event.execution_arn, milvus.milvus_concurrency).poll()
    return GetImportProgressResult(
        is_done=progress.is_done,
        job_count=progress.jobs_total,
        done_count=progress.jobs_done,
        wait_seconds=progress.wait_seconds,
    )
