"""TendPauses: renew the pauses of garbage collection of backups that run, and give back those of backups that ended.

A backup invokes it at its end, however that was. So does a clock, since a backup that copies for hours runs nothing
else that reaches Milvus, and one that was aborted runs nothing at all.
"""

from datetime import UTC, datetime

from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.backup.pauses import Pauses
from milvus_vault.model.messages import TendPausesRequest, TendPausesResult
from milvus_vault.runtime import logger, task
from milvus_vault.settings import ManagementSettings, StorageSettings
from milvus_vault.stores import open_store
from milvus_vault.wiring import open_garbage_collector


@task
def handler(event: TendPausesRequest) -> TendPausesResult:
    """Return what was done. Safe to repeat: it looks at what is noted, and a pause is given back once."""
    storage, collector = StorageSettings.from_env(), open_garbage_collector(ManagementSettings.from_env())
    if collector is None:
        return TendPausesResult(renewed_count=0, ended_count=0)
    pauses = Pauses(open_store(storage), storage.backup_bucket_name, storage.backup_prefix)
    tended = pauses.tend(collector, StepFunctionsExecutions(), datetime.now(UTC), ending=event.ending)
    for failure in tended.failures:
        logger.warning("a pause could not be renewed or given back", reason=failure)
    return TendPausesResult(renewed_count=tended.renewed, ended_count=tended.ended)
