"""ResumeGarbageCollection: give back the pause that PrepareBackup has asked for, however the backup ended."""

from datetime import UTC, datetime

from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.backup.pauses import Pauses
from milvus_vault.errors import MilvusRequestError, WorkingFileError
from milvus_vault.model.messages import ResumeGarbageCollectionRequest, ResumeGarbageCollectionResult
from milvus_vault.runtime import logger, task
from milvus_vault.settings import ManagementSettings, StorageSettings
from milvus_vault.wiring import open_garbage_collector


@task
def handler(event: ResumeGarbageCollectionRequest) -> ResumeGarbageCollectionResult:
    """Return whether Milvus was told. Safe to repeat: a pause is given back once."""
    storage, collector = StorageSettings.from_env(), open_garbage_collector(ManagementSettings.from_env())
    if collector is None:
        return ResumeGarbageCollectionResult(is_resumed=False)
    pauses = Pauses(S3ObjectStore.shared(), storage.backup_bucket_name, storage.backup_prefix)
    try:
        is_resumed = pauses.end(collector, event.execution_arn, datetime.now(UTC))
    except (MilvusRequestError, WorkingFileError) as err:
        # Milvus was restarted, and knows the ticket no more; or it has changed hands; or a note of a pause is damaged.
        logger.warning("the pause was not given back", reason=err.message)
        is_resumed = False
    return ResumeGarbageCollectionResult(is_resumed=is_resumed)
