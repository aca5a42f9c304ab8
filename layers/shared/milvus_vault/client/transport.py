"""Signed requests to the API, repeated where that is safe."""

import json
import random
import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, ConnectionError, HTTPClientError  # noqa: A004 - botocore's own
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from milvus_vault import __version__
from milvus_vault.client.problems import error_of
from milvus_vault.errors import ApiAccessDeniedError, ApiUnavailableError, VaultError

CONNECT_TIMEOUT_SECONDS = 5
# API Gateway gives up after 29 s.
READ_TIMEOUT_SECONDS = 35
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
# No connection was made, so nothing was sent.
_NEVER_SENT = ConnectionError


def _passes(status: int, error: VaultError) -> bool:
    """Return whether the same request may be answered in a moment."""
    is_refusal = status == HTTPStatus.BAD_GATEWAY and not isinstance(error, ApiUnavailableError)
    return status in _PASSING and not is_refusal


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return how many seconds an answer asks to wait; 0 where it does not say, or names a time of day."""
    said = headers.get("Retry-After", "")
    return float(said) if re.fullmatch(r"[0-9]{1,9}", said) else 0.0


class Transport:
    """Sends requests to one API, signed with the caller's AWS credentials."""

    def __init__(
        self,
        url: str,
        session: boto3.Session,
        *,
        attempts: int = ATTEMPTS,
        pause_seconds: float = FIRST_PAUSE_SECONDS,
        on_repetition: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Describe it; nothing is sent.

        Args:
            url: the stack's output `ApiUrl`.
            session: whose credentials and Region sign.
            attempts: how often a request is sent at most.
            pause_seconds: before the first repetition; each further pause is twice as long. An answer with Retry-After
                says how long it is at least.
            on_repetition: called with the reason before a request is sent again.
        """
        self.url = url.rstrip("/")
        self._session = session
        self._attempts = attempts
        self._pause_seconds = pause_seconds
        self._on_repetition = on_repetition
        # A proxy of the environment cannot reach this machine's own servers.
        host = urlsplit(self.url).hostname or ""
        proxies = {} if host in _LOOPBACK else get_environ_proxies(self.url)
        timeouts: Any = (CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS)  # the stubs know of one number only
        self._http = URLLib3Session(timeout=timeouts, proxies=proxies)

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
                answer = self._http.send(self._signed(method, path, query or {}, body, idempotency_key).prepare())
            except (ConnectionError, HTTPClientError) as err:
                if is_last or not (is_repeatable or isinstance(err, _NEVER_SENT)):
                    raise self._unreachable(err) from err
                reason = self._unreachable(err).message
            else:
                if answer.status_code < HTTPStatus.BAD_REQUEST:
                    return answer.content
                error = error_of(answer.status_code, answer.content, self.url)
                may_repeat = is_repeatable or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS
                pause = max(pause, _retry_after(answer.headers))
                if is_last or not may_repeat or not _passes(answer.status_code, error) or pause > LONGEST_PAUSE_SECONDS:
                    raise error
                reason = error.message
            self._on_repetition(reason)
            time.sleep(pause)
        msg = f"{self._attempts} attempts are not at least one"
        raise ValueError(msg)

    def download(self, url: str) -> bytes:
        """Return what lies at an address that needs no signature. Raises ApiUnavailableError."""
        try:
            answer = self._http.send(AWSRequest(method="GET", url=url).prepare())
        except (ConnectionError, HTTPClientError) as err:
            msg = f"{url} cannot be reached: {err}"
            raise ApiUnavailableError(msg) from err
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            msg = f"{url} answers with status {answer.status_code}"
            raise ApiUnavailableError(
                msg,
                hint="Such an address works for an hour: get a new one.",
            )
        return answer.content

    def _signed(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None, idempotency_key: str
    ) -> AWSRequest:
        url = self.url + quote(path) + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        headers = {"Accept": "application/json", "User-Agent": f"milvus-vault/{__version__}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if idempotency_key:
            headers[IDEMPOTENCY_HEADER] = idempotency_key
        data = None if body is None else json.dumps(body).encode()
        request = AWSRequest(method=method, url=url, headers=headers, data=data)
        try:
            credentials = self._session.get_credentials()
            if credentials is None:
                msg = "there are none"
                raise self._unsigned(msg)
            SigV4Auth(credentials, "execute-api", self._region()).add_auth(request)
        except BotoCoreError as err:
            raise self._unsigned(str(err)) from err
        return request

    def _region(self) -> str:
        """Return the Region that the address names, as those of API Gateway do, else the session's."""
        labels = (urlsplit(self.url).hostname or "").split(".")
        if "execute-api" in labels:
            return labels[labels.index("execute-api") + 1]
        return self._session.region_name or "us-east-1"

    def _unsigned(self, reason: str) -> ApiAccessDeniedError:
        return ApiAccessDeniedError(
            f"cannot sign requests to {self.url} with AWS credentials: {reason}",
            hint="Sign in, for example with 'aws sso login', or choose another `profile`, also by AWS_PROFILE.",
        )

    def _unreachable(self, err: BotoCoreError) -> ApiUnavailableError:
        return ApiUnavailableError(
            f"the API at {self.url} cannot be reached: {err}",
            hint="See that the address is right and that this machine can reach it.",
        )
