"""Puts settings and the adapters together that need no pymilvus, beside S3 (`stores`)."""

from milvus_vault.adapters.management import MilvusGarbageCollector
from milvus_vault.adapters.milvus_access import NOBODY
from milvus_vault.adapters.milvus_secret import read_access
from milvus_vault.adapters.scheduler import EventBridgeScheduler
from milvus_vault.backup.places import ExportPlaces, Place
from milvus_vault.drills.scratch import FOLDER as SCRATCH_FOLDER
from milvus_vault.model.names import restore_run
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.ports import GarbageCollector
from milvus_vault.settings import ExportSettings, ManagementSettings, ScheduleSettings, StorageSettings
from milvus_vault.source import MilvusStorage
from milvus_vault.stores import open_workspace
from milvus_vault.workspace import Workspace


def open_scratch_records(settings: StorageSettings) -> Workspace:
    """Return where the records of scratch databases lie."""
    return open_workspace(settings, SCRATCH_FOLDER)


def milvus_storage(settings: StorageSettings) -> MilvusStorage:
    """Return where the deployment's Milvus keeps its data."""
    return MilvusStorage(settings.milvus_bucket_name, settings.milvus_root_path)


def open_export_places(storage: StorageSettings, exports: ExportSettings) -> ExportPlaces:
    """Return where exports of the deployment may lie, beside where its backups do."""
    return ExportPlaces(
        own=Place(bucket=storage.backup_bucket_name, prefix=storage.backup_prefix),
        milvus=milvus_storage(storage),
        staging_prefix=storage.staging_prefix,
        bucket=storage.export_bucket_name,
        prefix=exports.export_prefix,
        own_region=exports.aws_region,
        region=storage.export_region,
        role_arn=storage.export_role_arn,
        kms_key_arn=storage.export_kms_key_arn,
    )


def restore_run_of(request: RestoreRequest, milvus_uri: str, target: MilvusStorage) -> str:
    """Return the name of the run of a restore into the deployment's Milvus.

    What is default has no part in it, so that a later release with more fields goes on with the same run.
    """
    identity = milvus_identity(milvus_uri, target)
    return restore_run(request.backup_name, request.model_dump_json(exclude_defaults=True), identity)


def milvus_identity(milvus_uri: str, target: MilvusStorage) -> str:
    """Return what tells the deployment's Milvus from others."""
    return f"{milvus_uri} {target.bucket} {target.root_path}"


def open_garbage_collector(settings: ManagementSettings) -> GarbageCollector | None:
    """Return the deployment's management endpoint, or None where none is configured.

    Raises `SettingsError`, and `MilvusSecretError` where it has TLS. Without TLS the secret is not read: Milvus itself
    asks for no credentials there, so that none need go over the network as they are.
    """
    uri = settings.milvus_management_uri
    if not uri:
        return None
    return MilvusGarbageCollector(uri, read_access(settings.milvus_secret_arn) if uri.startswith("https:") else NOBODY)


def open_scheduler(settings: ScheduleSettings) -> EventBridgeScheduler:
    """Return the schedules of the deployment."""
    return EventBridgeScheduler(
        group=settings.schedule_group,
        machine_arns={"backup": settings.backup_state_machine_arn, "drill": settings.drill_state_machine_arn},
        role_arn=settings.schedule_role_arn,
        dead_letter_arn=settings.dead_letter_queue_arn,
    )
