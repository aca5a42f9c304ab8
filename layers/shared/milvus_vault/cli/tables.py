"""Lists as tables: with lines and colours on a terminal, as plain columns in a file."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from milvus_vault.cli import formats
from milvus_vault.cli.session import Output
from milvus_vault.model.resources import BackupSummary, CollectionInfo, RunSummary, Schedule
from milvus_vault.model.retention import Retention

# Columns.
_ENOUGH = 1000

STYLES = {
    "complete": "green",
    "succeeded": "green",
    "intact": "green",
    "ok": "green",
    "done": "green",
    "running": "cyan",
    "waiting": "dim",
    "skipped": "dim",
    "partial": "yellow",
    "warning": "yellow",
    "stopped": "yellow",
    "archived": "yellow",
    "failed": "red",
    "damaged": "red",
    "timed_out": "red",
}


def word(status: str) -> Text:
    """Return a status in its colour."""
    return Text(status.replace("_", " "), style=STYLES.get(status, ""))


def table(output: Output, *headings: str) -> Table:
    """Return an empty table; a heading that begins with `>` is of numbers. Cells are kept on one line."""
    lines = box.SIMPLE_HEAD if output.text.is_terminal else None
    made = Table(box=lines, pad_edge=False, header_style="bold", show_edge=False)
    for heading in headings:
        justify: JustifyMethod = "right" if heading.startswith(">") else "left"
        made.add_column(heading.removeprefix(">").upper(), justify=justify, no_wrap=True)
    return made


def _filled(
    output: Output, headings: Sequence[str], rows: Iterable[Sequence[str | Text]], less_needed: Sequence[str] = ()
) -> Table:
    """Return a table without the columns in which no row has anything.

    Where a terminal is too narrow, the columns of `less_needed` are left out, one after the other.
    """
    kept = list(rows)
    shown = [number for number in range(len(headings)) if any(str(row[number]) not in {"", "-"} for row in kept)]
    made = _with_columns(output, headings, kept, shown)
    for heading in less_needed:
        if not output.text.is_terminal or _width(output, made) <= output.text.width:
            break
        shown = [number for number in shown if headings[number].removeprefix(">") != heading]
        made = _with_columns(output, headings, kept, shown)
    return made


def _width(output: Output, made: Table) -> int:
    """Return how wide a table is where there is room for it."""
    console = output.text
    return console.measure(made, options=console.options.update(width=_ENOUGH, max_width=_ENOUGH)).maximum


def _with_columns(
    output: Output, headings: Sequence[str], rows: Iterable[Sequence[str | Text]], shown: Sequence[int]
) -> Table:
    made = table(output, *(headings[number] for number in shown))
    for row in rows:
        cells = (row[number] for number in shown)
        made.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))
    return made


def backups(output: Output, items: Iterable[BackupSummary]) -> Table:
    """Return a table of backups."""
    headings = ("name", "status", "created", ">collections", ">rows", ">size", "schedule", "expires", "hold")
    return _filled(
        output,
        headings,
        (
            (
                Text(item.name, style="bold"),
                word("damaged" if item.damage else item.status),
                formats.minute(item.created_at),
                formats.count(item.collection_count),
                formats.count(item.row_count),
                "no rows" if item.meta_only else formats.size(item.size_bytes),
                item.schedule or "",
                formats.distance(item.expires_at),
                "held" if item.is_held else "",
            )
            for item in items
        ),
        less_needed=("collections", "schedule", "rows", "expires", "created"),
    )


def runs(output: Output, items: Iterable[RunSummary]) -> Table:
    """Return a table of runs."""
    return _filled(
        output,
        ("run", "kind", "status", "started", ">took"),
        (
            (
                Text(item.id, style="bold"),
                item.kind,
                word(item.status),
                formats.minute(item.started_at),
                formats.duration((item.ended_at - item.started_at).total_seconds() if item.ended_at else None),
            )
            for item in items
        ),
        less_needed=("kind", "took", "started"),
    )


def schedules(output: Output, items: Iterable[Schedule]) -> Table:
    """Return a table of schedules."""
    headings = ("name", "when", "time zone", "keeps", "next run", "last success", "state")
    return _filled(
        output,
        headings,
        (
            (
                Text(item.name, style="bold"),
                item.expression,
                item.timezone,
                retention(item.retention),
                formats.distance(item.next_run_at),
                formats.distance(item.last_success_at),
                ("on" if item.enabled else "off") + (", deployed" if item.is_deployed else ""),
            )
            for item in items
        ),
        less_needed=("time zone", "last success", "keeps", "state"),
    )


def collections(output: Output, items: Iterable[CollectionInfo]) -> Table:
    """Return a table of collections in Milvus."""
    return _filled(
        output,
        ("collection", ">rows", ">segments", ">objects", ">size", "loaded"),
        (
            (
                Text(f"{item.database}.{item.name}", style="bold"),
                formats.count(item.row_count),
                formats.count(item.segment_count),
                formats.count(item.object_count),
                formats.size(item.size_bytes),
                "yes" if item.is_loaded else "no",
            )
            for item in items
        ),
        less_needed=("segments", "loaded", "objects", "rows"),
    )


def retention(policy: Retention | None) -> str:
    """Return a policy in a few words."""
    if policy is None:
        return "all"
    rules = {
        "last": policy.keep_last,
        "daily": policy.keep_daily,
        "weekly": policy.keep_weekly,
        "monthly": policy.keep_monthly,
        "yearly": policy.keep_yearly,
    }
    words = [f"{name} {number}" for name, number in rules.items() if number]
    if policy.expire_after:
        words.append(f"for {policy.expire_after}")
    return ", ".join(words)
