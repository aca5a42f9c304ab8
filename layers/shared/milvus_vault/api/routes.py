"""All routes of the API."""

from typing import Any

from milvus_vault.api import backups, inspection, prunes, restores, runs, schedules
from milvus_vault.api.endpoints import Endpoint, Routes
from milvus_vault.api.openapi import openapi_document

_self = Routes("api")


@_self.get("/openapi.json")
def get_openapi() -> dict[str, Any]:
    """Describe the API: this document."""
    return openapi_document(ENDPOINTS)


ENDPOINTS: tuple[Endpoint, ...] = tuple(
    endpoint
    for routes in (
        backups.routes,
        restores.routes,
        runs.routes,
        prunes.routes,
        schedules.routes,
        inspection.routes,
        _self,
    )
    for endpoint in routes.endpoints
)
