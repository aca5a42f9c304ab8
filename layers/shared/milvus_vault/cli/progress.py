"""A run that goes on: bars on a terminal, lines in a file."""

from collections.abc import Callable
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from milvus_vault.cli import tables
from milvus_vault.model import readable
from milvus_vault.model.resources import Progress as RunProgress
from milvus_vault.model.resources import Run, RunCollection

# What fits a small terminal beside the bars.
_SHOWN_COLLECTIONS = 10
_LINE_EVERY_SECONDS = 10.0


class RunBars:
    """The bars of one run, and lines for the collections that are running or have failed."""

    def __init__(self) -> None:
        """Make bars without numbers."""
        columns: tuple[ProgressColumn, ...] = (
            TextColumn("  {task.description:<12}"),
            BarColumn(bar_width=20, complete_style="cyan", finished_style="green", pulse_style="cyan"),
            TextColumn("{task.fields[done]:>20}"),
            TextColumn("[dim]{task.fields[more]}"),
        )
        self._bars = Progress(*columns)
        self._tasks = {
            name: self._bars.add_task(name, total=None, done="", more="")
            for name in ("collections", "objects", "data", "import")
        }
        self._run: Run | None = None

    def update(self, run: Run) -> None:
        """Show what is known now."""
        self._run = run
        now = run.progress
        left = _left(now)
        more = "  ".join(text for text in (_rate(now), left) if text)
        self._set("collections", now.collections_done, now.collections_total, readable.count)
        self._set("objects", now.objects_done, now.objects_total, readable.count)
        self._set("data", now.bytes_done, now.bytes_total, readable.size, more)
        percent = now.import_percent
        self._set("import", int(percent or 0), None if percent is None else 100, lambda n: f"{n}%", left)
        # Bars that are full say that all is done, and of a restore the longest part comes after its copy.
        is_copied = run.kind == "restore" and is_past_copy(run)
        for name, is_shown in (
            ("collections", now.collections_total is not None),
            ("objects", now.objects_total is not None and not is_copied),
            ("data", now.bytes_total is not None and not is_copied),
            ("import", percent is not None),
        ):
            self._bars.update(self._tasks[name], visible=is_shown)

    def _set(self, name: str, done: int, total: int | None, text: Callable[[int | None], str], more: str = "") -> None:
        shown = f"{text(done)} of {text(total)}" if total is not None else ""
        # A total of 0 would be a bar that never fills.
        known = None if total is None else max(total, 1)
        completed = done if total else (1 if total == 0 else 0)
        self._bars.update(self._tasks[name], total=known, completed=completed, done=shown, more=more)

    def __rich__(self) -> RenderableType:
        """Return what is on the screen."""
        run = self._run
        if run is None:
            return Text("asking the API ...", style="dim")
        parts: list[RenderableType] = [headline(run)]
        # What has ended is told by its outcome, and a check or a prune has nothing that is counted on the way.
        if run.status == "running" and any(task.visible for task in self._bars.tasks):
            parts.append(self._bars)
        parts.append(_collections(run))
        return Group(*parts)


def is_past_copy(run: Run) -> bool:
    """Return whether nothing is left to copy: then the numbers of the copy say nothing of what goes on."""
    now = run.progress
    return now.bytes_total is not None and now.bytes_done == now.bytes_total


def kind_of(run: Run) -> str:
    """Return what a run is to the person who started it: a check that first mends is a repair, and so on."""
    if run.kind == "verify" and run.request.get("repair"):
        return "repair"
    return "copy" if run.kind == "export" and run.request.get("is_copy") else run.kind


def headline(run: Run) -> Text:
    """Return what runs, what it does, and for how long."""
    seconds = ((run.ended_at or datetime.now(UTC)) - run.started_at).total_seconds()
    name = f" of {run.backup_name}" if run.backup_name else ""
    doing = run.phase.replace("_", " ") if run.status == "running" and run.phase else run.status.replace("_", " ")
    return Text.assemble(
        (f"{kind_of(run)}{name}", "bold"),
        "  ",
        (doing, tables.STYLES.get(run.status, "")),
        (f"  {readable.duration(seconds)}", "dim"),
        (f"\n  run {run.id}", "dim"),
    )


def _collections(run: Run) -> Table:
    grid = Table.grid(padding=(0, 2))
    told = list(run.collections)
    looked_at = [item for item in told if item.status in {"running", "failed"}]
    for item in looked_at[:_SHOWN_COLLECTIONS]:
        name = f"  {item.database}.{item.name}" + (f" → {item.target}" if item.target else "")
        told_of = Text(item.error, style="red") if item.status == "failed" else Text(_share(item))
        grid.add_row(Text(name), tables.word(item.status), told_of)
    # An answer has a hundred collections at most; of the others it says only how many there are.
    untold = max((run.progress.collections_total or 0) - run.progress.collections_done - len(told), 0)
    left = len(looked_at) - _SHOWN_COLLECTIONS
    if left > 0:
        grid.add_row(Text(f"  and {left + untold} more", style="dim"), "", "")
    return grid


def _share(item: RunCollection) -> str:
    if item.phase and item.phase != "copying":
        return item.phase if item.import_percent is None else f"{item.phase} {item.import_percent:.0f}%"
    done, total = (item.bytes_done, item.bytes_total) if item.bytes_total else (item.objects_done, item.objects_total)
    if not total:
        return ""
    objects = "" if item.objects_total is None else f"  {item.objects_done:,} of {item.objects_total:,} objects"
    return f"{100 * done // total:3}%{objects}"


class RunLines:
    """The same as lines: one for each change of phase or of a collection, and one now and then in between."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self._told: tuple[object, ...] = ()
        self._told_at = 0.0
        self._numbers: tuple[int, ...] = ()
        self._collections: dict[str, str] = {}

    def lines(self, run: Run, now_seconds: float) -> list[str]:
        """Return what is new in an answer, given a clock that goes on in seconds."""
        new = []
        progress = run.progress
        told = (run.status, run.phase, progress.collections_done, progress.collections_total)
        numbers = (progress.objects_done, progress.bytes_done, int(progress.import_percent or 0))
        is_due = numbers != self._numbers and now_seconds - self._told_at >= _LINE_EVERY_SECONDS
        if told != self._told or is_due:
            self._told, self._told_at, self._numbers = told, now_seconds, numbers
            new.append(_line(run))
        for item in run.collections:
            name = f"{item.database}.{item.name}"
            if item.status == "failed" and self._collections.get(name) != "failed":
                new.append(f"{run.id}  {name} failed: {item.error}: {item.message}")
            self._collections[name] = item.status
        return new


def _line(run: Run) -> str:
    now = run.progress
    parts = [run.id, (run.phase or run.status).replace("_", " ") if run.status == "running" else run.status]
    if now.collections_total is not None:
        parts.append(f"{now.collections_done}/{now.collections_total} collections")
    is_running = run.status == "running"
    is_copied = run.kind == "restore" and is_running and is_past_copy(run)
    if now.objects_total is not None and not is_copied:
        parts.append(f"{now.objects_done:,}/{now.objects_total:,} objects")
    if now.bytes_total is not None and not is_copied:
        parts.append(f"{readable.size(now.bytes_done)}/{readable.size(now.bytes_total)}")
    if is_running:
        parts.append("" if now.import_percent is None else f"import {now.import_percent:.0f}%")
        parts += [_rate(now), _left(now)]
    return "  ".join(part for part in parts if part)


def _rate(now: RunProgress) -> str:
    return "" if now.bytes_per_second is None else readable.rate(now.bytes_per_second)


def _left(now: RunProgress) -> str:
    return f"{readable.duration(now.eta_seconds)} left" if now.eta_seconds else ""
