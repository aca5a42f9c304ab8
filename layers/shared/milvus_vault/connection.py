"""Connects to the deployment's Milvus. Only for functions that have the pymilvus layer."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from milvus_vault.adapters import milvus
from milvus_vault.adapters.milvus import MilvusDatabase
from milvus_vault.adapters.milvus_rest import RestImporter
from milvus_vault.adapters.secrets import MilvusCredentials, read_credentials
from milvus_vault.model.versions import has_import_jobs
from milvus_vault.ports import Importer, VectorDatabase
from milvus_vault.settings import MilvusSettings


class MilvusForImports(NamedTuple):
    """A connection, and the way to import."""

    database: VectorDatabase
    importer: Importer


@contextmanager
def connect_milvus(settings: MilvusSettings) -> Iterator[VectorDatabase]:
    """Yield a connection to the deployment's Milvus, with the credentials of its secret."""
    with _connect(settings, read_credentials(settings.milvus_secret_arn)) as database:
        yield database


@contextmanager
def connect_for_imports(settings: MilvusSettings) -> Iterator[MilvusForImports]:
    """Yield a connection, and the import by REST; by gRPC, one pair a job, where there is no REST."""
    user = read_credentials(settings.milvus_secret_arn)
    with _connect(settings, user) as database:
        server = database.server_version()
        uri = settings.milvus_rest_uri or settings.milvus_uri
        rest = RestImporter(uri, server, username=user.username, password=user.password)
        has_answer = has_import_jobs(server) and rest.answers()
        yield MilvusForImports(database, rest if has_answer else database.importer())


def _connect(settings: MilvusSettings, user: MilvusCredentials) -> AbstractContextManager[MilvusDatabase]:
    return milvus.connect(
        settings.milvus_uri, username=user.username, password=user.password, rest_uri=settings.milvus_rest_uri
    )
