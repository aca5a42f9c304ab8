"""PublishBackup: lock the objects of a backup, all that it lists, before its marker is written.

Not while they are copied: a run that dies, or a collection that is captured anew, would leave behind what nobody can
delete. Until the marker is there an object is of no backup, and nothing is lost with it (docs/adr/0043).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import batched, islice
from threading import Lock
from typing import NamedTuple

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import CollectionEntry, ListTotals, Manifest
from milvus_vault.archive.object_table import ObjectTable, Order
from milvus_vault.archive.pool import parse_pooled_key
from milvus_vault.archive.reader import find_manifest, listed_entries
from milvus_vault.backup.working_files import LOCKED, BackupPlan, LockProgress
from milvus_vault.claims import check_owner
from milvus_vault.errors import BackupDamagedError, BackupFormatError, BucketNotLockableError
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.parallel import LISTS_AT_A_TIME_BYTES, SMALL_REQUESTS_AT_A_TIME, do_each, each
from milvus_vault.ports import ObjectStore
from milvus_vault.workspace import Workspace

THREADS = 64
"""Requests at a time, as CopyBatch has."""

# Objects between two looks at the clock, and notes of how far it is.
_BATCH = 10_000

STOP_SECONDS = 180
"""What is kept of a function's time: for a batch that S3 slows down, and for the documents of a large backup."""


@dataclass(frozen=True, slots=True)
class ListedObjects:
    """The objects of a collection that the backup is to list."""

    table: ObjectTable
    order: Order = "position"
    """In which they are listed."""
    shared_count: int = 0
    """How many of them were in the pool already: the first ones of the table."""
    before: ListTotals = field(default_factory=ListTotals)
    """Those of them that were there before this execution."""

    def __iter__(self) -> Iterator[ArchivedObject]:
        """Yield them."""
        return self.table.sorted_by(self.order)


def check_lockable(
    store: ObjectStore, bucket: str, *, why: str = "a lock is asked for", else_do: str = "leave out `lock`"
) -> None:
    """Return if objects of a bucket can be locked. Raises `BucketNotLockableError`, which says why they are to be."""
    if not store.has_object_lock(bucket):
        msg = f"{why}, and bucket s3://{bucket} has no Object Lock"
        raise BucketNotLockableError(
            msg, hint=f"Enable Object Lock on the bucket, whose versioning has to be on; or {else_do}."
        )


def lock_objects(
    run: Workspace,
    plan: BackupPlan,
    attempt: str,
    lock: ObjectLock,
    collections: Sequence[Callable[[], ListedObjects]],
    list_bytes: Sequence[int],
    seconds_left: Callable[[], float],
) -> bool:
    """Lock all objects of a backup; return whether that is done, or time ran short. Called again, it goes on.

    Shared objects that the newest base lists, which is locked as well, as long at least and in as strict a mode, are
    locked already: they cost no request.

    Args:
        run: The run of the plan.
        plan: Of the backup.
        attempt: The copying attempt.
        lock: How.
        collections: Those that are in the backup, always in one order.
        list_bytes: Bytes of the list that each is read from.
        seconds_left: How long the function may still run.

    Raises:
        LockRefusedError: A shared object is locked in governance mode, and `lock` is in compliance mode.
    """
    store, bucket = run.store, plan.destination(run).bucket
    progress = run.find(LOCKED, LockProgress)
    if progress is None or progress.attempt != attempt:
        progress = LockProgress(attempt=attempt)
    bases = _Bases(run, plan, lock)
    for some in batched(_unlocked(collections, list_bytes, progress, bases), _BATCH, strict=False):
        if seconds_left() < STOP_SECONDS:
            return False
        check_owner(run, attempt)
        keys = (one.key for one in some if one.key)
        do_each(lambda key: store.lock(bucket, key, lock), keys, threads=THREADS)
        progress = LockProgress(attempt=attempt, next_collection=some[-1].collection, next_object=some[-1].number + 1)
        run.write(LOCKED, progress)
    progress = LockProgress(attempt=attempt, next_collection=len(collections))
    run.write(LOCKED, progress)
    return True


class _Next(NamedTuple):
    """An object that is looked at, and where it is in the backup."""

    collection: int
    number: int
    """In that collection's list."""
    key: str
    """Empty where it is locked already."""


def _unlocked(
    collections: Sequence[Callable[[], ListedObjects]],
    list_bytes: Sequence[int],
    progress: LockProgress,
    bases: "_Bases",
) -> Iterator[_Next]:
    """Yield the objects that are to be locked, collection after collection, from where it is."""

    def read(number: int) -> ListedObjects:
        listed = collections[number]()
        bases.note_locked(listed)
        return listed

    numbers = range(progress.next_collection, len(collections))
    lists = each(
        read,
        numbers,
        threads=SMALL_REQUESTS_AT_A_TIME,
        weight=lambda number: list_bytes[number],
        max_weight=LISTS_AT_A_TIME_BYTES,
    )
    for collection, listed in zip(numbers, lists, strict=True):
        first = progress.next_object if collection == progress.next_collection else 0
        with closing(listed.table):
            for number, (item, locked) in enumerate(islice(listed.table.noted(listed.order), first, None), start=first):
                yield _Next(collection, number, item.stored_key if locked is None else "")


@dataclass(frozen=True, slots=True)
class _Bases:
    """What the bases of an incremental backup say of the locks of objects in the pool."""

    run: Workspace
    plan: BackupPlan
    lock: ObjectLock
    _found: dict[str, tuple[Manifest, Mapping[str, CollectionEntry]] | None] = field(default_factory=dict)
    """Each that was read, by name, with its collections by their groups."""
    _reading: Lock = field(default_factory=Lock)

    def note_locked(self, listed: ListedObjects) -> None:
        """Note those shared objects of a collection that are locked as the backup is to be."""
        first = next(iter(listed.table), None) if listed.shared_count else None
        pooled = parse_pooled_key(first.stored_key) if first else None
        if pooled is None:
            return
        try:
            for key, etag in self._locked_in(pooled.group):
                found = listed.table.find(key)
                # What is copied to the key of one that was lost is another object.
                if found and found.positions[0] < listed.shared_count:
                    listed.table.note(found, etag)
        except BackupDamagedError:
            # What was read of the list before it was found damaged does not count.
            listed.table.forget_notes()

    def _locked_in(self, group: str) -> Iterator[tuple[str, str]]:
        """Yield key and ETag of a group's objects that the newest base which has the group lists, if it is locked so.

        Raises `BackupDamagedError` where its list is damaged, which is known at its end.
        """
        for name in self.plan.bases:
            manifest, entries = self._of(name) or (None, {})
            entry = entries.get(group)
            if manifest is None or entry is None:
                continue
            if manifest.lock is not None and manifest.lock.covers(self.lock):
                layout = BackupLayout(self.run.prefix, name)
                listed = listed_entries(self.run.store, self.run.bucket, layout, entry.objects)
                yield from ((layout.here(item.stored_key), item.etag) for item in listed)
            return

    def _of(self, name: str) -> tuple[Manifest, Mapping[str, CollectionEntry]] | None:
        """Return the manifest of a backup; None where it cannot be read, or is gone."""
        with self._reading:
            if name not in self._found:
                try:
                    layout = BackupLayout(self.run.prefix, name)
                    manifest = find_manifest(self.run.store, self.run.bucket, layout)
                except (BackupDamagedError, BackupFormatError):
                    manifest = None
                by_group = {entry.group: entry for entry in reversed(manifest.collections)} if manifest else {}
                self._found[name] = (manifest, by_group) if manifest else None
            return self._found[name]
