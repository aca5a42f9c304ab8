"""S3 by boto3: the only module that knows S3's errors and habits."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from http.client import HTTPException
from itertools import batched, chain
from typing import TYPE_CHECKING, Any, Literal, Self, override

import boto3
from botocore import exceptions as sdk
from botocore import session as core
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from urllib3.exceptions import HTTPError

from milvus_vault import __version__
from milvus_vault.adapters.aws_errors import BROKEN_BODY, GARBLED, refusal_of
from milvus_vault.adapters.kept import kept
from milvus_vault.adapters.s3_answers import read_listings_quickly, read_times_quickly
from milvus_vault.adapters.s3_direct import DirectCopies
from milvus_vault.copying.parts import MAX_SINGLE_COPY_BYTES, MIB, part_ranges
from milvus_vault.errors import (
    BucketNotFoundError,
    LockRefusedError,
    ObjectArchivedError,
    ObjectChangedError,
    ObjectNotFoundError,
    StorageAccessDeniedError,
    StorageRequestError,
    StorageThrottledError,
    StorageUnavailableError,
    VaultError,
)
from milvus_vault.model.locks import LockMode, ObjectLock
from milvus_vault.model.objects import (
    ARCHIVED_HINT,
    BucketSettings,
    CopiedObject,
    CopyClient,
    CopyItem,
    CopyJob,
    ListedObject,
    UnfinishedUpload,
)
from milvus_vault.model.times import utc_second
from milvus_vault.ports import ObjectStore

if TYPE_CHECKING:
    from botocore.model import OperationModel
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        CompletedPartTypeDef,
        CopyObjectRequestTypeDef,
        CopySourceTypeDef,
        GetObjectOutputTypeDef,
        GetObjectRequestTypeDef,
        ListObjectsV2RequestPaginateTypeDef,
        MultipartUploadTypeDef,
        ObjectLockRetentionTypeDef,
        ObjectTypeDef,
        PutObjectRequestTypeDef,
    )

# What an answer means, by its code, and where the code says nothing by its status. From "Error responses", S3
# API reference, unless said otherwise.
_ERROR_BY_CODE: dict[str, type[VaultError]] = {
    **dict.fromkeys(
        (
            "BandwidthLimitExceeded",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestTimeout",
            "ServiceUnavailable",
            "SlowDown",
            "SlowDownRead",  # MinIO, as the next
            "SlowDownWrite",
            "TooManyRequests",
            "TooManyRequestsException",
        ),
        StorageThrottledError,
    ),
    # NoSuchUpload: a lifecycle rule aborted the upload; the next attempt begins another.
    **dict.fromkeys(("InternalError", "NoSuchUpload", "OperationAborted"), StorageUnavailableError),
    **dict.fromkeys(
        (
            "AccessDenied",
            "AccountProblem",
            "AllAccessDisabled",
            "ExpiredToken",
            "InvalidAccessKeyId",
            "InvalidToken",
            "NotSignedUp",
            "RequestTimeTooSkewed",
            "SignatureDoesNotMatch",
            "TokenRefreshRequired",
        ),
        StorageAccessDeniedError,
    ),
    **dict.fromkeys(("AuthorizationHeaderMalformed", "PermanentRedirect"), StorageRequestError),
    # The first is what GetObject's model has, the second CopyObject's; both are a 403.
    **dict.fromkeys(("InvalidObjectState", "ObjectNotInActiveTierError", "ObjectNotInActiveTier"), ObjectArchivedError),
    "NoSuchBucket": BucketNotFoundError,
    "NoSuchKey": ObjectNotFoundError,
    "PreconditionFailed": ObjectChangedError,
}
_ERROR_BY_STATUS: dict[int, type[VaultError]] = {
    401: StorageAccessDeniedError,
    403: StorageAccessDeniedError,
    404: ObjectNotFoundError,
    409: StorageUnavailableError,
    412: ObjectChangedError,
    429: StorageThrottledError,
    500: StorageUnavailableError,
    502: StorageUnavailableError,
    503: StorageThrottledError,
    504: StorageUnavailableError,
}
_CREDENTIALS_OVER = "The credentials have run out: get new ones."
_HINT_BY_CODE = {
    # To a HEAD S3 answers with the status alone ("HeadObject", S3 API reference).
    "400": "S3 gives no reason here: the credentials may have run out, or the bucket may lie in another Region.",
    "AuthorizationHeaderMalformed": "The bucket lies in another Region than the one that is configured.",
    "ExpiredToken": _CREDENTIALS_OVER,
    "KMS.DisabledException": "Enable the KMS key that encrypts the bucket.",
    "KMS.KMSInvalidStateException": "The KMS key of the bucket cannot be used: it may be about to be deleted.",
    "KMS.NotFoundException": "The KMS key that encrypts the bucket is not there: check its account and its Region.",
    "PermanentRedirect": "The bucket lies in another Region than the one that is configured.",
    "RequestTimeTooSkewed": "Set this machine's clock: it is more than 15 minutes off.",
    "TokenRefreshRequired": _CREDENTIALS_OVER,
}
_HINT_BY_ERROR: dict[type[VaultError], str] = {
    BucketNotFoundError: "Check the bucket parameters of the stack.",
    ObjectArchivedError: ARCHIVED_HINT,
    ObjectChangedError: "Its ETag is not the one that was listed: it was written anew.",
    ObjectNotFoundError: "It was deleted, or Milvus' compaction replaced it.",
    StorageRequestError: "The message is the server's own; see S3's list of error codes.",
    StorageThrottledError: "Milvus shares the bucket's request rate: lower the number of copies at a time.",
    StorageUnavailableError: "S3 failed by itself; a retry helps unless it persists.",
}
_PERMISSIONS = {
    "AssumeRole": "sts:AssumeRole on that role, whose trust policy has to name it",
    "AbortMultipartUpload": "s3:AbortMultipartUpload on the destination",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "CompleteMultipartUpload": "s3:PutObject on the destination",
    "CopyObject": "s3:GetObject on the source (with s3:ListBucket, without which a missing object looks like a "
    "forbidden one) and s3:PutObject on the destination",
    "CreateMultipartUpload": "s3:PutObject on the destination",
    "DeleteObjects": "s3:DeleteObject",
    "GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "GetObjectRetention": "s3:GetObjectRetention",
    "GetObject": "s3:GetObject (with s3:ListBucket, without which a missing object looks like a forbidden one)",
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "PutObject": "s3:PutObject, and with a lock s3:PutObjectRetention",
    "PutObjectRetention": "s3:PutObjectRetention",
    "UploadPart": "s3:PutObject",
    "UploadPartCopy": "s3:GetObject on the source and s3:PutObject on the destination",
}

_CREDENTIALS_MISSING = (
    sdk.NoCredentialsError,
    sdk.PartialCredentialsError,
    sdk.CredentialRetrievalError,
    sdk.TokenRetrievalError,
    sdk.SSOError,
)
_TRANSPORT = (
    sdk.ConnectionError,
    sdk.HTTPClientError,
    sdk.IncompleteReadError,
    sdk.FlexibleChecksumError,
    HTTPError,
    HTTPException,
    ConnectionError,
)

_READ_ATTEMPTS = 4
"""Reads of a body that broke midway. What is read whole are documents, of a few MiB at most."""

_READ_WAIT_SECONDS = 0.1
"""Wait after the first broken body, twice as long each time: 0.7 s in all."""

# Those that need a restore of hours. INTELLIGENT_TIERING has tiers like them, which a listing does not tell.
_ARCHIVE_CLASSES = {name: name for name in ("GLACIER", "DEEP_ARCHIVE")}

_CONFLICT = 409
_PRECONDITION_FAILED = 412

_PUBLIC_ACCESS_BLOCKS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")

_LOCK_MODES: Mapping[LockMode, Literal["GOVERNANCE", "COMPLIANCE"]] = {
    "governance": "GOVERNANCE",
    "compliance": "COMPLIANCE",
}

_NO_SUCH_SETTING = frozenset(
    {"NoSuchBucketPolicy", "NoSuchPublicAccessBlockConfiguration", "ObjectLockConfigurationNotFoundError"}
)

# What is no Char of XML 1.0, and the carriage return, which a parser makes a line feed.
_NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DELETE_AT_A_TIME = 1000  # DeleteObjects limit, S3 API reference

_CONFLICT_ATTEMPTS = 5
"""Conditional writes that may meet another writer of the same key. S3 answers 409 while the other is not
decided ("Conditional requests", S3 user guide) and asks to try again."""

_CONFLICT_WAIT_SECONDS = 0.1
"""Wait after the first conflict, longer each time: 0.1 + 0.2 + 0.3 + 0.4 s, many times the time of a write."""

CHECKSUMS = (
    "CRC64NVME",
    "CRC32C",
    "CRC32",
    "SHA512",
    "SHA256",
    "SHA1",
    "MD5",
    "XXHASH128",
    "XXHASH64",
    "XXHASH3",
)
"""All algorithms that S3 knows (tests/unit/adapters/test_aws_model.py sees to that); an answer names one."""


class _CutAnswerError(Exception):
    """An answer says that all is well, and lacks what it must have."""


@dataclass(frozen=True, slots=True)
class BucketAccess:
    """What holds for one bucket, and not for all. Empty: nothing of the kind."""

    region: str = ""
    """The Region in which it lies, if that is another one."""
    role_arn: str = ""
    """The role that is assumed for each call of it. A copy to it reads the source by this role as well."""
    owner: str = ""
    """The account whose it must be: S3 refuses calls for a bucket of another one."""
    kms_key_arn: str = ""
    """The key with which what is written there is encrypted."""


@dataclass(frozen=True, slots=True)
class S3Clients:
    """The two clients by which buckets are reached."""

    client: S3Client
    copier: S3Client
    """For CopyObject alone: without the SDK's retries, since the pacer handles SlowDown. Three of its
    modes used 39 to 85 % of what a throttling server allowed, the pacer 91 % (measured)."""
    direct: DirectCopies | None
    """Copies as `copier` does, with less processor time; None where that was not asked for."""


@dataclass(frozen=True, slots=True)
class S3ObjectStore(ObjectStore):
    """The `ObjectStore` protocol on S3, or on a server that speaks its protocol."""

    client: S3Client
    copier: S3Client
    """See `S3Clients`; these are for all buckets but those that have their own."""
    parts: ThreadPoolExecutor
    """Copies parts of all objects that are copied in parts, so that their number stays bounded."""
    buckets: Mapping[str, BucketAccess] = field(default_factory=dict)
    """What holds for some buckets."""
    elsewhere: Mapping[str, S3Clients] = field(default_factory=dict)
    """The clients of buckets in another Region, or of another role."""
    direct: DirectCopies | None = None
    """See `S3Clients`."""

    @classmethod
    def connect(
        cls,
        max_connections: int = 64,
        session: boto3.session.Session | None = None,
        endpoint_url: str | None = None,
        buckets: Mapping[str, BucketAccess] | None = None,
        copy_client: CopyClient = "boto3",
    ) -> Self:
        """Return the store that the environment's credentials, Region and endpoint lead to.

        Args:
            max_connections: Requests at a time; as many as threads will use the store.
            session: Has credentials and Region, instead of the environment.
            endpoint_url: Address of the server, instead of the environment's or AWS's own.
            buckets: What holds for some buckets, by their names. Roles are assumed with the first call that needs one.
            copy_client: By what CopyObject is sent. The requests and what comes of them are the same.
        """
        session = session or boto3.session.Session(botocore_session=_quick_session())
        buckets = buckets or {}
        # Other servers rarely know virtual hosts: their addresses have the bucket in the path.
        has_endpoint = endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        shared = Config(
            max_pool_connections=max_connections,
            # Saves processor time, of which a copy takes 1 ms; requests here are built by code, not by users.
            parameter_validation=False,
            # A text of our own, since the SDK builds its own twice a request: 17 % of its time for a copy (measured).
            user_agent=f"milvus-vault/{__version__}",
            connect_timeout=5,
            # Links would else be signed as before 2014 in old Regions, which objects under KMS do not take.
            signature_version="s3v4",
            s3={"addressing_style": "path" if has_endpoint else "auto"},
        )

        # As the SDK's clients find it.
        ca_bundle = core.get_session().get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")

        def clients(of: boto3.session.Session, region: str | None) -> S3Clients:
            made = S3Clients(
                client=of.client(
                    "s3",
                    region_name=region,
                    endpoint_url=endpoint_url,
                    # A part of 5 GiB, the largest there is, takes 51 s at 100 MiB/s.
                    config=shared.merge(
                        Config(read_timeout=180, retries={"mode": "standard", "total_max_attempts": 5})
                    ),
                ),
                copier=of.client(
                    "s3",
                    region_name=region,
                    endpoint_url=endpoint_url,
                    config=shared.merge(Config(read_timeout=60, retries={"mode": "standard", "total_max_attempts": 1})),
                ),
                direct=None,
            )
            read_listings_quickly(made.client.meta.events)
            if buckets:
                for one in (made.client, made.copier):
                    one.meta.events.register("provide-client-params.s3", _Rules(buckets).apply)
            if copy_client == "boto3":
                return made
            return replace(made, direct=DirectCopies(made.copier, of.get_credentials, ca_bundle, max_connections))

        ours = clients(session, None)
        elsewhere = {
            bucket: clients(
                _assuming(session, access.role_arn) if access.role_arn else session,
                access.region or session.region_name,
            )
            for bucket, access in buckets.items()
            if access.region or access.role_arn
        }
        parts = ThreadPoolExecutor(max_connections, thread_name_prefix="part")
        return cls(ours.client, ours.copier, parts, buckets, elsewhere, ours.direct)

    @classmethod
    def shared(
        cls,
        max_connections: int = 64,
        buckets: Mapping[str, BucketAccess] | None = None,
        copy_client: CopyClient = "boto3",
    ) -> Self:
        """Return the store that this process has for its environment; as `connect`, but made once."""
        known = frozenset((buckets or {}).items())
        return kept(
            lambda: cls.connect(max_connections, buckets=buckets, copy_client=copy_client),
            "s3", max_connections, known, copy_client,
        )  # fmt: skip

    def _to(self, bucket: str) -> S3Client:
        """Return the client for calls of a bucket."""
        found = self.elsewhere.get(bucket)
        return found.client if found else self.client

    @override
    def check_bucket(self, bucket: str) -> None:
        """Return if the bucket exists and may be listed.

        Asks for a listing, since HeadBucket answers without a body: 403 or 404 and no reason.
        """
        try:
            with _translated("list", bucket):
                self._to(bucket).list_objects_v2(Bucket=bucket, MaxKeys=1)
        except StorageAccessDeniedError as err:
            # S3 does not say which of them it was.
            if owner := self.buckets.get(bucket, BucketAccess()).owner:
                hint = f"{err.hint} The bucket has to be one of account {owner}."
                raise StorageAccessDeniedError(err.message, hint=hint) from err
            raise

    @override
    def bucket_settings(self, bucket: str) -> BucketSettings:
        client = self._to(bucket)
        return BucketSettings(
            blocks_public_access=_setting(
                lambda: (
                    client.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
                    == dict.fromkeys(_PUBLIC_ACCESS_BLOCKS, True)
                )
            ),
            is_public=_setting(lambda: client.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"]),
            takes_tls_only=_setting(lambda: _denies_without_tls(client.get_bucket_policy(Bucket=bucket)["Policy"])),
            # A bucket that never had versions says nothing of them.
            keeps_versions=_setting(lambda: client.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled"),
            has_object_lock=_setting(lambda: self._has_object_lock(bucket)),
        )

    @override
    def has_object_lock(self, bucket: str) -> bool:
        with _translated("ask for the Object Lock of", bucket):
            try:
                return self._has_object_lock(bucket)
            except sdk.ClientError as err:
                if _code(err) in _NO_SUCH_SETTING:
                    return False
                raise

    def _has_object_lock(self, bucket: str) -> bool:
        found = self._to(bucket).get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
        return found.get("ObjectLockEnabled") == "Enabled"

    @override
    def lock(self, bucket: str, key: str, lock: ObjectLock) -> None:
        """Lock an object as it is now, or extend its lock. One that is locked longer, or more strictly, stays so.

        One request, as a rule: S3 refuses to shorten a lock or to weaken it with the same AccessDenied as it has for a
        role without the right, and only then is asked how the object is locked.

        Raises:
            ObjectNotFoundError: The object is gone.
            LockRefusedError: It is locked in governance mode, and is to be in compliance mode: S3 changes that only for
                those who may lift the lock.
        """
        with _translated("lock", bucket, key):
            try:
                self._put_retention(bucket, key, lock)
            except sdk.ClientError as err:
                found = self._retention(bucket, key) if _code(err) == "AccessDenied" else None
                if found is None or (found.mode == lock.mode and not found.covers(lock)):
                    raise
            else:
                return
            if found.covers(lock):
                return
            if found.mode == "governance":
                until = utc_second(found.until)
                msg = f"S3 changes no lock to compliance mode: that of s3://{bucket}/{key} is governance, until {until}"
                raise LockRefusedError(
                    msg, hint="Ask for governance mode, make a full backup, or wait until that lock has ended."
                )
            # Its end is too early, its mode is the stricter one.
            self._put_retention(bucket, key, lock.model_copy(update={"mode": found.mode}))

    def _put_retention(self, bucket: str, key: str, lock: ObjectLock) -> None:
        retention: ObjectLockRetentionTypeDef = {"Mode": _LOCK_MODES[lock.mode], "RetainUntilDate": lock.until}
        self._to(bucket).put_object_retention(Bucket=bucket, Key=key, Retention=retention)

    @override
    def lock_of(self, bucket: str, key: str) -> ObjectLock | None:
        with _translated("ask for the lock of", bucket, key):
            return self._retention(bucket, key)

    def _retention(self, bucket: str, key: str) -> ObjectLock | None:
        try:
            answer = self._to(bucket).get_object_retention(Bucket=bucket, Key=key)
        except sdk.ClientError as err:
            # The first is S3's for an object without a lock, the second for a bucket without Object Lock. SeaweedFS has
            # the third for either.
            if _code(err) in {
                "NoSuchObjectLockConfiguration",
                "InvalidRequest",
                "ObjectLockConfigurationNotFoundError",
            }:
                return None
            raise
        found = _told(answer, "Retention")
        mode: LockMode = "compliance" if _told(found, "Mode") == _LOCK_MODES["compliance"] else "governance"
        return ObjectLock(mode=mode, until=_told(found, "RetainUntilDate"))

    @override
    def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        request: ListObjectsV2RequestPaginateTypeDef = {
            "Bucket": bucket,
            "Prefix": prefix,
            "OptionalObjectAttributes": ["RestoreStatus"],
        }
        if after:
            request["StartAfter"] = after
        pages = iter(self._to(bucket).get_paginator("list_objects_v2").paginate(**request))
        while True:
            with _translated("list", bucket, prefix):
                page = next(pages, None)
                listed = [_listed(found) for found in _members(page, "Contents")] if page else None
            if listed is None:
                return
            yield from listed

    @override
    def list_folders(self, bucket: str, prefix: str) -> Iterator[str]:
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        listing = (
            self._to(bucket).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder, Delimiter="/")
        )
        pages = iter(listing)
        while True:
            with _translated("list", bucket, folder):
                page = next(pages, None)
                names = [_told(found, "Prefix") for found in _members(page, "CommonPrefixes")] if page else None
            if names is None:
                return
            yield from (name[len(folder) : -1] for name in names)

    @override
    def get(self, bucket: str, key: str) -> bytes:
        with _translated("read", bucket, key):
            return self._read(bucket, key)[0]

    @override
    def get_with_etag(self, bucket: str, key: str) -> tuple[bytes, str]:
        with _translated("read", bucket, key):
            body, answer = self._read(bucket, key)
            return body, _told(answer, "ETag").strip('"')

    @override
    def modified_at(self, bucket: str, key: str) -> datetime | None:
        with _translated("read", bucket, key):
            return self._read(bucket, key)[1].get("LastModified")

    @override
    def chunks(self, bucket: str, key: str, etag: str = "") -> Iterator[bytes]:
        """Yield the content of an object in pieces; where the body breaks midway, go on behind what was read."""
        request: GetObjectRequestTypeDef = {"Bucket": bucket, "Key": key}
        if etag:
            request["IfMatch"] = f'"{etag}"'
        read_bytes, failures = 0, 0
        with _translated("read", bucket, key):
            while True:
                answer = self._to(bucket).get_object(**request)
                if read_bytes:
                    # Of a server that knows no ranges it would be the content from its beginning.
                    _told(answer, "ContentRange")
                try:
                    with closing(answer["Body"]) as body:
                        for chunk in body.iter_chunks(MIB):
                            read_bytes += len(chunk)
                            yield chunk
                except BROKEN_BODY as err:
                    failures += 1
                    # A wrong checksum is of all that was read: nothing can go on behind it.
                    if failures == _READ_ATTEMPTS or isinstance(err, sdk.FlexibleChecksumError):
                        raise
                    time.sleep(_READ_WAIT_SECONDS * 2 ** (failures - 1))
                    request["IfMatch"] = _told(answer, "ETag")
                    if read_bytes:
                        request["Range"] = f"bytes={read_bytes}-"
                else:
                    return

    @override
    def checksum(self, bucket: str, key: str, etag: str) -> str:
        with _translated("read", bucket, key):
            answer = self._to(bucket).head_object(Bucket=bucket, Key=key, IfMatch=f'"{etag}"', ChecksumMode="ENABLED")
            return _checksum(answer)

    @override
    def has_md5_etag(self, bucket: str, key: str, etag: str) -> bool:
        with _translated("read", bucket, key):
            answer = self._to(bucket).head_object(Bucket=bucket, Key=key, IfMatch=f'"{etag}"')
        # "Checking object integrity", S3 user guide: plaintext and SSE-S3 have it, SSE-KMS and SSE-C do not.
        return answer.get("ServerSideEncryption", "AES256") == "AES256" and "SSECustomerAlgorithm" not in answer

    @override
    def put(
        self, bucket: str, key: str, body: bytes, *, content_type: str = "", lock: ObjectLock | None = None
    ) -> None:
        request = _put_request(bucket, key, body, lock)
        if content_type:
            request["ContentType"] = content_type
        with _translated("write", bucket, key):
            self._to(bucket).put_object(**request)

    @override
    def put_in_parts(self, bucket: str, key: str, parts: Iterable[bytes]) -> None:
        """Write an object as its parts come; one that is small enough to have a single part, by one request."""
        pieces = iter(parts)
        first, second = next(pieces, b""), next(pieces, None)
        if second is None:
            self.put(bucket, key, first)
            return
        with _translated("write", bucket, key):
            # Named here, since S3 takes no checksums of parts otherwise, and the SDK sends them by itself.
            answer = self._to(bucket).create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="CRC32")
            upload_id = _told(answer, "UploadId")
            rest = chain((first, second), pieces)
            # A part may have 64 MiB, and is let go once it is sent.
            del first, second
            written: list[CompletedPartTypeDef] = []
            is_complete = False
            try:
                for number, part in enumerate(rest, start=1):
                    done = self._to(bucket).upload_part(
                        Bucket=bucket,
                        Key=key,
                        UploadId=upload_id,
                        PartNumber=number,
                        Body=part,
                        ChecksumAlgorithm="CRC32",
                    )
                    named: CompletedPartTypeDef = {"PartNumber": number, "ETag": _told(done, "ETag")}
                    if checksum := done.get("ChecksumCRC32"):
                        named["ChecksumCRC32"] = checksum
                    written.append(named)
                self._to(bucket).complete_multipart_upload(
                    Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": written}
                )
                is_complete = True
            finally:
                if not is_complete:
                    self._give_up(bucket, key, upload_id)

    @override
    def link(self, bucket: str, key: str, seconds: int) -> str:
        """Return an address under which everybody who has it can read the object, while our credentials are good."""
        with _translated("sign a link to", bucket, key):
            return self._to(bucket).generate_presigned_url(
                "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=seconds
            )

    @override
    def put_if_absent(self, bucket: str, key: str, body: bytes, *, lock: ObjectLock | None = None) -> bool:
        return self._put_if(_put_request(bucket, key, body, lock), body, etag=None)

    @override
    def put_if_unchanged(
        self, bucket: str, key: str, body: bytes, etag: str, *, lock: ObjectLock | None = None
    ) -> bool:
        return self._put_if(_put_request(bucket, key, body, lock), body, etag=etag)

    @override
    def copy(self, job: CopyJob, item: CopyItem) -> CopiedObject:
        """Copy one object of a job inside S3, in parts where its size asks for it.

        No checksum algorithm is asked for: S3 then keeps the source's checksum or makes a CRC64NVME, and
        names it in the answer. Neither tags nor annotations are copied: nobody needs them, they would ask
        for two more permissions each, an annotation is paid for as a write of its own, and a lifecycle rule by
        tag would go on to delete the copy.

        Raises:
            ObjectNotFoundError: The source is gone.
            ObjectChangedError: The source's ETag is not `item.source_etag`.
        """
        bucket = job.destination_bucket
        source: CopySourceTypeDef = {"Bucket": job.source_bucket, "Key": item.source_key}
        with _translated("copy", job.source_bucket, item.source_key, to=f"s3://{bucket}/{item.key}"):
            if item.size_bytes > MAX_SINGLE_COPY_BYTES:
                return self._copy_in_parts(job, source, item)
            request: CopyObjectRequestTypeDef = {
                "Bucket": bucket,
                "Key": item.key,
                "CopySource": source,
                "TaggingDirective": "REPLACE",
                "AnnotationDirective": "EXCLUDE",
            }
            if item.source_etag:
                request["CopySourceIfMatch"] = item.source_etag
            # The server may answer 200 before it has copied, and then send nothing.
            to = self.elsewhere.get(bucket, self)
            result = (to.direct or to.copier).copy_object(**request).get("CopyObjectResult", {})
            return CopiedObject(item.key, _told(result, "ETag").strip('"'), _checksum(result))

    @override
    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """Delete objects, 1,000 a request; one by one those with keys that XML cannot hold, or would not keep.

        Keys that are not there are no error.
        """
        for together in batched(keys, _DELETE_AT_A_TIME, strict=False):
            for key in together:
                if _NOT_IN_XML.search(key):
                    with _translated("delete", bucket, key):
                        self._to(bucket).delete_object(Bucket=bucket, Key=key)
            some = [key for key in together if not _NOT_IN_XML.search(key)]
            if not some:
                continue
            with _translated("delete", bucket, some[0]):
                answer = self._to(bucket).delete_objects(
                    Bucket=bucket, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
                )
            for failed in answer.get("Errors", ()):
                err = sdk.ClientError(
                    {"Error": {"Code": failed.get("Code", ""), "Message": failed.get("Message", "")}}, "DeleteObjects"
                )
                raise _error_for(err, f"cannot delete s3://{bucket}/{failed.get('Key', '')}")

    @override
    def list_uploads(self, bucket: str, prefix: str) -> Iterator[UnfinishedUpload]:
        pages = iter(self._to(bucket).get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix))
        while True:
            with _translated("list uploads of", bucket, prefix):
                page = next(pages, None)
                uploads = [_upload(found) for found in _members(page, "Uploads")] if page else None
            if uploads is None:
                return
            yield from uploads

    @override
    def abort_upload(self, bucket: str, upload: UnfinishedUpload) -> None:
        with _translated("abort the upload of", bucket, upload.key):
            self._abort(bucket, upload.key, upload.upload_id)

    def _read(self, bucket: str, key: str) -> tuple[bytes, GetObjectOutputTypeDef]:
        """Return an object's content and the answer that it came with, asking again where the body breaks midway."""
        for attempt in range(_READ_ATTEMPTS):
            answer = self._to(bucket).get_object(Bucket=bucket, Key=key)
            try:
                with closing(answer["Body"]) as body:
                    return body.read(), answer
            except BROKEN_BODY:
                if attempt == _READ_ATTEMPTS - 1:
                    raise
                time.sleep(_READ_WAIT_SECONDS * 2**attempt)
        msg = f"unreachable: {_READ_ATTEMPTS} attempts end by return or raise"
        raise AssertionError(msg)

    def _put_if(self, request: PutObjectRequestTypeDef, body: bytes, *, etag: str | None) -> bool:
        bucket, key = request["Bucket"], request["Key"]
        if etag is None:
            request["IfNoneMatch"] = "*"
        else:
            request["IfMatch"] = etag
        with _translated("write", bucket, key):
            was_sent_again = False
            for attempt in range(1, _CONFLICT_ATTEMPTS + 1):
                try:
                    self._to(bucket).put_object(**request)
                except sdk.ClientError as err:
                    # The SDK may have sent it again after an answer that got lost: then the condition fails
                    # for what we wrote ourselves, or is in conflict with it until that is decided.
                    was_sent_again |= err.response["ResponseMetadata"].get("RetryAttempts", 0) > 0
                    if _status(err) == _CONFLICT and attempt < _CONFLICT_ATTEMPTS:
                        time.sleep(_CONFLICT_WAIT_SECONDS * attempt)
                        continue
                    # 404: If-Match on an object that is gone.
                    is_lost = _status(err) == _PRECONDITION_FAILED or _code(err) == "NoSuchKey"
                    if not is_lost:
                        raise
                    return was_sent_again and self._holds(bucket, key, body)
                else:
                    return True
        msg = f"unreachable: {_CONFLICT_ATTEMPTS} attempts end by return or raise"
        raise AssertionError(msg)

    def _holds(self, bucket: str, key: str, body: bytes) -> bool:
        try:
            return self.get(bucket, key) == body
        except ObjectNotFoundError:
            return False

    def _copy_in_parts(self, job: CopyJob, source: CopySourceTypeDef, item: CopyItem) -> CopiedObject:
        bucket = job.destination_bucket
        client = self._to(bucket)
        # Parts of two versions of the source must not be mixed, so its ETag has to be known.
        etag = item.source_etag or _told(client.head_object(Bucket=source["Bucket"], Key=source["Key"]), "ETag")
        upload_id = _told(client.create_multipart_upload(Bucket=bucket, Key=item.key), "UploadId")

        def copy_part(number: int, first: int, last: int) -> CompletedPartTypeDef:
            answer = client.upload_part_copy(
                Bucket=bucket,
                Key=item.key,
                UploadId=upload_id,
                PartNumber=number,
                CopySource=source,
                CopySourceRange=f"bytes={first}-{last}",
                CopySourceIfMatch=etag,
            )
            return {"PartNumber": number, "ETag": _told(answer.get("CopyPartResult", {}), "ETag")}

        running: list[Future[CompletedPartTypeDef]] = []
        is_complete = False
        try:
            for number, (first, last) in enumerate(part_ranges(item.size_bytes), start=1):
                running.append(self.parts.submit(copy_part, number, first, last))
            parts = [future.result() for future in running]
            answer = client.complete_multipart_upload(
                Bucket=bucket, Key=item.key, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )
            etag_of_all = _told(answer, "ETag").strip('"')
            is_complete = True
        finally:
            if not is_complete:
                for future in running:
                    future.cancel()
                # A part that is still being copied would stay behind, and be paid for, after the abort.
                wait(running)
                self._give_up(bucket, item.key, upload_id)
        return CopiedObject(item.key, etag_of_all, _checksum(answer))

    def _abort(self, bucket: str, key: str, upload_id: str) -> None:
        try:
            self._to(bucket).abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        except sdk.ClientError as err:
            # It was completed, and the answer got lost, or a lifecycle rule was faster.
            if _code(err) != "NoSuchUpload":
                raise

    def _give_up(self, bucket: str, key: str, upload_id: str) -> None:
        """Abort an upload that failed: by what, says more than what refuses that. What is left of it is swept."""
        with suppress(sdk.ClientError, sdk.BotoCoreError):
            self._abort(bucket, key, upload_id)


@dataclass(frozen=True, slots=True)
class _Rules:
    """Adds to each call what holds for its buckets: whose they must be, and by which key they are encrypted."""

    buckets: Mapping[str, BucketAccess]

    def apply(self, params: dict[str, Any], model: OperationModel, context: Mapping[str, Any], **_: object) -> None:
        """Complete the parameters of a call. Whoever opens a link sends no headers, so that those stay as they are."""
        if context.get("is_presign_request"):
            return
        knows = model.input_shape.members if model.input_shape else {}
        to = self.buckets.get(params.get("Bucket", ""), BucketAccess())
        if to.owner and "ExpectedBucketOwner" in knows:
            params["ExpectedBucketOwner"] = to.owner
        if "ExpectedSourceBucketOwner" in knows:
            source = self.buckets.get(params["CopySource"]["Bucket"], BucketAccess())
            if source.owner:
                params["ExpectedSourceBucketOwner"] = source.owner
        if to.kms_key_arn and "SSEKMSKeyId" in knows:
            params |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": to.kms_key_arn, "BucketKeyEnabled": True}


class _AssumedRole(CredentialProvider):
    """Has the credentials of a role, and gets new ones before they run out, after an hour."""

    METHOD = "assume-role"

    def __init__(self, session: boto3.session.Session, role_arn: str) -> None:
        super().__init__()
        self._fetcher = AssumeRoleCredentialFetcher(
            session.client, session.get_credentials(), role_arn, {"RoleSessionName": "milvus-vault"}
        )

    @override
    def load(self) -> DeferredRefreshableCredentials:
        """Return them; nobody is asked before the first call."""
        return DeferredRefreshableCredentials(self._fetcher.fetch_credentials, self.METHOD)


def _quick_session() -> core.Session:
    made = core.get_session()
    read_times_quickly(made)
    return made


def _assuming(session: boto3.session.Session, role_arn: str) -> boto3.session.Session:
    """Return a session with the credentials of a role that this one may assume."""
    assumed = _quick_session()
    assumed.register_component("credential_provider", CredentialResolver([_AssumedRole(session, role_arn)]))
    return boto3.session.Session(botocore_session=assumed)


def _put_request(bucket: str, key: str, body: bytes, lock: ObjectLock | None) -> PutObjectRequestTypeDef:
    request: PutObjectRequestTypeDef = {"Bucket": bucket, "Key": key, "Body": body}
    if lock:
        # S3 asks for a checksum with it, which the SDK sends with every PutObject.
        request["ObjectLockMode"] = _LOCK_MODES[lock.mode]
        request["ObjectLockRetainUntilDate"] = lock.until
    return request


def _setting(ask: Callable[[], bool]) -> bool | None:
    """Return what was asked for; False where the bucket has no such setting, None where it cannot be read."""
    try:
        return ask()
    except sdk.ClientError as err:
        return False if _code(err) in _NO_SUCH_SETTING else None
    except (sdk.BotoCoreError, *BROKEN_BODY, *GARBLED):
        return None


def _denies_without_tls(policy: str) -> bool:
    """Return whether a bucket's policy refuses everybody who comes without TLS, whatever they want."""
    return any(
        statement["Effect"] == "Deny"
        and statement.get("Principal") in ("*", {"AWS": "*"})
        and statement.get("Action") in ("*", "s3:*", ["s3:*"])
        and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        for statement in json.loads(policy)["Statement"]
    )


def _told(answer: Mapping[str, Any], name: str) -> Any:
    """Return a member that an answer must have, whatever the server; a body that was cut off lacks it."""
    found = answer.get(name)
    if found is None:
        msg = f"the answer has no {name}"
        raise _CutAnswerError(msg)
    return found


def _members(page: Mapping[str, Any], name: str) -> Sequence[Any]:
    """Return what a page of a listing has of a kind. One that is cut off to nothing is no page of an empty listing."""
    _told(page, "IsTruncated")
    members: Sequence[Any] = page.get(name, ())
    return members


def _listed(found: ObjectTypeDef) -> ListedObject:
    etag = _told(found, "ETag").strip('"')
    return ListedObject(
        _told(found, "Key"), _told(found, "Size"), etag, _told(found, "LastModified"), _archive_class(found)
    )


def _upload(found: MultipartUploadTypeDef) -> UnfinishedUpload:
    return UnfinishedUpload(_told(found, "Key"), _told(found, "UploadId"), _told(found, "Initiated"))


def _archive_class(found: ObjectTypeDef) -> str:
    """Return the class that keeps a listed object from being read; empty while a restored copy of it lasts."""
    # The constant, not the equal text of the listing: there may be a million.
    name = _ARCHIVE_CLASSES.get(found.get("StorageClass", ""), "")
    return "" if name and "RestoreExpiryDate" in found.get("RestoreStatus", {}) else name


def _checksum(answer: object) -> str:
    """Return the checksum in an answer as `<algorithm>:<base64>`, or an empty text."""
    if isinstance(answer, dict):
        for algorithm in CHECKSUMS:
            if checksum := answer.get(f"Checksum{algorithm}"):
                return f"{algorithm}:{checksum}"
    return ""


@contextmanager
def _translated(action: str, bucket: str, key: str = "", to: str = "") -> Iterator[None]:
    """Raise our errors in place of the SDK's, with a message that names the object."""
    try:
        yield
    except (sdk.ClientError, sdk.BotoCoreError, *BROKEN_BODY, *GARBLED, _CutAnswerError) as err:
        raise _error_for(err, f"cannot {action} s3://{bucket}/{key}{f' to {to}' if to else ''}") from err


def _code(err: sdk.ClientError) -> str:
    return refusal_of(err)[0]


def _status(err: sdk.ClientError) -> int:
    return int(err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _error_for(err: Exception, what: str) -> VaultError:
    """Return our error for one of the SDK's."""
    if isinstance(err, sdk.ClientError):
        return _error_for_answer(err, what)
    message = f"{what}: {err}"
    if isinstance(err, _CREDENTIALS_MISSING):
        return StorageAccessDeniedError(message, hint="Give the function's role or the environment AWS credentials.")
    if isinstance(err, (_CutAnswerError, *GARBLED)) and not isinstance(err, UnicodeError):
        return StorageUnavailableError(message, hint="It was cut off, or something else than S3 answers there.")
    if isinstance(err, _TRANSPORT):
        return StorageUnavailableError(
            message, hint="Check the way to S3: in a VPC it takes a gateway endpoint or a NAT gateway."
        )
    return StorageRequestError(message, hint="Check the names of buckets and prefixes in the stack's parameters.")


def _error_for_answer(err: sdk.ClientError, what: str) -> VaultError:
    code, message = refusal_of(err)
    if "Throttl" in code:  # KMS' own names, passed on by S3
        leaf: type[VaultError] = StorageThrottledError
    elif code.upper().startswith("KMS"):
        leaf = StorageAccessDeniedError
    elif err.response.get("Error", {}).get("ResourceType") == "DeleteMarker":
        # A 405: reads say 404 of a key whose newest version is one ("Working with delete markers", S3 user guide),
        # calls for its lock do not.
        leaf = ObjectNotFoundError
    else:
        leaf = _ERROR_BY_CODE.get(code) or _ERROR_BY_STATUS.get(_status(err), StorageRequestError)
    hint = _HINT_BY_CODE.get(code) or _HINT_BY_ERROR.get(leaf) or _permission_hint(err.operation_name)
    return leaf(f"{what}: {code} {message}".rstrip(), hint=hint)


def _permission_hint(operation: str) -> str:
    needed = _PERMISSIONS.get(operation, f"the permission for {operation}")
    return f"The role needs {needed}; for a bucket with a KMS key also kms:Decrypt and kms:GenerateDataKey."
