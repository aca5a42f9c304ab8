"""SnapshotBatch: flush the collections of a batch and record what each is made of."""

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.backup.snapshot import SnapshotBatch
from milvus_vault.backup.working_files import PLAN, BackupPlan
from milvus_vault.connection import connect_milvus
from milvus_vault.model.messages import SnapshotBatchRequest, SnapshotBatchResult
from milvus_vault.pool.sharing import BaseLists, Pool
from milvus_vault.runtime import task
from milvus_vault.settings import MilvusSettings, StorageSettings
from milvus_vault.stores import open_workspace
from milvus_vault.wiring import milvus_storage

# A backup of many collections has many batches, and this environment takes some of them.
_BASE_LISTS = BaseLists()


@task
def handler(event: SnapshotBatchRequest) -> SnapshotBatchResult:
    """Take the batch. Safe to repeat: a collection that this round has recorded is left alone."""
    storage, milvus = StorageSettings.from_env(), MilvusSettings.from_env()
    run = open_workspace(storage, event.run)
    plan = run.read(PLAN, BackupPlan)
    pool = Pool(
        run.store,
        run.bucket,
        run.prefix,
        plan.source,
        event.attempt,
        plan.bases,
        plan.damaged,
        base_lists=_BASE_LISTS,
    )
    with connect_milvus(milvus) as database:
        batch = SnapshotBatch(
            run=run,
            plan=plan,
            layout=BackupLayout(storage.backup_prefix, plan.backup_name),
            database=database,
            storage=milvus_storage(storage),
            attempt=event.attempt,
            round=event.round,
            threads=milvus.milvus_concurrency,
            pool=pool if plan.is_incremental else None,
        )
        return SnapshotBatchResult(collection_count=batch.take(event.batch))
