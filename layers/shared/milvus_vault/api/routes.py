"""All routes of the API."""

from typing import Any

from milvus_vault.api import backups, drills, exports, inspection, prunes, restores, runs, schedules, stats
from milvus_vault.api.openapi import openapi_document
from milvus_vault.api.routing import Route, Routes

_self = Routes("api")


@_self.get("/openapi.json")
def get_openapi() -> dict[str, Any]:
    """Describe the API: this document."""
    return openapi_document(ROUTES)


ROUTES: tuple[Route, ...] = tuple(
    route
    for some in (
        backups.routes,
        restores.routes,
        exports.routes,
        drills.routes,
        runs.routes,
        prunes.routes,
        schedules.routes,
        inspection.routes,
        stats.routes,
        _self,
    )
    for route in some.routes
)
