"""DeleteBackup: delete one backup of a prune's plan."""

from datetime import UTC, datetime

from aws_lambda_powertools.utilities.typing import LambdaContext

from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.catalogue import Catalogue
from milvus_vault.model.messages_prune import DeleteBackupRequest, DeleteBackupResult
from milvus_vault.retention.delete import BackupDeletion
from milvus_vault.retention.documents import PLAN, PrunePlan
from milvus_vault.runtime import task
from milvus_vault.settings import StorageSettings
from milvus_vault.wiring import open_workspace


@task
def handler(event: DeleteBackupRequest, context: LambdaContext) -> DeleteBackupResult:
    """Delete the backup, or write down why not. Safe to repeat: what is gone is gone, and the claim is found again."""
    storage = StorageSettings.from_env()
    run = open_workspace(storage, event.run)
    deletion = BackupDeletion(
        run=run,
        plan=run.read(PLAN, PrunePlan),
        index=event.index,
        catalogue=Catalogue(run.store, run.bucket, run.prefix),
        executions=StepFunctionsExecutions(),
        now=datetime.now(UTC),
        seconds_left=lambda: context.get_remaining_time_in_millis() / 1000,
    )
    return DeleteBackupResult(is_done=deletion.delete())
