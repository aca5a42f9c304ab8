"""Times as the person at this machine reads them: in its time zone, or by how far they are."""

from collections.abc import Iterable
from datetime import UTC, datetime

from milvus_vault.model import readable


def moment(time: datetime | None) -> str:
    """Return a time in the time zone of this machine, which it names, to the second; a dash for none."""
    return "-" if time is None else time.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def exactly(time: datetime | None) -> str:
    """Return a time in the time zone of this machine, which it names, to the millisecond; a dash for none."""
    if time is None:
        return "-"
    return time.astimezone().strftime(f"%Y-%m-%d %H:%M:%S.{time.microsecond // 1000:03} %Z")


def minute(time: datetime) -> str:
    """Return a time in the time zone of this machine, to the minute."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M")


def zones(times: Iterable[datetime]) -> str:
    """Return the names of this machine's time zone at these times: `CET`, or `CET/CEST`."""
    return "/".join(dict.fromkeys(time.astimezone().strftime("%Z") for time in times))


def roughly(seconds: float) -> str:
    """Return a length of time in its largest unit, such as `3 min`."""
    return " ".join(readable.duration(seconds).split()[:2])


def distance(time: datetime | None, now: datetime | None = None) -> str:
    """Return how far a time is, such as `in 2 h` or `3 s ago`; a dash for none."""
    if time is None:
        return "-"
    seconds = (time - (now or datetime.now(UTC))).total_seconds()
    return f"in {roughly(seconds)}" if seconds > 0 else f"{roughly(-seconds)} ago"
