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
    """Whose working files have the plan."""

    run: str


class CarryOutPruneRequest(Model):
    """Input of CarryOutPrune."""

    run: str


class CarryOutPruneResult(Model):
    """Output of the prune machine, once it is done."""

    is_done: bool
    """False where the function ran short of time and is to be called again."""
    status: Literal["complete", "failed"]
    error: str = ""
    """Unless `complete`, the error under which the execution ends."""
    cause: str = ""
    dry_run: bool
    kept_count: int
    deleted_count: int
    """With `dry_run`: how many would be deleted."""
    deleted_bytes: int
    """Of all objects that these backups list, and where another tool wrote one or its manifest is damaged, of those in
    its folder. What incremental ones share goes by the sweep: `pool_size_bytes`."""
    freed_object_count: int | None = None
    """With `dry_run`: objects that would be gone, of full backups and, by a sweep, of the pool those that no other
    backup lists. Null otherwise."""
    freed_bytes: int | None = None
    skipped_count: int
    """To be deleted, but held or in use by then; the next prune looks again."""
    failed_count: int
    swept_objects: int
    """Working files, staged objects, claims and parts of unfinished backups that were removed."""
    pool_object_count: int = 0
    """Objects of the pool that no backup lists any more and that were deleted; not among `swept_objects`."""
    pool_size_bytes: int = 0
    pool_waiting_count: int = 0
    """Groups of the pool, each a collection's objects, of which what no backup lists stays until a later prune."""
    pool_reasons: tuple[str, ...] = ()
    """Why something of the pool stays that no backup lists: the first twenty reasons."""
    warnings: tuple[str, ...] = ()
    """Backups that cannot be read or have lost their objects: the first twenty. `repair` mends what can be mended."""
    report_key: str
