"""FinishCollections: indexes, load, a last count, and the collections' real names."""

from milvus_vault.connection import connect_milvus
from milvus_vault.model.messages import FinishCollectionsResult, RestoreStepRequest
from milvus_vault.restore.documents import PLAN, RestorePlan
from milvus_vault.restore.finish import Finishing
from milvus_vault.runtime import task
from milvus_vault.settings import MilvusSettings, StorageSettings
from milvus_vault.wiring import open_workspace


@task
def handler(event: RestoreStepRequest) -> FinishCollectionsResult:
    """Bring each collection a step further. Safe to repeat: it looks at what is there first."""
    milvus = MilvusSettings.from_env()
    run = open_workspace(StorageSettings.from_env(), event.run)
    plan = run.read(PLAN, RestorePlan)
    with connect_milvus(milvus) as database:
        progress = Finishing(run, plan, database, event.execution_arn, milvus.milvus_concurrency).advance()
    return FinishCollectionsResult(
        is_done=progress.pending == 0,
        finished_count=progress.finished,
        failed_count=progress.failed,
        wait_seconds=progress.wait_seconds,
    )
