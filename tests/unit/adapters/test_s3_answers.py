"""What is read quickly of S3's answers is what the SDK reads of them."""

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

import botocore.handlers
import pytest
from botocore import session as core
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.adapters.s3_answers import read_listings_quickly, read_times_quickly, take_contents, time_of
from milvus_vault.errors import StorageUnavailableError
from tests.support.faults import cases
from tests.unit.adapters.test_s3 import RawAnswer

XMLNS = "http://s3.amazonaws.com/doc/2006-03-01/"
OBJECT = (
    "<Contents><Key>a/b</Key><LastModified>2026-11-28T01:02:03.000Z</LastModified><ETag>&quot;e&quot;</ETag>"
    "<Size>5</Size><StorageClass>STANDARD</StorageClass></Contents>"
)


def listing(*inside: str, attributes: str = f' xmlns="{XMLNS}"') -> bytes:
    """Return the answer of a listing."""
    head = "<Name>b</Name><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult{attributes}>{head}{"".join(inside)}'
        f"</ListBucketResult>".encode()
    )


class Server:
    """Two clients, as the SDK makes them and with our readers, and what both are answered."""

    def __init__(self, attempts: int) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.asked = 0
        plain, quick = core.Session(), core.Session()
        read_times_quickly(quick)
        self.plain, self.quick = self._client(plain, attempts), self._client(quick, attempts)
        read_listings_quickly(self.quick.meta.events)

    def _client(self, session: core.Session, attempts: int) -> Any:
        config = Config(retries={"mode": "standard", "total_max_attempts": attempts})
        client = session.create_client(
            "s3", "eu-central-1", config=config, aws_access_key_id="test", aws_secret_access_key="test"
        )

        def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
            status, body = self.answers[min(self.asked, len(self.answers) - 1)]
            self.asked += 1
            return AWSResponse(request.url, status, HTTPHeaders.from_dict({}), RawAnswer(body))

        handler: Any = send  # the stubs say that a handler returns nothing
        client.meta.events.register("before-send.s3.ListObjectsV2", handler)
        return client

    def outcome(self, client: Any, *answers: tuple[int, bytes]) -> tuple[object, int]:
        """Return what a client makes of these answers, or how it fails, and how often it asks."""
        self.answers, self.asked = list(answers), 0
        try:
            found: Any = client.list_objects_v2(Bucket="b", Prefix="p")
        except (ClientError, ResponseParserError, ValueError, TypeError, AttributeError, LookupError) as err:
            # Some messages have the whole answer, and some addresses in memory.
            return (type(err), re.sub("0x[0-9a-f]+", "", str(err)[:60])), self.asked
        del found["ResponseMetadata"]
        for one in found.get("Contents", ()):
            # A text that comes twice is a list of elements, which are equal to none.
            lists = {name for name, value in one.items() if isinstance(value, list) and name != "ChecksumAlgorithm"}
            one.update(dict.fromkeys(lists, "twice"))
        return found, self.asked


@pytest.fixture(scope="module")
def server() -> Server:
    """The two clients, which take a while to make, without retries: those end after some hundred failures."""
    return Server(1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no retry wait."""
    monkeypatch.setattr("time.sleep", lambda _: None)


# All characters that XML takes, and some of those that it does not.
CHARACTERS = st.characters(codec="utf-8") | st.sampled_from("\t\n\r\x01 %+&<>\"'/\ufffe]")
TEXTS = st.text(CHARACTERS, max_size=8)
# Milliseconds since 1970.
MOMENTS = st.integers(0, 4 * 10**12).map(lambda number: datetime.fromtimestamp(number / 1000, UTC))
TIMES = st.one_of(
    MOMENTS.map(lambda time: f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"),
    MOMENTS.map(lambda time: f"{time:%Y-%m-%dT%H:%M:%S}Z"),
    MOMENTS.map(lambda time: format_datetime(time, usegmt=True)),
    st.sampled_from(
        [
            "2026-11-28T01:02:03.123456789Z",
            "2026-11-28T01:02:03+01:00",
            "2026-11-28T01:02:03",
            "Sat, 28 Nov 2026 01:02:03 GMT",
            "1795827723",
            "1795827723.5",
            "2026-11-31T01:02:03Z",
            "2026-11-28T25:02:03Z",
            "2026-11-28T01:02:03.00zZ",
            "never",
            "",
        ]
    ),
)


@st.composite
def elements(draw: st.DrawFn) -> str:
    """Return an object of a listing, with what servers send, and with what they should not."""
    key = draw(TEXTS)
    members = [
        f"<Key>{escape(draw(st.sampled_from([quote_plus(key, safe='/'), key])))}</Key>",
        f"<LastModified>{draw(TIMES)}</LastModified>",
        f"<ETag>{draw(st.sampled_from(['&quot;e&quot;', 'e', '', '<b/>']))}</ETag>",
        f"<Size>{draw(st.sampled_from(['0', '5', '5', '-1', '', 'x', ' 7 ', '9' * 30]))}</Size>",
        f"<StorageClass>{draw(st.sampled_from(['STANDARD', 'GLACIER', '']))}</StorageClass>",
        "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm>",
        "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>",
        "<ChecksumType>FULL_OBJECT</ChecksumType>",
        "<Owner><ID>id</ID><DisplayName>name</DisplayName><Other/></Owner>",
        "<Owner/>",
        "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>",
        f"<RestoreStatus><RestoreExpiryDate>{draw(TIMES)}</RestoreExpiryDate></RestoreStatus>",
        "<Unknown>text<More/></Unknown>",
        "<!-- a comment -->",
    ]
    # Most objects are as they should be.
    chosen = members[:5] if draw(st.integers(0, 3)) else draw(st.lists(st.sampled_from(members), max_size=8))
    return f"<Contents>{draw(st.sampled_from(['', chr(10) + '  '])).join(['', *chosen])}</Contents>"


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Return what may come instead of a listing, and listings."""
    inside = draw(
        st.lists(elements() | st.just("<CommonPrefixes><Prefix>a%2Fb/</Prefix></CommonPrefixes>"), max_size=4)
    )
    attributes = draw(st.sampled_from([f' xmlns="{XMLNS}"', "", ' xmlns="urn:{other}"', ' xmlns:x="urn:x"']))
    body = listing(*inside, attributes=attributes)
    others = [b"", body[: draw(st.integers(0, len(body)))], b"<Error><Code>SlowDown</Code></Error>", b"<html/>"]
    return body if draw(st.integers(0, 3)) else draw(st.sampled_from(others))


@cases(150)
@given(body=bodies(), status=st.sampled_from([200, 200, 200, 204, 403, 500, 503]))
def test_a_listing_is_what_the_sdk_reads_of_it(server: Server, body: bytes, status: int) -> None:
    assert server.outcome(server.quick, (status, body)) == server.outcome(server.plain, (status, body))


@pytest.mark.parametrize(
    "broken",
    [listing(OBJECT)[:-9], b"<Error><Code>InternalError</Code><Message>m</Message></Error>", listing("\x01")],
    ids=["cut off", "an error", "no XML"],
)
def test_an_answer_that_is_none_is_asked_for_again(broken: bytes) -> None:
    server = Server(3)
    found, asked = server.outcome(server.quick, (200, broken), (200, listing(OBJECT)))

    assert asked == 2
    assert isinstance(found, dict)
    assert [one["Key"] for one in found["Contents"]] == ["a/b"]


def test_the_sdk_reads_nothing_of_the_objects_themselves(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[bytes] = []

    def look(_: int, body: bytes) -> bool:
        looked_at.append(body)
        return False

    monkeypatch.setattr(botocore.handlers, "_looks_like_special_case_error", look)
    found, _ = server.outcome(server.quick, (200, listing(OBJECT, OBJECT)))

    assert isinstance(found, dict)
    assert len(found["Contents"]) == 2
    assert [b"Contents" in body for body in looked_at] == [False]


def test_what_is_of_no_object_stays_in_the_body() -> None:
    assert take_contents(listing("<KeyCount>0</KeyCount>")) is None
    taken = take_contents(listing(OBJECT, "<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>", OBJECT))
    assert taken is not None
    assert b"CommonPrefixes" in taken[0]
    assert b"Contents" not in taken[0]
    assert len(taken[1]) == 2


@cases(300)
@given(TIMES)
def test_a_time_is_what_the_sdk_reads_of_it(text: str) -> None:
    try:
        expected = parse_timestamp(text)
    except ValueError:
        with pytest.raises(ValueError, match=r".*"):
            time_of(text)
        return
    assert time_of(text) == expected
    assert (time_of(text).tzinfo is None) == (expected.tzinfo is None)


def test_a_time_of_another_service_may_be_a_number() -> None:
    assert time_of(1795827723.5) == datetime.fromtimestamp(1795827723.5, UTC)
    assert time_of("2026-11-28T01:02:03+01:00") == datetime(2026, 11, 28, 1, 2, 3, tzinfo=timezone(timedelta(hours=1)))


def test_the_sdk_s_own_reading_of_times_is_not_needed_for_what_s3_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milvus_vault.adapters.s3_answers.parse_timestamp", None)

    expected = datetime(2026, 11, 28, 1, 2, 3, tzinfo=UTC)
    sent = ("2026-11-28T01:02:03.000Z", "2026-11-28T01:02:03Z", "Sat, 28 Nov 2026 01:02:03 GMT")
    assert [time_of(text) for text in sent] == [expected] * 3


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> S3ObjectStore:
    """A store that reaches no server."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return S3ObjectStore.connect(endpoint_url="http://127.0.0.1:1")


def answer(store: S3ObjectStore, body: bytes, **headers: str) -> None:
    """Let all calls of a store be answered so."""

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        return AWSResponse(request.url, 200, HTTPHeaders.from_dict(headers), RawAnswer(body))

    handler: Any = send
    store.client.meta.events.register("before-send.s3", handler)


def test_a_store_reads_quickly(store: S3ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.parsers.DEFAULT_TIMESTAMP_PARSER", None)
    monkeypatch.setattr("botocore.handlers._looks_like_special_case_error", lambda _, body: b"<Contents" in body)
    time = datetime(2026, 11, 28, 1, 2, 3, tzinfo=UTC)
    answer(store, listing(OBJECT), **{"Last-Modified": "Sat, 28 Nov 2026 01:02:03 GMT"})

    assert [(one.key, one.modified_at) for one in store.list_objects("b", "")] == [("a/b", time)]
    assert store.modified_at("b", "a/b") == time


@pytest.mark.parametrize("body", [b"", b"<html>a proxy</html>", b"<ListBucketResult/>"])
def test_an_answer_that_says_nothing_of_its_end_is_no_empty_listing(store: S3ObjectStore, body: bytes) -> None:
    answer(store, body)

    for listed in (store.list_objects("b", "p/"), store.list_folders("b", "p/"), store.list_uploads("b", "p/")):
        with pytest.raises(StorageUnavailableError, match=r"cannot list.*the answer has no IsTruncated"):
            list(listed)
