"""How numbers, lengths of time and names are written in reports."""

from datetime import timedelta

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
_STEP = 1024


def count_text(number: int) -> str:
    """Return a whole number with its thousands set apart by commas."""
    return f"{number:,}"


def bytes_text(number: float) -> str:
    """Return a number of bytes in the binary unit that leaves one to four digits before the point."""
    if number < _STEP:
        return f"{number:,.0f} B"
    power = 1
    # Rounded, since 1023.96 KiB would be written as 1,024.0 KiB.
    while round(number / _STEP**power, 1) >= _STEP and power < len(_UNITS):
        power += 1
    return f"{number / _STEP**power:,.1f} {_UNITS[power - 1]}"


def duration_text(duration: timedelta) -> str:
    """Return a length of time in its two largest units; below a minute in seconds with a decimal place."""
    total = duration.total_seconds()
    if total < 59.95:  # noqa: PLR2004 - what is not rounded to 60.0
        return f"{total:.1f} s"
    minutes, seconds = divmod(round(total), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s"


def share_text(part: int, whole: int) -> str:
    """Return a part in per cent of the whole; of nothing, a dash."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def rate_text(size_bytes: int, duration: timedelta) -> str:
    """Return bytes per second; a dash where no time went by."""
    seconds = duration.total_seconds()
    return f"{bytes_text(size_bytes / seconds)}/s" if seconds > 0 else "-"


def short_text(text: str, length: int) -> str:
    """Return a text cut to `length` characters, with an ellipsis for its middle: names often differ at their ends."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"
