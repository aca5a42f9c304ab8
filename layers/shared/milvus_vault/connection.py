"""Connects to the deployment's Milvus. Only for functions that have the pymilvus layer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from milvus_vault.adapters import milvus
from milvus_vault.adapters.endpoints import rest_endpoint
from milvus_vault.adapters.milvus_rest import RestImporter
from milvus_vault.adapters.milvus_secret import read_access
from milvus_vault.model.versions import has_import_jobs
from milvus_vault.ports import Importer, VectorDatabase
from milvus_vault.settings import MilvusSettings


class MilvusForImports(NamedTuple):
    """A connection, and the way to import."""

    database: VectorDatabase
    importer: Importer


@contextmanager
def connect_milvus(settings: MilvusSettings) -> Iterator[VectorDatabase]:
    """Yield a connection to the deployment's Milvus, with the credentials and certificates of its secret."""
    access = read_access(settings.milvus_secret_arn)
    with milvus.connect(settings.milvus_uri, access, rest_uri=settings.milvus_rest_uri) as database:
        yield database


@contextmanager
def connect_for_imports(settings: MilvusSettings) -> Iterator[MilvusForImports]:
    """Yield a connection, and the import by REST; by gRPC, one pair a job, where there is no REST."""
    access = read_access(settings.milvus_secret_arn)
    with milvus.connect(settings.milvus_uri, access, rest_uri=settings.milvus_rest_uri) as database:
        server = database.server_version()
        grpc = database.importer()
        rest = RestImporter(rest_endpoint(settings.milvus_uri, settings.milvus_rest_uri), server, access, states=grpc)
        has_answer = has_import_jobs(server) and rest.answers()
        yield MilvusForImports(database, rest if has_answer else grpc)
