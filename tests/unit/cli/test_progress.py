"""What is shown of a run that goes on: a restore is not done when its copy is."""

import io

import pytest

from milvus_vault.cli.progress import RunBars, RunLines
from milvus_vault.cli.terminal import HarmlessConsole
from milvus_vault.model.resources import Progress, Run, RunCollection
from tests.support.fake_api import run

COPIED = Progress(
    collections_total=2, objects_done=56, objects_total=56, bytes_done=1000, bytes_total=1000
)  # fmt: skip


def restore(phase: str = "importing", collections: int = 1, total: int = 2, **progress: object) -> Run:
    """Return a restore whose copy is done."""
    item = RunCollection(
        database="shop", name="orders", status="running", objects_done=56, objects_total=56, bytes_done=1000,
        bytes_total=1000, phase=phase, import_percent=45 if phase == "importing" and progress else None,
    )  # fmt: skip
    now = COPIED.model_copy(update={"collections_total": total, **progress})
    return run("restore-1", "running", phase=phase, progress=now, collections=[item] * collections)


def bars(shown: Run) -> str:
    """Return what bars show."""
    made, written = RunBars(), io.StringIO()
    made.update(shown)
    HarmlessConsole(file=written, width=80, force_terminal=False).print(made)
    return written.getvalue()


@pytest.mark.parametrize("phase", ["creating", "importing", "indexing and loading"])
def test_no_bar_is_full_and_no_collection_is_at_100_percent_while_it_goes_on(phase: str) -> None:
    shown = bars(restore(phase))
    assert "100%" not in shown
    assert "56 of 56" not in shown
    assert phase in shown
    (line,) = RunLines().lines(restore(phase), 0)
    assert line == f"restore-1  {phase}  0/2 collections"


def test_the_import_is_told_as_milvus_tells_it_with_the_time_that_is_left() -> None:
    now = restore(import_percent=45.4, eta_seconds=90.0)
    assert "45% of 100%" in bars(now)
    assert "1 min 30 s left" in bars(now)
    assert "importing 45%" in bars(now)
    assert RunLines().lines(now, 0) == ["restore-1  importing  0/2 collections  import 45%  1 min 30 s left"]


def test_what_counts_nothing_has_no_bars() -> None:
    shown = bars(run("verify-1", "running", backup_name="b", phase="checking objects one by one", progress=Progress()))
    assert "checking objects one by one" in shown
    assert not any(name in shown for name in ("collections", "objects  ", "data", "import", "━", "-----"))
    begun = bars(run("backup-1", "running", phase="flushing and listing", progress=Progress(collections_total=2)))
    assert "0 of 2" in begun
    assert "data" not in begun


def test_those_that_are_not_in_the_answer_count_among_the_others() -> None:
    assert "and 191 more" in bars(restore(collections=100, total=201))
