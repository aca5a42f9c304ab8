"""Which state machine does which kind of run, how executions are named as runs, and what their inputs say."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from milvus_vault.backup.prepare import default_name
from milvus_vault.errors import RunNotFoundError
from milvus_vault.model.executions import ExecutionDescription
from milvus_vault.model.readable import place
from milvus_vault.model.resources import RunKind, RunStatus
from milvus_vault.ports import StateMachines
from milvus_vault.untrusted import read_json

KINDS: tuple[RunKind, ...] = get_args(RunKind.__value__)

# Something good came of these, but somebody should look.
PARTIAL_ERRORS = frozenset(
    {"BackupPartialError", "CopyNotStartedError", "RestorePartialError", "VerificationNotStartedError"}
)

STATUSES: Mapping[str, RunStatus] = {
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "TIMED_OUT": "timed_out",
    "ABORTED": "stopped",
    # Somebody redrives it by hand; until then it has failed.
    "PENDING_REDRIVE": "failed",
}

# What to ask Step Functions for, by our word. It cannot tell partial from failed.
FILTERS: Mapping[RunStatus, str] = {
    "running": "RUNNING",
    "succeeded": "SUCCEEDED",
    "partial": "FAILED",
    "failed": "FAILED",
    "stopped": "ABORTED",
    "timed_out": "TIMED_OUT",
}


@dataclass(frozen=True, slots=True)
class Machines:
    """The deployment's state machines, by kind of run."""

    states: StateMachines
    arns: Mapping[RunKind, str]

    def execution_arn(self, run_id: str) -> tuple[RunKind, str]:
        """Return the kind of a run and the ARN of its execution. Raises `RunNotFoundError`."""
        kind, _, name = run_id.partition("-")
        for known, arn in self.arns.items():
            if known == kind and name:
                return known, f"{arn.replace(':stateMachine:', ':execution:')}:{name}"
        raise _no_run(run_id)

    def describe(self, run_id: str) -> ExecutionDescription:
        """Return the execution of a run. Raises `RunNotFoundError`."""
        try:
            return self.states.describe(self.execution_arn(run_id)[1])
        except RunNotFoundError as err:
            raise _no_run(run_id) from err


def _no_run(run_id: str) -> RunNotFoundError:
    return RunNotFoundError(f"there is no run '{run_id}'", hint="`GET /runs` lists those of the last 90 days.")


def run_status(status: str, error: str) -> RunStatus:
    """Return the status of a run, from that of its execution and the error under which it ended."""
    return "partial" if error in PARTIAL_ERRORS else STATUSES[status]


def as_object(text: str) -> dict[str, Any]:
    """Return an execution's input or output. One that was started by hand may have anything."""
    try:
        found = read_json(text)
    except ValueError:
        found = text
    return found if isinstance(found, dict) else {"value": found}


def backup_of(kind: RunKind, request: dict[str, Any], started_at: datetime, execution_arn: str) -> str | None:
    """Return the name of the backup that a run makes, reads, checks or deletes; None for a prune of several.

    Of an export it is the one that it reads.
    """
    given = request.get("backup_name")
    if kind == "prune" and isinstance(named := request.get("backup_names"), list) and len(named) == 1:
        given = named[0]
    if kind == "backup" and not given:
        return default_name(started_at, execution_arn)
    return given if given and isinstance(given, str) else None


def drilled_backup(output: dict[str, Any]) -> str | None:
    """Return the name of the backup that a drill which succeeded says it was of: its request may name a schedule."""
    given = output.get("backup_name")
    return given if given and isinstance(given, str) else None


def export_of(request: dict[str, Any]) -> str | None:
    """Return the name that a request for an export gives to what it writes, here or in another place."""
    given = request.get("export_name")
    return given if given and isinstance(given, str) else None


def export_place_of(request: dict[str, Any]) -> str | None:
    """Return the place that a request for an export names, in one text; None where it names none."""
    return place(request.get("to")) or None


def schedule_of(request: dict[str, Any]) -> str | None:
    """Return the name of the schedule that asked for a run, if any did."""
    tag = request.get("schedule")
    name = tag.get("name") if isinstance(tag, dict) else None
    return name if name and isinstance(name, str) else None
