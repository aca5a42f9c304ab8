"""ReportRestore: write what became of each collection, for programs and to read."""

from datetime import UTC, datetime

from milvus_vault.errors import shared_hint, with_hint
from milvus_vault.failures import outcome_error
from milvus_vault.model.messages import ReportRestoreResult, RestoreStepRequest
from milvus_vault.model.readable import first_of
from milvus_vault.ports import HTML
from milvus_vault.reports.restore import render_restore_report
from milvus_vault.restore.report import report_restore, sum_if_known
from milvus_vault.restore.working_files import PLAN, RestorePlan
from milvus_vault.runs.collections import follow_restore, phases_of
from milvus_vault.runs.paces import remember_paces
from milvus_vault.runtime import task
from milvus_vault.settings import StorageSettings
from milvus_vault.stores import open_workspace
from milvus_vault.workspace import record_key


@task
def handler(event: RestoreStepRequest) -> ReportRestoreResult:
    """Write and summarise the report. Safe to repeat: it is made anew from the journal."""
    run = open_workspace(StorageSettings.from_env(), event.run)
    plan = run.read(PLAN, RestorePlan)
    report = report_restore(run, plan, datetime.now(UTC))
    page = render_restore_report(report, plan.execution_arn)
    page_key = record_key(run.prefix, "reports", plan.execution_arn, "html")
    run.store.put(run.bucket, page_key, page, content_type=HTML)
    remember_paces(run, "restore", lambda: phases_of(follow_restore(run, plan.execution_arn)))
    failed = [collection for collection in report.collections if collection.status != "restored"]
    restored = [collection for collection in report.collections if collection.status == "restored"]
    # A restore without rows, as one of a schema, has none to expect.
    rows = () if plan.request.meta_only else restored
    return ReportRestoreResult(
        backup_name=report.backup_name,
        status=report.status,
        error=outcome_error(
            [collection.error for collection in failed],
            some_succeeded=bool(restored),
            partial="RestorePartialError",
            failed="RestoreFailedError",
        )
        if failed
        else "",
        cause=with_hint(
            first_of([f"{c.target}: {c.error}: {c.message}" for c in failed], separator="; "),
            shared_hint(c.hint for c in failed),
        ),
        restored_count=len(restored),
        failed_count=len(failed),
        row_count=sum(collection.row_count for collection in report.collections),
        expected_row_count=sum_if_known(collection.expected_row_count for collection in rows),
        deleted_row_count=sum_if_known(collection.deleted_row_count for collection in rows),
        imported_row_count=sum(collection.imported_row_count for collection in report.collections),
        content_checked=report.content_checked,
        read_count=report.read_count,
        report_key=record_key(run.prefix, "reports", event.execution_arn),
        warnings=(*report.warnings, *(w for collection in report.collections for w in collection.warnings)),
    )
