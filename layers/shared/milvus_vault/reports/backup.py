"""The report of a backup."""

from collections.abc import Sequence

from milvus_vault.archive.manifest import Manifest
from milvus_vault.model import readable
from milvus_vault.model.hybrid import as_text
from milvus_vault.model.messages import NextCopy, NextVerification
from milvus_vault.model.requests import ExportPlace
from milvus_vault.model.resources import BackupSummary
from milvus_vault.model.retention import Retention
from milvus_vault.model.times import utc_second
from milvus_vault.reports.charts import COLUMN_HEIGHT, History, bar_chart, history_chart
from milvus_vault.reports.pages import MAX_ROWS, failure, render

MAX_HISTORY = 30
"""How many backups of a schedule a report compares, its own among them."""


def render_backup_report(
    manifest: Manifest,
    location: str,
    before: Sequence[BackupSummary] = (),
    verification: NextVerification | None = None,
    next_copy: NextCopy | None = None,
) -> bytes:
    """Return a backup's report, an HTML page in UTF-8.

    The table has the thousand largest collections, and as many failed ones are listed; the manifest has all.

    Args:
        manifest: What the backup holds.
        location: Where it lies, as `s3://bucket/prefix/name/`.
        before: Earlier backups of its schedule, with which an incremental one is compared.
        verification: What is started once it is published, if anything.
        next_copy: The copy that is started then, if any.
    """
    largest = sorted(manifest.collections, key=lambda entry: (-entry.size_bytes, -entry.row_count, str(entry.name)))
    seconds = (manifest.finished_at - manifest.started_at).total_seconds()
    charts = (
        bar_chart("size", ((str(entry.name), entry.size_bytes) for entry in largest), readable.size),
        bar_chart("rows", ((str(entry.name), entry.row_count) for entry in largest), readable.count),
    )
    return render(
        "backup.html.j2",
        {
            "manifest": manifest,
            "location": location,
            "status": "partial" if manifest.is_partial else "complete",
            "seconds": seconds,
            "rate": readable.rate(_copied_bytes(manifest) / seconds if seconds > 0 else None),
            "row_count": sum(entry.row_count for entry in largest),
            "segment_count": sum(entry.segment_count for entry in largest),
            "keeping": _keeping(manifest),
            "verification": _verification(verification) if verification else "",
            "copied": _copied(next_copy) if next_copy else "",
            "moment": _moment(manifest),
            "charts": [chart for chart in charts if chart],
            "history": _history(manifest, before) if manifest.is_incremental else None,
            "column_height": COLUMN_HEIGHT,
            "failures": [failure(str(f.name), f.error, f.message) for f in manifest.failures[:MAX_ROWS]],
            "rows": largest[:MAX_ROWS],
            "others": largest[MAX_ROWS:],
        },
    )


def _history(manifest: Manifest, before: Sequence[BackupSummary]) -> History | None:
    """Return what a backup and those before it hold and copied. One that was made anew is not compared with itself."""
    others = [
        (
            item.name,
            item.created_at,
            item.size_bytes,
            item.size_bytes if item.copied_size_bytes is None else item.copied_size_bytes,
        )
        for item in before
        if item.name != manifest.backup_name
    ]
    own = (manifest.backup_name, manifest.started_at, manifest.size_bytes, _copied_bytes(manifest))
    return history_chart([own, *others[: MAX_HISTORY - 1]])


def _copied_bytes(manifest: Manifest) -> int:
    return manifest.size_bytes if manifest.copied_size_bytes is None else manifest.copied_size_bytes


def _moment(manifest: Manifest) -> str:
    """Return as of when the collections are restored."""
    if not manifest.moment:
        return "no known moment: a restore brings back all that was captured"
    own = sum(entry.moment != manifest.moment for entry in manifest.collections)
    others = (
        f", but {own} of {readable.number_of(len(manifest.collections), 'collection')}, with a later one each"
        if own
        else ""
    )
    return f"{as_text(manifest.moment)}, all collections alike{others}"


def _keeping(manifest: Manifest) -> str:
    """Return how long the backup is kept."""
    said = []
    if manifest.expires_at:
        said.append(f"may be deleted after {utc_second(manifest.expires_at)}")
    if manifest.schedule and manifest.schedule.retention:
        said.append(f"policy of its schedule: {_rules(manifest.schedule.retention)} ({manifest.schedule.timezone})")
    return "; ".join(said) or "until somebody deletes it"


def _verification(verification: NextVerification) -> str:
    """Return how the backup is to be verified: what was found is not known yet."""
    request = verification.request
    parts = []
    if request.sample_percent is not None:
        parts.append(f"{request.sample_percent:g} % of the objects")
    if request.max_bytes is not None:
        parts.append(f"at most {readable.size(request.max_bytes)}")
    sample = f" ({', '.join(parts)})" if parts else ""
    return f"{request.level}{sample}, after this page was written, by run {verification.run}"


def _copied(following: NextCopy) -> str:
    """Return where the backup is to be copied: whether it is, is not known yet."""
    to = following.request.to or ExportPlace()
    return f"to {readable.copy_place(to.model_dump())}, after this page was written, by run {following.run}"


def _rules(retention: Retention) -> str:
    given = retention.model_dump(exclude_none=True)
    return ", ".join(f"{rule.replace('_', ' ')} {value}" for rule, value in given.items())
