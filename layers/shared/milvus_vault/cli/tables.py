"""Lists as tables: with lines and colours on a terminal, as plain columns in a file."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from milvus_vault.cli import formats
from milvus_vault.cli.session import Output
from milvus_vault.model import readable
from milvus_vault.model.resources import BackupSummary, CollectionInfo, Run, RunSummary, Schedule

if TYPE_CHECKING:
    from milvus_vault.acceptance.trying import AcceptanceReport, ItemResult

# Columns.
_ENOUGH = 1000

STYLES = {
    "complete": "green",
    "succeeded": "green",
    "intact": "green",
    "proven": "green",
    "passed": "green",
    "ok": "green",
    "done": "green",
    "running": "cyan",
    "waiting": "dim",
    "skipped": "dim",
    "not_possible": "dim",
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


def table(*headings: str) -> Table:
    """Return an empty table; a heading that begins with `>` is of numbers. Cells are kept on one line."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for heading in headings:
        justify: JustifyMethod = "right" if heading.startswith(">") else "left"
        made.add_column(heading.removeprefix(">").upper(), justify=justify, no_wrap=True)
    return made


def listed(
    output: Output, headings: Sequence[str], rows: Iterable[Sequence[str | Text]], *, in_title: int = 1
) -> RenderableType:
    """Return a table without the columns in which no row has anything.

    Where a terminal is too narrow for it, each row is a paragraph instead: its first columns, `in_title` of them, as a
    title, and then the others by their headings. Nothing is left out, and nothing is cut off.
    """
    kept = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    shown = [number for number in range(len(headings)) if any(_says_something(row[number]) for row in kept)]
    if not output.text.is_terminal:
        lines = [[_on_one_line(row[number]) for number in shown] for row in kept]
        return Text(_columns([headings[number] for number in shown], lines))
    made = table(*(headings[number] for number in shown))
    for row in kept:
        made.add_row(*(row[number] for number in shown))
    if _width(output, made) <= output.text.width:
        return made
    title, rest = shown[:in_title], shown[in_title:]
    return Group(*(part for row in kept for part in _paragraph(headings, row, title, rest)))


def _on_one_line(cell: Text) -> str:
    return " ".join(cell.plain.splitlines())


def _columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return columns as a file has them: what Rich would make of the table, which takes twenty times as long."""
    lines = [[heading.removeprefix(">").upper() for heading in headings], *rows]
    widths = [max(cell_len(line[number]) for line in lines) for number in range(len(headings))]
    return "\n".join(
        "  ".join(
            blanks + cell if heading.startswith(">") else cell + blanks
            for heading, width, cell in zip(headings, widths, line, strict=True)
            for blanks in (" " * (width - cell_len(cell)),)
        )
        for line in lines
    )


def _paragraph(
    headings: Sequence[str], row: Sequence[Text], title: Sequence[int], rest: Sequence[int]
) -> Iterator[RenderableType]:
    yield Text("  ").join(row[number] for number in title)
    said = [
        Text.assemble((f"{headings[number].removeprefix('>')} ", "dim"), row[number])
        for number in rest
        if _says_something(row[number])
    ]
    yield Padding(Text(", ").join(said), (0, 0, 0, 2))


def _says_something(cell: Text) -> bool:
    return cell.plain not in {"", "-"}


def _width(output: Output, made: Table) -> int:
    """Return how wide a table is where there is room for it."""
    console = output.text
    return console.measure(made, options=console.options.update(width=_ENOUGH, max_width=_ENOUGH)).maximum


def _of_times(output: Output, heading: str, times: Iterable[datetime]) -> str:
    """Return the heading of a column of times: people are told of which zone, and scripts take it as they know it."""
    return f"{heading} ({formats.zones(times)})" if output.text.is_terminal else heading


def backups(output: Output, items: Iterable[BackupSummary]) -> RenderableType:
    """Return a table of backups."""
    items = list(items)
    headings = (
        "name",
        "status",
        _of_times(output, "created", [item.created_at for item in items]),
        ">collections",
        ">rows",
        ">size",
        ">copied",
        "schedule",
        "expires",
        "hold",
        "proven",
    )
    return listed(
        output,
        headings,
        (
            (
                Text(item.name, style="bold"),
                word("damaged" if item.damage else item.status),
                formats.minute(item.created_at),
                readable.count(item.collection_count),
                readable.count(item.row_count),
                "no rows" if item.meta_only else readable.size(item.size_bytes),
                "" if item.copied_size_bytes is None else readable.size(item.copied_size_bytes),
                item.schedule or "",
                formats.distance(item.expires_at),
                "held" if item.is_held else "",
                _proven(item),
            )
            for item in items
        ),
        in_title=2,
    )


def _proven(item: BackupSummary) -> str:
    """Return when a backup was last proven, and how much of it; and whether a drill has failed that nothing settled."""
    when = formats.distance(item.proven_at)
    proven = readable.proven(when, item.proven_count, item.collection_count) if item.proven_at else when
    if item.drill_status != "failed":
        return proven
    return f"failed; before: {proven}" if item.proven_at else "failed"


def runs(output: Output, items: Iterable[RunSummary]) -> RenderableType:
    """Return a table of runs."""
    items = list(items)
    started = _of_times(output, "started", [item.started_at for item in items])
    return listed(
        output,
        ("run", "status", started, ">took", "backup", "schedule", "error"),
        (
            (
                Text(item.id, style="bold"),
                word(item.status),
                formats.minute(item.started_at),
                readable.duration((item.ended_at - item.started_at).total_seconds() if item.ended_at else None),
                " → ".join(name for name in (item.backup_name, item.export_name) if name)
                + (f" in {item.export_to}" if item.export_to else ""),
                item.schedule or "",
                Text(item.error, style="red"),
            )
            for item in items
        ),
        in_title=2,
    )


def schedules(output: Output, items: Iterable[Schedule]) -> RenderableType:
    """Return a table of schedules."""
    headings = ("name", "when", "time zone", "keeps", "next run", "last success", "state")
    return listed(
        output,
        headings,
        (
            (
                Text(item.name, style="bold"),
                item.expression,
                item.timezone,
                "-" if item.kind == "drill" else readable.keeps(item.retention),
                formats.distance(item.next_run_at),
                formats.distance(item.last_success_at),
                ("on" if item.enabled else "off")
                + (", drill" if item.kind == "drill" else "")
                + (", deployed" if item.is_deployed else ""),
            )
            for item in items
        ),
    )


def collections(output: Output, items: Iterable[CollectionInfo]) -> RenderableType:
    """Return a table of collections in Milvus."""
    return listed(
        output,
        ("collection", ">rows", ">segments", ">objects", ">size", "loaded"),
        (
            (
                Text(f"{item.database}.{item.name}", style="bold"),
                readable.count(item.row_count),
                readable.count(item.segment_count),
                readable.count(item.object_count),
                readable.size(item.size_bytes),
                "yes" if item.is_loaded else "no",
            )
            for item in items
        ),
    )


def decisions(output: Output, run: Run) -> RenderableType | None:
    """Return what a prune decided of each backup, with the reasons, and of a dry run with what each would free alone.

    None where the run has left nothing.
    """
    decided = (run.result or {}).get("decisions") or ()
    if not decided:
        return None
    freed = (run.result or {}).get("freed")
    sizes = {backup["name"]: readable.size(backup["size_bytes"]) for backup in (freed or {}).get("backups", ())}
    rows = [
        (
            Text(str(decision["name"]), style="bold"),
            Text("keep", style="green") if decision["keep"] else Text("delete", style="red"),
            "" if freed is None or decision["keep"] else sizes.get(decision["name"], "-"),
            str(decision["reason"]).removeprefix("kept: ").removeprefix("deleted: "),
        )
        for decision in decided
    ]
    made = listed(output, ("backup", "decision", ">frees", "why"), rows, in_title=2)
    left_out = (run.result or {}).get("decision_count", len(decided)) - len(decided)
    return Group(made, Text(f"and {readable.number_of(left_out, 'more backup')}")) if left_out > 0 else made


def acceptance(output: Output, report: "AcceptanceReport") -> RenderableType:
    """Return the items of an acceptance with what each found; on a terminal, those that failed come last, with hints.

    There are a hundred and more, and of most a line says all.
    """
    if output.text.is_terminal:
        items = sorted(report.items, key=lambda one: one.verdict == "failed")
        return Group(*(part for one in items for part in _item(one)))
    rows = (
        (one.name, word(one.verdict), f"{one.seconds:.1f} s", one.evidence, "" if one.verdict == "passed" else one.hint)
        for one in report.items
    )
    return listed(output, ("item", "verdict", ">took", "evidence", "hint"), rows)


def _item(one: "ItemResult") -> Iterator[RenderableType]:
    mark = {"passed": "✓", "failed": "✗"}.get(one.verdict, "-")
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column()
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark, style=STYLES[one.verdict]), Text(f"{one.name}: {one.evidence}"))
    if one.verdict == "failed":
        grid.add_row("", Text(f"took {one.seconds:.1f} s. {one.hint}", style="dim"))
    yield grid
