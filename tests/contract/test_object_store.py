"""One suite for every `ObjectStore`, on five servers. What the domain relies on has to hold on all of them."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.request import urlopen

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from mypy_boto3_s3 import S3Client

from local.seaweedfs import ACCESS_KEY as SEAWEEDFS_ACCESS_KEY
from local.seaweedfs import SECRET_KEY as SEAWEEDFS_SECRET_KEY
from milvus_vault import spans
from milvus_vault.adapters import s3 as adapter
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.copying import parts
from milvus_vault.copying.batches import BatchLimits
from milvus_vault.copying.engine import copy_batch
from milvus_vault.copying.parts import MIB
from milvus_vault.copying.plan import plan_copy
from milvus_vault.copying.progress import copy_state
from milvus_vault.copying.verify import verify_copy
from milvus_vault.copying.working_files import CopyTarget, write_job, write_target
from milvus_vault.errors import (
    BackupDamagedError,
    BucketNotFoundError,
    LockRefusedError,
    ObjectChangedError,
    ObjectNotFoundError,
    StorageAccessDeniedError,
    StorageRequestError,
    StorageUnavailableError,
    VaultError,
)
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.objects import CopyClient, CopyItem, CopyJob, ListedObject, UnfinishedUpload
from milvus_vault.ports import HTML, ObjectStore
from milvus_vault.spans import list_in_spans
from milvus_vault.verifying.checksums import checksum_of
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.support.verified import read_verified

# Where a server is known not to do as S3 does. The tests check what it does instead, so that a server that
# learns it is noticed. S3 itself does all of it.
DEVIATIONS = {
    ("moto", "begin of uploads"): "says 2010",
    ("moto", "changed source"): "ignores CopySourceIfMatch: the copy succeeds",
    ("seaweedfs", "emptied folder"): "is still listed for a while",
    ("seaweedfs", "write to no bucket"): "makes the bucket",
    ("seaweedfs", "copy to no bucket"): "answers 500 InternalError",
    ("memory", "wrong secret"): "has no credentials",
    ("moto", "one of many writers"): "looks and writes in two steps, so that two may win",
    ("moto", "wrong secret"): "does not check credentials",
    ("ministack", "wrong secret"): "does not check credentials",
    ("quick_s3", "wrong secret"): "does not check credentials",
    ("memory", "link"): "has no address",
    ("moto", "link"): "has no address",
    ("quick_s3", "link"): "has no address",
    ("ministack", "link"): "knows only keys that it gave out itself, see tests/e2e/test_api.py",
    ("memory", "tags"): "has no tags",
    ("memory", "checksum"): "returns an MD5",
    ("ministack", "checksum"): "returns none for a copy",
    ("quick_s3", "checksum"): "returns none for a copy",
    ("ministack", "changed mode"): "makes a governance lock one of compliance for anybody",
    ("seaweedfs", "checksum"): "returns none for a copy",
    ("seaweedfs", "lock of what is hidden"): "takes a lock for a delete marker",
}

# Those that are asked by requests. The other two lie within the process, where a thousand objects take no time.
OVER_HTTP = ("moto", "ministack", "seaweedfs")

DIRECT = ", direct"
# Stores differ in how they copy, and in nothing else.
copies = pytest.mark.parametrize(
    "subject", ["memory", "quick_s3", *OVER_HTTP, f"ministack{DIRECT}", f"seaweedfs{DIRECT}"], indirect=True
)

SOURCE = "contract-source"
DESTINATION = "contract-destination"


@dataclass(frozen=True, slots=True)
class Subject:
    """A store on one server, with two empty buckets of its own."""

    server: str
    store: ObjectStore
    source: str
    destination: str
    client: S3Client | None
    """A client of the same server; none where there is no server."""

    @property
    def job(self) -> CopyJob:
        """The job that copies from the one bucket to the other."""
        return CopyJob(source_bucket=self.source, destination_bucket=self.destination)

    def deviates(self, point: str) -> bool:
        """Return whether the server is known to do otherwise."""
        return (self.server, point) in DEVIATIONS

    def listed(self, bucket: str, prefix: str = "") -> dict[str, ListedObject]:
        """Return a listing by key."""
        return {found.key: found for found in self.store.list_objects(bucket, prefix)}

    def add(self, key: str, body: bytes) -> CopyItem:
        """Put an object into the source and return the item that copies it below `copies/`."""
        self.store.put(self.source, key, body)
        return CopyItem(key, f"copies/{key}", len(body), self.listed(self.source, key)[key].etag)


def use_server(monkeypatch: pytest.MonkeyPatch, endpoint_url: str, key: str, secret: str) -> None:
    """Let the environment lead to a server, as the functions' environment does."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    if endpoint_url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint_url)
    else:
        monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.fixture(scope="module")
def subjects() -> dict[str, Subject]:
    """The subjects that were made, by server: to make clients takes longer than most tests here."""
    return {}


@pytest.fixture(params=["memory", "quick_s3", *OVER_HTTP])
def subject(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, subjects: dict[str, Subject]
) -> Iterator[Subject]:
    """Each of the stores in turn."""
    server = request.param.removesuffix(DIRECT)
    copy_client: CopyClient = "direct" if request.param.endswith(DIRECT) else "boto3"
    if server == "memory":
        yield Subject(server, InMemoryObjectStore(SOURCE, DESTINATION), SOURCE, DESTINATION, None)
    elif server == "moto":
        from moto import mock_aws

        use_server(monkeypatch, "", "any", "any")
        with mock_aws():
            yield _emptied(_on_server(server, copy_client))
    else:
        running = request.getfixturevalue(server)
        if server == "seaweedfs":
            use_server(monkeypatch, running.url, SEAWEEDFS_ACCESS_KEY, SEAWEEDFS_SECRET_KEY)
        else:
            use_server(monkeypatch, running.url, "any", "any")
        if request.param not in subjects:
            subjects[request.param] = _on_server(server, copy_client)
        yield _emptied(subjects[request.param])


def _on_server(server: str, copy_client: CopyClient) -> Subject:
    client: S3Client = boto3.session.Session().client("s3")  # the default session would keep other credentials
    # The same buckets for all tests: SeaweedFS reserves volumes for each.
    for bucket in (SOURCE, DESTINATION):
        with suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=bucket)
    store = S3ObjectStore.connect(max_connections=16, copy_client=copy_client)
    return Subject(server, store, SOURCE, DESTINATION, client)


def _emptied(subject: Subject) -> Subject:
    for bucket in (SOURCE, DESTINATION):
        subject.store.delete(bucket, [listed.key for listed in subject.store.list_objects(bucket, "")])
    return subject


def test_a_link_opens_an_object_without_credentials(subject: Subject) -> None:
    subject.store.put(subject.source, "folder/page", b"<!DOCTYPE html>", content_type=HTML)

    link = subject.store.link(subject.source, "folder/page", 60)

    assert "folder/page" in link
    if not subject.deviates("link"):
        with urlopen(link) as answer:  # noqa: S310 - of a server that the test started
            assert answer.read() == b"<!DOCTYPE html>"
            assert answer.headers["Content-Type"] == HTML
        assert "X-Amz-Signature" in link


def test_writes_the_content_type_that_a_browser_needs(subject: Subject) -> None:
    subject.store.put(subject.source, "page", b"<!DOCTYPE html>", content_type=HTML)

    assert subject.store.get(subject.source, "page") == b"<!DOCTYPE html>"
    if subject.client:
        assert subject.client.head_object(Bucket=subject.source, Key="page")["ContentType"] == HTML


def test_reads_what_was_written_last(subject: Subject) -> None:
    subject.store.put(subject.source, "a/b", b"old")
    subject.store.put(subject.source, "a/b", b"new")

    assert subject.store.get(subject.source, "a/b") == b"new"


def test_gives_the_same_bare_etag_everywhere(subject: Subject) -> None:
    item = subject.add("a/b", b"body")

    body, etag = subject.store.get_with_etag(subject.source, "a/b")
    copied = subject.store.copy(subject.job, item)

    assert body == b"body"
    assert etag == item.source_etag == copied.etag
    assert '"' not in etag


def test_reads_in_pieces_only_what_has_the_etag_that_was_asked_for(subject: Subject) -> None:
    subject.store.put(subject.source, "a/b", LARGE)
    etag = subject.listed(subject.source)["a/b"].etag

    pieces = list(subject.store.chunks(subject.source, "a/b", etag))
    checksum = subject.store.checksum(subject.source, "a/b", etag)

    assert b"".join(pieces) == LARGE
    assert list(map(len, subject.store.chunks(subject.source, "a/b"))) == list(map(len, pieces))
    assert max(map(len, pieces)) <= MIB
    assert checksum == "" or ":" in checksum
    subject.store.put(subject.source, "a/b", b"another")
    with pytest.raises(ObjectChangedError, match="a/b"):
        list(subject.store.chunks(subject.source, "a/b", etag))
    with pytest.raises(ObjectChangedError, match="a/b"):
        subject.store.checksum(subject.source, "a/b", etag)
    subject.store.delete(subject.source, ["a/b"])
    with pytest.raises(ObjectNotFoundError, match="a/b"):
        list(subject.store.chunks(subject.source, "a/b", etag))
    with pytest.raises(ObjectNotFoundError, match="a/b"):
        subject.store.checksum(subject.source, "a/b", etag)


def test_tells_when_an_object_was_written_as_a_listing_does(subject: Subject) -> None:
    subject.store.put(subject.source, "a/b", b"1")
    (listed,) = subject.store.list_objects(subject.source, "a/b")
    found = subject.store.modified_at(subject.source, "a/b")
    assert found is not None
    assert listed.modified_at is not None
    # In whole seconds, where a listing may be finer.
    assert abs(listed.modified_at - found) <= timedelta(seconds=1)
    with pytest.raises(ObjectNotFoundError):
        subject.store.modified_at(subject.source, "a/c")


def test_names_an_object_that_is_missing(subject: Subject) -> None:
    with pytest.raises(ObjectNotFoundError, match=f"s3://{subject.source}/no/such") as caught:
        subject.store.get(subject.source, "no/such")

    assert caught.value.hint


def test_names_a_bucket_that_is_missing(subject: Subject) -> None:
    with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
        subject.store.check_bucket("no-such-bucket")
    with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
        list(subject.store.list_objects("no-such-bucket", ""))
    with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
        subject.store.get("no-such-bucket", "key")
    if subject.deviates("write to no bucket"):
        subject.store.put("made-by-writing", "key", b"")
        subject.store.check_bucket("made-by-writing")
    else:
        with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
            subject.store.put("no-such-bucket", "key", b"")


def test_accepts_a_bucket_that_is_there(subject: Subject) -> None:
    subject.store.check_bucket(subject.source)


def test_goes_on_where_a_page_of_a_listing_ends(subject: Subject) -> None:
    asked: list[str] = []

    def ask_for_two(params: dict[str, Any], **_: object) -> None:
        asked.append(params.get("ContinuationToken", ""))
        params["MaxKeys"] = 2

    store = subject.store
    if subject.client:
        store = S3ObjectStore.connect()
        handler: Any = ask_for_two  # the stubs say that a handler takes no parameters
        store.client.meta.events.register("provide-client-params.s3.ListObjectsV2", handler)
    keys = [f"page/{number}" for number in range(5)]
    for key in (*keys, "other"):
        store.put(subject.source, key, b"1")

    found = [(listed.key, listed.size_bytes) for listed in store.list_objects(subject.source, "page/")]

    assert sorted(found) == [(key, 1) for key in keys]
    # Three pages, each from where the one before ended. The two within the process ask nobody; of them, see below.
    assert subject.server in {"memory", "quick_s3"} or len(set(asked)) == len(asked) == 3


def test_a_listing_goes_on_behind_a_key_that_may_be_gone(subject: Subject) -> None:
    for number in range(5):
        subject.store.put(subject.source, f"page/{number}", b"1")
    subject.store.put(subject.source, "other", b"1")
    order = [listed.key for listed in subject.store.list_objects(subject.source, "page/")]
    subject.store.delete(subject.source, order[1:2])

    behind = [[found.key for found in subject.store.list_objects(subject.source, "page/", after=key)] for key in order]

    assert behind == [order[2:], order[2:], order[3:], order[4:], []]


@pytest.mark.parametrize("marked", ["keys", "segments", "others"])
def test_lists_in_spans_what_it_lists_page_by_page(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, marked: str
) -> None:
    def ask_for_five(params: dict[str, Any], **_: object) -> None:
        params["MaxKeys"] = 5

    monkeypatch.setattr(spans, "PAGE", 5)
    store = subject.store
    if subject.client:
        store = S3ObjectStore.connect()
        handler: Any = ask_for_five
        store.client.meta.events.register("provide-client-params.s3.ListObjectsV2", handler)
    segments = [f"insert_log/7/{partition}/{segment}/" for partition in (98, 101) for segment in (9, 10, 11, 12, 13)]
    keys = [f"{segment}{field}/{log}" for segment in segments for field in (1, 100) for log in (5, 40)]
    with ThreadPoolExecutor(16) as executor:
        list(executor.map(lambda key: store.put(subject.source, key, b"1"), [*keys, "insert_log/70/1/2/3/4"]))
    marks = {"keys": keys, "segments": segments, "others": ["insert_log/7/1", "insert_log/7/99/", *segments[::2], "x"]}

    found = [one.key for one in list_in_spans(store, subject.source, "insert_log/7/", lambda: sorted(marks[marked]))]

    assert found == [listed.key for listed in store.list_objects(subject.source, "insert_log/7/")]
    assert sorted(found) == sorted(keys)


@pytest.mark.parametrize(
    "subject",
    ["memory", "quick_s3", *(pytest.param(server, marks=pytest.mark.thorough) for server in OVER_HTTP)],
    indirect=True,
)
def test_lists_more_than_a_server_s_own_page(subject: Subject) -> None:
    keys = {f"page/{number}" for number in range(1005)}
    with ThreadPoolExecutor(16) as executor:
        list(executor.map(lambda key: subject.store.put(subject.source, key, b"1"), keys))
    subject.store.put(subject.source, "other", b"1")

    found = list(subject.store.list_objects(subject.source, "page/"))

    assert len(found) == len(keys)
    assert {listed.key for listed in found} == keys
    assert {listed.size_bytes for listed in found} == {1}


def test_says_when_an_object_was_written(subject: Subject) -> None:
    subject.store.put(subject.source, "timed", b"1")

    written_at = subject.listed(subject.source)["timed"].modified_at

    # Servers give whole seconds.
    assert written_at is not None
    assert abs(datetime.now(UTC) - written_at) < timedelta(seconds=60)


def test_lists_and_aborts_unfinished_uploads_below_a_prefix(subject: Subject) -> None:
    keys = ("ours/a", "ours/b", "theirs/c")
    if subject.client:
        for key in keys:
            subject.client.create_multipart_upload(Bucket=subject.source, Key=key)
    else:
        assert isinstance(subject.store, InMemoryObjectStore)
        subject.store.uploads[subject.source] = [UnfinishedUpload(key, key, datetime.now(UTC)) for key in keys]

    found = list(subject.store.list_uploads(subject.source, "ours/"))

    assert sorted(upload.key for upload in found) == ["ours/a", "ours/b"]
    is_recent = all(abs(datetime.now(UTC) - upload.begun_at) < timedelta(seconds=60) for upload in found)
    assert is_recent != subject.deviates("begin of uploads")
    for upload in found:
        subject.store.abort_upload(subject.source, upload)
        subject.store.abort_upload(subject.source, upload)
    left = list(subject.store.list_uploads(subject.source, ""))
    assert [upload.key for upload in left] == ["theirs/c"]
    subject.store.abort_upload(subject.source, left[0])


def test_lists_by_prefix_of_the_text_not_by_folder(subject: Subject) -> None:
    for key in ("x/k", "x-1/k", "x.y", "y"):
        subject.store.put(subject.source, key, b"")

    assert set(subject.listed(subject.source, "x")) == {"x/k", "x-1/k", "x.y"}
    assert set(subject.listed(subject.source, "x/")) == {"x/k"}
    assert not subject.listed(subject.source, "z/")


def test_lists_the_folders_directly_below_a_prefix(subject: Subject) -> None:
    for key in ("root/1/a/b", "root/1/c", "root/2/d", "root/file", "rooted/3/e"):
        subject.store.put(subject.source, key, b"")

    assert sorted(subject.store.list_folders(subject.source, "root/")) == ["1", "2"]
    assert sorted(subject.store.list_folders(subject.source, "root")) == ["1", "2"]
    everything = set(subject.store.list_folders(subject.source, ""))
    assert everything >= {"root", "rooted"} if subject.deviates("emptied folder") else everything == {"root", "rooted"}


def test_lists_no_folder_that_has_become_empty(subject: Subject) -> None:
    subject.store.put(subject.source, "emptied/1/a", b"")
    subject.store.delete(subject.source, ["emptied/1/a"])

    folders = list(subject.store.list_folders(subject.source, "emptied/"))

    assert folders in ([], ["1"]) if subject.deviates("emptied folder") else folders == []


@pytest.mark.parametrize("odd", ["\x01", "\r", "\x1f", "\uffff"])
def test_deletes_what_no_xml_can_name_and_what_lies_beside_it(subject: Subject, odd: str) -> None:
    keys = [f"odd/{odd}name", "odd/name"]
    for key in keys:
        subject.store.put(subject.source, key, b"x")

    subject.store.delete(subject.source, keys)

    assert [listed.key for listed in subject.store.list_objects(subject.source, "odd/")] == []


def test_deletes_more_than_one_request_takes_and_keys_that_are_not_there(subject: Subject) -> None:
    for number in range(3):
        subject.store.put(subject.source, f"gone/{number}", b"")
    subject.store.put(subject.source, "kept", b"")

    subject.store.delete(subject.source, (f"gone/{number}" for number in range(1001)))
    subject.store.delete(subject.source, [])

    assert set(subject.listed(subject.source)) == {"kept"}


def test_writes_if_absent_only_once(subject: Subject) -> None:
    assert subject.store.put_if_absent(subject.source, "claim", b"first")
    assert not subject.store.put_if_absent(subject.source, "claim", b"second")

    assert subject.store.get(subject.source, "claim") == b"first"


def test_lets_one_of_many_writers_win(subject: Subject) -> None:
    bodies = [f"writer {number}".encode() for number in range(16)]
    with ThreadPoolExecutor(16) as executor:
        written = list(executor.map(lambda b: subject.store.put_if_absent(subject.source, "claim", b), bodies))

    winners = [body for body, has_won in zip(bodies, written, strict=True) if has_won]
    assert subject.store.get(subject.source, "claim") in winners
    assert len(winners) == 1 or subject.deviates("one of many writers")


def test_replaces_only_what_is_unchanged(subject: Subject) -> None:
    subject.store.put(subject.source, "claim", b"first")
    _, etag = subject.store.get_with_etag(subject.source, "claim")

    assert subject.store.put_if_unchanged(subject.source, "claim", b"second", etag)
    assert not subject.store.put_if_unchanged(subject.source, "claim", b"third", etag)

    assert subject.store.get(subject.source, "claim") == b"second"


def test_does_not_replace_what_is_gone(subject: Subject) -> None:
    assert not subject.store.put_if_unchanged(subject.source, "claim", b"body", "0" * 32)

    assert not subject.listed(subject.source)


@copies
@pytest.mark.parametrize("key", ["plain", "with space/and+plus", "ünïcode/日本", "100%/a&b=c?d#e", "a'b(c)~!*"])
def test_copies_objects_of_any_name(subject: Subject, key: str) -> None:
    item = subject.add(key, key.encode())

    copied = subject.store.copy(subject.job, item)

    assert copied.key == item.key
    assert subject.store.get(subject.destination, item.key) == key.encode()
    found = subject.listed(subject.destination)[item.key]
    assert (found.size_bytes, found.etag) == (item.size_bytes, copied.etag)


@copies
def test_copies_an_empty_object(subject: Subject) -> None:
    item = subject.add("empty", b"")

    subject.store.copy(subject.job, item)

    assert subject.store.get(subject.destination, item.key) == b""


@copies
def test_copies_whatever_is_there_if_no_etag_is_known(subject: Subject) -> None:
    subject.add("key", b"body")

    subject.store.copy(subject.job, CopyItem("key", "copy", 4, ""))

    assert subject.store.get(subject.destination, "copy") == b"body"


@pytest.mark.parametrize("subject", ["ministack", "seaweedfs"], indirect=True)
@pytest.mark.parametrize("algorithm", ["CRC64NVME", "CRC32C", "CRC32", "SHA256", "SHA1"])
@pytest.mark.parametrize("body", [b"", b"123456789", bytes(range(256)) * 5000], ids=["empty", "short", "of two pieces"])
def test_the_checksums_that_are_computed_of_content_are_those_of_s3(
    subject: Subject, algorithm: str, body: bytes
) -> None:
    # The SDK tries a wrong digest five times.
    client = boto3.session.Session().client("s3", config=Config(retries={"total_max_attempts": 1}))
    checksum, of_another = checksum_of(body, algorithm), checksum_of(b"another", algorithm)

    def put(checksum: str) -> None:
        value: Any = {f"Checksum{algorithm}": checksum.partition(":")[2]}
        client.put_object(Bucket=subject.source, Key="summed", Body=body, **value)

    put(checksum)
    etag = subject.listed(subject.source)["summed"].etag
    assert subject.store.checksum(subject.source, "summed", etag) == checksum
    with pytest.raises(ClientError, match="BadDigest"):
        put(of_another)


@copies
def test_returns_the_checksum_that_the_server_knows(subject: Subject) -> None:
    copied = subject.store.copy(subject.job, subject.add("key", b"body"))

    if subject.deviates("checksum"):
        assert copied.checksum == "" or copied.checksum.startswith("MD5:")
    else:
        algorithm, _, value = copied.checksum.partition(":")
        assert algorithm.startswith("CRC")
        assert value


def test_says_whether_an_etag_is_the_md5_of_the_content(subject: Subject) -> None:
    subject.store.put(subject.source, "plain", b"body")
    etag = subject.listed(subject.source)["plain"].etag

    assert etag == hashlib.md5(b"body").hexdigest()  # noqa: S324
    assert subject.store.has_md5_etag(subject.source, "plain", etag)
    with pytest.raises(ObjectChangedError):
        subject.store.has_md5_etag(subject.source, "plain", "0" * 32)
    if subject.server == "moto" and subject.client:
        subject.client.put_object(Bucket=subject.source, Key="kms", Body=b"body", ServerSideEncryption="aws:kms")
        assert not subject.store.has_md5_etag(subject.source, "kms", subject.listed(subject.source)["kms"].etag)


@copies
def test_says_that_a_source_is_gone(subject: Subject) -> None:
    item = CopyItem("no/such", "copy", 4, "0" * 32)

    with pytest.raises(ObjectNotFoundError, match=f"s3://{subject.source}/no/such"):
        subject.store.copy(subject.job, item)

    assert not subject.listed(subject.destination)


@copies
def test_says_that_a_source_has_changed(subject: Subject) -> None:
    item = subject.add("key", b"old")
    subject.store.put(subject.source, "key", b"new")

    if subject.deviates("changed source"):
        subject.store.copy(subject.job, item)
        assert subject.store.get(subject.destination, item.key) == b"new"
    else:
        with pytest.raises(ObjectChangedError, match=f"s3://{subject.source}/key"):
            subject.store.copy(subject.job, item)
        assert not subject.listed(subject.destination)


@copies
def test_says_which_buckets_a_copy_lacks(subject: Subject) -> None:
    item = subject.add("key", b"body")

    to_error: type[VaultError] = BucketNotFoundError
    if subject.deviates("copy to no bucket"):
        to_error = StorageUnavailableError

    with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
        subject.store.copy(CopyJob(source_bucket="no-such-bucket", destination_bucket=subject.destination), item)
    with pytest.raises(to_error, match="no-such-bucket"):
        subject.store.copy(CopyJob(source_bucket=subject.source, destination_bucket="no-such-bucket"), item)


@copies
def test_does_not_copy_tags(subject: Subject) -> None:
    item = subject.add("key", b"body")
    if subject.client is None:
        assert subject.deviates("tags")
        return
    subject.client.put_object_tagging(
        Bucket=subject.source, Key="key", Tagging={"TagSet": [{"Key": "expire", "Value": "soon"}]}
    )

    subject.store.copy(subject.job, item)

    tags = subject.client.get_object_tagging(Bucket=subject.destination, Key=item.key)["TagSet"]
    assert tags == []


@pytest.fixture
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy in parts of 5 MiB, the smallest that S3 takes, whatever is larger than 8 MiB."""
    monkeypatch.setattr(adapter, "MAX_SINGLE_COPY_BYTES", 8 * MIB)
    monkeypatch.setattr(parts, "PART_BYTES", 5 * MIB)


LARGE = hashlib.shake_128(b"large").digest(12 * MIB + 4)  # 12 MiB and 4 bytes: 3 parts


def assert_no_upload_is_left(subject: Subject) -> None:
    """Fail if parts of an unfinished copy are still stored."""
    if subject.client is not None:
        assert not subject.client.list_multipart_uploads(Bucket=subject.destination).get("Uploads")


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("is_etag_known", [True, False])
def test_copies_in_parts(subject: Subject, *, is_etag_known: bool) -> None:
    item = subject.add("large", LARGE)
    if not is_etag_known:
        item = CopyItem(item.source_key, item.key, item.size_bytes, "")

    copied = subject.store.copy(subject.job, item)

    assert subject.store.get(subject.destination, item.key) == LARGE
    found = subject.listed(subject.destination)[item.key]
    assert (found.size_bytes, found.etag) == (len(LARGE), copied.etag)
    assert_no_upload_is_left(subject)


@pytest.mark.usefixtures("_small_parts")
def test_leaves_nothing_behind_if_a_source_in_parts_is_gone(subject: Subject) -> None:
    item = CopyItem("no/such", "copy", len(LARGE), "0" * 32)

    with pytest.raises(ObjectNotFoundError, match="no/such"):
        subject.store.copy(subject.job, item)

    assert not subject.listed(subject.destination)
    assert_no_upload_is_left(subject)


@pytest.mark.usefixtures("_small_parts")
def test_leaves_nothing_behind_if_a_source_in_parts_has_changed(subject: Subject) -> None:
    item = subject.add("large", LARGE)
    changed = LARGE[:-1] + b"!"
    subject.store.put(subject.source, "large", changed)

    if subject.deviates("changed source"):
        subject.store.copy(subject.job, item)
        assert subject.store.get(subject.destination, item.key) == changed
    else:
        with pytest.raises(ObjectChangedError, match="large"):
            subject.store.copy(subject.job, item)
        assert not subject.listed(subject.destination)
    assert_no_upload_is_left(subject)


@pytest.mark.parametrize("sizes", [(), (0,), (1,), (5 * MIB, 1), (6 * MIB, 5 * MIB, 4)])
def test_writes_an_object_as_its_parts_come(subject: Subject, sizes: Sequence[int]) -> None:
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]

    subject.store.put_in_parts(subject.destination, "of parts", iter(pieces))

    assert subject.store.get(subject.destination, "of parts") == b"".join(pieces)
    assert subject.listed(subject.destination)["of parts"].size_bytes == sum(sizes)
    assert_no_upload_is_left(subject)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_leaves_nothing_behind_if_parts_end_with_a_failure(subject: Subject, count: int) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(count):
            yield LARGE[: 5 * MIB]
        raise BackupDamagedError("a log is missing")

    with pytest.raises(BackupDamagedError, match="a log is missing"):
        subject.store.put_in_parts(subject.destination, "of parts", parts())

    assert not subject.listed(subject.destination)
    assert_no_upload_is_left(subject)


def test_says_that_access_is_denied(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(subject.store, InMemoryObjectStore):
        assert subject.deviates("wrong secret")
        return
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    stranger = S3ObjectStore.connect()

    if subject.deviates("wrong secret"):
        stranger.check_bucket(subject.source)
    else:
        with pytest.raises(StorageAccessDeniedError, match=subject.source) as caught:
            stranger.check_bucket(subject.source)
        assert "s3:ListBucket" in caught.value.hint


@copies
@pytest.mark.usefixtures("_small_parts")
def test_copies_verifies_and_recognises_a_job(subject: Subject) -> None:
    run = Workspace(subject.store, subject.destination, "prefix", "run")
    items = [subject.add(f"insert_log/1/{number}", b"x" * number) for number in range(30)]
    items.append(subject.add("insert_log/1/large", LARGE))
    target = CopyTarget(index=0, name="default.a", folders=("copies/insert_log/1/", "copies/delta_log/1/"))
    for attempt in ("first", "second"):
        write_target(run, attempt, target, items)
        write_job(run, attempt, subject.job)
    limits = BatchLimits(max_objects=10, max_bytes=1024**3)
    subject.store.put(subject.destination, "copies/insert_log/1/surplus", b"")

    plan = plan_copy(run, "first", 1, limits)
    for number in range(plan.batch_count):
        copy_batch(run, f"copy/first/r1/batch-{number}.jsonl", threads=8, deadline_seconds_left=lambda: 600.0)
    found = verify_copy(run, "first", 1)

    assert (plan.object_count, plan.batch_count) == (31, 4)
    assert (found.complete, found.object_count, found.deleted_count) == ((0,), 31, 1)
    assert set(read_verified(run, "first", 0)) == {item.key for item in items}
    state = copy_state(run, "first")
    assert state is not None
    assert (state.total.objects_done, state.total.bytes_done) == (state.total.objects_total, state.total.bytes_total)
    # Also where the copy in parts has another ETag than its source.
    assert plan_copy(run, "second", 1, limits).object_count == 0


# Not moto, which answers 500 for an object without a lock, and shortens any: no server that is used does.
lockable = pytest.mark.parametrize("subject", ["memory", "quick_s3", "ministack", "seaweedfs"], indirect=True)
# Nor the store in memory, which keeps one version of each key: nothing is hidden there that a deletion could destroy.
versioned = pytest.mark.parametrize("subject", ["quick_s3", "ministack", "seaweedfs"], indirect=True)


class Locked:
    """A bucket with Object Lock, and an object in it."""

    BUCKET = "contract-locked"
    SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=10)
    LATER = SOON + timedelta(days=10)

    @pytest.fixture
    def key(self, subject: Subject, request: pytest.FixtureRequest) -> str:
        """An object, of a key of this test's own: what is locked cannot be removed for the next one."""
        if isinstance(subject.store, InMemoryObjectStore):
            subject.store.buckets[self.BUCKET] = {}
            subject.store.settings = replace(subject.store.settings, has_object_lock=True)
        elif subject.client is not None:
            with suppress(subject.client.exceptions.BucketAlreadyOwnedByYou):
                subject.client.create_bucket(Bucket=self.BUCKET, ObjectLockEnabledForBucket=True)
        key = f"{request.node.name}/{datetime.now(UTC).timestamp()}"
        subject.store.put(self.BUCKET, key, b"1")
        return key

    def version(self, subject: Subject, key: str) -> str:
        """Return the version that a key shows."""
        assert subject.client is not None
        return subject.client.head_object(Bucket=self.BUCKET, Key=key)["VersionId"]

    def is_deleted(self, subject: Subject, key: str, version: str) -> bool:
        """Return whether a version can be deleted for good."""
        assert subject.client is not None
        try:
            subject.client.delete_object(Bucket=self.BUCKET, Key=key, VersionId=version)
        except ClientError:
            return False
        return True


@lockable
class TestLocks(Locked):
    """Object Lock, on buckets that have it, and on those that do not."""

    def test_a_bucket_has_it_or_has_not(self, subject: Subject, key: str) -> None:  # noqa: ARG002
        assert subject.store.has_object_lock(self.BUCKET)
        if subject.client is not None:
            assert not subject.store.has_object_lock(subject.destination)

    def test_an_object_has_no_lock_until_it_is_locked(self, subject: Subject, key: str) -> None:
        assert subject.store.lock_of(self.BUCKET, key) is None
        lock = ObjectLock(mode="governance", until=self.SOON)
        subject.store.lock(self.BUCKET, key, lock)
        assert subject.store.lock_of(self.BUCKET, key) == lock

    def test_what_is_not_there_is_not_found(self, subject: Subject, key: str) -> None:
        with pytest.raises(ObjectNotFoundError):
            subject.store.lock(self.BUCKET, f"{key}-other", ObjectLock(mode="governance", until=self.SOON))
        with pytest.raises(ObjectNotFoundError):
            subject.store.lock_of(self.BUCKET, f"{key}-other")

    def test_what_a_deletion_hid_is_not_found(self, subject: Subject, key: str) -> None:
        subject.store.lock(self.BUCKET, key, ObjectLock(mode="governance", until=self.SOON))
        subject.store.delete(self.BUCKET, [key])
        later = ObjectLock(mode="governance", until=self.LATER)
        if subject.deviates("lock of what is hidden"):
            subject.store.lock(self.BUCKET, key, later)
            return
        with pytest.raises(ObjectNotFoundError):
            subject.store.lock(self.BUCKET, key, later)
        with pytest.raises(ObjectNotFoundError):
            subject.store.lock_of(self.BUCKET, key)

    def test_a_lock_is_extended_and_never_shortened(self, subject: Subject, key: str) -> None:
        later = ObjectLock(mode="governance", until=self.LATER)
        subject.store.lock(self.BUCKET, key, ObjectLock(mode="governance", until=self.SOON))
        subject.store.lock(self.BUCKET, key, later)
        assert subject.store.lock_of(self.BUCKET, key) == later
        subject.store.lock(self.BUCKET, key, ObjectLock(mode="governance", until=self.SOON))
        assert subject.store.lock_of(self.BUCKET, key) == later

    def test_compliance_stays_compliance_whatever_is_asked_for(self, subject: Subject, key: str) -> None:
        subject.store.lock(self.BUCKET, key, ObjectLock(mode="compliance", until=self.SOON))
        subject.store.lock(self.BUCKET, key, ObjectLock(mode="governance", until=self.LATER))
        assert subject.store.lock_of(self.BUCKET, key) == ObjectLock(mode="compliance", until=self.LATER)

    def test_governance_does_not_become_compliance(self, subject: Subject, key: str) -> None:
        subject.store.lock(self.BUCKET, key, ObjectLock(mode="governance", until=self.SOON))
        stricter = ObjectLock(mode="compliance", until=self.LATER)
        if subject.deviates("changed mode"):
            subject.store.lock(self.BUCKET, key, stricter)
            return
        with pytest.raises(LockRefusedError, match="governance"):
            subject.store.lock(self.BUCKET, key, stricter)

    @pytest.mark.parametrize("how", ["put", "put_if_absent", "put_if_unchanged"])
    def test_what_is_written_with_a_lock_has_it_at_once(self, subject: Subject, key: str, how: str) -> None:
        lock = ObjectLock(mode="governance", until=self.SOON)
        store, other = subject.store, f"{key}-{how}"
        if how == "put":
            store.put(self.BUCKET, other, b"2", lock=lock)
        elif how == "put_if_absent":
            assert store.put_if_absent(self.BUCKET, other, b"2", lock=lock)
        else:
            store.put(self.BUCKET, other, b"1")
            assert store.put_if_unchanged(
                self.BUCKET, other, b"2", store.get_with_etag(self.BUCKET, other)[1], lock=lock
            )
        assert (store.get(self.BUCKET, other), store.lock_of(self.BUCKET, other)) == (b"2", lock)

    def test_what_is_written_over_a_locked_object_has_no_lock_of_its_own(self, subject: Subject, key: str) -> None:
        subject.store.lock(self.BUCKET, key, ObjectLock(mode="governance", until=self.SOON))
        subject.store.put(self.BUCKET, key, b"2")
        assert subject.store.lock_of(self.BUCKET, key) is None

    def test_a_lock_in_a_bucket_without_it_is_refused(self, subject: Subject) -> None:
        subject.store.put(subject.destination, "one", b"1")
        assert subject.store.lock_of(subject.destination, "one") is None
        with pytest.raises(StorageRequestError):
            subject.store.lock(subject.destination, "one", ObjectLock(mode="governance", until=self.SOON))


@versioned
class TestLockedVersions(Locked):
    """What Object Lock keeps where a bucket has versions."""

    def test_a_locked_version_is_hidden_by_a_deletion_and_destroyed_by_none(self, subject: Subject, key: str) -> None:
        subject.store.lock(self.BUCKET, key, ObjectLock(mode="governance", until=self.SOON))
        version = self.version(subject, key)
        subject.store.delete(self.BUCKET, [key])
        with pytest.raises(ObjectNotFoundError):
            subject.store.get(self.BUCKET, key)
        assert not self.is_deleted(subject, key, version)
