"""A schedule as EventBridge Scheduler keeps it, and what is remembered of its drills."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from milvus_vault.model.base import Model
from milvus_vault.model.times import Time

type ScheduleKind = Literal["backup", "drill"]
"""What a schedule starts: the machine of this name."""


@dataclass(frozen=True, slots=True)
class StoredSchedule:
    """What Scheduler knows of a schedule; `request` is the input that it starts the machine of its kind with."""

    name: str
    expression: str
    timezone: str
    is_enabled: bool
    request: str
    changed_at: datetime
    """When it was created or last changed, UTC."""
    kind: ScheduleKind = "backup"


class DrillSuccess(Model):
    """The newest drill of a schedule that succeeded.

    Kept by itself: what is known of a drill with its backup goes with that.
    """

    schedule: str
    run: str
    """ID of the run."""
    begun_at: Time
    ended_at: Time
