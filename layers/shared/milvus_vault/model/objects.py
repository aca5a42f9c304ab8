"""S3 objects: what a listing shows, what a copy needs, what a copy returned."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from milvus_vault.model.base import Model

INSERT_LOG = "insert_log"
DELTA_LOG = "delta_log"
"""The folders of Milvus' logs of rows and of deletes, which name their kinds."""

ARCHIVED_HINT = (
    "Restore it from S3 Glacier to a class that can be read first (RestoreObject, or S3 Batch Operations for many), "
    "and take the lifecycle rule that moved it off these objects."
)


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object as a listing shows it. The ETag is without quotes, whatever the server sends."""

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime | None = field(default=None, compare=False)
    """When it was last written, UTC; every server says so."""
    archive_class: str = ""
    """The storage class that keeps it from being read, as `GLACIER`; empty where it can be read at once."""


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """What guards a bucket. None: it could not be read, since the role may not or the server does not know the call."""

    blocks_public_access: bool | None
    """Whether all four blocks of public access are on."""
    is_public: bool | None
    """Whether its policy lets everybody in."""
    takes_tls_only: bool | None
    keeps_versions: bool | None
    has_object_lock: bool | None


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """A multipart upload that somebody began."""

    key: str
    upload_id: str
    begun_at: datetime


type CopyClient = Literal["boto3", "direct"]
"""By what copies are asked for: boto3, or Python's own HTTP client, which takes less processor time."""


class CopyJob(Model):
    """From where to where a run copies, and how: what all its items share."""

    source_bucket: str
    destination_bucket: str
    lists_objects: bool = True
    """Whether the objects of complete targets are written down; else only that they are complete."""


class CopyItem(NamedTuple):
    """One object to copy. Buckets belong to the `CopyJob`, since all its items share them.

    `source_etag` is what the source must still be (empty: not known, any content is taken).
    """

    source_key: str
    key: str
    size_bytes: int
    source_etag: str


@dataclass(frozen=True, slots=True)
class CopiedObject:
    """What the server said of a finished copy.

    `checksum` is `<algorithm>:<base64>` where the server returns one (AWS does), else empty.
    """

    key: str
    etag: str
    checksum: str = ""


class ArchivedObject(NamedTuple):
    """An entry of a collection's object list in a backup. No dataclass: some functions make ten of each object.

    `stored_key` is where the object is stored, relative to the backup's bucket; `source_key` is where
    Milvus kept it. `etag` and `checksum` are those of the stored object, and empty where nobody
    recorded them (an archive of another tool).
    """

    stored_key: str
    source_key: str
    size_bytes: int
    etag: str
    checksum: str = ""
