"""One run in full."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.execution_records import find_execution_record
from milvus_vault.failures import run_failure
from milvus_vault.model.executions import ExecutionDescription
from milvus_vault.model.messages_verify import VerifyResult
from milvus_vault.model.names import run_id
from milvus_vault.model.requests import VerifyRequest
from milvus_vault.model.resources import Page, Progress, Run, RunCollection, RunKind, RunSummary
from milvus_vault.paging import ANSWER_BYTES, answer_bytes, fitting, index_of
from milvus_vault.ports import ObjectStore
from milvus_vault.retention.working_files import PruneReport
from milvus_vault.runs.collections import Followed, follow_backup, follow_export, follow_restore
from milvus_vault.runs.following import follow_drill, follow_prune, follow_verify
from milvus_vault.runs.machines import (
    Machines,
    as_object,
    backup_of,
    drilled_backup,
    export_of,
    export_place_of,
    run_status,
    schedule_of,
)
from milvus_vault.runs.phases import phase_of
from milvus_vault.verifying.working_files import PROGRESS, VerifyProgress
from milvus_vault.workspace import Workspace, record_key

# That many are in a run's description; `list_run_collections` has all.
FIRST_COLLECTIONS = 100

LINK_SECONDS = 3600

_FOLLOW: Mapping[RunKind, Callable[[Workspace, str], Followed | None]] = {
    "backup": follow_backup,
    "restore": follow_restore,
    "export": follow_export,
    "verify": follow_verify,
    "prune": follow_prune,
    "drill": follow_drill,
}


@dataclass(frozen=True, slots=True)
class WorkingFiles:
    """Where the working files of all runs lie."""

    store: ObjectStore
    bucket: str
    prefix: str

    def follow(self, kind: RunKind, execution_arn: str) -> Followed | None:
        """Return how far a run is; None before it has begun, or where its working files are gone or another's."""
        record = find_execution_record(self.store, self.bucket, self.prefix, execution_arn)
        if record is None:
            return None
        run = Workspace(self.store, self.bucket, self.prefix, record.run)
        return _FOLLOW[kind](run, execution_arn)

    def report_link(self, kind: RunKind, execution_arn: str, backup: str | None) -> str | None:
        """Return where the HTML report of a run that has ended can be read for an hour; None where there is none."""
        if kind == "restore":
            key = record_key(self.prefix, "reports", execution_arn, "html")
        elif kind == "verify":
            key = record_key(self.prefix, "reports/verify", execution_arn, "html")
        elif kind in {"backup", "export"} and backup:
            key = BackupLayout(self.prefix, backup).report
        else:
            return None
        is_there = any(listed.key == key for listed in self.store.list_objects(self.bucket, key))
        return self.store.link(self.bucket, key, LINK_SECONDS) if is_there else None

    def verify_result(self, execution: ExecutionDescription) -> dict[str, Any]:
        """Return what a verification found that failed, and the first hundred problems; empty where it found nothing.

        It did not come to its end, then, or its working files are gone.
        """
        record = find_execution_record(self.store, self.bucket, self.prefix, execution.arn)
        run = Workspace(self.store, self.bucket, self.prefix, record.run) if record else None
        found = run.find(PROGRESS, VerifyProgress) if run else None
        if found is None or not found.is_done:
            return {}
        request = VerifyRequest.model_validate_json(execution.input_json)
        return {**found.result(request).model_dump(mode="json"), "problems": list(found.found)}

    def prune_report(self, execution_arn: str) -> dict[str, Any]:
        """Return what a prune decided of each backup, what became of it, and what was swept; empty where it is gone.

        Of decisions as many as go into an answer, those to delete first, and how many there are.
        """
        reports = Workspace(self.store, self.bucket, self.prefix, "reports")
        key = record_key(self.prefix, "reports", execution_arn)
        report = reports.find(key.removeprefix(reports.folder), PruneReport)
        if report is None:
            return {}
        found = report.model_dump(mode="json", include={"decisions", "outcomes", "swept", "freed"})
        decisions = found.pop("decisions")
        count = fitting(decisions, ANSWER_BYTES - answer_bytes(found))
        if count < len(decisions):
            decisions.sort(key=lambda decision: decision["keep"])
        return {"decisions": decisions[:count], "decision_count": len(decisions), **found}


def summary_of(kind: RunKind, execution: ExecutionDescription) -> RunSummary:
    """Return what a list tells of a run."""
    status = run_status(execution.status, execution.error)
    request = as_object(execution.input_json)
    backup = backup_of(kind, request, execution.started_at, execution.arn)
    if kind == "drill" and backup is None:
        backup = drilled_backup(as_object(execution.output_json or "{}"))
    return RunSummary(
        id=run_id(kind, execution.name),
        kind=kind,
        status=status,
        started_at=execution.started_at,
        ended_at=execution.ended_at,
        backup_name=backup,
        export_name=export_of(request) if kind == "export" else None,
        export_to=export_place_of(request) if kind == "export" else None,
        schedule=schedule_of(request),
        error=run_failure(kind, status, execution.error, execution.cause).error,
    )


def describe_run(machines: Machines, files: WorkingFiles, wanted: str, now: datetime) -> Run:
    """Return a run in full. Raises `RunNotFoundError`."""
    kind, _ = machines.execution_arn(wanted)
    execution = machines.describe(wanted)
    summary = summary_of(kind, execution)
    status = summary.status
    failure = run_failure(kind, status, execution.error, execution.cause)
    followed = files.follow(kind, execution.arn)
    warnings = followed.warnings if followed else ()
    request = as_object(execution.input_json)
    # A backup that failed has no report, but another one of its name may have, as of a dataset, or of an export to
    # another place.
    has_report = status in {"succeeded", "partial"} or (kind in {"restore", "verify"} and status == "failed")
    has_report = has_report and request.get("to") is None and request.get("format") != "parquet"
    return Run(
        **dict(summary),
        execution_arn=execution.arn,
        phase=_phase(machines, kind, execution, request) if status == "running" else "",
        progress=_progress(followed, execution, now),
        collections=followed.first(FIRST_COLLECTIONS) if followed else (),
        warnings=warnings[: fitting(warnings)],
        request=request,
        result=_result(files, kind, execution, status),
        message=failure.message,
        hint=failure.hint,
        report_url=files.report_link(kind, execution.arn, summary.export_name or summary.backup_name)
        if has_report
        else None,
    )


def _phase(machines: Machines, kind: RunKind, execution: ExecutionDescription, request: Mapping[str, Any]) -> str:
    state = machines.states.last_state(execution.arn)
    return phase_of(kind, state, is_dry_run=request.get("dry_run") is True)


def _progress(followed: Followed | None, execution: ExecutionDescription, now: datetime) -> Progress:
    """Return how far a run is, or how far it came: then nothing is told of how long the rest takes."""
    if followed is None:
        return Progress()
    if execution.ended_at is None:
        return followed.progress(now)
    told = followed.progress(execution.ended_at)
    ended = {"eta_seconds": None, "eta_from": None}
    phases = tuple(phase.model_copy(update=ended) for phase in told.phases)
    return told.model_copy(update={"phases": phases, "eta_seconds": None})


def list_run_collections(
    machines: Machines, files: WorkingFiles, wanted: str, *, limit: int, token: str | None
) -> Page[RunCollection]:
    """Return some collections of a run, in the order in which it takes them.

    Raises `RunNotFoundError`, and `InvalidRequestError` for a token that is none.
    """
    kind, _ = machines.execution_arn(wanted)
    followed = files.follow(kind, machines.describe(wanted).arn)
    first = index_of(token)
    count = len(followed.names) if followed else 0
    behind = min(first + limit, count)
    items = followed.collections(range(first, behind)) if followed else ()
    return Page[RunCollection](items=items, next_token=str(behind) if behind < count else None)


def _result(files: WorkingFiles, kind: RunKind, execution: ExecutionDescription, status: str) -> dict[str, Any] | None:
    output = as_object(execution.output_json or "{}") if status == "succeeded" else {}
    if kind == "verify":
        # What its states tell each other beside that is nobody else's concern.
        output = {name: value for name, value in output.items() if name in VerifyResult.model_fields}
    if kind == "verify" and status == "failed":
        output = files.verify_result(execution)
    if kind == "prune" and status in {"succeeded", "failed"}:
        output |= files.prune_report(execution.arn)
    return output if output or status == "succeeded" else None
