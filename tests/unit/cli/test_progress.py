"""What is shown of a run that goes on, at any width: a restore is not done when its copy is."""

import io
from typing import Any

import pytest

from milvus_vault.cli.progress import RunBars, RunLines
from milvus_vault.cli.terminal import HarmlessConsole
from milvus_vault.model.resources import PhaseProgress, Progress, Run, RunCollection, UnitCount
from tests.support.fake_api import run

RUN = "restore-6d7fd0b8-5f1c-4a51-9b2e-2f6f6c4fcb6a"
COPIED = PhaseProgress(
    name="copying",
    counts=(UnitCount(unit="byte", done=1000, total=1000), UnitCount(unit="object", done=56, total=56)),
)
IMPORTING = PhaseProgress(
    name="importing",
    counts=(UnitCount(unit="row", done=450_000, total=1_000_000), UnitCount(unit="job", done=1, total=3)),
    per_second=5000.0, eta_seconds=110.0, eta_from="this run",
)  # fmt: skip
LOADING = PhaseProgress(
    name="loading", counts=(UnitCount(unit="row", done=0, total=1_000_000),), eta_seconds=20.0,
    eta_from="an earlier run",
)  # fmt: skip


def collection(number: int = 0, status: str = "running", **fields: Any) -> RunCollection:
    """Return a collection of a restore whose copy is done."""
    given = {
        "database": "shop", "name": f"orders_{number}", "status": status, "objects_done": 56, "objects_total": 56,
        "bytes_done": 1000, "bytes_total": 1000, "phase": "importing",
    }  # fmt: skip
    return RunCollection.model_validate(given | fields)


def restore(
    *phases: PhaseProgress, collections: tuple[RunCollection, ...] = (collection(),), phase: str = "importing",
    total: int = 2, done: int = 0, running: int = 1, failed: int = 0,
) -> Run:  # fmt: skip
    """Return a restore whose copy is done."""
    now = Progress(
        phases=(COPIED, *phases), collections_total=total, collections_done=done, collections_running=running,
        collections_failed=failed, objects_done=56, objects_total=56, bytes_done=1000, bytes_total=1000,
    )  # fmt: skip
    return run(RUN, "running", phase=phase, backup_name="nightly", progress=now, collections=collections)


def bars(shown: Run, width: int = 80, height: int = 25) -> str:
    """Return what bars show, with the time that has passed as 0 s."""
    made, written = RunBars(), io.StringIO()
    made.update(shown)
    HarmlessConsole(file=written, width=width, height=height, force_terminal=False).print(made)
    first, _, rest = written.getvalue().partition("\n")
    return "\n".join(line.rstrip() for line in (first, *rest.split("\n")))


@pytest.mark.parametrize("phase", ["creating", "importing", "indexing"])
def test_no_bar_is_full_and_no_collection_is_at_100_percent_while_it_goes_on(phase: str) -> None:
    shown = bars(restore(collections=(collection(phase=phase),), phase=phase))
    assert "100 %" not in shown
    assert "56 of 56" not in shown
    assert "copying" not in shown
    assert phase in shown
    (line,) = RunLines().lines(restore(phase=phase), 0)
    assert line == f"{RUN}  {phase}  0/2 collections, 1 at work"


def test_at_80_columns_each_phase_has_a_bar_with_what_moves() -> None:
    at_work = collection(counts=(UnitCount(unit="row", done=5, total=9), UnitCount(unit="job", done=0, total=1)))
    shown = bars(restore(IMPORTING, LOADING, collections=(at_work,)))
    assert shown.split("\n")[1:] == [
        f"  run {RUN}",
        "  collections                      0 of 2, 1 at work",
        "  importing   ━━━━━━━━━            45 %, 450,000 of 1,000,000 rows, 1 of 3 jobs,",
        "                                   5,000 rows/s, 1 min 50 s left",
        "  loading                          0 %, 0 of 1,000,000 rows, 20 s left, as fast",
        "                                   as in an earlier run",
        "  shop.orders_0  running  importing, 5 of 9 rows, 0 of 1 job",
        "  and 1 more: 1 waiting",
        "",
    ]


@pytest.mark.parametrize("width", [40, 50, 80, 120])
def test_nothing_is_lost_at_any_width(width: int) -> None:
    named = collection(
        database="warehouse_of_the_north", name="measurements_by_hour_and_sensor",
        target="warehouse_of_the_north.measurements_restored",
        counts=(UnitCount(unit="row", done=450_000, total=1_000_000), UnitCount(unit="job", done=1, total=3)),
    )  # fmt: skip
    failed = collection(1, "failed", error="RowCountMismatchError", message="wrong")
    shown = bars(restore(IMPORTING, LOADING, collections=(named, failed), failed=1), width, height=50)
    lines = shown.split("\n")
    assert max(map(len, lines)) <= width
    assert "…" not in shown
    words, letters = " ".join(shown.split()), "".join(line.strip() for line in lines)
    for told in (
        RUN, "warehouse_of_the_north.measurements_by_hour_and_sensor", "warehouse_of_the_north.measurements_restored",
        "RowCountMismatchError", "shop.orders_1", "5,000", "rows/s,", "450,000 of 1,000,000 rows, 1 of 3 jobs",
    ):  # fmt: skip
        assert told in words or told.replace(" ", "") in letters.replace(" ", ""), shown


@pytest.mark.parametrize("width", [50, 80])
def test_as_many_collections_are_shown_as_the_screen_has_lines_for(width: int) -> None:
    named = tuple(
        collection(index, database="warehouse_of_the_north", name=f"m{index}_by_hour_and_sensor", target="w" * 60)
        for index in range(10)
    )
    shown = bars(restore(IMPORTING, LOADING, collections=named, total=10, running=10), width, height=24)
    assert len(shown.rstrip("\n").split("\n")) < 24
    assert "m0_by_hour_and_sensor" in shown
    assert "more: " in shown


def test_a_file_has_a_line_for_each_change_of_phase() -> None:
    lines = RunLines()
    (line,) = lines.lines(restore(IMPORTING), 0)
    moving = "450,000 of 1,000,000 rows, 1 of 3 jobs, 5,000 rows/s, 1 min 50 s left"
    assert line == f"{RUN}  importing  0/2 collections, 1 at work  {moving}"
    assert lines.lines(restore(IMPORTING), 1) == []
    moved = IMPORTING.model_copy(update={"counts": (UnitCount(unit="row", done=1, total=2),)})
    assert lines.lines(restore(moved), 2) == []
    assert len(lines.lines(restore(moved), 11)) == 1
    (line,) = lines.lines(restore(moved, LOADING), 12)
    assert line.endswith("loading: 0 of 1,000,000 rows, 20 s left, as fast as in an earlier run")


def test_what_counts_nothing_has_no_bars() -> None:
    shown = bars(run("verify-1", "running", backup_name="b", phase="checking objects one by one", progress=Progress()))
    assert "checking objects one by one" in shown
    assert not any(name in shown for name in ("collections", "objects  ", "copying", "importing", "━"))
    begun = bars(run("backup-1", "running", phase="flushing and listing", progress=Progress(collections_total=2)))
    assert "0 of 2" in begun
    assert "copying" not in begun


def test_of_250_collections_those_that_are_not_shown_are_counted_by_what_they_are() -> None:
    # An answer has a hundred of them, failed ones first.
    told = (
        *(collection(number, "failed", error="ImportFailedError") for number in range(4)),
        *(collection(number) for number in range(4, 30)),
        *(collection(number, "waiting", phase="") for number in range(30, 100)),
    )
    shown = bars(restore(collections=told, total=250, done=20, running=26, failed=4))
    assert "20 of 250, 26 at work, 4 failed" in shown
    assert shown.count("shop.orders_") == 10
    assert "  and 220 more: 20 at work, 200 waiting\n" in shown


def test_collections_are_counted_once() -> None:
    listing = PhaseProgress(name="listing", counts=(UnitCount(unit="collection", done=0, total=4),))
    now = Progress(phases=(listing,), collections_total=4)
    shown = run("backup-1", "running", phase="listing", progress=now)
    assert RunLines().lines(shown, 0) == ["backup-1  listing  0/4 collections"]
    assert bars(shown).count("0 of 4") == 1
