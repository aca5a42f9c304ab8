"""The report of a restore."""

from milvus_vault.model import readable
from milvus_vault.reports.charts import bar_chart
from milvus_vault.reports.pages import MAX_ROWS, failure, render
from milvus_vault.restore.report import sum_if_known
from milvus_vault.restore.working_files import RestoreReport


def render_restore_report(report: RestoreReport, execution_arn: str) -> bytes:
    """Return a restore's report, an HTML page in UTF-8.

    The table has a thousand collections, failed ones first; the report in JSON has all.

    Args:
        report: What the restore did.
        execution_arn: The execution that did it.
    """
    failed = [collection for collection in report.collections if collection.status != "restored"]
    restored = [collection for collection in report.collections if collection.status == "restored"]
    listed = sorted(restored, key=lambda collection: (-collection.row_count, str(collection.target)))
    rows = [*failed, *listed]
    row_count = sum(collection.row_count for collection in restored)
    imported = sum(collection.imported_row_count for collection in restored)
    expected = sum_if_known(collection.expected_row_count for collection in restored)
    deleted = sum_if_known(collection.deleted_row_count for collection in restored)
    left_out = imported - row_count if row_count else 0
    notes = [] if expected is None else [f"of {readable.count(expected)} counted at the backup"]
    if left_out > 0:
        why = "deleted" if deleted == left_out else "deleted or too new"
        notes.append(f"{readable.count(left_out)} more in segments: {why}")
    chart = bar_chart("rows", ((str(c.target), c.row_count) for c in restored), readable.count)
    return render(
        "restore.html.j2",
        {
            "report": report,
            "execution_arn": execution_arn,
            "seconds": (report.finished_at - report.started_at).total_seconds(),
            "row_count": row_count,
            "imported_row_count": imported,
            "rows_note": "; ".join(notes),
            "expected_row_count": expected,
            "deleted_row_count": deleted,
            "restored_count": len(restored),
            "failed_count": len(failed),
            "charts": [chart] if chart else [],
            "failures": [failure(str(c.target), c.error, c.message, c.hint) for c in failed[:MAX_ROWS]],
            "warnings": [
                *report.warnings,
                *(f"{c.target}: {warning}" for c in report.collections for warning in c.warnings),
            ],
            "rows": rows[:MAX_ROWS],
            "others": rows[MAX_ROWS:],
        },
    )
