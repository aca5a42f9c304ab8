"""What a restore does, decided by looking alone: nothing is claimed, made or written.

PrepareRestore and the plan of a restore decide by the same code, so that the one refuses what the other refuses.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from milvus_vault.archive.added_vectors import COMPACT_HINT, older_segments
from milvus_vault.archive.check import check_objects, raise_if_damaged
from milvus_vault.archive.contents import Archive, ArchivedCollection, list_bytes
from milvus_vault.archive.layout import BackupLayout, join, log_of
from milvus_vault.archive.object_table import ObjectTable
from milvus_vault.archive.pool import is_pooled
from milvus_vault.archive.reader import read_archive, read_manifest, stored_objects
from milvus_vault.archive.remains import deleted_meanwhile, marker_etag
from milvus_vault.catalogue import Catalogue
from milvus_vault.errors import BackupDamagedError, VersionUnsupportedError
from milvus_vault.model.collections import CollectionName, SegmentLevel
from milvus_vault.model.objects import ArchivedObject, CopyItem
from milvus_vault.model.rbac import Rbac
from milvus_vault.model.requests import RestoreRequest, VerifyLevel
from milvus_vault.model.resources import Verification
from milvus_vault.model.rights import Right
from milvus_vault.model.versions import ServerVersion, check_target_version, has_import_jobs
from milvus_vault.parallel import LISTS_AT_A_TIME, LISTS_AT_A_TIME_BYTES, each
from milvus_vault.pool.doubts import Doubt, PoolDoubts
from milvus_vault.ports import ObjectStore, VectorDatabase
from milvus_vault.restore.aliases import check_switches
from milvus_vault.restore.content_check import level_of
from milvus_vault.restore.cut import check_not_after, cut_of, cut_to_read, doubts
from milvus_vault.restore.loading import Loading, LoadPlanner, check_loading
from milvus_vault.restore.naming import resolve_targets, target_databases
from milvus_vault.restore.partitions import check_partitions, objects_in, partition_ids, with_partitions
from milvus_vault.restore.rbac import check_rbac
from milvus_vault.restore.rights import restore_rights
from milvus_vault.restore.schema import can_be_added
from milvus_vault.restore.staging import CollectionImport, FoldLimits, can_lie
from milvus_vault.restore.staging_legacy import LegacyImport
from milvus_vault.restore.targets import shards_of
from milvus_vault.restore.working_files import Cut, ImportSource, TargetDatabase, composed_folder
from milvus_vault.rights import by_database, check_rights
from milvus_vault.source import (
    MilvusStorage,
    all_collections,
    check_shards,
    prove_storage,
    prove_storage_by_a_row,
)
from milvus_vault.verifying.planning import MOST_DAMAGED
from milvus_vault.workspace import Workspace

# proxy.maxShardNum as Milvus comes; where somebody has lowered it, the collection fails by itself, by that name.
_SHARDS_OF_ANY = 16
_NEW_NAME_HINT = (
    "Leave out `skip_create`: a restore that makes the collection imports them before it adds the field(s)."
)


class _Checked(NamedTuple):
    """What the listing of a collection shows that is as it was."""

    can_lie: bool
    """Whether it can be imported from where it lies, as far as that was asked."""
    level: VerifyLevel
    is_doubted: bool
    contents: bytes
    """A hash of key and ETag of each object whose contents are to be checked."""


@dataclass(slots=True)
class Listed:
    """What the listings of all collections show."""

    can_import_in_place: bool
    damaged: dict[CollectionName, BackupDamagedError] = field(default_factory=dict)
    """Those that are left out, and why."""
    last: Verification | None = None
    """What the backup's last verification found; None where there is none that can be read."""
    doubts: Mapping[str, Doubt] = field(default_factory=dict)
    """Of the pool, by key, in the groups of the restored collections."""
    levels: dict[CollectionName, VerifyLevel] = field(default_factory=dict)
    """How the contents of the others are to be checked."""
    doubted: list[CollectionName] = field(default_factory=list)
    """Of which a deep verification found damage that this restore does not look for."""
    contents: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    """Of what the collections have, of all objects whose contents are to be checked."""

    def add(self, name: CollectionName, found: _Checked | BackupDamagedError) -> None:
        """Add what the listing of a collection shows. Collections are added in their order."""
        if isinstance(found, BackupDamagedError):
            self.damaged[name] = found
            return
        self.can_import_in_place &= found.can_lie
        if found.level != "quick":
            self.levels[name] = found.level
            self.contents.update(found.contents)
        if found.level != "deep" and found.is_doubted:
            self.doubted.append(name)


class Sources(NamedTuple):
    """What to import of a collection: rows, and what deletes come after them."""

    rows: tuple[ImportSource, ...] = ()
    deletes: tuple[ImportSource, ...] = ()
    cut: Cut | None = None
    """What has to be read first."""
    items: Iterable[CopyItem] = ()
    """What is copied for it, if it is staged, in the order of the imports."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a restore does, as far as neither a claim nor what an earlier execution of it did has a say."""

    archive: Archive
    chosen: Sequence[tuple[ArchivedCollection, CollectionName]]
    """The collections of the backup with their targets; their positions are the indexes of the run."""
    databases: tuple[TargetDatabase, ...]
    rbac: Rbac | None
    server: ServerVersion
    loading: Sequence[Loading]
    """Of each of `chosen`."""
    has_rows: bool
    listed: Listed
    is_listed: bool
    """Whether all objects were compared with what S3 has: else there are too many for who decides."""
    backup_etag: str
    warnings: tuple[str, ...]
    untried: tuple[str, ...]
    """What a run tries by making something, and was not."""

    @property
    def collections(self) -> list[ArchivedCollection]:
        """Return the collections of the backup that are restored."""
        return [collection for collection, _ in self.chosen]

    @property
    def is_staged(self) -> bool:
        """Return whether objects are copied into Milvus' bucket first; as far as nothing was listed, that they are."""
        return self.has_rows and bool(self.chosen) and not self.listed.can_import_in_place


@dataclass(frozen=True, slots=True)
class RestoreDecider(ABC):
    """Decides what a restore does, and whether it can."""

    run: Workspace
    request: RestoreRequest
    layout: BackupLayout
    database: VectorDatabase
    storage: MilvusStorage
    """The target Milvus' own bucket and root path."""
    staging_prefix: str
    fold_limits: FoldLimits

    @property
    def _store(self) -> ObjectStore:
        return self.run.store

    @property
    def staging_folder(self) -> str:
        """Return where in Milvus' bucket objects are staged, with a slash at its end."""
        return join(self.staging_prefix, self.run.run) + "/"

    def decide(self) -> Decision:
        """Return what the restore does. Raises what is wrong with the request, the backup or the target."""
        archive = read_archive(self._store, self.run.bucket, self.layout)
        there = [collection.name for collection in archive.collections]
        targets = resolve_targets(self.request, there, archive.databases)
        collections = sorted(
            (collection for collection in archive.collections if collection.name in targets.collections),
            key=lambda collection: (collection.name.database, collection.name.name),
        )
        chosen = [(collection, targets.collections[collection.name]) for collection in collections]
        databases = tuple(target_databases(archive, targets))
        check_partitions(self.request.partitions, list(targets.collections))
        for collection in collections:
            self._part(collection)
        check_loading(self.request, collections)
        rbac = check_rbac(archive) if self.request.rbac else None
        server = self.database.server_version()
        check_target_version(archive.milvus_version, server, allow_version=self.request.allow_version)
        self._check_rights(server, chosen, databases, has_rows=self._has_rows(archive))
        loads = LoadPlanner(self.request, self.database)
        loading = [loads.plan(collection) for collection in collections]
        untried = list(self._check_shards(collections))
        if self.request.switch_aliases:
            check_switches(chosen, self.database)
        if self._has_rows(archive):
            check_not_after(self.request, (collection.moment for collection in collections))
        is_listed = self._may_list(archive, collections)
        listed = self._check_objects(archive, collections, server) if is_listed else Listed(can_import_in_place=False)
        etag = self._backup_etag()
        warnings = [*archive.warnings, *(self._warnings(archive, untried) if chosen else ())]
        return Decision(
            archive=archive,
            chosen=chosen,
            databases=databases,
            rbac=rbac,
            server=server,
            loading=loading,
            has_rows=self._has_rows(archive),
            listed=listed,
            is_listed=is_listed,
            backup_etag=etag,
            warnings=(
                *warnings,
                *loads.warnings(),
                *doubts(self.request, collections),
                *(_doubted(name) for name in listed.doubted),
            ),
            untried=tuple(untried),
        )

    @abstractmethod
    def _probe(self, what: str) -> CollectionName | None:
        """Return the name of a collection that may be made, to see whether Milvus takes it; None: nothing may be."""

    @abstractmethod
    def _may_list(self, archive: Archive, collections: Sequence[ArchivedCollection]) -> bool:
        """Return whether there is time to compare all objects with what S3 has."""

    def _check_rights(
        self,
        server: ServerVersion,
        chosen: Sequence[tuple[ArchivedCollection, CollectionName]],
        databases: Iterable[TargetDatabase],
        *,
        has_rows: bool,
    ) -> None:
        there = self.database.list_databases()
        places = by_database(name for _, name in chosen)
        rights = restore_rights(
            server,
            self.request,
            [collection for collection, _ in chosen],
            has_rows=has_rows,
            has_aliases=self.request.drop_existing and any(map(self.database.list_aliases, places.keys() & there)),
            makes_databases=not {database.name for database in databases} <= {*there},
        )
        # Without skip_create the work is done under names that nobody could have granted rights on.
        named = places if self.request.skip_create else dict.fromkeys(places, ())
        check_rights(self.database, server, rights, named)

    def _check_shards(self, collections: Sequence[ArchivedCollection]) -> Iterator[str]:
        """Ask a target for more shards than any takes that is set up as Milvus comes, before anything is copied.

        Yields what was not tried.
        """
        if self.request.skip_create:
            return
        most = max((shards_of(self.request, collection) for collection in collections), default=0)
        if most <= _SHARDS_OF_ANY:
            return
        if probe := self._probe("shards"):
            check_shards(self.database, probe, most)
        else:
            yield f"Whether Milvus takes a collection of {most} shards is tried when the restore begins."

    def _check_objects(
        self, archive: Archive, collections: Sequence[ArchivedCollection], server: ServerVersion
    ) -> Listed:
        """Check that all objects are there and unchanged, and see which contents are to be checked, and how.

        Each list of objects is read again when the targets are written: kept until then, those of all collections
        would need more than the function's disk.
        """
        listed = Listed(can_import_in_place=self.run.bucket == self.storage.bucket)
        if self._has_rows(archive):
            self._read_what_is_known(archive, collections, listed)
            found = each(
                lambda collection: self._check_objects_of(collection, server, archive, listed),
                collections,
                threads=LISTS_AT_A_TIME,
                weight=list_bytes,
                max_weight=LISTS_AT_A_TIME_BYTES,
            )
            for collection, checked in zip(collections, found, strict=True):
                listed.add(collection.name, checked)
        return listed

    def _check_objects_of(
        self, collection: ArchivedCollection, server: ServerVersion, archive: Archive, listed: Listed
    ) -> _Checked | BackupDamagedError:
        """Return what the listing of a collection shows; where that is damage, and not to be raised, the damage."""
        with closing(ObjectTable(self._objects(collection))) as objects:
            check = check_objects(self._store, self.run.bucket, self.layout, collection, objects)
            try:
                raise_if_damaged(collection, check)
                self._check_vectors(collection, objects, server)
            except BackupDamagedError as err:
                if not self.request.skip_damaged:
                    raise
                return err
            return self._checked(collection, objects, server, archive, listed, has_extra=bool(check.extra))

    def _checked(
        self,
        collection: ArchivedCollection,
        objects: ObjectTable,
        server: ServerVersion,
        archive: Archive,
        listed: Listed,
        *,
        has_extra: bool,
    ) -> _Checked:
        """Return what is to be known of a collection whose objects are as they were."""
        # An import takes all that lies in a folder, so one with anything else in it has to be staged.
        # Of a pool it takes what is other backups', and finds no segment in the names.
        is_in_place = listed.can_import_in_place and not has_extra
        is_in_place = is_in_place and not any(is_pooled(item.stored_key) for item in objects)
        if is_in_place and has_import_jobs(server):
            is_in_place = can_lie(collection, map(log_of, objects))
        elif any(segment.level is SegmentLevel.L0 for segment in collection.segments):
            is_in_place = False
        part = self._part(collection)
        damaged = listed.last.damaged_contents if listed.last else {}
        known = damaged.keys() | listed.doubts.keys()
        is_doubted = len(damaged) >= MOST_DAMAGED or (
            bool(known) and any(item.stored_key in known for item in objects_in(part, objects))
        )
        level = level_of(
            self.request.verify, has_checksums=archive.has_checksums, last=listed.last, is_doubted=is_doubted
        )
        contents = hashlib.sha256()
        if level != "quick":
            wanted = partition_ids(part)
            for item, etag in objects.noted():
                if log_of(item).partition_id in wanted:
                    contents.update(f"{item.stored_key} {etag}\n".encode())
        return _Checked(is_in_place, level, is_doubted, contents.digest())

    def _read_what_is_known(self, archive: Archive, collections: Sequence[ArchivedCollection], listed: Listed) -> None:
        """Add what verifications found of the backup, and of objects of the pool that it shares.

        The pool is asked in one listing, and only for an incremental backup.
        """
        store, bucket, prefix = self._store, self.run.bucket, self.run.prefix
        manifest = read_manifest(store, bucket, self.layout)
        with suppress(ValueError):
            listed.last = Catalogue(store, bucket, prefix).verification_of(
                archive.name, manifest.finished_at if manifest else None
            )
        if manifest and manifest.is_incremental:
            names = {collection.name for collection in collections}
            listed.doubts = PoolDoubts(store, bucket, prefix).read(
                frozenset(entry.group for entry in manifest.collections if entry.name in names and entry.group)
            )

    def _check_vectors(
        self, collection: ArchivedCollection, objects: Iterable[ArchivedObject], server: ServerVersion
    ) -> None:
        """Return if rows that are older than a vector field can be imported before it is added.

        Raises `VersionUnsupportedError`, or `MilvusPermissionError` where the user may not add fields.
        """
        part = self._part(collection)
        schema = part.layout.collection_schema
        older = older_segments(schema, part.segments, (log_of(item) for item in objects))
        if older is None:
            return
        msg = f"{older.of(part.name)} (milvus-io/milvus#53361)"
        if self.request.skip_create:
            msg += "; with `skip_create` they are there already"
            raise VersionUnsupportedError(msg, hint=_NEW_NAME_HINT)
        if not (older.are_whole and can_be_added(schema, older.first_field)):
            raise VersionUnsupportedError(msg, hint=COMPACT_HINT)
        check_rights(self.database, server, [Right.ADD_COLLECTION_FIELD], {part.name.database: ()})

    def _warnings(self, archive: Archive, untried: list[str]) -> Iterator[str]:
        """Yield what the report has to say, and add what was not tried.

        Raises `WrongRootPathError` where the target's bucket is not Milvus'.
        """
        if not self._has_rows(archive):
            if not self.request.meta_only:
                yield "The backup holds metadata only: the collections are restored without rows."
            return
        if not archive.has_checksums and self.request.verify not in {None, "deep"}:
            yield "The backup has no checksums: presence and size of its objects were checked, their content was not."
        self._store.check_bucket(self.storage.bucket)
        health = self.database.health()
        for limit in health.limits:
            yield f"Milvus had reached a limit when the restore began: {limit}"
        if health.warning:
            yield f"When the restore began: {health.warning}."
        # The bucket is proven to be Milvus' own by rows that Milvus holds, or else by a new one.
        existing = all_collections(self.database, self.database.list_databases())
        if prove_storage(self._store, self.database, self.storage, existing):
            return
        probe = self._probe("probe")
        if probe is None:
            untried.append(
                f"The target holds no rows yet: whether s3://{self.storage.bucket} is its own bucket is tried with one"
                " when the restore begins."
            )
        elif not prove_storage_by_a_row(self._store, self.database, self.storage, probe):
            yield (
                "The target holds no rows yet and refused one for a moment, so that its bucket could not be proven"
                " before the import."
            )

    def sources(self, decision: Decision, index: int) -> Sources:
        """Return what to import of a collection by its index, and what to copy for that if it is staged."""
        collection = self._part(decision.chosen[index][0])
        objects = objects_in(collection, self._objects(collection))
        cut = cut_of(self.request, collection)
        base = self.base(decision, collection)
        composed = self.run.key(composed_folder(index))
        if has_import_jobs(decision.server):
            cut_base = f"{self.staging_folder}cut/{collection.collection_id}/"
            whole = CollectionImport.of(collection, objects, self.fold_limits, cut, composed)
            to_cut = whole.deletes_to_cut(cut_base)
            to_read = cut_to_read(self.request, collection, whole.objects, to_cut, whole.compositions)
            if not decision.is_staged:
                return Sources(whole.sources_in(base), cut=to_read)
            deletes = whole.deletes_staged(base, cut_base)
            return Sources(whole.sources_staged(base), deletes, to_read, whole.staged_items(base))
        legacy = LegacyImport.of(collection, objects, copies=self.fold_limits.copies, composed=composed)
        to_read = cut_to_read(self.request, collection, legacy.objects, (), legacy.compositions)
        return Sources(legacy.sources(base, cut), cut=to_read, items=legacy.staged_items(base))

    def base(self, decision: Decision, collection: ArchivedCollection) -> str:
        """Return below which folder the logs of a collection lie when it is imported, with a slash at its end."""
        return f"{self.staging_folder}{collection.collection_id}/" if decision.is_staged else self.layout.binlogs

    def _has_rows(self, archive: Archive) -> bool:
        return not archive.meta_only and not self.request.meta_only

    def _part(self, collection: ArchivedCollection) -> ArchivedCollection:
        """Return what is to be restored of a collection."""
        return with_partitions(collection, self.request.partitions.get(str(collection.name)))

    def _objects(self, collection: ArchivedCollection) -> Iterator[ArchivedObject]:
        return stored_objects(self._store, self.run.bucket, self.layout, collection)

    def _backup_etag(self) -> str:
        etag = marker_etag(self._store, self.run.bucket, self.layout)
        if etag is None:
            raise deleted_meanwhile(self.layout.name)
        return etag


def left_out_warning(error: BackupDamagedError) -> str:
    """Return the warning of a collection that is left out."""
    return f"Left out by `skip_damaged`: {error.message}"


def refuse_damaged(
    request: RestoreRequest,
    damaged: Mapping[CollectionName, BackupDamagedError],
    collections: Sequence[ArchivedCollection],
) -> None:
    """Return if something is left to restore, as far as that is asked for. Raises `BackupDamagedError`."""
    if damaged and (not request.skip_damaged or len(damaged) == len(collections)):
        raise next(iter(damaged.values()))


def _doubted(name: CollectionName) -> str:
    return (
        f"A deep verification found objects of {name} damaged, and this restore did not read them, as `verify` says:"
        " rows of it may be missing or wrong."
    )
