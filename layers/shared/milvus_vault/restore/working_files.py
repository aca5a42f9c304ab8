"""The working files of a restore run, by their names in its workspace.

    restore.json                         `RestorePlan`
    prepared.json                        `Prepared`
    databases.json                       `DatabasesMade`
    cuts/<index>.json                    `Cut`: what CutCollections is to read of one collection
    cuts/<index>.done.json               `CutDone`
    cuts/<index>.<what>-<n>.json         `CutShare`: of what is composed or cut for it, what is written so far
    composed/<index>/<partition>/<log ID>-<hash>    a delta log that is composed of others, for that partition or for
                                         all (-1). Written once: by its hash a run that is started again finds it, and
                                         what a stopped execution's function still writes replaces nothing
    collections/<index>/target.json      `Target`: what is to become of one collection
    collections/<index>/...              its journal, see `journal.py`
    importing/<attempt>.json             `ImportsMoved`
    importing/<attempt>.serving.json     `ServingMoved`
    check-<level>-<hash>/check/...       working files of `verifying` for the content check of objects of this hash

The `RestoreReport` lies outside, so that the next restore of the same request leaves it alone.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, field_serializer

from milvus_vault.model.base import Model
from milvus_vault.model.collections import (
    CollectionLayout,
    CollectionName,
    IndexDescription,
    KeyValue,
    LoadState,
    expires,
)
from milvus_vault.model.names import attempt_of
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.model.times import Time

PLAN = "restore.json"
PREPARED = "prepared.json"
DATABASES = "databases.json"
COMPOSED = "composed/"


class ImportPaths(Model):
    """A pair of prefixes in Milvus' bucket, and how many rows lie there."""

    insert_prefix: str
    """Empty where only deletes are imported."""
    delta_prefix: str
    """Empty where nothing was deleted."""
    row_count: int
    """Rows in the segments that are not newer than where they are cut; deleted ones included."""
    segments: tuple[int, ...] = ()


class ImportSource(Model):
    """Rows of a partition, or deletes of level 0, that one job can take where it takes many pairs."""

    partition: str
    """Empty for deletes that concern all partitions."""
    pairs: tuple[ImportPaths, ...]
    storage_version: int = 0
    is_deletes: bool = False
    before_field: int = 0
    """Number of the field that these rows are older than: they are imported before it is added; 0: after all."""
    end_timestamp: int = 0
    """Hybrid timestamp after which rows and deletes are left out; 0: none are."""

    @property
    def row_count(self) -> int:
        """Return the rows to import, deleted ones included."""
        return sum(pair.row_count for pair in self.pairs)


class Target(Model):
    """A collection to restore."""

    index: int
    source: CollectionName
    name: CollectionName
    collection_id: int
    """The ID that it had in the backup."""
    layout: CollectionLayout
    indexes: tuple[IndexDescription, ...]
    aliases: tuple[str, ...]
    load_state: LoadState
    replicas: int
    resource_groups: tuple[str, ...] = ()
    """Where to load it; none: in Milvus' default group; more than one: one for each replica."""
    loaded_partitions: tuple[str, ...]
    """Partitions to load; empty: the whole collection, if any."""
    imports: tuple[ImportSource, ...] = ()
    """In the order in which they are imported: by the fields that they are older than."""
    deletes: tuple[ImportSource, ...] = ()
    """What is imported when all rows are: deletes that could not be imported beside them."""
    cut: int = 0
    """Hybrid timestamp after which its rows and deletes are left out; 0: none are."""
    live_row_count: int | None
    replaces: int | None = None
    """ID of the collection that has the target's name now, and will be dropped."""

    @property
    def first_round(self) -> int:
        """Return the number of the field before which the collection is made and first filled; 0: it is made whole."""
        return self.imports[0].before_field if self.imports else 0

    @property
    def pair_count(self) -> int:
        """Return of how many pairs of prefixes its rows are imported."""
        return sum(len(source.pairs) for source in self.imports)

    @property
    def has_time_to_live(self) -> bool:
        """Return whether rows expire, so that fewer may be found than were restored."""
        return expires(self.layout.properties)

    @property
    def row_count(self) -> int:
        """Return the rows to import, deleted ones included."""
        return sum(source.row_count for source in self.imports)


class TargetDatabase(Model):
    """A database that is restored, with or without collections; properties are set only where it is created."""

    name: str
    properties: tuple[KeyValue, ...] = ()
    is_empty: bool = False
    """Whether no collection is restored to it: then it costs none of them where Milvus refuses it."""


class DatabasesMade(Model):
    """An execution has seen to it that the databases are there; some without collections may be missing."""

    execution_arn: str = ""
    warnings: tuple[str, ...] = ()


class RestorePlan(Model):
    """What one execution restores. Written by PrepareRestore, read by all later tasks."""

    request: RestoreRequest
    execution_arn: str
    started_at: Time
    backup_etag: str
    """ETag of the backup's marker, which shows whether the backup was made anew under the same name."""
    backup_version: str
    server_version: str
    content_checked: bool
    """Whether the objects could be compared with recorded ETags; else only presence and size were."""
    read_count: int = 0
    """Objects whose content was read before anything was staged."""
    is_staged: bool
    """Whether objects are copied into Milvus' bucket, or imported from where they lie."""
    staging_folder: str
    cuts: tuple[int, ...] = ()
    """Indexes of the collections whose logs CutCollections has to read, each with a `Cut`."""
    targets: tuple[CollectionName, ...]
    """Their positions are the indexes by which all other files name them."""
    row_counts: tuple[int, ...] = ()
    """Rows to import of each: a collection's share in the progress of the run."""
    databases: tuple[TargetDatabase, ...]
    warnings: tuple[str, ...] = ()

    @field_serializer("request")
    def _as_asked(self, request: RestoreRequest) -> dict[str, Any]:
        # Without defaults: `load` that was asked for and `load` by default differ where there is no index.
        return request.model_dump(mode="json", exclude_unset=True)


class LogToCompose(Model):
    """A delta log of the backup."""

    key: str
    etag: str
    """Empty: not known, any content is taken."""
    log_id: int


class Composition(Model):
    """Delta logs that are put together, so that one is copied beside each segment instead of many."""

    key: str
    """Full key by which the items to copy name it as a source, until it is composed; no object has it."""
    logs: tuple[LogToCompose, ...]


class Prepared(Model):
    """How far PrepareRestore is with writing down what is to become of each collection."""

    of: str
    """Hash of the execution, and of what all targets depend on: a call that decides otherwise begins anew."""
    row_counts: tuple[int, ...] = ()
    """Of the targets that are written, from the first: the rows to import."""
    cuts: tuple[int, ...] = ()
    """Indexes of those of them that have a `Cut`."""


class Cut(Model):
    """What of a collection's logs has to be read before anything is imported."""

    name: CollectionName
    """In the backup."""
    end_timestamp: int
    """Where rows and deletes are cut; 0: they are not."""
    is_chosen: bool
    """Whether a person chose where: then rows have to be counted, and the time may lie outside."""
    moment: int
    """Of the collection in the backup; 0 where nobody knows it."""
    rows: dict[int, tuple[str, ...]] = Field(default_factory=dict)
    """By segment, the keys in the backup of the logs that hold its rows' timestamps."""
    deletes: tuple[str, ...] = ()
    """Keys in the backup of delta logs to look into."""
    cut_deletes: tuple[tuple[str, str], ...] = ()
    """Delta logs to cut, by their keys in the backup, each with the key in Milvus' bucket that it gets."""
    compositions: tuple[Composition, ...] = ()
    """Delta logs to put together. An older release wrote none."""


class CutDone(Model):
    """What was read of a collection's logs."""

    moment: int
    """Of the collection in the backup; 0 where nobody knows it."""
    oldest: int = 0
    """Timestamp of its first row or delete; 0 where nothing was read."""
    newest: int = 0
    warnings: tuple[str, ...] = ()


class CutShare(Model):
    """A share of the deletes of a collection that are composed, or cut, and written."""

    of: str
    """Hash of the execution, and of what it was made of: another is made anew."""
    logs: tuple[tuple[int, str], ...]
    """ID and key of each log that was written; none where no delete was left."""


class Attempt(Model):
    """One try to restore a collection, into a collection of its own."""

    number: int
    name: str
    """The name to create and fill; the target's own with skip_create."""
    execution_arn: str


class Created(Model):
    """The collection of an attempt exists and has the right fields."""

    collection_id: int


class ImportJob(Model):
    """An import job that Milvus has accepted."""

    job_id: str
    partition: str
    row_count: int
    has_deletes: bool
    """Whether fewer rows may be imported: those that were deleted are left out."""
    pair_count: int
    """Of how many pairs of prefixes it is."""


class ImportJobs(Model):
    """The import jobs of an attempt, for rows or for deletes, that were started in one turn."""

    jobs: tuple[ImportJob, ...]
    has_all: bool
    """Whether no further turn is needed: the server had room for all that were left, and no field is to be added."""
    submitted_at: Time


class JobsDone(Model):
    """Which jobs of an attempt have ended well: Milvus forgets them some hours later."""

    rows: dict[str, int]
    """How many rows each has imported, by its ID."""


class ImportedSoFar(Model):
    """How far Milvus says that the import of one collection is."""

    rows_done: int = 0
    """Of the rows to import, each job's by its percentage."""
    jobs_done: int = 0
    jobs_total: int = 0
    """Those that are not started yet included."""


class ImportsMoved(Model):
    """When an execution last saw any of its jobs get further, and how far they are."""

    percent: int
    """The sum over all jobs that are not done."""
    since: Time
    begun_at: Time
    """When they were looked at for the first time."""
    percents: dict[int, float] = Field(default_factory=dict)
    """How far the import of each collection is that has begun, by its index."""
    collections: dict[int, ImportedSoFar] = Field(default_factory=dict)
    """The same in rows and jobs. An older release did not write it."""


class ServedSoFar(Model):
    """How far Milvus says that it is with a collection of which all rows are imported."""

    indexed_rows: int = 0
    """Of `rows_to_index`: each row counts once for each index."""
    rows_to_index: int = 0
    load_percent: int | None = None
    """None: it is not loaded before its indexes are built."""


class Movement(Model):
    """When something was first seen, and when it was last seen to have got further."""

    begun_at: Time
    since: Time


class ServingMoved(Model):
    """How far an execution saw Milvus index and load what is imported."""

    indexing: Movement | None = None
    """Null: nothing was waited for."""
    loading: Movement | None = None
    collections: dict[int, ServedSoFar] = Field(default_factory=dict)
    """Of those that it has waited for, by their indexes: how they were seen last."""

    def seen(self, served: Mapping[int, ServedSoFar], now: datetime) -> "ServingMoved":
        """Return what is known after another look at some collections; itself where none of them got further."""
        collections = {**self.collections, **served}
        if collections == self.collections:
            return self

        def moved(before: Movement | None, kept: Callable[[ServedSoFar], int | None]) -> Movement | None:
            # Where a collection has come further, or one more has got to this step.
            seen = {index: kept(one) for index, one in collections.items() if kept(one) is not None}
            if seen == {index: kept(one) for index, one in self.collections.items() if kept(one) is not None}:
                return before
            return Movement(begun_at=before.begun_at if before else now, since=now)

        return ServingMoved(
            indexing=moved(self.indexing, lambda one: one.indexed_rows),
            loading=moved(self.loading, lambda one: one.load_percent),
            collections=collections,
        )


class Imported(Model):
    """All rows of an attempt are imported and their number is right."""

    row_count: int
    """Rows that must be found; with `has_deletes_after` at most so many."""
    has_deletes_after: bool = False
    """Whether deletes were imported after the rows, so that the jobs did not tell how many are left."""
    imported_at: Time | None = None
    """When that was seen, from which on it was indexed and loaded."""


class Replaced(Model):
    """The collection that had the target's name is being dropped, and its aliases with it."""

    aliases: tuple[str, ...] = ()


class Finished(Model):
    """The collection has its name, its indexes and its rows."""

    collection_id: int
    row_count: int
    is_counted: bool = True
    """Whether these were seen there; else they are as many as the backup counted. An older release did not write it."""
    aliases: tuple[str, ...] = ()
    """Those that it has now, of the backup and of the collection that it replaced."""
    warnings: tuple[str, ...] = ()


class Failed(Model):
    """The collection cannot be restored."""

    error: str
    message: str
    hint: str = ""


class RestoredCollection(Model):
    """A collection in the report."""

    source: CollectionName
    target: CollectionName
    status: str
    """`restored` or `failed`."""
    as_of: Time | None = None
    """What came back is what there was then, UTC; None where all that the backup holds did."""
    row_count: int = 0
    expected_row_count: int | None = None
    """Rows that were counted when it was backed up; None: they could not be then, or other rows were asked for."""
    imported_row_count: int = 0
    """Rows in the segments that were imported: more than came back where rows were deleted, or are newer than what was
    asked for."""
    deleted_row_count: int | None = None
    """Those of them that had been deleted; None where some may be too new instead."""
    aliases: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""
    message: str = ""
    hint: str = ""


class RestoreReport(Model):
    """What a restore did."""

    backup_name: str
    status: str
    """`complete`, `partial` or `failed`."""
    started_at: Time
    finished_at: Time
    backup_version: str
    server_version: str
    content_checked: bool
    read_count: int = 0
    """Objects whose content was read before anything was staged."""
    is_staged: bool
    collections: tuple[RestoredCollection, ...]
    empty_databases: tuple[str, ...] = ()
    """Databases without collections in the backup, which were restored as they are."""
    warnings: tuple[str, ...] = ()


def cut_name(index: int) -> str:
    """Return the name of what is to be read of a collection's logs."""
    return f"cuts/{index}.json"


def cut_done_name(index: int) -> str:
    """Return the name of what was read of a collection's logs."""
    return f"cuts/{index}.done.json"


def cut_share_name(index: int, what: Literal["composed", "cut"], number: int) -> str:
    """Return the name of what was written of a share of a collection's deletes, counted from 0."""
    return f"cuts/{index}.{what}-{number}.json"


def composed_folder(index: int) -> str:
    """Return the folder of the delta logs that are composed for a collection, with a slash at its end."""
    return f"{COMPOSED}{index}/"


def target_name(index: int) -> str:
    """Return the name of a collection's target document."""
    return f"collections/{index}/target.json"


def serving_name(execution_arn: str) -> str:
    """Return the name of what an execution noted of how Milvus indexes and loads."""
    return f"importing/{attempt_of(execution_arn)}.serving.json"


def imports_name(execution_arn: str) -> str:
    """Return the name of what an execution noted of its imports' progress."""
    return f"importing/{attempt_of(execution_arn)}.json"
