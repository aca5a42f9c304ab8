"""PrepareBackup: refuse what cannot work, claim the name, and write down what is to be done."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import Source
from milvus_vault.archive.tombstones import tombstone_key
from milvus_vault.backup.claiming import claim_name, is_published
from milvus_vault.backup.locking import check_lockable
from milvus_vault.backup.moment import Moment, take_moment
from milvus_vault.backup.pauses import Pauses
from milvus_vault.backup.publish import name_taken
from milvus_vault.backup.rights import backup_rights
from milvus_vault.backup.selection import ids_of, select_collections, select_databases
from milvus_vault.backup.working_files import PLAN, RBAC, BackupPlan
from milvus_vault.claims import CLAIM, Claims, check_owner
from milvus_vault.copying.working_files import write_job
from milvus_vault.errors import (
    DatabaseNotFoundError,
    MilvusPermissionError,
    VaultError,
    VersionUnsupportedError,
)
from milvus_vault.model.collections import CollectionName, DatabaseDescription
from milvus_vault.model.flushes import FlushAllPoint
from milvus_vault.model.names import attempt_of, short_hash
from milvus_vault.model.objects import CopyJob
from milvus_vault.model.requests import BackupRequest
from milvus_vault.model.versions import KNOWN, ServerVersion, can_back_up, has_flush_all
from milvus_vault.pool.users import PoolUse
from milvus_vault.ports import Executions, Flushes, GarbageCollector, Schemas, VectorDatabase
from milvus_vault.rights import by_database, check_rights
from milvus_vault.source import MilvusStorage, prove_storage
from milvus_vault.workspace import Workspace

# FlushAll waits for all collections at once; PrepareBackup may run as long as SnapshotBatch.
FLUSH_ALL_TIMEOUT_SECONDS = 600.0

# Property of a database whose data Milvus encrypts with a key of the database's own.
_ENCRYPTED = "cipher.ezID"


def default_name(started_at: datetime, execution_arn: str) -> str:
    """Return a name that is the same each time one execution asks: `backup_2026_11_22_03_00_00_1a2b`."""
    return f"backup_{started_at.astimezone(UTC):%Y_%m_%d_%H_%M_%S}_{short_hash(execution_arn, 4)}"


def check_source_version(server: ServerVersion) -> None:
    """Raise `VersionUnsupportedError` for a server that cannot be backed up."""
    if not server.is_known:
        msg = f"Milvus says '{server.text}' of its version, which names no release; only {KNOWN} are known"
        raise VersionUnsupportedError(msg, hint="Run a released Milvus; one built from the main branch is none.")
    if not can_back_up(server):
        msg = f"Milvus {server} cannot be backed up; {KNOWN} can"
        raise VersionUnsupportedError(msg, hint="Upgrade Milvus, or this program.")


def prepare_backup(
    run: Workspace,
    request: BackupRequest,
    *,
    layout: BackupLayout,
    database: VectorDatabase,
    executions: Executions,
    storage: MilvusStorage,
    garbage_collector: GarbageCollector | None,
    execution_arn: str,
    started_at: datetime,
    was_listed: Callable[[], bool],
    bases: Sequence[str] = (),
    damaged: Callable[[], Mapping[str, datetime]] = dict,
) -> BackupPlan | None:
    """Return what to do, or None where this very backup is published already.

    That is so where an execution with the same request died after the commit marker was written: it was killed, or
    the backup is partial. `was_listed` tells whether the catalogue has an entry of this name, as each backup has
    whose marker was written; `bases` are those backups that may have recorded what is in the pool, the newest first,
    and `damaged` tells which objects there were found to have other contents, and when.
    Raises what is wrong with the request or the deployment, and then leaves nothing behind but a note in the pool.
    """
    store = run.store
    claims = Claims(store, executions, run.bucket, execution_arn=execution_arn, run=run.run)

    def is_same(plan: BackupPlan) -> bool:
        return plan.export is None and plan.request == request

    if is_published(
        run,
        layout,
        claims,
        destination=run,
        was_listed=was_listed,
        is_same=is_same,
        name_taken=lambda found: name_taken(layout.name, [str(lost.name) for lost in found.failures] if found else []),
    ):
        return None
    if request.lock:
        check_lockable(store, run.bucket)
    server = database.server_version()
    check_source_version(server)
    databases = database.list_databases()
    collections = select_collections(request.collections, databases, database.list_collections)
    whole = select_databases(request.collections, databases)
    # Without a right Milvus may show no collection, and that is not to be taken for none.
    places = by_database(collections) or {name: [] for name in whole}
    check_rights(database, server, backup_rights(request), places)
    # Of a collection that goes after the moment the name alone would not tell, where another one gets it.
    ids = ids_of(collections, database.list_collections)
    has_moment = not (request.skip_flush or request.meta_only)
    # Early, since it has to be some time before the first flush: what comes in between is not waited for twice.
    moment = take_moment(database, collections) if has_moment else None
    rbac = database.backup_rbac() if request.include_rbac else None
    warnings: list[str] = []
    if request.meta_only or not prove_storage(store, database, storage, collections):
        # Else the proof has listed something there.
        store.check_bucket(storage.bucket)
        warnings += _unproven(request, collections, whole)
    claim_name(claims, run, layout.name)
    recent_since = _recent_since(run, moment) if moment else None
    # A prune that died left it, with objects that VerifyCopy deletes. One that lives would hold the claim.
    store.delete(run.bucket, [tombstone_key(layout.prefix, layout.name)])
    try:
        if request.mode == "incremental":
            PoolUse(run, execution_arn).begin()
        if garbage_collector and request.gc_pause and not request.meta_only:
            warnings += Pauses(store, run.bucket, run.prefix).begin(garbage_collector, execution_arn, datetime.now(UTC))
        job = CopyJob(source_bucket=storage.bucket, destination_bucket=run.bucket)
        write_job(run, attempt_of(execution_arn), job)
        concerned = sorted({*whole, *(name.database for name in collections)})
        described = tuple(_describe_databases(database, concerned, warnings))
        flushes_all = bool(collections) and _flushes_all(server, request)
        leaves_margin = moment is not None and not (flushes_all or moment.is_of_a_flush)
        if moment is not None:
            moment.wait(database, leaves_margin=leaves_margin)
        plan = BackupPlan(
            request=request,
            backup_name=layout.name,
            backup_id=f"{short_hash(execution_arn, 32)}",
            execution_arn=execution_arn,
            started_at=started_at,
            source=Source(milvus_version=str(server), bucket=storage.bucket, root_path=storage.root_path),
            databases=described,
            collections=tuple(collections),
            collection_ids=tuple(ids),
            moment=moment.timestamp if moment else 0,
            leaves_margin=leaves_margin,
            recent_since=recent_since,
            flush_all=_flush_all(database) if flushes_all else None,
            warnings=tuple(warnings),
            lock=request.lock.from_time(started_at, is_shared=request.mode == "incremental") if request.lock else None,
            bases=tuple(bases),
            damaged=dict(damaged()) if request.mode == "incremental" else {},
        )
        check_owner(run, attempt_of(execution_arn))
        if rbac is not None:
            run.write(RBAC, rbac)
        run.write(PLAN, plan)
    except VaultError:
        claims.give_back()
        raise
    return plan


def _unproven(request: BackupRequest, collections: Sequence[CollectionName], databases: Sequence[str]) -> Iterator[str]:
    """Yield what is to be said of a backup whose bucket and root path are not proven to be Milvus' own."""
    if not collections:
        yield f"There is no collection in {', '.join(databases)}: the backup holds databases and no rows."
    elif not request.meta_only:
        yield "No collection had flushed rows when the backup began: bucket and root path could not be proven then."


def _recent_since(run: Workspace, moment: Moment) -> datetime | None:
    """Return since when Milvus' objects may say something of a moment; None where S3 does not tell its time.

    What it tells is when it wrote the claim: after the moment was taken, or before, where this execution had it.
    """
    written_at = run.store.modified_at(run.bucket, run.key(CLAIM))
    return moment.recent_since(written_at) if written_at else None


def _describe_databases(database: Schemas, names: Sequence[str], warnings: list[str]) -> Iterator[DatabaseDescription]:
    """Yield the databases; one that this user may not describe is recorded by its name, with a warning."""
    for name in names:
        try:
            described = database.describe_database(name)
            if any(item.key == _ENCRYPTED and item.value for item in described.properties):
                warnings.append(f"Database {name} is encrypted, and its key is not in the backup")
            yield described
        except DatabaseNotFoundError:
            continue  # dropped since all were listed
        except MilvusPermissionError as err:
            warnings.append(f"The properties of database {name} are not in the backup: {err.message}")
            yield DatabaseDescription(name=name)


def _flushes_all(server: ServerVersion, request: BackupRequest) -> bool:
    is_wanted = request.collections is None and not request.skip_flush and not request.meta_only
    return is_wanted and has_flush_all(server)


def _flush_all(database: Flushes) -> FlushAllPoint | None:
    """Flush all collections in one call, which no rate limits; None where each is to be flushed by itself."""
    try:
        return database.flush_all(timeout_seconds=FLUSH_ALL_TIMEOUT_SECONDS)
    except MilvusPermissionError:
        # A right of its own: the collections may all be allowed to be flushed one by one.
        return None
