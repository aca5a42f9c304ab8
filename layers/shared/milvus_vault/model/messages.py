"""What the state machines and their functions tell each other.

Small on purpose: a payload may have 256 KiB, so that lists travel as the names of working files.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from milvus_vault.model.base import Count, Model
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.messages_copy import Round
from milvus_vault.model.messages_rows import DatasetResult
from milvus_vault.model.requests import BackupRequest, ExportRequest, RestoreRequest, VerifyRequest
from milvus_vault.model.resources import PlannedRestore, RunKind
from milvus_vault.model.times import Time
from milvus_vault.untrusted import whole

# Rounds of snapshot and copy. A server that compacts a collection every 5 s does so in two of five rounds between the
# moment and its flush, about 2 s later. All but one are tries of a new moment: that all fail has a chance of 0.4 ** 7.
MAX_ROUNDS = 8


class Execution(Model):
    """The execution that a task belongs to, as Step Functions' context object tells it."""

    arn: str
    started_at: Time


class PrepareBackupRequest(Model):
    """Input of PrepareBackup."""

    execution: Execution
    request: dict[str, Any]
    """The execution's input, not yet validated: `BackupRequest`."""


class PrepareBackupResult(Model):
    """What the states of one round of a backup need."""

    run: str
    attempt: str
    round: Round
    backup_name: str
    collection_count: int
    meta_only: bool
    is_published: bool
    """True where an earlier execution published this very backup and was killed before it ended."""


class SnapshotBatchRequest(Model):
    """Input of SnapshotBatch."""

    run: str
    attempt: str
    round: int
    batch: int


class SnapshotBatchResult(Model):
    """How many collections a SnapshotBatch took."""

    collection_count: int


class PublishBackupRequest(Model):
    """Input of PublishBackup."""

    run: str
    attempt: str
    round: int
    """The last round of copies."""


class NextRun(Model):
    """A run that follows a backup whose request asks for it."""

    run: str
    """Its ID."""
    name: str
    """Name of its execution, by which one that starts again starts it no second time."""


class NextVerification(NextRun):
    """The verification that follows a backup."""

    request: VerifyRequest


class NextCopy(NextRun):
    """The copy to another place that follows a backup."""

    request: ExportRequest


class PublishedBackup(Model):
    """Output of the backup machine, and of the export machine."""

    backup_name: str
    location: str
    """Where the backup lies, as `s3://bucket/prefix/name/`."""
    status: Literal["complete", "partial"]
    error: str = ""
    """With `partial`, the error under which the execution ends."""
    cause: str = ""
    collection_count: int
    failed_count: int
    object_count: int
    size_bytes: int
    mode: Literal["full", "incremental"] = "full"
    copied_object_count: int | None = None
    """Objects that were copied for it, where it is incremental; the others were there. This and the next."""
    copied_size_bytes: int | None = None
    has_retention: bool = False
    """Whether a schedule with a policy asked for it, so that a prune follows."""
    locked_until: Time | None = None
    """When the lock of its objects ends, if it has one."""
    verification: NextVerification | None = None
    """Null where none was asked for."""
    next_copy: NextCopy | None = None
    """Null where none was asked for."""
    warnings: tuple[str, ...] = ()


class PublishBackupResult(Model):
    """What PublishBackup has done."""

    is_done: bool
    """False where the function ran short of time while it locked objects, and is to be called again."""
    published: PublishedBackup | None = None


class PrepareExportRequest(Model):
    """Input of PrepareExport."""

    execution: Execution
    request: dict[str, Any]
    """The execution's input, not yet validated: `ExportRequest`."""
    write_count: Count = 0
    """How often the batches of a dataset were given to WriteRows."""


class PrepareExportResult(Model):
    """What the states of an export need."""

    run: str
    attempt: str
    round: Round
    collection_count: int
    meta_only: bool
    is_published: bool
    """True where an earlier execution published this very export and was killed before it ended."""
    has_rows: bool = False
    """Whether WriteRows is to write rows before the function is called again."""
    bucket: str = ""
    """Where `batches_key` lies."""
    batches_key: str = ""
    """Key of a JSON array of `{"batch": <name>}`, the items of the distributed Map."""
    write_count: Count = 0
    """What the next call is to be given."""
    is_dataset: bool = False
    """Whether a dataset is written, and `dataset` is what the execution returns."""
    dataset: DatasetResult | None = None


class TendPausesRequest(BaseModel):
    """Input of TendPauses; of what a clock sends nothing matters."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ending: str = ""
    """The ARN of the backup that asks, which is about to end: its pause is given back though it still runs."""


class TendPausesResult(Model):
    """What became of the pauses that are noted."""

    renewed_count: int
    ended_count: int


class PrepareRestoreRequest(Model):
    """Input of PrepareRestore."""

    execution: Execution
    request: dict[str, Any]
    """The execution's input, not yet validated: `RestoreRequest`."""
    check_count: Count = 0
    """How often the batches of the content check were given to CheckObjects."""


class PrepareRestoreResult(Model):
    """What the states of a restore need."""

    run: str
    attempt: str
    round: Round
    collection_count: int = 0
    is_staged: bool = False
    has_cuts: bool = False
    """Whether logs have to be read before anything is made."""
    has_batches: bool = False
    """Whether CheckObjects is to look at objects before the function is called again: nothing is planned yet."""
    check_run: str = ""
    """Name of the content check: a folder in that of the run."""
    bucket: str = ""
    """Where `batches_key` lies."""
    batches_key: str = ""
    """Key of a JSON array of `{"batch": <number>}`, the items of the distributed Map."""
    check_count: Count = 0
    """What the next call is to be given."""


class RestoreStepRequest(Model):
    """Input of the tasks of a restore that only have to know which run they belong to."""

    run: str
    execution_arn: str


class CutCollectionsResult(Model):
    """Of how many collections logs were read."""

    collection_count: int


class AdvanceRestoreResult(Model):
    """How many collections are where they should be, and when to look again."""

    is_done: bool
    finished_count: int
    failed_count: int
    pending_count: int
    wait_seconds: int


class CleanUpRestoreResult(Model):
    """What was removed."""

    object_count: int
    collection_count: int


class ReportRestoreResult(Model):
    """Output of the restore machine."""

    backup_name: str
    status: Literal["complete", "partial", "failed"]
    error: str = ""
    """Unless `complete`, the error under which the execution ends."""
    cause: str = ""
    restored_count: int
    failed_count: int
    row_count: int
    expected_row_count: int | None = None
    """Rows that were counted of it when it was backed up; null where they were not of all of it, or where nobody has
    counted what came back."""
    imported_row_count: int
    """Rows in the segments of what was restored: more than came back where some were deleted or are too new."""
    deleted_row_count: int | None = None
    """Those of them that had been deleted; null where some may be too new instead."""
    content_checked: bool
    """Whether ETags were recorded, and the listing's compared with them; else only presence and size were."""
    read_count: Count = 0
    """Objects whose content was read before anything was staged."""
    report_key: str
    warnings: tuple[str, ...] = ()


class InspectMilvusRequest(Model):
    """Input of InspectMilvus, which the API's function invokes."""

    inspection: Literal["collections", "check", "estimate", "plan", "selection", "targets"]
    limit: int = 20
    token: str | None = None
    database: str | None = None
    """Of `collections`, as the next."""
    sizes: bool = False
    backup: BackupRequest = Field(default_factory=BackupRequest)
    """Of `estimate` and `selection`."""
    restore: RestoreRequest | None = None
    """Of `plan` and `targets`."""
    targets: tuple[CollectionName, ...] = ()
    """Of `targets`."""


class Occupied(Model):
    """Which targets of a restore have their names already in Milvus."""

    collections: frozenset[CollectionName]
    aliases: frozenset[CollectionName]
    """Those that are names of aliases."""


class TargetsFound(Model):
    """What is in the way of a restore, and the name of its run, which follows from the request and the Milvus."""

    run: str
    server_version: str = ""
    """Of the Milvus; empty where an older release looked."""
    occupied: Occupied


class RefusedRestore(Model):
    """Why a restore would be refused."""

    error: str
    """The error's name."""
    message: str
    hint: str
    is_of_target: bool
    """Whether it says what is in the target: a run that goes on with what an earlier execution made is not refused."""


class RestorePlanFound(Model):
    """What a restore would do, why it would be refused, and the name of its run."""

    run: str
    plan: PlannedRestore
    refused: tuple[RefusedRestore, ...] = ()
    """In the order in which the restore would meet it."""


class InspectMilvusResult(Model):
    """What was found, by the inspection."""

    found: dict[str, Any]
    """A page of `CollectionInfo`, a `CheckReport`, `Estimate`, `RestorePlanFound`, `Selection` or `TargetsFound`."""


class RecordFailureRequest(Model):
    """Input of RecordFailure."""

    machine: RunKind
    execution_arn: str
    error: str
    cause: str = Field(default="")
    request: Any = None

    # What failed may be what was given: it is written down as far as it can be.
    _whole = model_validator(mode="before")(whole)


class RecordFailureResult(Model):
    """The name and the text under which the execution ends."""

    error: str
    cause: str


class StatusChange(BaseModel):
    """What Step Functions says of an execution's new status: `detail` of its event, as far as we read it."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)

    _whole = model_validator(mode="before")(whole)

    execution_arn: str
    state_machine_arn: str
    name: str
    status: str
    start_date: int
    """Milliseconds since 1970, as the next."""
    stop_date: int | None = None
    input: str | None = None
    """JSON; null where it is too large for an event, as the next."""
    output: str | None = None
    error: str | None = None
    cause: str | None = None


class AnnounceRunRequest(BaseModel):
    """Input of AnnounceRun: an event of Step Functions, as EventBridge delivers it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    detail: StatusChange


class WatchSchedulesRequest(BaseModel):
    """Input of WatchSchedules: nothing that matters."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class WatchSchedulesResult(Model):
    """What WatchSchedules found."""

    schedule_count: int
    overdue: tuple[str, ...]
    """Names of the schedules whose newest backup should be there and is not."""
