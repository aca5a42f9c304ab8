"""What the backup prefix holds: by the catalogue, and by a listing of the pool."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import Field

from milvus_vault.archive.pool import PoolLayout, is_group, is_pooled
from milvus_vault.catalogue import Catalogue
from milvus_vault.inspection.estimate import LISTED_AT_A_TIME, storage_cost
from milvus_vault.model.base import Count, Model
from milvus_vault.model.resources import BackupSummary, ModeStats, ObjectCount, PoolListing, ScheduleStats, Stats
from milvus_vault.paging import position_of, token_of
from milvus_vault.parallel import each
from milvus_vault.ports import ObjectStore


def prefix_stats(
    store: ObjectStore,
    bucket: str,
    prefix: str,
    catalogue: Catalogue,
    *,
    with_pool: bool,
    token: str | None = None,
    check: Callable[[], None] = lambda: None,
    has_time: Callable[[], bool] = lambda: True,
) -> Stats:
    """Return what the backups below a prefix list, what is stored for them, and what that costs.

    It takes a small read for each backup, and with the pool a request for each thousand of its objects, of 16
    collections at a time. Where there is no time for all of the pool, the answer has a token, with which the next
    call goes on; each lists some thousands of objects at least.

    Args:
        store: Where the backups are.
        bucket: The backup bucket.
        prefix: The backup prefix.
        catalogue: Of this prefix.
        with_pool: Whether the pool is listed; without, nothing is known of what is stored.
        token: `next_token` of the answer before.
        check: Called for each backup; what it raises ends this.
        has_time: Whether the listing of the pool may go on; called by several threads.

    Raises `InvalidRequestError` for a token that is none.
    """
    so_far = position_of(token, _Position)
    backups = []
    for summary in catalogue.read(catalogue.entries(adopt=True)):
        check()
        backups.append(summary)
    listing, next_token = None, None
    if with_pool:
        listing, next_token = _Pool(store, bucket, PoolLayout(prefix), has_time).listed(so_far)
    pool = _sum_of((listing,)) if listing and next_token is None else None
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
        listing=listing if next_token else None,
        next_token=next_token,
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


class _Position(Model):
    """Where the listing of the pool stands, and what it has found so far."""

    after: str = ""
    """The last group that it has begun with; groups come in order."""
    unfinished: dict[str, str] = Field(default_factory=dict)
    """Of groups up to there that it has not listed to the end: the last key below the group's folder."""
    object_count: Count = 0
    size_bytes: Count = 0


class _Listed(NamedTuple):
    """What was found of a group."""

    group: str
    counted: ObjectCount
    last: str | None
    """The last key below the group's folder, where time was over; None where the group has no more."""


@dataclass(frozen=True, slots=True)
class _Pool:
    """The objects in the pool, listed by one call after another."""

    store: ObjectStore
    bucket: str
    layout: PoolLayout
    has_time: Callable[[], bool]

    def listed(self, before: _Position) -> tuple[PoolListing, str | None]:
        """Go on from a position; return how far the listing is then, and a token unless all is listed."""
        groups = sorted(name for name in self.store.list_folders(self.bucket, self.layout.root) if is_group(name))
        work = [*before.unfinished.items(), *((group, "") for group in groups if group > before.after)]
        after, unfinished = before.after, dict(before.unfinished)
        counts = [ObjectCount(object_count=before.object_count, size_bytes=before.size_bytes)]
        for found in each(self._list, self._begun(work)):
            counts.append(found.counted)
            after = max(after, found.group)
            unfinished.pop(found.group, None)
            if found.last is not None:
                unfinished[found.group] = found.last
        total = dict(_sum_of(counts))
        done = sum(group <= after and group not in unfinished for group in groups)
        listing = PoolListing(**total, collection_count=done, collection_total=len(groups))
        if done == len(groups):
            return listing, None
        return listing, token_of(_Position(**total, after=after, unfinished=unfinished))

    def _begun(self, work: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Yield what there is time to begin with, in order: one group at least, so that each call comes further."""
        for number, group in enumerate(work):
            if number and not self.has_time():
                return
            yield group

    def _list(self, begun: tuple[str, str]) -> _Listed:
        """Count the objects of a group behind a key, as long as there is time: a page of them at least."""
        group, after = begun
        folder = self.layout.folder(group)
        number = size_bytes = 0
        for at, found in enumerate(self.store.list_objects(self.bucket, folder, after=after and folder + after), 1):
            if is_pooled(found.key):
                number, size_bytes = number + 1, size_bytes + found.size_bytes
            if at % LISTED_AT_A_TIME == 0 and not self.has_time():
                last = found.key.removeprefix(folder)
                return _Listed(group, ObjectCount(object_count=number, size_bytes=size_bytes), last)
        return _Listed(group, ObjectCount(object_count=number, size_bytes=size_bytes), None)


def _sum_of(counts: Iterable[ObjectCount | BackupSummary]) -> ObjectCount:
    number = size_bytes = 0
    for one in counts:
        number, size_bytes = number + one.object_count, size_bytes + one.size_bytes
    return ObjectCount(object_count=number, size_bytes=size_bytes)
