"""Our event of what Step Functions says of an execution."""

from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from milvus_vault.backup.prepare import default_name
from milvus_vault.errors import InvalidRequestError
from milvus_vault.failures import read_failure
from milvus_vault.model.events import RunEvent
from milvus_vault.model.messages import StatusChange
from milvus_vault.model.resources import RunKind
from milvus_vault.model.words import wrong_fields
from milvus_vault.runs.machines import STATUSES, run_id, run_status
from milvus_vault.untrusted import read_json

_KIND = TypeAdapter[RunKind](RunKind)
_HINT = "\nHint: "

# An event may have 256 KiB.
_MAX_WARNINGS = 20
_MAX_TEXT = 10_000
_MAX_NAME = 200
_MAX_COUNT = 2**63

CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}

# Step Functions gives no reason of its own for these.
_ENDINGS = {
    "stopped": ("RunStoppedError", "the run was stopped"),
    "timed_out": ("RunTimedOutError", "the run took longer than its state machine allows"),
}
_AGAIN = "Start it again with the same request: it goes on where it was."


def run_event(change: StatusChange, stack: str) -> RunEvent:
    """Return the event of a change. The same change gives the same event.

    Raises `InvalidRequestError` for a change that is none of our machines', or that nobody here has heard of.
    """
    try:
        return _run_event(change, stack)
    except ValidationError as err:
        wrong = "; ".join(f"{field}: {text}" for field, text in wrong_fields(err))
        raise _unknown(change, wrong) from err


def _unknown(change: StatusChange, why: str) -> InvalidRequestError:
    msg = f"the change of {change.execution_arn[:_MAX_NAME]} cannot be told: {why}"
    return InvalidRequestError(msg, hint="Step Functions' event has something new; see the run in the console.")


def _run_event(change: StatusChange, stack: str) -> RunEvent:
    kind = _KIND.validate_python(change.state_machine_arn.rpartition("-")[2])
    if change.status not in STATUSES:
        raise _unknown(change, f"the status is {change.status[:_MAX_NAME]}")
    status = run_status(change.status, change.error or "")
    started_at = _moment(change, change.start_date)
    ended_at = _moment(change, change.stop_date) if change.stop_date is not None and status != "running" else None
    request, output = _object(change.input), _object(change.output)
    error, message, hint = _failure(change, status)
    warnings = output.get("warnings")
    texts = [text for text in warnings if isinstance(text, str)] if isinstance(warnings, list) else []
    # A prune's counts are of backups.
    counts = {} if kind == "prune" else output
    return RunEvent(
        id=f"{run_id(kind, change.name)}/{status}",
        stack=stack,
        run=run_id(kind, change.name),
        kind=kind,
        status=status,
        execution_arn=change.execution_arn,
        started_at=started_at,
        ended_at=ended_at,
        duration_seconds=(ended_at - started_at).total_seconds() if ended_at else None,
        backup_name=_backup_name(kind, change, request, started_at),
        schedule=_schedule(request),
        collection_count=_count(counts, "collection_count", "restored_count"),
        failed_count=_count(counts, "failed_count"),
        object_count=_count(output, "object_count"),
        size_bytes=_count(output, "size_bytes"),
        row_count=_count(output, "row_count"),
        error=error,
        message=message[:_MAX_TEXT],
        hint=hint[:_MAX_TEXT],
        warnings=tuple(text[:_MAX_TEXT] for text in texts[:_MAX_WARNINGS]),
        report_key=report_key if isinstance(report_key := output.get("report_key"), str) else None,
        console_url=_console_url(change.execution_arn),
    )


def _moment(change: StatusChange, milliseconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError) as err:
        raise _unknown(change, "a time is out of range") from err


def _count(output: dict[str, Any], *names: str) -> int | None:
    """Return the first of these counts that an output has."""
    found = next((output[name] for name in names if name in output), None)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= _MAX_COUNT else None


def _object(text: str | None) -> dict[str, Any]:
    """Return an input or output. Whoever starts an execution by hand may give anything."""
    try:
        found = read_json(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _backup_name(kind: RunKind, change: StatusChange, request: dict[str, Any], started_at: datetime) -> str | None:
    given = request.get("backup_name")
    if kind == "backup" and given is None and change.input:
        return default_name(started_at, change.execution_arn)
    return given if isinstance(given, str) else None


def _schedule(request: dict[str, Any]) -> str | None:
    tag = request.get("schedule")
    name = tag.get("name") if isinstance(tag, dict) else None
    return name if isinstance(name, str) else None


def _failure(change: StatusChange, status: str) -> tuple[str, str, str]:
    """Return name, message and hint of what went wrong."""
    if status in {"running", "succeeded"}:
        return "", "", ""
    if status in _ENDINGS:
        name, text = _ENDINGS[status]
        return name, change.cause or text, _AGAIN
    name, text = read_failure(change.error or "States.Unknown", change.cause or "")
    message, _, hint = text.partition(_HINT)
    return name, message, hint


def _console_url(execution_arn: str) -> str:
    """Return where the console shows an execution: each partition has one of its own."""
    _, partition, _, region, *_ = (*execution_arn.split(":"), "", "", "", "")
    domain = CONSOLES.get(partition, CONSOLES["aws"])
    return f"https://{region}.{domain}/states/home?region={region}#/v2/executions/details/{execution_arn}"
