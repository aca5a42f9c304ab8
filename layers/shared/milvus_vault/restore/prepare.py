"""PrepareRestore: refuse what cannot work, claim the targets, and write down what is to be done."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from milvus_vault.archive.check import check_objects, raise_if_damaged
from milvus_vault.archive.contents import Archive, ArchivedCollection, ArchivedPartition
from milvus_vault.archive.layout import DELTA_LOG, INSERT_LOG, BackupLayout, join, parse_log_key
from milvus_vault.archive.reader import read_archive, read_objects
from milvus_vault.claims import DIED, ClaimHeldError, Claims
from milvus_vault.copying.documents import CopyJob, CopyTarget, write_job, write_target
from milvus_vault.errors import TargetClaimedError, VaultError
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.names import attempt_of, short_hash
from milvus_vault.model.objects import ArchivedObject, CopyItem
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.ports import Executions, ObjectStore, VectorDatabase
from milvus_vault.restore.documents import CLAIM, PLAN, ImportSource, RestorePlan, Target, target_name
from milvus_vault.restore.journal import Journal
from milvus_vault.restore.naming import resolve_targets
from milvus_vault.restore.targets import TargetCheck
from milvus_vault.restore.versions import check_target_version
from milvus_vault.source import MilvusStorage, prove_storage
from milvus_vault.workspace import Workspace


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

    @property
    def _store(self) -> ObjectStore:
        return self.run.store

    @property
    def _attempt(self) -> str:
        return attempt_of(self.execution_arn)

    @property
    def _staging_folder(self) -> str:
        return join(self.staging_prefix, self.run.run) + "/"

    def prepare(self) -> RestorePlan:
        """Return what to do. Raises what is wrong with the request, the backup or the target, and leaves nothing."""
        archive = read_archive(self._store, self.run.bucket, self.layout)
        targets = resolve_targets(self.request, [collection.name for collection in archive.collections])
        chosen = [
            (collection, targets[collection.name])
            for collection in sorted(archive.collections, key=lambda c: (c.name.database, c.name.name))
            if collection.name in targets
        ]
        server = self.database.server_version()
        check_target_version(archive.milvus_version, server, allow_version=self.request.allow_version)
        warnings = list(archive.warnings)
        # Twice the objects are read: here to check them all before anything is touched, and below to write them
        # down. Kept in between they would need a gigabyte for a million.
        can_import_in_place = self.run.bucket == self.storage.bucket
        if self._has_rows(archive):
            for collection, _ in chosen:
                check = check_objects(self._store, self.run.bucket, self.layout, collection, self._objects(collection))
                raise_if_damaged(collection, check)
                # An import takes all that lies in a folder, so one with anything else in it has to be staged.
                can_import_in_place &= not check.extra
            if not archive.has_checksums:
                warnings.append(
                    "The backup has no checksums: presence and size of its objects were checked, their content was not."
                )
            warnings += self._prove_target()
        elif not self.request.meta_only:
            warnings.append("The backup holds metadata only: the collections are restored without rows.")

        claims = Claims(
            self._store, self.executions, self.run.bucket, execution_arn=self.execution_arn, run=self.run.run
        )
        target_claims = Claims(
            self._store, self.executions, self.storage.bucket, execution_arn=self.execution_arn, run=self.run.run
        )
        try:
            self._claim(claims, target_claims, [target for _, target in chosen])
            journal = Journal(self.run)
            progress = journal.read()
            replaced = TargetCheck(self.request, self.database, journal).replaced(chosen, progress)
            journal.forget_failures(index for index, entry in progress.items() if entry.has_failed)
            plan = RestorePlan(
                request=self.request,
                execution_arn=self.execution_arn,
                started_at=self.started_at,
                backup_origin=archive.origin,
                backup_version=str(archive.milvus_version),
                server_version=str(server),
                content_checked=archive.has_checksums,
                is_staged=self._has_rows(archive) and not can_import_in_place,
                staging_folder=self._staging_folder,
                targets=tuple(target for _, target in chosen),
                warnings=tuple(warnings),
            )
            for index, (collection, name) in enumerate(chosen):
                target = self._target(archive, plan, index, collection, name, replaced[index])
                self.run.write(target_name(index), target)
            if plan.is_staged:
                write_job(
                    self.run,
                    self._attempt,
                    CopyJob(source_bucket=self.run.bucket, destination_bucket=self.storage.bucket),
                )
            self.run.write(PLAN, plan)
        except VaultError:
            target_claims.give_back()
            claims.give_back()
            raise
        return plan

    def _has_rows(self, archive: Archive) -> bool:
        return not archive.meta_only and not self.request.meta_only

    def _objects(self, collection: ArchivedCollection) -> list[ArchivedObject]:
        return read_objects(self._store, self.run.bucket, self.layout, collection)

    def _prove_target(self) -> list[str]:
        """Prove that what is staged comes to where the target Milvus looks: elsewhere it would import no rows."""
        self._store.check_bucket(self.storage.bucket)
        if prove_storage(self._store, self.database, self.storage, self._existing()):
            return []
        return ["The target holds no rows yet, so that its bucket could not be proven before the import."]

    def _existing(self) -> Iterator[CollectionName]:
        for database in self.database.list_databases():
            for name in self.database.list_collections(database):
                yield CollectionName(database=database, name=name)

    def _claim(self, claims: Claims, target_claims: Claims, targets: list[CollectionName]) -> None:
        """Claim the run and its targets; forget what an earlier run of the same request did, unless it was killed."""
        try:
            previous = claims.take(self.run.key(CLAIM))
            for target in targets:
                target_claims.take(claim_key(self.staging_prefix, self.storage, target))
        except ClaimHeldError as err:
            since = f"{err.holder.claimed_at:%Y-%m-%d %H:%M:%S} UTC"
            msg = f"execution {err.holder.execution_arn} is restoring to the same target since {since}"
            raise TargetClaimedError(
                msg, hint=f"Wait for it, or stop it. If it is long gone, delete the claim {err.key}."
            ) from err
        if previous is None or (
            previous.execution_arn != self.execution_arn and self.executions.status(previous.execution_arn) not in DIED
        ):
            self.run.delete([name for name in self.run.names() if name != CLAIM])

    def _target(
        self,
        archive: Archive,
        plan: RestorePlan,
        index: int,
        collection: ArchivedCollection,
        name: CollectionName,
        replaces: int | None,
    ) -> Target:
        imports: tuple[ImportSource, ...] = ()
        if self._has_rows(archive):
            imports = self._imports(plan, index, collection)
        loaded = tuple(partition.name for partition in collection.partitions if partition.is_loaded)
        shards = min(collection.layout.shards, self.request.max_shards or collection.layout.shards)
        return Target(
            index=index,
            source=collection.name,
            name=name,
            collection_id=collection.collection_id,
            layout=collection.layout.model_copy(update={"shards": shards}),
            indexes=collection.indexes,
            aliases=collection.aliases,
            load_state=collection.load_state,
            replicas=collection.replicas,
            loaded_partitions=loaded if 0 < len(loaded) < len(collection.partitions) else (),
            imports=imports,
            live_row_count=collection.live_row_count,
            replaces=replaces,
        )

    def _imports(self, plan: RestorePlan, index: int, collection: ArchivedCollection) -> tuple[ImportSource, ...]:
        """Return what to import, one source a partition; where that is staged, write down what to copy."""
        objects = self._objects(collection)
        base = self.layout.binlogs
        if plan.is_staged:
            base = f"{plan.staging_folder}{collection.collection_id}/"
            items = [CopyItem(o.stored_key, staged_key(base, o), o.size_bytes, o.etag) for o in objects]
            write_target(
                self.run, self._attempt, CopyTarget(index=index, name=str(collection.name), folders=(base,)), items
            )
        deleted = defaultdict(bool)
        for listed in objects:
            if (key := parse_log_key(listed.source_key)) and key.kind == DELTA_LOG:
                deleted[key.partition_id] = True
        return tuple(
            self._import(base, collection, partition, has_deletes=deleted[partition.partition_id])
            for partition in collection.partitions
            if partition.segments
        )

    @staticmethod
    def _import(
        base: str, collection: ArchivedCollection, partition: ArchivedPartition, *, has_deletes: bool
    ) -> ImportSource:
        below = f"{collection.collection_id}/{partition.partition_id}/"
        return ImportSource(
            partition=partition.name,
            insert_prefix=f"{base}{INSERT_LOG}/{below}",
            delta_prefix=f"{base}{DELTA_LOG}/{below}" if has_deletes else "",
            row_count=partition.row_count,
        )


def staged_key(base: str, item: ArchivedObject) -> str:
    """Return where an object is staged: as Milvus itself lays it out, without the backup's group folders."""
    key = parse_log_key(item.source_key)
    if key is None:
        msg = f"not a log of Milvus: {item.source_key}"
        raise ValueError(msg)
    below = f"{key.collection_id}/{key.partition_id}/{key.segment_id}"
    return (
        f"{base}{key.kind}/{below}/{key.log_id}"
        if key.kind == DELTA_LOG
        else f"{base}{key.kind}/{below}/{key.field_id}/{key.log_id}"
    )


def claim_key(staging_prefix: str, storage: MilvusStorage, target: CollectionName) -> str:
    """Return the key of a target's claim.

    In Milvus' own bucket, and below its root path's name, so that restores of all stacks into this Milvus meet.
    """
    return join(staging_prefix, "claims", short_hash(storage.root_path), target.database, f"{target.name}.json")
