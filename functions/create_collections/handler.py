"""CreateCollections: create the collections to restore, under temporary names."""

from milvus_vault.connection import connect_milvus
from milvus_vault.model.messages import CreateCollectionsResult, RestoreStepRequest
from milvus_vault.restore.create import Creation
from milvus_vault.restore.documents import PLAN, RestorePlan
from milvus_vault.runtime import task
from milvus_vault.settings import MilvusSettings, StorageSettings
from milvus_vault.wiring import open_workspace


@task
def handler(event: RestoreStepRequest) -> CreateCollectionsResult:
    """Create what is missing. Safe to repeat: the journal tells what this execution made."""
    milvus = MilvusSettings.from_env()
    run = open_workspace(StorageSettings.from_env(), event.run)
    plan = run.read(PLAN, RestorePlan)
    with connect_milvus(milvus) as database:
        creation = Creation(run, plan, database, event.execution_arn, milvus.milvus_concurrency)
        return CreateCollectionsResult(collection_count=creation.create_all())
