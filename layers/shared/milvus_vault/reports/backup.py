"""The report of a backup."""

from milvus_vault.archive.manifest import Manifest
from milvus_vault.model import readable
from milvus_vault.model.hybrid import as_text
from milvus_vault.model.retention import Retention
from milvus_vault.model.times import utc_second
from milvus_vault.reports.charts import bar_chart
from milvus_vault.reports.pages import MAX_ROWS, failure, render


def render_backup_report(manifest: Manifest, location: str) -> bytes:
    """Return a backup's report, an HTML page in UTF-8.

    The table has the thousand largest collections, and as many failed ones are listed; the manifest has all.

    Args:
        manifest: What the backup holds.
        location: Where it lies, as `s3://bucket/prefix/name/`.
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
            "moment": _moment(manifest),
            "charts": [chart for chart in charts if chart],
            "failures": [failure(str(f.name), f.error, f.message) for f in manifest.failures[:MAX_ROWS]],
            "rows": largest[:MAX_ROWS],
            "others": largest[MAX_ROWS:],
        },
    )


def _copied_bytes(manifest: Manifest) -> int:
    return manifest.size_bytes if manifest.copied_size_bytes is None else manifest.copied_size_bytes


def _moment(manifest: Manifest) -> str:
    """Return as of when the collections are restored."""
    if not manifest.moment:
        return "no known moment: a restore brings back all that was captured"
    own = sum(entry.moment != manifest.moment for entry in manifest.collections)
    others = f", but {own} of {len(manifest.collections)} collections, which have later ones" if own else ""
    return f"{as_text(manifest.moment)}, all collections alike{others}"


def _keeping(manifest: Manifest) -> str:
    """Return how long the backup is kept."""
    said = []
    if manifest.expires_at:
        said.append(f"may be deleted after {utc_second(manifest.expires_at)}")
    if manifest.schedule and manifest.schedule.retention:
        said.append(f"policy of its schedule: {_rules(manifest.schedule.retention)} ({manifest.schedule.timezone})")
    return "; ".join(said) or "until somebody deletes it"


def _rules(retention: Retention) -> str:
    given = retention.model_dump(exclude_none=True)
    return ", ".join(f"{rule.replace('_', ' ')} {value}" for rule, value in given.items())
