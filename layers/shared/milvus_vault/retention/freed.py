"""What the deletions of a dry run would free."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing

from milvus_vault.catalogue import UNREADABLE_BACKUP, Catalogue
from milvus_vault.model.readable import count
from milvus_vault.pool.unique import MOST_BACKUPS, UniqueObjects, unique_objects
from milvus_vault.retention.pool_sweep import STOP_SECONDS
from milvus_vault.retention.working_files import FREED, Deletion, Freed, FreedBackup, FreedSoFar, PrunePlan
from milvus_vault.workspace import Workspace

# In the middle of a group it ends when so little is left: what was read of it is lost.
LAST_SECONDS = 30

# Groups, after which it is written down how far it is, for whoever follows the run.
_NOTED_AT_A_TIME = 20


class _OutOfTimeError(Exception):
    """The function has no time for more."""


def tell_freed(run: Workspace, plan: PrunePlan, seconds_left: Callable[[], float]) -> bool:
    """Write down what the plan's deletions would free; return whether that is all, or time ran short.

    Safe to repeat: it goes on where it was.
    """
    # Of one of which nothing can be read nobody knows what is left of it.
    known = [deletion for deletion in plan.spared if deletion.object_count]
    so_far = run.find(FREED, FreedSoFar) or FreedSoFar(freed=_begin(known))
    if so_far.is_all:
        return True
    so_far = _of_pool(run, plan, so_far, seconds_left)
    run.write(FREED, so_far)
    return so_far.is_all


def _begin(deletions: Iterable[Deletion]) -> Freed:
    """Return what is known before the pool is looked at: all of full backups, and nothing yet of others."""
    backups = tuple(
        FreedBackup(name=d.name) if d.may_share else FreedBackup(**d.model_dump(include=set(FreedBackup.model_fields)))
        for d in deletions
    )
    return Freed(
        object_count=sum(backup.object_count for backup in backups),
        size_bytes=sum(backup.size_bytes for backup in backups),
        backups=backups,
    )


def _nobody_knows(plan: PrunePlan, reason: str) -> FreedSoFar:
    full = _begin(deletion for deletion in plan.spared if not deletion.may_share)
    return FreedSoFar(freed=_because(full, reason), is_all=True)


def _of_pool(run: Workspace, plan: PrunePlan, so_far: FreedSoFar, seconds_left: Callable[[], float]) -> FreedSoFar:
    names = [deletion.name for deletion in plan.spared if deletion.may_share]
    if not names:
        return so_far.model_copy(update={"is_all": True})
    if len(names) > MOST_BACKUPS:
        many = f"these are {count(len(names))} incremental backups, and of more than {MOST_BACKUPS} it is not looked up"
        return _nobody_knows(plan, many)
    try:
        return _look_up(run, names, so_far, seconds_left)
    except _OutOfTimeError:
        return _nobody_knows(plan, "the lists of a collection take longer to read than a function may run")
    except UNREADABLE_BACKUP as err:
        return _nobody_knows(plan, f"nothing of the pool would be deleted: {err.message}")


def _look_up(run: Workspace, names: Sequence[str], so_far: FreedSoFar, seconds_left: Callable[[], float]) -> FreedSoFar:
    """Return what is known after as many groups as there is time for. Raises `_OutOfTimeError` where that is none."""
    begun_after = so_far.group

    def check() -> None:
        if seconds_left() < LAST_SECONDS:
            raise _OutOfTimeError

    try:
        others = Catalogue(run.store, run.bucket, run.prefix).sharing()
        found = unique_objects(run.store, run.bucket, run.prefix, names, others, after=so_far.group, check=check)
        with closing(found):
            for one in found:
                done = so_far.groups_done + 1
                so_far = FreedSoFar(
                    freed=_plus(so_far.freed, one),
                    group=one.group,
                    groups_done=done,
                    groups_total=done + one.groups_left,
                )
                if done % _NOTED_AT_A_TIME == 0:
                    run.write(FREED, so_far)
                if seconds_left() < STOP_SECONDS:
                    return so_far
    except _OutOfTimeError:
        if so_far.group == begun_after:
            raise
        return so_far
    return so_far.model_copy(update={"is_all": True})


def _plus(freed: Freed, one: UniqueObjects) -> Freed:
    objects = Counter({backup.name: backup.object_count for backup in freed.backups})
    sizes = Counter({backup.name: backup.size_bytes for backup in freed.backups})
    for name, unique in one.by_backup.items():
        objects[name] += unique.object_count
        sizes[name] += unique.size_bytes
    added = Freed(
        object_count=freed.object_count + one.together.object_count,
        size_bytes=freed.size_bytes + one.together.size_bytes,
        backups=tuple(
            FreedBackup(name=name, object_count=number, size_bytes=sizes[name]) for name, number in objects.items()
        ),
        reasons=freed.reasons,
    )
    return _because(added, f"nothing of a collection would be deleted: {one.problem.message}") if one.problem else added


def _because(freed: Freed, reason: str) -> Freed:
    return freed.model_copy(update={"reasons": tuple(dict.fromkeys((*freed.reasons, reason)))})
