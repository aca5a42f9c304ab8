"""CutCollections: read the logs that a restore has to know before it makes anything, and cut deletes."""

from milvus_vault.model.messages import CutCollectionsResult, RestoreStepRequest
from milvus_vault.restore.cutting import Cutting
from milvus_vault.restore.working_files import PLAN, RestorePlan
from milvus_vault.runtime import task
from milvus_vault.settings import StorageSettings
from milvus_vault.stores import open_workspace
from milvus_vault.wiring import milvus_storage


@task
def handler(event: RestoreStepRequest) -> CutCollectionsResult:
    """Read and cut. Safe to repeat: what was read of a collection is written down, and cutting again gives the same."""
    storage = StorageSettings.from_env()
    run = open_workspace(storage, event.run)
    plan = run.read(PLAN, RestorePlan)
    cutting = Cutting(run, plan, milvus_storage(storage).bucket, event.execution_arn)
    return CutCollectionsResult(collection_count=cutting.cut_all())
