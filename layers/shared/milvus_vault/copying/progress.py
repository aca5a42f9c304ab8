"""How far the copying of a run is, as a whole and target by target, from one document and one listing."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from milvus_vault.copying.working_files import CURRENT, CopyPlan, CopyProgress, most_complete, round_folder
from milvus_vault.workspace import Workspace


@dataclass(slots=True)
class TargetProgress:
    """How far one target is. Where a batch has several targets, each has the same part of what is done of it."""

    objects_done: float = 0
    objects_total: int = 0
    bytes_done: float = 0
    bytes_total: int = 0


@dataclass(frozen=True, slots=True)
class CopyState:
    """How far the round of copies is that was planned last."""

    total: CopyProgress
    copied_bytes: int
    """Bytes that this round has copied; `total` has in addition what it found done."""
    planned_at: datetime | None
    round_number: int
    copied_at: datetime | None = None
    """When the last of these was noted."""
    by_target: dict[int, TargetProgress] = field(default_factory=lambda: defaultdict(TargetProgress))


def copy_state(run: Workspace, attempt: str) -> CopyState | None:
    """Return how far an attempt's copying is, or None while it has planned nothing."""
    plan = run.find(CURRENT, CopyPlan)
    if plan is None or plan.attempt != attempt:
        return None
    folder = round_folder(attempt, plan.round_number)
    noted = dict(run.documents(f"{folder}/copied-"))
    copied = most_complete(noted)
    copied_at = max((when for when in noted.values() if when), default=None)
    # A round that PlanCopy copied at once and planned again after that has its copies among those present as well.
    total = CopyProgress(
        objects_done=plan.present_object_count + min(plan.object_count, sum(name.objects for name in copied)),
        objects_total=plan.present_object_count + plan.object_count,
        bytes_done=plan.present_size_bytes + min(plan.size_bytes, sum(name.bytes for name in copied)),
        bytes_total=plan.present_size_bytes + plan.size_bytes,
    )
    planned_at = run.store.modified_at(run.bucket, run.key(CURRENT))
    state = CopyState(total, total.bytes_done - plan.present_size_bytes, planned_at, plan.round_number, copied_at)
    settled = {name.number: name for name in copied}
    for share in plan.present:
        _add(state.by_target[share.target], share.objects, share.bytes, 1.0)
    for number, batch in enumerate(plan.batches):
        objects = sum(share.objects for share in batch)
        part = min(1.0, settled[number].objects / objects) if number in settled else 0.0
        for share in batch:
            _add(state.by_target[share.target], share.objects, share.bytes, part)
    return state


def _add(progress: TargetProgress, objects: int, size_bytes: int, part: float) -> None:
    progress.objects_total += objects
    progress.bytes_total += size_bytes
    progress.objects_done += objects * part
    progress.bytes_done += size_bytes * part
