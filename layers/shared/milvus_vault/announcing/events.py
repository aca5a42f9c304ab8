"""Our event of what Step Functions says of an execution."""

import json
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from milvus_vault.backup.prepare import default_name
from milvus_vault.failures import read_failure
from milvus_vault.model.events import RunEvent
from milvus_vault.model.messages import StatusChange
from milvus_vault.model.resources import RunKind
from milvus_vault.runs.machines import run_id, run_status

_KIND = TypeAdapter[RunKind](RunKind)
_HINT = "\nHint: "

# An event may have 256 KiB.
_MAX_WARNINGS = 20
_MAX_TEXT = 10_000

# Step Functions gives no reason of its own for these.
_ENDINGS = {
    "stopped": ("RunStoppedError", "the run was stopped"),
    "timed_out": ("RunTimedOutError", "the run took longer than its state machine allows"),
}
_AGAIN = "Start it again with the same request: it goes on where it was."


def run_event(change: StatusChange, stack: str) -> RunEvent:
    """Return the event of a change. The same change gives the same event."""
    kind = _KIND.validate_python(change.state_machine_arn.rpartition("-")[2])
    status = run_status(change.status, change.error or "")
    started_at = _moment(change.start_date)
    ended_at = _moment(change.stop_date) if change.stop_date is not None and status != "running" else None
    request, output = _object(change.input), _object(change.output)
    error, message, hint = _failure(change, status)
    warnings = output.get("warnings", [])
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
        collection_count=counts.get("collection_count", counts.get("restored_count")),
        failed_count=counts.get("failed_count"),
        object_count=output.get("object_count"),
        size_bytes=output.get("size_bytes"),
        row_count=output.get("row_count"),
        error=error,
        message=message[:_MAX_TEXT],
        hint=hint[:_MAX_TEXT],
        warnings=tuple(text[:_MAX_TEXT] for text in warnings[:_MAX_WARNINGS]),
        report_key=output.get("report_key"),
        console_url=_console_url(change.execution_arn),
    )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _object(text: str | None) -> dict[str, Any]:
    """Return an input or output. Whoever starts an execution by hand may give anything."""
    found = json.loads(text) if text else {}
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
    region = execution_arn.split(":")[3]
    return f"https://{region}.console.aws.amazon.com/states/home?region={region}#/v2/executions/details/{execution_arn}"
