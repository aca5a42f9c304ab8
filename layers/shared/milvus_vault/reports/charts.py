"""Bar charts: what the templates draw as SVG."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from milvus_vault.model.readable import shortened

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
