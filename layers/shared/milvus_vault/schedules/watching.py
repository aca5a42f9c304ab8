"""Whether each schedule's backups come when they should."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from milvus_vault.errors import SettingsError
from milvus_vault.model.base import Model
from milvus_vault.model.resources import BackupSummary
from milvus_vault.model.schedules import StoredSchedule
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
    """When the backup that is missing should have begun, at the latest."""
    found_at: Time


@dataclass(frozen=True, slots=True)
class ScheduleHealth:
    """How a schedule that is on is doing."""

    name: str
    last_success_at: datetime | None
    age: timedelta
    """Since the last success; where there is none, since the schedule was last changed."""
    overdue_since: datetime | None
    """When the backup that is missing should have begun; None where all is well."""


def look_at(
    schedules: Iterable[StoredSchedule], backups: Iterable[BackupSummary], now: datetime
) -> tuple[ScheduleHealth, ...]:
    """Return how the schedules that are on are doing.

    One whose expression cannot be read is left out, since nobody knows when it is due; lists say what is wrong with it.

    Args:
        schedules: All of them.
        backups: All of them, newest first, with what is known of their damage.
        now: How late it is.
    """
    successes: defaultdict[str, list[BackupSummary]] = defaultdict(list)
    for backup in backups:
        if backup.schedule and backup.status == "complete" and not backup.damage:
            successes[backup.schedule].append(backup)
    healths = (_health(stored, successes[stored.name][:_LOOK_BACK], now) for stored in schedules if stored.is_enabled)
    return tuple(health for health in healths if health)


def _health(stored: StoredSchedule, recent: Sequence[BackupSummary], now: datetime) -> ScheduleHealth | None:
    try:
        expression = expression_of(stored)
    except SettingsError:
        return None
    newest = recent[0].created_at if recent else None
    # A backup is listed when it is complete, and counts from when it was begun.
    duration = max((b.finished_at - b.created_at for b in recent if b.finished_at), default=timedelta())
    tolerance = max(_LEAST_TOLERANCE, expression.interval_at(now) * _TOLERANCE_OF_INTERVAL) + duration
    due = expression.newest_due(now - tolerance, stored.changed_at)
    is_overdue = due is not None and (newest is None or newest < due)
    return ScheduleHealth(
        name=stored.name,
        last_success_at=newest,
        age=now - (newest or stored.changed_at),
        overdue_since=due if is_overdue else None,
    )
