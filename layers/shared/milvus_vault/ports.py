"""What the domain needs from outside, as protocols. Adapters implement them; nothing else does I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    # What is imported for the names of types alone would cost every function a tenth of its start.
    from milvus_vault.model.collections import (
        CollectionDescription,
        CollectionLayout,
        CollectionSchema,
        DatabaseDescription,
        FieldSchema,
        ImportJobState,
        ImportTask,
        IndexDescription,
        KeyValue,
        Segment,
        SegmentLogs,
    )
    from milvus_vault.model.executions import ExecutionDescription, ExecutionPage, StartedExecution
    from milvus_vault.model.flushes import FlushAllPoint, FlushPoint
    from milvus_vault.model.health import ServerHealth
    from milvus_vault.model.locks import ObjectLock
    from milvus_vault.model.messages import InspectMilvusRequest
    from milvus_vault.model.objects import (
        BucketSettings,
        CopiedObject,
        CopyItem,
        CopyJob,
        ListedObject,
        UnfinishedUpload,
    )
    from milvus_vault.model.rbac import Rbac
    from milvus_vault.model.rights import Right
    from milvus_vault.model.schedules import ScheduleKind, StoredSchedule
    from milvus_vault.model.versions import ServerVersion

HTML = "text/html; charset=utf-8"
"""Content type of reports."""


class ObjectStore(Protocol):
    """S3, as far as we use it.

    Every method raises `StorageThrottledError`, `StorageUnavailableError`, `StorageAccessDeniedError`,
    `BucketNotFoundError` or `StorageRequestError`, and those that read also `ObjectArchivedError`; others are named at
    the method.
    """

    def check_bucket(self, bucket: str) -> None:
        """Return if the bucket exists and may be listed."""

    def bucket_settings(self, bucket: str) -> BucketSettings:
        """Return what guards the bucket, as far as it can be read. Raises nothing."""

    def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        """Yield every object below the prefix, in the server's order (not always bytewise).

        With `after` only what comes behind this key in that order, whether or not such an object is there by now.
        """

    def list_folders(self, bucket: str, prefix: str) -> Iterator[str]:
        """Yield the names directly below `prefix` that have something below them, without the slash."""

    def get(self, bucket: str, key: str) -> bytes:
        """Return an object's content. Raises `ObjectNotFoundError`."""

    def get_with_etag(self, bucket: str, key: str) -> tuple[bytes, str]:
        """Return an object's content and its ETag without quotes. Raises `ObjectNotFoundError`."""

    def modified_at(self, bucket: str, key: str) -> datetime | None:
        """Return when an object was written, by the server's clock; None where it does not tell.

        Raises `ObjectNotFoundError`.
        """

    def chunks(self, bucket: str, key: str, etag: str = "") -> Iterator[bytes]:
        """Yield the content of an object of this ETag, or of any if none is given, in pieces of at most 1 MiB.

        All pieces are of one version of the object. Raises `ObjectNotFoundError`, and `ObjectChangedError` where it has
        another ETag, or gets one before all is read.
        """

    def checksum(self, bucket: str, key: str, etag: str) -> str:
        """Return the checksum that the server keeps with an object of this ETag, as `<algorithm>:<base64>`, or nothing.

        Raises `ObjectNotFoundError`, and `ObjectChangedError` where it has another one.
        """

    def has_md5_etag(self, bucket: str, key: str, etag: str) -> bool:
        """Return whether the ETag of an object that was written as a whole is the MD5 of its content.

        It is, but for objects under a KMS key or a key of the customer's own. Raises `ObjectNotFoundError`, and
        `ObjectChangedError` where it has another ETag.
        """

    def has_object_lock(self, bucket: str) -> bool:
        """Return whether objects of the bucket can be locked."""

    def lock(self, bucket: str, key: str, lock: ObjectLock) -> None:
        """Lock an object as it is now, or extend its lock. One that is locked longer, or more strictly, stays so.

        Raises `ObjectNotFoundError`, and `LockRefusedError` where its lock cannot be changed into this one.
        """

    def lock_of(self, bucket: str, key: str) -> ObjectLock | None:
        """Return the lock of an object as it is now, which may have ended. Raises `ObjectNotFoundError`."""

    def put(
        self, bucket: str, key: str, body: bytes, *, content_type: str = "", lock: ObjectLock | None = None
    ) -> None:
        """Write an object, replacing one that is there. A browser shows it only if it has the right content type."""

    def put_in_parts(self, bucket: str, key: str, parts: Iterable[bytes]) -> None:
        """Write an object whose parts come one after the other, each of at least 5 MiB but the last.

        It is there once all are written. Where one cannot be, and where `parts` raises something, which is passed on,
        nothing is left behind.
        """

    def link(self, bucket: str, key: str, seconds: int) -> str:
        """Return an address under which everybody who has it can read the object for so long. Asks no server."""

    def put_if_absent(self, bucket: str, key: str, body: bytes, *, lock: ObjectLock | None = None) -> bool:
        """Write an object unless the key is taken; return whether it was written. Atomic."""

    def put_if_unchanged(
        self, bucket: str, key: str, body: bytes, etag: str, *, lock: ObjectLock | None = None
    ) -> bool:
        """Replace an object if it still has this ETag; return whether it was replaced. Atomic."""

    def copy(self, job: CopyJob, item: CopyItem) -> CopiedObject:
        """Copy one object of a job inside S3, in parts where its size asks for it.

        Raises `ObjectNotFoundError` where the source is gone and `ObjectChangedError` where its ETag
        is not `item.source_etag`. Nothing is left behind by a copy that failed.
        """

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """Delete objects, 1,000 a request. Keys that are not there are no error."""

    def list_uploads(self, bucket: str, prefix: str) -> Iterator[UnfinishedUpload]:
        """Yield the multipart uploads below the prefix that were neither completed nor aborted."""

    def abort_upload(self, bucket: str, upload: UnfinishedUpload) -> None:
        """Abort an upload and delete its parts. One that is gone is no error."""


class Executions(Protocol):
    """The Step Functions executions that claims refer to."""

    def status(self, execution_arn: str) -> str:
        """Return RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED, PENDING_REDRIVE, GONE or UNKNOWN.

        GONE: Step Functions knows no such execution (it forgets them after 90 days). UNKNOWN: it may
        not be asked, as for an execution of another stack.
        """


class Scheduler(Protocol):
    """The schedules of a stack, each of which starts the machine of its kind.

    Every method raises `ServiceUnavailableError` or `ServiceRequestError`.
    """

    def names(self) -> list[str]:
        """Return the names of all schedules, in no order."""

    def find(self, name: str) -> StoredSchedule | None:
        """Return a schedule, or None where there is none."""

    def put(
        self, name: str, *, kind: ScheduleKind, expression: str, timezone: str, is_enabled: bool, request: str
    ) -> None:
        """Create a schedule, or replace the one of this name."""

    def delete(self, name: str) -> bool:
        """Delete a schedule; return whether there was one."""


class StateMachines(Protocol):
    """Step Functions, as far as the API uses it.

    Every method raises `ServiceUnavailableError` or `ServiceRequestError`; others are named at the method.
    """

    def start(self, machine_arn: str, name: str, request_json: str) -> StartedExecution | None:
        """Start an execution; None where the machine has or had one of this name."""

    def describe(self, execution_arn: str) -> ExecutionDescription:
        """Return an execution. Raises `RunNotFoundError`."""

    def list_executions(self, machine_arn: str, *, status: str | None, limit: int, token: str | None) -> ExecutionPage:
        """Return some executions of a machine, newest first."""

    def stop(self, execution_arn: str, cause: str) -> None:
        """Stop an execution; one that has ended is no error. Raises `RunNotFoundError`."""

    def last_state(self, execution_arn: str) -> str:
        """Return the name of the state that was entered last, or an empty text."""


class Inspector(Protocol):
    """The function that looks at Milvus for those that cannot reach it."""

    def inspect(self, request: InspectMilvusRequest) -> dict[str, Any]:
        """Return what was found.

        Raises what the function raised, `AnswerTimeoutError` where it took too long, and as the others here.
        """


class Server(Protocol):
    """What Milvus says of itself. A part of `VectorDatabase`."""

    def server_version(self) -> ServerVersion:
        """Return the server's version."""

    def health(self) -> ServerHealth:
        """Return what the server says of itself."""


class Schemas(Protocol):
    """Which databases and collections there are, and how they are made. A part of `VectorDatabase`."""

    def list_databases(self) -> list[str]:
        """Return all database names; `["default"]` from a server that has no databases (before 2.2.9)."""

    def describe_database(self, name: str) -> DatabaseDescription:
        """Return a database; its name alone from a server that tells no more (before 2.4.3)."""

    def list_collections(self, database: str) -> dict[str, int]:
        """Return the IDs of a database's collections, in the order of their names; aliases are none of these."""

    def collection_id(self, database: str, name: str) -> int | None:
        """Return the ID of a collection, or None where there is none of this name or alias."""

    def describe_collection(self, database: str, name: str) -> CollectionDescription:
        """Return everything that a backup records of a collection but its segments."""

    def schema(self, database: str, name: str) -> CollectionSchema:
        """Return the schema of a collection."""

    def list_aliases(self, database: str, name: str = "") -> frozenset[str]:
        """Return all aliases of a database's collections, or those of one."""


class Flushes(Protocol):
    """Bringing rows to storage, and the server's clock, by which they are ordered. A part of `VectorDatabase`."""

    def current_timestamp(self) -> int | None:
        """Return a hybrid timestamp that is newer than all that the server has acknowledged; None before 2.3."""

    def flush(self, database: str, name: str, *, timeout_seconds: float) -> FlushPoint:
        """Flush a collection, wait for it, and return up to which point in time all is flushed.

        Raises `FlushTimeoutError`.
        """

    def flush_all(self, *, timeout_seconds: float) -> FlushAllPoint | None:
        """Flush all collections of all databases; None from a server that does not say up to where (before 2.6.11).

        Raises `FlushTimeoutError`.
        """


class Segments(Protocol):
    """What collections consist of in storage. A part of `VectorDatabase`."""

    def list_segments(self, database: str, name: str) -> list[Segment]:
        """Return the flushed segments of a collection, from one answer of the server."""

    def describe_segments(
        self, database: str, collection_id: int, segment_ids: Sequence[int]
    ) -> dict[int, SegmentLogs]:
        """Return the logs of segments, by their IDs, as far as the server tells them.

        Servers from 2.5.8 on do, by REST. What is not in the answer must be listed; nothing is raised.
        """


class Maker(Protocol):
    """Making, changing and dropping databases and collections. A part of `VectorDatabase`."""

    def create_database(self, name: str, properties: Sequence[KeyValue] = ()) -> bool:
        """Create a database; return whether it was created. One that exists already keeps its properties."""

    def drop_database(self, name: str) -> None:
        """Drop a database that has no collections; one that does not exist is no error."""

    def create_collection(
        self, database: str, name: str, layout: CollectionLayout, *, without: Sequence[str] = ()
    ) -> int:
        """Create a collection with its partitions, but without the fields named, and return its ID."""

    def create_missing_partitions(self, database: str, name: str, partitions: Sequence[str]) -> None:
        """Create those of the partitions that the collection lacks."""

    def add_fields(self, database: str, name: str, layout: CollectionLayout, fields: Sequence[str]) -> None:
        """Add those of the fields named that the collection lacks, as the layout has them, in its order."""

    def set_properties(
        self, database: str, name: str, properties: Sequence[KeyValue], *, removed: Sequence[str] = ()
    ) -> None:
        """Set some properties of a collection, and remove others."""

    def insert_row(
        self, database: str, name: str, numbers: Mapping[str, int], vectors: Mapping[str, Sequence[float]]
    ) -> None:
        """Insert one row: values of fields of Int64, and of FloatVector, by the fields' names."""

    def create_alias(self, database: str, name: str, alias: str, *, take: bool = False) -> None:
        """Give a collection an alias; the same alias on the same collection is no error.

        With `take`, one that another collection has is taken from it, in one step. Raises `CollectionExistsError`
        where another collection has the name, or without `take` the alias.
        """

    def rename_collection(self, database: str, name: str, new_name: str) -> None:
        """Rename a collection. Raises `CollectionExistsError` where the new name is taken."""

    def drop_collection(self, database: str, name: str) -> None:
        """Drop a collection and its aliases; one that does not exist is no error."""


class IndexProgress(NamedTuple):
    """How far Milvus has built the indexes of a collection, by their rows: each counts once for each index."""

    is_built: bool
    """Whether all of them are; of a collection without an index, too."""
    rows_done: int = 0
    rows_total: int = 0


class Indexes(Protocol):
    """The indexes of collections. A part of `VectorDatabase`."""

    def list_indexes(self, database: str, name: str) -> tuple[IndexDescription, ...]:
        """Return the indexes of a collection."""

    def create_index(self, database: str, name: str, index: IndexDescription) -> None:
        """Create an index (Milvus builds it in the background); an equal one that exists is no error."""

    def index_progress(self, database: str, name: str) -> IndexProgress:
        """Return how far Milvus has built the indexes of a collection. Raises `IndexFailedError` where it gave up."""


class Loads(Protocol):
    """Collections in memory, where rows can be counted. A part of `VectorDatabase`."""

    def count_query_nodes(self, resource_group: str) -> int:
        """Return how many query nodes a resource group has; 0 where there is no such group."""

    def request_load(
        self,
        database: str,
        name: str,
        *,
        replicas: int,
        partitions: Sequence[str] = (),
        resource_groups: Sequence[str] = (),
    ) -> None:
        """Ask Milvus to load a collection, or only some partitions of it; do not wait.

        Raises `LoadFailedError`.
        """

    def load_percent(self, database: str, name: str, partitions: Sequence[str] = ()) -> int | None:
        """Return how much is loaded of a collection, or of partitions of it: 0 to 100.

        None where that is not loaded and not being loaded, and where some of the partitions are not.
        """

    def release(self, database: str, name: str) -> None:
        """Let a collection out of memory. Nothing happens where it is not loaded."""

    def count_rows(self, database: str, name: str, partitions: Sequence[str] = ()) -> int:
        """Return the number of live rows (`count(*)`, strong consistency) of a loaded collection."""


class Neighbour(NamedTuple):
    """A row that a search has found."""

    key: int | str
    """Its primary key."""
    score: float
    """By the metric of the index: a distance, or a likeness."""


class Queries(Protocol):
    """Reading and finding rows of loaded collections, at strong consistency. A part of `VectorDatabase`."""

    def rows_by_key(
        self, database: str, name: str, key: str, keys: Sequence[int | str], fields: Sequence[str]
    ) -> list[Mapping[str, object]]:
        """Return the rows with some primary keys, each by the names of the fields that were asked for.

        A vector is a list of numbers, a binary one of its bytes, a sparse one a mapping of weights; an array is a list,
        JSON is bytes, and all else is what Milvus sends of it: a time may be a text. Null is None.

        Args:
            database: The collection's database.
            name: The collection.
            key: Name of the primary key.
            keys: Its values; those that no row has are left out of the answer.
            fields: Names of fields.
        """

    def nearest(
        self,
        database: str,
        name: str,
        index: IndexDescription,
        field: FieldSchema,
        vector: object,
        *,
        limit: int,
        of_key: tuple[str, int | str] | None = None,
    ) -> list[Neighbour]:
        """Return the rows whose vectors are nearest to one, by a field's index, the nearest first.

        Args:
            database: The collection's database.
            name: The collection.
            index: The field's index, whose metric counts.
            field: The field.
            vector: As `rows_by_key` returns it.
            limit: How many at most.
            of_key: Name and value of a primary key: only among the rows with it; None: among all.
        """


class Access(Protocol):
    """What the user may, and which users, roles and rights there are. A part of `VectorDatabase`."""

    def may(self, right: Right, database: str, name: str = "") -> bool:
        """Return whether the user has a right on collections of any name, or on one; nothing is changed.

        On one it can be asked for where it only reads: `SHOW_PARTITIONS`, `INDEX_DETAIL`, `GET_LOAD_STATE` and
        `GET_FLUSH_STATE`.
        """

    def backup_rbac(self) -> Rbac:
        """Return users, roles, grants and privilege groups of the server, except those that every server has.

        Raises `VersionUnsupportedError` where the server does not tell them (before 2.4.10).
        """

    def restore_rbac(self, rbac: Rbac) -> None:
        """Add users, roles, grants and privilege groups. Fails as a whole where one is there already."""


class VectorDatabase(Server, Schemas, Flushes, Segments, Maker, Indexes, Loads, Queries, Access, Protocol):
    """Milvus, as far as we use it: all its parts on one connection. Users of some parts ask for these alone.

    Every method raises `MilvusUnavailableError`, `MilvusAuthenticationError`,
    `MilvusPermissionError` or `MilvusRequestError`; calls that name a collection also
    `CollectionNotFoundError`, and those that name a database `DatabaseNotFoundError`.
    """


class Importer(Protocol):
    """Milvus' import of binlogs, by whichever way the server has.

    Every method raises `MilvusUnavailableError`, `MilvusAuthenticationError`, `MilvusPermissionError` or
    `MilvusRequestError`.
    """

    @property
    def pairs_a_job(self) -> int:
        """Return how many pairs of prefixes one job takes."""

    def start_import(self, database: str, name: str, task: ImportTask) -> str | None:
        """Start a job, and return its ID; None where the server has no room for jobs now, and has not started it.

        Raises `CollectionNotFoundError`.
        """

    def import_state(self, job_id: str) -> ImportJobState:
        """Return the state of an import job."""

    def find_import(self, database: str, name: str, task: ImportTask) -> str | None:
        """Return the ID of the newest job for just this that has not failed, if there is one.

        Raises `MilvusUnavailableError` while there is a job of which the server does not yet tell what it imports.
        """


class GarbageCollector(Protocol):
    """Milvus' management endpoint, as far as we use it."""

    def pause(self, seconds: int) -> str:
        """Pause garbage collection, and return the pause's ticket; empty where there is one pause for all.

        The pause ends by itself. Raises `MilvusUnavailableError` where the endpoint does not answer, and
        `MilvusRequestError` where it cannot pause (2.3 has no such call).
        """

    def resume(self, ticket: str) -> None:
        """End the pause of a ticket, or the one for all.

        Raises `MilvusUnavailableError` or `MilvusRequestError`: a ticket that has ended is refused.
        """
