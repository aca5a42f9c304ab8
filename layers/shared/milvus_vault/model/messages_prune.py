"""What the machine prune and its functions tell each other."""

from typing import Any, Literal

from milvus_vault.model.base import Model
from milvus_vault.model.messages import Execution


class PlanPruneRequest(Model):
    """Input of PlanPrune."""

    execution: Execution
    request: dict[str, Any]
    """The execution's input, not yet validated: `PruneRequest`."""


class PlanPruneResult(Model):
    """What the rest of a prune needs."""

    run: str
    deletions: tuple[int, ...]
    """Indexes of the backups to delete; none with `dry_run`."""
    sweep: bool


class DeleteBackupRequest(Model):
    """Input of DeleteBackup."""

    run: str
    index: int


class DeleteBackupResult(Model):
    """Whether the backup is dealt with; else the function ran short of time and is to be called again."""

    is_done: bool


class SweepLeftoversRequest(Model):
    """Input of SweepLeftovers."""

    run: str


class SweepLeftoversResult(Model):
    """Whether all is swept; else the function ran short of time and is to be called again."""

    is_done: bool


class ReportPruneRequest(Model):
    """Input of ReportPrune."""

    run: str


class ReportPruneResult(Model):
    """Output of the prune machine."""

    status: Literal["complete", "failed"]
    error: str = ""
    """Unless `complete`, the error under which the execution ends."""
    cause: str = ""
    dry_run: bool
    kept_count: int
    deleted_count: int
    """With `dry_run`: how many would be deleted."""
    deleted_bytes: int
    skipped_count: int
    """To be deleted, but held or in use by then; the next prune looks again."""
    failed_count: int
    swept_objects: int
    """Working files, staged objects, claims and parts of unfinished backups that were removed."""
    warnings: tuple[str, ...] = ()
    """Backups that cannot be read or have lost their objects: the first twenty. `repair` mends what can be mended."""
    report_key: str
