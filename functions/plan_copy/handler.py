"""PlanCopy: decide what to copy and in which batches, and write the plan to S3; copy and verify a small round at once.

Runs as state PlanCopy of backup.asl.yaml, restore.asl.yaml and export.asl.yaml.
"""

from collections.abc import Callable
from typing import Literal

from aws_lambda_powertools.utilities.typing import LambdaContext

from milvus_vault.claims import check_owner
from milvus_vault.copy_steps.batch import copy_and_count
from milvus_vault.copy_steps.check import verify_round
from milvus_vault.copying.at_once import copy_at_once
from milvus_vault.copying.batches import BatchLimits
from milvus_vault.copying.pacer import Pacer
from milvus_vault.copying.plan import plan_copy
from milvus_vault.copying.working_files import BatchResult, CopyPlan
from milvus_vault.model.messages_copy import PlanCopyRequest, PlanCopyResult, VerifyCopyRequest, VerifyCopyResult
from milvus_vault.runtime import task
from milvus_vault.settings import CopySettings, StorageSettings
from milvus_vault.stores import open_workspace

# Nobody else copies for the run, so that there is no rate to share: a thousand copies a second are a third of what one
# S3 prefix takes. Lives as long as the environment.
PACER = Pacer(start_rate=1000.0)


@task
def handler(request: PlanCopyRequest, context: LambdaContext) -> PlanCopyResult:
    """Return the batches of a round, and what was found of it if it is done at once.

    Idempotent: objects that are there are left out, and what it does again the steps may do again.
    """
    storage, copying = StorageSettings.from_env(), CopySettings.from_env()
    run = open_workspace(storage, request.run, max_connections=copying.copy_threads, copy_client=copying.copy_client)
    check_owner(run, request.attempt)
    limits = BatchLimits(max_objects=copying.copy_batch_objects, max_bytes=copying.copy_batch_bytes)
    if request.purpose is None:
        return _result(plan_copy(run, request.attempt, request.round, limits), None)
    verifying = VerifyCopyRequest(
        run=request.run, attempt=request.attempt, round=request.round, purpose=request.purpose
    )

    def copy(batch: str, deadline_seconds_left: Callable[[], float]) -> BatchResult:
        return copy_and_count(run, batch, copying.copy_threads, deadline_seconds_left, PACER)

    def seconds_left() -> float:
        return context.get_remaining_time_in_millis() / 1000

    plan, verified = copy_at_once(
        run,
        request.attempt,
        request.round,
        limits,
        max_objects=copying.copy_at_once_objects,
        copy=copy,
        verify=lambda: verify_round(run, verifying, storage.milvus_bucket_name),
        seconds_left=seconds_left,
    )
    return _result(plan, verified)


def _result(plan: CopyPlan, verified: VerifyCopyResult | None) -> PlanCopyResult:
    to_do: Literal["copy", "verify"] = "copy" if plan.batch_count else "verify"
    return PlanCopyResult(
        status=verified.status if verified else to_do,
        next=verified.next if verified else None,
        bucket=plan.bucket,
        batches_key=plan.batches_key,
        batch_count=plan.batch_count,
        object_count=plan.object_count,
        size_bytes=plan.size_bytes,
        present_object_count=plan.present_object_count,
        present_size_bytes=plan.present_size_bytes,
    )
