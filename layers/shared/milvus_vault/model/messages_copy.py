"""Requests and results of the copy machine's functions."""

from typing import Literal

from pydantic import Field

from milvus_vault.model.base import Model

RUN = "Name of the run: the folder of its working files."
ATTEMPT = "Text that no other execution of the run has, so that their working files never meet."
ROUND = "Number of the round in this attempt, from 1 on."

type CopyPurpose = Literal["backup", "restore", "export"]


class Round(Model):
    """One turn of the loop that lists, copies and verifies."""

    number: int = Field(ge=1)
    batches: tuple[int, ...] = ()
    """Numbers of the collection batches that SnapshotBatch is to take; not used by a restore."""


class PlanCopyRequest(Model):
    """Input of PlanCopy."""

    run: str = Field(min_length=1, description=RUN)
    attempt: str = Field(pattern=r"^[A-Za-z0-9_-]+$", description=ATTEMPT)
    round: int = Field(ge=1, description=ROUND)
    purpose: CopyPurpose | None = Field(
        default=None,
        description="What is copied for. Without it, as an earlier release asks, a round is only planned.",
    )


class VerifyCopyResult(Model):
    """Whether everything is there, and what has to go another round."""

    status: Literal["complete", "again", "exhausted"]
    """`exhausted`: not complete, and this was the last round."""
    incomplete_count: int
    """Targets that are not complete."""
    next: Round
    """The round after this one: the batches of the collections that are not complete."""


class PlanCopyResult(Model):
    """Where the batches of a round are, how much they hold, and what comes next."""

    status: Literal["copy", "verify", "complete", "again", "exhausted"]
    """What is to be done; or where the round is small, and was copied at once, what VerifyCopy would say."""
    next: Round | None = None
    """As VerifyCopy says it, where the round was copied at once."""
    bucket: str
    batches_key: str
    """Key of a JSON array of `{"batch": <name>}`, the items of the distributed Map."""
    batch_count: int
    object_count: int
    """Objects that this round copies."""
    size_bytes: int
    present_object_count: int
    """Objects that were there when the round was planned."""
    present_size_bytes: int


class CopyBatchRequest(Model):
    """Input of CopyBatch."""

    run: str = Field(min_length=1, description=RUN)
    batch: str = Field(description="Name of the batch: copy/<attempt>/r<round>/batch-<number>.jsonl.")


class CopyBatchResult(Model):
    """What became of the objects of a batch. The details are in the run's working files."""

    copied_count: int
    missing_count: int
    """Objects whose source is gone."""
    changed_count: int
    """Objects whose source is not the one that was listed."""
    copied_bytes: int
    error: str = ""
    """Name of the error that made the batch give up; VerifyCopy raises it."""


class VerifyCopyRequest(Model):
    """Input of VerifyCopy."""

    run: str = Field(min_length=1, description=RUN)
    attempt: str = Field(pattern=r"^[A-Za-z0-9_-]+$", description=ATTEMPT)
    round: int = Field(ge=1, description=ROUND)
    purpose: CopyPurpose = Field(
        description="Objects of a running Milvus may vanish, and are listed anew; those of a backup may not."
    )
