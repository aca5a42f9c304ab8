"""A Scheduler in memory, and a catalogue that knows one success."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from milvus_vault.model.schedules import StoredSchedule

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class FakeScheduler:
    """The port `Scheduler`; `now` is when a change is made, `changes` counts them."""

    now: datetime = EPOCH
    kept: dict[str, StoredSchedule] = field(default_factory=dict)
    changes: int = 0

    def names(self) -> list[str]:
        """Return all names, in no order."""
        return list(self.kept)

    def find(self, name: str) -> StoredSchedule | None:
        """Return a schedule."""
        return self.kept.get(name)

    def put(self, name: str, *, expression: str, timezone: str, is_enabled: bool, request: str) -> None:
        """Keep a schedule."""
        self.changes += 1
        self.kept[name] = StoredSchedule(name, expression, timezone, is_enabled, request, self.now)

    def delete(self, name: str) -> bool:
        """Forget a schedule."""
        return self.kept.pop(name, None) is not None

    def spoil(self, name: str, request: str) -> None:
        """Give a schedule another input."""
        self.kept[name] = replace(self.kept[name], request=request)


@dataclass(frozen=True)
class FakeSuccesses:
    """What the catalogue knows of schedules."""

    newest: dict[str, datetime] = field(default_factory=dict)

    def last_success(self, schedule: str) -> datetime | None:
        """Return the newest success of a schedule."""
        return self.newest.get(schedule)
