"""Puts settings and adapters together for the functions that talk to Milvus or keep working files."""

from collections.abc import Iterator
from contextlib import contextmanager

from milvus_vault.adapters import milvus
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.adapters.secrets import read_credentials
from milvus_vault.ports import VectorDatabase
from milvus_vault.settings import MilvusSettings, StorageSettings
from milvus_vault.source import MilvusStorage
from milvus_vault.workspace import Workspace


@contextmanager
def connect_milvus(settings: MilvusSettings) -> Iterator[VectorDatabase]:
    """Yield a connection to the deployment's Milvus, with the credentials of its secret."""
    credentials = read_credentials(settings.milvus_secret_arn)
    with milvus.connect(settings.milvus_uri, username=credentials.username, password=credentials.password) as database:
        yield database


def open_workspace(settings: StorageSettings, run: str) -> Workspace:
    """Return the working files of a run."""
    return Workspace(S3ObjectStore.connect(), settings.backup_bucket_name, settings.backup_prefix, run)


def milvus_storage(settings: StorageSettings) -> MilvusStorage:
    """Return where the deployment's Milvus keeps its data."""
    return MilvusStorage(settings.milvus_bucket_name, settings.milvus_root_path)
