"""What the machine drill and its functions tell each other."""

from typing import Any

from pydantic import Field

from milvus_vault.model.base import Count, Model
from milvus_vault.model.messages import Execution
from milvus_vault.model.resources import Drill


class PrepareDrillRequest(Model):
    """Input of PrepareDrill."""

    execution: Execution
    request: dict[str, Any]
    """The execution's input, not yet validated: `DrillRequest`."""


class PrepareDrillResult(Model):
    """What the states of a drill need."""

    run: str
    backup_name: str
    restore_name: str
    """Name of the restore's execution."""
    restore: dict[str, Any]
    """Input of the restore machine: a `RestoreRequest`."""


class ProveDrillRequest(Model):
    """Input of ProveDrill."""

    run: str = Field(min_length=1)


class ProveDrillResult(Model):
    """How far the comparison is."""

    is_done: bool
    """False where the function is to be called again: Milvus loads, or it ran short of time."""
    proven_count: Count
    """Collections that are compared."""
    wait_seconds: Count


class ConcludeDrillRequest(Model):
    """Input of ConcludeDrill."""

    execution: Execution
    error: str = ""
    """What ended the drill before all was compared, as the state machine caught it; empty: nothing did."""
    cause: str = ""


class DrillResult(Drill):
    """Output of the drill machine."""

    backup_name: str
    """Empty where the drill was refused before a backup was chosen."""
    database: str = ""
    """The scratch database, which is gone."""


class ConcludeDrillResult(DrillResult):
    """What became of a drill."""

    cause: str = ""
    """With `failed`, the text under which the execution ends."""
