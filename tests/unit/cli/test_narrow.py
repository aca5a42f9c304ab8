"""At the width of a small terminal nothing is left out and nothing is cut off."""

import io
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from rich.text import Text

from milvus_vault.cli import details, tables
from milvus_vault.cli.following import finish
from milvus_vault.cli.session import Output
from milvus_vault.cli.terminal import HarmlessConsole
from milvus_vault.model.readable import with_reason
from milvus_vault.model.requests import BackupRequest
from milvus_vault.model.resources import BackupSummary, CollectionInfo, RunSummary, Schedule, Stats
from milvus_vault.model.retention import Retention
from tests.support.fake_api import BEGAN, backup, planned, run

NAME = "backup_2026_11_28_03_00_00_1a2b"
RUN = "restore-6d7fd0b8-5f1c-4a51-9b2e-2f6f6c4fcb6a"


def screen(width: int, show: object) -> str:
    """Return what a terminal of a width shows."""
    output = Output()
    written = io.StringIO()
    output.text = HarmlessConsole(file=written, width=width, force_terminal=True, color_system=None, highlight=False)
    assert callable(show)
    output.show(show(output))
    return written.getvalue()


def backups(output: Output) -> object:
    items = [
        BackupSummary.model_validate(
            backup(NAME, schedule="nightly_of_the_shop", expires_at=BEGAN, is_held=True).model_dump(
                include=set(BackupSummary.model_fields)
            )
        )
    ]
    return tables.backups(output, items)


def stats(output: Output) -> object:
    listed = {"object_count": 123_456_789, "size_bytes": 10**15}
    costs = {"stored_bytes": 10**14, "storage_cost_usd_per_month": 2142.0419}
    found = Stats.model_validate(
        {
            **listed,
            "backup_count": 1000,
            "damaged_count": 10,
            "modes": [{"mode": mode, "backup_count": 500, **listed} for mode in ("full", "incremental")],
            "pool": listed,
            "stored": listed,
            "ratio": 10.0,
            "storage_cost_usd_per_month": 2142.0419,
            "schedules": [
                {"schedule": name, "backup_count": 500, **listed, **costs} for name in ("nightly_of_the_shop", None)
            ],
        }
    )
    return details.stats(output, found)


def runs(output: Output) -> object:
    found = run(RUN, "failed", backup_name=NAME, schedule="nightly", error="RowCountMismatchError")
    return tables.runs(output, [RunSummary.model_validate(found.model_dump(include=set(RunSummary.model_fields)))])


def collections(output: Output) -> object:
    info = CollectionInfo(
        database="warehouse_of_the_north", name="measurements_by_hour_and_sensor", row_count=50_000,
        size_bytes=42_000_000,
        object_count=612, segment_count=6, is_loaded=True,
    )  # fmt: skip
    return tables.collections(output, [info])


def plan(output: Output) -> object:
    return details.restore_plan(output, planned(NAME, continues=RUN))


def schedules(output: Output) -> object:
    found = Schedule(
        name="nightly_of_the_warehouse_of_the_north", expression="cron(0 3 ? * MON-FRI *)",
        timezone="America/Argentina/Ushuaia", request=BackupRequest(),
        retention=Retention(keep_daily=7, keep_monthly=12, expire_after="400d"),
        enabled=False, is_deployed=True, last_success_at=BEGAN,
    )  # fmt: skip
    return tables.schedules(output, [found])


def decisions(output: Output) -> object:
    decided = [
        {"name": NAME, "keep": False, "reason": "deleted: older than every rule of the policy of nightly_of_the_shop"},
        {"name": "other", "keep": True, "reason": "kept: newest of day 2026-11-22"},
    ]
    freed = {"backups": [{"name": NAME, "size_bytes": 42_000_000}]}
    return tables.decisions(output, run("prune-1", result={"decisions": decided, "freed": freed, "decision_count": 5}))


@pytest.mark.parametrize("width", [40, 50, 80, 100, 200])
@pytest.mark.parametrize(
    ("show", "shown"),
    [
        (backups, [NAME, "complete", "2026-03-01", "50,000", "40.1 MiB", "nightly_of_the_shop", "ago", "held"]),
        (runs, [RUN, "failed", "2026-03-01", "12 s", NAME, "nightly", "RowCountMismatchError"]),
        (
            decisions,
            [NAME, "older than every rule of the policy of nightly_of_the_shop", "40.1 MiB", "and 3 more backups"],
        ),
        (stats, ["1,000 (500 full, 500 incremental, 10 damaged)", "nightly_of_the_shop", "2,142.0419 USD a month"]),
        (collections, ["warehouse_of_the_north.measurements_by_hour_and_sensor", "50,000", "612", "40.1 MiB", "yes"]),
        (
            plan,
            [
                "default.articles",
                "default.articles_restored",
                "612 objects, 40.1 MiB",
                "about 28 s, by restore-9d1c7a52",
                "indexed, loaded, aliases current",
                "may lack rows, or have halves of upserts",
                RUN,
            ],
        ),
        (
            schedules,
            [
                "nightly_of_the_warehouse_of_the_north",
                "cron(0 3 ? * MON-FRI *)",
                "America/Argentina/Ushuaia",
                "daily 7, monthly 12, for 400d",
                "ago",
                "off, deployed",
            ],
        ),
    ],
)
def test_everything_is_there_at_any_width(width: int, show: object, shown: list[str]) -> None:
    text = screen(width, show)
    for part in shown:
        # A word that is longer than the screen goes on in the next line.
        assert part in " ".join(text.split()) or part in "".join(line.strip() for line in text.splitlines()), text
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width


def test_what_fits_is_a_table() -> None:
    assert screen(200, backups).split()[:3] == ["NAME", "STATUS", "CREATED"]


def test_a_backup_in_full_is_whole_at_80_columns() -> None:
    text = screen(80, lambda output: details.backup(output, backup(NAME, schedule="nightly")))
    assert "…" not in text
    for part in ("49,857", "612", "50,000", "default.articles"):
        assert part in text


def test_a_warning_goes_on_below_its_beginning_with_what_milvus_said_under_it() -> None:
    warning = with_reason(
        "Alias current_articles stays where it is, and is not given to default.articles: another has that name.",
        "CreateAlias default.articles: alias is in use (code 1602)",
    )

    def show(output: Output) -> object:
        finish(output, run("restore-1", backup_name="b", warnings=[warning]))
        return ""

    assert [line.rstrip() for line in screen(50, show).splitlines()[2:7]] == [
        "  ! Alias current_articles stays where it is, and",
        "    is not given to default.articles: another has",
        "    that name.",
        "    Milvus said: CreateAlias default.articles:",
        "    alias is in use (code 1602)",
    ]


CELLS = st.text(st.sampled_from("ab, コü-"), max_size=9).map(str.strip)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=5))
def test_columns_of_a_file_are_those_of_rich(rows: list[tuple[str, str, str]]) -> None:
    headings = ("name", ">rows", "schedule")
    made = Table(box=None, pad_edge=False, show_edge=False)
    for heading in headings:
        made.add_column(
            heading.removeprefix(">").upper(), justify="right" if heading.startswith(">") else "left", no_wrap=True
        )
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    file = io.StringIO()
    Console(file=file, width=1000).print(made)
    drawn, written = file.getvalue().splitlines(), tables._columns(headings, rows).splitlines()
    assert [line.rstrip() for line in drawn] == [line.rstrip() for line in written]


@pytest.fixture
def in_vienna(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this machine be in a time zone with a summer."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_vienna")
def test_people_are_told_of_which_time_zone_times_are_and_scripts_have_the_same_columns() -> None:
    winter = backup("b")
    summer = winter.model_copy(update={"created_at": winter.created_at.replace(year=2026, month=7)})
    winter = winter.model_copy(update={"created_at": winter.created_at.replace(year=2026, month=1)})
    for items, zones in (((winter,), "CET"), ((summer, winter), "CEST/CET")):
        assert f"CREATED ({zones})" in screen(200, lambda output, items=items: tables.backups(output, items))
        assert f"created ({zones}) 2026" in screen(40, lambda output, items=items: tables.backups(output, items))
    plain = tables.backups(Output(), [winter])
    assert isinstance(plain, Text)
    assert plain.plain.split()[:3] == ["NAME", "STATUS", "CREATED"]
    assert plain.plain.split()[3] != "(CET)"
