"""Milvus' management port (9091): pausing garbage collection."""

from http import HTTPStatus
from typing import Any, override
from urllib.parse import urlencode

from milvus_vault.adapters.endpoints import MANAGEMENT_PORT, Endpoint
from milvus_vault.adapters.http_calls import HttpCalls
from milvus_vault.adapters.milvus_access import NOBODY, MilvusAccess
from milvus_vault.errors import MilvusRequestError
from milvus_vault.ports import GarbageCollector
from milvus_vault.untrusted import read_json

CALL_SECONDS = 5.0

_PATH = "/management/datacoord/garbage_collection/"


class MilvusGarbageCollector(GarbageCollector):
    """The port `GarbageCollector` over HTTP.

    The endpoint asks for no credentials on 2.4 to 2.6, and speaks no TLS. What is in front of it may do both.
    """

    def __init__(self, uri: str, access: MilvusAccess = NOBODY) -> None:
        """Name the endpoint by `http://host:port` or `https://host:port`. Raises `SettingsError`."""
        self._http = HttpCalls(Endpoint.parse(uri, "MilvusManagementUri", port=MANAGEMENT_PORT), access)

    @override
    def pause(self, seconds: int) -> str:
        answer = self._get("pause", pause_seconds=str(seconds))
        return str(answer.get("ticket") or "")

    @override
    def resume(self, ticket: str) -> None:
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
