"""The real 2.3.5 with TLS: that it takes what the protocol servers take, and refuses by the same names."""

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.aws import Ministack
from local.milvus import Milvus
from local.processes import LOOPBACK, free_ports
from milvus_vault.adapters.endpoints import Endpoint
from milvus_vault.adapters.http_calls import HttpCalls
from milvus_vault.adapters.milvus import connect
from milvus_vault.adapters.milvus_access import ClientTls, MilvusAccess
from milvus_vault.errors import (
    ClientCertificateError,
    MilvusAuthenticationError,
    MilvusCertificateError,
    MilvusTlsError,
    MilvusUnavailableError,
)
from tests.compatibility.features import Feature
from tests.conformance.tls_ways import HOST, Pki, by_grpc, refusal
from tests.support.certificates import Authority

ONE_WAY, MUTUAL = 1, 2
ROOT = "root:Milvus"
REST_PATH = "/v1/vector/collections"
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Real:
    """A running server, and who has signed what."""

    uri: str
    rest_uri: str
    management_uri: str
    pki: Pki

    def rest_status(self, token: str, tls: ClientTls) -> int:
        """Return the status of a call of REST 1, which is all that there is."""
        calls = HttpCalls(Endpoint.parse(self.rest_uri, "MilvusRestUri"), MilvusAccess(token, tls=tls))
        return calls.send("GET", REST_PATH, seconds=10).status


@contextmanager
def running(ministack: Ministack, folder: Path, mode: int, *, until: datetime.timedelta = DAY) -> Iterator[Real]:
    pki = Pki(Authority(folder), Authority(folder, "foreign"))
    certificate, key = pki.own.make(HOST, until=until)
    rest_port = free_ports()
    settings = {
        "common.security.tlsMode": mode,
        "tls.serverPemPath": str(certificate),
        "tls.serverKeyPath": str(key),
        "tls.caPemPath": str(pki.own.certificate),
        "proxy.http": {"enabled": True, "port": rest_port},
    }
    with Milvus(ministack.url, bucket=f"tls-{mode}", authorization=True, settings=settings) as server:
        uri = server.uri.replace("http://", "https://")
        yield Real(uri, f"https://{LOOPBACK}:{rest_port}", server.management_uri, pki)


@pytest.fixture(scope="module")
def one_way(ministack: Ministack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    with running(ministack, tmp_path_factory.mktemp("tls"), ONE_WAY) as server:
        yield server


@pytest.fixture(scope="module")
def mutual(ministack: Ministack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    with running(ministack, tmp_path_factory.mktemp("tls"), MUTUAL) as server:
        yield server


@pytest.mark.feature(Feature.TLS, Feature.MUTUAL_TLS, Feature.TOKENS, real=True)
def test_it_takes_a_user_by_tls_and_by_mutual_tls(one_way: Real, mutual: Real) -> None:
    for server, tls in ((one_way, one_way.pki.tls()), (mutual, mutual.pki.tls(client=mutual.pki.own))):
        with connect(server.uri, MilvusAccess(ROOT, tls=tls)) as database:
            assert database.list_databases() == ["default"]
        for token in ("root:wrong", "an-api-key", ""):
            with pytest.raises(MilvusAuthenticationError):
                by_grpc(server, "https", MilvusAccess(token, tls=tls))


def test_rest_has_a_port_of_its_own_and_takes_the_same(one_way: Real, mutual: Real) -> None:
    for server, tls in ((one_way, one_way.pki.tls()), (mutual, mutual.pki.tls(client=mutual.pki.own))):
        assert [server.rest_status(token, tls) for token in (ROOT, "root:wrong")] == [200, 401]
        calls = HttpCalls(Endpoint.parse(server.uri), MilvusAccess(ROOT, tls=tls))
        with pytest.raises(MilvusUnavailableError):
            calls.send("GET", REST_PATH, seconds=10)
    with pytest.raises(ClientCertificateError, match="MilvusRestUri"):
        mutual.rest_status(ROOT, mutual.pki.tls())


@pytest.mark.feature(Feature.TLS_FAILURES, real=True)
def test_what_is_wrong_with_its_certificate_is_named(one_way: Real) -> None:
    for tls, told in (
        (one_way.pki.tls(trusts=one_way.pki.foreign), "not signed by an authority that is trusted"),
        (one_way.pki.tls(name="milvus.internal"), "is not for 'milvus.internal'"),
    ):
        found = refusal(by_grpc, one_way, "https", tls, "MilvusUri")
        assert isinstance(found, MilvusCertificateError)
        assert told in found.message


def test_that_its_certificate_has_expired_is_named(ministack: Ministack, tmp_path: Path) -> None:
    with running(ministack, tmp_path, ONE_WAY, until=-DAY) as server:
        found = refusal(by_grpc, server, "https", server.pki.tls(), "MilvusUri")
    assert isinstance(found, MilvusCertificateError)
    assert "certificate has expired" in found.message


def test_tls_where_plain_text_is_expected_is_named(one_way: Real, mutual: Real) -> None:
    for server in (one_way, mutual):
        found = refusal(by_grpc, server, "http", server.pki.tls(), "MilvusUri")
        assert isinstance(found, MilvusTlsError)


def test_a_client_certificate_that_is_missing_or_foreign_is_named(mutual: Real) -> None:
    for client, told in ((None, "asks for a client certificate"), (mutual.pki.foreign, "refuses the client")):
        found = refusal(by_grpc, mutual, "https", mutual.pki.tls(client=client), "MilvusUri")
        assert isinstance(found, ClientCertificateError)
        assert told in found.message


def test_plain_text_where_tls_is_expected_is_named(ministack: Ministack, tmp_path: Path) -> None:
    pki = Pki(Authority(tmp_path), Authority(tmp_path, "foreign"))
    with Milvus(ministack.url, bucket="tls-none") as server:
        plain = Real(server.uri, server.uri, server.management_uri, pki)
        found = refusal(by_grpc, plain, "https", pki.tls(), "MilvusUri")
    assert isinstance(found, MilvusTlsError)
