"""ConcludeDrill: what a drill has found, and what is kept of that with the backup."""

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import chain, islice
from typing import Any

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
from milvus_vault.parallel import each
from milvus_vault.workspace import Workspace, record_key

# A state of an execution may have 256 KiB, and has these texts thrice, and what the drill failed with twice.
_MAX_TEXTS, _MAX_BYTES = 100, 40_000
_NAMED = 3
_NESTED = "States.TaskFailed"
_DIFFERENCES_HINT = (
    "Do not rely on this backup: verify it at the level deep, which tells damage in it from what went wrong in Milvus,"
    " and drill another one. What this drill found is kept with the backup, up to a hundred differences."
)


@dataclass(frozen=True)
class DrillEnd:
    """What became of a drill: of its comparisons, and of what ended it before they were through, if anything did."""

    run: Workspace
    plan: DrillPlan
    error: str
    cause: str
    now: datetime

    def drill(self, before: Drill | None) -> Drill:
        """Return what the drill found. `before` is the verdict that is kept with the backup."""
        found = list(self._found.values())
        restored = self.run.find(RESTORED, Restored)
        differences = _first_of_all(text for one in found for text in one.differences)
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
            warnings=_first_of_all(chain(self.plan.warnings, *(one.warnings for one in found))),
            error=error,
            message=split_hint(text)[0],
            **_proven_by(before) if error else {"proven_at": self.now, "proven_count": len(found)},
            unproven=_first_of_all(name for name in self._names if name not in self._right) if error else (),
        )

    def verdict(self, drill: Drill, before: Drill | None) -> Drill:
        """Return what is kept of a drill with its backup, after the verdict that is kept there.

        What failed before stays until it was found as it should be: that other collections are, says nothing of it.
        """
        unproven = [name for name in before.unproven if name not in self._right] if before else []
        if not before or not unproven:
            return drill
        settled = tuple(f"{name} " for name in self._right)
        differences = [text for text in before.differences if not text.startswith(settled)]
        if drill.status == "proven":
            return before.model_copy(update={"unproven": tuple(unproven), "differences": tuple(differences)})
        update = {
            "unproven": _first_of_all(dict.fromkeys((*drill.unproven, *unproven))),
            "differences": _first_of_all(dict.fromkeys((*drill.differences, *differences))),
        }
        return drill.model_copy(update=update)

    @cached_property
    def _found(self) -> Mapping[int, ProvenCollection]:
        """Return what was found of the collections that were compared, by their positions."""
        numbers = sorted(self.run.numbers(PROVEN))
        found = each(lambda number: self.run.read(proven_name(number), ProvenCollection), numbers)
        return dict(zip(numbers, found, strict=True))

    @property
    def _names(self) -> list[str]:
        return [str(one.source) for one in self.plan.collections]

    @cached_property
    def _right(self) -> Set[str]:
        """Return the names of the collections that are as they should be."""
        return {self._names[number] for number, found in self._found.items() if not found.differences}

    def failure(self, differences: Sequence[str]) -> tuple[str, str]:
        """Return the name and the text of why the drill failed; empty where it did not."""
        if differences:
            msg = f"backup '{self.plan.backup_name}' does not come back as it is: "
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


def _first_of_all(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the first of some texts, as many as an execution can tell of."""
    chosen, size_bytes = [], 0
    for text in islice(texts, _MAX_TEXTS):
        size_bytes += len(json.dumps(text))
        if size_bytes > _MAX_BYTES:
            break
        chosen.append(text)
    return tuple(chosen)


def _proven_by(before: Drill | None) -> dict[str, Any]:
    return {"proven_at": before.proven_at, "proven_count": before.proven_count} if before else {}


def conclude(
    run: Workspace,
    catalogue: Catalogue,
    *,
    has_scratch: bool,
    error: str,
    cause: str,
    now: datetime,
) -> ConcludeDrillResult:
    """Return what a drill has found, and write the verdict down with the backup.

    Of a drill that made no scratch database nothing is written: it says nothing of the backup. A success of a schedule
    is also written down by the schedule.

    Args:
        run: Of the drill.
        catalogue: Where the backup is.
        has_scratch: Whether it has made its scratch database, and still has its record.
        error: What ended the drill before all was compared, as the state machine caught it; empty: nothing did.
        cause: What the state machine was told with it.
        now: The time.
    """
    plan = run.read(PLAN, DrillPlan)
    before = catalogue.drill_of(plan.backup_name, plan.backup_finished_at)
    end = DrillEnd(run, plan, error, cause, now)
    drill = end.drill(before)
    if has_scratch:
        catalogue.note_drill(plan.backup_name, end.verdict(drill, before))
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
