"""What the machines verify and check-objects and their functions tell each other."""

from typing import Any, Literal

from pydantic import Field

from milvus_vault.model.base import Count, Model
from milvus_vault.model.messages import Execution
from milvus_vault.model.resources import Verified


class VerifyBackupRequest(Model):
    """Input of VerifyBackup."""

    execution: Execution
    request: dict[str, Any]
    """The execution's input, not yet validated: `VerifyRequest`."""
    check_count: Count = 0
    """How often the batches were given to CheckObjects."""


class VerifyResult(Verified):
    """What a run of the verify machine is told to have found."""

    backup_name: str
    status: Literal["intact", "damaged", "archived"]
    """`archived`: nothing is damaged, but objects have to be restored from S3 Glacier before they can be read."""
    problem_count: int
    """As far as they are kept: a hundred."""
    warnings: tuple[str, ...] = ()
    """What was not looked at, and why."""
    mended: tuple[str, ...] = ()
    """With `repair`: what was made anew."""
    lost: tuple[str, ...] = ()
    """With `repair`: what could not be brought back, or is not proven any more."""


class VerifyBackupResult(VerifyResult):
    """Output of the verify machine, once it is done. The API tells of it what `VerifyResult` has."""

    is_done: bool
    """False where the function is to be called again: it ran short of time, or CheckObjects is to be called first."""
    run: str = ""
    """Name of the run: the folder of its working files."""
    has_batches: bool = False
    """Whether objects are to be checked by CheckObjects before the function is called again."""
    bucket: str = ""
    """Where `batches_key` lies."""
    batches_key: str = ""
    """Key of a JSON array of `{"batch": <number>}`, the items of the distributed Map."""
    check_count: Count = 0
    """What the next call is to be given."""
    error: str = ""
    """Unless it is intact, the error under which the execution ends."""
    cause: str = ""


class CheckObjectsRequest(Model):
    """Input of CheckObjects."""

    run: str = Field(min_length=1, description="Name of the run: the folder of its working files.")
    batch: int = Field(ge=0, description="Number of the batch.")


class CheckObjectsResult(Model):
    """How far a batch is. What was found is in the run's working files."""

    run: str
    batch: int
    is_done: bool
    """False where the function ran short of time and is to be called again."""
    checked_count: Count
    read_bytes: Count
