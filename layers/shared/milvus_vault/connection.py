"""Connects to the deployment's Milvus. Only for functions that have the pymilvus layer."""

from collections.abc import Iterator
from contextlib import contextmanager

from milvus_vault.adapters import milvus
from milvus_vault.adapters.secrets import read_credentials
from milvus_vault.ports import VectorDatabase
from milvus_vault.settings import MilvusSettings


@contextmanager
def connect_milvus(settings: MilvusSettings) -> Iterator[VectorDatabase]:
    """Yield a connection to the deployment's Milvus, with the credentials of its secret."""
    credentials = read_credentials(settings.milvus_secret_arn)
    with milvus.connect(settings.milvus_uri, username=credentials.username, password=credentials.password) as database:
        yield database
