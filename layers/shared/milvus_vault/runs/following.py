"""How far verifications, prunes and drills are: what moves in them, from their working files."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from milvus_vault.drills import working_files as drills
from milvus_vault.execution_records import find_execution_record
from milvus_vault.model.names import drill_restore_name
from milvus_vault.model.resources import ObjectCount, RunCollection, UnitCount
from milvus_vault.parallel import each
from milvus_vault.retention import working_files as retention
from milvus_vault.runs.collections import Followed, Status, follow_restore
from milvus_vault.runs.measuring import Phase
from milvus_vault.runs.paces import read_paces
from milvus_vault.verifying.working_files import PROGRESS, VerifyProgress, read_checked
from milvus_vault.workspace import Workspace

_OUTCOME = re.compile(r"^outcomes/(?P<index>[0-9]+)\.(?P<removed>removed\.)?json$")


def follow_verify(run: Workspace, _: str) -> Followed | None:
    """Return how far a verification is, or None before it has begun or once its files are gone."""
    found = run.find(PROGRESS, VerifyProgress)
    if found is None:
        return None
    phases = [_listing(run, found), *_checking(run, found)]
    return Followed((), (), (), None, _as_it_is, phases, lambda: read_paces(run, "verify"), has_collections=False)


def _listing(run: Workspace, found: VerifyProgress) -> Phase:
    collections = UnitCount(unit="collection", done=found.next_collection, total=found.collections_total)
    objects = UnitCount(unit="object", done=found.object_count, total=found.objects_total)
    is_listed = found.next_collection == found.collections_total
    noted_at = _written_at(run, PROGRESS) if found.batch_count is None else None
    return Phase(
        "checking documents and objects",
        # What another tool backed up tells how many there are by its collections alone.
        (collections, objects) if found.objects_total is None else (objects, collections),
        found.begun_at,
        moved_at=noted_at,
        ended_at=noted_at if is_listed and found.objects_total is not None else None,
    )


def _checking(run: Workspace, found: VerifyProgress) -> Iterator[Phase]:
    """Yield the phase in which objects are looked at one by one, once it is known which."""
    if not found.batches:
        return
    checked = read_checked(run)
    objects = bytes_read = 0
    for number, batch in enumerate(found.batches):
        here = checked.counts.get(number, 0)
        looked_at = batch.object_count if here is None else min(here, batch.object_count)
        objects += looked_at
        # Of a batch that is not done it is known how many objects were read, and not which.
        bytes_read += batch.read_bytes * looked_at // max(1, batch.object_count)
    count = UnitCount(unit="object", done=objects, total=sum(batch.object_count for batch in found.batches))
    total_bytes = sum(batch.read_bytes for batch in found.batches)
    size = UnitCount(unit="byte", done=bytes_read, total=total_bytes)
    yield Phase(
        "reading objects" if total_bytes else "asking for checksums",
        (size, count) if total_bytes else (count,),
        checked.planned_at,
        checked.changed_at,
        ended_at=checked.changed_at,
    )


def follow_prune(run: Workspace, execution_arn: str) -> Followed | None:
    """Return how far a prune is, or None before it reads backups, or once its files are gone."""
    plan = run.find(retention.PLAN, retention.PrunePlan)
    read = run.find(retention.READ, retention.BackupsRead)
    if (plan is None and read is None) or (plan is not None and plan.execution_arn != execution_arn):
        return None
    phases = [] if read is None else [_reading(run, read)]
    phases += [] if plan is None else [*_freeing(run, plan), *_deleting(run, plan), *_sweeping(run)]
    return Followed((), (), (), None, _as_it_is, phases, lambda: read_paces(run, "prune"), has_collections=False)


def _reading(run: Workspace, read: retention.BackupsRead) -> Phase:
    """Return the phase in which backups are read, before it is decided what becomes of them."""
    count = UnitCount(unit="backup", done=read.done, total=read.total)
    moved_at = _written_at(run, retention.READ)
    return Phase("reading backups", (count,), read.begun_at, moved_at, ended_at=moved_at)


def _freeing(run: Workspace, plan: retention.PrunePlan) -> Iterator[Phase]:
    """Yield the phase in which a dry run finds what the pool would lose; none where it would lose nothing."""
    if not any(one.may_share for one in plan.spared):
        return
    so_far = run.find(retention.FREED, retention.FreedSoFar)
    done, total = (so_far.groups_done, so_far.groups_total) if so_far else (0, None)
    moved_at = _written_at(run, retention.FREED)
    groups = UnitCount(unit="group", done=done, total=done if so_far and so_far.is_all else total)
    yield Phase(
        "looking what the pool shares", (groups,), _written_at(run, retention.PLAN), moved_at, ended_at=moved_at
    )


def _deleting(run: Workspace, plan: retention.PrunePlan) -> Iterator[Phase]:
    """Yield the phase in which backups are deleted; none where none are."""
    if not plan.deletions:
        return
    noted = dict(run.documents("outcomes/"))
    matches = list(filter(None, map(_OUTCOME.match, noted)))
    dealt_with = {int(match["index"]) for match in matches if not match["removed"]}
    under_way = sorted({int(match["index"]) for match in matches if match["removed"]} - dealt_with)
    # What an incremental backup lists stays, until no other one lists it.
    sizes = {index: one.object_count for index, one in enumerate(plan.deletions) if not one.may_share}
    removed = each(lambda index: run.find(retention.removed_name(index), ObjectCount), under_way)
    done = sum(sizes.get(index, 0) for index in dealt_with)
    done += sum(
        min(sizes.get(index, 0), so_far.object_count if so_far else 0)
        for index, so_far in zip(under_way, removed, strict=True)
    )
    backups = UnitCount(unit="backup", done=len(dealt_with), total=len(plan.deletions))
    total = sum(sizes.values())
    moved_at = max(filter(None, noted.values()), default=None)
    begun_at = _written_at(run, retention.PLAN)
    if total:
        objects = UnitCount(unit="object", done=done, total=total)
        yield Phase("deleting backups", (objects, backups), begun_at, moved_at, ended_at=moved_at)
    else:
        yield Phase("deleting incremental backups", (backups,), begun_at, moved_at, ended_at=moved_at)


def _sweeping(run: Workspace) -> Iterator[Phase]:
    """Yield the phase in which the pool is swept, once it has begun."""
    swept = run.find(retention.POOL_SWEPT, retention.PoolSwept)
    if swept is None:
        return
    groups = UnitCount(unit="group", done=swept.groups_done, total=swept.groups_total)
    objects = UnitCount(unit="object", done=swept.object_count)
    moved_at = _written_at(run, retention.POOL_SWEPT)
    yield Phase("sweeping the pool", (groups, objects), swept.begun_at, moved_at, ended_at=moved_at)


def follow_drill(run: Workspace, execution_arn: str) -> Followed | None:
    """Return the collections of a drill, or None before it is decided which, or once its files are gone.

    The phases of its restore, which is a run of its own, are among its own.
    """
    plan = run.find(drills.PLAN, drills.DrillPlan)
    if plan is None or plan.execution_arn != execution_arn:
        return None
    restore = _restore_of(run, execution_arn)
    proven = run.numbers(drills.PROVEN)

    def status(index: int) -> Status:
        if index in proven:
            return "done"
        return "running" if restore else "waiting"

    def read(index: int, collection: RunCollection) -> RunCollection:
        update: dict[str, object] = {"target": str(plan.collections[index].target)}
        if collection.status == "done":
            found = run.read(drills.proven_name(index), drills.ProvenCollection)
            update |= {"row_count": found.row_count, "message": found.differences[0] if found.differences else ""}
        return collection.model_copy(update=update)

    names = tuple(one.source for one in plan.collections)
    statuses = [status(index) for index in range(len(names))]
    phases = [*(restore.phases if restore else ()), *comparing_phases(run, plan)]
    return Followed(names, plan.warnings, statuses, None, read, phases, lambda: _paces_of_drills(run))


def comparing_phases(run: Workspace, plan: drills.DrillPlan) -> list[Phase]:
    """Return the phase in which a drill compares rows; none before that has begun."""
    restored = run.find(drills.RESTORED, drills.Restored)
    if restored is None:
        return []
    noted = dict(run.documents(drills.PROVEN))
    proven = run.numbers(drills.PROVEN, noted)
    sizes = [one.size_bytes for one in plan.collections]
    size = UnitCount(unit="byte", done=sum(sizes[index] for index in proven), total=sum(sizes))
    count = UnitCount(unit="collection", done=len(proven), total=len(sizes))
    moved_at = max(filter(None, noted.values()), default=None)
    return [Phase("comparing rows", (size, count), restored.finished_at, moved_at, ended_at=moved_at)]


def _restore_of(run: Workspace, execution_arn: str) -> Followed | None:
    """Return how far the restore of a drill is; None before it has begun, or once its files are gone."""
    record = find_execution_record(run.store, run.bucket, run.prefix, drill_restore_name(execution_arn))
    if record is None:
        return None
    return follow_restore(Workspace(run.store, run.bucket, run.prefix, record.run), record.execution_arn)


def _paces_of_drills(run: Workspace) -> Mapping[str, float]:
    return {**read_paces(run, "restore"), **read_paces(run, "drill")}


def _as_it_is(_: int, collection: RunCollection) -> RunCollection:
    return collection


def _written_at(run: Workspace, name: str) -> datetime | None:
    """Return when a document was written, by the server's clock; None where it is gone or that is not told."""
    return dict(run.documents(name)).get(name)
