"""An S3 server within the process, for tests of which each asks a thousand times.

boto3 takes 3 ms of a processor for a request over HTTP and the emulator 2 ms, and a restore makes some thousand: five
sixths of what such a test takes. Here a call of a boto3 client is answered where the SDK would begin to write it down
as HTTP, so that our adapter and its errors, the guard of rights and the tests' own clients are as with a server.
tests/contract/test_object_store.py holds it to what the real servers do.
"""

import hashlib
import io
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any, Self
from urllib.parse import unquote

import pytest
from botocore.client import BaseClient
from botocore.response import StreamingBody
from mypy_boto3_s3 import S3Client

from local import clients

type Answer = dict[str, Any]

URL = "http://quick-s3.invalid"
_PAGE = 1000
_CONTENT_TYPE = "binary/octet-stream"


class RefusedError(Exception):
    """What the server says no with: a code, the status that S3 has for it, and what of S3's error is read beside it."""

    def __init__(self, code: str, status: int, **details: str) -> None:
        super().__init__(code)
        self.code, self.status, self.details = code, status, details


@dataclass(frozen=True, slots=True)
class _Object:
    body: bytes
    etag: str
    """In quotes, as S3 has it."""
    content_type: str = _CONTENT_TYPE
    tags: tuple[Mapping[str, str], ...] = ()
    lock: tuple[str, datetime] | None = None
    """Mode and end of its retention."""
    # S3 lists whole seconds.
    modified: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    version: str = "null"

    @property
    def is_locked(self) -> bool:
        """Return whether nobody can delete this version."""
        return self.lock is not None and self.lock[1] > datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Upload:
    bucket: str
    key: str
    begun: datetime
    parts: dict[int, bytes] = field(default_factory=dict)


def _md5(body: bytes) -> "hashlib._Hash":
    return hashlib.md5(body, usedforsecurity=False)


def _etag(body: bytes) -> str:
    return f'"{_md5(body).hexdigest()}"'


class QuickS3:
    """Buckets in memory, at an address that only this process knows.

    with QuickS3() as server:
        server.client().create_bucket(Bucket="some")

    Each operation goes through `between`, which is given the client, its name and what carries it out, and returns
    the answer; a test may carry it out or not, change the answer, or raise what the client is to see.

    While it runs, every boto3 client whose endpoint is `url` is answered by it. An operation that no test has needed
    yet is an `AttributeError`.
    """

    url = URL

    def __init__(self) -> None:
        """Begin without buckets."""
        self.hidden_keys: set[str] = set()
        """What listings leave out, as those of a server that lies or has not heard of it yet; all else finds it."""
        self._buckets: dict[str, dict[str, _Object]] = {}
        self._uploads: dict[str, _Upload] = {}
        self._lockable: set[str] = set()
        """Buckets that have Object Lock."""
        self._versions: dict[tuple[str, str, str], _Object] = {}
        """Versions that are not shown any more, of these buckets: by bucket, key and ID."""
        self._numbers = count(1)
        self.between: Callable[[Any, str, Callable[[], Answer]], Answer] = lambda _client, _name, carry_out: carry_out()
        self._lock = threading.Lock()
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> Self:
        """Answer from now on."""
        call = vars(BaseClient)["_make_api_call"]

        def answered(client: Any, operation: str, request: Mapping[str, Any]) -> Any:
            is_ours = client.meta.endpoint_url == URL
            return self._answer(client, operation, request) if is_ours else call(client, operation, request)

        self._patch.setattr(BaseClient, "_make_api_call", answered)
        return self

    def __exit__(self, *_: object) -> None:
        """Answer no more."""
        self._patch.undo()

    def client(self) -> S3Client:
        """Return a boto3 client of this server."""
        client: S3Client = clients.create("s3", URL, access_key="test", secret_key="test")
        return client

    def _answer(self, client: Any, operation: str, request: Mapping[str, Any]) -> Answer:
        method: Callable[..., Answer] = getattr(self, operation)
        about: Answer = {"HTTPStatusCode": 200, "RequestId": str(next(self._numbers)), "RetryAttempts": 0}
        try:
            with self._lock:
                return {**self.between(client, operation, lambda: method(request)), "ResponseMetadata": about}
        except RefusedError as err:
            about["HTTPStatusCode"] = err.status
            error = {"Code": err.code, "Message": f"{operation}: {err.code}", **err.details}
            said = {"Error": error, "ResponseMetadata": about}
            raise client.exceptions.from_code(err.code)(said, operation) from err

    def _bucket(self, request: Mapping[str, Any]) -> dict[str, _Object]:
        try:
            return self._buckets[request["Bucket"]]
        except KeyError:
            raise RefusedError("NoSuchBucket", 404) from None

    def _object(self, request: Mapping[str, Any]) -> _Object:
        try:
            return self._bucket(request)[request["Key"]]
        except KeyError:
            raise RefusedError("NoSuchKey", 404) from None

    def _with_lock(self, request: Mapping[str, Any]) -> _Object:
        """Return the object of a call about its lock; where a deletion hid it, S3 refuses in its own way."""
        bucket, key = request["Bucket"], request["Key"]
        is_hidden = key not in self._bucket(request) and any(found[:2] == (bucket, key) for found in self._versions)
        if is_hidden:
            raise RefusedError("MethodNotAllowed", 405, ResourceType="DeleteMarker")
        return self._object(request)

    def _copied(self, request: Mapping[str, Any]) -> _Object:
        """Return the source of a copy, as it must be by the request."""
        self._bucket(request)
        source = request["CopySource"]
        if isinstance(source, str):
            bucket, _, key = unquote(source).partition("/")
            source = {"Bucket": bucket, "Key": key}
        found = self._object(source)
        wanted = request.get("CopySourceIfMatch")
        if wanted and wanted.strip('"') != found.etag.strip('"'):
            raise RefusedError("PreconditionFailed", 412)
        return found

    def _upload(self, request: Mapping[str, Any]) -> _Upload:
        try:
            return self._uploads[request["UploadId"]]
        except KeyError:
            raise RefusedError("NoSuchUpload", 404) from None

    # The operations, by the names that they have in the interface of AWS.

    def DescribeExecution(self, _: Mapping[str, Any]) -> Answer:
        """Step Functions, which has no execution here: tests call the functions one by one."""
        raise RefusedError("ExecutionDoesNotExist", 400)

    def ListBuckets(self, _: Mapping[str, Any]) -> Answer:
        return {"Buckets": [{"Name": name} for name in sorted(self._buckets)]}

    def CreateBucket(self, request: Mapping[str, Any]) -> Answer:
        self._buckets.setdefault(request["Bucket"], {})
        if request.get("ObjectLockEnabledForBucket"):
            self._lockable.add(request["Bucket"])
        return {}

    def GetObjectLockConfiguration(self, request: Mapping[str, Any]) -> Answer:
        self._bucket(request)
        if request["Bucket"] not in self._lockable:
            raise RefusedError("ObjectLockConfigurationNotFoundError", 404)
        return {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}

    def PutObjectRetention(self, request: Mapping[str, Any]) -> Answer:
        found, asked = self._with_lock(request), request["Retention"]
        lock = self._lock_of(request, asked["Mode"], asked["RetainUntilDate"])
        if found.is_locked and found.lock:
            mode, until = found.lock
            # Neither shorter nor of another mode; who may lift locks is nobody here.
            if asked["RetainUntilDate"] < until or asked["Mode"] != mode:
                raise RefusedError("AccessDenied", 403)
        self._bucket(request)[request["Key"]] = replace(found, lock=lock)
        return {}

    def GetObjectRetention(self, request: Mapping[str, Any]) -> Answer:
        found = self._with_lock(request)
        if request["Bucket"] not in self._lockable:
            raise RefusedError("InvalidRequest", 400)
        if found.lock is None:
            raise RefusedError("NoSuchObjectLockConfiguration", 404)
        return {"Retention": {"Mode": found.lock[0], "RetainUntilDate": found.lock[1]}}

    def _lock_of(
        self, request: Mapping[str, Any], mode: str | None, until: datetime | None
    ) -> tuple[str, datetime] | None:
        if mode is None or until is None:
            return None
        if request["Bucket"] not in self._lockable:
            raise RefusedError("InvalidRequest", 400)
        if until <= datetime.now(UTC):
            raise RefusedError("InvalidArgument", 400)
        return mode, until

    def _keep_version(self, bucket: str, key: str) -> None:
        """Keep what is about to be replaced or hidden, where the bucket has versions."""
        if bucket in self._lockable and (found := self._buckets[bucket].get(key)):
            self._versions[bucket, key, found.version] = found

    def ListObjectsV2(self, request: Mapping[str, Any]) -> Answer:
        bucket, prefix, delimiter = self._bucket(request), request.get("Prefix", ""), request.get("Delimiter", "")
        after = request.get("ContinuationToken", request.get("StartAfter", "")).encode()
        contents: list[Answer] = []
        folders: dict[str, None] = {}
        # S3 sorts by the bytes of UTF-8.
        shown = (key for key in bucket if key.startswith(prefix) and key not in self.hidden_keys)
        for key in sorted(shown, key=str.encode):
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            entry = prefix + head + delimiter if found else key
            if entry.encode() <= after or entry in folders:
                continue
            if len(contents) + len(folders) == request.get("MaxKeys", _PAGE):
                last = max([*folders, *(content["Key"] for content in contents[-1:])], key=str.encode)
                return self._page(contents, folders) | {"IsTruncated": True, "NextContinuationToken": last}
            if found:
                folders[entry] = None
            else:
                there = bucket[key]
                listed = {"Key": key, "Size": len(there.body), "ETag": there.etag, "LastModified": there.modified}
                contents.append(listed | {"StorageClass": "STANDARD"})
        return self._page(contents, folders) | {"IsTruncated": False}

    def _page(self, contents: list[Answer], folders: Mapping[str, None]) -> Answer:
        page: Answer = {"KeyCount": len(contents) + len(folders)}
        if contents:
            page["Contents"] = contents
        if folders:
            page["CommonPrefixes"] = [{"Prefix": folder} for folder in folders]
        return page

    def GetObject(self, request: Mapping[str, Any]) -> Answer:
        found = self._object(request)
        return self.HeadObject(request) | {"Body": StreamingBody(io.BytesIO(found.body), len(found.body))}

    def HeadObject(self, request: Mapping[str, Any]) -> Answer:
        found = self._object(request)
        if (wanted := request.get("IfMatch")) and wanted.strip('"') != found.etag.strip('"'):
            raise RefusedError("PreconditionFailed", 412)
        about = {"ContentLength": len(found.body), "ContentType": found.content_type}
        return about | {"ETag": found.etag, "LastModified": found.modified, "VersionId": found.version}

    def PutObject(self, request: Mapping[str, Any]) -> Answer:
        bucket, key, body = self._bucket(request), request["Key"], request.get("Body", b"")
        body = body.encode() if isinstance(body, str) else bytes(body)
        if request.get("IfNoneMatch") and key in bucket:
            raise RefusedError("PreconditionFailed", 412)
        if (wanted := request.get("IfMatch")) and self._object(request).etag.strip('"') != wanted.strip('"'):
            raise RefusedError("PreconditionFailed", 412)
        lock = self._lock_of(request, request.get("ObjectLockMode"), request.get("ObjectLockRetainUntilDate"))
        self._keep_version(request["Bucket"], key)
        content_type = request.get("ContentType", _CONTENT_TYPE)
        bucket[key] = _Object(body, _etag(body), content_type, lock=lock, version=self._next_version(request))
        return {"ETag": bucket[key].etag, "VersionId": bucket[key].version}

    def _next_version(self, request: Mapping[str, Any]) -> str:
        return f"version-{next(self._numbers)}" if request["Bucket"] in self._lockable else "null"

    def CopyObject(self, request: Mapping[str, Any]) -> Answer:
        found = self._copied(request)
        tags = () if request.get("TaggingDirective") == "REPLACE" else found.tags
        self._keep_version(request["Bucket"], request["Key"])
        copy = _Object(found.body, _etag(found.body), found.content_type, tags, version=self._next_version(request))
        self._bucket(request)[request["Key"]] = copy
        return {"CopyObjectResult": {"ETag": copy.etag, "LastModified": copy.modified}}

    def DeleteObject(self, request: Mapping[str, Any]) -> Answer:
        bucket, key = self._bucket(request), request["Key"]
        if (version := request.get("VersionId")) is None:
            self._keep_version(request["Bucket"], key)
            bucket.pop(key, None)
            return {}
        current = bucket.get(key)
        is_current = current is not None and current.version == version
        found = current if is_current else self._versions.get((request["Bucket"], key, version))
        if found is not None and found.is_locked:
            raise RefusedError("AccessDenied", 403)
        if is_current:
            del bucket[key]
        self._versions.pop((request["Bucket"], key, version), None)
        return {}

    def DeleteObjects(self, request: Mapping[str, Any]) -> Answer:
        bucket, asked = self._bucket(request), request["Delete"]
        if len(asked["Objects"]) > _PAGE:
            raise RefusedError("MalformedXML", 400)
        for named in asked["Objects"]:
            self._keep_version(request["Bucket"], named["Key"])
            bucket.pop(named["Key"], None)
        return {} if asked.get("Quiet") else {"Deleted": [{"Key": named["Key"]} for named in asked["Objects"]]}

    def PutObjectTagging(self, request: Mapping[str, Any]) -> Answer:
        found, tags = self._object(request), tuple(request["Tagging"]["TagSet"])
        self._bucket(request)[request["Key"]] = replace(found, tags=tags)
        return {}

    def GetObjectTagging(self, request: Mapping[str, Any]) -> Answer:
        return {"TagSet": list(self._object(request).tags)}

    def CreateMultipartUpload(self, request: Mapping[str, Any]) -> Answer:
        self._bucket(request)
        name = f"upload-{next(self._numbers)}"
        self._uploads[name] = _Upload(request["Bucket"], request["Key"], datetime.now(UTC).replace(microsecond=0))
        return {"Bucket": request["Bucket"], "Key": request["Key"], "UploadId": name}

    def UploadPart(self, request: Mapping[str, Any]) -> Answer:
        body = bytes(request["Body"])
        self._upload(request).parts[request["PartNumber"]] = body
        return {"ETag": _etag(body)}

    def UploadPartCopy(self, request: Mapping[str, Any]) -> Answer:
        upload, found = self._upload(request), self._copied(request)
        first, last = map(int, request["CopySourceRange"].removeprefix("bytes=").split("-"))
        if last >= len(found.body):
            raise RefusedError("InvalidRange", 416)
        part = upload.parts[request["PartNumber"]] = found.body[first : last + 1]
        return {"CopyPartResult": {"ETag": _etag(part)}}

    def CompleteMultipartUpload(self, request: Mapping[str, Any]) -> Answer:
        upload, named = self._upload(request), request["MultipartUpload"]["Parts"]
        parts = [upload.parts[part["PartNumber"]] for part in named]
        if [_etag(part) for part in parts] != [part["ETag"] for part in named]:
            raise RefusedError("InvalidPart", 400)
        etag = f'"{_md5(b"".join(_md5(part).digest() for part in parts)).hexdigest()}-{len(parts)}"'
        self._keep_version(request["Bucket"], request["Key"])
        self._bucket(request)[request["Key"]] = _Object(b"".join(parts), etag, version=self._next_version(request))
        del self._uploads[request["UploadId"]]
        return {"Bucket": request["Bucket"], "Key": request["Key"], "ETag": etag}

    def AbortMultipartUpload(self, request: Mapping[str, Any]) -> Answer:
        self._upload(request)
        del self._uploads[request["UploadId"]]
        return {}

    def ListMultipartUploads(self, request: Mapping[str, Any]) -> Answer:
        self._bucket(request)
        found = [
            {"Key": upload.key, "UploadId": name, "Initiated": upload.begun}
            for name, upload in self._uploads.items()
            if upload.bucket == request["Bucket"] and upload.key.startswith(request.get("Prefix", ""))
        ]
        return {"IsTruncated": False} | ({"Uploads": found} if found else {})
