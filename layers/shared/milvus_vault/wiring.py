"""Puts settings and the S3 adapter together, for all functions."""

from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.adapters.scheduler import EventBridgeScheduler
from milvus_vault.settings import ScheduleSettings, StorageSettings
from milvus_vault.source import MilvusStorage
from milvus_vault.workspace import Workspace


def open_workspace(settings: StorageSettings, run: str, *, max_connections: int = 64) -> Workspace:
    """Return the working files of a run."""
    store = S3ObjectStore.shared(max_connections)
    return Workspace(store, settings.backup_bucket_name, settings.backup_prefix, run)


def milvus_storage(settings: StorageSettings) -> MilvusStorage:
    """Return where the deployment's Milvus keeps its data."""
    return MilvusStorage(settings.milvus_bucket_name, settings.milvus_root_path)


def open_scheduler(settings: ScheduleSettings) -> EventBridgeScheduler:
    """Return the schedules of the deployment."""
    return EventBridgeScheduler(
        group=settings.schedule_group,
        machine_arn=settings.backup_state_machine_arn,
        role_arn=settings.schedule_role_arn,
        dead_letter_arn=settings.dead_letter_queue_arn,
    )
