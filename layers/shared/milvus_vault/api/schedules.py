"""Schedules: when backups and drills come by themselves."""

from milvus_vault.api.routing import Paging, Routes
from milvus_vault.api.services import Services
from milvus_vault.backup.prepare import default_name
from milvus_vault.errors import ScheduleManagedError, ScheduleNotFoundError
from milvus_vault.model.requests import ScheduleName
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


@routes.put("/schedules/{name}", errors=[ScheduleManagedError])
def put_schedule(services: Services, name: ScheduleName, body: ScheduleSpec) -> Schedule:
    """Create a schedule, or change all of it. Where nothing differs, nothing is changed."""
    services.export_places.check_copy(default_name(services.now, ""), body.request.copy_to)
    return services.schedules.put(name, body)


@routes.delete("/schedules/{name}", errors=[ScheduleNotFoundError, ScheduleManagedError])
def delete_schedule(services: Services, name: ScheduleName) -> None:
    """Delete a schedule. Its backups stay, and of these only those that expire are still pruned."""
    services.schedules.delete(name)
