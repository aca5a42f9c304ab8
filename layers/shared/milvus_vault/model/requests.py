"""What a user asks for: the inputs of the machines backup, restore, verify, prune, export and drill.

Descriptions and defaults here are the only ones: documentation is made from them.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from milvus_vault.model.base import Model
from milvus_vault.model.locks import LockTerms
from milvus_vault.model.retention import Duration, Retention
from milvus_vault.model.times import Time
from milvus_vault.model.versions import MATRIX_BEGIN
from milvus_vault.model.words import Form, shown

# milvus-backup's rule, so that each tool can name the other's backups.
NEW_BACKUP_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"

# What a folder may be called that somebody renamed or copied: one part of a key and of a path, in plain characters.
BACKUP_NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_ !'()+,.:=@~-]{0,127}$"

_SELECTOR = re.compile(r"[^.\s*]+\.(\*|[^.\s*]+)")


def _check_selector(text: str) -> str:
    if not _SELECTOR.fullmatch(text):
        msg = f"'{shown(text)}' is not '<database>.<collection>' or '<database>.*'"
        raise ValueError(msg)
    return text


Selector = Annotated[str, AfterValidator(_check_selector)]
"""`<database>.<collection>`, or `<database>.*` for a database with all its collections, or without any."""


Name = Annotated[str, Field(min_length=1)]

Replicas = Annotated[int, Field(ge=1, le=64)]

ANY_GROUP = "*"
"""In a mapping of resource groups: any that is not named."""


NewBackupName = Annotated[
    str,
    Form(NEW_BACKUP_NAME_PATTERN, "name for a backup", "letters, digits and underscores, at most 128, no digit first"),
]
"""The name of a backup that is to be made."""

_NAME_OF_A_FOLDER = Form(
    BACKUP_NAME_PATTERN,
    "name of a backup",
    "letters, digits, blanks and _ ! ' ( ) + , . : = @ ~ -, at most 128, no blank or sign but _ first. A folder with"
    " another name has to be copied to one with such a name",
)

BackupName = Annotated[str, _NAME_OF_A_FOLDER]
"""The name of a backup that is there: that of its folder."""


def backup_name_problem(name: str) -> str:
    """Return why no request can name a backup that is there already, as its folder may be called; empty if one can."""
    try:
        _NAME_OF_A_FOLDER.check(name)
    except ValueError as err:
        return str(err)
    return ""


BucketName = Annotated[
    str,
    Form(
        r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        "name of a bucket",
        "3 to 63 small letters, digits, dots and dashes, a letter or digit first and last",
    ),
]

_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"

Prefix = Annotated[
    str,
    Field(max_length=256),
    Form(
        rf"^{_PART}(/{_PART})*$",
        "prefix for backups",
        "letters, digits and . _ -, in parts that slashes separate and of which none begins with a dot",
    ),
]
"""A folder of a bucket in which backups may lie. What begins with a dot there is a deployment's own."""


ScheduleName = Annotated[
    str,
    Form(
        r"^[A-Za-z][A-Za-z0-9_-]{0,47}$",
        "name for a schedule",
        "letters, digits, dashes and underscores, at most 48, a letter first",
    ),
    Field(examples=["nightly"]),
]

ScratchName = Annotated[
    str,
    Form(
        r"^[A-Za-z_][A-Za-z0-9_]{0,127}$",
        "name for a scratch database",
        "letters, digits and underscores, at most 128, no digit first",
    ),
]
"""The name of a database that a drill makes and drops."""

Suffix = Annotated[str, Form(r"^[A-Za-z0-9_]{0,128}$", "suffix", "letters, digits and underscores, at most 128")]


class ScheduleTag(Model):
    """The schedule that asks for a backup. Set by the schedule itself, so that each of its backups tells."""

    name: ScheduleName = Field(description="Name of the schedule.")
    timezone: str = Field(default="UTC", description="IANA time zone in which its days and months are counted.")
    retention: Retention | None = Field(default=None, description="Which of its backups are kept. Default: all.")


VerifyLevel = Literal["quick", "checksum", "deep"]
"""How much a verification proves: see docs/reliability.md."""


class VerifyOptions(Model):
    """How a backup is verified: `POST /backups/{name}/verify`, and `verify` of a backup request."""

    level: VerifyLevel = Field(
        default="quick",
        description="`quick` compares a listing with what was recorded: presence, size and ETag. `checksum` compares "
        "the checksums that S3 keeps with those that it named when it copied. `deep` reads the objects, and proves "
        "what is in them.",
    )
    sample_percent: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="Of `deep`: how much of the objects to read, but at least one. The next sample goes on behind this "
        "one, so that 20 of 5 percent read each object once. Default: all.",
    )
    max_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Of `deep`: how many bytes to read at most, but at least one object, however large it is. "
        "Besides, those that were found damaged before are read again, with others of their segments. The next "
        "verification with a sample or a limit goes on behind it. Default: no limit.",
    )

    @model_validator(mode="after")
    def _check_level(self) -> Self:
        for name in ("sample_percent", "max_bytes"):
            if getattr(self, name) is not None and self.level != "deep":
                msg = f"`{name}` is of a deep verification alone: {self.level} reads no objects"
                raise ValueError(msg)
        return self


class ExportPlace(Model):
    """Where an export is to lie, if not beside the other backups of the deployment."""

    bucket: BucketName | None = Field(
        default=None,
        description="The backup bucket, or the stack's `ExportBucketName`. Default: the backup bucket.",
    )
    prefix: Prefix | None = Field(
        default=None,
        description="The stack's `ExportPrefix`, or a folder below it. Default: `ExportPrefix` itself.",
    )
    bucket_region: str | None = Field(
        default=None,
        description="Refused unless the bucket is reached in this Region, as the stack's `ExportRegion` says of "
        "`ExportBucketName`. Default: wherever the stack reaches it.",
    )
    role_arn: str | None = Field(
        default=None,
        description="Refused unless the bucket is reached by this role, the stack's `ExportRoleArn`. Default: however "
        "the stack reaches it.",
    )
    kms_key_arn: str | None = Field(
        default=None,
        description="Refused unless all is written there under this key of KMS, the stack's `ExportKmsKeyArn`. "
        "Default: under whatever key the stack or the bucket has.",
    )


class BackupRequest(Model):
    """Input of the backup state machine. `{}` backs up everything under a name of its own."""

    backup_name: NewBackupName | None = Field(
        default=None,
        description="Name of the backup: letters, digits and underscores, at most 128, not starting with a digit. "
        "Default: `backup_<UTC date and time>_<4 characters of the execution>`.",
    )
    collections: tuple[Selector, ...] | None = Field(
        default=None,
        min_length=1,
        description="What to back up: `db.collection` or `db.*`. Default: all databases with all collections.",
    )
    mode: Literal["full", "incremental"] = Field(
        default="full",
        description="`full`: the backup holds a copy of each object, in milvus-backup's layout. `incremental`: it "
        "shares objects with other incremental backups, and only what none of them has is copied; it needs none of "
        "them to be restored.",
    )
    meta_only: bool = Field(default=False, description="Record schemas, indexes and the like, but copy no rows.")
    skip_flush: bool = Field(
        default=False,
        description="Do not flush first: rows that Milvus has not yet written to storage are then not in the backup.",
    )
    gc_pause: bool = Field(
        default=True,
        description="Ask Milvus to pause garbage collection while the backup is made, where a management endpoint is "
        "configured and Milvus can (2.4 and newer).",
    )
    include_rbac: bool = Field(
        default=False,
        description="Record users, roles, grants and privilege groups of the whole server as well (Milvus 2.4.10 and "
        "newer; needs the role `admin`). The backup then holds hashes of passwords.",
    )
    on_collection_failure: Literal["publish_partial", "fail"] = Field(
        default="publish_partial",
        description="What to do where a collection cannot be backed up: publish the others (the execution still ends "
        "failed, with BackupPartialError), or publish nothing.",
    )
    expire_after: Duration | None = Field(
        default=None,
        description="Delete the backup so long after it was begun: `30d`, `12h`, `4w`. Default: never, unless its "
        "schedule's retention says so.",
    )
    lock: LockTerms | None = Field(
        default=None,
        description="Lock all objects of the backup by S3 Object Lock, which the bucket must have. Default: no lock.",
    )
    verify: VerifyOptions | None = Field(
        default=None,
        description="Verify the backup once it is published, complete or partial, by a run of its own that the backup "
        'does not wait for: `{"level": "deep", "sample_percent": 5}`, as a verification is asked for. Default: it is '
        "not verified.",
    )
    copy_to: ExportPlace | None = Field(
        default=None,
        description="Copy the backup to another place once it is published, complete or partial, by a run of its own "
        'that the backup does not wait for: `{"bucket": ..., "prefix": ...}`, and `{}` for the stack\'s own place, as '
        "a copy is asked for. Default: it is not copied.",
    )
    schedule: ScheduleTag | None = Field(default=None, description="Set by schedules; leave it out.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.meta_only and self.mode == "incremental":
            msg = "`meta_only` copies no objects, so that none can be shared: leave out `mode`"
            raise ValueError(msg)
        return self


class RestoreRequest(Model):
    """Input of the restore state machine."""

    backup_name: BackupName = Field(description="Name of the backup to restore from.")
    collections: tuple[Selector, ...] | None = Field(
        default=None,
        min_length=1,
        description="What to restore, by its name in the backup: `db.collection` or `db.*`. Default: all of it.",
    )
    suffix: Suffix = Field(
        default="",
        description="Text to add to each restored collection's name. Excludes `rename`.",
    )
    rename: dict[Selector, Selector] = Field(
        default_factory=dict,
        description='New names: `{"db.a": "db.b"}` for a collection, `{"db1.*": "db2.*"}` for a whole database. '
        "Excludes `suffix`.",
    )
    drop_existing: bool = Field(
        default=False,
        description="Replace targets that exist. Each is dropped only when its replacement is complete. "
        "Excludes `skip_create`.",
    )
    skip_create: bool = Field(
        default=False,
        description="Restore into targets that exist already, with equal fields, and are empty. "
        "Excludes `drop_existing`.",
    )
    meta_only: bool = Field(default=False, description="Create the collections and their indexes, but restore no rows.")
    restore_index: bool = Field(default=True, description="Create the indexes that the collections had.")
    load: bool = Field(
        default=True,
        description="Load the collections that were loaded, with as many replicas. None without `restore_index`.",
    )
    restore_aliases: bool = Field(
        default=True,
        description="Create the aliases that the collections had, and those of collections that they replace. One in "
        "use elsewhere stays there, with a warning.",
    )
    switch_aliases: bool = Field(
        default=False,
        description="Also take the aliases that other collections of the same database have by now, each in one step: "
        "the last thing that is done with a collection, when its rows are counted and it is loaded as it was.",
    )
    partitions: dict[Selector, tuple[Name, ...]] = Field(
        default_factory=dict,
        description='Of these collections, by their names in the backup, only these partitions: `{"db.a": ["p1"]}`. '
        "Not of one that has a partition key.",
    )
    replicas: Replicas | dict[Selector, Replicas] | None = Field(
        default=None,
        description='Load with so many replicas: a number for all, or `{"db.a": 2, "db.*": 1}` by names in the backup. '
        "Default: as many as there were, or fewer where there are fewer query nodes, with a warning.",
    )
    resource_groups: dict[Name, Name] = Field(
        default_factory=dict,
        description='Resource groups to load into, by those of the backup: `{"old": "new"}`; `*` stands for any that '
        "is not named, and where none is recorded. Default: those that there were, and Milvus' default group in the "
        "place of one that the target does not have, with a warning.",
    )
    point_in_time: bool = Field(
        default=True,
        description="Restore each collection as it was at the backup's moment. `false`: everything that the backup "
        "holds, also what came while it was made; of an upsert that may be the delete without its row.",
    )
    as_of: Time | None = Field(
        default=None,
        description="Restore the collections as they were at this time, to the millisecond, which lies in the backup: "
        "not after its moment, and not before its first row. What was deleted since and compacted away does not come "
        "back. Default: the backup's moment, where it has one.",
    )
    rbac: bool = Field(
        default=False,
        description="Also restore those users, roles, grants and privilege groups of the backup that Milvus does not "
        "have. What is there is left as it is.",
    )
    verify: VerifyLevel | None = Field(
        default=None,
        description="How the objects of the restored collections are checked before anything is staged: `quick`, "
        "`checksum` or `deep`, as by a verification. Default: `deep` for archives of another tool, and where "
        "verifications found damage that a listing does not show, of this backup or of what it shares; else `quick`. "
        "Excludes `meta_only`.",
    )
    skip_damaged: bool = Field(
        default=False,
        description="Leave out collections whose objects are damaged, and restore the others; the restore is partial "
        "then. Default: refuse the restore.",
    )
    max_shards: int | None = Field(
        default=None, ge=1, le=64, description="Upper limit for the number of shards of a restored collection."
    )
    allow_version: bool = Field(
        default=False,
        description=f"Restore into a server before {MATRIX_BEGIN}, where the version matrix begins. "
        "A server of an older version than the backup's is refused all the same.",
    )

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        loads = self.load and self.restore_index
        for is_wrong, message in (
            (self.suffix and self.rename, "`suffix` and `rename` exclude each other"),
            (self.drop_existing and self.skip_create, "`drop_existing` and `skip_create` exclude each other"),
            (
                "load" in self.model_fields_set and self.load and not self.restore_index,
                "`load: true` and `restore_index: false` exclude each other: Milvus loads nothing without an index",
            ),
            (
                (self.replicas or self.resource_groups) and not loads,
                "`replicas` and `resource_groups` say how to load, and nothing is to be loaded",
            ),
            (
                self.switch_aliases and not self.restore_aliases,
                "`switch_aliases` and `restore_aliases: false` exclude each other: the latter leaves aliases alone",
            ),
            (
                self.skip_create and self.max_shards,
                "`max_shards` says how to create a collection, and `skip_create` creates none",
            ),
            (
                self.verify and self.meta_only,
                "`verify` says how to check the objects of rows, and `meta_only` restores no rows",
            ),
            (
                self.as_of and (self.meta_only or not self.point_in_time),
                "`as_of` says which rows to restore, and excludes `meta_only` and `point_in_time: false`",
            ),
        ):
            if is_wrong:
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for source, target in self.rename.items():
            if source.endswith(".*") != target.endswith(".*"):
                msg = (
                    f"`rename` must map a collection to a collection or a database to a database: {source} -> {target}"
                )
                raise ValueError(msg)
        for name, partitions in self.partitions.items():
            if name.endswith(".*") or not partitions:
                msg = f"`partitions` must name partitions of a collection: {name} -> {', '.join(partitions) or 'none'}"
                raise ValueError(msg)
        return self


class VerifyRequest(VerifyOptions):
    """Input of the verify state machine."""

    backup_name: BackupName = Field(description="Name of the backup to check.")
    repair: bool = Field(
        default=False,
        description="First mend what can be mended of its metadata: the marker from the manifest, the manifest from "
        "the documents of the collections, or the backup as one of milvus-backup from that tool's files. Objects of a "
        "replica that have other ETags are known again by their content.",
    )
    schedule: ScheduleTag | None = Field(
        default=None, description="Set by backups of schedules that are verified by themselves; leave it out."
    )


class ExportRequest(Model):
    """Input of the export state machine."""

    backup_name: BackupName = Field(description="Name of the backup to export.")
    export_name: NewBackupName = Field(
        description="Name of the full backup, or of the dataset, that is written: letters, digits and underscores, at "
        "most 128, not starting with a digit."
    )
    format: Literal["milvus-backup", "parquet"] = Field(
        default="milvus-backup",
        description="`milvus-backup`: a full backup in that tool's layout. `parquet`: a dataset, the rows of each "
        "collection that a restore would bring back, as files of Parquet below `.datasets/` of the place.",
    )
    collections: tuple[Selector, ...] | None = Field(
        default=None,
        min_length=1,
        description="What of the backup a dataset is to hold: `db.collection` or `db.*`. Default: all of it. Only with "
        "`format` parquet.",
    )
    is_copy: bool = Field(
        default=False,
        description="Copy the backup as it is: under its own name, as an incremental one if it is one, with the same "
        "documents. That goes to another place only (`to`).",
    )
    to: ExportPlace | None = Field(
        default=None,
        description='Another place for it: `{"bucket": ..., "prefix": ...}`. `bucket` may be the backup bucket, which '
        "is the default, and the stack's `ExportBucketName`; `prefix` the stack's `ExportPrefix`, which is the "
        "default, and any folder below it. The export may have the name of the backup itself there. Default: beside "
        "the other backups.",
    )
    lock: LockTerms | None = Field(
        default=None,
        description="Lock all objects of the export by S3 Object Lock, which the bucket must have that it is written "
        "to. Not with `format` parquet. Default: no lock, whatever the backup has.",
    )

    @classmethod
    def copy_of(cls, backup_name: str, to: ExportPlace) -> Self:
        """Return the request for a copy of a backup.

        Raises `ValidationError` for the name of a backup that no new one can have.
        """
        return cls(backup_name=backup_name, export_name=backup_name, is_copy=True, to=to)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if self.is_copy and self.to is None:
            msg = "`to` is missing: a backup is not copied onto itself"
            raise ValueError(msg)
        if self.is_copy and (self.format == "parquet" or self.lock is not None):
            msg = "`format` and `lock` are of exports: a copy of a backup is what the backup is"
            raise ValueError(msg)
        if self.is_copy and self.export_name != self.backup_name:
            msg = "`export_name` is another one than `backup_name`: a copy has the name of the backup"
            raise ValueError(msg)
        if self.format == "parquet" and self.lock is not None:
            msg = "`lock` is of backups alone: a dataset has no documents that would say until when it is locked"
            raise ValueError(msg)
        if self.format != "parquet" and self.collections is not None:
            msg = "`collections` is of `format` parquet alone: a full backup holds all that the original does"
            raise ValueError(msg)
        if self.format != "parquet" and self.to is None and self.export_name == self.backup_name:
            msg = "`export_name` is the name of the backup itself: an export beside it has one of its own"
            raise ValueError(msg)
        return self


class CopyRequest(Model):
    """What the API is asked for where a backup is to be copied; see `ExportRequest`."""

    to: ExportPlace = Field(
        default_factory=ExportPlace,
        description='Where to: `{"bucket": ..., "prefix": ...}`, as for an export. Default: the stack\'s '
        "`ExportBucketName` (without one the backup bucket), and its `ExportPrefix`. With `bucket_region`, `role_arn` "
        "or `kms_key_arn` it is refused where the stack has another.",
    )


class DrillRequest(Model):
    """Input of the drill state machine."""

    backup_name: BackupName | None = Field(
        default=None, description="Name of the backup to restore. Excludes `newest_of`."
    )
    newest_of: ScheduleName | None = Field(
        default=None,
        description="Restore the newest complete backup of this schedule. Excludes `backup_name`.",
    )
    collections: tuple[Selector, ...] | None = Field(
        default=None,
        min_length=1,
        description="What to restore, by its name in the backup: `db.collection` or `db.*`. Default: all of it.",
    )
    max_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Restore no more bytes than that: where the collections have more, a random sample of them. "
        "Default: no limit.",
    )
    row_count: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Of each collection, how many rows are compared value by value, chosen at random.",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**63,
        description="What the random choice of collections and rows begins with, so that a drill can be done again "
        "with the same. Default: a number of the execution's own, which its result tells.",
    )
    database: ScratchName | None = Field(
        default=None,
        description="Name of the scratch database, which must not exist: letters, digits and underscores, at most 128, "
        "not starting with a digit. Default: `vault_drill_<12 characters of the execution>`.",
    )
    allow_version: bool = Field(
        default=False,
        description=f"Restore into a server before {MATRIX_BEGIN}, where the version matrix begins.",
    )
    schedule: ScheduleTag | None = Field(default=None, description="Set by schedules; leave it out.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.backup_name is None) == (self.newest_of is None):
            msg = "a drill is of one backup: give `backup_name`, or `newest_of` with the name of a schedule"
            raise ValueError(msg)
        return self


class PruneRequest(Model):
    """Input of the prune state machine. `{}` deletes what no policy keeps, and what dead runs left behind."""

    backup_names: tuple[BackupName, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Delete just these backups, whatever any policy says. Default: those that no policy keeps.",
    )
    dry_run: bool = Field(default=False, description="Only say what would be deleted, and why.")
    sweep: bool = Field(
        default=True,
        description="Also remove the working files, staged objects, claims and unfinished uploads of dead runs. "
        "Not with `backup_names`.",
    )
