"""Times are told in UTC, whatever time zone they came in, and by one module."""

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.model.times import utc_millisecond, utc_minute, utc_second

PACKAGE = Path(__file__).parents[2] / "layers" / "shared" / "milvus_vault"
NOON = datetime(2027, 1, 31, 12, 0, 5, 250_000, tzinfo=timezone(timedelta(hours=2)))


def test_a_time_is_told_as_what_it_is_in_utc() -> None:
    assert utc_second(NOON) == "2027-01-31 10:00:05 UTC"
    assert utc_minute(NOON) == "2027-01-31 10:00 UTC"
    assert utc_millisecond(NOON) == "2027-01-31 10:00:05.250 UTC"


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(9000, 1, 1)), st.integers(-14, 14))  # noqa: DTZ001
def test_the_time_zone_changes_nothing(time: datetime, hours: int) -> None:
    moment = time.replace(tzinfo=UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=hours)))
    for text in (utc_second, utc_minute, utc_millisecond):
        assert text(elsewhere) == text(moment)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_else_calls_a_time_utc(path: Path) -> None:
    """A format with ` UTC` behind it says so of any time: of a person's own time zone as well."""
    if path.name != "times.py":
        assert not re.search(r"%[MSf][^\n]*UTC", path.read_text())
