"""What a failed execution is called, and what it leaves to read."""

from collections.abc import Sequence
from datetime import UTC, datetime

from milvus_vault.archive.layout import RUNS_FOLDER, join
from milvus_vault.model.base import Model
from milvus_vault.model.times import Time
from milvus_vault.ports import ObjectStore
from milvus_vault.untrusted import read_json


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
    key = join(prefix, RUNS_FOLDER, "failures", f"{execution_arn.rsplit(':', 1)[-1]}.json")
    store.put(bucket, key, record.model_dump_json(indent=1).encode())
    return record


def outcome_error(errors: Sequence[str], *, some_succeeded: bool, partial: str, failed: str) -> str:
    """Return the name under which a run with failed collections ends.

    `partial` where others succeeded; the collections' own error where all failed for the same reason; else `failed`.
    """
    if some_succeeded:
        return partial
    return errors[0] if len(set(errors)) == 1 else failed
