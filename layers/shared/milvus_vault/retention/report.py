"""What a prune deleted, kept and skipped, and why."""

from dataclasses import dataclass
from datetime import datetime

from milvus_vault.errors import shared_hint, with_hint
from milvus_vault.model.readable import first_of
from milvus_vault.parallel import each
from milvus_vault.retention.working_files import (
    FREED,
    SWEPT,
    FreedSoFar,
    Outcome,
    PrunePlan,
    PruneReport,
    Swept,
    outcome_name,
)
from milvus_vault.workspace import Workspace, record_key


@dataclass(frozen=True, slots=True)
class PruneEnd:
    """How a prune ended."""

    report: PruneReport
    report_key: str
    error: str
    """The error under which the execution ends; empty where it succeeds."""
    cause: str


def report_prune(run: Workspace, plan: PrunePlan, finished_at: datetime) -> PruneEnd:
    """Write the report of what is done by now, and return it with how the execution ends. Safe to repeat.

    A backup that could not be deleted fails it, and so does one that was asked for by name and is in use meanwhile.
    """
    found = each(lambda index: run.find(outcome_name(index), Outcome), range(len(plan.deletions)))
    outcomes = tuple(outcome for outcome in found if outcome is not None)
    so_far = run.find(FREED, FreedSoFar)
    report = PruneReport(
        dry_run=plan.request.dry_run,
        started_at=plan.started_at,
        finished_at=finished_at,
        decisions=plan.decisions,
        outcomes=outcomes,
        swept=run.find(SWEPT, Swept) or Swept(),
        freed=so_far.freed if so_far else None,
        damaged=plan.damaged,
    )
    key = record_key(run.prefix, "reports", plan.execution_arn)
    run.store.put(run.bucket, key, report.model_dump_json(indent=1).encode())
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    skipped = [outcome for outcome in outcomes if outcome.status == "skipped"]
    error, named = ("PruneFailedError", failed) if failed else ("", [])
    if not failed and skipped and plan.request.backup_names is not None:
        error, named = skipped[0].error, skipped
    cause = first_of([f"{o.name}: {o.error}: {o.message}" for o in named], separator="; ")
    text = f"{len(named)} of {len(outcomes)} backups were not deleted: {cause}" if named else ""
    return PruneEnd(report, key, error, with_hint(text, shared_hint(outcome.hint for outcome in named)))
