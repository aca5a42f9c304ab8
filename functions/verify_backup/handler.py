"""VerifyBackup: check that a backup is whole, without restoring it; mend its metadata first where asked to."""

from datetime import UTC, datetime

from aws_lambda_powertools.utilities.typing import LambdaContext

from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.execution_records import record_execution
from milvus_vault.model.messages_verify import VerifyBackupRequest, VerifyBackupResult
from milvus_vault.model.names import execution_name, run_id
from milvus_vault.model.requests import VerifyRequest
from milvus_vault.ports import HTML
from milvus_vault.reports.verification import render_verification_report
from milvus_vault.runs.collections import phases_of
from milvus_vault.runs.following import follow_verify
from milvus_vault.runs.paces import remember_paces
from milvus_vault.runtime import logger, read_request, task
from milvus_vault.settings import StorageSettings
from milvus_vault.stores import open_workspace
from milvus_vault.verifying.verify import verify_backup
from milvus_vault.verifying.working_files import PROGRESS, VerifyProgress
from milvus_vault.workspace import record_key


@task
def handler(event: VerifyBackupRequest, context: LambdaContext) -> VerifyBackupResult:
    """Check as much as there is time for. Safe to repeat: it goes on where the call before ended."""
    request = read_request(VerifyRequest, event.request, "verify request")
    storage = StorageSettings.from_env()
    run = open_workspace(storage, run_id("verify", execution_name(event.execution.arn)))
    logger.set_correlation_id(run.run)
    record_execution(run, event.execution, "verify", request.backup_name)
    result = verify_backup(
        run,
        request,
        executions=StepFunctionsExecutions(),
        execution_arn=event.execution.arn,
        now=datetime.now(UTC),
        seconds_left=lambda: context.get_remaining_time_in_millis() / 1000,
        check_count=event.check_count,
    )
    if result.is_done:
        location = f"s3://{run.bucket}/{BackupLayout(run.prefix, request.backup_name).root}"
        progress = run.read(PROGRESS, VerifyProgress)
        page = render_verification_report(result, progress, location, event.execution.arn, datetime.now(UTC))
        page_key = record_key(run.prefix, "reports/verify", event.execution.arn, "html")
        run.store.put(run.bucket, page_key, page, content_type=HTML)
        remember_paces(run, "verify", lambda: phases_of(follow_verify(run, event.execution.arn)))
    if request.repair:
        logger.info("repaired", mended=result.mended, lost=result.lost)
    return result
