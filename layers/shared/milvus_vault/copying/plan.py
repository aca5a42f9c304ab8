"""What one round has to copy: what is listed and not there yet."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from milvus_vault.copying.batches import BatchLimits, PlannedItem, cut_batches
from milvus_vault.copying.records import Records
from milvus_vault.copying.working_files import (
    COPYING,
    CURRENT,
    CopyPlan,
    CopyTarget,
    PartsCheck,
    Share,
    batch_name,
    items_body,
    read_items,
    read_job,
    read_parts,
    read_targets,
    round_folder,
)
from milvus_vault.errors import WorkingFileError
from milvus_vault.model.objects import CopyItem, CopyJob
from milvus_vault.parallel import each
from milvus_vault.spans import list_in_spans
from milvus_vault.workspace import Workspace


@dataclass(slots=True)
class _Count:
    """Objects and bytes, added up."""

    objects: int = 0
    size_bytes: int = 0

    def add(self, size_bytes: int) -> None:
        self.objects += 1
        self.size_bytes += size_bytes


@dataclass(frozen=True, slots=True)
class _TargetPlan:
    """What is to do for one target."""

    index: int
    items: list[PlannedItem]
    present: _Count


def plan_copy(run: Workspace, attempt: str, round_number: int, limits: BatchLimits) -> CopyPlan:
    """Return what a round copies, after writing its batches to the run's workspace.

    An object that is there is left out: right size, and an ETag that is the source's or one that an
    earlier batch recorded for this source; or proven before, and in use by now. Planning the same round again
    overwrites its batches with what is still missing.

    Raises:
        ObjectNotFoundError: The job or a target's item list was not written.
        WorkingFileError: A working file is damaged, or an item lies outside its target's folders.
    """
    job = read_job(run, attempt)
    names = list(run.names(COPYING))
    records, parts = Records.load(run, names), read_parts(run, attempt, names)
    folder = round_folder(attempt, round_number)
    present, planned = _Count(), _Count()
    found: list[Share] = []

    def to_copy() -> Iterator[PlannedItem]:
        for target in each(partial(_plan_target, run, attempt, job, records, parts), read_targets(run, attempt, names)):
            present.objects += target.present.objects
            present.size_bytes += target.present.size_bytes
            found.append(Share(target.index, target.present.objects, target.present.size_bytes))
            for item in target.items:
                planned.add(item.size_bytes)
                yield item

    def write_batch(numbered: tuple[int, list[PlannedItem]]) -> tuple[str, tuple[Share, ...]]:
        number, batch = numbered
        name = batch_name(folder, number)
        run.write_bytes(name, items_body(planned.item for planned in batch))
        return name, _shares(batch)

    written = list(each(write_batch, enumerate(cut_batches(to_copy(), limits))))
    if written:
        run.write_bytes(f"{folder}/batches.json", json.dumps([{"batch": name} for name, _ in written]).encode())
    plan = CopyPlan(
        attempt=attempt,
        round_number=round_number,
        bucket=run.bucket,
        batches_key=run.key(f"{folder}/batches.json"),
        batch_count=len(written),
        object_count=planned.objects,
        size_bytes=planned.size_bytes,
        present_object_count=present.objects,
        present_size_bytes=present.size_bytes,
        present=tuple(found),
        batches=tuple(shares for _, shares in written),
    )
    run.write(CURRENT, plan)
    return plan


def _shares(batch: list[PlannedItem]) -> tuple[Share, ...]:
    counts: dict[int, _Count] = {}
    for item in batch:
        counts.setdefault(item.target, _Count()).add(item.size_bytes)
    return tuple(Share(target, count.objects, count.size_bytes) for target, count in counts.items())


def items_by_key(run: Workspace, attempt: str, target: CopyTarget) -> dict[str, CopyItem]:
    """Return what a target has to hold, by destination key.

    Raises:
        ObjectNotFoundError: The target's item list was not written.
        WorkingFileError: The list is damaged, or an item lies outside the target's folders.
    """
    items = {item.key: item for item in read_items(run, attempt, target.index)}
    for key in items:
        if not target.contains(key):
            msg = f"object {key} of target {target.name} lies outside its folders {', '.join(target.folders)}"
            raise WorkingFileError(msg, hint="Verifying lists the folders only; it would never find the object.")
    return items


def _plan_target(
    run: Workspace,
    attempt: str,
    job: CopyJob,
    records: Records,
    parts: Mapping[int, PartsCheck],
    target: CopyTarget,
) -> _TargetPlan:
    items = items_by_key(run, attempt, target)
    present = _Count()
    # The items of a shared target are what its folders lacked when it was captured, or what was copied since.
    there = items if not target.is_shared or records.have_any(items) else ()
    for folder in target.folders_to_list(there):
        for found in list_in_spans(run.store, job.destination_bucket, folder, lambda: sorted(items)):
            item = items.get(found.key)
            if item is not None and records.is_copy(item, found, parts[target.index].prefixes):
                del items[found.key]
                present.add(found.size_bytes)
    return _TargetPlan(target.index, [PlannedItem(item, target.index) for item in items.values()], present)
