"""An `ObjectStore` in memory, with a place to make it fail."""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count

from milvus_vault.copying.parts import MIB
from milvus_vault.errors import (
    BucketNotFoundError,
    LockRefusedError,
    ObjectArchivedError,
    ObjectChangedError,
    ObjectNotFoundError,
    StorageRequestError,
)
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.objects import BucketSettings, CopiedObject, CopyItem, CopyJob, ListedObject, UnfinishedUpload


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's content and ETag."""

    body: bytes
    etag: str
    modified_at: datetime
    lock: ObjectLock | None = None


class InMemoryObjectStore:
    """Buckets as dictionaries. Listings are in reverse order, since no order may be relied on.

    `before` is called ahead of each request with the operation, the bucket and the key (for a copy the
    source's, for a deletion the first), and may raise what the request is to fail with. `requests` counts
    the requests of each operation. `clock` says when something is written.
    """

    def __init__(self, *buckets: str, has_random_etags: bool = False) -> None:
        """Begin with empty buckets. Random ETags are those of a bucket under KMS: each write has another."""
        self.buckets: dict[str, dict[str, StoredObject]] = {bucket: {} for bucket in buckets}
        self.archived: set[str] = set()
        """Keys of objects that are listed as GLACIER, and that nothing reads."""
        self.settings = BucketSettings(
            blocks_public_access=True, is_public=False, takes_tls_only=True, keeps_versions=True, has_object_lock=False
        )
        self.checksums: dict[str, str] = {}
        """What the server keeps with objects, by key."""
        self.uploads: dict[str, list[UnfinishedUpload]] = {}
        self.before: Callable[[str, str, str], None] = lambda *_: None
        self.requests: Counter[str] = Counter()
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.has_random_etags = has_random_etags
        self._salts = (f"{number}-".encode() if has_random_etags else b"" for number in count())
        self._lock = threading.RLock()

    def check_bucket(self, bucket: str) -> None:
        """Return if the bucket exists."""
        self.before("check_bucket", bucket, "")
        self._request("check_bucket", bucket)

    def bucket_settings(self, bucket: str) -> BucketSettings:  # noqa: ARG002 - all buckets have the same
        """Return `settings`."""
        return self.settings

    def has_object_lock(self, bucket: str) -> bool:
        """Return what `settings` say."""
        self.before("has_object_lock", bucket, "")
        self._request("has_object_lock", bucket)
        return bool(self.settings.has_object_lock)

    def lock(self, bucket: str, key: str, lock: ObjectLock) -> None:
        """Lock an object, unless it is locked better."""
        self.before("lock", bucket, key)
        with self._lock:
            objects = self._request("lock", bucket)
            found = self._find(objects, bucket, key)
            self._check_lockable(lock)
            before = found.lock if found.lock and found.lock.until > self.clock() else None
            if before is not None and before.covers(lock):
                return
            if before is not None and before.mode == "governance" != lock.mode:
                msg = f"s3://{bucket}/{key} is locked in governance mode"
                raise LockRefusedError(msg, hint="Ask for that mode.")
            objects[key] = replace(found, lock=ObjectLock(mode=before.mode if before else lock.mode, until=lock.until))

    def _check_lockable(self, lock: ObjectLock | None) -> None:
        if lock is not None and not self.settings.has_object_lock:
            msg = "the bucket has no Object Lock"
            raise StorageRequestError(msg, hint="Say in `settings` that it has.")

    def lock_of(self, bucket: str, key: str) -> ObjectLock | None:
        """Return the lock of an object."""
        self.before("lock_of", bucket, key)
        with self._lock:
            return self._find(self._request("lock_of", bucket), bucket, key).lock

    def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        """Yield every object below the prefix, or those behind a key, in an order that S3 has not."""
        self.before("list_objects", bucket, prefix)
        with self._lock:
            objects = dict(self._request("list_objects", bucket))
        for key in sorted(objects, reverse=True):
            if key.startswith(prefix) and (not after or key < after):
                found, kept_in = objects[key], "GLACIER" if key in self.archived else ""
                yield ListedObject(key, len(found.body), found.etag, found.modified_at, kept_in)

    def list_folders(self, bucket: str, prefix: str) -> Iterator[str]:
        """Yield the names directly below `prefix` that have something below them."""
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        self.before("list_folders", bucket, folder)
        objects = self._request("list_folders", bucket)
        below = {key.removeprefix(folder) for key in list(objects) if key.startswith(folder)}
        yield from {rest.split("/", 1)[0] for rest in below if "/" in rest}

    def get(self, bucket: str, key: str) -> bytes:
        """Return an object's content."""
        return self.get_with_etag(bucket, key)[0]

    def get_with_etag(self, bucket: str, key: str) -> tuple[bytes, str]:
        """Return an object's content and its ETag."""
        self.before("get", bucket, key)
        with self._lock:
            found = self._find(self._request("get", bucket), bucket, key)
        return found.body, found.etag

    def modified_at(self, bucket: str, key: str) -> datetime | None:
        """Return when an object was written."""
        self.before("get", bucket, key)
        with self._lock:
            return self._find(self._request("get", bucket), bucket, key).modified_at

    def chunks(self, bucket: str, key: str, etag: str = "") -> Iterator[bytes]:
        """Yield the content in pieces. Of any ETag, it counts as a `get`."""
        operation = "chunks" if etag else "get"
        self.before(operation, bucket, key)
        with self._lock:
            found = self._find(self._request(operation, bucket), bucket, key)
        if etag and found.etag != etag:
            raise ObjectChangedError(key)
        body = found.body
        yield from (body[start : start + MIB] for start in range(0, len(body), MIB))

    def checksum(self, bucket: str, key: str, etag: str) -> str:
        """Return the checksum that was set in `checksums`; else none."""
        self.before("checksum", bucket, key)
        with self._lock:
            if self._find(self._request("checksum", bucket), bucket, key).etag != etag:
                raise ObjectChangedError(key)
        return self.checksums.get(key, "")

    def has_md5_etag(self, bucket: str, key: str, etag: str) -> bool:
        """Return whether ETags are not random."""
        self.before("has_md5_etag", bucket, key)
        with self._lock:
            if self._find(self._request("has_md5_etag", bucket), bucket, key).etag != etag:
                raise ObjectChangedError(key)
        return not self.has_random_etags

    def put(
        self,
        bucket: str,
        key: str,
        body: bytes,
        *,
        content_type: str = "",  # noqa: ARG002
        lock: ObjectLock | None = None,
    ) -> None:
        """Write an object."""
        self.before("put", bucket, key)
        with self._lock:
            self._store(self._request("put", bucket), key, body, lock)

    def put_in_parts(self, bucket: str, key: str, parts: Iterable[bytes]) -> None:
        """Write an object of all its parts, once there are all."""
        self.put(bucket, key, b"".join(parts))

    def link(self, bucket: str, key: str, seconds: int) -> str:
        """Return what would be a link."""
        return f"memory://{bucket}/{key}?seconds={seconds}"

    def put_if_absent(self, bucket: str, key: str, body: bytes, *, lock: ObjectLock | None = None) -> bool:
        """Write an object unless the key is taken; return whether it was written."""
        self.before("put", bucket, key)
        with self._lock:
            objects = self._request("put", bucket)
            if key in objects:
                return False
            self._store(objects, key, body, lock)
            return True

    def put_if_unchanged(
        self, bucket: str, key: str, body: bytes, etag: str, *, lock: ObjectLock | None = None
    ) -> bool:
        """Replace an object if it still has this ETag; return whether it was replaced."""
        self.before("put", bucket, key)
        with self._lock:
            objects = self._request("put", bucket)
            if key not in objects or objects[key].etag != etag:
                return False
            self._store(objects, key, body, lock)
            return True

    def copy(self, job: CopyJob, item: CopyItem) -> CopiedObject:
        """Copy one object."""
        self.before("copy", job.source_bucket, item.source_key)
        with self._lock:
            self.requests["copy"] += 1
            source = self._find(self._bucket(job.source_bucket), job.source_bucket, item.source_key)
            if item.source_etag and source.etag != item.source_etag:
                msg = f"s3://{job.source_bucket}/{item.source_key} is not the object that was listed"
                raise ObjectChangedError(msg)
            stored = self._store(self._bucket(job.destination_bucket), item.key, source.body)
            return CopiedObject(item.key, stored.etag, f"MD5:{hashlib.md5(source.body).hexdigest()}")  # noqa: S324

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """Delete objects."""
        some = list(keys)
        if some:
            self.before("delete", bucket, some[0])
            with self._lock:
                objects = self._request("delete", bucket)
                for key in some:
                    objects.pop(key, None)

    def list_uploads(self, bucket: str, prefix: str) -> Iterator[UnfinishedUpload]:
        """Yield the uploads below the prefix that `uploads` has."""
        self.before("list_uploads", bucket, prefix)
        self._request("list_uploads", bucket)
        yield from [upload for upload in self.uploads.get(bucket, ()) if upload.key.startswith(prefix)]

    def abort_upload(self, bucket: str, upload: UnfinishedUpload) -> None:
        """Forget an upload."""
        self.before("abort_upload", bucket, upload.key)
        self._request("abort_upload", bucket)
        self.uploads[bucket] = [other for other in self.uploads.get(bucket, ()) if other != upload]

    def _request(self, operation: str, bucket: str) -> dict[str, StoredObject]:
        self.requests[operation] += 1
        return self._bucket(bucket)

    def _bucket(self, bucket: str) -> dict[str, StoredObject]:
        if bucket not in self.buckets:
            msg = f"bucket s3://{bucket}/ does not exist"
            raise BucketNotFoundError(msg, hint="Name one of the buckets that the test made.")
        return self.buckets[bucket]

    def _find(self, objects: dict[str, StoredObject], bucket: str, key: str) -> StoredObject:
        if key not in objects:
            msg = f"object s3://{bucket}/{key} does not exist"
            raise ObjectNotFoundError(msg, hint="Put it first.")
        if key in self.archived:
            msg = f"object s3://{bucket}/{key} is archived"
            raise ObjectArchivedError(msg, hint="Take it off the set.")
        return objects[key]

    def _store(
        self, objects: dict[str, StoredObject], key: str, body: bytes, lock: ObjectLock | None = None
    ) -> StoredObject:
        self._check_lockable(lock)
        etag = hashlib.md5(next(self._salts) + body).hexdigest()  # noqa: S324
        objects[key] = StoredObject(body, etag, self.clock(), lock)
        return objects[key]
