"""A run that goes on: bars on a terminal, lines in a file."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from milvus_vault.cli import tables
from milvus_vault.model import readable
from milvus_vault.model.resources import PhaseProgress, Run, RunCollection
from milvus_vault.model.resources import Progress as RunProgress

_SHOWN_COLLECTIONS = 10
_LINE_EVERY_SECONDS = 10.0

# Of a screen, for how many collections are not shown, and for the cursor.
_LINES_BELOW = 2
_BAR, _SHORT_BAR, _WIDE = 20, 10, 70


class RunBars:
    """The bars of one run, and lines for the collections that are running or have failed.

    Nothing is cut off where the screen is narrow: what does not fit goes on in the next line.
    """

    def __init__(self) -> None:
        """Make bars without numbers."""
        self._run: Run | None = None

    def update(self, run: Run) -> None:
        """Show what is known now."""
        self._run = run

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield what is on the screen."""
        run = self._run
        if run is None:
            yield Text("asking the API ...", style="dim")
            return
        above: list[RenderableType] = [headline(run)]
        # What has ended is told by its outcome.
        if run.status == "running":
            above += _bars(run.progress, _BAR if options.max_width >= _WIDE else _SHORT_BAR)
        yield from above
        used = sum(len(console.render_lines(part, options, pad=False)) for part in above)
        yield from _collections(run, options.max_width, console.size.height - used - _LINES_BELOW)


def _bars(now: RunProgress, width: int) -> Iterator[RenderableType]:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column()
    grid.add_column(overflow="fold")
    if now.collections_total is not None:
        done = readable.count(now.collections_done)
        said = f"{done} of {readable.count(now.collections_total)}{_others(now)}"
        grid.add_row("  collections", _bar(now.collections_done, now.collections_total, width), said)
    # Bars that are full say that all is done, and of a restore the longest part comes after its copy.
    for phase in at_work(now):
        first = phase.counts[0]
        percent = readable.percent_of(phase)
        said = ("" if percent is None else f"{percent} %, ") + readable.moving(phase)
        grid.add_row(Text(f"  {phase.name}"), _bar(first.done, first.total, width), said)
    if grid.rows:
        yield grid


def _bar(done: int, total: int | None, width: int) -> ProgressBar:
    # A total of 0 would be a bar that never fills.
    return ProgressBar(
        total=max(total or 0, 1), completed=done if total else 1, width=width, complete_style="cyan",
        finished_style="green",
    )  # fmt: skip


def _others(now: RunProgress) -> str:
    """Return how many collections are not done, by what they are."""
    counts = (("at work", now.collections_running), ("failed", now.collections_failed))
    return "".join(f", {readable.count(count)} {what}" for what, count in counts if count)


def at_work(now: RunProgress) -> Sequence[PhaseProgress]:
    """Return the phases in which something is left to do."""
    return [
        phase
        for phase in now.phases
        if phase.counts[0].done != phase.counts[0].total and not _says_what_is_known(phase, now)
    ]


def _says_what_is_known(phase: PhaseProgress, now: RunProgress) -> bool:
    """Whether a phase only counts the run's collections, of which there is a count already."""
    first = phase.counts[0]
    is_same = (first.done, first.total) == (now.collections_done, now.collections_total)
    return first.unit == "collection" and is_same and len(phase.counts) == 1 and not phase.eta_seconds


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


def _collections(run: Run, width: int, height: int) -> Iterator[RenderableType]:
    """Yield the collections that are at work or have failed, as many as fit, and how many others are not done."""
    shown: list[RunCollection] = []
    lines = 0
    for item in run.collections:
        if item.status not in {"running", "failed"} or len(shown) == _SHOWN_COLLECTIONS:
            continue
        name = f"{item.database}.{item.name}" + (f" → {item.target}" if item.target else "")
        told = Text(item.error, style="red") if item.status == "failed" else Text(_share(item))
        title = Text.assemble(name, "  ", tables.word(item.status))
        whole = Text.assemble(title, "  ", told)
        fits = cell_len(whole.plain) + 2 <= width
        lines += 1 if fits else sum(-(-cell_len(part.plain) // max(1, width - 4)) for part in (title, told))
        if lines > height and shown:
            break
        shown.append(item)
        if fits:
            yield Padding(whole, (0, 0, 0, 2))
        else:
            yield Padding(title, (0, 0, 0, 2))
            yield Padding(told, (0, 0, 0, 4))
    now = run.progress
    # An answer has a hundred collections at most; of the others it says only how many there are.
    left = (now.collections_total or 0) - now.collections_done - len(shown)
    if shown and left > 0:
        waiting = left + len(shown) - now.collections_running - now.collections_failed
        running = now.collections_running - sum(item.status == "running" for item in shown)
        failed = now.collections_failed - sum(item.status == "failed" for item in shown)
        parts = [
            f"{readable.count(count)} {what}"
            for what, count in (("failed", failed), ("at work", running), ("waiting", waiting))
            if count > 0
        ]
        yield Text(f"  and {readable.count(left)} more: {', '.join(parts)}", style="dim")


def _share(item: RunCollection) -> str:
    if item.phase and item.phase != "copying":
        return f"{item.phase}{', ' if item.counts else ''}{', '.join(readable.counted(one) for one in item.counts)}"
    done, total = (item.bytes_done, item.bytes_total) if item.bytes_total else (item.objects_done, item.objects_total)
    if not total:
        return ""
    objects = "" if item.objects_total is None else f", {item.objects_done:,} of {item.objects_total:,} objects"
    return f"{100 * done // total} %{objects}"


class RunLines:
    """The same as lines: one for each change of phase or of a collection, and one now and then in between."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self._told: tuple[object, ...] = ()
        self._told_at = 0.0
        self._counts: object = None
        self._collections: dict[str, str] = {}

    def lines(self, run: Run, now_seconds: float) -> list[str]:
        """Return what is new in an answer, given a clock that goes on in seconds."""
        new = []
        now = run.progress
        phases = tuple(phase.name for phase in at_work(now))
        told = (run.status, run.phase, now.collections_done, now.collections_total, phases)
        counts = tuple(phase.counts for phase in now.phases)
        is_due = counts != self._counts and now_seconds - self._told_at >= _LINE_EVERY_SECONDS
        if told != self._told or is_due:
            self._told, self._told_at, self._counts = told, now_seconds, counts
            new.append(_line(run))
        for item in run.collections:
            name = f"{item.database}.{item.name}"
            if item.status == "failed" and self._collections.get(name) != "failed":
                new.append(f"{run.id}  {name} failed: {item.error}: {item.message}")
            self._collections[name] = item.status
        return new


def _line(run: Run) -> str:
    now = run.progress
    is_running = run.status == "running"
    parts = [run.id, (run.phase if is_running and run.phase else run.status).replace("_", " ")]
    if now.collections_total is not None:
        parts.append(f"{now.collections_done}/{now.collections_total} collections{_others(now)}")
    for phase in at_work(now) if is_running else ():
        name = "" if phase.name == run.phase else f"{phase.name}: "
        parts.append(f"{name}{readable.moving(phase)}")
    return "  ".join(parts)
