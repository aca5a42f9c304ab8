"""StartImports: hand all import jobs to Milvus before any of them is waited for."""

from milvus_vault.connection import connect_for_imports
from milvus_vault.model.messages import RestoreStepRequest, StartImportsResult
from milvus_vault.restore.documents import PLAN, RestorePlan
from milvus_vault.restore.imports import Imports
from milvus_vault.restore.under_way import naming_imports
from milvus_vault.restore.waiting import SHORTEST_SECONDS
from milvus_vault.runtime import task
from milvus_vault.settings import MilvusSettings, StorageSettings
from milvus_vault.wiring import open_workspace


@task
def handler(event: RestoreStepRequest) -> StartImportsResult:
    """Start the jobs. Safe to repeat: jobs that may have been started are never started again, see `journal.py`."""
    milvus = MilvusSettings.from_env()
    run = open_workspace(StorageSettings.from_env(), event.run)
    plan = run.read(PLAN, RestorePlan)
    with naming_imports(run, plan), connect_for_imports(milvus) as connected:
        imports = Imports(run, plan, *connected, event.execution_arn, milvus.milvus_concurrency)
        return StartImportsResult(job_count=imports.start_all(), wait_seconds=SHORTEST_SECONDS)
