"""AdvanceRestore: create, fill, index, load and name the collections of a restore, each as far as it goes."""

from aws_lambda_powertools.utilities.typing import LambdaContext

from milvus_vault.connection import connect_for_imports
from milvus_vault.model.messages import AdvanceRestoreResult, RestoreStepRequest
from milvus_vault.restore.advance import Advance
from milvus_vault.restore.under_way import naming_imports
from milvus_vault.restore.working_files import PLAN, RestorePlan
from milvus_vault.runtime import task
from milvus_vault.settings import MilvusSettings, RestoreSettings, StorageSettings
from milvus_vault.stores import open_workspace

# A collection waits for S3 more often than for Milvus, and there is one such function: so it has as many collections at
# a time as the SnapshotBatch functions have together, of which four run.
_SHARE = 4


@task
def handler(event: RestoreStepRequest, context: LambdaContext) -> AdvanceRestoreResult:
    """Advance. Safe to repeat: the journal tells what was done, and jobs that may run are never started again."""
    milvus = MilvusSettings.from_env()
    run = open_workspace(StorageSettings.from_env(), event.run)
    plan = run.read(PLAN, RestorePlan)
    with naming_imports(run, plan), connect_for_imports(milvus) as connected:
        advance = Advance(
            run,
            plan,
            *connected,
            execution_arn=event.execution_arn,
            threads=_SHARE * milvus.milvus_concurrency,
            seconds_left=lambda: context.get_remaining_time_in_millis() / 1000,
        )
        advanced = advance.advance_for(RestoreSettings.from_env().advance_seconds)
    return AdvanceRestoreResult(
        is_done=advanced.is_done,
        finished_count=advanced.finished,
        failed_count=advanced.failed,
        pending_count=advanced.pending,
        wait_seconds=advanced.wait_seconds,
    )
