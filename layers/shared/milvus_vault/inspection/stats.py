"""What the backup prefix holds: by the catalogue, and by a listing of the pool."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from milvus_vault.archive.pool import PoolLayout, is_group, is_pooled
from milvus_vault.catalogue import Catalogue
from milvus_vault.inspection.estimate import LISTED_AT_A_TIME, storage_cost
from milvus_vault.model.resources import BackupSummary, ModeStats, ObjectCount, ScheduleStats, Stats
from milvus_vault.parallel import each
from milvus_vault.ports import ObjectStore


def prefix_stats(
    store: ObjectStore,
    bucket: str,
    prefix: str,
    catalogue: Catalogue,
    *,
    with_pool: bool,
    check: Callable[[], None] = lambda: None,
) -> Stats:
    """Return what the backups below a prefix list, what is stored for them, and what that costs.

    It takes a small read for each backup, and with the pool a request for each thousand of its objects, of 16
    collections at a time.

    Args:
        store: Where the backups are.
        bucket: The backup bucket.
        prefix: The backup prefix.
        catalogue: Of this prefix.
        with_pool: Whether the pool is listed; without, nothing is known of what is stored.
        check: Called all along, by several threads; what it raises ends this.
    """
    pool = _pool(store, bucket, PoolLayout(prefix), check) if with_pool else None
    backups = []
    for summary in catalogue.read(catalogue.entries(adopt=True)):
        check()
        backups.append(summary)
    readable = [backup for backup in backups if backup.status != "damaged"]
    by_mode: dict[str, list[BackupSummary]] = defaultdict(list)
    by_schedule: dict[str | None, list[BackupSummary]] = defaultdict(list)
    for backup in readable:
        by_mode[backup.mode].append(backup)
        by_schedule[backup.schedule].append(backup)
    full, logical = _sum_of(by_mode["full"]), _sum_of(readable)
    stored = _sum_of((full, pool)) if pool else None
    modes = (
        ModeStats(mode=mode, backup_count=len(by_mode[mode]), **dict(_sum_of(by_mode[mode])))
        for mode in ("full", "incremental")
    )
    listed = _sum_of(by_mode["incremental"]).size_bytes
    names = sorted(by_schedule, key=lambda name: (name is None, name))
    return Stats(
        **dict(logical),
        backup_count=len(backups),
        damaged_count=len(backups) - len(readable),
        modes=tuple(modes),
        pool=pool,
        stored=stored,
        ratio=logical.size_bytes / stored.size_bytes if stored and stored.size_bytes else None,
        storage_cost_usd_per_month=storage_cost(stored.size_bytes) if stored else None,
        schedules=tuple(_schedule(name, by_schedule[name], pool, listed) for name in names),
    )


def _schedule(
    name: str | None, backups: Sequence[BackupSummary], pool: ObjectCount | None, listed: int
) -> ScheduleStats:
    """Return what is told of a schedule, whose incremental backups have their part of all bytes that such ones list."""
    own = _sum_of(backup for backup in backups if backup.mode == "full").size_bytes
    logical = _sum_of(backups)
    part = (logical.size_bytes - own) / listed if listed else 0.0
    stored_bytes = own + round(part * pool.size_bytes) if pool else None
    return ScheduleStats(
        **dict(logical),
        schedule=name,
        backup_count=len(backups),
        stored_bytes=stored_bytes,
        storage_cost_usd_per_month=None if stored_bytes is None else storage_cost(stored_bytes),
    )


def _pool(store: ObjectStore, bucket: str, layout: PoolLayout, check: Callable[[], None]) -> ObjectCount:
    """Return how many objects are in the pool, and of how many bytes."""

    def of_group(group: str) -> ObjectCount:
        number = size_bytes = 0
        for at, listed in enumerate(store.list_objects(bucket, layout.folder(group))):
            if at % LISTED_AT_A_TIME == 0:
                check()
            if is_pooled(listed.key):
                number, size_bytes = number + 1, size_bytes + listed.size_bytes
        return ObjectCount(object_count=number, size_bytes=size_bytes)

    groups = [name for name in store.list_folders(bucket, layout.root) if is_group(name)]
    return _sum_of(each(of_group, groups))


def _sum_of(counts: Iterable[ObjectCount | BackupSummary]) -> ObjectCount:
    number = size_bytes = 0
    for one in counts:
        number, size_bytes = number + one.object_count, size_bytes + one.size_bytes
    return ObjectCount(object_count=number, size_bytes=size_bytes)
