"""Times are told in UTC, whatever time zone they came in, and by one module."""

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from milvus_vault.model.hybrid import from_datetime
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.model.resources import Hold
from milvus_vault.model.times import utc_millisecond, utc_minute, utc_second
from milvus_vault.model.words import wrong_fields

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


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00", "9998-12-31T23:59:59-01:00"],
)
def test_a_time_that_nobody_can_reckon_with_is_refused_where_it_comes_in(text: str) -> None:
    for model, members in ((Hold, {"until": text}), (RestoreRequest, {"backup_name": "b", "as_of": text})):
        with pytest.raises(ValidationError) as caught:
            model.model_validate(members)
        assert [words for _, words in wrong_fields(caught.value)] == ["should be a time from 1970 to 9998"]


@pytest.mark.parametrize("text", ["1970-01-01T00:00:00Z", "9998-12-31T23:59:59.999999Z", "9998-12-31T12:00:00-11:59"])
def test_a_time_between_can_be_reckoned_with(text: str) -> None:
    hold = Hold.model_validate({"until": text})
    assert hold.until is not None
    assert utc_minute(hold.until + timedelta(days=1))
    assert from_datetime(hold.until) >= 0


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_else_calls_a_time_utc(path: Path) -> None:
    """A format with ` UTC` behind it says so of any time: of a person's own time zone as well."""
    if path.name != "times.py":
        assert not re.search(r"%[MSf][^\n]*UTC", path.read_text())
