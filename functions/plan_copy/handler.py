"""PlanCopy: decide what to copy and in which batches, and write the plan to S3.

Runs as state PlanCopy of backup.asl.yaml, restore.asl.yaml and export.asl.yaml.
"""

from milvus_vault.claims import check_owner
from milvus_vault.copying.batches import BatchLimits
from milvus_vault.copying.plan import plan_copy
from milvus_vault.model.messages_copy import PlanCopyRequest, PlanCopyResult
from milvus_vault.runtime import task
from milvus_vault.settings import CopySettings, StorageSettings
from milvus_vault.stores import open_workspace


@task
def handler(request: PlanCopyRequest) -> PlanCopyResult:
    """Return the batches of a round. Idempotent: objects that are there are left out."""
    storage, copying = StorageSettings.from_env(), CopySettings.from_env()
    run = open_workspace(storage, request.run)
    check_owner(run, request.attempt)
    limits = BatchLimits(max_objects=copying.copy_batch_objects, max_bytes=copying.copy_batch_bytes)
    plan = plan_copy(run, request.attempt, request.round, limits)
    return PlanCopyResult(
        bucket=plan.bucket,
        batches_key=plan.batches_key,
        batch_count=plan.batch_count,
        object_count=plan.object_count,
        size_bytes=plan.size_bytes,
        present_object_count=plan.present_object_count,
        present_size_bytes=plan.present_size_bytes,
    )
