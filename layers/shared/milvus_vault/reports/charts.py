"""Charts: what the templates draw as SVG."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from milvus_vault.model.readable import shortened, size

MAX_BARS = 10

# What fits beside the value on a telephone.
_LABEL_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar."""

    name: str
    """In full."""
    label: str
    """As much of the name as there is room for."""
    value: str
    percent: float
    """Length, of the longest bar's."""


@dataclass(frozen=True, slots=True)
class Chart:
    """The largest of some named amounts, largest first."""

    title: str
    bars: Sequence[Bar]

    @property
    def summary(self) -> str:
        """Return what the chart shows, for those who cannot see it."""
        return "; ".join(f"{bar.name}: {bar.value}" for bar in self.bars)


def bar_chart(what: str, amounts: Iterable[tuple[str, int]], text: Callable[[int], str]) -> Chart | None:
    """Return a chart of the ten largest amounts, or None where all are zero.

    Args:
        what: What is measured, for the title: `Largest collections by <what>`.
        amounts: Names and amounts.
        text: Writes an amount.
    """
    largest = sorted((item for item in amounts if item[1] > 0), key=lambda item: (-item[1], item[0]))[:MAX_BARS]
    if not largest:
        return None
    longest = largest[0][1]
    bars = [
        Bar(name, shortened(name, _LABEL_LENGTH), text(amount), max(round(100 * amount / longest, 2), 0.5))
        for name, amount in largest
    ]
    return Chart(f"Largest collections by {what}", bars)


# Of the place that there is for a backup, its column takes so much.
_COLUMN_SHARE = 0.7

COLUMN_HEIGHT = 110
"""Of the tallest column, in pixels."""


@dataclass(frozen=True, slots=True)
class Column:
    """A backup: a tall column for all that it holds, and a part of it for what was copied."""

    name: str
    begun_at: datetime
    size_bytes: int
    copied_size_bytes: int
    left_percent: float
    width_percent: float
    height: float
    """In pixels, as the next."""
    copied_height: float


@dataclass(frozen=True, slots=True)
class History:
    """What some backups hold and what they copied, oldest first."""

    columns: Sequence[Column]

    @property
    def summary(self) -> str:
        """Return what the chart shows, for those who cannot see it."""
        of_each = f"the largest holds {size(self.largest_bytes)}"
        return f"{size(self.size_bytes)} in all, of which {size(self.copied_size_bytes)} were copied; {of_each}"

    @property
    def size_bytes(self) -> int:
        """Return what all of them hold, each by itself."""
        return sum(column.size_bytes for column in self.columns)

    @property
    def copied_size_bytes(self) -> int:
        """Return what was copied for all of them."""
        return sum(column.copied_size_bytes for column in self.columns)

    @property
    def largest_bytes(self) -> int:
        """Return the size of the largest."""
        return max(column.size_bytes for column in self.columns)


def history_chart(backups: Iterable[tuple[str, datetime, int, int]]) -> History | None:
    """Return a chart of backups, or None where there is nothing to compare: fewer than two, or none with a byte.

    Args:
        backups: Of each its name, when it was begun, its bytes, and those that were copied for it.
    """
    given = sorted(backups, key=lambda backup: backup[1])
    largest = max((size for _, _, size, _ in given), default=0)
    if len(given) < 2 or not largest:  # noqa: PLR2004 - two can be compared
        return None
    place = 100 / len(given)
    return History(
        [
            Column(
                name,
                begun_at,
                size,
                copied,
                round(number * place, 3),
                round(place * _COLUMN_SHARE, 3),
                _height(size, largest),
                _height(copied, largest),
            )
            for number, (name, begun_at, size, copied) in enumerate(given)
        ]
    )


def _height(amount: int, largest: int) -> float:
    """Return how tall a column is; what is there at all can be seen."""
    return max(round(COLUMN_HEIGHT * amount / largest, 1), 1.5) if amount else 0


@dataclass(frozen=True, slots=True)
class Mark:
    """A backup on a line of time."""

    name: str
    at: datetime
    is_kept: bool
    reason: str
    left_percent: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """Backups on a line of time, and which of them stay."""

    marks: Sequence[Mark]
    """Those that stay last, since they are drawn above the others."""
    begin: datetime
    end: datetime


# So that the last mark, some pixels wide, is within the picture at any width.
_LINE_PERCENT = 98.5


def timeline(backups: Iterable[tuple[str, datetime, bool, str]], end: datetime) -> Timeline | None:
    """Return a chart of backups by the time at which they were begun, or None where there are none.

    Args:
        backups: Of each its name, when it was begun, whether it stays, and why.
        end: Where the line ends, if no backup is later.
    """
    given = sorted(backups, key=lambda backup: (backup[2], backup[1]))
    if not given:
        return None
    begin = min(at for _, at, _, _ in given)
    end = max(end, *(at for _, at, _, _ in given))
    length = (end - begin).total_seconds() or 1.0
    marks = [
        Mark(name, at, is_kept, reason, round(_LINE_PERCENT * (at - begin).total_seconds() / length, 2))
        for name, at, is_kept, reason in given
    ]
    return Timeline(marks, begin, end)
