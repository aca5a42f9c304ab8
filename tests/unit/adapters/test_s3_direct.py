"""Copies by our own HTTP client are the requests of boto3, and end as boto3's do."""

import re
import socket
import socketserver
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any, BinaryIO, NamedTuple, cast, override
from unittest import mock

import boto3
import pytest
from botocore import session as core
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.credentials import (
    CredentialProvider,
    CredentialResolver,
    Credentials,
    ReadOnlyCredentials,
    RefreshableCredentials,
)
from hypothesis import example, given
from hypothesis import strategies as st

from milvus_vault.adapters import s3 as adapter
from milvus_vault.adapters import s3_direct
from milvus_vault.adapters.s3 import BucketAccess, S3ObjectStore
from milvus_vault.adapters.s3_direct import read_answer
from milvus_vault.errors import (
    StorageAccessDeniedError,
    StorageRequestError,
    StorageThrottledError,
    StorageUnavailableError,
    VaultError,
)
from milvus_vault.model.objects import CopiedObject, CopyClient, CopyItem, CopyJob
from tests.support.certificates import Authority
from tests.support.faults import cases
from tests.unit.adapters.test_s3 import BODIES, ITEM, JOB, RawAnswer, error_body

COPIED = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<CopyObjectResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<LastModified>2026-11-28T10:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag>"
    b"<ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME></CopyObjectResult>"
)
RESULT = CopiedObject("copies/a", "e", "CRC64NVME:AAAAAAAAAAA=")
type Stores = Callable[[int, int], tuple[dict[str, str], tuple[S3ObjectStore, S3ObjectStore]]]
ENGINES: tuple[CopyClient, ...] = ("boto3", "direct")
both = pytest.mark.parametrize("engine", ENGINES)


def wire(status: int = 200, body: bytes = COPIED, **headers: str) -> bytes:
    """Return an answer as it is sent."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Said\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Asked(NamedTuple):
    """A request, as it came."""

    line: str
    headers: dict[str, str]
    connection: int


class Server(socketserver.ThreadingTCPServer):
    """Sends what it is told to, whatever it is asked, and keeps the requests."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, family: socket.AddressFamily = socket.AF_INET) -> None:
        """Listen on this machine."""
        self.address_family = family
        self.asked: list[Asked] = []
        self.answer: Callable[[], bytes] = wire
        self.closes = False
        """Whether connections end with each answer, without a word."""
        self.tls: ssl.SSLContext | None = None
        self._numbers = count()
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        super().__init__((host, 0), _Handler)
        shown = f"[{host}]" if ":" in host else host
        self.address = f"{shown}:{self.server_address[1]}"

    @override
    def get_request(self) -> tuple[socket.socket, Any]:
        """Return a connection; over TLS where that is asked for."""
        connection, address = super().get_request()
        if self.closes:
            # The end comes with the last bytes, so that no client takes the connection for one that goes on.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        return (self.tls.wrap_socket(connection, server_side=True) if self.tls else connection), address

    @override
    def handle_error(self, *_: Any) -> None:
        """Say nothing: clients that go away are part of the tests."""

    def serve(self, connection: BinaryIO, send: Callable[[bytes], object]) -> None:
        """Answer the requests of a connection."""
        number = next(self._numbers)
        while line := connection.readline():
            headers: dict[str, str] = {}
            while (header := connection.readline().decode("latin-1").strip()) != "":
                name, _, value = header.partition(": ")
                assert name.lower() not in headers
                headers[name.lower()] = value
            self.asked.append(Asked(line.decode().strip(), headers, number))
            send(self.answer())
            if self.closes:
                return


class _Handler(socketserver.StreamRequestHandler):
    @override
    def handle(self) -> None:
        cast("Server", self.server).serve(cast("BinaryIO", self.rfile), self.wfile.write)


@contextmanager
def running(family: socket.AddressFamily = socket.AF_INET) -> Iterator[Server]:
    """Run a server."""
    with Server(family) as found:
        thread = Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            found.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token/+=")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server to which the environment leads."""
    with running() as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{found.address}")
        yield found


def connect(engine: CopyClient, **access: BucketAccess) -> S3ObjectStore:
    """Return a store that copies by a client."""
    return S3ObjectStore.connect(buckets=access, copy_client=engine)


class Sent(NamedTuple):
    """What would go over the network."""

    url: str
    headers: Mapping[str, str]

    def signature(self, secret: str) -> str:
        """Return the header that the SDK's signer makes for it."""
        told = self.headers["authorization"]
        key = told.partition("Credential=")[2].partition("/")
        region = key[2].split("/")[1]
        names = told.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        request = AWSRequest("PUT", self.url, headers={name: self.headers[name] for name in names if name != "host"})
        request.context["timestamp"] = self.headers["x-amz-date"]
        signer: Any = S3SigV4Auth(ReadOnlyCredentials(key[0], secret, None), "s3", region)
        text = signer.string_to_sign(request, signer.canonical_request(request))
        signature = signer.signature(text, request)
        signed = ";".join(names)
        return f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={signed}, Signature={signature}"


def by_boto3(store: S3ObjectStore, job: CopyJob, item: CopyItem) -> Sent:
    """Return what boto3 sends for a copy, without what its HTTP client adds."""
    sent: list[Sent] = []

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        headers = {
            name.lower(): value.decode() if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
        }
        sent.append(Sent(request.url, headers))
        return AWSResponse(request.url, 200, HTTPHeaders.from_dict({}), RawAnswer(COPIED))

    handler: Any = send
    events = store.elsewhere.get(job.destination_bucket, store).copier.meta.events
    events.register("before-send.s3", handler)
    try:
        store.copy(job, item)
    finally:
        events.unregister("before-send.s3", handler)
    (found,) = sent
    return found


def by_ours(store: S3ObjectStore, job: CopyJob, item: CopyItem) -> Sent:
    """Return what our client sends for a copy."""
    sent: list[Sent] = []

    def put(self: Any, path: str, headers: Mapping[str, str]) -> Any:
        sent.append(Sent(self._url + path, headers))
        return s3_direct._Answer(200, [], COPIED, may_go_on=True)

    with mock.patch.object(s3_direct._Connections, "put", put):
        store.copy(job, item)
    (found,) = sent
    return found


ARCHIVE = BucketAccess(
    region="eu-west-1", owner="222222222222", kms_key_arn="arn:aws:kms:eu-west-1:222222222222:key/k-1"
)
ACCESSES: tuple[dict[str, BucketAccess], ...] = (
    {},
    {"archive": ARCHIVE, "backups": BucketAccess(owner="111111111111")},
    {"milvus": BucketAccess(owner="333333333333")},
)
ENVIRONMENTS: tuple[dict[str, str], ...] = (
    {},
    {"AWS_USE_FIPS_ENDPOINT": "true"},
    {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
    {"AWS_DEFAULT_REGION": "cn-north-1"},
    {"AWS_DEFAULT_REGION": "ap-east-1", "AWS_SESSION_TOKEN": ""},
    {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"},
    {"AWS_ENDPOINT_URL": "https://s3.example.com:443"},
    {"AWS_ENDPOINT_URL": "https://s3.example.com/with/a%20path"},
    {"AWS_ENDPOINT_URL_S3": "http://[::1]:9000/"},
    {"AWS_LAMBDA_FUNCTION_NAME": "copy", "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"},
)
keys = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    st.text(st.sampled_from("ab/%+ ?#&=.~*'()!:;@$,\\\"<>|^`{}[]\n\x00\x7fé日😀"), min_size=1, max_size=12),
    st.sampled_from(
        ["/a", "//a//", "../a", "a/./b", "a%2Fb", "a%20b", "a+b c", "?x=y", "#f", "k?versionId=1", "ü/日本"]
    ),
)
etags = st.one_of(
    st.sampled_from(["", "e", "0cc175b9c0f1b6a831c399e269772661-12", "a b", "é"]),
    st.from_regex("[!-~]+", fullmatch=True),
)
# Of no other kind than an item can be: what boto3 puts in for each attempt, and what its HTTP client adds.
OF_AN_ATTEMPT = {"amz-sdk-invocation-id", "amz-sdk-request", "x-amz-date", "authorization"}
OF_THE_CLIENT = {"host", "accept-encoding", "content-length"}


@pytest.fixture(scope="module")
def stores() -> Stores:
    """Stores by both clients for each environment and access, made when they are first asked for."""
    made: dict[tuple[int, int], tuple[S3ObjectStore, S3ObjectStore]] = {}

    def find(environment: int, access: int) -> tuple[dict[str, str], tuple[S3ObjectStore, S3ObjectStore]]:
        variables = ENVIRONMENTS[environment]
        if (environment, access) not in made:
            with pytest.MonkeyPatch.context() as patch:
                for name, value in variables.items():
                    patch.setenv(name, value)
                both_made = [connect(engine, **ACCESSES[access]) for engine in ENGINES]
                made[environment, access] = (both_made[0], both_made[1])
        return variables, made[environment, access]

    return find


@cases(150)
@given(
    environment=st.integers(0, len(ENVIRONMENTS) - 1),
    access=st.integers(0, len(ACCESSES) - 1),
    source_bucket=st.sampled_from(["milvus", "backups"]),
    destination_bucket=st.sampled_from(["backups", "archive", "with.dots"]),
    source_key=keys,
    key=keys,
    etag=etags,
)
def test_sends_what_boto3_would_send(
    stores: Stores,
    environment: int,
    access: int,
    source_bucket: str,
    destination_bucket: str,
    source_key: str,
    key: str,
    etag: str,
) -> None:
    variables, (theirs, ours) = stores(environment, access)
    job = CopyJob(source_bucket=source_bucket, destination_bucket=destination_bucket)
    item = CopyItem(source_key, key, 5, etag)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        expected = by_boto3(theirs, job, item)
        if " " in etag or not etag.isascii():
            # What needs to be encoded is left to boto3.
            assert by_boto3(ours, job, item).url == expected.url
            return
        sent = by_ours(ours, job, item)
    assert sent.url == expected.url
    assert {name: value for name, value in sent.headers.items() if name not in OF_AN_ATTEMPT | OF_THE_CLIENT} == {
        name: value for name, value in expected.headers.items() if name not in OF_AN_ATTEMPT | OF_THE_CLIENT
    }
    assert sent.headers["content-length"] == expected.headers.get("content-length", "0")
    # Each of them as the SDK signs it.
    assert sent.headers["authorization"] == sent.signature("secret")
    assert expected.headers["authorization"] == expected.signature("secret")


@both
def test_a_copy_is_one_request(server: Server, engine: CopyClient) -> None:
    assert connect(engine).copy(JOB, ITEM) == RESULT
    (asked,) = server.asked
    assert asked.line == "PUT /backups/copies/a HTTP/1.1"
    assert asked.headers["host"] == server.address
    assert asked.headers["x-amz-copy-source"] == "milvus/files/a"


@cases(100)
@given(
    moment=st.datetimes(datetime(2026, 1, 1), datetime(2099, 12, 31)),  # noqa: DTZ001 - it is written as UTC
    etag=st.from_regex(r"[0-9a-f]{32}(-[0-9]{1,5})?", fullmatch=True),
    quote=st.sampled_from(["&quot;", "&#34;", '"', ""]),
    begin=st.sampled_from(['<?xml version="1.0" encoding="UTF-8"?>\n', "<?xml version='1.0'?>", ""]),
    space=st.sampled_from([' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"', ""]),
    between=st.sampled_from(["", "\n  "]),
    algorithm=st.sampled_from(["CRC64NVME", "CRC32C", "SHA256"]),
)
def test_what_servers_say_of_a_copy_needs_no_boto3(
    moment: datetime, etag: str, quote: str, begin: str, space: str, between: str, algorithm: str
) -> None:
    said = {
        "LastModified": f"{moment.isoformat(timespec='milliseconds')}Z",
        "ETag": f"{quote}{etag}{quote}",
        "ChecksumType": "FULL_OBJECT",
        f"Checksum{algorithm}": "a+/b==",
    }
    members = between.join(f"<{name}>{value}</{name}>" for name, value in said.items())
    body = f"{begin}<CopyObjectResult{space}>{between}{members}{between}</CopyObjectResult>"
    result = s3_direct._result(body.encode())
    assert result["ETag"].strip('"') == etag
    assert result[f"Checksum{algorithm}"] == "a+/b=="


def test_both_send_the_same_over_the_network(server: Server) -> None:
    item = CopyItem("fîles/a b+c%?#", "copies//a b+c%?#/ü", 5, "etag")
    for engine in ENGINES:
        connect(engine).copy(JOB, item)
    theirs, ours = server.asked
    assert ours.line == theirs.line
    assert {k: v for k, v in ours.headers.items() if k not in OF_AN_ATTEMPT} == {
        k: v for k, v in theirs.headers.items() if k not in OF_AN_ATTEMPT
    }


def test_an_address_may_be_one_of_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(socket.AF_INET6) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.address}")
        assert connect("direct").copy(JOB, ITEM) == RESULT
        assert server.asked[0].headers["host"] == server.address


@both
@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, error_body("SlowDown"), StorageThrottledError),
        (200, error_body("InternalError"), StorageUnavailableError),
        (200, b"", StorageUnavailableError),
        (200, COPIED[:-9], StorageUnavailableError),
        (503, error_body("SlowDown"), StorageThrottledError),
        (503, b"", StorageThrottledError),
        (403, error_body("AccessDenied"), StorageAccessDeniedError),
        (400, error_body("InvalidRequest"), StorageRequestError),
    ],
)
def test_what_is_no_copy_is_asked_for_once_and_named(
    server: Server, engine: CopyClient, status: int, body: bytes, error: type[VaultError]
) -> None:
    server.answer = lambda: wire(status, body)
    with pytest.raises(error, match="cannot copy s3://milvus/files/a to s3://backups/copies/a"):
        connect(engine).copy(JOB, ITEM)
    assert len(server.asked) == 1


def framed(body: bytes, how: str) -> bytes:
    """Return an answer's content with what says how long it is."""
    if how == "chunked":
        middle = len(body) // 2
        pieces = [piece for piece in (body[:middle], body[middle:]) if piece]
        chunks = b"".join(f"{len(piece):x};a=b\r\n".encode() + piece + b"\r\n" for piece in pieces)
        return b"Transfer-Encoding: Chunked\r\n\r\n" + chunks + b"0\r\nTrailer: t\r\n\r\n"
    if how == "until the end":
        return b"Connection: close\r\n\r\n" + body
    return f"Content-Length: {len(body) + (3 if how == 'cut off' else 0)}\r\n\r\n".encode() + body


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Return what S3, another server, a proxy or a bad connection may send."""
    body = draw(st.sampled_from([COPIED, *BODIES]) | st.binary(max_size=20))
    for _ in range(draw(st.integers(0, 1))):
        at = draw(st.integers(0, len(body)))
        other = draw(
            st.sampled_from([b"", b"x", b"<", b"</", b"\0", b"<!-- c -->", b"&amp;", b"&#34;", b"<ETag>f</ETag>"])
        )
        body = body[:at] + other + body[at + draw(st.sampled_from([0, 1, 8])) :]
    status = draw(st.sampled_from([200, 200, 200, 200, 202, 204, 301, 307, 400, 403, 404, 409, 412, 429, 500, 503]))
    early = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    head = draw(st.sampled_from([b"HTTP/1.1 %d Said", b"HTTP/1.1 %d", b"HTTP/1.0 %d Said"])) % status
    more = draw(st.sampled_from([b"", b"x-amz-request-id: 1\r\n", b"Last-Modified: never\r\nX:\r\n"]))
    content = framed(body, draw(st.sampled_from(["", "", "chunked", "until the end", "cut off"])))
    whole = early + head + b"\r\n" + more + content
    begins = whole.rindex(b"\r\n\r\n", 0, len(whole) - len(content) + content.index(b"\r\n\r\n") + 4) + 4
    return whole[: draw(st.sampled_from([len(whole), len(whole), draw(st.integers(begins, len(whole)))]))]


def outcome(store: S3ObjectStore) -> CopiedObject | type[VaultError]:
    """Return what a copy returns, or what it raises.

    The hint may be another one: of an answer that is cut off the SDK says sometimes that the connection broke.
    """
    try:
        return store.copy(JOB, ITEM)
    except VaultError as err:
        return type(err)


@pytest.fixture(scope="module")
def closing() -> Iterator[tuple[Server, S3ObjectStore, S3ObjectStore]]:
    """A server that ends each connection, and a store by each client."""
    with running() as found:
        found.closes = True
        session = boto3.session.Session("key", "secret", region_name="us-east-1")
        made = [
            S3ObjectStore.connect(session=session, endpoint_url=f"http://{found.address}", copy_client=engine)
            for engine in ENGINES
        ]
        yield found, made[0], made[1]


@cases(200)
@given(sent=answers())
@example(sent=wire(200, COPIED.replace(b"&quot;", b"&#34;")))
@example(sent=wire(200, COPIED.replace(b"<ETag>", b"<ETag>f</ETag><ETag>")))
@example(sent=wire(200, COPIED.replace(b"<ETag>&quot;e&quot;", b"<ETag>")))
@example(sent=wire(200, b"<!-- c -->" + COPIED))
@example(sent=wire(200, b"\n" + COPIED))
@example(sent=b"HTTP/1.1 400\r\nTransfer-Encoding: Chunked\r\n\r\n1;a=b\r\n\x00\r\n0")
def test_whatever_is_answered_ends_as_with_boto3(
    closing: tuple[Server, S3ObjectStore, S3ObjectStore], sent: bytes
) -> None:
    server, theirs, ours = closing
    server.answer = lambda: sent
    assert outcome(ours) == outcome(theirs)


class _Wire:
    """What `http.client` takes for a socket."""

    def __init__(self, sent: bytes) -> None:
        self._sent = sent

    def makefile(self, *_: object) -> BytesIO:
        """Return what is sent."""
        return BytesIO(self._sent)


@cases(300)
@given(sent=answers())
def test_an_answer_is_read_as_http_client_reads_it(sent: bytes) -> None:
    expected = HTTPResponse(cast("socket.socket", _Wire(sent)), method="PUT")
    try:
        expected.begin()
        theirs = expected.read()
    except (HTTPException, ValueError):
        with pytest.raises(HTTPException):
            read_answer(BytesIO(sent))
        return
    try:
        ours = read_answer(BytesIO(sent))
    except HTTPException:
        # Theirs takes the last chunk for one that is whole.
        assert expected.chunked
        assert sent.endswith(b"\r\n0")
        return
    assert (ours.status, ours.body) == (expected.status, theirs)
    assert ours.may_go_on <= (not expected.will_close)
    for name, value in ours.headers:
        assert value == expected.getheader(name)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\nabc",
    ],
)
def test_what_is_no_answer_is_refused(sent: bytes) -> None:
    with pytest.raises(HTTPException):
        read_answer(BytesIO(sent))


def test_connections_are_used_again(server: Server) -> None:
    store = connect("direct")
    for _ in range(3):
        store.copy(JOB, ITEM)
    assert {asked.connection for asked in server.asked} == {0}


@pytest.mark.parametrize("sent", [wire(Connection="close"), wire().replace(b"HTTP/1.1", b"HTTP/1.0")])
def test_a_connection_that_ends_is_not_used_again(server: Server, sent: bytes) -> None:
    server.answer = lambda: sent
    store = connect("direct")
    for _ in range(3):
        assert store.copy(JOB, ITEM) == RESULT
    assert {asked.connection for asked in server.asked} == {0, 1, 2}


def test_a_connection_that_the_server_closed_meanwhile_is_opened_again(server: Server) -> None:
    server.closes = True
    store = connect("direct")
    for _ in range(3):
        assert store.copy(JOB, ITEM) == RESULT
    assert {asked.connection for asked in server.asked} == {0, 1, 2}


def test_no_more_connections_stay_open_than_were_asked_for(server: Server) -> None:
    store = S3ObjectStore.connect(max_connections=2, copy_client="direct")
    all_here, waiting = Event(), count(1)

    def together() -> bytes:
        if next(waiting) == 5:
            all_here.set()
        assert all_here.wait(10)
        return wire()

    server.answer = together
    threads = [Thread(target=store.copy, args=(JOB, ITEM)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({asked.connection for asked in server.asked}) == 5
    for _ in range(2):
        store.copy(JOB, ITEM)
    assert len({asked.connection for asked in server.asked}) == 5
    assert store.direct is not None
    (connections,) = store.direct._connections.values()
    assert len(connections._idle) == 2


def test_credentials_are_asked_for_each_request(server: Server) -> None:
    given_out = count()

    def refresh() -> dict[str, str]:
        number = next(given_out)
        # Those that end in less than ten minutes are renewed at once.
        until = (datetime.now(UTC) + timedelta(seconds=1 if number < 4 else 7200)).isoformat()
        return {
            "access_key": f"key{number}",
            "secret_key": f"secret{number}",
            "token": f"t{number}",
            "expiry_time": until,
        }

    class Rotating(CredentialProvider):
        METHOD = "rotating"

        def load(self) -> Credentials:
            return RefreshableCredentials.create_from_metadata(refresh(), refresh, "rotating")

    known = core.get_session()
    known.register_component("credential_provider", CredentialResolver([Rotating()]))
    session = boto3.session.Session(botocore_session=known)
    store = S3ObjectStore.connect(session=session, copy_client="direct")
    for _ in range(6):
        store.copy(JOB, ITEM)
    tokens = [asked.headers["x-amz-security-token"] for asked in server.asked]
    assert tokens == sorted(tokens)
    assert len(set(tokens)) > 1
    assert tokens[-1] == tokens[-2]
    for asked in server.asked:
        number = asked.headers["x-amz-security-token"][1:]
        sent = Sent(f"http://{server.address}{asked.line.split()[1]}", asked.headers)
        assert asked.headers["authorization"] == sent.signature(f"secret{number}")


@both
def test_a_bucket_s_role_signs_its_copies(server: Server, monkeypatch: pytest.MonkeyPatch, engine: CopyClient) -> None:
    class Role(CredentialProvider):
        METHOD = "role"

        def __init__(self, *_: object) -> None: ...

        def load(self) -> Credentials:
            return Credentials("assumed", "s", "t")

    monkeypatch.setattr(adapter, "_AssumedRole", Role)
    connect(engine, backups=BucketAccess(role_arn="arn:aws:iam::1:role/r")).copy(JOB, ITEM)
    assert "Credential=assumed/" in server.asked[0].headers["authorization"]


@both
@pytest.mark.usefixtures("server")
def test_without_credentials_nothing_is_sent(monkeypatch: pytest.MonkeyPatch, engine: CopyClient) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(StorageAccessDeniedError, match="Unable to locate credentials"):
        connect(engine).copy(JOB, ITEM)


@both
def test_a_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch, engine: CopyClient) -> None:
    with running() as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://s3.invalid")
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
        assert connect(engine).copy(JOB, ITEM) == RESULT
        assert proxy.asked[0].line == "PUT http://s3.invalid/backups/copies/a HTTP/1.1"
        monkeypatch.setenv("NO_PROXY", "s3.invalid")
        with pytest.raises(StorageUnavailableError):
            connect(engine).copy(JOB, ITEM)
        assert len(proxy.asked) == 1


@both
@pytest.mark.parametrize("is_known", [True, False])
def test_a_server_s_certificate_is_proven(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: CopyClient, *, is_known: bool
) -> None:
    authority = Authority(tmp_path)
    server.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.tls.load_cert_chain(*authority.make("server"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://localhost:{server.server_address[1]}")
    if is_known:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.certificate))
        assert connect(engine).copy(JOB, ITEM) == RESULT
        # It is one of another host.
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://{server.address}")
    with pytest.raises(StorageUnavailableError, match=r"certificate verify failed|doesn't match"):
        connect(engine).copy(JOB, ITEM)


def test_who_does_not_answer_in_time_is_named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    done = Event()

    def answer() -> bytes:
        assert done.wait(10)
        return wire()

    server.answer = answer
    store = connect("direct")
    monkeypatch.setattr(store.copier.meta.config, "read_timeout", 0.05)
    with pytest.raises(StorageUnavailableError, match="Read timeout"):
        store.copy(JOB, ITEM)
    done.set()


@both
def test_who_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch, engine: CopyClient) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StorageUnavailableError, match="Could not connect to the endpoint URL"):
        connect(engine).copy(JOB, ITEM)


@both
def test_a_bucket_in_another_region_is_found_and_remembered(server: Server, engine: CopyClient) -> None:
    def answer() -> bytes:
        is_signed_for_it = "/eu-west-1/s3/" in server.asked[-1].headers["authorization"]
        return wire() if is_signed_for_it else wire(400, moved, x_amz_bucket_region="eu-west-1")

    moved = b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message><Region>eu-west-1</Region></Error>"
    server.answer = answer
    store = connect(engine)
    for _ in range(3):
        assert store.copy(JOB, ITEM) == RESULT
    assert len(server.asked) == 4


def test_each_invocation_is_named_by_its_own_trace(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "copy")
    store = connect("direct")
    for trace in ("Root=1-a", "Root=1-b"):
        monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
        for _ in range(2):
            store.copy(JOB, ITEM)
    assert [asked.headers["x-amzn-trace-id"] for asked in server.asked] == [
        "Root=1-a", "Root=1-a", "Root=1-b", "Root=1-b",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "name", "other"),
    [
        (s3_direct, "_SIGNED", re.compile("another way")),
        (s3_direct.DirectCopies, "_signing_key", lambda *_: b"another key"),
        (s3_direct, "_host", lambda _: "another host"),
    ],
)
def test_what_is_signed_in_another_way_is_left_to_boto3(
    monkeypatch: pytest.MonkeyPatch, where: object, name: str, other: object
) -> None:
    monkeypatch.setattr(where, name, other)
    monkeypatch.setattr(s3_direct._Connections, "put", mock.Mock(side_effect=AssertionError))
    assert by_boto3(connect("direct"), JOB, ITEM).url == "https://backups.s3.amazonaws.com/copies/a"
