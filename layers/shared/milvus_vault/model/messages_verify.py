"""What the machine verify and its function tell each other."""

from typing import Any, Literal

from milvus_vault.model.base import Model
from milvus_vault.model.messages import Execution


class VerifyBackupRequest(Model):
    """Input of VerifyBackup."""

    execution: Execution
    request: dict[str, Any]
    """The execution's input, not yet validated: `VerifyRequest`."""


class VerifyBackupResult(Model):
    """Output of the verify machine, once it is done."""

    is_done: bool
    """False where the function ran short of time and is to be called again."""
    backup_name: str
    status: Literal["intact", "damaged", "archived"]
    """`archived`: nothing is damaged, but objects have to be restored from S3 Glacier before they can be read."""
    error: str = ""
    """Unless it is intact, the error under which the execution ends."""
    cause: str = ""
    object_count: int
    size_bytes: int
    content_checked: bool
    """Whether objects could be compared with recorded ETags and checksums; else only presence and size were."""
    problem_count: int
    """As far as they are kept: a hundred."""
    mended: tuple[str, ...] = ()
    """With `repair`: what was made anew."""
    lost: tuple[str, ...] = ()
    """With `repair`: what could not be brought back, or is not proven any more."""
