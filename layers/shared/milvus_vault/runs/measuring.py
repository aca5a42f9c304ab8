"""What moves in a phase of a run, how fast, and how long the rest of it takes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from milvus_vault.model.resources import PhaseProgress, UnitCount

# Less says more of how often somebody looked than of how fast it was.
SHORTEST_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase of a run as its working files tell it."""

    name: str
    counts: tuple[UnitCount, ...]
    """The first is what rate and time are of."""
    begun_at: datetime | None = None
    """None: no rate can be told."""
    moved_at: datetime | None = None
    """When the counts were last seen to change; None: they are those of now."""
    begun_with: int = 0
    """How many were done before it began."""
    ended_at: datetime | None = None
    """When they were done, where that is known: then the next run is told how fast it was."""

    @property
    def left(self) -> int | None:
        """Return how many are left; None where that is not known."""
        first = self.counts[0]
        return None if first.total is None else max(0, first.total - first.done)

    def rate(self, now: datetime) -> float | None:
        """Return how many a second were done since it began; None where none were yet."""
        moved = self.counts[0].done - self.begun_with
        if self.begun_at is None or moved <= 0:
            return None
        seconds = ((self.moved_at or now) - self.begun_at).total_seconds()
        return moved / seconds if seconds > 0 else None

    @property
    def pace(self) -> tuple[str, float] | None:
        """Return its name and how many a second were done, for the next run; None where that says nothing."""
        if self.left or self.ended_at is None or self.begun_at is None:
            return None
        moved, seconds = self.counts[0].done - self.begun_with, (self.ended_at - self.begun_at).total_seconds()
        return (self.name, moved / seconds) if moved > 0 and seconds >= SHORTEST_SECONDS else None

    def told(self, now: datetime, pace: float | None = None) -> PhaseProgress:
        """Return what is told of it; `pace` is the rate of an earlier run."""
        if not self.left:
            # A mean over what comes after the phase would say less and less.
            return PhaseProgress(name=self.name, counts=self.counts)
        rate = self.rate(now)
        basis: Literal["this run", "an earlier run"] = "this run" if rate else "an earlier run"
        used = rate or pace
        # Since the counts moved, what is being done now is further on than they say.
        waited = (now - (self.moved_at or now)).total_seconds() if rate else 0
        eta = self.left / used - waited if used else None
        is_known = eta is not None and eta > 0
        return PhaseProgress(
            name=self.name,
            counts=self.counts,
            per_second=rate,
            eta_seconds=eta if is_known else None,
            eta_from=basis if is_known else None,
        )
