"""ReportPrune: say what was deleted, kept and skipped, and why."""

from datetime import UTC, datetime

from milvus_vault.model.messages_prune import ReportPruneRequest, ReportPruneResult
from milvus_vault.retention.documents import PLAN, PrunePlan
from milvus_vault.retention.report import report_prune
from milvus_vault.runtime import task
from milvus_vault.settings import StorageSettings
from milvus_vault.wiring import open_workspace

# As many as an event has.
_NAMED = 20


@task
def handler(event: ReportPruneRequest) -> ReportPruneResult:
    """Write the report and return its counts. Safe to repeat: it is made from what the other tasks wrote down."""
    storage = StorageSettings.from_env()
    run = open_workspace(storage, event.run)
    end = report_prune(run, run.read(PLAN, PrunePlan), datetime.now(UTC))
    report = end.report
    deleted = [outcome for outcome in report.outcomes if outcome.status == "deleted"]
    to_delete = sum(not decision.keep for decision in report.decisions)
    return ReportPruneResult(
        status="failed" if end.error else "complete",
        error=end.error,
        cause=end.cause,
        dry_run=report.dry_run,
        kept_count=len(report.decisions) - to_delete,
        deleted_count=to_delete if report.dry_run else len(deleted),
        deleted_bytes=sum(outcome.size_bytes for outcome in deleted),
        skipped_count=sum(outcome.status == "skipped" for outcome in report.outcomes),
        failed_count=sum(outcome.status == "failed" for outcome in report.outcomes),
        swept_objects=report.swept.object_count,
        warnings=report.damaged[:_NAMED],
        report_key=end.report_key,
    )
