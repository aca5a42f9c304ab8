"""Milvus' hybrid timestamps: milliseconds since 1970 in the upper bits, a counter in the lower 18."""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from milvus_vault.model.times import EPOCH, utc_millisecond

LOGICAL_BITS = 18

HybridTimestamp = Annotated[int, Field(ge=0, lt=2**64)]
"""What Milvus can have, whose timestamps are unsigned and of 64 bits: times until the year 4199. 0: none."""

_MILLISECOND = timedelta(milliseconds=1)


def from_milliseconds(milliseconds: int) -> int:
    """Return the first timestamp of a millisecond."""
    return milliseconds << LOGICAL_BITS


def milliseconds(timestamp: int) -> int:
    """Return the milliseconds since 1970 of a timestamp, without its counter."""
    return timestamp >> LOGICAL_BITS


def at_whole_millisecond(timestamp: int) -> int:
    """Return the first timestamp of the millisecond in which one lies: what every version's import can be told."""
    return from_milliseconds(milliseconds(timestamp))


def from_datetime(when: datetime) -> int:
    """Return the first timestamp of the millisecond in which a time lies. Raises `OverflowError` before 1970."""
    count = (when - EPOCH) // _MILLISECOND
    if count < 0:
        msg = f"{when} is before 1970, when hybrid timestamps begin"
        raise OverflowError(msg)
    return from_milliseconds(count)


def as_datetime(timestamp: int) -> datetime:
    """Return the time of a timestamp, UTC, to the millisecond. Raises `OverflowError` after the year 9999."""
    return EPOCH + milliseconds(timestamp) * _MILLISECOND


def as_datetime_or_none(timestamp: int) -> datetime | None:
    """Return the time of a timestamp, or None for the 0 that stands for none."""
    return as_datetime(timestamp) if timestamp else None


def as_text(timestamp: int) -> str:
    """Return a timestamp as people read it: `2026-11-28 03:00:02.125 UTC`."""
    return utc_millisecond(as_datetime(timestamp))
