"""Whether each schedule's backups come when they should."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from milvus_vault.errors import SettingsError
from milvus_vault.model.base import Model
from milvus_vault.model.resources import BackupSummary, Page
from milvus_vault.model.schedules import StoredSchedule
from milvus_vault.model.times import Time
from milvus_vault.schedules.expressions import expression_of

# Scheduler may be late, Milvus may be slow: not every delay is worth an e-mail.
_LEAST_TOLERANCE = timedelta(minutes=30)
_TOLERANCE_OF_INTERVAL = 0.1
_LOOK_BACK = 10


class History(Protocol):
    """The catalogue, as far as it is asked for a schedule's backups."""

    def list(self, limit: int, token: str | None, schedule: str | None = None) -> Page[BackupSummary]:
        """Return a page of backups, newest first."""

    def last_success(self, schedule: str) -> datetime | None:
        """Return when the newest backup of a schedule was begun that is complete and not known to be damaged."""


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


def look_at(schedules: Iterable[StoredSchedule], history: History, now: datetime) -> tuple[ScheduleHealth, ...]:
    """Return how the schedules that are on are doing.

    One whose expression cannot be read is left out, since nobody knows when it is due; lists say what is wrong with it.
    """
    return tuple(found for stored in schedules if stored.is_enabled and (found := _health(stored, history, now)))


def _health(stored: StoredSchedule, history: History, now: datetime) -> ScheduleHealth | None:
    try:
        expression = expression_of(stored)
    except SettingsError:
        return None
    listed = history.list(_LOOK_BACK, None, schedule=stored.name).items
    recent = [backup for backup in listed if backup.status == "complete" and not backup.damage]
    newest = recent[0].created_at if recent else history.last_success(stored.name)
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
