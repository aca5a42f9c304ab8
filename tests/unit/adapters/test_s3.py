"""How answers of S3 that no test server gives become our errors."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http.client import IncompleteRead
from itertools import cycle
from typing import Any, NamedTuple

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st
from mypy_boto3_s3 import S3Client
from urllib3.exceptions import ProtocolError

from milvus_vault.adapters import s3 as adapter
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.copying.parts import MIB
from milvus_vault.errors import (
    BucketNotFoundError,
    ObjectArchivedError,
    ObjectChangedError,
    ObjectNotFoundError,
    StorageAccessDeniedError,
    StorageRequestError,
    StorageThrottledError,
    StorageUnavailableError,
    VaultError,
)
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.objects import BucketSettings, CopiedObject, CopyItem, CopyJob, UnfinishedUpload
from tests.support.faults import cases

NOW = datetime(2026, 11, 28, tzinfo=UTC)
JOB = CopyJob(source_bucket="milvus", destination_bucket="backups")
ITEM = CopyItem("files/a", "copies/a", 5, "etag")


class RawAnswer:
    """The body of an answer, as botocore reads it; with `broken`, the connection breaks at its end."""

    def __init__(self, body: bytes, broken: Exception | None = None) -> None:
        """Hold the body."""
        self._body, self._broken = body, broken

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        """Yield the body."""
        yield self.read()

    def read(self, amount: int | None = None) -> bytes:
        """Return the body, or so much of it, once, then nothing."""
        amount = len(self._body) if amount is None else amount
        if self._broken is not None and len(self._body) <= amount:
            raise self._broken
        body, self._body = self._body[:amount], self._body[amount:]
        return body

    def close(self) -> None:
        """Do nothing: there is no connection."""


class Sent(NamedTuple):
    """What a server sends."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {"ETag": '"e"'}
    broken: Exception | None = None


def answer(client: S3Client, operation: str, *answers: tuple[int, bytes] | Sent) -> list[str]:
    """Let a client get these answers in place of a server's, and return a list of the URLs that it asks for."""
    waiting, asked = [Sent(*found) for found in answers], list[str]()

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        asked.append(request.url)
        sent = waiting.pop(0)
        raw = RawAnswer(sent.body, sent.broken)
        return AWSResponse(request.url, sent.status, HTTPHeaders.from_dict(sent.headers), raw)

    handler: Any = send  # the stubs say that a handler returns nothing
    client.meta.events.register(f"before-send.s3.{operation}", handler)
    return asked


def error_body(code: str) -> bytes:
    """Return what S3 sends with an error."""
    return f"<Error><Code>{code}</Code><Message>The reason.</Message></Error>".encode()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> S3ObjectStore:
    """A store that must not reach any server."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    return S3ObjectStore.connect()


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("SlowDown", 503, StorageThrottledError),
        ("ServiceUnavailable", 503, StorageThrottledError),
        ("503", 503, StorageThrottledError),
        ("RequestTimeout", 400, StorageThrottledError),
        ("TooManyRequests", 429, StorageThrottledError),
        ("KMS.ThrottlingException", 400, StorageThrottledError),
        ("InternalError", 500, StorageUnavailableError),
        ("502", 502, StorageUnavailableError),
        ("NoSuchUpload", 404, StorageUnavailableError),
        ("OperationAborted", 409, StorageUnavailableError),
        ("AccessDenied", 403, StorageAccessDeniedError),
        ("403", 403, StorageAccessDeniedError),
        ("ExpiredToken", 400, StorageAccessDeniedError),
        ("SignatureDoesNotMatch", 403, StorageAccessDeniedError),
        ("KMS.DisabledException", 400, StorageAccessDeniedError),
        ("NoSuchBucket", 404, BucketNotFoundError),
        ("NoSuchKey", 404, ObjectNotFoundError),
        ("404", 404, ObjectNotFoundError),
        ("PreconditionFailed", 412, ObjectChangedError),
        ("InvalidObjectState", 403, ObjectArchivedError),
        ("ObjectNotInActiveTierError", 403, ObjectArchivedError),
        ("PermanentRedirect", 301, StorageRequestError),
        ("NotImplemented", 501, StorageRequestError),
        ("InvalidRequest", 400, StorageRequestError),
    ],
)
def test_names_what_an_answer_means(store: S3ObjectStore, code: str, status: int, error: type[VaultError]) -> None:
    with Stubber(store.copier) as stub:
        stub.add_client_error("copy_object", code, "the reason", status)

        with pytest.raises(error, match=f"s3://milvus/files/a to s3://backups/copies/a: {code} the reason") as caught:
            store.copy(JOB, ITEM)

    assert caught.value.hint
    assert caught.value.__cause__ is not None


def test_sends_the_condition_and_returns_etag_and_checksum(store: S3ObjectStore) -> None:
    with Stubber(store.copier) as stub:
        stub.add_response(
            "copy_object",
            {"CopyObjectResult": {"ETag": '"copied"', "ChecksumCRC64NVME": "AAAAAAAAAAA="}},
            {
                "Bucket": "backups",
                "Key": "copies/a",
                "CopySource": {"Bucket": "milvus", "Key": "files/a"},
                "CopySourceIfMatch": "etag",
                "TaggingDirective": "REPLACE",
                "AnnotationDirective": "EXCLUDE",
            },
        )

        assert store.copy(JOB, ITEM) == CopiedObject("copies/a", "copied", "CRC64NVME:AAAAAAAAAAA=")


def test_reads_the_checksum_that_s3_made_by_itself(store: S3ObjectStore) -> None:
    with Stubber(store.client) as stub:
        stub.add_response(
            "head_object",
            {"ETag": '"e"', "ChecksumCRC64NVME": "AAAAAAAAAAA=", "ChecksumType": "FULL_OBJECT"},
            {"Bucket": "milvus", "Key": "files/a", "IfMatch": '"e"', "ChecksumMode": "ENABLED"},
        )

        assert store.checksum("milvus", "files/a", "e") == "CRC64NVME:AAAAAAAAAAA="


def test_a_copy_in_parts_has_the_checksum_of_the_whole(store: S3ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "MAX_SINGLE_COPY_BYTES", 1)
    part = {"Bucket": "backups", "Key": "copies/a", "UploadId": "u"}
    with Stubber(store.client) as stub:
        # No algorithm is asked for: S3 takes no list of parts without their checksums otherwise.
        stub.add_response("create_multipart_upload", {"UploadId": "u"}, {"Bucket": "backups", "Key": "copies/a"})
        stub.add_response(
            "upload_part_copy",
            {"CopyPartResult": {"ETag": '"p"'}},
            {
                **part,
                "PartNumber": 1,
                "CopySource": {"Bucket": "milvus", "Key": "files/a"},
                "CopySourceRange": "bytes=0-4",
                "CopySourceIfMatch": "etag",
            },
        )
        stub.add_response(
            "complete_multipart_upload",
            {"ETag": '"w-1"', "ChecksumCRC64NVME": "AAAAAAAAAAA=", "ChecksumType": "FULL_OBJECT"},
            {**part, "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": '"p"'}]}},
        )

        assert store.copy(JOB, ITEM) == CopiedObject("copies/a", "w-1", "CRC64NVME:AAAAAAAAAAA=")


@pytest.mark.parametrize(
    ("told", "is_md5"),
    [
        ({}, True),
        ({"ServerSideEncryption": "AES256"}, True),
        ({"ServerSideEncryption": "aws:kms"}, False),
        ({"ServerSideEncryption": "aws:kms:dsse"}, False),
    ],
)
def test_an_etag_under_kms_is_no_md5(store: S3ObjectStore, told: Mapping[str, str], *, is_md5: bool) -> None:
    with Stubber(store.client) as stub:
        stub.add_response("head_object", {"ETag": '"e"', **told})

        assert store.has_md5_etag("milvus", "files/a", "e") is is_md5


@pytest.mark.parametrize(
    ("code", "error"), [("SlowDown", StorageThrottledError), ("InternalError", StorageUnavailableError)]
)
def test_notices_an_error_inside_a_200_answer(store: S3ObjectStore, code: str, error: type[VaultError]) -> None:
    answer(store.copier, "CopyObject", (200, error_body(code)))

    with pytest.raises(error, match=f"{code} The reason"):
        store.copy(JOB, ITEM)


def test_asks_once_for_a_copy_that_is_throttled(store: S3ObjectStore) -> None:
    asked = answer(store.copier, "CopyObject", (503, error_body("SlowDown")))

    with pytest.raises(StorageThrottledError):
        store.copy(JOB, ITEM)
    assert len(asked) == 1


def test_says_that_s3_does_not_answer(store: S3ObjectStore) -> None:
    with pytest.raises(StorageUnavailableError, match="s3://milvus/files/a") as caught:
        store.copy(JOB, ITEM)

    assert "gateway endpoint" in caught.value.hint


@pytest.mark.usefixtures("store")
def test_says_that_there_are_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")

    with pytest.raises(StorageAccessDeniedError, match="Unable to locate credentials"):
        S3ObjectStore.connect().get("milvus", "files/a")


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("ExpiredToken", 400, "get new ones"),
        ("RequestTimeTooSkewed", 403, "clock"),
        ("KMS.DisabledException", 400, "Enable the KMS key"),
        ("KMS.KMSInvalidStateException", 400, "about to be deleted"),
        ("KMS.NotFoundException", 400, "is not there"),
    ],
)
def test_a_refusal_that_no_permission_mends_says_what_does(
    store: S3ObjectStore, code: str, status: int, told: str
) -> None:
    with Stubber(store.client) as stub:
        stub.add_client_error("get_object", code, "the reason", status)

        with pytest.raises(StorageAccessDeniedError, match=code) as caught:
            store.get("milvus", "files/a")

    assert told in caught.value.hint
    assert "s3:GetObject" not in caught.value.hint


def test_a_head_that_is_refused_without_a_reason_has_a_hint(store: S3ObjectStore) -> None:
    answer(store.client, "HeadObject", (400, b""))
    answer(store.client, "HeadBucket", (400, b""))  # the SDK asks whether it is another Region

    with pytest.raises(StorageRequestError, match="s3://milvus/files/a") as caught:
        store.checksum("milvus", "files/a", "etag")

    assert "run out" in caught.value.hint


# As S3 answered the tests of LocalStack (test_object_lock_delete_markers, February 2026), and for the newest version
# those of tags and of access lists. Of a bucket with Object Lock each deletion leaves such a marker.
ON_A_DELETE_MARKER = (
    b"<Error><Code>MethodNotAllowed</Code><Message>The specified method is not allowed against this resource.</Message>"
    b"<Method>PUT</Method><ResourceType>DeleteMarker</ResourceType></Error>"
)


def test_what_a_deletion_hid_is_not_found_to_be_locked(store: S3ObjectStore) -> None:
    lock = ObjectLock(mode="governance", until=NOW)
    answer(store.client, "PutObjectRetention", (405, ON_A_DELETE_MARKER))
    answer(store.client, "GetObjectRetention", (405, ON_A_DELETE_MARKER))

    with pytest.raises(ObjectNotFoundError, match="s3://backups/a"):
        store.lock("backups", "a", lock)
    with pytest.raises(ObjectNotFoundError, match="s3://backups/a"):
        store.lock_of("backups", "a")


def test_another_call_that_is_not_allowed_is_not_a_missing_object(store: S3ObjectStore) -> None:
    answer(store.client, "GetObjectRetention", (405, error_body("MethodNotAllowed")))

    with pytest.raises(StorageRequestError, match="MethodNotAllowed"):
        store.lock_of("backups", "a")


def test_says_that_a_bucket_name_is_not_one(store: S3ObjectStore) -> None:
    with pytest.raises(StorageRequestError, match="Invalid bucket name"):
        store.get("not a bucket", "key")


def test_lists_what_cannot_be_read_where_it_lies(store: S3ObjectStore) -> None:
    restored, ongoing = {"RestoreExpiryDate": NOW, "IsRestoreInProgress": False}, {"IsRestoreInProgress": True}
    objects: list[dict[str, Any]] = [
        {"Key": "a", "StorageClass": "STANDARD"},
        {"Key": "b", "StorageClass": "GLACIER"},
        {"Key": "c", "StorageClass": "DEEP_ARCHIVE", "RestoreStatus": ongoing},
        {"Key": "d", "StorageClass": "GLACIER", "RestoreStatus": restored},
        {"Key": "e", "StorageClass": "GLACIER_IR"},
        {"Key": "f"},
    ]
    listed = [{"Size": 1, "ETag": '"e"', "LastModified": NOW, **found} for found in objects]
    asked_for = {"Bucket": "backups", "Prefix": "p/", "OptionalObjectAttributes": ["RestoreStatus"]}
    with Stubber(store.client) as stub:
        stub.add_response("list_objects_v2", {"IsTruncated": False, "Contents": listed}, asked_for)

        found = {item.key: item.archive_class for item in store.list_objects("backups", "p/")}

    assert found == {"a": "", "b": "GLACIER", "c": "DEEP_ARCHIVE", "d": "", "e": "", "f": ""}


@pytest.mark.parametrize(
    ("code", "error"), [("AccessDenied", StorageAccessDeniedError), ("InternalError", StorageUnavailableError)]
)
def test_raises_what_a_deletion_says_of_one_object(store: S3ObjectStore, code: str, error: type[VaultError]) -> None:
    with Stubber(store.client) as stub:
        stub.add_response("delete_objects", {"Errors": [{"Key": "b", "Code": code, "Message": "no"}]})

        with pytest.raises(error, match="cannot delete s3://backups/b"):
            store.delete("backups", ["a", "b"])


def test_writes_again_after_a_conflict(store: S3ObjectStore) -> None:
    with Stubber(store.client) as stub:
        stub.add_client_error("put_object", "ConditionalRequestConflict", "again", 409)
        stub.add_response("put_object", {"ETag": '"e"'})

        assert store.put_if_absent("backups", "claim", b"mine")


@pytest.mark.parametrize(("found", "is_ours"), [(b"mine", True), (b"theirs", False)])
def test_knows_its_own_write_whose_answer_got_lost(store: S3ObjectStore, found: bytes, *, is_ours: bool) -> None:
    answer(store.client, "PutObject", (500, error_body("InternalError")), (412, error_body("PreconditionFailed")))
    answer(store.client, "GetObject", (200, found))

    assert store.put_if_absent("backups", "claim", b"mine") is is_ours


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("found", "is_ours"), [(b"mine", True), (b"theirs", False)])
def test_knows_its_own_write_that_was_in_conflict_with_itself(
    store: S3ObjectStore, found: bytes, *, is_ours: bool
) -> None:
    # The answer to the first got lost, the second came while the first was not decided, the third after it.
    answer(
        store.client,
        "PutObject",
        (500, error_body("InternalError")),
        (409, error_body("ConditionalRequestConflict")),
        (412, error_body("PreconditionFailed")),
    )
    answer(store.client, "GetObject", (200, found))

    assert store.put_if_absent("backups", "claim", b"mine") is is_ours


@pytest.mark.usefixtures("quick")
def test_takes_no_equal_write_for_its_own_that_was_never_sent_twice(store: S3ObjectStore) -> None:
    answer(
        store.client,
        "PutObject",
        (409, error_body("ConditionalRequestConflict")),
        (412, error_body("PreconditionFailed")),
    )

    assert not store.put_if_absent("backups", "claim", b"mine")


BREAKS = [
    ProtocolError("Connection broken: IncompleteRead(3 bytes read, 2 more expected)"),
    IncompleteRead(b"bod", 2),
    ConnectionResetError(104, "Connection reset by peer"),
]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no retry wait."""
    monkeypatch.setattr("time.sleep", lambda _: None)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: type(broken).__name__)
def test_reads_a_body_again_that_broke_midway(store: S3ObjectStore, broken: Exception) -> None:
    answer(store.client, "GetObject", Sent(200, b"bod", broken=broken), (200, b"body!"))

    assert store.get_with_etag("backups", "a") == (b"body!", "e")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: type(broken).__name__)
def test_goes_on_behind_what_was_read_of_a_body_that_broke_midway(store: S3ObjectStore, broken: Exception) -> None:
    first, second = b"1" * MIB, b"2" * MIB
    etag, of_it = {"ETag": '"e"'}, {"ETag": '"e"', "Content-Range": "bytes"}
    sent = [Sent(200, b"", etag, broken), Sent(200, first + b"lost", etag, broken), Sent(206, second + b"end", of_it)]
    answer(store.client, "GetObject", *sent)
    asked: list[tuple[str | None, str | None]] = []

    def note(params: Mapping[str, Mapping[str, str]], **_: object) -> None:
        asked.append((params["headers"].get("Range"), params["headers"].get("If-Match")))

    store.client.meta.events.register("before-call.s3.GetObject", note)

    assert b"".join(store.chunks("backups", "a")) == first + second + b"end"

    assert asked == [(None, None), (None, '"e"'), ("bytes=1048576-", '"e"')]


@pytest.mark.usefixtures("quick")
def test_takes_no_beginning_for_what_comes_behind(store: S3ObjectStore) -> None:
    body = b"1" * MIB + b"2"
    answer(store.client, "GetObject", Sent(200, body, {"ETag": '"e"'}, BREAKS[0]), Sent(200, body, {"ETag": '"e"'}))

    with pytest.raises(StorageUnavailableError, match="cannot read s3://backups/a: the answer has no ContentRange"):
        list(store.chunks("backups", "a"))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: type(broken).__name__)
def test_says_that_a_body_broke_each_time(store: S3ObjectStore, broken: Exception) -> None:
    asked = answer(store.client, "GetObject", *[Sent(200, b"bod", broken=broken)] * 4)

    with pytest.raises(StorageUnavailableError, match="cannot read s3://backups/a"):
        store.get("backups", "a")
    assert len(asked) == 4


def test_a_copy_without_a_word_is_no_copy(store: S3ObjectStore) -> None:
    answer(store.copier, "CopyObject", (200, b""))

    with pytest.raises(StorageUnavailableError, match="s3://backups/copies/a: the answer has no ETag"):
        store.copy(JOB, ITEM)


def test_needs_an_etag_only_where_it_is_asked_for(store: S3ObjectStore) -> None:
    answer(store.client, "GetObject", Sent(200, b"body", {}), Sent(200, b"body", {}))

    assert store.get("backups", "a") == b"body"
    with pytest.raises(StorageUnavailableError, match="cannot read s3://backups/a: the answer has no ETag"):
        store.get_with_etag("backups", "a")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "found",
    [
        Sent(200, b"body", {"ETag": '"e"', "Last-Modified": "never"}),
        Sent(403, b"no", {"x-amz-checksum-crc32": "AAAAAA=="}),
    ],
    ids=["a time that is none", "an error with a checksum"],
)
def test_an_answer_that_is_not_s3_s_has_a_name(store: S3ObjectStore, found: Sent) -> None:
    answer(store.client, "GetObject", *[found] * 5)

    with pytest.raises(StorageUnavailableError, match="cannot read s3://backups/a"):
        store.get("backups", "a")


CALLS: dict[str, Callable[[S3ObjectStore], object]] = {
    "check_bucket": lambda store: store.check_bucket("b"),
    "list_objects": lambda store: list(store.list_objects("b", "p/")),
    "list_folders": lambda store: list(store.list_folders("b", "p/")),
    "list_uploads": lambda store: list(store.list_uploads("b", "p/")),
    "get": lambda store: store.get("b", "k"),
    "get_with_etag": lambda store: store.get_with_etag("b", "k"),
    "modified_at": lambda store: store.modified_at("b", "k"),
    "chunks": lambda store: list(store.chunks("b", "k", "e")),
    "checksum": lambda store: store.checksum("b", "k", "e"),
    "put": lambda store: store.put("b", "k", b"body", content_type="text/html"),
    "put_if_absent": lambda store: store.put_if_absent("b", "k", b"body"),
    "put_if_unchanged": lambda store: store.put_if_unchanged("b", "k", b"body", "e"),
    "copy": lambda store: store.copy(JOB, ITEM),
    "copy in parts": lambda store: store.copy(JOB, CopyItem("files/a", "copies/a", 6 * 2**30, "")),
    "delete": lambda store: store.delete("b", ["k", "l"]),
    "abort_upload": lambda store: store.abort_upload("b", UnfinishedUpload("k", "u", NOW)),
}
BODIES = [
    b"",
    (
        b"<CopyObjectResult><ETag>&quot;e&quot;</ETag><LastModified>2026-11-28T01:02:03.000Z</LastModified>"
        b"<ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME></CopyObjectResult>"
    ),
    b"<CopyPartResult><ETag>e</ETag></CopyPartResult>",
    b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
    b"<CompleteMultipartUploadResult><ETag>e-2</ETag></CompleteMultipartUploadResult>",
    (
        b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>p/k</Key><Size>5</Size><ETag>e</ETag>"
        b"<LastModified>2026-11-28T01:02:03.000Z</LastModified><StorageClass>GLACIER</StorageClass><RestoreStatus>"
        b"<IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus></Contents><CommonPrefixes><Prefix>p/f/</Prefix>"
        b"</CommonPrefixes></ListBucketResult>"
    ),
    (
        b"<ListMultipartUploadsResult><Upload><Key>p/k</Key><UploadId>u</UploadId>"
        b"<Initiated>2026-11-28T01:02:03.000Z</Initiated></Upload></ListMultipartUploadsResult>"
    ),
    b"<DeleteResult><Error><Key>k</Key><Code>InternalError</Code><Message>m</Message></Error></DeleteResult>",
    error_body("SlowDown"),
    error_body("ObjectNotInActiveTierError"),
    b"<html>a proxy</html>",
]


@st.composite
def sent(draw: st.DrawFn) -> Sent:
    """Return what S3, another server, a proxy or a bad connection may send."""
    body = draw(st.sampled_from(BODIES) | st.binary(max_size=40))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(body)))
        # Cut off, a word left out, or another text where a value was.
        other = draw(st.sampled_from([b"", b"x", b"-1", b"9" * 30, b"<", b"</", b"\0"]))
        body = body[:at] + draw(st.sampled_from([b"", other + body[at + 1 :], other + body[at + 8 :]]))
    headers = draw(st.sampled_from([{}, {"ETag": '"e"'}, {"ETag": ""}, {"x-amz-checksum-crc32": "AAAAAA=="}]))
    headers = {**headers, **draw(st.sampled_from([{}, {"Content-Length": "5"}, {"Last-Modified": "never"}]))}
    status = draw(
        st.sampled_from([200, 200, 200, 200, 204, 206, 301, 400, 403, 404, 409, 412, 416, 429, 500, 503, 999])
    )
    return Sent(status, body, headers, draw(st.sampled_from([None, None, None, *BREAKS])))


@pytest.mark.usefixtures("quick")
@cases(150)
@given(call=st.sampled_from(sorted(CALLS)), answers=st.lists(sent(), min_size=1, max_size=6))
def test_whatever_is_answered_ends_in_a_result_or_a_named_failure(
    store: S3ObjectStore, call: str, answers: list[Sent]
) -> None:
    waiting = cycle(answers)

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        found = next(waiting)
        raw = RawAnswer(found.body, found.broken)
        return AWSResponse(request.url, found.status, HTTPHeaders.from_dict(found.headers), raw)

    handler: Any = send
    for client in (store.client, store.copier):
        client.meta.events.register("before-send.s3", handler)
    try:
        with suppress(VaultError):
            CALLS[call](store)
    finally:
        for client in (store.client, store.copier):
            client.meta.events.unregister("before-send.s3", handler)


TLS_ONLY = {
    "Sid": "OnlyOverTls",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": "*",
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}
BLOCKS = {"BlockPublicAcls": True, "BlockPublicPolicy": True, "IgnorePublicAcls": True, "RestrictPublicBuckets": True}


def settings(*answers: Mapping[str, Any] | str) -> BucketSettings:
    """Return what is made of what S3 says of a bucket: answers, or codes of errors."""
    store = S3ObjectStore.connect()
    calls = (
        "get_public_access_block",
        "get_bucket_policy_status",
        "get_bucket_policy",
        "get_bucket_versioning",
        "get_object_lock_configuration",
    )
    with Stubber(store.client) as stub:
        for call, given_answer in zip(calls, answers, strict=True):
            if isinstance(given_answer, str):
                stub.add_client_error(call, given_answer, "no", 403)
            else:
                stub.add_response(call, dict(given_answer))
        return store.bucket_settings("bucket")


@pytest.mark.parametrize("statement", [TLS_ONLY, TLS_ONLY | {"Principal": {"AWS": "*"}, "Action": ["s3:*"]}])
def test_a_guarded_bucket_is_told(statement: Mapping[str, Any]) -> None:
    found = settings(
        {"PublicAccessBlockConfiguration": BLOCKS},
        {"PolicyStatus": {"IsPublic": False}},
        {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})},
        {"Status": "Enabled"},
        {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}},
    )

    assert found == BucketSettings(True, False, True, True, True)


def test_what_a_bucket_has_not_is_told_from_what_cannot_be_read() -> None:
    open_bucket = settings(
        "NoSuchPublicAccessBlockConfiguration",
        "NoSuchBucketPolicy",
        "NoSuchBucketPolicy",
        {},
        "ObjectLockConfigurationNotFoundError",
    )
    assert open_bucket == BucketSettings(False, False, False, False, False)
    partly = {"PublicAccessBlockConfiguration": BLOCKS | {"BlockPublicAcls": False}}
    assert settings(partly, *["AccessDenied"] * 4) == BucketSettings(False, None, None, None, None)
    # Servers that do not know the call, and answers that are none.
    assert settings("NotImplemented", {}, {"Policy": "["}, "MethodNotAllowed", {}) == BucketSettings(*[None] * 5)
