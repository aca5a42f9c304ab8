"""All routes of the API."""

from functools import lru_cache
from typing import Any

from milvus_vault.api import backups, drills, exports, inspection, prunes, restores, runs, schedules, stats
from milvus_vault.api.openapi import openapi_document
from milvus_vault.api.routing import Caller, Html, Route, Routes

_self = Routes("api")


@lru_cache(maxsize=4)
def _document(api_url: str) -> dict[str, Any]:
    """Return the document, which takes seconds to make, once for each address at which the API is reached."""
    return openapi_document(ROUTES, api_url)


@_self.get("/openapi.json")
def get_openapi(caller: Caller) -> dict[str, Any]:
    """Describe the API: this document."""
    return _document(caller.api_url)


@_self.get("/docs")
def get_docs(caller: Caller) -> Html:
    """Describe the API to people: the same as a page, without scripts and without anything from elsewhere.

    Whoever asks for it has to sign as for every other route, which no browser does by itself: `milvus-vault console`
    shows the same page.
    """
    # No other route makes a page, and the template engine takes its time to be imported.
    from milvus_vault.reports.openapi import api_page  # noqa: PLC0415

    return Html(api_page(_document(caller.api_url)).decode())


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
