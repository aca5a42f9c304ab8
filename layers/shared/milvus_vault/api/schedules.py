"""Schedules: when backups and drills come by themselves."""

from milvus_vault.api.routing import Paging, Routes
from milvus_vault.api.services import Services
from milvus_vault.backup.prepare import default_name
from milvus_vault.errors import BackupNotFoundError, ScheduleManagedError, ScheduleNotFoundError
from milvus_vault.model.requests import DrillRequest, ScheduleName
from milvus_vault.model.resources import Page, Schedule, ScheduleSpec

routes = Routes("schedules")


@routes.get("/schedules")
def get_schedules(services: Services, query: Paging) -> Page[Schedule]:
    """List the schedules, by name."""
    return services.schedules.list(query.limit, query.token)


@routes.get("/schedules/{name}", errors=[ScheduleNotFoundError])
def get_schedule(services: Services, name: ScheduleName) -> Schedule:
    """Tell what a schedule does, when it will next, and when it last did."""
    return services.schedules.get(name)


@routes.put("/schedules/{name}", errors=[ScheduleManagedError, BackupNotFoundError, ScheduleNotFoundError])
def put_schedule(services: Services, name: ScheduleName, body: ScheduleSpec) -> Schedule:
    """Create a schedule, or change all of it. Where nothing differs, nothing is changed.

    Drills of a backup that is not there, or of a schedule that neither is there nor has left a backup, are refused,
    unless the schedule is to be off, or has that drill already: what it drilled may have been deleted since.
    """
    services.export_places.check_copy(default_name(services.now, ""), body.request.copy_to)
    if body.drill is not None and body.enabled and not _has(services, name, body.drill):
        _check_drill(services, body.drill)
    return services.schedules.put(name, body)


@routes.delete("/schedules/{name}", errors=[ScheduleNotFoundError, ScheduleManagedError])
def delete_schedule(services: Services, name: ScheduleName) -> None:
    """Delete a schedule. Its backups stay, and of these only those that expire are still pruned."""
    services.schedules.delete(name)


def _has(services: Services, name: str, drill: DrillRequest) -> bool:
    return services.schedules.exists(name) and services.schedules.get(name).drill == drill


def _check_drill(services: Services, drill: DrillRequest) -> None:
    name, schedule = drill.backup_name, drill.newest_of
    if name is not None:
        services.check_backup(name)
    if schedule is None or services.schedules.exists(schedule):
        return
    if schedule not in services.catalogue.newest_complete({schedule}):
        msg = f"there is no schedule '{schedule}' whose backups could be drilled, and no backup of one of that name"
        near = services.schedules.near(schedule)
        raise ScheduleNotFoundError(msg, hint=near or "Make that schedule first. Names are case sensitive.")
