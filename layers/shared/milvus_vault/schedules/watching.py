"""Whether each schedule's backups, or its drills, come when they should."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from milvus_vault.errors import SettingsError
from milvus_vault.model.base import Model
from milvus_vault.model.resources import BackupSummary
from milvus_vault.model.schedules import DrillSuccess, ScheduleKind, StoredSchedule
from milvus_vault.model.times import Time
from milvus_vault.schedules.expressions import expression_of

# Scheduler may be late, Milvus may be slow: not every delay is worth an e-mail.
_LEAST_TOLERANCE = timedelta(minutes=30)
_TOLERANCE_OF_INTERVAL = 0.1
_LOOK_BACK = 10


class Overdue(Model):
    """What is remembered of a schedule that is overdue, until it is well again."""

    schedule: str
    due_at: Time
    """When the backup or drill that is missing should have begun, at the latest."""
    found_at: Time


@dataclass(frozen=True, slots=True)
class ScheduleHealth:
    """How a schedule that is on is doing."""

    name: str
    last_success_at: datetime | None
    age: timedelta
    """Since the last success; where there is none, since the schedule was last changed."""
    overdue_since: datetime | None
    """When the backup or drill that is missing should have begun; None where all is well."""
    kind: ScheduleKind = "backup"


def look_at(
    schedules: Iterable[StoredSchedule],
    backups: Iterable[BackupSummary],
    drills: Mapping[str, DrillSuccess],
    now: datetime,
) -> tuple[ScheduleHealth, ...]:
    """Return how the schedules that are on are doing.

    One whose expression cannot be read is left out, since nobody knows when it is due; lists say what is wrong with it.

    Args:
        schedules: All of them.
        backups: All of them, newest first, with what is known of their damage.
        drills: The newest of each schedule that succeeded.
        now: How late it is.
    """
    complete: defaultdict[str, list[_Success]] = defaultdict(list)
    for backup in backups:
        if backup.schedule and backup.status == "complete" and not backup.damage:
            complete[backup.schedule].append(_Success(backup.created_at, backup.finished_at or backup.created_at))

    def recent(stored: StoredSchedule) -> Sequence[_Success]:
        if stored.kind == "backup":
            return complete[stored.name][:_LOOK_BACK]
        drill = drills.get(stored.name)
        return [_Success(drill.begun_at, drill.ended_at)] if drill else []

    healths = (_health(stored, recent(stored), now) for stored in schedules if stored.is_enabled)
    return tuple(health for health in healths if health)


class _Success(NamedTuple):
    begun_at: datetime
    ended_at: datetime


def _health(stored: StoredSchedule, recent: Sequence[_Success], now: datetime) -> ScheduleHealth | None:
    """Return how a schedule is doing, by its newest successes, the newest first."""
    try:
        expression = expression_of(stored)
    except SettingsError:
        return None
    newest = recent[0].begun_at if recent else None
    # A success is known when it has ended, and counts from when it was begun.
    duration = max((success.ended_at - success.begun_at for success in recent), default=timedelta())
    tolerance = max(_LEAST_TOLERANCE, expression.interval_at(now) * _TOLERANCE_OF_INTERVAL) + duration
    due = expression.newest_due(now - tolerance, stored.changed_at)
    is_overdue = due is not None and (newest is None or newest < due)
    return ScheduleHealth(
        name=stored.name,
        last_success_at=newest,
        age=now - (newest or stored.changed_at),
        overdue_since=due if is_overdue else None,
        kind=stored.kind,
    )
