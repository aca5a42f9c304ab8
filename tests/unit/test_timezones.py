"""Zones by the pinned rules, whatever the machine has."""

import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.timezones import time_zone

SHARED = Path(__file__).parents[2] / "layers" / "shared"


# What 2026a to 2026f changed: offsets in hours, with those of the rules of 2025 behind them.
@pytest.mark.parametrize(
    ("name", "moment", "hours"),
    [
        ("America/Vancouver", "2026-11-28T12:00", -7),  # stays on summer time; -8
        ("America/Edmonton", "2026-11-28T12:00", -6),  # -7
        ("America/Yellowknife", "2026-12-28T12:00", -6),
        ("America/Winnipeg", "2027-01-28T12:00", -5),  # -6
        ("Africa/Casablanca", "2026-11-28T12:00", 0),  # +1
        ("Africa/El_Aaiun", "2026-11-28T12:00", 0),
    ],
)
def test_rules_that_changed_in_2026_are_the_new_ones(name: str, moment: str, hours: int) -> None:
    zone = time_zone(name)

    assert zone is not None
    offset = datetime.fromisoformat(moment).replace(tzinfo=UTC).astimezone(zone).utcoffset()
    assert offset is not None
    assert offset.total_seconds() / 3600 == hours


def test_the_rules_are_those_of_the_layer() -> None:
    assert f"tzdata=={version('tzdata')}\n" in (SHARED / "requirements.txt").read_text()


def test_a_machine_s_own_files_are_not_asked(tmp_path: Path) -> None:
    # The machine has Vancouver an ocean away, as no release of the rules ever did.
    (tmp_path / "America").mkdir()
    source = "import sys, tzdata, pathlib; p = pathlib.Path(tzdata.__file__).parent / 'zoneinfo' / 'Europe' / 'Berlin'"
    copy = f"{source}; pathlib.Path(sys.argv[1]).write_bytes(p.read_bytes())"
    subprocess.run([sys.executable, "-c", copy, tmp_path / "America" / "Vancouver"], check=True)

    ask = (
        "from datetime import UTC, datetime; from milvus_vault.timezones import time_zone; "
        "print(datetime(2026, 11, 28, tzinfo=UTC).astimezone(time_zone('America/Vancouver')).utcoffset())"
    )
    environment = {"PYTHONPATH": str(SHARED), "PYTHONTZPATH": str(tmp_path)}
    asked = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)

    assert asked.stdout == "-1 day, 17:00:00\n"


@given(
    st.text()
    | st.sampled_from(["", ".", "..", "/", "Europe", "tzdata.zi", "__init__.py", "../zones", "\ud800", "a\0b"])
)
def test_any_other_text_is_no_time_zone(name: str) -> None:
    zone = time_zone(name)

    assert zone is None or zone.key == name
