"""The working files of a backup run, by their names in its workspace."""

from enum import StrEnum

from pydantic import Field

from milvus_vault.archive.manifest import (
    CollectionDocument,
    CollectionEntry,
    CollectionFailure,
    ExportOrigin,
    Source,
)
from milvus_vault.backup.places import Place
from milvus_vault.model.base import Model, Number
from milvus_vault.model.collections import CollectionName, DatabaseDescription, expires
from milvus_vault.model.flushes import FlushAllPoint
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.names import COLLECTIONS_PER_BATCH
from milvus_vault.model.requests import BackupRequest, ExportRequest
from milvus_vault.model.times import Time
from milvus_vault.workspace import Workspace

PLAN = "backup.json"

LOCKED = "locked.json"
"""How far the objects are locked: `LockProgress`. Only for backups with a lock."""

RBAC = "rbac.json"
"""The server's users and rights, where the request asks for them. Deleted when they are in the backup."""


DESTINATION = "destination.json"
"""Where an export to another place writes, an `ExportDestination`. There before anything of it is in that place."""


class ExportDestination(Model):
    """The place to which an export is written, and its name there."""

    place: Place
    backup_name: str


class ExportPlan(Model):
    """Of which backup an export is, and what of it is not told by the rest of the plan."""

    request: ExportRequest
    origin: ExportOrigin
    finished_at: Time
    """When the original was finished."""
    place: Place | None = None
    """Where it is written; None: beside the deployment's other backups."""
    marker_sha256: str = ""
    """Of a copy: that of the original's marker, which the copy gets as well."""

    @property
    def is_copy(self) -> bool:
        """Return whether the backup is copied as it is, and not written once more as a full one."""
        return self.request.is_copy


class BackupPlan(Model):
    """What one execution backs up. Written once by PrepareBackup, read by all later tasks."""

    request: BackupRequest
    backup_name: str
    backup_id: str
    execution_arn: str
    started_at: Time
    source: Source
    databases: tuple[DatabaseDescription, ...]
    """Those that are selected as a whole, with or without collections, and those of the collections."""
    collections: tuple[CollectionName, ...]
    """Their positions here are the indexes by which all other files name them."""
    collection_ids: tuple[Number, ...] = ()
    """Of the collections, from just before the moment; 0: there was none any more. Empty: an older build wrote it."""
    moment: int = 0
    """Hybrid timestamp at which restores cut all collections that were captured in the first round; 0: none is cut."""
    leaves_margin: bool = False
    """Whether nobody has waited between the moment and the flush yet. A build that does not know this takes no plan."""
    recent_since: Time | None = None
    """By S3's clock: objects of Milvus that were written before it say nothing of the moment. None: any may."""
    flush_all: FlushAllPoint | None = None
    """The one flush of all collections, where the server has it; else each is flushed by itself."""
    warnings: tuple[str, ...] = ()
    lock: ObjectLock | None = None
    """How its objects are to be locked before its marker is written."""
    export: ExportPlan | None = None
    """Where what is backed up is another backup. The request is then what would have made it."""
    bases: tuple[str, ...] = ()
    """Of an incremental backup: older ones that may have recorded what is in the pool, the newest first."""
    damaged: dict[str, Time] = Field(default_factory=dict)
    """Of an incremental backup: objects of the pool whose contents were found wrong, by key, and when."""

    @property
    def is_copy(self) -> bool:
        """Return whether it copies a backup as it is."""
        return self.export is not None and self.export.is_copy

    @property
    def is_incremental(self) -> bool:
        """Return whether its objects are to lie in the pool."""
        return self.request.mode == "incremental"

    def destination(self, run: Workspace) -> Workspace:
        """Return the run that makes backups of this name in the place where this one is written.

        It is the run of the plan itself, but for an export to another place: there nothing but its claim is ours.
        """
        place = self.export.place if self.export else None
        return place.run_of(run, self.backup_name) if place else run

    @property
    def batch_count(self) -> int:
        """Return how many SnapshotBatch invocations one round takes."""
        return -(-len(self.collections) // COLLECTIONS_PER_BATCH)


class LockProgress(Model):
    """How far PublishBackup is with locking the objects of a backup."""

    attempt: str
    next_collection: int = 0
    """Of those that are in the backup, in their order."""
    next_object: int = 0
    """In that collection's list."""


class Evidence(Model):
    """Where to read whether the moment of a collection holds: what was written since shortly before it."""

    rows: dict[int, tuple[str, ...]]
    """By segment, the keys in the backup of the logs that hold its rows' timestamps."""
    column_groups: dict[int, int]
    """By segment, how many fields or column groups have logs."""
    uncounted: tuple[int, ...] = ()
    """Segments that Milvus names no longer, so that their rows have to be counted."""
    deletes: tuple[str, ...]
    """Keys in the backup of delta logs."""
    replaced: tuple[str, ...]
    """Keys in Milvus' bucket of delta logs of segments that were replaced."""
    is_settled: bool
    """Whether requests stamped before the moment are known to have arrived before the flush."""
    undeleted_row_count: int | None = None
    """How many rows the backup has where it has no delete of any; None where it has deletes."""
    counted_row_count: int | None = None
    """How many rows Milvus counted, before the collection's own flush or after that of all; None: it cannot tell."""
    hides_expired: bool = False
    """Whether Milvus leaves out rows that have expired when it counts."""

    @property
    def has_nothing_newer(self) -> bool:
        """Return whether all objects are too old to hold anything newer than the moment, which then holds."""
        return not (self.rows or self.uncounted or self.deletes or self.replaced)

    def lacks_deletes(self, document: CollectionDocument) -> bool:
        """Return whether rows are gone for Milvus, if nothing came after the moment, of which there is no delete.

        Where Milvus does not name its logs only a listing tells which delta logs there are. Rows that expire have
        none.
        """
        alive, rows = self.counted_row_count, self.undeleted_row_count
        return alive is not None and rows is not None and alive < rows and not expires(document.description.properties)


class Verdict(StrEnum):
    """Whether the moment of a collection holds."""

    PROVEN = "proven"
    COMPACTED = "compacted"
    """Rows that were there may be gone."""
    UNSETTLED = "unsettled"
    """Half an upsert may be missing."""
    MISCOUNTED = "miscounted"
    """A segment's logs hold other rows than Milvus says, or lack columns: a listing may have left one out."""
    UNDERCOUNTED = "undercounted"
    """Milvus counted fewer rows than there are, without a delete of any. Rows may have expired by a setting of the
    server (`common.entityExpiration`), which no collection shows; or a listing has left deletes out."""
    UNREADABLE = "unreadable"
    """A log cannot be read, so that nobody knows."""
    CHANGED = "changed"
    """It changed while it was captured, and nothing was: another collection may have its name by now."""


class Snapshot(Model):
    """A collection as one round found it, or why it could not be read."""

    round: int
    document: CollectionDocument | None = None
    failure: CollectionFailure | None = None
    hint: str = ""
    """What to do about the failure: no manifest has that."""
    flushed: tuple[int, ...] = ()
    """The segments that there were when the collection was flushed."""
    sealed: tuple[int, ...] = ()
    """Those of them that the flush sealed."""
    object_count: int | None = None
    """Of the collection, in the backup. None: an older release did not write it."""
    is_second_look: bool = False
    """Whether it is of the moment and the flush of the round before."""
    has_target: bool = True
    """Whether it is a copy target. It is none where the pool had all of its objects."""
    warnings: tuple[str, ...] = ()
    lost_count: int = 0
    """Objects that a backup has recorded in the pool, and that a round of this execution did not find there."""
    evidence: Evidence | None = None
    """None where the collection is not cut."""
    verdict: Verdict | None = None
    """None until the copies were looked at, where they have to be."""

    @property
    def wants_second_look(self) -> bool:
        """Return whether its moment may hold all the same: by the segments of its flush, and what came in since.

        From the second round on it was captured by the segments of its flush already, so that a compaction that is
        seen came before the flush: only another moment helps.
        """
        helps = self.verdict is Verdict.UNSETTLED or (self.verdict is Verdict.COMPACTED and self.round == 1)
        return helps and bool(self.flushed) and not self.is_second_look


class CapturedCollection(Model):
    """A collection whose objects are all in the backup, as far as publishing has to know of all at once."""

    index: int
    collection_id: int
    object_count: int | None = None
    """None: not known, and as many as one function may hold."""
    warnings: tuple[str, ...] = ()
    has_target: bool = True
    """Whether some of its objects were copied; else all are shared."""


class Captured(Model):
    """What PublishBackup has found captured, and what is not in the backup and why."""

    collections: tuple[CapturedCollection, ...]
    failures: tuple[CollectionFailure, ...]


class Section(Model):
    """Collections whose documents are written, one after the other in the order of `Captured`."""

    first: int
    """Position of the first."""
    entries: tuple[CollectionEntry, ...]
    shared_count: int = 0
    """Objects that were in the pool before this execution."""
    shared_bytes: int = 0

    @property
    def end(self) -> int:
        """Return the position of the first collection of the next section."""
        return self.first + len(self.entries)


def snapshot_folder(attempt: str) -> str:
    """Return the folder of an execution's snapshots; no other execution writes there."""
    return f"collections/{attempt}/"


def snapshot_name(attempt: str, index: int) -> str:
    """Return the name of a collection's snapshot."""
    return f"{snapshot_folder(attempt)}{index}.json"


def shared_folder(attempt: str) -> str:
    """Return the folder of the lists of what was in the pool, with a slash at its end."""
    return f"collections/{attempt}-shared/"


def shared_name(attempt: str, index: int) -> str:
    """Return the name of the list of a collection's objects that were in the pool when it was captured."""
    return f"{shared_folder(attempt)}{index}.jsonl"


def exported_name(attempt: str, index: int) -> str:
    """Return the name of the list of what a collection of an export is copied from, in the order of its items."""
    return f"collections/{attempt}-exported/{index}.jsonl"


def _publishing(attempt: str, last_round: int) -> str:
    return f"publishing/{attempt}-r{last_round}/"


def captured_name(attempt: str, last_round: int) -> str:
    """Return the name of what was found captured when an execution's last round was over."""
    return f"{_publishing(attempt, last_round)}captured.json"


def sections_folder(attempt: str, last_round: int) -> str:
    """Return the folder of the sections whose documents are written, with a slash at its end."""
    return f"{_publishing(attempt, last_round)}sections/"


def section_name(attempt: str, last_round: int, first: int) -> str:
    """Return the name of a section, by the position of its first collection."""
    return f"{sections_folder(attempt, last_round)}{first}.json"


def section_text_name(attempt: str, last_round: int, section: Section, file: str) -> str:
    """Return the name of what one of milvus-backup's files is to have of a section."""
    return f"{_publishing(attempt, last_round)}texts/{section.first}-{section.end}.{file}"
