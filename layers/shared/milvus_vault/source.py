"""Where a Milvus keeps its data in S3, and the proof that it does."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from milvus_vault.archive.layout import DELTA_LOG, INSERT_LOG, join, milvus_location
from milvus_vault.errors import (
    CollectionNotFoundError,
    DatabaseNotFoundError,
    InvalidRequestError,
    MilvusPermissionError,
    MilvusRequestError,
    MilvusUnavailableError,
    ObjectArchivedError,
    WrongRootPathError,
)
from milvus_vault.model.collections import CollectionLayout, CollectionName, CollectionSchema, FieldSchema, KeyValue
from milvus_vault.model.objects import ARCHIVED_HINT, ListedObject
from milvus_vault.ports import Flushes, Maker, ObjectStore, Schemas, Segments

# The first few collections that have rows decide; each costs two calls.
PROBED_COLLECTIONS = 20

PROBE_FLUSH_SECONDS = 120.0
_INT64, _FLOAT_VECTOR = 5, 101
_DIMENSIONS = 2


@dataclass(frozen=True, slots=True)
class MilvusStorage:
    """Milvus' own bucket and root path."""

    bucket: str
    root_path: str

    @property
    def location(self) -> str:
        """Return both as one address."""
        return milvus_location(self.bucket, self.root_path)

    def insert_logs(self, collection_id: int | None = None) -> str:
        """Return the folder of a collection's insert logs, or of all collections', with a slash at its end."""
        return join(self.root_path, INSERT_LOG, "" if collection_id is None else str(collection_id)) + "/"

    def delta_logs(self, collection_id: int) -> str:
        """Return the folder of a collection's delta logs, with a slash at its end."""
        return join(self.root_path, DELTA_LOG, str(collection_id)) + "/"

    def check_readable(self, collection: CollectionName, objects: Iterable[ListedObject]) -> None:
        """Return if no object of a collection lies in an archive class of S3. Raises `ObjectArchivedError`."""
        if archived := [listed for listed in objects if listed.archive_class]:
            first = f"s3://{self.bucket}/{archived[0].key} ({archived[0].archive_class})"
            msg = f"{len(archived)} object(s) of {collection} are archived, as {first}"
            raise ObjectArchivedError(msg, hint=ARCHIVED_HINT)

    def wrong(self, collection: CollectionName, collection_id: int) -> WrongRootPathError:
        """Return the error for a collection that has rows, but no objects where they should be."""
        return WrongRootPathError(
            f"s3://{self.bucket}/{self.insert_logs(collection_id)} is empty, but {collection} has flushed rows",
            hint="Set MilvusBucketName and MilvusRootPath to minio.bucketName and rootPath of Milvus' settings.",
        )


class StoredCollections(Schemas, Segments, Protocol):
    """Which collections there are, and what of them is in storage."""


class FilledCollections(Maker, Flushes, Protocol):
    """Making collections with rows that are in storage."""


def all_collections(database: Schemas, databases: Iterable[str]) -> Iterator[CollectionName]:
    """Yield the collections of databases that were listed. One that was dropped since has none."""
    for name in databases:
        try:
            there = database.list_collections(name)
        except DatabaseNotFoundError:
            continue
        yield from (CollectionName(database=name, name=found) for found in there)


def prove_storage(
    store: ObjectStore, database: StoredCollections, storage: MilvusStorage, collections: Iterable[CollectionName]
) -> bool:
    """Return whether the bucket and root path are proven to be this Milvus' own.

    A collection with flushed segments must have objects below `insert_log/<its ID>/`: IDs are unique, so
    nothing else can have put them there. False: none of the collections looked at has flushed rows yet, so
    there is nothing to tell by. Raises `WrongRootPathError`.
    """
    for probed, name in enumerate(collections):
        if probed == PROBED_COLLECTIONS:
            break
        try:
            segments = database.list_segments(name.database, name.name)
        except (CollectionNotFoundError, DatabaseNotFoundError):
            continue  # dropped since all were listed
        if any(segment.row_count for segment in segments):
            number = database.collection_id(name.database, name.name)
            if number is None:
                continue
            if next(store.list_objects(storage.bucket, storage.insert_logs(number)), None) is None:
                raise storage.wrong(name, number)
            return True
    return False


def prove_storage_by_a_row(
    store: ObjectStore, database: FilledCollections, storage: MilvusStorage, name: CollectionName
) -> bool:
    """Return whether a row that Milvus is given for the purpose is then in the bucket, below the root path.

    The row's collection is dropped again. False: Milvus refuses to take it, to this user or for now, so that there
    is nothing to tell by. Raises `WrongRootPathError`, and `FlushTimeoutError`.
    """
    layout = _smallest(name)
    key, vector = layout.collection_schema.fields
    try:
        number = database.create_collection(name.database, name.name, layout)
    except (MilvusPermissionError, MilvusRequestError):
        return False
    try:
        database.insert_row(name.database, name.name, {key.name: 1}, {vector.name: [0.0] * _DIMENSIONS})
        database.flush(name.database, name.name, timeout_seconds=PROBE_FLUSH_SECONDS)
        if next(store.list_objects(storage.bucket, storage.insert_logs(number)), None) is None:
            raise storage.wrong(name, number)
    except (MilvusPermissionError, MilvusRequestError, MilvusUnavailableError):
        return False
    finally:
        database.drop_collection(name.database, name.name)
    return True


def check_shards(database: Maker, name: CollectionName, shards: int) -> None:
    """Return if Milvus takes a collection of so many shards: one of that name is made, and dropped again.

    Where the user may not make that one there is nothing to tell by. Raises `InvalidRequestError`.
    """
    try:
        database.create_collection(name.database, name.name, _smallest(name, shards))
    except MilvusPermissionError:
        return
    except MilvusRequestError as err:
        msg = f"a collection of the backup has {shards} shards, which the target refuses: {err.message}"
        raise InvalidRequestError(msg, hint="Give it fewer by `max_shards`, or raise the target's limit.") from err
    database.drop_collection(name.database, name.name)


def _smallest(name: CollectionName, shards: int = 1) -> CollectionLayout:
    """Return a collection of a key and a vector."""
    key = FieldSchema(field_id=0, name="id", data_type=_INT64, is_primary_key=True)
    dimensions = (KeyValue(key="dim", value=str(_DIMENSIONS)),)
    vector = FieldSchema(field_id=0, name="v", data_type=_FLOAT_VECTOR, type_params=dimensions)
    schema = CollectionSchema(name=name.name, fields=(key, vector))
    return CollectionLayout(collection_schema=schema, shards=shards, consistency_level=0)
