"""The policies of the schedules that exist, from the only place where schedules are kept."""

from pydantic import ValidationError

from milvus_vault.model.requests import BackupRequest, ScheduleTag
from milvus_vault.model.schedules import StoredSchedule
from milvus_vault.ports import Scheduler


def schedule_policies(scheduler: Scheduler) -> dict[str, ScheduleTag]:
    """Return time zone and retention of each schedule, by its name.

    One whose input cannot be read has no retention: then nothing of it is deleted. Raises
    `ServiceUnavailableError` and `ServiceRequestError`.
    """
    found = [scheduler.find(name) for name in scheduler.names()]
    return {stored.name: _tag(stored) for stored in found if stored}


def _tag(stored: StoredSchedule) -> ScheduleTag:
    try:
        tag = BackupRequest.model_validate_json(stored.request).schedule
    except ValidationError:
        tag = None
    retention = tag.retention if tag else None
    return ScheduleTag(name=stored.name, timezone=stored.timezone, retention=retention)
