"""What the API takes and answers, and what the client returns. OpenAPI is made from these models."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from milvus_vault.model.base import Count, Model
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.requests import BackupRequest, DrillRequest, VerifyLevel
from milvus_vault.model.retention import Retention
from milvus_vault.model.schedules import ScheduleKind
from milvus_vault.model.times import Time
from milvus_vault.model.words import Form

type RunKind = Literal["backup", "restore", "verify", "prune", "export", "drill"]
type RunStatus = Literal["running", "succeeded", "partial", "failed", "stopped", "timed_out"]
type BackupStatus = Literal["complete", "partial", "damaged"]
type SettingKind = Literal["collection", "field", "function", "property", "index", "alias"]
type Unit = Literal["object", "byte", "job", "row", "collection", "batch", "backup", "group"]
type CollectionChange = Literal["added", "removed", "replaced", "renamed", "changed", "unknown"]

RunId = Annotated[
    str,
    Form(
        r"^(backup|restore|verify|prune|export|drill)-[A-Za-z0-9_-]{1,80}$",
        "ID of a run",
        "its kind, a dash and the name of its execution, for example backup-9d1c7a52",
    ),
    Field(examples=["backup-9d1c7a52"]),
]
"""The kind of a run and the name of its execution, with a dash between them."""


class Problem(Model):
    """An error, as RFC 9457 (`application/problem+json`) has it."""

    type: str
    """URI of the error's explanation."""
    title: str
    """What the error's name stands for, in a sentence."""
    status: int
    """The answer's status, once more."""
    detail: str
    """The message, which names the object concerned."""
    instance: str = ""
    """ID of the request, by which the function's log is found."""
    error: str
    """The error's name, see docs/errors.md."""
    hint: str = ""
    """What usually helps; empty where only the message does."""


class Page[Item](Model):
    """Some items of a list, newest first (schedules and collections: by name)."""

    items: tuple[Item, ...]
    """Those of this part of the list."""
    next_token: str | None = Field(default=None, description="Ask with this token for what follows; null: that is all.")


class ObjectCount(Model):
    """Some objects."""

    object_count: Count = 0
    """How many they are."""
    size_bytes: Count = 0
    """Their size together."""


class BackupSummary(Model):
    """A backup in a list."""

    name: str
    """Name of the backup, which is that of its folder."""
    status: BackupStatus
    """`damaged`: its marker or its manifest is lost or damaged, so that nothing else is known of it."""
    created_at: Time
    """When the backup was begun, UTC."""
    finished_at: Time | None
    """When its marker was written, UTC; null where nobody recorded it."""
    size_bytes: Count
    """Size of all objects that it lists, shared ones too."""
    object_count: Count
    """Objects that it lists, shared ones too."""
    collection_count: Count
    """Collections that are in it."""
    row_count: Count
    """Rows in segments; deleted rows that were not yet compacted away count."""
    milvus_version: str
    """Version of the Milvus that it is of."""
    source: str = ""
    """`s3://bucket/root path` that it was taken from; empty where another tool made it, and in lists where an earlier
    release did."""
    meta_only: bool = False
    """Whether it holds schemas, indexes and the like, and no rows."""
    schedule: str | None = None
    """The schedule that asked for it."""
    expires_at: Time | None = None
    """When it may be deleted by its own request, UTC; null: it has no expiry of its own."""
    lock: ObjectLock | None = None
    """By which S3 keeps all of its objects until then; null: it was made without one."""
    is_held: bool = False
    """Whether a hold forbids to delete it."""
    holds_secrets: bool = False
    """Whether it has users with hashes of their passwords."""
    origin: str = "milvus-vault"
    """The program that made it; empty where that cannot be read."""
    mode: Literal["full", "incremental"] = "full"
    """`incremental`: its objects lie in the pool, which it shares with others."""
    copied_object_count: Count | None = None
    """Objects that were copied for it, where it is incremental; the others were there."""
    copied_size_bytes: Count | None = None
    """Size of these objects."""
    proven_at: Time | None = None
    """When a drill last restored it, and found all as it should be; `drill` of the backup in full says how."""
    proven_count: Count = 0
    """Collections of it that this drill restored: the others it does not prove."""
    drill_status: Literal["proven", "failed"] | None = None
    """The verdict that is kept of its drills: `failed` until what failed was found as it should be; null: none."""
    damage: str = ""
    """What is wrong with it, as far as a verification, a prune or this list has seen; see `repair`. Empty: nothing."""


class Link(Model):
    """Where something can be read."""

    url: str
    """For an hour, without credentials."""


class BackedUpCollection(Model):
    """A collection in a backup."""

    database: str
    """Database of the collection."""
    name: str
    """Name of the collection."""
    row_count: Count
    """Rows in segments; deleted rows that were not yet compacted away count."""
    live_row_count: Count | None = None
    """Rows that a query saw at the time; null where the collection was not loaded or was changing."""
    segment_count: Count
    """Segments in which the rows lie."""
    object_count: Count
    """Objects of the collection, shared ones too."""
    size_bytes: Count
    """Size of these objects."""
    moment: Time | None = None
    """What a restore brings back is what there was then, UTC; null where nobody knows."""


class FailedCollection(Model):
    """A collection that is not in a backup, and why."""

    database: str
    """Database of the collection."""
    name: str
    """Name of the collection."""
    error: str
    """The error's name, see docs/errors.md."""
    message: str
    """What went wrong, in words."""


class Hold(Model):
    """A ban on deleting a backup, by hand or by policy, until it is lifted or has run out."""

    reason: str = Field(default="", max_length=500, description="Why it must stay.")
    until: Time | None = Field(default=None, description="When the hold ends by itself, with time zone; null: never.")


class HoldState(Hold):
    """A hold as it is kept."""

    since: Time
    """When it was placed, UTC."""
    by: str = ""
    """ARN of the caller who placed it."""


class Verified(Model):
    """How a backup was checked, and how much of it."""

    level: VerifyLevel = "quick"
    """How much was proven: `quick`, `checksum` or `deep`."""
    collection_count: Count | None = None
    """Collections that the backup has, each of which was looked at; null where that was not noted."""
    object_count: Count
    """Objects that a listing was compared with; this and their bytes are all of the backup."""
    size_bytes: Count
    """Size of these objects."""
    etags_compared: bool = True
    """Whether ETags were recorded, and the listing's compared with them; else only presence and size were."""
    content_checked: bool
    """Whether all objects were read: by `deep`, unless a sample or a limit left some out."""
    checksum_count: Count = 0
    """With `checksum`: objects with which S3 keeps the checksum that was recorded when they were copied."""
    incomparable_count: Count = 0
    """With `checksum`: objects of which no checksum of the whole was recorded, or S3 keeps none of that kind."""
    read_count: Count = 0
    """With `deep`: objects that were read."""
    read_bytes: Count = 0
    """Size of these objects."""
    baseline_count: Count = 0
    """Of those that were read: objects of which nothing that was recorded tells the content. It could be read, and its
    digest is written down, with which the next deep verification compares it."""
    locked_count: Count = 0
    """Objects of a locked backup whose lock was looked at, and lasts as long as is recorded. `quick` looks at none."""
    sample_percent: float | None = None
    """How much of the objects was to be read; null: all."""
    max_bytes: Count | None = None
    """How many bytes were to be read at most; null: no limit."""

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, given: object) -> object:
        """Read what was written before there were levels, when `content_checked` told of ETags."""
        if isinstance(given, dict) and "level" not in given and "content_checked" in given:
            return {**given, "level": "quick", "etags_compared": given["content_checked"], "content_checked": False}
        return given


class Verification(Verified):
    """What the last check of a backup found."""

    verified_at: Time
    """When it ended, UTC."""
    status: Literal["intact", "damaged", "archived"]
    """`archived`: nothing is damaged, but objects have to be restored from S3 Glacier before they can be read."""
    run: str
    """ID of the run that checked."""
    problems: tuple[str, ...] = ()
    """The first hundred things that are wrong."""
    damaged_contents: dict[str, str] = Field(default_factory=dict)
    """By key, what deep verifications found wrong with the content of objects, of a hundred at most. It stays until a
    deep verification reads the object as it should be, since nothing else sees it; of an object of the pool, one of any
    backup that lists it."""
    next_position: Count = 0
    """Where the next sample begins, in the order in which samples read the objects."""


class Drill(Model):
    """What a drill of a backup found. Counts are of what it got to, where it failed."""

    drilled_at: Time
    """When it ended, UTC."""
    status: Literal["proven", "failed"]
    """`proven`: all that was restored is as it should be."""
    run: str
    """ID of the run."""
    milvus_version: str = ""
    """Of the server that it was restored into."""
    collection_count: Count = 0
    """Collections that were restored and compared."""
    collection_total: Count = 0
    """Collections of the backup: where there are more than were compared, the others are not proven."""
    size_bytes: Count = 0
    """Bytes of the objects of what was restored."""
    row_count: Count = 0
    """Rows that the restored collections were found to have, by partition."""
    compared_count: Count = 0
    """Rows that were compared value by value."""
    searched_count: Count = 0
    """Vectors that were searched for, and found."""
    restore_seconds: float | None = None
    """How long the restore took, from its beginning to the last collection's name; null where it failed."""
    seed: Count = 0
    """What the random choice began with."""
    differences: tuple[str, ...] = ()
    """The first hundred things that are not as in the backup, as far as they have 40,000 bytes."""
    warnings: tuple[str, ...] = ()
    """What was not compared, and why: as many."""
    error: str = ""
    """The error's name, where it failed."""
    message: str = ""
    """What went wrong, in words."""
    proven_at: Time | None = None
    """When a drill last found all as it should be, this one or one before; null: none ever has."""
    proven_count: Count = 0
    """Collections that were restored and compared by then."""
    unproven: tuple[str, ...] = ()
    """The first hundred collections that it was to restore, and did not find as they should be.

    What is kept with a backup stays `failed` until drills have found all of these so; `differences` are of those left.
    """


class Damage(Model):
    """What a prune found wrong with a backup."""

    name: str
    problem: str
    found_at: Time
    told_at: Time | None = None
    """When people were told; null: not yet."""


class BackupCopy(Model):
    """A copy of a backup in another place, as it was when it was made."""

    location: str
    """`s3://bucket/prefix/name/` of the copy."""
    copied_at: Time
    """When the copy was complete, UTC."""
    run: str
    """ID of the run that made it."""


class Backup(BackupSummary):
    """A backup in full."""

    location: str
    """`s3://bucket/prefix/` of the backup."""
    moment: Time | None = None
    """What a restore brings back is what there was then, UTC; collections can have a later one of their own. Null where
    nobody knows: of another tool's backup, and of one without a flush."""
    databases: tuple[str, ...] = ()
    """Those that it is of; one that has no collection in it is restored by itself."""
    run: str | None = None
    """ID of the run that made it; null where another tool did, or another stack."""
    export_of: str | None = None
    """The backup that was exported as this one."""
    copies: tuple[BackupCopy, ...] = ()
    """Where it was copied to, the newest first. Whether a copy is there still, a deployment there tells."""
    collections: tuple[BackedUpCollection, ...]
    """Those of this answer, by name."""
    failures: tuple[FailedCollection, ...] = ()
    """Collections that were asked for and are not in it."""
    warnings: tuple[str, ...] = ()
    """What whoever restores it should know."""
    unique: ObjectCount | None = None
    """Objects that no other backup lists, which prunes delete once this one is deleted: all of a full one. Null of an
    incremental one unless asked for."""
    hold: HoldState | None = None
    """The hold that forbids to delete it; null: there is none."""
    verification: Verification | None = None
    """The last verification; null: there was none."""
    drill: Drill | None = None
    """The last drill; null: there was none."""
    retention: Retention | None = None
    """Policy of its schedule when it was made."""
    report_url: str | None = None
    """Where the HTML report can be read for an hour, without credentials; null where there is none."""
    next_token: str | None = None
    """Ask with this token for the failures, warnings and collections that follow; null: that is all."""


LISTS_OF_A_BACKUP = ("failures", "warnings", "collections")
"""The members of a `Backup` that come in parts, in this order."""


class Setting(Model):
    """A part of what a collection is."""

    kind: SettingKind
    """What it is a part of."""
    name: str = ""
    """Of the field, the function, the property, the index or the alias; empty for the collection itself."""
    value: dict[str, str] = Field(default_factory=dict)
    """Its members as text; what is empty, zero or false is left out. Numbers of types are those of Milvus."""


class BackedUpPartition(Model):
    """A partition of a collection in a backup."""

    name: str
    """Name of the partition."""
    row_count: Count
    """Rows in segments; deleted ones that were not yet compacted away count."""
    segment_count: Count
    """Segments in which the rows lie."""
    is_loaded: bool
    """Whether it was in memory, by itself or with its collection."""


class ObjectKinds(Model):
    """The objects of a collection by what they are of Milvus."""

    insert_logs: ObjectCount
    """Rows."""
    delta_logs: ObjectCount
    """Deletes."""


class CollectionDetails(BackedUpCollection):
    """A collection in a backup in full, as far as the program that made the backup recorded it."""

    collection_id: int
    """Milvus' number of the collection."""
    load_state: Literal["NotLoad", "Loading", "Loaded"]
    """Whether it was in memory."""
    replicas: Count
    """How many replicas were loaded: 0 if it was not loaded, 1 if it was and nobody recorded how many."""
    resource_groups: tuple[str, ...]
    """The resource group of each replica; none where nobody recorded them."""
    moment_doubt: str = ""
    """Why the moment could not be proven; empty where it was."""
    settings: tuple[Setting, ...]
    """Its schema, properties, indexes and aliases."""
    partitions: tuple[BackedUpPartition, ...]
    """Its partitions."""
    objects: ObjectKinds
    """Its objects by what they hold."""


class ComparedBackup(Model):
    """One of the two backups of a comparison."""

    name: str
    """Name of the backup."""
    created_at: Time
    """When the backup was begun, UTC."""
    origin: str
    """The program that made it."""
    milvus_version: str
    """Version of the Milvus that it is of."""
    meta_only: bool
    """Whether it holds no rows."""
    collection_count: Count
    """Collections that are in it."""
    row_count: Count
    """Rows in segments; deleted rows that were not yet compacted away count."""
    object_count: Count
    """Objects that it lists."""
    size_bytes: Count
    """Size of these objects."""


class ComparedCollection(BackedUpCollection):
    """A collection in one of the two backups of a comparison."""

    collection_id: int
    """Milvus' number of the collection."""


class SettingDiff(Model):
    """A part of what a collection is that is not the same in both backups."""

    kind: SettingKind
    """What it is a part of."""
    name: str = ""
    """Of the field, the function, the property, the index or the alias; empty for the collection itself."""
    change: Literal["added", "removed", "changed"]
    """Whether only `b` has it, only `a`, or both another one."""
    a: dict[str, str] = Field(default_factory=dict)
    """What it is in `a`, as far as it differs; what is empty, zero or false is left out."""
    b: dict[str, str] = Field(default_factory=dict)
    """The same of `b`."""


class ObjectDiff(Model):
    """Whether two backups hold copies of the same objects of Milvus.

    They are the same if bucket, key and size in Milvus' storage are the same, and the ETags or the checksums of the
    copies. Under KMS and of copies in parts ETags say nothing: without a checksum such objects are not the same here.
    """

    only_in_a: ObjectCount = Field(default_factory=ObjectCount)
    """Those that only `a` has."""
    only_in_b: ObjectCount = Field(default_factory=ObjectCount)
    """Those that only `b` has."""
    shared: ObjectCount = Field(default_factory=ObjectCount)
    """Those that both have."""
    unknown: ObjectCount = Field(default_factory=ObjectCount)
    """In both by number and size, without an ETag or a checksum of both: nobody knows whether they are the same."""


class CollectionDiff(Model):
    """A collection that is not the same in both backups, as far as they were compared."""

    change: CollectionChange
    """`added`: only in `b`; `removed`: only in `a`; `replaced`: another collection of this name, with another ID;
    `renamed`: the same ID under another name; `unknown`: nothing differs of what is known of both."""
    a: ComparedCollection | None = None
    """The collection in `a`; null where that lacks it."""
    b: ComparedCollection | None = None
    """The collection in `b`; null where that lacks it."""
    failure: str = ""
    """Of one that is only in one backup: the error for which the other backup lacks it. Empty: it was not there then,
    or not asked for."""
    partitions_added: tuple[str, ...] = ()
    """Partitions that only `b` has."""
    partitions_removed: tuple[str, ...] = ()
    """Partitions that only `a` has."""
    partitions_replaced: tuple[str, ...] = ()
    """Of a collection that is the same: partitions that were dropped and made again, with another ID."""
    settings: tuple[SettingDiff, ...] = ()
    """What differs of schema, properties, indexes and aliases."""
    unknown: tuple[str, ...] = ()
    """What cannot be compared, since one of the backups does not record it."""
    objects: ObjectDiff | None = None
    """Null where they were not to be compared."""


class BackupDiff(Model):
    """What differs between two backups, `a` and `b`. No data was read."""

    a: ComparedBackup
    """The one."""
    b: ComparedBackup
    """The other."""
    same_source: bool | None
    """Whether both are of one bucket and root path of Milvus; null where a backup does not say."""
    databases_added: tuple[str, ...]
    """Databases that only `b` is of."""
    databases_removed: tuple[str, ...]
    """Databases that only `a` is of."""
    collections: tuple[CollectionDiff, ...]
    """Those that differ, by name, behind those of the answer before."""
    differing_count: Count
    """How many collections differ, or may, of those that were compared up to here, by the answers before too."""
    unchanged_count: Count
    """How many of these are in both, and do not differ in anything that was compared."""
    objects: ObjectDiff | None
    """Of all of these; null where they were not to be compared."""
    notes: tuple[str, ...] = ()
    """What was not compared, and why."""
    next_token: str | None = None
    """Ask with this token to go on comparing; null: that is all."""


class ModeStats(ObjectCount):
    """The backups of one mode, and what they list, each by itself."""

    mode: Literal["full", "incremental"]
    """`full`, or `incremental`: they share objects of the pool."""
    backup_count: Count
    """Backups of this mode."""


class ScheduleStats(ObjectCount):
    """The backups of one schedule that are there, and what they list, each by itself."""

    schedule: str | None
    """Null: the backups that no schedule asked for."""
    backup_count: Count
    """Backups of this schedule."""
    stored_bytes: Count | None
    """Of full backups all, and of the pool as large a part as theirs is of all that incremental backups list. Null
    where the pool was not listed."""
    storage_cost_usd_per_month: float | None
    """Price of these bytes in us-east-1, S3 Standard."""


class PoolListing(ObjectCount):
    """How far a listing of the pool is: what it has found so far."""

    collection_count: Count
    """Collections of which all objects are listed."""
    collection_total: Count
    """Collections that have objects in the pool."""


class Stats(ObjectCount):
    """What the backup prefix holds. Objects and bytes are the logical ones: what each backup lists, added up."""

    backup_count: Count
    """Backups below the prefix."""
    damaged_count: Count
    """Of them, those that cannot be read: nothing else of them is counted."""
    modes: tuple[ModeStats, ...]
    """The same by mode."""
    pool: ObjectCount | None
    """Objects in the pool by a listing, those that no backup lists any more too. Null where it was not listed, or not
    yet to its end."""
    stored: ObjectCount | None
    """Those of the pool and those of full backups."""
    ratio: float | None
    """Logical by stored bytes; null where the pool was not listed, or nothing is stored."""
    storage_cost_usd_per_month: float | None
    """Price of the stored bytes in us-east-1, S3 Standard."""
    schedules: tuple[ScheduleStats, ...]
    """By name, the backups that no schedule asked for last."""
    listing: PoolListing | None = None
    """How far the listing of the pool is, where it goes on."""
    next_token: str | None = None
    """Ask with this token to go on listing the pool; null: that is all."""


class RunSummary(Model):
    """A run in a list: one execution of a state machine."""

    id: str
    """The kind of the run and the name of its execution."""
    kind: RunKind
    """Which machine it is a run of."""
    status: RunStatus
    """`partial`: it did something, and not all that was asked for."""
    started_at: Time
    """When the execution began, UTC."""
    ended_at: Time | None = None
    """When it ended, UTC; null while it runs."""
    backup_name: str | None = None
    """The backup that it makes, reads, checks or deletes; null for a prune by policies."""
    export_name: str | None = None
    """The backup that an export writes; null for any other run."""
    export_to: str | None = None
    """Where an export writes it, as it was asked for: `s3://bucket/prefix`, `s3://bucket` or a prefix of the backup
    bucket; null where that is beside the other backups."""
    schedule: str | None = None
    """The schedule that asked for it."""
    error: str = ""
    """The error's name, once it has failed."""


class UnitCount(Model):
    """How many of something are done."""

    unit: Unit
    """What is counted."""
    done: Count
    """How many are done."""
    total: Count | None = None
    """How many there are; null where that is not known yet."""


class RunCollection(Model):
    """A collection in a run."""

    database: str
    """Database of the collection in the backup."""
    name: str
    """Name of the collection in the backup."""
    status: Literal["waiting", "running", "done", "failed"]
    """How far it is."""
    target: str | None = None
    """Restores: the full name that it gets."""
    phase: str = ""
    """Restores: what is done with it now, for example `importing`; empty where nothing is."""
    counts: tuple[UnitCount, ...] = ()
    """Restores: what moves in that phase after the copy, as far as Milvus has said it. Rows are by its percentages."""
    objects_done: int = 0
    """Objects that are copied."""
    objects_total: int | None = None
    """Objects to copy; null as long as nobody knows."""
    bytes_done: int = 0
    """Bytes that are copied."""
    bytes_total: int | None = None
    """Bytes to copy; null as long as nobody knows."""
    row_count: int | None = None
    """Rows that it has, once they are known; null before."""
    error: str = ""
    """The error's name, where it failed."""
    message: str = ""
    """What went wrong, in words."""
    hint: str = ""
    """What to do about the error."""


class PhaseProgress(Model):
    """How far a phase of a run is, by what moves in it. Those of a restore go on at the same time."""

    name: str
    """For example `copying`, `importing`, `indexing` or `loading`."""
    counts: tuple[UnitCount, ...]
    """What moves in it. Of the first unit are rate and time. Rows of importing and loading are by Milvus' percentages;
    a row to index counts once, however many indexes there are. Jobs are those of the collections that have begun."""
    per_second: float | None = None
    """Mean of this phase in this run, in the first unit; null before it has moved, and once it is done."""
    eta_seconds: float | None = None
    """What is left of it at that rate, or else at the rate of the last run that had this phase; null where neither is
    known, or it takes longer than by that."""
    eta_from: Literal["this run", "an earlier run"] | None = None
    """Where the rate comes from by which that was told."""


class Progress(Model):
    """How far a run is. Totals are null as long as they are not known."""

    phases: tuple[PhaseProgress, ...] = ()
    """Those that have begun, those that are done too."""
    collections_done: int = 0
    """Collections that are done."""
    collections_running: int = 0
    """Collections that are at work."""
    collections_failed: int = 0
    """Collections that have failed."""
    collections_total: int | None = None
    """Collections that the run has."""
    objects_done: int = 0
    """Objects that are copied."""
    objects_total: int | None = None
    """Objects to copy."""
    bytes_done: int = 0
    """Bytes that are copied."""
    bytes_total: int | None = None
    """Bytes to copy."""
    bytes_per_second: float | None = None
    """Mean since copying began; null before, and when nothing is left to copy."""
    eta_seconds: float | None = None
    """The longest of what the phases say that have begun: no phase that comes after them is in it. Null where none says
    anything."""


class Run(RunSummary):
    """A run in full."""

    execution_arn: str
    """ARN of the execution of Step Functions."""
    phase: str = ""
    """What it does now, for example `copying`; empty once it has ended."""
    progress: Progress = Field(default_factory=Progress)
    """How far it is."""
    collections: tuple[RunCollection, ...] = ()
    """The first hundred, failed ones first; `/runs/{id}/collections` has all."""
    request: dict[str, Any]
    """The input of the execution."""
    result: dict[str, Any] | None = None
    """The output of the execution, where it succeeded. Of a verification, only what it found. Of a prune, also its
    decisions (of `decision_count` as many as an answer can hold, those to delete first; its report has all), their
    outcomes, and what was swept (of the pool: `pool_object_count`, `pool_size_bytes`, the groups that wait, and why),
    even where it failed; of a dry run what would be `freed`, by all deletions together and by each."""
    message: str = ""
    """What went wrong, in words; empty where nothing did."""
    hint: str = ""
    """What usually helps."""
    warnings: tuple[str, ...] = ()
    """What whoever asked for it should know."""
    report_url: str | None = None
    """Where the HTML report can be read for an hour, without credentials; null where there is none."""


class Started(Model):
    """Answer to a request for long work: `202` with `Location: /runs/{id}`."""

    id: str
    """ID of the run, at `/runs/{id}`."""
    kind: RunKind
    """Which machine it is a run of."""
    execution_arn: str
    """ARN of the execution of Step Functions."""
    backup_name: str | None = None
    """The name that a backup gets, where the request left it out."""


class ScheduleSpec(Model):
    """A schedule as it is asked for: `PUT /schedules/{name}`."""

    expression: str = Field(
        min_length=1,
        max_length=256,
        description="EventBridge Scheduler's `rate(1 day)` or `cron(0 3 * * ? *)`.",
        examples=["rate(1 day)", "cron(0 3 * * ? *)"],
    )
    timezone: str = Field(
        default="UTC", max_length=50, description="IANA time zone of a cron expression, for example Europe/Berlin."
    )
    enabled: bool = Field(default=True, description="Whether it fires.")
    request: BackupRequest = Field(
        default_factory=BackupRequest, description="What to back up. `backup_name` and `schedule` must be left out."
    )
    retention: Retention | None = Field(default=None, description="Which of its backups are kept. Default: all.")
    drill: DrillRequest | None = Field(
        default=None,
        description="Drill a backup instead of making one: which one, and how much of it. `schedule` must be left out. "
        "Excludes `request` and `retention`.",
    )

    @model_validator(mode="after")
    def _check_drill(self) -> Self:
        if self.drill and (self.retention or self.request != BackupRequest()):
            msg = "`drill` tries a backup and makes none: leave out `request` and `retention`"
            raise ValueError(msg)
        return self


class Schedule(ScheduleSpec):
    """A schedule as it is. Where it drills, `request` says nothing."""

    name: str
    """Somebody may have made it in the group by hand, with a name that this API gives to none."""
    kind: ScheduleKind = "backup"
    """Whether it makes backups, or drills."""
    is_deployed: bool = False
    """Whether it comes from the stack's parameters, so that the API cannot change it."""
    next_run_at: Time | None = None
    """Null where it is off, or will never fire again."""
    last_success_at: Time | None = None
    """When the newest complete backup of this schedule was begun, or its newest drill that succeeded."""
    problem: str = ""
    """Why it cannot be read, so that `request` says nothing and no next run is known. Empty: it can."""


class CollectionInfo(Model):
    """A collection that could be backed up."""

    database: str
    """Database of the collection."""
    name: str
    """Name of the collection."""
    row_count: int
    """Rows in flushed segments; deleted rows that were not yet compacted away count."""
    size_bytes: int | None = None
    """Bytes of its objects in S3, from a listing; null where it was not asked for."""
    object_count: int | None = None
    """Objects in S3, from a listing; null where it was not asked for."""
    segment_count: int
    """Flushed segments."""
    is_loaded: bool
    """Whether it is in memory."""


class CheckItem(Model):
    """One thing that a backup or a restore needs."""

    name: str
    """For example `milvus_connection`."""
    verdict: Literal["ok", "warning", "failed", "skipped"]
    """`warning`: it works, and something is not as it could be."""
    message: str
    """What was found, in words."""
    error: str = ""
    """The error's name, with `failed`."""
    hint: str = ""
    """What usually helps; empty where nothing has to be done."""


class CheckReport(Model):
    """What `POST /check` found. The deployment can work if no verdict is `failed`."""

    is_ok: bool
    """Whether no verdict is `failed`."""
    milvus_version: str | None = None
    """Version of the Milvus that answers; null where none does."""
    checks: tuple[CheckItem, ...]
    """Everything that was looked at."""


class Selection(Model):
    """What a selection means in Milvus now."""

    collection_count: int


class EstimateRequest(Model):
    """What a backup would take: `POST /estimate`."""

    backup: BackupRequest = Field(
        default_factory=BackupRequest,
        description="The backup to estimate; of an incremental one also what a full one would take.",
    )


class IncrementalEstimate(Model):
    """What an incremental backup would take, by what the pool has now."""

    copied_object_count: int
    """Objects that no incremental backup has."""
    copied_size_bytes: int
    """Size of these objects."""
    copy_requests: int
    """CopyObject and UploadPartCopy requests."""
    list_requests: int
    """Of Milvus' objects and of the pool, a page of 1,000 objects each."""
    get_requests: int
    """At most: for what is recorded of objects in the pool."""
    request_cost_usd: float
    """Price of the requests in us-east-1, S3 Standard."""
    storage_cost_usd_per_month: float
    """Price of keeping what is copied; what is shared is paid for already."""
    expected_seconds: float
    """At the rates in docs/performance.md; an order of magnitude."""


class Estimate(Model):
    """What a full backup would take, and beside it an incremental one. Nothing is copied, nothing flushed."""

    collection_count: int
    """Collections that would be in it."""
    object_count: int
    """Objects that it would list."""
    size_bytes: int
    """Size of these objects."""
    row_count: int
    """Rows in flushed segments."""
    copy_requests: int
    """CopyObject and UploadPartCopy requests, the bulk of the price."""
    list_requests: int
    """Of Milvus' objects, a page of 1,000 objects each."""
    request_cost_usd: float
    """Price of the requests in us-east-1, S3 Standard."""
    storage_cost_usd_per_month: float
    """Price of keeping the backup for a month in us-east-1, S3 Standard."""
    expected_seconds: float
    """At the rates in docs/performance.md; an order of magnitude."""
    largest: tuple[CollectionInfo, ...]
    """The ten largest collections."""
    incremental: IncrementalEstimate | None = None
    """What the backup would take that was asked for; null for a full one."""


class PlannedCollection(Model):
    """What a restore would make of a collection."""

    source: str
    """`database.name` in the backup."""
    target: str
    """`database.name` in Milvus."""
    is_replaced: bool = False
    """Whether the target has a collection of that name, which is dropped when this one is whole."""
    partition_count: Count
    """Partitions that it gets."""
    row_count: Count
    """Rows that are imported, deleted ones included; zero where none are."""
    live_row_count: Count | None = None
    """Rows that a query saw at the time of the backup; null where that is not known, or is not what is restored."""
    object_count: Count | None
    """Objects that are copied into Milvus' bucket; null where that is not known."""
    size_bytes: Count | None
    """Of these objects."""
    import_jobs: Count | None
    """Import jobs that Milvus is given; null where that is not known."""
    index_count: Count
    """Indexes that are made."""
    is_loaded: bool
    """Whether it is loaded when it is there."""
    aliases: tuple[str, ...] = ()
    """Those that it will get, of a collection that is replaced as well; others have their warning."""
    verify: VerifyLevel = "quick"
    """How its objects are looked at before anything is staged."""
    damage: str = ""
    """Why it is left out, as `skip_damaged` allows; empty: it is not."""


class PlannedRestore(Model):
    """What a restore would do. It is decided by the code of the restore itself; nothing is claimed, made or written."""

    backup_name: str
    """The backup that would be restored."""
    backup_version: str
    """Milvus that the backup was made of."""
    server_version: str
    """Milvus that it would be restored into."""
    new_databases: tuple[str, ...] = ()
    """Databases that are made."""
    collection_count: Count
    """Collections that are restored, those that are left out included."""
    partition_count: Count
    """Partitions of all of them."""
    row_count: Count
    """Rows that are imported, deleted ones included."""
    object_count: Count | None
    """Objects that are copied into Milvus' bucket; null where that is not known. Zero where all are imported from where
    they lie."""
    size_bytes: Count | None
    """Of these objects; null where that is not known."""
    import_jobs: Count | None
    """Import jobs that Milvus is given; null where that is not known."""
    copy_requests: Count
    """CopyObject and UploadPartCopy requests, the bulk of the price."""
    list_requests: Count
    """Of the backup's objects and of those that are staged, a page of 1,000 each."""
    get_requests: Count
    """Of documents, and of objects whose content or checksum is looked at before anything is staged."""
    request_cost_usd: float
    """Price of the requests in us-east-1, S3 Standard."""
    expected_seconds: float
    """An order of magnitude, see `expected_by`."""
    expected_by: str
    """What the time is told by: a restore of this deployment, or rates in docs/performance.md."""
    warnings: tuple[str, ...] = ()
    """Those that the restore would give when it begins."""
    left_to_run: tuple[str, ...] = ()
    """What a plan does not find out, and the restore does."""
    continues: str | None = None
    """ARN of the execution that died, and whose work the restore would go on with."""
    collections: tuple[PlannedCollection, ...]
    """As many as go into an answer; `collection_count` has all."""
