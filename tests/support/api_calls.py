"""Calls of the API on a local stack, signed as API Gateway asks for."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.clients import REGION


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case."""
    text: str

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.text)

    @property
    def is_problem(self) -> bool:
        """Whether it is an error as RFC 9457 has it."""
        return self.headers["content-type"] == "application/problem+json"


def call(
    api_url: str,
    method: str,
    path: str,
    body: object = None,
    *,
    headers: Mapping[str, str] | None = None,
    signed: bool = True,
) -> Answer:
    """Send a request; a body that is text is sent as it is, any other as JSON."""
    data = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    url = urlsplit(api_url + path)
    request = AWSRequest(method, url.geturl(), headers=dict(headers or {}), data=data)
    if signed:
        SigV4Auth(Credentials("test", "test"), "execute-api", REGION).add_auth(request)
    connection = http.client.HTTPConnection(url.netloc, timeout=30)
    try:
        target = f"{url.path}?{url.query}" if url.query else url.path
        connection.request(method, target, body=data, headers=dict(request.headers))
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read().decode())
    finally:
        connection.close()
