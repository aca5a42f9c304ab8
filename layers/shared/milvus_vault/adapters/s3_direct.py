"""CopyObject by Python's own HTTP client: the requests that boto3 would send, for a tenth of its processor time.

A backup has one for each object (ADR 48). No rule of S3 is written down here a second time: boto3 prepares one request
of each kind, with its address and all of its headers, and the others are the same but for their keys, their condition,
the time and the signature. Whatever is no plain success is given back to boto3, as if it had received it: what it
means, and whether it is sent elsewhere, is decided there.
"""

from __future__ import annotations

import hmac
import os
import re
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from http.client import BadStatusLine, HTTPException, IncompleteRead, LineTooLong, RemoteDisconnected
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Unpack, cast
from urllib.parse import SplitResult, quote, urlsplit
from uuid import uuid4

from botocore import exceptions as sdk
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.httpsession import create_urllib3_context, get_cert_path
from botocore.utils import get_environ_proxies
from urllib3 import HTTPResponse
from urllib3.util.wait import wait_for_read

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CopyObjectOutputTypeDef, CopyObjectRequestTypeDef, CopySourceTypeDef

ANY_KEY = uuid4().hex
"""The key that a prepared request is about. It is never sent, and needs no encoding."""

# How the SDK signs what is sent as it stands: no session of an Express bucket, no signature for several Regions.
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([^/]+)/s3/aws4_request, SignedHeaders=([^,]+), Signature=[0-9a-f]{64}"
)

# Which of the SDK's attempts a request is. There is one.
_OF_ONE_ATTEMPT = frozenset({"amz-sdk-invocation-id", "amz-sdk-request"})

_SOURCE, _CONDITION = "x-amz-copy-source", "x-amz-copy-source-if-match"
_TIME, _TOKEN, _CONTENT = "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"

_OF_ONE_REQUEST = _OF_ONE_ATTEMPT | {_SOURCE, _CONDITION, _TIME, _TOKEN}
_OF_ONE_OBJECT = frozenset({"Key", "CopySource", "CopySourceIfMatch"})

# A condition as S3's listings give it. Headers know others, which have to be encoded.
_PLAIN = re.compile("[!-~]*")

# An answer with nothing in it that asks for a parser of XML. S3 writes quotes as &quot;, servers in Go as &#34;.
_COPIED = re.compile(
    rb"""(?:<\?xml [^<>]*\?>\s*)?<CopyObjectResult(?: xmlns="[^"<>&]*")?>"""
    rb"""((?:\s*<([A-Za-z0-9]+)>(?:[ -%'-;=?-~]|&quot;|&#34;)*</\2>)+)\s*</CopyObjectResult>\s*"""
)
_MEMBER = re.compile(rb"<([A-Za-z0-9]+)>([^<]*)</")

_NO_MOMENT = "2026-01-01T00:00:00Z"
_MOMENT = re.compile(
    r"20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?Z"
)

_OK = 200
_ELSEWHERE = frozenset({301, 302, 307, 400})
"""After these boto3 may know another Region of the bucket, and prepare other requests."""

_PORTS = {"http": 80, "https": 443}

# Of HTTP/1. The limits are those of http.client.
_NOT_YET = range(100, 200)
_WITHOUT_CONTENT = frozenset({204, 304})
_MAX_LINE, _MAX_HEADERS = 65_536, 100
_MAX_CONTENT = 16 * 1024**2  # an answer has less than a thousandth of it
_EMPTY = frozenset({"\r\n", "\n"})
# The last line may end with the connection, as it may for `http.client`.
_CHUNK = re.compile(r"([0-9A-Fa-f]{1,8})[ \t]*(;.*)?\r?\n?")
_NOTHING, _ANSWER = "the server closed the connection without an answer", "the answer"


type _Kind = tuple[object, ...]


class _PreparedError(Exception):
    """Takes a request out of the SDK, just before it would be sent."""

    def __init__(self, request: AWSPreparedRequest) -> None:
        super().__init__()
        self.request = request


class _Answer(NamedTuple):
    """What came back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    may_go_on: bool
    """Whether the connection may be used for another request."""


def read_answer(content: BinaryIO) -> _Answer:
    """Return the answer to a PUT that a server sends over HTTP/1, as `http.client` reads it, in a fifth of its time.

    Raises `HTTPException` where it is none, or ends early.
    """
    status = 100
    while status in _NOT_YET:
        first = _line(content)
        if not first:
            raise RemoteDisconnected(_NOTHING)
        version, _, rest = first.partition(" ")
        if version not in {"HTTP/1.1", "HTTP/1.0"} or not (rest[:3].isdecimal() and rest[3:4].isspace()):
            raise BadStatusLine(first)
        status = int(rest[:3])
        headers = _headers(content)
    by_name = {name.lower(): value for name, value in headers}
    length = by_name.get("content-length", "")
    may_go_on = version == "HTTP/1.1" and by_name.get("connection", "").lower() != "close"
    if by_name.get("transfer-encoding", "").lower() == "chunked":
        body = b"".join(_chunks(content))
    elif status in _WITHOUT_CONTENT:
        body = b""
    elif length.isascii() and length.isdecimal():
        body = _exactly(content, int(length))
    else:
        body, may_go_on = content.read(), False
    return _Answer(status, headers, body, may_go_on)


def _line(content: BinaryIO) -> str:
    line = content.readline(_MAX_LINE + 1)
    if len(line) > _MAX_LINE:
        raise LineTooLong(_ANSWER)
    return line.decode("latin-1")


def _headers(content: BinaryIO) -> list[tuple[str, str]]:
    """Return what comes before the next empty line."""
    found: list[tuple[str, str]] = []
    while (line := _line(content)) not in _EMPTY:
        name, colon, value = line.partition(":")
        if not colon or len(found) == _MAX_HEADERS:
            msg = f"not a header: {line!r}"
            raise HTTPException(msg)
        found.append((name, value.strip()))
    return found


def _chunks(content: BinaryIO) -> Iterator[bytes]:
    while True:
        line = _line(content)
        found = _CHUNK.fullmatch(line)
        if not found:
            raise BadStatusLine(line)
        size = int(found[1], 16)
        if not size:
            # All is there, whatever follows.
            while _line(content) not in {"", *_EMPTY}:
                pass
            return
        yield _exactly(content, size)
        _line(content)


def _exactly(content: BinaryIO, size: int) -> bytes:
    if size > _MAX_CONTENT:
        msg = f"an answer of {size} bytes"
        raise HTTPException(msg)
    body = content.read(size)
    if len(body) < size:
        raise IncompleteRead(body, size - len(body))
    return body


class _Connections:
    """Connections to one server. As many as are used at a time, and each by one thread; some stay open between."""

    def __init__(self, url: SplitResult, config: Any, tls: ssl.SSLContext | None, max_idle: int) -> None:
        self._url, self._config, self._tls, self._max_idle = f"{url.scheme}://{url.netloc}", config, tls, max_idle
        self._host, self._port = url.hostname or "", url.port or _PORTS[url.scheme]
        self._idle = deque[socket.socket]()

    def put(self, path: str, headers: Mapping[str, str]) -> _Answer:
        """Return the answer to a PUT without content. Raises the SDK's errors where there is none."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        connection, may_go_on = self._take(), False
        try:
            connection.sendall(f"PUT {path} HTTP/1.1\r\n{lines}\r\n".encode("ascii"))
            with connection.makefile("rb") as content:
                answer = read_answer(content)
            may_go_on = answer.may_go_on
        except TimeoutError as err:
            raise sdk.ReadTimeoutError(endpoint_url=self._url, error=err) from err
        except (OSError, HTTPException) as err:
            raise sdk.ConnectionClosedError(endpoint_url=self._url, error=err) from err
        finally:
            if may_go_on and len(self._idle) < self._max_idle:
                self._idle.append(connection)
            else:
                connection.close()
        return answer

    def _take(self) -> socket.socket:
        """Return the connection that was used last, whose server is the least likely to have closed it; or open one."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._open()
            # There is nothing to read before the next request, but that it was closed.
            if not wait_for_read(connection, timeout=0):
                return connection
            connection.close()

    def _open(self) -> socket.socket:
        connection = None
        try:
            connection = socket.create_connection((self._host, self._port), self._config.connect_timeout)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_hostname=self._host)
        except TimeoutError as err:
            failed: Exception = sdk.ConnectTimeoutError(endpoint_url=self._url, error=err)
        except ssl.SSLError as err:
            failed = sdk.SSLError(endpoint_url=self._url, error=err)
        except OSError as err:
            failed = sdk.EndpointConnectionError(endpoint_url=self._url, error=err)
        else:
            connection.settimeout(self._config.read_timeout)
            return connection
        if connection:
            connection.close()
        raise failed


@dataclass(frozen=True, slots=True)
class _Form:
    """What the requests of a kind have in common."""

    url: str
    connections: _Connections
    path: str
    """As it is sent, up to the key."""
    source: str
    """The header that names the source, up to its key."""
    headers: Mapping[str, str]
    """Those that are always the same."""
    signed: tuple[str, ...]
    """The names of all that are signed, in order, but for that of the token."""
    region: str


class DirectCopies:
    """Copies objects as a client of boto3 does. Safe to use from several threads."""

    def __init__(
        self,
        client: S3Client,
        credentials: Callable[[], Credentials | None],
        ca_bundle: str | None,
        max_connections: int,
    ) -> None:
        """Copy as `client` would.

        Args:
            client: Says what is sent and where to, how long is waited, and what an answer means. It has no retries.
            credentials: Returns those of the client, which are asked for each request and so renewed in time.
            ca_bundle: File of certificates that are trusted, instead of the SDK's own.
            max_connections: Those that stay open to a server between two requests.
        """
        self._client, self._credentials, self._ca_bundle = client, credentials, ca_bundle
        self._max_connections = max_connections
        self._lock = threading.Lock()
        self._forms: dict[_Kind, tuple[str, _Form | None]] = {}
        self._connections: dict[tuple[str, str], _Connections] = {}
        self._key: tuple[tuple[str, ...], bytes] = ((), b"")
        self._mine = threading.local()
        handler: Any = self._in_place_of_the_network  # the stubs say that a handler returns nothing
        client.meta.events.register("before-send.s3.CopyObject", handler)

    def copy_object(self, **request: Unpack[CopyObjectRequestTypeDef]) -> CopyObjectOutputTypeDef:
        """Return what the client's `copy_object` does, of which `CopyObjectResult` alone is sure to be there.

        Raises what that raises.
        """
        condition = request.get("CopySourceIfMatch", "")
        form = self._form(request) if _PLAIN.fullmatch(condition) else None
        if form is None:
            return self._client.copy_object(**request)
        path = form.path + quote(request["Key"], safe="/~")
        headers = {**form.headers, _SOURCE: form.source + quote(_source(request)["Key"], safe="/~")}
        if condition:
            headers[_CONDITION] = condition
        self._sign(headers, form, path)
        answer = form.connections.put(path, headers)
        if answer.status == _OK and (result := _result(answer.body)):
            return cast("CopyObjectOutputTypeDef", {"CopyObjectResult": result})
        if answer.status in _ELSEWHERE:
            self._forms.pop(_kind(request), None)
        raw = HTTPResponse(BytesIO(answer.body), preload_content=False)
        self._mine.answer = AWSResponse(form.url, answer.status, HTTPHeaders.from_pairs(answer.headers), raw)
        try:
            return self._client.copy_object(**request)
        finally:
            self._mine.answer = None

    def _in_place_of_the_network(self, request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
        """Give the SDK the answer that is there already; without one it sends the request itself."""
        if getattr(self._mine, "is_preparing", False):
            raise _PreparedError(request)
        answer: AWSResponse | None = getattr(self._mine, "answer", None)
        # Where it is sent again, that is to somewhere else.
        self._mine.answer = None
        return answer

    def _form(self, request: CopyObjectRequestTypeDef) -> _Form | None:
        """Return what all requests of this kind have in common, or None where it takes the client.

        Prepared anew for each invocation, which is named by a header that AWS finds loops by.
        """
        kind, trace = _kind(request), os.environ.get("_X_AMZN_TRACE_ID", "")
        known = self._forms.get(kind)
        if known is None or known[0] != trace:
            with self._lock:
                known = self._forms.get(kind)
                if known is None or known[0] != trace:
                    known = self._forms[kind] = (trace, self._prepare(request))
        return known[1]

    def _prepare(self, request: CopyObjectRequestTypeDef) -> _Form | None:
        sample = cast(
            "CopyObjectRequestTypeDef",
            {**request, "Key": ANY_KEY, "CopySource": {**_source(request), "Key": ANY_KEY}},
        )
        if "CopySourceIfMatch" in request:
            sample["CopySourceIfMatch"] = ANY_KEY
        self._mine.is_preparing = True
        try:
            self._client.copy_object(**sample)
        except _PreparedError as prepared:
            return self._form_of(prepared.request)
        finally:
            self._mine.is_preparing = False
        msg = "unreachable: what is prepared is never sent"
        raise AssertionError(msg)

    def _form_of(self, request: AWSPreparedRequest) -> _Form | None:
        """Return the form of a request, unless it is signed or sent in a way that is not known here."""
        url = urlsplit(request.url)
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        authorization = headers.pop("authorization", "")
        found, credentials = _SIGNED.fullmatch(authorization), self._credentials()
        proxies = get_environ_proxies(self._client.meta.endpoint_url)
        if not (found and credentials) or url.query or url.scheme in proxies:
            return None
        # What the SDK's HTTP client adds.
        headers |= {"host": _host(url), "accept-encoding": "identity", "content-length": "0"}
        names = found[2].split(";")
        made = self._authorization(credentials.get_frozen_credentials(), found[1], url.path, headers, names)
        # What is not signed in the same way here, or would have to be encoded, is left to the SDK.
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            return None
        if made != authorization or not (url.path.endswith(ANY_KEY) and headers[_SOURCE].endswith(ANY_KEY)):
            return None
        return _Form(
            url=f"{url.scheme}://{url.netloc}",
            connections=self._connections_to(url),
            path=url.path.removesuffix(ANY_KEY),
            source=headers[_SOURCE].removesuffix(ANY_KEY),
            headers={name: value for name, value in headers.items() if name not in _OF_ONE_REQUEST},
            signed=tuple(name for name in names if name not in _OF_ONE_ATTEMPT and name != _TOKEN),
            region=found[1],
        )

    def _connections_to(self, url: SplitResult) -> _Connections:
        """Return the connections to a server, which outlast the form."""
        key = (url.scheme, url.netloc)
        if key not in self._connections:
            tls = None
            if url.scheme == "https":
                tls = create_urllib3_context()
                tls.check_hostname = True
                tls.load_verify_locations(self._ca_bundle or get_cert_path(True))
            self._connections[key] = _Connections(url, self._client.meta.config, tls, self._max_connections)
        return self._connections[key]

    def _sign(self, headers: dict[str, str], form: _Form, path: str) -> None:
        """Add the time, the token and the signature."""
        found = self._credentials()
        if found is None:
            raise sdk.NoCredentialsError
        credentials, names = found.get_frozen_credentials(), form.signed
        headers[_TIME] = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        if credentials.token:
            headers[_TOKEN] = credentials.token
            names = tuple(sorted((*names, _TOKEN)))
        headers["authorization"] = self._authorization(credentials, form.region, path, headers, names)

    def _authorization(
        self,
        credentials: ReadOnlyCredentials,
        region: str,
        path: str,
        headers: Mapping[str, str],
        names: Sequence[str],
    ) -> str:
        """Return the header that proves who asks: "Signature Version 4", Amazon S3 API reference."""
        day, signed = headers[_TIME][:8], ";".join(names)
        scope = f"{day}/{region}/s3/aws4_request"
        lines = "".join([f"{name}:{headers[name]}\n" for name in names])
        canonical = f"PUT\n{path}\n\n{lines}\n{signed}\n{headers[_CONTENT]}"
        text = f"AWS4-HMAC-SHA256\n{headers[_TIME]}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        secret_key = credentials.secret_key or ""
        signature = hmac.digest(self._signing_key(secret_key, day, region), text.encode(), "sha256").hex()
        return (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={signed}, Signature={signature}"
        )

    def _signing_key(self, secret_key: str, day: str, region: str) -> bytes:
        """Return the key of a day, which is made once."""
        of, key = self._key
        if of != (secret_key, day, region):
            key = f"AWS4{secret_key}".encode()
            for part in (day, region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key = (secret_key, day, region), key
        return key


def _source(request: CopyObjectRequestTypeDef) -> CopySourceTypeDef:
    return cast("CopySourceTypeDef", request["CopySource"])


def _kind(request: CopyObjectRequestTypeDef) -> _Kind:
    """Return all that a request says but for its keys and its ETag."""
    rest = [(name, value) for name, value in request.items() if name not in _OF_ONE_OBJECT]
    return _source(request)["Bucket"], "CopySourceIfMatch" in request, *rest


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _host(url: SplitResult) -> str:
    """Return the header that names the server, as the SDK signs it."""
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
    return host if url.port in (None, _PORTS[url.scheme]) else f"{host}:{url.port}"


def _result(body: bytes) -> dict[str, str]:
    """Return what S3 says of a copy; nothing where it takes a parser to read it."""
    found = _COPIED.fullmatch(body)
    members = _MEMBER.findall(found[1]) if found else []
    result = {name.decode(): _unquoted(value) for name, value in members}
    is_plain = len(result) == len(members) and _MOMENT.fullmatch(result.get("LastModified", _NO_MOMENT))
    return result if is_plain else {}


def _unquoted(value: bytes) -> str:
    return value.replace(b"&quot;", b'"').replace(b"&#34;", b'"').decode()
