"""ConcludeDrill: what a drill has found, and what is kept of that with the backup."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from milvus_vault.catalogue import Catalogue
from milvus_vault.drills.working_files import (
    PLAN,
    PROVEN,
    RESTORED,
    DrillPlan,
    ProvenCollection,
    Restored,
    proven_name,
)
from milvus_vault.errors import DrillFailedError, split_hint, with_hint
from milvus_vault.failures import FailureRecord, read_failure
from milvus_vault.model.messages_drill import ConcludeDrillResult
from milvus_vault.model.names import drill_restore_name, execution_name, run_id
from milvus_vault.model.readable import first_of
from milvus_vault.model.resources import Drill
from milvus_vault.model.schedules import DrillSuccess
from milvus_vault.workspace import Workspace, record_key

_MAX_DIFFERENCES = 100
_NAMED = 3
_NESTED = "States.TaskFailed"
_DIFFERENCES_HINT = (
    "Do not rely on this backup: verify it at the level deep, which tells damage in it from what went wrong in Milvus,"
    " and drill another one. What this drill found is kept with the backup, up to a hundred differences."
)


@dataclass(frozen=True, slots=True)
class DrillEnd:
    """What became of a drill: of its comparisons, and of what ended it before they were through, if anything did."""

    run: Workspace
    plan: DrillPlan
    error: str
    cause: str
    now: datetime

    def drill(self, proven_before: datetime | None) -> Drill:
        """Return what is kept of the drill with its backup."""
        found = self._found()
        restored = self.run.find(RESTORED, Restored)
        differences = tuple(text for one in found for text in one.differences)[:_MAX_DIFFERENCES]
        error, text = self.failure(differences)
        return Drill(
            drilled_at=self.now,
            status="failed" if error else "proven",
            run=run_id("drill", execution_name(self.plan.execution_arn)),
            milvus_version=self.plan.milvus_version,
            collection_count=len(found),
            collection_total=self.plan.collection_total,
            size_bytes=sum(one.size_bytes for one in self.plan.collections),
            row_count=sum(one.row_count for one in found),
            compared_count=sum(one.compared_count for one in found),
            searched_count=sum(one.searched_count for one in found),
            restore_seconds=(restored.finished_at - restored.started_at).total_seconds() if restored else None,
            seed=self.plan.seed,
            differences=differences,
            warnings=(*self.plan.warnings, *(text for one in found for text in one.warnings)),
            error=error,
            message=split_hint(text)[0],
            proven_at=proven_before if error else self.now,
        )

    def _found(self) -> list[ProvenCollection]:
        numbers = sorted(self.run.numbers(PROVEN))
        return [self.run.read(proven_name(number), ProvenCollection) for number in numbers]

    def failure(self, differences: Sequence[str]) -> tuple[str, str]:
        """Return the name and the text of why the drill failed; empty where it did not."""
        if differences:
            msg = f"backup {self.plan.backup_name} does not come back as it is: "
            msg += first_of(differences, _NAMED, separator="; ")
            return DrillFailedError.__name__, with_hint(msg, _DIFFERENCES_HINT)
        if not self.error:
            return "", ""
        name, text = read_failure(self.error, self.cause)
        # Step Functions cuts what it tells of a nested execution with a long input, and then it is no JSON.
        return self._recorded() or (name, text) if name == _NESTED else (name, text)

    def _recorded(self) -> tuple[str, str] | None:
        """Return the name and the text of why the restore failed, where it has written that down."""
        records = Workspace(self.run.store, self.run.bucket, self.run.prefix, "failures")
        key = record_key(self.run.prefix, "failures", drill_restore_name(self.plan.execution_arn))
        found = records.find(key.removeprefix(records.folder), FailureRecord)
        return (found.error, found.cause) if found else None


def conclude(
    run: Workspace,
    catalogue: Catalogue,
    *,
    has_scratch: bool,
    error: str,
    cause: str,
    now: datetime,
) -> ConcludeDrillResult:
    """Return what a drill has found, and write it down with the backup.

    Of a drill that made no scratch database nothing is written: it says nothing of the backup. A success of a schedule
    is also written down by the schedule.

    Args:
        run: Of the drill.
        catalogue: Where the backup is.
        has_scratch: Whether it has made its scratch database, and not dropped it yet.
        error: What ended the drill before all was compared, as the state machine caught it; empty: nothing did.
        cause: What the state machine was told with it.
        now: The time.
    """
    plan = run.read(PLAN, DrillPlan)
    before = catalogue.drill_of(plan.backup_name, plan.backup_finished_at)
    end = DrillEnd(run, plan, error, cause, now)
    drill = end.drill(before.proven_at if before else None)
    if has_scratch:
        catalogue.note_drill(plan.backup_name, drill)
    if plan.request.schedule and drill.status == "proven":
        success = DrillSuccess(
            schedule=plan.request.schedule.name, run=drill.run, begun_at=plan.started_at, ended_at=now
        )
        catalogue.note_drill_success(success)
    _, text = end.failure(drill.differences)
    return ConcludeDrillResult(**dict(drill), backup_name=plan.backup_name, database=plan.database, cause=text)


def refused(execution_arn: str, *, error: str, cause: str, now: datetime) -> ConcludeDrillResult:
    """Return what became of a drill that ended before it had planned anything: it made nothing."""
    name, text = read_failure(error, cause)
    run = run_id("drill", execution_name(execution_arn))
    return ConcludeDrillResult(
        drilled_at=now, status="failed", run=run, backup_name="", error=name, message=split_hint(text)[0], cause=text
    )
