"""Copies of backups: the same backup in another place, under the same name, with the same documents and marker.

Everything lies there at the same keys below the prefix, so that each deployment with that prefix lists, verifies and
restores it. The objects of an incremental backup go into the pool that is there, and what is there already stays. It is
an attempt that uses that pool, like one that makes a backup: it leaves a note before it reads anything of the pool, so
that no sweep takes what it is about to list.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from typing import NamedTuple, override

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import CollectionEntry, FileDigest, Manifest, read_object
from milvus_vault.archive.object_table import ObjectTable, Recorded
from milvus_vault.archive.other_etags import OtherEtags, read_other_etags, write_other_etags
from milvus_vault.archive.pool import PoolLayout, parse_pooled_key
from milvus_vault.archive.reader import document_pieces, listed_entries, read_manifest
from milvus_vault.archive.remains import deleted_meanwhile
from milvus_vault.backup.captured import failed, incomplete
from milvus_vault.backup.documents import check_checksum
from milvus_vault.backup.export import ExportPreparation
from milvus_vault.backup.locking import ListedObjects, lock_objects
from milvus_vault.backup.streamed import put_streamed
from milvus_vault.backup.working_files import BackupPlan, shared_folder, shared_name
from milvus_vault.claims import CLAIM, ClaimHeldError, Claims, check_owner
from milvus_vault.copying.verify import read_copy_check
from milvus_vault.copying.working_files import (
    CopyTarget,
    read_items,
    target_indexes,
    verified_objects,
    write_lines,
    write_target,
)
from milvus_vault.errors import BackupExistsError, BackupInProgressError, CopyInProgressError, ObjectNotFoundError
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.names import export_run
from milvus_vault.model.objects import ArchivedObject, CopyItem, ListedObject
from milvus_vault.model.readable import count
from milvus_vault.model.times import utc_second
from milvus_vault.parallel import LISTS_AT_A_TIME_BYTES, SMALL_REQUESTS_AT_A_TIME, each
from milvus_vault.pool.condemned import read_condemned
from milvus_vault.pool.users import PoolUse
from milvus_vault.ports import HTML
from milvus_vault.spans import list_in_spans
from milvus_vault.workspace import Workspace


class PlaceNotes:
    """Under which ETags contents are proven in a place, as all the backups that lie there have noted it.

    They are read when something asks for the first time: where copies keep their ETags nobody does. A copy that wrote
    anew what another one has noted would make that one unreadable, so that all notes count, whoever made them.
    """

    def __init__(self, place: Workspace) -> None:
        """Read nothing yet."""
        self._place = place

    def has(self, below: str, recorded: str, etag: str) -> bool:
        """Return whether an object is noted to have the content with the recorded ETag under the other one.

        Args:
            below: Its key, as in `OtherEtags`.
            recorded: The ETag in the backups' lists.
            etag: The one that it has in the place.
        """
        return (recorded, etag) in self._all.get(below, ())

    def has_any_of(self, name: str) -> bool:
        """Return whether the backup of this name has notes there."""
        return bool(self._of(name))

    @cached_property
    def _all(self) -> Mapping[str, Set[tuple[str, str]]]:
        found: dict[str, set[tuple[str, str]]] = {}
        folder = self._place.prefix
        names = self._place.store.list_folders(self._place.bucket, f"{folder}/" if folder else "")
        for notes in each(self._of, [name for name in names if not name.startswith(".")]):
            for below, pair in notes.items():
                found.setdefault(below, set()).add(pair)
        return found

    def _of(self, name: str) -> Mapping[str, tuple[str, str]]:
        return read_other_etags(self._place.store, self._place.bucket, BackupLayout(self._place.prefix, name))


@dataclass(frozen=True, slots=True)
class CopyPreparation(ExportPreparation):
    """Everything that PrepareExport works with where a backup is copied as it is."""

    notes: PlaceNotes = field(kw_only=True)

    @override
    def _is_published(self, claims: Claims) -> bool:
        # What is there is looked at once more, and what is missing copied: a copy that is repeated heals the first.
        return False

    @override
    def _is_there(self) -> bool:
        marker = self._store.get(self.run.bucket, self._original.marker)
        return has_marker(self._destination, self._layout, marker)

    @override
    def _begin(self, manifest: Manifest) -> None:
        if manifest.is_incremental:
            self._wait_in_line()
            PoolUse(self._destination, self.execution_arn).begin()

    def _wait_in_line(self) -> None:
        """Take the claim of the copies into the pool there: one at a time knows what the others have noted.

        Under a key of KMS two that copied an object at once would leave one of them with the other's ETag.
        Raises `CopyInProgressError`.
        """
        folder = f"{self._destination.bucket}/{self._destination.prefix}"
        line = replace(self.run, run=export_run("pool", folder))
        try:
            self._claims(self.run.bucket).take(line.key(CLAIM))
        except ClaimHeldError as err:
            held = f"since {utc_second(err.holder.claimed_at)}"
            msg = f"execution {err.holder.execution_arn} copies to s3://{folder} {held}"
            raise CopyInProgressError(
                msg, hint="This one goes on by itself when that has ended, within a day."
            ) from err

    @override
    def _marker_sha256(self) -> str:
        return _sha256(self._store.get(self.run.bucket, self._original.marker))

    @override
    def _write_target(
        self,
        index: int,
        entry: CollectionEntry,
        objects: ObjectTable,
        other_etags: Mapping[str, tuple[str, str]],
    ) -> bool:
        there = self._layout
        folders = tuple(there.folders_of(entry.collection_id, objects))
        groups = {pooled.group for item in objects if (pooled := parse_pooled_key(item.stored_key))}
        target = CopyTarget(index=index, name=str(entry.name), folders=folders)
        if not groups and not self.notes.has_any_of(there.name):
            items = (CopyItem(one.stored_key, there.here(one.stored_key), one.size_bytes, one.etag) for one in objects)
            write_target(self.run, self._attempt, target, items)
            return True
        # As they are to be there, with where they are copied from in place of Milvus' key.
        wanted = ObjectTable(
            ArchivedObject(there.here(one.stored_key), one.stored_key, one.size_bytes, one.etag) for one in objects
        )
        with closing(wanted):
            if groups:
                self._look_in_pool(entry, groups, wanted, other_etags)
            else:
                # A copy that is repeated where ETags are others: what is proven there is not written over.
                self._look(folders, wanted, other_etags)
            shared = (item._replace(etag=etag) for item, etag in wanted.noted() if etag is not None)
            write_lines(self.run, shared_name(self._attempt, index), shared)
            lacking = (
                CopyItem(item.source_key, item.stored_key, item.size_bytes, item.etag)
                for item, etag in wanted.noted()
                if etag is None
            )
            if (first := next(lacking, None)) is None:
                return False
            target = target.model_copy(update={"is_shared": True})
            write_target(self.run, self._attempt, target, chain((first,), lacking))
        return True

    def _look_in_pool(
        self,
        entry: CollectionEntry,
        groups: Iterable[str],
        wanted: ObjectTable,
        other_etags: Mapping[str, tuple[str, str]],
    ) -> None:
        """Note which of a collection's objects the pool there has.

        Raises `BackupInProgressError` where one of them is about to be deleted there: a copy has no other key for it.
        """
        place, layout = self._destination, PoolLayout(self._destination.prefix)
        for group in groups:
            # In this order, see `pool/users.py`.
            condemned = read_condemned(place.store, place.bucket, layout, group)
            going = [layout.folder(group) + below for below in condemned[0].keys] if condemned else []
            if gone := [key for key in going if wanted.find(key)]:
                what = f"{count(len(gone))} object(s) of collection {entry.name}"
                msg = f"{what} are being deleted from the pool there: s3://{place.bucket}/{gone[0]}"
                hint = "Let a prune of the deployment there end it, then start the copy again."
                raise BackupInProgressError(msg, hint=hint)
        self._look([layout.folder(group) for group in groups], wanted, other_etags)

    def _look(self, folders: Iterable[str], wanted: ObjectTable, other_etags: Mapping[str, tuple[str, str]]) -> None:
        """Note which of the objects folders there have already."""
        place = self._destination
        for folder in folders:
            for found in list_in_spans(place.store, place.bucket, folder, wanted.keys_evenly):
                item = wanted.find(found.key)
                if item is not None and self._is_copy(item, found, other_etags):
                    wanted.note(item, found.etag)

    def _is_copy(self, item: Recorded, found: ListedObject, other_etags: Mapping[str, tuple[str, str]]) -> bool:
        """Return whether an object of the pool there is the copy of one that the backup lists, and can be read."""
        if found.size_bytes != item.size_bytes or found.archive_class:
            return False
        below = BackupLayout.below(found.key)
        # Copied in parts or under KMS, it has another ETag than its source, which an earlier copy has noted there.
        recorded = next((was for was, here in (other_etags.get(below, ("", "")),) if here == item.etag), "")
        return found.etag == item.etag or self.notes.has(below, recorded or item.etag, found.etag)


class PublishedCopy(NamedTuple):
    """A copy that is whole."""

    manifest: Manifest
    """The original's, and so the copy's."""
    object_count: int
    """Objects that this run copied; the others were there."""
    size_bytes: int


def publish_copy(run: Workspace, plan: BackupPlan, attempt: str, last_round: int) -> PublishedCopy:
    """Write the documents of a copy and its marker last, byte by byte as the original has them. Safe to repeat.

    Beside them it writes under which ETags the objects lie there, where those are others than were recorded: S3 has
    copied what had the right one, so that their content is proven.

    Raises:
        RunTakenOverError: Another execution copies the backup by now, or this one was taken for dead.
        BackupFailedError: Not all objects were copied; or the error under which all failed.
        BackupNotFoundError: The original is another one by now, or gone.
        BackupExistsError: Somebody has made another backup of this name there.
        BackupDamagedError: A document is not the one that was written, or S3 computed another checksum of a copy.
    """
    check_owner(run, attempt)
    place = plan.destination(run)
    original, layout = BackupLayout(run.prefix, plan.backup_name), BackupLayout(place.prefix, plan.backup_name)
    manifest, marker = _read_original(run, plan, original)
    _check_copied(run, plan, attempt, last_round, manifest)
    has_marker(place, layout, marker)
    copied = _Documents(run, attempt, manifest, original, place, plan.lock).write()
    use = PoolUse(place, plan.execution_arn)
    if manifest.is_incremental:
        use.publish(lambda: has_marker(place, layout, marker))
    check_owner(run, attempt)
    if not place.store.put_if_absent(place.bucket, layout.marker, marker, lock=plan.lock):
        has_marker(place, layout, marker)
        if plan.lock:
            place.store.lock(place.bucket, layout.marker, plan.lock)
    if manifest.is_incremental:
        use.end()
    return PublishedCopy(manifest, *copied)


def lock_copied(
    run: Workspace, plan: BackupPlan, attempt: str, last_round: int, seconds_left: Callable[[], float]
) -> bool:
    """Lock the objects of a copy as those of the original are; return whether that is done, or time ran short.

    Called again, it goes on. Raises as `publish_copy`, and `LockRefusedError`.
    """
    if plan.lock is None:
        return True
    original = BackupLayout(run.prefix, plan.backup_name)
    manifest, _ = _read_original(run, plan, original)
    _check_copied(run, plan, attempt, last_round, manifest)
    there = BackupLayout(plan.destination(run).prefix, plan.backup_name)

    def listed(entry: CollectionEntry) -> ListedObjects:
        objects = listed_entries(run.store, run.bucket, original, entry.objects)
        return ListedObjects(ObjectTable(one._replace(stored_key=there.here(one.stored_key)) for one in objects))

    lists = [partial(listed, entry) for entry in manifest.collections]
    list_bytes = [entry.objects.size_bytes for entry in manifest.collections]
    return lock_objects(run, plan, attempt, plan.lock, lists, list_bytes, seconds_left)


def _check_copied(run: Workspace, plan: BackupPlan, attempt: str, last_round: int, manifest: Manifest) -> None:
    if manifest.meta_only:
        return
    found = read_copy_check(run, attempt, last_round)
    if found.again:
        raise failed([incomplete(plan.collections[index], found) for index in found.again])


def has_marker(place: Workspace, layout: BackupLayout, marker: bytes) -> bool:
    """Return whether a place has a backup with this marker; False where it has none of the name.

    Raises `BackupExistsError` for another backup of the name, so that nothing of it is replaced or deleted.
    """
    try:
        found = place.store.get(place.bucket, layout.marker)
    except ObjectNotFoundError:
        return False
    if found != marker:
        msg = f"another backup '{layout.name}' lies in s3://{place.bucket}/{layout.root} already"
        raise BackupExistsError(msg, hint="It stays as it is. Copy to another prefix.")
    return True


def check_copy_stays(run: Workspace, plan: BackupPlan) -> None:
    """Return if the name of a copy is still its own in the other place. Raises `BackupExistsError`."""
    place = plan.destination(run)
    original = BackupLayout(run.prefix, plan.backup_name)
    has_marker(place, BackupLayout(place.prefix, plan.backup_name), run.store.get(run.bucket, original.marker))


def _read_original(run: Workspace, plan: BackupPlan, original: BackupLayout) -> tuple[Manifest, bytes]:
    """Return manifest and marker of the backup that is copied. Raises where it is not the one that was planned."""
    marker = run.store.get(run.bucket, original.marker)
    manifest = read_manifest(run.store, run.bucket, original)
    if manifest is None or plan.export is None or _sha256(marker) != plan.export.marker_sha256:
        raise deleted_meanwhile(plan.backup_name)
    return manifest, marker


class _Written(NamedTuple):
    """A collection whose documents are written."""

    object_count: int = 0
    """Objects that were copied."""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Documents:
    """All that a backup has beside objects and marker."""

    run: Workspace
    attempt: str
    manifest: Manifest
    original: BackupLayout
    place: Workspace
    lock: ObjectLock | None

    @property
    def _there(self) -> BackupLayout:
        return BackupLayout(self.place.prefix, self.original.name)

    def write(self) -> tuple[int, int]:
        """Write it; return how many objects and bytes were copied."""
        run, store, bucket, there = self.run, self.place.store, self.place.bucket, self._there
        object_count = size_bytes = 0
        noted = OtherEtags()
        copied, shared = target_indexes(run, self.attempt), run.numbers(shared_folder(self.attempt))
        for written in each(
            lambda index: self._write_collection(index, noted, is_copied=index in copied, is_shared=index in shared),
            range(len(self.manifest.collections)),
            threads=SMALL_REQUESTS_AT_A_TIME,
            weight=lambda index: self.manifest.collections[index].objects.size_bytes,
            max_weight=LISTS_AT_A_TIME_BYTES,
        ):
            object_count, size_bytes = object_count + written.object_count, size_bytes + written.size_bytes
        for document in self.manifest.documents:
            self._copy(document)
        with suppress(ObjectNotFoundError):
            report = run.store.get(run.bucket, self.original.report)
            store.put(bucket, there.report, report, content_type=HTML, lock=self.lock)
        if noted:
            write_other_etags(store, bucket, there, noted)
        else:
            store.delete(bucket, [there.other_etags])
        store.put(bucket, there.manifest, run.store.get(run.bucket, self.original.manifest), lock=self.lock)
        return object_count, size_bytes

    def _copy(self, document: FileDigest) -> None:
        pieces = document_pieces(self.run.store, self.run.bucket, self.original, document)
        put_streamed(self.place, self._there.root + document.key, document.key, pieces, self.lock)

    def _write_collection(self, index: int, noted: OtherEtags, *, is_copied: bool, is_shared: bool) -> _Written:
        """Write the documents of a collection, and note the ETags that its copies have, where they have others."""
        entry = self.manifest.collections[index]
        check_owner(self.run, self.attempt)
        self._copy(entry.document)
        self._copy(entry.objects)
        if self.manifest.meta_only:
            return _Written()
        object_count = size_bytes = 0
        for item in read_items(self.run, self.attempt, index) if is_copied else ():
            object_count, size_bytes = object_count + 1, size_bytes + item.size_bytes
        listed = listed_entries(self.run.store, self.run.bucket, self.original, entry.objects)
        verified = ObjectTable(self._verified(index, is_copied=is_copied, is_shared=is_shared))
        with closing(verified):
            noted.note(_other_etags(listed, self._there, verified))
        return _Written(object_count, size_bytes)

    def _verified(self, index: int, *, is_copied: bool, is_shared: bool) -> Iterator[ArchivedObject]:
        """Yield the objects of a collection as they lie there."""
        if is_shared:
            yield from map(read_object, self.run.read_lines(shared_name(self.attempt, index)))
        if is_copied:
            found = verified_objects(self.run, self.attempt, index)
            yield from (ArchivedObject(one.key, "", 0, one.etag, one.checksum) for one in found)


def _other_etags(
    recorded: Iterable[ArchivedObject], there: BackupLayout, verified: ObjectTable
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield what `OtherEtags` has of the objects whose copies have another ETag than was recorded.

    Raises `BackupDamagedError` where S3 computed another checksum of a copy than was recorded.
    """
    for item in recorded:
        found = verified.proven(there.here(item.stored_key))
        check_checksum(item, found.checksum)
        if item.etag and found.etag != item.etag:
            yield there.below(item.stored_key), (item.etag, found.etag)


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
