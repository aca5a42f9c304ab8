"""What a failed execution is called, and what it leaves to read."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from milvus_vault.errors import split_hint, with_hint
from milvus_vault.model.base import Model
from milvus_vault.model.resources import RunKind, RunStatus
from milvus_vault.model.times import Time
from milvus_vault.ports import ObjectStore
from milvus_vault.untrusted import read_json
from milvus_vault.workspace import record_key

# Nobody raised these, so that Step Functions has no name of ours for them, and a reason only where somebody gave one.
_ENDINGS: Mapping[RunStatus, tuple[str, str]] = {
    "stopped": ("RunStoppedError", "the run was stopped"),
    "timed_out": ("RunTimedOutError", "the run took longer than its state machine allows"),
}
_AGAIN = "Start it again with the same request: it goes on where it was."
# It chooses anew, and nobody concluded it.
_DRILL_AGAIN = "Start another one: it begins anew, and drops the scratch database that this one left."


class RunFailure(NamedTuple):
    """Why a run did not succeed; all empty for one that did, or goes on."""

    error: str = ""
    """The error's name."""
    message: str = ""
    hint: str = ""


class FailureRecord(Model):
    """The record of an execution that failed: `<prefix>/.runs/failures/<execution name>.json`."""

    machine: str
    execution_arn: str
    failed_at: Time
    error: str
    cause: str
    request: str
    """The execution's input as it was, in JSON."""


def read_failure(error: str, cause: str) -> tuple[str, str]:
    """Return the name and the text of a failure as a state machine caught it.

    Lambda puts the exception in the cause, as JSON with `errorType` and `errorMessage`. A machine inside
    another, or a Parallel state, may have replaced the name by one of its own; the cause still has ours.
    """
    # Each cause is within the one before, and shorter.
    while True:
        try:
            details = read_json(cause)
        except ValueError:
            return error, cause
        if not isinstance(details, dict):
            return error, cause
        if "errorType" in details:
            return str(details["errorType"]), str(details.get("errorMessage", ""))
        if not ("Error" in details and "Cause" in details):
            return error, cause
        error, cause = str(details["Error"]), str(details["Cause"])


def unrecorded_failure(error: str, cause: str, why: str) -> tuple[str, str]:
    """Return the name and the text of a failure that could not be recorded, and why: the first failure counts."""
    name, text = read_failure(error, cause)
    message, hint = split_hint(text)
    return name, with_hint(f"{message}\nNor could this be recorded: {why}", hint)


def run_failure(kind: RunKind, status: RunStatus, error: str, cause: str) -> RunFailure:
    """Return why a run did not succeed, from what Step Functions says of its execution.

    Also where RecordFailure could not be reached, and the execution ended under a name of the state machine's.
    """
    if status in {"running", "succeeded"}:
        return RunFailure()
    if status in _ENDINGS:
        name, text = _ENDINGS[status]
        return RunFailure(name, cause or text, _DRILL_AGAIN if kind == "drill" else _AGAIN)
    name, text = read_failure(error or "States.Unknown", cause)
    return RunFailure(name, *split_hint(text))


def record_failure(
    store: ObjectStore,
    bucket: str,
    prefix: str,
    *,
    machine: str,
    execution_arn: str,
    error: str,
    cause: str,
    request: str,
) -> FailureRecord:
    """Write and return the record of a failed execution."""
    name, text = read_failure(error, cause)
    record = FailureRecord(
        machine=machine,
        execution_arn=execution_arn,
        failed_at=datetime.now(UTC),
        error=name,
        cause=text,
        request=request,
    )
    store.put(bucket, record_key(prefix, "failures", execution_arn), record.model_dump_json(indent=1).encode())
    return record


def outcome_error(errors: Sequence[str], *, some_succeeded: bool, partial: str, failed: str) -> str:
    """Return the name under which a run with failed collections ends.

    `partial` where others succeeded; the collections' own error where all failed for the same reason; else `failed`.
    """
    if some_succeeded:
        return partial
    return errors[0] if len(set(errors)) == 1 else failed
