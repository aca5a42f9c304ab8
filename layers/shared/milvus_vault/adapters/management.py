"""Milvus' management port (9091): pausing garbage collection."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from milvus_vault.adapters.endpoints import MANAGEMENT_PORT, Endpoint
from milvus_vault.adapters.http_calls import HttpCalls
from milvus_vault.adapters.milvus_access import NOBODY, MilvusAccess
from milvus_vault.errors import MilvusRequestError
from milvus_vault.untrusted import read_json

CALL_SECONDS = 5.0

_PATH = "/management/datacoord/garbage_collection/"


class MilvusGarbageCollector:
    """The port `GarbageCollector` over HTTP.

    The endpoint asks for no credentials on 2.4 to 2.6, and speaks no TLS. What is in front of it may do both.
    """

    def __init__(self, uri: str, access: MilvusAccess = NOBODY) -> None:
        """Name the endpoint by `http://host:port` or `https://host:port`. Raises `SettingsError`."""
        self._http = HttpCalls(Endpoint.parse(uri, "MilvusManagementUri", port=MANAGEMENT_PORT), access)

    def pause(self, seconds: int) -> str:
        """Pause garbage collection, and return the pause's ticket; empty where there is one pause for all.

        The pause ends by itself. Raises `MilvusUnavailableError` where the endpoint does not answer, and
        `MilvusRequestError` where it cannot pause (2.3 has no such call).
        """
        answer = self._get("pause", pause_seconds=str(seconds))
        return str(answer.get("ticket") or "")

    def resume(self, ticket: str) -> None:
        """End the pause of a ticket, or the one for all.

        Raises `MilvusUnavailableError` or `MilvusRequestError`: a ticket that has ended is refused.
        """
        self._get("resume", **({"ticket": ticket} if ticket else {}))

    def _get(self, call: str, **query: str) -> dict[str, Any]:
        path = f"{_PATH}{call}" + (f"?{urlencode(query)}" if query else "")
        url = f"{self._http.endpoint.uri}{path}"
        answer = self._http.send("GET", path, seconds=CALL_SECONDS)
        if answer.status != HTTPStatus.OK:
            cannot = answer.status == HTTPStatus.NOT_FOUND
            hint = "Milvus 2.2 and 2.3 cannot pause; set `gc_pause: false`." if cannot else ""
            msg = f"{url} answers {answer.status}"
            raise MilvusRequestError(msg, hint=hint)
        try:
            content = read_json(answer.content.decode())
        except ValueError as err:
            msg = f"{url} answers with something that is not Milvus'"
            raise MilvusRequestError(msg, hint="Check MilvusManagementUri.") from err
        return content if isinstance(content, dict) else {}
