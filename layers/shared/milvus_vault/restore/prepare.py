"""PrepareRestore: refuse what cannot work, claim the targets, and write down what is to be done."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from milvus_vault.archive.added_vectors import COMPACT_HINT, older_segments
from milvus_vault.archive.check import check_objects, raise_if_damaged
from milvus_vault.archive.contents import Archive, ArchivedCollection, list_bytes
from milvus_vault.archive.layout import BackupLayout, join, log_of
from milvus_vault.archive.object_table import ObjectTable
from milvus_vault.archive.pool import is_pooled
from milvus_vault.archive.reader import read_archive, read_manifest, stored_objects
from milvus_vault.archive.remains import check_stays, deleted_meanwhile, marker_etag
from milvus_vault.catalogue import Catalogue
from milvus_vault.claims import CLAIM, ClaimHeldError, Claims, check_owner
from milvus_vault.copying.working_files import CopyPart, CopyTarget, write_job, write_target
from milvus_vault.errors import (
    BackupDamagedError,
    TargetClaimedError,
    VaultError,
    VersionUnsupportedError,
)
from milvus_vault.model.collections import DEFAULT_DATABASE, CollectionName, SegmentLevel
from milvus_vault.model.names import attempt_of, short_hash, temporary_prefix
from milvus_vault.model.objects import ArchivedObject, CopyJob
from milvus_vault.model.requests import RestoreRequest, VerifyLevel
from milvus_vault.model.resources import Verification
from milvus_vault.model.rights import Right
from milvus_vault.model.times import utc_second
from milvus_vault.model.versions import ServerVersion, check_target_version, has_import_jobs, parse_version
from milvus_vault.parallel import LISTS_AT_A_TIME_BYTES, SMALL_REQUESTS_AT_A_TIME, do_each, each
from milvus_vault.pool.doubts import Doubt, PoolDoubts
from milvus_vault.ports import Executions, ObjectStore, VectorDatabase
from milvus_vault.restore.aliases import check_switches
from milvus_vault.restore.content_check import ContentCheck, ContentsFound, level_of
from milvus_vault.restore.cut import cut_of, cut_to_read, doubts
from milvus_vault.restore.journal import Journal, JournalEntry
from milvus_vault.restore.loading import Loading, LoadPlanner, check_loading
from milvus_vault.restore.naming import resolve_targets, target_databases
from milvus_vault.restore.partitions import check_partitions, objects_in, partition_ids, with_partitions
from milvus_vault.restore.rbac import check_rbac, restore_rbac
from milvus_vault.restore.rights import restore_rights
from milvus_vault.restore.schema import can_be_added
from milvus_vault.restore.staging import CollectionImport, FoldLimits, can_lie
from milvus_vault.restore.staging_legacy import LegacyImport
from milvus_vault.restore.targets import TargetCheck, can_resume, check_takes_deletes, make_target, shards_of
from milvus_vault.restore.working_files import (
    PLAN,
    PREPARED,
    Cut,
    ImportSource,
    Prepared,
    RestorePlan,
    TargetDatabase,
    composed_folder,
    cut_done_name,
    cut_name,
    target_name,
)
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
# A call that is repeated writes at most so many targets again, which takes a second.
_NOTED_AT_A_TIME = 100
# Hexadecimal digits of a hash, of 48 bits: enough for the few that one run can have.
_IDENTITY_LENGTH = 12
_NEW_NAME_HINT = (
    "Leave out `skip_create`: a restore that makes the collection imports them before it adds the field(s)."
)


class Unchecked(NamedTuple):
    """Where the batches lie that CheckObjects is to look at before the restore can be prepared."""

    run: str
    batches_key: str


class _Checked(NamedTuple):
    """What the listing of a collection shows that is as it was."""

    can_lie: bool
    """Whether it can be imported from where it lies, as far as that was asked."""
    level: VerifyLevel
    is_doubted: bool
    contents: bytes
    """A hash of key and ETag of each object whose contents are to be checked."""


@dataclass(slots=True)
class _Listed:
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


class _Sources(NamedTuple):
    """What to import of a collection: rows, and what deletes come after them."""

    rows: tuple[ImportSource, ...] = ()
    deletes: tuple[ImportSource, ...] = ()
    cut: Cut | None = None
    """What has to be read first."""


class _Written(NamedTuple):
    """What is told of all collections whose targets are written."""

    row_count: int
    is_cut: bool


@dataclass(frozen=True, slots=True)
class RestorePreparation:
    """Everything that PrepareRestore works with."""

    run: Workspace
    request: RestoreRequest
    layout: BackupLayout
    database: VectorDatabase
    executions: Executions
    storage: MilvusStorage
    """The target Milvus' own bucket and root path."""
    staging_prefix: str
    execution_arn: str
    started_at: datetime
    fold_limits: FoldLimits
    check_count: int = 0
    """How often the batches of the content check were given to CheckObjects."""

    @property
    def _store(self) -> ObjectStore:
        return self.run.store

    @property
    def _copying_attempt(self) -> str:
        return attempt_of(self.execution_arn)

    def prepare(self) -> RestorePlan | Unchecked:
        """Return what to do, or what CheckObjects is to look at before it can be said.

        Raises what is wrong with the request, the backup or the target, and leaves nothing. What a content check finds
        is raised later, when the claims are those of a call before: they end with the execution.
        """
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
        self._check_shards(collections)
        if self.request.switch_aliases:
            check_switches(chosen, self.database)
        listed = self._check_objects(archive, collections, server)
        plan = RestorePlan(
            request=self.request,
            execution_arn=self.execution_arn,
            started_at=self.started_at,
            backup_etag=self._backup_etag(),
            backup_version=str(archive.milvus_version),
            server_version=str(server),
            content_checked=archive.has_checksums,
            is_staged=self._has_rows(archive) and bool(chosen) and not listed.can_import_in_place,
            staging_folder=join(self.staging_prefix, self.run.run) + "/",
            targets=tuple(target for _, target in chosen),
            databases=databases,
            warnings=(
                *archive.warnings,
                *(self._warnings(archive) if chosen else ()),
                *loads.warnings(),
                *doubts(self.request, collections),
                *(_doubted(name) for name in listed.doubted),
            ),
        )
        claims, target_claims = self._claims(self.run.bucket), self._claims(self.storage.bucket)
        try:
            self._claim(claims, target_claims, plan.targets)
            check_stays(self._store, self.run.bucket, self.layout, plan.backup_etag)
            progress, replaced = self._check_targets(chosen)
            found = ContentsFound({})
            if listed.levels:
                check = self._content_check(archive, listed)
                if (ended := check.check(self.check_count)) is None:
                    return Unchecked(check.run.run, check.batches_key)
                found = ended
            damaged = listed.damaged | {archive.collections[index].name: err for index, err in found.damaged.items()}
            self._refuse_damaged(damaged, collections)
            # What an earlier execution of this run imported no longer needs objects.
            left_out = {
                index: damaged[collection.name]
                for index, (collection, _) in enumerate(chosen)
                if collection.name in damaged and not progress[index].is_imported
            }
            update = {
                "read_count": found.read_count,
                "warnings": (*plan.warnings, *found.warnings, *map(_left_out, left_out.values())),
            }
            plan = self._write(plan.model_copy(update=update), archive, chosen, loading, progress, replaced, left_out)
            if rbac is not None:
                restore_rbac(rbac, self.database)
        except VaultError as err:
            target_claims.give_back()
            # After a failure that passes, the next call goes on with what this one has written.
            if not err.retryable:
                claims.give_back()
            raise
        return plan

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

    def _check_shards(self, collections: Sequence[ArchivedCollection]) -> None:
        """Ask a target for more shards than any takes that is set up as Milvus comes, before anything is copied."""
        if self.request.skip_create:
            return
        most = max((shards_of(self.request, collection) for collection in collections), default=0)
        if most > _SHARDS_OF_ANY:
            check_shards(self.database, self._probe("shards"), most)

    def _check_objects(
        self, archive: Archive, collections: Sequence[ArchivedCollection], server: ServerVersion
    ) -> _Listed:
        """Check that all objects are there and unchanged, and see which contents are to be checked, and how.

        Each list of objects is read again when the targets are written: kept until then, those of all collections
        would need more than the function's disk.
        """
        listed = _Listed(can_import_in_place=self.run.bucket == self.storage.bucket)
        if self._has_rows(archive):
            self._read_what_is_known(archive, collections, listed)
            found = each(
                lambda collection: self._check_objects_of(collection, server, archive, listed),
                collections,
                threads=SMALL_REQUESTS_AT_A_TIME,
                weight=list_bytes,
                max_weight=LISTS_AT_A_TIME_BYTES,
            )
            for collection, checked in zip(collections, found, strict=True):
                listed.add(collection.name, checked)
        return listed

    def _check_objects_of(
        self, collection: ArchivedCollection, server: ServerVersion, archive: Archive, listed: _Listed
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
        listed: _Listed,
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

    def _read_what_is_known(self, archive: Archive, collections: Sequence[ArchivedCollection], listed: _Listed) -> None:
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

    def _content_check(self, archive: Archive, listed: _Listed) -> ContentCheck:
        """Return the check of the contents that are to be checked."""
        return ContentCheck.of(
            self.run,
            self.layout,
            "deep" if "deep" in listed.levels.values() else "checksum",
            {
                index: self._part(collection)
                for index, collection in enumerate(archive.collections)
                if collection.name in listed.levels
            },
            listed.doubts,
            listed.contents.hexdigest()[:_IDENTITY_LENGTH],
        )

    def _refuse_damaged(
        self, damaged: Mapping[CollectionName, BackupDamagedError], collections: Sequence[ArchivedCollection]
    ) -> None:
        """Return if something is left to restore, as far as that is asked for. Raises `BackupDamagedError`."""
        if damaged and (not self.request.skip_damaged or len(damaged) == len(collections)):
            raise next(iter(damaged.values()))

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

    def _warnings(self, archive: Archive) -> Iterator[str]:
        """Yield what the report has to say; raises `WrongRootPathError` where the target's bucket is not Milvus'."""
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
        if not self._is_proven():
            yield (
                "The target holds no rows yet and refused one for a moment, so that its bucket could not be proven"
                " before the import."
            )

    def _is_proven(self) -> bool:
        """Return whether the target's bucket is proven to be Milvus' own: by rows that it holds, or else by a new one.

        Raises `WrongRootPathError`.
        """
        existing = all_collections(self.database, self.database.list_databases())
        if prove_storage(self._store, self.database, self.storage, existing):
            return True
        return prove_storage_by_a_row(self._store, self.database, self.storage, self._probe("probe"))

    def _probe(self, what: str) -> CollectionName:
        """Return the name of a collection that is made to see whether Milvus takes it, and dropped again."""
        return CollectionName(
            database=DEFAULT_DATABASE, name=f"{temporary_prefix(self.run.run)}{what}_{self._copying_attempt}"
        )

    def _check_targets(
        self, chosen: Sequence[tuple[ArchivedCollection, CollectionName]]
    ) -> tuple[dict[int, JournalEntry], list[int | None]]:
        """Return how far an earlier execution of this run came, and the ID of the collection that each target replaces.

        Raises what stands in the way in the target.
        """
        journal = Journal(self.run)
        progress = journal.read()
        check = TargetCheck(self.request, self.database, journal)
        gone = check.gone(chosen, progress)
        check_owner(self.run, self._copying_attempt)
        do_each(journal.forget, gone, threads=SMALL_REQUESTS_AT_A_TIME)
        for index in gone:
            del progress[index]
        replaced = check.replaced(chosen, progress)
        journal.forget_failures(index for index, entry in progress.items() if entry.has_failed)
        return progress, replaced

    def _write(
        self,
        plan: RestorePlan,
        archive: Archive,
        chosen: Sequence[tuple[ArchivedCollection, CollectionName]],
        loading: Sequence[Loading],
        progress: Mapping[int, JournalEntry],
        replaced: Sequence[int | None],
        left_out: Mapping[int, BackupDamagedError],
    ) -> RestorePlan:
        """Write down what is to become of each collection, and what to read and to copy for it."""
        journal = Journal(self.run)
        check_owner(self.run, self._copying_attempt)
        if plan.is_staged:
            job = CopyJob(source_bucket=self.run.bucket, destination_bucket=self.storage.bucket, lists_objects=False)
            write_job(self.run, self._copying_attempt, job)
        prepared = self._prepared(plan, loading, progress, replaced, left_out)
        # Each call has forgotten the failures of the one before, also of what that one has written down as prepared.
        do_each(lambda index: journal.fail(index, left_out[index]), left_out)

        def write(index: int) -> _Written:
            collection, name = chosen[index]
            sources = _Sources()
            if index not in left_out and self._has_rows(archive):
                is_staged = plan.is_staged and not progress[index].is_imported
                sources = self._sources(plan, index, self._part(collection), is_staged=is_staged)
            if sources.deletes and self.request.skip_create and not progress[index].is_imported:
                check_takes_deletes(self.database, name)
            target = make_target(self.request, index, self._part(collection), name, loading[index])
            found = {"imports": sources.rows, "deletes": sources.deletes, "replaces": replaced[index]}
            self.run.write(target_name(index), target.model_copy(update=found))
            is_cut = sources.cut is not None and not progress[index].is_imported
            if sources.cut is not None and is_cut:
                self.run.delete([cut_done_name(index)])
                self.run.write(cut_name(index), sources.cut)
            return _Written(sum(source.row_count for source in sources.rows), is_cut)

        row_counts, cuts = list(prepared.row_counts), list(prepared.cuts)
        for written in each(
            write,
            range(len(row_counts), len(chosen)),
            threads=SMALL_REQUESTS_AT_A_TIME,
            weight=lambda index: list_bytes(chosen[index][0]),
            max_weight=LISTS_AT_A_TIME_BYTES,
        ):
            cuts += [len(row_counts)] if written.is_cut else []
            row_counts.append(written.row_count)
            if len(row_counts) % _NOTED_AT_A_TIME == 0:
                self.run.write(PREPARED, Prepared(of=prepared.of, row_counts=tuple(row_counts), cuts=tuple(cuts)))
        plan = plan.model_copy(update={"cuts": tuple(cuts), "row_counts": tuple(row_counts)})
        check_owner(self.run, self._copying_attempt)
        self.run.write(PLAN, plan)
        return plan

    def _prepared(
        self,
        plan: RestorePlan,
        loading: Sequence[Loading],
        progress: Mapping[int, JournalEntry],
        replaced: Sequence[int | None],
        left_out: Iterable[int],
    ) -> Prepared:
        """Return what a call before this one has written down, if it knew of the same that is decided by it."""
        known = (
            self._copying_attempt,
            plan.model_dump_json(exclude={"warnings", "read_count"}),
            *map(str, loading),
            *map(str, replaced),
            *(f"{index} is left out" for index in sorted(left_out)),
            *(f"{index} is imported" for index in sorted(progress) if progress[index].is_imported),
            str(self.fold_limits),
        )
        of = short_hash("\n".join(known), _IDENTITY_LENGTH)
        found = self.run.find(PREPARED, Prepared)
        return found if found is not None and found.of == of else Prepared(of=of)

    def _has_rows(self, archive: Archive) -> bool:
        return not archive.meta_only and not self.request.meta_only

    def _part(self, collection: ArchivedCollection) -> ArchivedCollection:
        """Return what is to be restored of a collection."""
        return with_partitions(collection, self.request.partitions.get(str(collection.name)))

    def _objects(self, collection: ArchivedCollection) -> Iterator[ArchivedObject]:
        return stored_objects(self._store, self.run.bucket, self.layout, collection)

    def _claims(self, bucket: str) -> Claims:
        return Claims(self._store, self.executions, bucket, execution_arn=self.execution_arn, run=self.run.run)

    def _claim(self, claims: Claims, target_claims: Claims, targets: Iterable[CollectionName]) -> None:
        """Claim the run and its targets; forget what an earlier execution of it did, unless it can be resumed.

        It is forgotten even if a target is refused then: the next execution would take what the failed one left
        for its own.
        """
        try:
            previous = claims.take(self.run.key(CLAIM))
            if previous is None or not can_resume(
                self.run,
                previous,
                self.executions,
                backup_etag=self._backup_etag(),
                execution_arn=self.execution_arn,
            ):
                self.run.delete([name for name in self.run.names() if name != CLAIM])
            do_each(
                lambda target: target_claims.take(claim_key(self.staging_prefix, self.storage, target)),
                targets,
                threads=SMALL_REQUESTS_AT_A_TIME,
            )
        except ClaimHeldError as err:
            since = utc_second(err.holder.claimed_at)
            msg = f"execution {err.holder.execution_arn} is restoring to the same target since {since}"
            raise TargetClaimedError(
                msg, hint=f"Wait for it, or stop it. If it is long gone, delete the claim {err.key}."
            ) from err

    def _backup_etag(self) -> str:
        etag = marker_etag(self._store, self.run.bucket, self.layout)
        if etag is None:
            raise deleted_meanwhile(self.layout.name)
        return etag

    def _sources(self, plan: RestorePlan, index: int, collection: ArchivedCollection, *, is_staged: bool) -> _Sources:
        """Return what to import of a collection; where that is staged, write down what to copy."""
        objects = objects_in(collection, self._objects(collection))
        cut = cut_of(self.request, collection)
        base = f"{plan.staging_folder}{collection.collection_id}/" if plan.is_staged else self.layout.binlogs
        composed = self.run.key(composed_folder(index))
        if has_import_jobs(parse_version(plan.server_version)):
            cut_base = f"{plan.staging_folder}cut/{collection.collection_id}/"
            whole = CollectionImport.of(collection, objects, self.fold_limits, cut, composed)
            items = whole.staged_items(base)
            to_cut = whole.deletes_to_cut(cut_base)
            to_read = cut_to_read(self.request, collection, whole.objects, to_cut, whole.compositions)
            if plan.is_staged:
                sources = _Sources(whole.sources_staged(base), whole.deletes_staged(base, cut_base), to_read)
            else:
                sources = _Sources(whole.sources_in(base), cut=to_read)
        else:
            legacy = LegacyImport.of(collection, objects, copies=self.fold_limits.copies, composed=composed)
            items = legacy.staged_items(base)
            to_read = cut_to_read(self.request, collection, legacy.objects, (), legacy.compositions)
            sources = _Sources(legacy.sources(base, cut), cut=to_read)
        if is_staged:
            pairs = [pair for source in sources.rows for pair in source.pairs]
            # Those that are staged are imported while the others are copied, by their order.
            parts = [CopyPart(prefixes=tuple(filter(None, (pair.insert_prefix, pair.delta_prefix)))) for pair in pairs]
            target = CopyTarget(index=index, name=str(collection.name), folders=(base,), parts=tuple(parts))
            write_target(self.run, self._copying_attempt, target, items)
        return sources


def _left_out(error: BackupDamagedError) -> str:
    """Return the warning of a collection that is left out."""
    return f"Left out by `skip_damaged`: {error.message}"


def _doubted(name: CollectionName) -> str:
    return (
        f"A deep verification found objects of {name} damaged, and this restore did not read them, as `verify` says:"
        " rows of it may be missing or wrong."
    )


def claim_key(staging_prefix: str, storage: MilvusStorage, target: CollectionName) -> str:
    """Return the key of a target's claim.

    In Milvus' own bucket, and below its root path's name, so that restores of all stacks into this Milvus meet.
    """
    return join(staging_prefix, "claims", short_hash(storage.root_path), target.database, f"{target.name}.json")
