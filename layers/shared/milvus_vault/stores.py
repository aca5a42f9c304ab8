"""Opens S3 as the settings say, which all functions need, and many nothing else of the adapters."""

from milvus_vault.adapters.s3 import BucketAccess, S3ObjectStore
from milvus_vault.model.objects import CopyClient
from milvus_vault.settings import StorageSettings
from milvus_vault.workspace import Workspace


def open_store(
    settings: StorageSettings, max_connections: int = 64, copy_client: CopyClient = "boto3"
) -> S3ObjectStore:
    """Return S3, with what holds for the deployment's buckets."""
    backups, exports = BucketAccess(owner=settings.backup_bucket_owner), BucketAccess()
    if settings.export_bucket_name:
        exports = BucketAccess(
            region=settings.export_region,
            role_arn=settings.export_role_arn,
            owner=settings.export_bucket_owner,
            kms_key_arn=settings.export_kms_key_arn,
        )
    buckets = {settings.export_bucket_name: exports, settings.backup_bucket_name: backups}
    return S3ObjectStore.shared(
        max_connections,
        {name: access for name, access in buckets.items() if access != BucketAccess()},
        copy_client,
    )


def open_workspace(
    settings: StorageSettings, run: str, *, max_connections: int = 64, copy_client: CopyClient = "boto3"
) -> Workspace:
    """Return the working files of a run."""
    store = open_store(settings, max_connections, copy_client)
    return Workspace(store, settings.backup_bucket_name, settings.backup_prefix, run)
