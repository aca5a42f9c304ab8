"""One run in full."""

import json
from typing import Any

from milvus_vault.backup.prepare import default_name
from milvus_vault.model.executions import ExecutionDescription
from milvus_vault.model.resources import Run, RunKind
from milvus_vault.runs.machines import Machines, run_id, run_status
from milvus_vault.runs.phases import phase_of

_HINT = "\nHint: "

# Step Functions gives no error for these, since nobody raised one.
_ENDINGS = {
    "stopped": ("RunStoppedError", "the run was stopped", "Start it again with the same request: it goes on."),
    "timed_out": ("RunTimedOutError", "the run took too long", "Start it again with the same request: it goes on."),
}


def describe_run(machines: Machines, wanted: str) -> Run:
    """Return a run in full. Raises `RunNotFoundError`."""
    kind, _ = machines.execution_arn(wanted)
    execution = machines.describe(wanted)
    status = run_status(execution.status, execution.error)
    request = _object(execution.input_json)
    error, message, hint = _failure(execution, status)
    return Run(
        id=run_id(kind, execution.name),
        kind=kind,
        status=status,
        started_at=execution.started_at,
        ended_at=execution.ended_at,
        execution_arn=execution.arn,
        backup_name=backup_name(kind, execution, request),
        schedule=(request.get("schedule") or {}).get("name"),
        phase=phase_of(kind, machines.states.last_state(execution.arn)) if status == "running" else "",
        request=request,
        result=_object(execution.output_json or "{}") if status == "succeeded" else None,
        error=error,
        message=message,
        hint=hint,
    )


def backup_name(kind: RunKind, execution: ExecutionDescription, request: dict[str, Any]) -> str | None:
    """Return the name of the backup that a run makes or reads; None for one that deletes."""
    given = request.get("backup_name")
    if kind == "backup" and not given:
        return default_name(execution.started_at, execution.arn)
    return str(given) if given else None


def _failure(execution: ExecutionDescription, status: str) -> tuple[str, str, str]:
    if status in _ENDINGS:
        return _ENDINGS[status]
    message, _, hint = execution.cause.partition(_HINT)
    return execution.error, message, hint


def _object(text: str) -> dict[str, Any]:
    """Return an execution's input or output. Whoever starts an execution by hand may give anything."""
    found = json.loads(text)
    return found if isinstance(found, dict) else {"value": found}
