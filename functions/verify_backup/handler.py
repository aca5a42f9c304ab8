"""VerifyBackup: check that a backup is whole, without restoring it; mend its metadata first where asked to."""

from datetime import UTC, datetime

from aws_lambda_powertools.utilities.typing import LambdaContext

from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.catalogue import Catalogue
from milvus_vault.execution_records import ExecutionRecord, record_execution
from milvus_vault.model.messages_verify import VerifyBackupRequest, VerifyBackupResult
from milvus_vault.model.names import execution_name, run_id
from milvus_vault.model.readable import first_of
from milvus_vault.model.requests import VerifyRequest
from milvus_vault.runtime import logger, read_request, task
from milvus_vault.settings import StorageSettings
from milvus_vault.verifying.contents import Comparison, ContentComparison
from milvus_vault.verifying.repair import BackupRepair, Repaired
from milvus_vault.verifying.verify import BackupVerification, record_verification
from milvus_vault.wiring import open_workspace

_NAMED = 5
_LOST_NAMED = 100


@task
def handler(event: VerifyBackupRequest, context: LambdaContext) -> VerifyBackupResult:
    """Check as much as there is time for. Safe to repeat: it goes on where the call before ended."""
    request = read_request(VerifyRequest, event.request, "verify request")
    storage = StorageSettings.from_env()
    run = open_workspace(storage, run_id("verify", execution_name(event.execution.arn)))
    logger.set_correlation_id(run.run)
    record = ExecutionRecord(
        execution_arn=event.execution.arn,
        kind="verify",
        run=run.run,
        backup_name=request.backup_name,
        started_at=event.execution.started_at,
    )
    record_execution(run.store, run.bucket, run.prefix, record)

    def seconds_left() -> float:
        return context.get_remaining_time_in_millis() / 1000

    layout, executions = BackupLayout(storage.backup_prefix, request.backup_name), StepFunctionsExecutions()
    repaired, compared = Repaired(), Comparison(is_done=True)
    if request.repair:
        repaired = BackupRepair(
            run=run,
            layout=layout,
            catalogue=Catalogue(run.store, run.bucket, run.prefix),
            executions=executions,
            execution_arn=event.execution.arn,
            now=datetime.now(UTC),
        ).repair()
        compared = ContentComparison(run, layout, seconds_left).compare()
        logger.info("repaired", **repaired.model_dump(mode="json"), proven_count=compared.proven_count)
    if not compared.is_done:
        return VerifyBackupResult(
            is_done=False,
            backup_name=request.backup_name,
            status="intact",
            object_count=0,
            size_bytes=0,
            content_checked=False,
            problem_count=0,
        )
    found = BackupVerification(
        run=run,
        layout=layout,
        executions=executions,
        execution_arn=event.execution.arn,
        seconds_left=seconds_left,
    ).verify()
    if found.is_done:
        record_verification(run, request.backup_name, run.run, found, datetime.now(UTC))
    mended = (*repaired.mended, *_proven(compared.proven_count))
    said = [*mended, *(f"lost: {lost}" for lost in repaired.lost), *found.found]
    listed = first_of(said, _NAMED + len(mended) + len(repaired.lost), separator="; ")
    return VerifyBackupResult(
        is_done=found.is_done,
        backup_name=request.backup_name,
        status=found.status,
        error=found.error,
        cause=f"backup '{request.backup_name}' is {found.status}: {listed}" if found.error else "",
        object_count=found.object_count,
        size_bytes=found.size_bytes,
        content_checked=found.content_checked,
        problem_count=len(found.found),
        mended=mended,
        lost=repaired.lost[:_LOST_NAMED],
    )


def _proven(count: int) -> tuple[str, ...]:
    """Return what to say of objects whose ETags were noted."""
    return (f"{count} object(s) have another ETag and the content that was recorded: that is noted",) if count else ()
