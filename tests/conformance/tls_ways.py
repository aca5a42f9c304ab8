"""The three ways into Milvus, and what it is called where one is barred."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import pytest

from milvus_vault.adapters import milvus
from milvus_vault.adapters.endpoints import Endpoint
from milvus_vault.adapters.management import MilvusGarbageCollector
from milvus_vault.adapters.milvus import connect
from milvus_vault.adapters.milvus_access import ClientTls, MilvusAccess
from milvus_vault.adapters.milvus_rest import RestImporter
from milvus_vault.errors import VaultError
from milvus_vault.model.versions import parse_version
from tests.support.certificates import Authority

HOST = "localhost"
_PATIENCE_SECONDS = 60.0


class Server(Protocol):
    """Where a server is, whichever it is."""

    @property
    def uri(self) -> str:
        """Where it answers gRPC."""

    @property
    def rest_uri(self) -> str:
        """Where it answers REST."""

    @property
    def management_uri(self) -> str:
        """Its management endpoint."""


type Way = Callable[[Server, str, MilvusAccess], None]


@dataclass(frozen=True)
class Pki:
    """Two authorities: Milvus', and one that it does not know."""

    own: Authority
    foreign: Authority

    def tls(self, *, trusts: Authority | None = None, client: Authority | None = None, name: str = HOST) -> ClientTls:
        """Return a client's side; without more it trusts Milvus and has no certificate."""
        certificate, key = (path.read_text() for path in client.make("client")) if client else ("", "")
        return ClientTls((trusts or self.own).pem, certificate, key, name)


def by_grpc(server: Server, scheme: str, access: MilvusAccess) -> None:
    """Make a call by gRPC."""
    with connect(_with(scheme, server.uri), access) as database:
        database.list_databases()


def by_rest(server: Server, scheme: str, access: MilvusAccess) -> None:
    """Make a call by REST."""
    endpoint = Endpoint.parse(_with(scheme, server.rest_uri), "MilvusRestUri")
    RestImporter(endpoint, parse_version("2.6.19"), access).import_state("42")


def by_management(server: Server, scheme: str, access: MilvusAccess) -> None:
    """Make a call for management."""
    MilvusGarbageCollector(_with(scheme, server.management_uri), access).pause(1)


def _with(scheme: str, uri: str) -> str:
    return f"{scheme}://{uri.partition('://')[2]}"


def refusal(way: Way, server: Server, scheme: str, tls: ClientTls, setting: str) -> VaultError:
    """Return why a way is barred; it is told at once, and says which parameter it is about."""
    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(milvus, "CONNECT_SECONDS", _PATIENCE_SECONDS)
        with pytest.raises(VaultError) as caught:
            way(server, scheme, MilvusAccess(tls=tls))
    assert time.monotonic() - began < _PATIENCE_SECONDS, "it waited instead"
    assert setting in caught.value.message
    assert caught.value.hint
    return caught.value
