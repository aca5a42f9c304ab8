"""Numbers, sizes and times as a person reads them."""

from datetime import UTC, datetime

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP = 1024
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def size(size_bytes: float | None) -> str:
    """Return a size with three figures, such as `40.2 MiB`; a dash for none."""
    if size_bytes is None:
        return "-"
    value, unit = float(size_bytes), 0
    while value >= 1000 and unit + 1 < len(_UNITS):  # noqa: PLR2004 - 1,000 would be a fourth figure
        value, unit = value / _STEP, unit + 1
    if unit == 0:
        return f"{value:.0f} B"
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {_UNITS[unit]}"  # noqa: PLR2004 - figures


def count(number: int | None) -> str:
    """Return a number with commas; a dash for none."""
    return "-" if number is None else f"{number:,}"


def duration(seconds: float | None) -> str:
    """Return a length of time in its two largest units, such as `3 min 5 s`; a dash for none."""
    if seconds is None:
        return "-"
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


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


def roughly(seconds: float) -> str:
    """Return a length of time in its largest unit, such as `3 min`."""
    return " ".join(duration(seconds).split()[:2])


def distance(time: datetime | None, now: datetime | None = None) -> str:
    """Return how far a time is, such as `in 2 h` or `3 s ago`; a dash for none."""
    if time is None:
        return "-"
    seconds = (time - (now or datetime.now(UTC))).total_seconds()
    return f"in {roughly(seconds)}" if seconds > 0 else f"{roughly(-seconds)} ago"


def rate(bytes_per_second: float | None) -> str:
    """Return a rate; empty where there is none."""
    return "" if bytes_per_second is None else f"{size(bytes_per_second)}/s"


def number_of(number: int | None, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"
