"""Times as people read them: in UTC, and saying so, whatever time zone they came in."""

from datetime import UTC, datetime


def utc_second(time: datetime) -> str:
    """Return a time to the second: `2026-11-28 03:00:02 UTC`."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def utc_minute(time: datetime) -> str:
    """Return a time to the minute: `2026-11-28 03:00 UTC`."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def utc_millisecond(time: datetime) -> str:
    """Return a time to the millisecond: `2026-11-28 03:00:02.125 UTC`."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"
