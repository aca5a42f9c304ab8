"""A schedule as EventBridge Scheduler keeps it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class StoredSchedule:
    """What Scheduler knows of a schedule; `request` is the input that it starts the backup machine with."""

    name: str
    expression: str
    timezone: str
    is_enabled: bool
    request: str
    changed_at: datetime
    """When it was created or last changed, UTC."""
