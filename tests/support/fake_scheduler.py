"""A Scheduler in memory, and a catalogue that knows one success."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from milvus_vault.model.resources import BackupStatus, BackupSummary
from milvus_vault.model.schedules import DrillSuccess, ScheduleKind, StoredSchedule

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

    def put(
        self,
        name: str,
        *,
        expression: str,
        timezone: str,
        is_enabled: bool,
        request: str,
        kind: ScheduleKind = "backup",
    ) -> None:
        """Keep a schedule."""
        self.changes += 1
        self.kept[name] = StoredSchedule(name, expression, timezone, is_enabled, request, self.now, kind)

    def delete(self, name: str) -> bool:
        """Forget a schedule."""
        return self.kept.pop(name, None) is not None

    def spoil(self, name: str, request: str) -> None:
        """Give a schedule another input."""
        self.kept[name] = replace(self.kept[name], request=request)


def backup(schedule: str, begun: datetime, minutes: int = 0, status: BackupStatus = "complete") -> BackupSummary:
    """Return a backup of a schedule that took some minutes."""
    return BackupSummary(
        name="a",
        status=status,
        created_at=begun,
        finished_at=begun + timedelta(minutes=minutes),
        size_bytes=0,
        object_count=0,
        collection_count=0,
        row_count=0,
        milvus_version="2.5.0",
        schedule=schedule,
    )


@dataclass(frozen=True)
class FakeSuccesses:
    """What the catalogue knows of schedules."""

    newest: dict[str, datetime] = field(default_factory=dict)

    drills: dict[str, DrillSuccess] = field(default_factory=dict)
    looks: list[set[str]] = field(default_factory=list)
    """Of which schedules it was asked, look by look."""

    def newest_complete(self, schedules: Collection[str]) -> dict[str, BackupSummary]:
        """Return the newest success of each schedule."""
        self.looks.append(set(schedules))
        return {name: backup(name, begun) for name, begun in self.newest.items() if name in schedules}

    def drill_successes(self, schedules: Collection[str]) -> dict[str, DrillSuccess]:
        """Return the newest drill of each schedule that succeeded."""
        return {name: drill for name, drill in self.drills.items() if name in schedules}
