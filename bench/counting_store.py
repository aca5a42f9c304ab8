"""An `ObjectStore` in memory that counts requests as S3 does, and keeps of copied objects no more than a listing shows.

A page of a listing has 1,000 keys and is a request. It answers at once, or after some time, whatever else it is asked
for meanwhile; and it may make only so many copies a second.
"""

import hashlib
import threading
import time
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, override

from milvus_vault.errors import ObjectChangedError, ObjectNotFoundError
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.objects import BucketSettings, CopiedObject, CopyItem, CopyJob, ListedObject, UnfinishedUpload
from milvus_vault.ports import ObjectStore

PRICED = ("PUT", "COPY", "LIST")
"""What AWS charges as one class; GET costs a twelfth of it, and DELETE nothing."""

_PAGE = 1000
_CHUNK = 1 << 20
_AFTER_SLASH = chr(ord("/") + 1)


class Written(NamedTuple):
    """A document."""

    body: bytes
    etag: str
    modified_at: datetime


class Documents(dict[str, Written]):
    """Documents by key, whose keys are kept in order, so that a listing costs what it yields. For many threads."""

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__()
        self._keys: list[str] = []
        self._lock = threading.Lock()

    @override
    def __setitem__(self, key: str, written: Written) -> None:
        with self._lock:
            if key not in self:
                insort(self._keys, key)
            super().__setitem__(key, written)

    @override
    def __delitem__(self, key: str) -> None:
        with self._lock:
            super().__delitem__(key)
            del self._keys[bisect_left(self._keys, key)]

    def __deepcopy__(self, memo: dict[int, object]) -> "Documents":
        """Return others of the same contents, which nothing changes."""
        made = Documents()
        with self._lock:
            made.update(self)
            made._keys = list(self._keys)
        return made

    def below(self, prefix: str) -> list[str]:
        """Return the keys that begin so, in order."""
        # A key that comes between the two would move another one in, which a verification deletes as surplus.
        with self._lock:
            begin = bisect_left(self._keys, prefix)
            end = bisect_left(self._keys, prefix + chr(0x10FFFF), begin)
            return self._keys[begin:end]


@dataclass
class Bucket:
    """Objects that are only listed and copied, and documents."""

    objects: dict[str, ListedObject] = field(default_factory=dict)
    documents: Documents = field(default_factory=Documents)
    _keys: list[str] | None = None

    def changed(self) -> None:
        """Note that there are other objects than before."""
        self._keys = None

    def _sorted(self) -> list[str]:
        if self._keys is None:
            self._keys = sorted(self.objects)
        return self._keys

    def folders(self, folder: str) -> Iterator[str]:
        """Yield the names of folders in a folder."""
        below = {key[len(folder) :] for key in self.documents.below(folder)}
        yield from {name.partition("/")[0] for name in below if "/" in name}
        keys = self._sorted()
        at = bisect_left(keys, folder)
        while at < len(keys) and keys[at].startswith(folder):
            name, slash, _ = keys[at][len(folder) :].partition("/")
            if slash:
                yield name
            at = bisect_left(keys, f"{folder}{name}{_AFTER_SLASH}" if slash else keys[at] + "!")

    def listed(self, prefix: str, after: str) -> Iterator[ListedObject]:
        """Yield what there is below a prefix and behind a key, in order."""
        keys = self._sorted()
        for key in (key for key in self.documents.below(prefix) if key > after):
            found = self.documents[key]
            yield ListedObject(key, len(found.body), found.etag, found.modified_at)
        for index in range(max(bisect_left(keys, prefix), bisect_right(keys, after)), len(keys)):
            if not keys[index].startswith(prefix):
                return
            yield self.objects[keys[index]]


class CountingStore(ObjectStore):
    """Buckets that are there as soon as somebody asks for them."""

    def __init__(self, copies_per_second: float = 0, seconds: float = 0) -> None:
        """Begin empty. Each request takes so many seconds."""
        self._seconds = seconds
        self.requests: Counter[str] = Counter()
        self.copied_bytes = 0
        self._pace = 1 / copies_per_second if copies_per_second else 0.0
        self._next_at = 0.0
        self._buckets: dict[str, Bucket] = {}
        self._lock = threading.Lock()

    def bucket(self, name: str) -> Bucket:
        """Return a bucket, to look into it or to fill it."""
        return self._buckets.setdefault(name, Bucket())

    def _request(self, name: str) -> None:
        with self._lock:
            self.requests[name] += 1
        if self._seconds:
            time.sleep(self._seconds)

    def _wait_for_turn(self) -> None:
        with self._lock:
            now = time.monotonic()
            begins_at = max(self._next_at, now)
            self._next_at = begins_at + self._pace
        if begins_at > now:
            time.sleep(begins_at - now)

    @override
    def check_bucket(self, bucket: str) -> None:
        self._request("LIST")

    @override
    def bucket_settings(self, bucket: str) -> BucketSettings:
        return BucketSettings(
            blocks_public_access=True, is_public=False, takes_tls_only=True, keeps_versions=True, has_object_lock=False
        )

    @override
    def has_object_lock(self, bucket: str) -> bool:
        self._request("GET")
        return True

    @override
    def lock(self, bucket: str, key: str, lock: ObjectLock) -> None:
        self._request("PUT")

    @override
    def lock_of(self, bucket: str, key: str) -> ObjectLock | None:
        self._request("GET")
        return None

    @override
    def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        self._request("LIST")
        for number, listed in enumerate(self.bucket(bucket).listed(prefix, after)):
            if number and number % _PAGE == 0:
                self._request("LIST")
            yield listed

    @override
    def list_folders(self, bucket: str, prefix: str) -> Iterator[str]:
        self._request("LIST")
        yield from sorted(set(self.bucket(bucket).folders(prefix)))

    @override
    def get(self, bucket: str, key: str) -> bytes:
        return self.get_with_etag(bucket, key)[0]

    @override
    def get_with_etag(self, bucket: str, key: str) -> tuple[bytes, str]:
        self._request("GET")
        found = self._find(bucket, key)
        return found.body, found.etag

    @override
    def modified_at(self, bucket: str, key: str) -> datetime | None:
        self._request("GET")
        return self._find(bucket, key).modified_at

    def _find(self, bucket: str, key: str) -> Written:
        try:
            return self.bucket(bucket).documents[key]
        except KeyError:
            raise ObjectNotFoundError(key, hint="") from None

    @override
    def chunks(self, bucket: str, key: str, etag: str = "") -> Iterator[bytes]:
        body, found = self.get_with_etag(bucket, key)
        if etag and found != etag:
            raise ObjectChangedError(key, hint="")
        yield from (body[start : start + _CHUNK] for start in range(0, len(body), _CHUNK))

    @override
    def checksum(self, bucket: str, key: str, etag: str) -> str:
        self._request("GET")
        return ""

    @override
    def has_md5_etag(self, bucket: str, key: str, etag: str) -> bool:
        self._request("GET")
        return True

    @override
    def put(
        self, bucket: str, key: str, body: bytes, *, content_type: str = "", lock: ObjectLock | None = None
    ) -> None:
        self._request("PUT")
        with self._lock:
            self._write(bucket, key, body)

    @override
    def put_in_parts(self, bucket: str, key: str, parts: Iterable[bytes]) -> None:
        self.put(bucket, key, b"".join(parts))

    def _write(self, bucket: str, key: str, body: bytes) -> None:
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self.bucket(bucket).documents[key] = Written(body, etag, datetime.now(UTC))

    @override
    def link(self, bucket: str, key: str, seconds: int) -> str:
        return ""

    @override
    def put_if_absent(self, bucket: str, key: str, body: bytes, *, lock: ObjectLock | None = None) -> bool:
        self._request("PUT")
        with self._lock:
            if key in self.bucket(bucket).documents:
                return False
            self._write(bucket, key, body)
            return True

    @override
    def put_if_unchanged(
        self, bucket: str, key: str, body: bytes, etag: str, *, lock: ObjectLock | None = None
    ) -> bool:
        self._request("PUT")
        with self._lock:
            found = self.bucket(bucket).documents.get(key)
            if found is None or found.etag != etag:
                return False
            self._write(bucket, key, body)
            return True

    @override
    def copy(self, job: CopyJob, item: CopyItem) -> CopiedObject:
        self._request("COPY")
        self._wait_for_turn()
        source = self.bucket(job.source_bucket).objects.get(item.source_key)
        if source is None:
            written = self._find(job.source_bucket, item.source_key)
            source = ListedObject(item.source_key, len(written.body), written.etag)
        if source.etag != item.source_etag:
            raise ObjectChangedError(item.source_key, hint="")
        copy = ListedObject(item.key, source.size_bytes, source.etag, datetime.now(UTC))
        with self._lock:
            destination = self.bucket(job.destination_bucket)
            destination.objects[item.key] = copy
            destination.changed()
            self.copied_bytes += source.size_bytes
        return CopiedObject(item.key, source.etag, "CRC64NVME:AAAAAAAAAAA=")

    @override
    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        there = self.bucket(bucket)
        for number, key in enumerate(keys):
            if number % _PAGE == 0:
                self._request("DELETE")
            if key in there.documents:
                del there.documents[key]
            if there.objects.pop(key, None):
                there.changed()

    @override
    def list_uploads(self, bucket: str, prefix: str) -> Iterator[UnfinishedUpload]:
        self._request("LIST")
        return iter(())

    @override
    def abort_upload(self, bucket: str, upload: UnfinishedUpload) -> None:
        """Do nothing: there is none."""
