"""InspectMilvus: look at Milvus and its bucket for the API, whose function can reach neither.

Not a state of a machine but a door: the API's function invokes it and waits.
"""

from collections.abc import Callable, Mapping

from milvus_vault.adapters.milvus_secret import read_access
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import Source
from milvus_vault.backup.locking import check_lockable
from milvus_vault.backup.prepare import check_source_version
from milvus_vault.catalogue import Catalogue
from milvus_vault.connection import connect_for_imports, connect_milvus
from milvus_vault.errors import InvalidRequestError
from milvus_vault.inspection.check import Deployment, check_deployment
from milvus_vault.inspection.collections import InspectedMilvus
from milvus_vault.inspection.estimate import estimate_backup
from milvus_vault.inspection.restore_plan import RestorePlanner
from milvus_vault.model.base import Model
from milvus_vault.model.messages import InspectMilvusRequest, InspectMilvusResult, TargetsFound
from milvus_vault.model.resources import Selection
from milvus_vault.pool.sharing import Pool
from milvus_vault.restore.staging import FoldLimits
from milvus_vault.restore.targets import find_occupied
from milvus_vault.runtime import task
from milvus_vault.settings import MilvusSettings, RestoreSettings, StorageSettings
from milvus_vault.stores import open_store, open_workspace
from milvus_vault.wiring import milvus_storage, open_garbage_collector, restore_run_of


@task
def handler(event: InspectMilvusRequest) -> InspectMilvusResult:
    """Return what was found. Safe to repeat: it writes only a probe, and removes it."""
    return InspectMilvusResult(found=_INSPECTIONS[event.inspection](event).model_dump(mode="json"))


def _collections(event: InspectMilvusRequest) -> Model:
    storage, milvus = StorageSettings.from_env(), MilvusSettings.from_env()
    with connect_milvus(milvus) as database:
        inspected = InspectedMilvus(database, open_store(storage), milvus_storage(storage))
        return inspected.list(limit=event.limit, token=event.token, database=event.database, sizes=event.sizes)


def _estimate(event: InspectMilvusRequest) -> Model:
    storage, milvus = StorageSettings.from_env(), MilvusSettings.from_env()
    store, where = open_store(storage), milvus_storage(storage)
    bucket, prefix = storage.backup_bucket_name, storage.backup_prefix
    with connect_milvus(milvus) as database:
        pool = None
        if event.backup.mode == "incremental":
            version = str(database.server_version())
            source = Source(milvus_version=version, bucket=where.bucket, root_path=where.root_path)
            schedule = event.backup.schedule.name if event.backup.schedule else None
            bases = Catalogue(store, bucket, prefix).incremental(where.location, schedule)
            # Nothing is copied, so that no key is needed that is this attempt's own.
            pool = Pool(store, bucket, prefix, source, "", tuple(bases))
        return estimate_backup(InspectedMilvus(database, store, where), event.backup, pool)


def _selection(event: InspectMilvusRequest) -> Model:
    storage, milvus = StorageSettings.from_env(), MilvusSettings.from_env()
    store = open_store(storage)
    if event.backup.lock:
        check_lockable(store, storage.backup_bucket_name)
    with connect_milvus(milvus) as database:
        check_source_version(database.server_version())
        inspected = InspectedMilvus(database, store, milvus_storage(storage))
        return Selection(collection_count=len(inspected.select(event.backup.collections)))


def _targets(event: InspectMilvusRequest) -> Model:
    if event.restore is None:
        raise _which_restore()
    milvus = MilvusSettings.from_env()
    run = restore_run_of(event.restore, milvus.milvus_uri, milvus_storage(StorageSettings.from_env()))
    with connect_milvus(milvus) as database:
        version = str(database.server_version())
        return TargetsFound(run=run, server_version=version, occupied=find_occupied(database, event.targets))


def _plan(event: InspectMilvusRequest) -> Model:
    storage, milvus, fold = StorageSettings.from_env(), MilvusSettings.from_env(), RestoreSettings.from_env()
    if event.restore is None:
        raise _which_restore()
    target = milvus_storage(storage)
    with connect_for_imports(milvus) as connected:
        return RestorePlanner(
            run=open_workspace(storage, restore_run_of(event.restore, milvus.milvus_uri, target)),
            request=event.restore,
            layout=BackupLayout(storage.backup_prefix, event.restore.backup_name),
            database=connected.database,
            storage=target,
            staging_prefix=storage.staging_prefix,
            fold_limits=FoldLimits(fold.fold_copies, fold.fold_segment_bytes),
            importer=connected.importer,
        ).plan()


def _which_restore() -> InvalidRequestError:
    return InvalidRequestError("of which restore?", hint="Give `restore`.")


def _check(_: InspectMilvusRequest) -> Model:
    storage, milvus = StorageSettings.from_env(), MilvusSettings.from_env()

    def read_secret() -> str:
        if not milvus.milvus_secret_arn:
            return "none is configured: Milvus is to ask for no password"
        access = read_access(milvus.milvus_secret_arn)
        who = f"the password of {access.username}" if access.username else "a token" if access.token else "certificates"
        return f"{who} can be read"

    return check_deployment(
        Deployment(
            store=open_store(storage),
            bucket=storage.backup_bucket_name,
            prefix=storage.backup_prefix,
            storage=milvus_storage(storage),
            staging_prefix=storage.staging_prefix,
            read_secret=read_secret,
            connect=lambda: connect_milvus(milvus),
            open_garbage_collector=lambda: open_garbage_collector(milvus),
        )
    )


_INSPECTIONS: Mapping[str, Callable[[InspectMilvusRequest], Model]] = {
    "collections": _collections,
    "check": _check,
    "estimate": _estimate,
    "plan": _plan,
    "selection": _selection,
    "targets": _targets,
}
