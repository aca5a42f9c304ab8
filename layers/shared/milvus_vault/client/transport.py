"""Signed requests to the API, repeated where that is safe."""

import json
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProxyError

from milvus_vault import __version__
from milvus_vault.client.caller import Caller
from milvus_vault.client.problems import error_of
from milvus_vault.client.signing import signature
from milvus_vault.errors import ApiUnavailableError, InvalidRequestError, VaultError

CONNECT_TIMEOUT_SECONDS = 5
# API Gateway gives up after 29 s.
READ_TIMEOUT_SECONDS = 35
_TIMEOUT = urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS)
# As many threads as ask at the same time keep one each.
_CONNECTIONS = 10
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.5
# Who is to wait for longer, by Retry-After, is told so instead.
LONGEST_PAUSE_SECONDS = 30

IDEMPOTENCY_HEADER = "Idempotency-Key"
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_SAFE_METHODS = {"GET", "PUT"}
_PASSING = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
# No connection was made, so nothing was sent. What is wrong with TLS may be the answer.
_NEVER_SENT = (ConnectTimeoutError, NewConnectionError, ProxyError)


def _is_success(answer: urllib3.BaseHTTPResponse) -> bool:
    """Return whether what was asked for was done: the API sends nobody elsewhere, and whoever does is not the API."""
    return HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES


def _passes(status: int, error: VaultError) -> bool:
    """Return whether the same request may be answered in a moment."""
    is_refusal = status == HTTPStatus.BAD_GATEWAY and not isinstance(error, ApiUnavailableError)
    return status in _PASSING and not is_refusal


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return how many seconds an answer asks to wait; 0 where it does not say, or names a time of day."""
    said = headers.get("Retry-After", "")
    return float(said) if re.fullmatch(r"[0-9]{1,9}", said) else 0.0


def _http(url: str) -> urllib3.PoolManager:
    """Return what sends requests to an address: by the proxy that the environment has for it. Raises HTTPError."""
    address = urlsplit(url)
    settings: dict[str, Any] = {"timeout": _TIMEOUT, "maxsize": _CONNECTIONS}
    if address.scheme == "https":
        settings["ca_certs"] = _certificates()
    host = address.hostname or ""
    # A proxy cannot reach this machine's own servers. Hosts that are to have none are named with or without a port, and
    # addresses of IPv6 without brackets.
    is_near = host in _LOOPBACK or proxy_bypass(host) or proxy_bypass(address.netloc)
    proxy = "" if is_near else getproxies().get(address.scheme, "")
    if not proxy:
        return urllib3.PoolManager(**settings)
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    user = urlsplit(proxy)
    if user.username and user.password:
        login = f"{unquote(user.username)}:{unquote(user.password)}"
        settings["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=login)
    return urllib3.ProxyManager(proxy, **settings)


def _certificates() -> str:
    """Return the file of the authorities that a client of boto3 trusts."""
    if chosen := os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE"):
        return chosen
    try:
        import certifi  # noqa: PLC0415 - it need not be there
    except ImportError:
        botocore = find_spec("botocore")
        return str(Path(botocore.origin).with_name("cacert.pem")) if botocore and botocore.origin else ""
    return certifi.where()


def _said(err: HTTPError) -> str:
    """Return what went wrong, without the object of urllib3 that met it, and the login of a proxy."""
    by = "by the proxy that the environment names: " if isinstance(err, ProxyError) else ""
    while isinstance(err.args[-1] if err.args else None, HTTPError):
        err = err.args[-1]
    said = re.sub(r"^HTTPS?Connection(Pool)?\(.*?\): ", "", str(err.args[-1] if err.args else err))
    return by + re.sub(r"//[^/\s]*@", "//***@", said)


class Transport:
    """Sends requests to one API, signed with the caller's AWS credentials."""

    def __init__(
        self,
        url: str,
        caller: Caller,
        *,
        attempts: int = ATTEMPTS,
        pause_seconds: float = FIRST_PAUSE_SECONDS,
        on_repetition: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Describe it; nothing is sent.

        Args:
            url: the stack's output `ApiUrl`.
            caller: whose credentials and Region sign.
            attempts: how often a request is sent at most.
            pause_seconds: before the first repetition; each further pause is twice as long. An answer with Retry-After
                says how long it is at least.
            on_repetition: called with the reason before a request is sent again; of an API that cannot be reached
                once until it answers.
        """
        self.url = url.rstrip("/")
        self._caller = caller
        self._attempts = attempts
        self._pause_seconds = pause_seconds
        self._on_repetition = on_repetition
        self._last_unreachable = ""

    @cached_property
    def _http(self) -> urllib3.PoolManager:
        return _http(self.url)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        idempotency_key: str = "",
        only_reads: bool = False,
    ) -> bytes:
        """Return the body of a successful answer.

        An answer that says that the server is busy, and a broken connection, lead to a repetition where the
        request changes nothing, has an idempotency key, or certainly did not arrive. So does no answer of the API
        itself but 503: with 502 it says that somebody else has refused, who would again.

        Args:
            method: of HTTP.
            path: below the API's URL, beginning with a slash; not yet quoted.
            query: parameters.
            body: JSON document.
            idempotency_key: by which the API knows a repetition.
            only_reads: whether a POST changes nothing.

        Raises:
            ApiAccessDeniedError: no credentials, or the API refuses them.
            ApiUnavailableError: the API cannot be reached, or does not answer as it should.
            VaultError: any leaf that the API names.
        """
        is_repeatable = method in _SAFE_METHODS or bool(idempotency_key) or only_reads
        for attempt in range(self._attempts):
            is_last = attempt + 1 == self._attempts
            pause = self._pause_seconds * 2**attempt * random.uniform(0.5, 1)  # noqa: S311 - no secret
            try:
                answer = self._send(method, path, query or {}, body, idempotency_key)
            except HTTPError as err:
                if is_last or not (is_repeatable or isinstance(err, _NEVER_SENT)):
                    raise self._unreachable(err) from err
                reason = self._unreachable(err).message
                if reason != self._last_unreachable:
                    self._on_repetition(reason)
                self._last_unreachable = reason
            except ValueError:
                # Which it quotes: a secret, perhaps.
                msg = f"the API at {self.url} cannot be asked: something has a character that no header may have"
                hint = "See the AWS credentials, the idempotency key and the proxy of the environment."
                raise InvalidRequestError(msg, hint=hint) from None
            else:
                self._last_unreachable = ""
                if _is_success(answer):
                    return answer.data
                error = error_of(answer.status, answer.data, self.url)
                may_repeat = is_repeatable or answer.status == HTTPStatus.TOO_MANY_REQUESTS
                pause = max(pause, _retry_after(answer.headers))
                if is_last or not may_repeat or not _passes(answer.status, error) or pause > LONGEST_PAUSE_SECONDS:
                    raise error
                self._on_repetition(error.message)
            time.sleep(pause)
        msg = f"{self._attempts} attempts are not at least one"
        raise ValueError(msg)

    def download(self, url: str) -> bytes:
        """Return what lies at an address that needs no signature. Raises ApiUnavailableError."""
        try:
            answer = _http(url).request("GET", url, redirect=False, retries=False)
        except HTTPError as err:
            msg = f"{url} cannot be reached: {_said(err)}"
            raise ApiUnavailableError(msg) from err
        if not _is_success(answer):
            msg = f"{url} answers with status {answer.status}"
            raise ApiUnavailableError(
                msg,
                hint="Such an address works for an hour: get a new one.",
            )
        return answer.data

    def _send(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None, idempotency_key: str
    ) -> urllib3.BaseHTTPResponse:
        url = self.url + quote(path) + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        headers = {"Accept": "application/json", "User-Agent": f"milvus-vault/{__version__}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if idempotency_key:
            headers[IDEMPOTENCY_HEADER] = idempotency_key
        data = b"" if body is None else json.dumps(body).encode()
        headers |= signature(method, url, headers, data, self._caller.credentials(), self._region(), datetime.now(UTC))
        return self._http.request(method, url, headers=headers, body=data or None, redirect=False, retries=False)

    def _region(self) -> str:
        """Return the Region that the address names, as those of API Gateway do, else the caller's."""
        labels = (urlsplit(self.url).hostname or "").split(".")
        if "execute-api" in labels:
            return labels[labels.index("execute-api") + 1]
        return self._caller.region or "us-east-1"

    def _unreachable(self, err: HTTPError) -> ApiUnavailableError:
        return ApiUnavailableError(
            f"the API at {self.url} cannot be reached: {_said(err)}",
            hint="See that the address is right and that this machine can reach it.",
        )
