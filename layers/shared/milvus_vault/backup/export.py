"""PrepareExport: a backup whose source is a backup.

It writes the working files that PrepareBackup and SnapshotBatch would have written, had Milvus been as the original
has it: the plan, a snapshot of each collection, and what to copy. So all that follows is what follows in a backup.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime

from milvus_vault.archive.check import check_objects, raise_if_damaged
from milvus_vault.archive.layout import BackupLayout, log_of
from milvus_vault.archive.manifest import CollectionEntry, ExportOrigin, Manifest
from milvus_vault.archive.object_table import ObjectTable, Order
from milvus_vault.archive.other_etags import read_other_etags
from milvus_vault.archive.pool import is_pooled
from milvus_vault.archive.reader import (
    read_collection,
    read_collection_document,
    read_manifest,
    read_rbac,
    stored_objects,
)
from milvus_vault.archive.remains import check_stays, marker_etag
from milvus_vault.archive.tombstones import tombstone_key
from milvus_vault.backup.claiming import claim_elsewhere, claim_name, is_published
from milvus_vault.backup.locking import check_lockable
from milvus_vault.backup.places import Place
from milvus_vault.backup.publish import export_name_taken
from milvus_vault.backup.working_files import (
    DESTINATION,
    PLAN,
    RBAC,
    BackupPlan,
    ExportDestination,
    ExportPlan,
    Snapshot,
    exported_name,
    snapshot_folder,
    snapshot_name,
)
from milvus_vault.claims import CLAIM, LONGEST_EXECUTION, Claims, check_owner
from milvus_vault.copying.working_files import CopyTarget, write_job, write_lines, write_target
from milvus_vault.errors import BackupDamagedError, BackupNotExportableError, VaultError
from milvus_vault.model.collections import DatabaseDescription
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.names import attempt_of, export_run, short_hash
from milvus_vault.model.objects import CopyItem, CopyJob
from milvus_vault.model.readable import count, first_of
from milvus_vault.model.requests import BackupRequest, ExportRequest
from milvus_vault.parallel import LISTS_AT_A_TIME_BYTES, SMALL_REQUESTS_AT_A_TIME, do_each
from milvus_vault.pool.doubts import PoolDoubts
from milvus_vault.ports import Executions, ObjectStore
from milvus_vault.workspace import Workspace

type DamagedContents = Callable[[str, datetime | None], Mapping[str, str]]
"""Gives, by key, what deep verifications found wrong with contents of the backup of a name that was finished then; of
one of milvus-backup nobody knows when."""


def read_exportable(
    store: ObjectStore, bucket: str, layout: BackupLayout, damaged_contents: DamagedContents, *, is_copy: bool = False
) -> Manifest:
    """Return the manifest of a backup that can be exported, or copied as it is.

    Raises:
        BackupNotFoundError: There is no commit marker, and none was lost.
        BackupDamagedError: Marker or manifest is missing, or is not the one that was written; or contents are damaged
            that no listing shows and a copy would pass on, as its last verification says, or that of another backup
            which lists the same objects of the pool.
        BackupFormatError: A newer release wrote the backup.
        BackupNotExportableError: It lacks collections, which a copy tells and an export would not, or milvus-backup
            wrote it.
    """
    manifest = read_manifest(store, bucket, layout)
    if manifest is None:
        msg = f"backup '{layout.name}' is one of milvus-backup, which can restore it as it is"
        raise BackupNotExportableError(msg, hint="Copy its folder to have it elsewhere.")
    if manifest.is_partial and not is_copy:
        lacking = first_of([str(failure.name) for failure in manifest.failures])
        msg = f"backup '{layout.name}' lacks {len(manifest.failures)} collection(s), and is not exported: {lacking}"
        raise BackupNotExportableError(
            msg, hint="Export a complete backup. This one can be restored, without what it lacks."
        )
    known = damaged_contents(layout.name, manifest.finished_at)
    if damaged := {**known, **doubted(store, bucket, layout, manifest)}:
        raise contents_damaged(layout.name, damaged, is_copy=is_copy)
    return manifest


def contents_damaged(name: str, damaged: Mapping[str, str], *, is_copy: bool = False) -> BackupDamagedError:
    """Return the error for a backup that is not exported or copied: a verification knows what is wrong, by object."""
    problems = first_of(list(damaged.values()), separator="; ")
    what = f"is not {'copied' if is_copy else 'exported'}"
    return BackupDamagedError(
        f"backup '{name}' {what}, since contents of {count(len(damaged))} object(s) are damaged: {problems}",
        hint="Bring the objects back from a copy or an older version of them, then verify the backup: `deep`.",
    )


def doubted(store: ObjectStore, bucket: str, layout: BackupLayout, manifest: Manifest) -> Mapping[str, str]:
    """Return by key what there is a doubt of among the objects of the pool that a backup lists.

    Raises as `PoolDoubts.listed_in`.
    """
    doubts = PoolDoubts(store, bucket, layout.prefix).listed_in(layout.name, manifest)
    return {key: doubt.of_another for key, doubt in doubts.items()}


@dataclass(frozen=True, slots=True)
class ExportPreparation:
    """Everything that PrepareExport works with."""

    run: Workspace
    """That of the backup that is to be written, or where it is written to another place, of this export."""
    request: ExportRequest
    executions: Executions
    execution_arn: str
    started_at: datetime
    was_listed: Callable[[], bool]
    """Whether the catalogue has an entry of the new name, as each backup has whose marker was written."""
    damaged_contents: DamagedContents
    place: Place | None = None
    """Where the export is written; None: beside the other backups."""

    @property
    def _store(self) -> ObjectStore:
        return self.run.store

    @property
    def _attempt(self) -> str:
        return attempt_of(self.execution_arn)

    @property
    def _original(self) -> BackupLayout:
        return BackupLayout(self.run.prefix, self.request.backup_name)

    @property
    def _destination(self) -> Workspace:
        return self.place.run_of(self.run, self.request.export_name) if self.place else self.run

    @property
    def _layout(self) -> BackupLayout:
        return BackupLayout(self._destination.prefix, self.request.export_name)

    def _claims(self, bucket: str) -> Claims:
        return Claims(self._store, self.executions, bucket, execution_arn=self.execution_arn, run=self.run.run)

    def prepare(self) -> BackupPlan | None:
        """Return what to do, or None where this very export is published already, as `is_published` tells.

        Raises what is wrong with the request or the original, and then gives its claims back, unless it passes. Safe to
        repeat: what it has written of a collection is not looked at again.
        """
        destination = self._destination
        claims, elsewhere = self._claims(self.run.bucket), self._claims(destination.bucket)
        if self.place:
            self._store.check_bucket(destination.bucket)
        if self._is_published(claims):
            return None
        etag = marker_etag(self._store, self.run.bucket, self._original)
        manifest = read_exportable(
            self._store, self.run.bucket, self._original, self.damaged_contents, is_copy=self.request.is_copy
        )
        if self._lock(manifest):
            self._check_lockable(destination.bucket)
        claim_name(claims, self.run, self._layout.name)
        try:
            if self.place:
                # By this a sweep finds what is left there, from the claim on.
                told = ExportDestination(place=self.place, backup_name=self._layout.name)
                self.run.write(DESTINATION, told)
                claim_elsewhere(elsewhere, self.run, destination, self._layout, self._is_there)
            claims.take_own(self._reading.key(CLAIM))
            check_stays(self._store, self.run.bucket, self._original, etag)
            self._begin(manifest)
            if not self.place:
                # A prune that died left it, with objects that VerifyCopy deletes. One that lives would hold the claim.
                self._store.delete(self.run.bucket, [tombstone_key(self.run.prefix, self._layout.name)])
            return self._write(manifest)
        except VaultError as err:
            elsewhere.give_back()
            # After a failure that passes, and while it stands in line, the next call goes on: no prune is to delete
            # the original until then.
            if not err.retryable:
                claims.give_back()
            raise

    def _is_published(self, claims: Claims) -> bool:
        return is_published(
            self.run,
            self._layout,
            claims,
            destination=self._destination,
            was_listed=self.was_listed,
            is_same=lambda plan: plan.export is not None and plan.export.request == self.request,
            name_taken=lambda _: export_name_taken(self.request.export_name, self.place.folder if self.place else ""),
        )

    def _is_there(self) -> bool:
        """Return whether what lies in the other place is the whole of what is to be written."""
        return False

    def _begin(self, manifest: Manifest) -> None:
        """Do what comes before anything is read that tells what is to be copied."""

    @property
    def _reading(self) -> Workspace:
        """Return the run whose claim keeps a prune from the original."""
        # Several may read one backup, each for a place and name of its own.
        written = f"{self.place.bucket}/{self._layout.root}" if self.place else self.request.export_name
        return replace(self.run, run=export_run(self.request.backup_name, written))

    def _write(self, manifest: Manifest) -> BackupPlan:
        bucket = self.run.bucket
        write_job(self.run, self._attempt, CopyJob(source_bucket=bucket, destination_bucket=self._destination.bucket))
        other_etags = read_other_etags(self._store, bucket, self._original)
        done = self.run.numbers(snapshot_folder(self._attempt))

        def capture(index: int) -> None:
            if index not in done:
                self._capture(index, manifest, manifest.collections[index], other_etags)

        do_each(
            capture,
            range(len(manifest.collections)),
            threads=SMALL_REQUESTS_AT_A_TIME,
            weight=lambda index: manifest.collections[index].objects.size_bytes,
            max_weight=LISTS_AT_A_TIME_BYTES,
        )
        if manifest.rbac and not self.request.is_copy:
            self.run.write(RBAC, read_rbac(self._store, bucket, self._original, manifest.rbac))
        described = {database.name: database for database in manifest.database_descriptions}
        plan = BackupPlan(
            request=BackupRequest(
                backup_name=self._layout.name,
                mode="incremental" if self.request.is_copy and manifest.is_incremental else "full",
                meta_only=manifest.meta_only,
                include_rbac=manifest.rbac is not None,
                on_collection_failure="fail",
            ),
            backup_name=self._layout.name,
            backup_id=short_hash(self.execution_arn, 32),
            execution_arn=self.execution_arn,
            started_at=manifest.started_at,
            source=manifest.source,
            databases=tuple(
                described.get(name, DatabaseDescription(name=name)) for name in manifest.selected_databases
            ),
            collections=tuple(entry.name for entry in manifest.collections),
            moment=manifest.moment,
            flush_all=manifest.flush_all,
            warnings=tuple(_of_original(manifest)),
            lock=self._lock(manifest),
            export=ExportPlan(
                request=self.request,
                origin=ExportOrigin(
                    backup_name=self.request.backup_name, backup_id=manifest.backup_id, exported_at=self.started_at
                ),
                finished_at=manifest.finished_at,
                place=self.place,
                marker_sha256=self._marker_sha256(),
            ),
        )
        check_owner(self.run, self._attempt)
        self.run.write(PLAN, plan)
        return plan

    def _lock(self, manifest: Manifest) -> ObjectLock | None:
        """Return how what is written is to be locked.

        A copy is locked as its original: the manifest there says so, and a verification there compares it. A lock that
        ends while this execution may still run is left out, since S3 takes no time that is over.
        """
        if not self.request.is_copy:
            return self.request.lock.from_time(self.started_at, is_shared=False) if self.request.lock else None
        lock = manifest.lock
        return lock if lock and lock.lasts_at(self.started_at + LONGEST_EXECUTION) else None

    def _check_lockable(self, bucket: str) -> None:
        if self.request.is_copy:
            why = f"backup '{self.request.backup_name}' is locked, and so is its copy"
            check_lockable(self._store, bucket, why=why, else_do="copy it when its lock has ended")
        else:
            check_lockable(self._store, bucket)

    def _marker_sha256(self) -> str:
        return ""

    def _capture(
        self, index: int, manifest: Manifest, entry: CollectionEntry, other_etags: Mapping[str, tuple[str, str]]
    ) -> None:
        """Check a collection of the original, and write down what it is and what to copy of it."""
        place = (self._store, self.run.bucket, self._original)
        if not manifest.meta_only:
            collection = replace(read_collection(*place, entry), other_etags=other_etags)
            with closing(ObjectTable(stored_objects(*place, collection))) as objects:
                raise_if_damaged(collection, check_objects(*place, collection, objects))
                has_target = self._write_target(index, entry, objects, other_etags)
        else:
            has_target = False
        # Last: it is what says that the collection is done.
        document = read_collection_document(*place, entry)
        snapshot = Snapshot(round=1, document=document, object_count=entry.object_count, has_target=has_target)
        self.run.write(snapshot_name(self._attempt, index), snapshot)

    def _write_target(
        self,
        index: int,
        entry: CollectionEntry,
        objects: ObjectTable,
        other_etags: Mapping[str, tuple[str, str]],  # noqa: ARG002 - of copies
    ) -> bool:
        """Write down what is to be copied of a collection; return whether that is anything."""
        # As a listing of Milvus' bucket has them: in the pool they lie in no order.
        is_in_pool = any(is_pooled(item.stored_key) for item in objects)
        order: Order = "source_key" if is_in_pool else "position"
        write_lines(self.run, exported_name(self._attempt, index), objects.sorted_by(order))
        layout = self._layout
        target = CopyTarget(index=index, name=str(entry.name), folders=layout.collection_folders(entry.collection_id))
        items = (
            CopyItem(item.stored_key, layout.log(log_of(item)), item.size_bytes, item.etag)
            for item in objects.sorted_by(order)
        )
        write_target(self.run, self._attempt, target, items)
        return True


def _of_original(manifest: Manifest) -> Iterator[str]:
    """Yield the warnings of the original as its export tells them: some say what was done to make the original."""
    for warning in manifest.warnings:
        yield warning if manifest.export_of else f"Of the original, '{manifest.backup_name}': {warning}"
