"""Start a run, once for each idempotency key, and stop one."""

import json
import uuid

from milvus_vault.errors import IdempotencyConflictError, RunEndedError, RunNotFoundError, ServiceUnavailableError
from milvus_vault.model.base import Model
from milvus_vault.model.executions import ExecutionDescription, StartedExecution
from milvus_vault.model.names import run_id
from milvus_vault.model.resources import RunKind
from milvus_vault.model.times import Time, utc_second
from milvus_vault.runs.machines import STATUSES, Machines


class StartedRun(Model):
    """A run that was started, now or before with the same key."""

    id: str
    execution_arn: str
    started_at: Time


def find_started(machines: Machines, kind: RunKind, request: Model, key: str | None) -> StartedRun | None:
    """Return the run that was started with this key before, if any. Raises `IdempotencyConflictError`."""
    if key is None:
        return None
    try:
        found = machines.describe(run_id(kind, key))
    except RunNotFoundError:
        return None
    return _same(found, kind, request, key)


def start(machines: Machines, kind: RunKind, request: Model, key: str | None = None) -> StartedRun:
    """Start a run, or return the one that was started with the same key and request before.

    The key is the name of the execution, of which Step Functions has one in 90 days. Raises
    `IdempotencyConflictError` where the key was used for another request.
    """
    name = key or str(uuid.uuid4())
    started = machines.states.start(machines.arns[kind], name, request_json(request))
    if started is None:
        # Somebody with the same key was first: the same caller again, most likely.
        return _same(machines.describe(run_id(kind, name)), kind, request, name)
    return _run(kind, name, started)


def stop_run(machines: Machines, wanted: str, cause: str) -> None:
    """Stop a run. Raises `RunNotFoundError`, and `RunEndedError` for one that has ended.

    What it has done stays: the same request goes on from there. Functions that are at work may take up to 15 minutes
    to end.
    """
    found = machines.describe(wanted)
    if found.status == "RUNNING":
        machines.states.stop(found.arn, cause)
        # It may have ended first: Step Functions takes a stop of that as well, and changes nothing.
        try:
            found = machines.describe(wanted)
        except ServiceUnavailableError:
            # The stop itself was taken: another one would be refused.
            return
        if found.status in {"RUNNING", "ABORTED"}:
            return
    since = f" since {utc_second(found.ended_at)}" if found.ended_at else ""
    msg = f"run {wanted} has ended: {STATUSES[found.status].replace('_', ' ')}{since}"
    raise RunEndedError(msg, hint="Only a run that is running can be stopped.")


def request_json(request: Model) -> str:
    """Return the input of an execution: the request as it was made, without defaults."""
    return request.model_dump_json(exclude_unset=True)


def _same(found: ExecutionDescription, kind: RunKind, request: Model, key: str) -> StartedRun:
    if json.loads(found.input_json) != json.loads(request_json(request)):
        msg = f"idempotency key '{key}' was used for another request, which started {found.arn}"
        raise IdempotencyConflictError(msg, hint="Use a new key for a new request.")
    return _run(kind, found.name, StartedExecution(arn=found.arn, started_at=found.started_at))


def _run(kind: RunKind, name: str, started: StartedExecution) -> StartedRun:
    return StartedRun(id=run_id(kind, name), execution_arn=started.arn, started_at=started.started_at)
