"""What a stack tells others: events on EventBridge, notifications, and the names of its metrics."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict

from milvus_vault.model.base import Model
from milvus_vault.model.requests import VerifyLevel
from milvus_vault.model.resources import RunId, RunKind, RunStatus
from milvus_vault.model.times import Time

EVENT_SOURCE = "milvus-vault"
RUN_EVENT_TYPE = "Milvus Vault Run State Change"


class Metric(StrEnum):
    """Every metric that alarms and the dashboard may name, in the namespace MilvusVault."""

    RUN_DURATION = "RunDurationSeconds"
    COPIED_BYTES = "CopiedBytes"
    OBJECTS_PER_SECOND = "ObjectsPerSecond"
    RUNS_SUCCEEDED = "RunsSucceeded"
    RUNS_PARTIAL = "RunsPartial"
    RUNS_FAILED = "RunsFailed"
    BACKUPS_DAMAGED = "BackupsDamaged"
    LAST_SUCCESS_AGE = "LastSuccessAgeSeconds"
    SCHEDULES_OVERDUE = "SchedulesOverdue"
    OLDEST_UNPRUNED_AGE = "OldestUnprunedAgeSeconds"


class RunEvent(Model):
    """A change of a run's state: `detail` of an event with source `milvus-vault`.

    Events may come twice and out of order; those of one change have the same `id`. Later releases may add fields.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    """The same whenever the event of this change comes: the run's ID and its status."""
    stack: str
    """Name of the stack."""
    run: RunId
    kind: RunKind
    status: RunStatus
    execution_arn: str
    started_at: Time
    ended_at: Time | None = None
    """Null while it runs."""
    duration_seconds: float | None = None
    backup_name: str | None = None
    """The backup that is made, read, checked or deleted; null where there are several."""
    schedule: str | None = None
    """The schedule that asked for it; null where a person or a program did."""
    location: str | None = None
    """Where a backup or an export lies that succeeded, as `s3://bucket/prefix/name/`."""
    mode: Literal["full", "incremental"] | None = None
    """How a backup is made; null for runs of other kinds."""
    collection_count: int | None = None
    """Collections backed up or restored; this and the next six are known of runs that succeeded."""
    failed_count: int | None = None
    """Collections that could not be restored."""
    object_count: int | None = None
    size_bytes: int | None = None
    copied_object_count: int | None = None
    """Objects that were copied for an incremental backup; the others were there. Null for others, which copy all."""
    copied_size_bytes: int | None = None
    row_count: int | None = None
    level: VerifyLevel | None = None
    """How a backup is verified; null for runs of other kinds."""
    checksum_count: int | None = None
    """Of a verification that succeeded: objects of which a checksum was compared."""
    read_count: int | None = None
    """Of a verification that succeeded: objects that were read."""
    read_bytes: int | None = None
    compared_count: int | None = None
    """Of a drill that succeeded: rows that were compared value by value."""
    restore_seconds: float | None = None
    """Of a drill that succeeded: how long its restore took."""
    pool_object_count: int | None = None
    """Of a prune that succeeded: objects of the pool that it deleted, since no backup lists them any more."""
    pool_size_bytes: int | None = None
    pool_waiting_count: int | None = None
    """Of a prune that succeeded: groups of the pool of which something stays until a later one; its report says why."""
    error: str = ""
    """The error's name, see docs/errors.md; empty while it runs and where it succeeded."""
    message: str = ""
    hint: str = ""
    warnings: tuple[str, ...] = ()
    """The first twenty."""
    report_key: str | None = None
    """Key in the backup bucket of what was written down about a restore."""
    console_url: str
    """The execution in the AWS console."""


@dataclass(frozen=True, slots=True)
class Notification:
    """A message to people, by e-mail for example."""

    subject: str
    body: str
    attributes: tuple[tuple[str, str], ...]
    """By which a subscription may choose."""


class MeasureUnit(StrEnum):
    """Units of CloudWatch."""

    COUNT = "Count"
    SECONDS = "Seconds"
    BYTES = "Bytes"
    PER_SECOND = "Count/Second"


@dataclass(frozen=True, slots=True)
class Measure:
    """A value of a metric."""

    metric: Metric
    unit: MeasureUnit
    value: float
