"""What holds for one bucket alone: its owner, its Region, the role by which it is reached, and its key."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any, override
from urllib.parse import parse_qs

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from mypy_boto3_s3 import S3Client

from milvus_vault.adapters.s3 import BucketAccess, S3ObjectStore
from milvus_vault.copying.parts import MAX_SINGLE_COPY_BYTES
from milvus_vault.errors import StorageAccessDeniedError
from milvus_vault.model.objects import CopyItem, CopyJob
from milvus_vault.settings import StorageSettings
from milvus_vault.stores import open_store
from tests.unit.adapters.test_s3 import RawAnswer, error_body

ARCHIVE = BucketAccess(region="eu-west-1", owner="222222222222", kms_key_arn="arn:aws:kms:eu-west-1:222222222222:key/k")
ACCESS = {"archive": ARCHIVE, "backups": BucketAccess(owner="111111111111")}
JOB = CopyJob(source_bucket="backups", destination_bucket="archive")
ITEM = CopyItem("team/a", "copies/a", 5, "etag")
ROLE = "arn:aws:iam::222222222222:role/writes-copies"

_COPIED = b'<CopyObjectResult><ETag>"e"</ETag></CopyObjectResult>'
_PART = b'<CopyPartResult><ETag>"e"</ETag></CopyPartResult>'
_UPLOAD = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
_WHOLE = b'<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>'


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "own")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


def record(
    client: S3Client, answer: bytes = b"<x><IsTruncated>false</IsTruncated></x>", status: int = 200
) -> list[AWSPreparedRequest]:
    """Answer all calls of a client, and return the list that they are written down in."""
    asked: list[AWSPreparedRequest] = []

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        asked.append(request)
        body = answer
        if "uploads" in request.url and request.method == "POST":
            body = _UPLOAD
        elif "partNumber" in request.url:
            body = _PART
        elif "uploadId" in request.url:
            body = _WHOLE
        return AWSResponse(request.url, status, HTTPHeaders.from_dict({"ETag": '"e"'}), RawAnswer(body))

    handler: Any = send  # the stubs say that a handler returns nothing
    client.meta.events.register("before-send.s3", handler)
    return asked


def header(request: AWSPreparedRequest, name: str) -> str:
    """Return what a request says in one of S3's headers; empty: nothing."""
    found: Any = request.headers.get(f"x-amz-{name}", "")
    return found.decode() if isinstance(found, bytes) else str(found)


@pytest.fixture
def store() -> S3ObjectStore:
    """A store in which two buckets have owners, and one lies elsewhere."""
    return S3ObjectStore.connect(buckets=ACCESS)


def test_each_call_of_a_bucket_says_whose_it_must_be(store: S3ObjectStore) -> None:
    here, there = record(store.client), record(store.elsewhere["archive"].client)
    for bucket in ("backups", "archive", "milvus"):
        store.check_bucket(bucket)
        list(store.list_objects(bucket, "a"))
        list(store.list_folders(bucket, "a"))
        store.get(bucket, "a")
        store.checksum(bucket, "a", "e")
        store.put(bucket, "a", b"")
        store.put_if_absent(bucket, "a", b"")
        store.delete(bucket, ["a", "b\x00"])
        list(store.list_uploads(bucket, "a"))
    by_bucket = {"backups": "111111111111", "milvus": ""}
    assert len(here) == 20
    for request in here:
        bucket = next(name for name in by_bucket if name in request.url)
        assert header(request, "expected-bucket-owner") == by_bucket[bucket], request.url
    assert len(there) == 10
    assert {header(request, "expected-bucket-owner") for request in there} == {"222222222222"}


@pytest.mark.parametrize("size_bytes", [5, MAX_SINGLE_COPY_BYTES + 1])
def test_a_copy_is_made_where_it_goes_and_says_whose_both_buckets_must_be(
    store: S3ObjectStore, size_bytes: int
) -> None:
    elsewhere = store.elsewhere["archive"]
    copier, client = record(elsewhere.copier, _COPIED), record(elsewhere.client)
    store.copy(JOB, CopyItem("team/a", "copies/a", size_bytes, "etag"))
    asked = copier or client
    assert all("archive.s3.eu-west-1.amazonaws.com" in request.url for request in asked)
    assert {header(request, "expected-bucket-owner") for request in asked} == {"222222222222"}
    reading = [request for request in asked if header(request, "copy-source")]
    assert {header(request, "source-expected-bucket-owner") for request in reading} == {"111111111111"}


def test_what_is_written_there_is_encrypted_by_its_key(store: S3ObjectStore) -> None:
    elsewhere = store.elsewhere["archive"]
    asked = record(elsewhere.copier, _COPIED)
    written, here = record(elsewhere.client), record(store.client)
    store.copy(JOB, ITEM)
    store.put("archive", "a", b"")
    store.put("backups", "a", b"")
    for request in (*asked, *written):
        assert header(request, "server-side-encryption-aws-kms-key-id") == ARCHIVE.kms_key_arn
        assert header(request, "server-side-encryption") == "aws:kms"
    assert header(here[0], "server-side-encryption") == ""


def test_a_link_asks_for_no_header_that_a_browser_does_not_send(store: S3ObjectStore) -> None:
    assert parse_qs(store.link("backups", "a", 60).partition("?")[2])["X-Amz-SignedHeaders"] == ["host"]


def test_a_bucket_of_another_owner_is_refused_with_a_hint(store: S3ObjectStore) -> None:
    record(store.elsewhere["archive"].client, error_body("AccessDenied"), 403)
    with pytest.raises(StorageAccessDeniedError, match="s3://archive/") as caught:
        store.check_bucket("archive")
    assert "one of account 222222222222" in caught.value.hint


class _Sts(BaseHTTPRequestHandler):
    """STS, which hands out a role or does not."""

    is_allowed = True

    @override
    def log_message(self, format: str, *args: object) -> None: ...

    def do_POST(self) -> None:
        """Answer AssumeRole."""
        length = int(self.headers["Content-Length"])
        asked = parse_qs(self.rfile.read(length).decode())
        assert asked["RoleArn"] == [ROLE]
        refusal = (
            "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not authorized</Message></Error></ErrorResponse>"
        )
        credentials = (
            "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>assumed</AccessKeyId>"
            "<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
            "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
            "<AssumedRoleUser><Arn>arn:aws:sts::222222222222:assumed-role/r/s</Arn><AssumedRoleId>i</AssumedRoleId>"
            "</AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>"
        )
        self.send_response(200 if self.is_allowed else 403)
        self.end_headers()
        self.wfile.write((credentials if self.is_allowed else refusal).encode())


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Sts]]:
    """Run an STS."""
    answering = type("Answering", (_Sts,), {})
    with HTTPServer(("127.0.0.1", 0), answering) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{server.server_port}")
        yield answering
        server.shutdown()


@pytest.mark.usefixtures("sts")
def test_a_role_signs_the_calls_of_its_bucket_alone() -> None:
    store = S3ObjectStore.connect(buckets={"archive": BucketAccess(role_arn=ROLE)})
    here, there = record(store.client), record(store.elsewhere["archive"].client)
    store.check_bucket("backups")
    store.check_bucket("archive")
    assert b"Credential=own/" in signature(here[0])
    assert b"Credential=assumed/" in signature(there[0])


def signature(request: AWSPreparedRequest) -> bytes:
    """Return by whom a request is signed."""
    found: Any = request.headers["Authorization"]
    return found if isinstance(found, bytes) else str(found).encode()


def test_a_role_that_cannot_be_assumed_is_named(sts: type[_Sts]) -> None:
    sts.is_allowed = False
    store = S3ObjectStore.connect(buckets={"archive": BucketAccess(role_arn=ROLE)})
    with pytest.raises(
        StorageAccessDeniedError, match="cannot list s3://archive/: AccessDenied not authorized"
    ) as caught:
        store.check_bucket("archive")
    assert "sts:AssumeRole" in caught.value.hint
    assert "trust policy" in caught.value.hint


def test_the_settings_of_the_stack_are_those_of_its_buckets() -> None:
    names = {"backup_bucket_name": "backups", "milvus_bucket_name": "milvus", "milvus_root_path": "files"}
    known = StorageSettings(
        **names, staging_prefix="staging", backup_bucket_owner="111111111111", export_bucket_name="archive",
        export_bucket_owner=ARCHIVE.owner, export_region=ARCHIVE.region, export_kms_key_arn=ARCHIVE.kms_key_arn,
    )  # fmt: skip
    assert open_store(known).buckets == ACCESS
    # Without another bucket there is nothing that a role or a Region would be of.
    alone = StorageSettings(**names, staging_prefix="staging", export_region="eu-west-1", export_role_arn=ROLE)
    assert open_store(alone).buckets == {}
