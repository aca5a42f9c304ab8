"""Executions of state machines, as Step Functions tells of them, and what our functions note of them."""

from milvus_vault.model.base import Model
from milvus_vault.model.times import Time


class StartedExecution(Model):
    """An execution that was just started."""

    arn: str
    started_at: Time


class ExecutionSummary(Model):
    """An execution in a list."""

    arn: str
    name: str
    status: str
    """RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED or PENDING_REDRIVE."""
    started_at: Time
    ended_at: Time | None


class ExecutionDescription(ExecutionSummary):
    """An execution with its input and what came of it."""

    input_json: str
    output_json: str | None
    error: str
    cause: str


class ExecutionPage(Model):
    """Some executions of one machine."""

    executions: tuple[ExecutionSummary, ...]
    next_token: str | None
