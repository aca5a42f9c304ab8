"""Times as documents and requests have them, and as people read them: in UTC, whatever time zone they came in."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Python's own ends are in 1 and 9999, and in another zone, or a day on, they are no longer times.
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)


def check_time(time: datetime) -> datetime:
    """Return a time that has a zone. Raises `ValueError` for one before 1970 or after 9998, in UTC."""
    if not EPOCH <= time < _LATEST:
        msg = "should be a time from 1970 to 9998"
        raise ValueError(msg)
    return time


Time = Annotated[AwareDatetime, AfterValidator(check_time)]
"""A time that has a zone, and with which one can reckon: the type of every time that is read from anywhere."""


def utc_day(time: datetime) -> str:
    """Return the day of a time: `2026-11-28`."""
    return f"{time.astimezone(UTC):%Y-%m-%d}"


def utc_second(time: datetime) -> str:
    """Return a time to the second: `2026-11-28 03:00:02 UTC`."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def utc_minute(time: datetime) -> str:
    """Return a time to the minute: `2026-11-28 03:00 UTC`."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def utc_millisecond(time: datetime) -> str:
    """Return a time to the millisecond: `2026-11-28 03:00:02.125 UTC`."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"
