"""Encrypted connections to each version, by all three ways; and by what name each goes wrong."""

import datetime
import threading
from pathlib import Path

import pytest

from milvus_vault.adapters.endpoints import Endpoint
from milvus_vault.adapters.management import MilvusGarbageCollector
from milvus_vault.adapters.milvus import connect
from milvus_vault.adapters.milvus_access import ClientTls, MilvusAccess
from milvus_vault.adapters.milvus_rest import RestImporter
from milvus_vault.adapters.milvus_segments import SegmentDescriber
from milvus_vault.errors import (
    ClientCertificateError,
    MilvusAuthenticationError,
    MilvusCertificateError,
    MilvusRequestError,
    MilvusTlsError,
    MilvusUnavailableError,
)
from milvus_vault.model.versions import parse_version
from tests.compatibility.features import Feature
from tests.conformance.conftest import Start
from tests.conformance.tls_ways import HOST, Pki, Way, by_grpc, by_management, by_rest, refusal
from tests.support.certificates import Authority
from tests.support.milvus_server.versions import ALL

ROOT = "root:Milvus"
DAY = datetime.timedelta(days=1)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(Authority(tmp_path), Authority(tmp_path, "foreign"))


WAYS = [(by_grpc, "MilvusUri", version) for version in ALL] + [
    (by_rest, "MilvusRestUri", "2.6.19"),
    (by_management, "MilvusManagementUri", "2.6.19"),
]
ways = pytest.mark.parametrize(("way", "setting", "version"), WAYS)


@pytest.mark.feature(Feature.TLS, Feature.MUTUAL_TLS, Feature.TOKENS)
@pytest.mark.feature(Feature.REST_ENDPOINT, since="2.4")
@pytest.mark.parametrize("version", ALL)
def test_a_token_and_a_client_certificate_lead_in_by_all_three_ways(start: Start, pki: Pki, version: str) -> None:
    server = start(
        version, authorization=True, tls=pki.own.make(HOST), client_ca=pki.own.certificate, management_tls=True
    ).server
    tls = pki.tls(client=pki.own)
    access = MilvusAccess(ROOT, tls=tls)
    with connect(server.uri, access, rest_uri=server.rest_uri) as database:
        assert database.list_databases() == ["default"]
        assert database.server_version()[:3] == parse_version(version)[:3]
    rest = Endpoint.parse(server.rest_uri)
    assert RestImporter(rest, parse_version(version), access).answers() is (version >= "2.4")
    collector = MilvusGarbageCollector(server.management_uri, access)
    if version < "2.4":
        with pytest.raises(MilvusRequestError, match="404"):
            collector.pause(1)
    else:
        collector.resume(collector.pause(1))
    with connect(server.uri, MilvusAccess("root:wrong", tls=tls)) as database, pytest.raises(MilvusAuthenticationError):
        database.list_databases()


@pytest.mark.parametrize("token", ["root:wrong", "root:パスワード", "an-api-key", ""])
def test_a_token_that_is_not_known_is_refused_by_grpc_and_by_rest(start: Start, token: str) -> None:
    server = start("2.6.19", authorization=True).server
    for way in (by_grpc, by_rest):
        with pytest.raises(MilvusAuthenticationError):
            way(server, "http", MilvusAccess(token))


@pytest.mark.feature(Feature.TLS_FAILURES)
@ways
def test_an_unknown_authority_is_named(start: Start, pki: Pki, way: Way, setting: str, version: str) -> None:
    server = start(version, tls=pki.own.make(HOST), management_tls=True).server
    for tls in (pki.tls(trusts=pki.foreign), ClientTls(server_name=HOST)):
        found = refusal(way, server, "https", tls, setting)
        assert isinstance(found, MilvusCertificateError)
        assert "not signed by an authority that is trusted" in found.message
        assert "ca_pem" in found.hint


@pytest.mark.feature(Feature.TLS_FAILURES)
@ways
def test_a_certificate_for_another_name_is_named(start: Start, pki: Pki, way: Way, setting: str, version: str) -> None:
    server = start(version, tls=pki.own.make(HOST), management_tls=True).server
    for name, told in (("", "127.0.0.1"), ("milvus.internal", "milvus.internal")):
        found = refusal(way, server, "https", pki.tls(name=name), setting)
        assert isinstance(found, MilvusCertificateError)
        assert f"is not for '{told}'" in found.message
        assert "tls_server_name" in found.hint


@pytest.mark.feature(Feature.TLS_FAILURES)
@ways
def test_an_expired_certificate_is_named(start: Start, pki: Pki, way: Way, setting: str, version: str) -> None:
    server = start(version, tls=pki.own.make(HOST, until=-DAY), management_tls=True).server
    found = refusal(way, server, "https", pki.tls(), setting)
    assert isinstance(found, MilvusCertificateError)
    assert "certificate has expired" in found.message


@pytest.mark.feature(Feature.TLS_FAILURES)
@ways
def test_plain_text_where_tls_is_expected_is_named(
    start: Start, pki: Pki, way: Way, setting: str, version: str
) -> None:
    found = refusal(way, start(version).server, "https", pki.tls(), setting)
    assert isinstance(found, MilvusTlsError)
    assert "speaks plain text" in found.message


@pytest.mark.feature(Feature.TLS_FAILURES)
@ways
def test_tls_where_plain_text_is_expected_is_named(
    start: Start, pki: Pki, way: Way, setting: str, version: str
) -> None:
    for client_ca in (None, pki.own.certificate):
        server = start(version, tls=pki.own.make(HOST), client_ca=client_ca, management_tls=True).server
        found = refusal(way, server, "http", pki.tls(), setting)
        assert isinstance(found, MilvusTlsError)
        assert "speaks TLS" in found.message


@pytest.mark.feature(Feature.TLS_FAILURES)
@ways
def test_a_client_certificate_that_is_missing_or_foreign_is_named(
    start: Start, pki: Pki, way: Way, setting: str, version: str
) -> None:
    server = start(version, tls=pki.own.make(HOST), client_ca=pki.own.certificate, management_tls=True).server
    for client, told in ((None, "asks for a client certificate"), (pki.foreign, "refuses the client certificate")):
        found = refusal(way, server, "https", pki.tls(client=client), setting)
        assert isinstance(found, ClientCertificateError)
        assert told in found.message


def test_an_authority_without_an_identifier_of_its_key_is_trusted_by_all_ways(start: Start, tmp_path: Path) -> None:
    authority = Authority(tmp_path, has_identifiers=False)
    server = start("2.6.19", tls=authority.make(HOST), management_tls=True).server
    for way in (by_grpc, by_rest, by_management):
        way(server, "https", MilvusAccess(tls=ClientTls(authority.pem, server_name=HOST)))


def test_a_rest_endpoint_that_is_not_to_be_trusted_is_no_reason_to_go_another_way(start: Start, pki: Pki) -> None:
    server = start("2.6.19", tls=pki.own.make(HOST)).server
    endpoint, access = Endpoint.parse(server.rest_uri, "MilvusRestUri"), MilvusAccess(tls=pki.tls(trusts=pki.foreign))
    with pytest.raises(MilvusCertificateError):
        RestImporter(endpoint, parse_version("2.6.19"), access).answers()
    with pytest.raises(MilvusCertificateError):
        SegmentDescriber(endpoint, access).describe_segments("default", 1, [2])


def test_with_tls_the_port_of_grpc_answers_no_rest_and_other_ways_are_gone(start: Start, pki: Pki) -> None:
    server, access = start("2.6.19", tls=pki.own.make(HOST)).server, MilvusAccess(tls=pki.tls())
    endpoint = Endpoint.parse(server.uri)
    assert not RestImporter(endpoint, parse_version("2.6.19"), access).answers()
    assert SegmentDescriber(endpoint, access).describe_segments("default", 1, [2]) == {}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_where_nobody_answers_it_is_no_matter_of_tls(pki: Pki, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setattr("milvus_vault.adapters.milvus.CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(MilvusUnavailableError, match="no connection to Milvus"),
        connect(f"{scheme}://127.0.0.1:9", MilvusAccess(tls=pki.tls())),
    ):
        pass


def test_a_server_that_comes_back_while_we_wait_is_connected_to(start: Start, pki: Pki) -> None:
    running = start("2.6.19", tls=pki.own.make(HOST))
    running.server.crash()
    restart = threading.Timer(1.0, running.server.restart)
    restart.start()
    by_grpc(running.server, "https", MilvusAccess(tls=pki.tls()))
    restart.join()
