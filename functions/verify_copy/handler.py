"""VerifyCopy: compare the destination with what was to be copied.

Runs as state VerifyCopy of backup.asl.yaml, restore.asl.yaml and export.asl.yaml, unless PlanCopy has copied a round at
once. It decides that a round of copies is done: the name of an error in a distributed Map's child does not reach the
parent. In a restore AdvanceRestore may have proven some of the collections by then.
"""

from milvus_vault.claims import check_owner
from milvus_vault.copy_steps.check import verify_round
from milvus_vault.model.messages_copy import VerifyCopyRequest, VerifyCopyResult
from milvus_vault.runtime import task
from milvus_vault.settings import StorageSettings
from milvus_vault.stores import open_workspace


@task
def handler(request: VerifyCopyRequest) -> VerifyCopyResult:
    """Return which targets have to go another round. Idempotent: it lists, and deletes what does not belong."""
    storage = StorageSettings.from_env()
    run = open_workspace(storage, request.run)
    check_owner(run, request.attempt)
    return verify_round(run, request, storage.milvus_bucket_name)
