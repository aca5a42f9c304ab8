"""Calls by HTTP to an endpoint of Milvus: one way for REST and for management."""

from typing import Any, NamedTuple

import urllib3

from milvus_vault.adapters.endpoints import Endpoint
from milvus_vault.adapters.milvus_access import MilvusAccess
from milvus_vault.adapters.tls_failures import tls_failure
from milvus_vault.errors import MilvusUnavailableError

CONNECT_SECONDS = 5.0
_CONNECTIONS = 16
_BAD_REQUEST = 400


class HttpAnswer(NamedTuple):
    """What came back."""

    status: int
    content: bytes


class HttpCalls:
    """Calls to one endpoint. Safe to use from several threads."""

    def __init__(self, endpoint: Endpoint, access: MilvusAccess) -> None:
        self.endpoint = endpoint
        self._access = access
        self._headers = {"Content-Type": "application/json"}
        if access.token:
            # Headers are sent as Latin 1, and Milvus reads them as UTF-8.
            self._headers["Authorization"] = f"Bearer {access.token}".encode().decode("latin-1")
        tls: dict[str, Any] = {}
        if endpoint.is_tls:
            tls = {"ssl_context": access.tls.context("http/1.1"), "server_hostname": access.tls.server_name or None}
        self._pool = urllib3.PoolManager(maxsize=_CONNECTIONS, **tls)

    def send(self, method: str, path: str, body: bytes | None = None, *, seconds: float) -> HttpAnswer:
        """Return the answer, whatever its status.

        Raises `MilvusUnavailableError` where there is none, and by name what keeps TLS from coming about.
        """
        # Milvus gives up when we do.
        headers = self._headers | {"Request-Timeout": f"{seconds:.0f}"}
        timeout = urllib3.Timeout(connect=min(CONNECT_SECONDS, seconds), read=seconds)
        try:
            answer = self._pool.request(
                method, self.endpoint.uri + path, body=body, headers=headers, timeout=timeout, retries=False
            )
        except urllib3.exceptions.HTTPError as err:
            failure = tls_failure(self.endpoint, self._access.tls)
            msg = f"{self.endpoint.uri}{path} does not answer: {err}"
            hint = f"Check {self.endpoint.setting}, and that subnets and security groups let the functions reach it."
            raise failure or MilvusUnavailableError(msg, hint=hint) from err
        # Servers written in Go answer so where TLS is expected.
        if answer.status == _BAD_REQUEST and (failure := tls_failure(self.endpoint, self._access.tls)):
            raise failure
        return HttpAnswer(answer.status, answer.data)
