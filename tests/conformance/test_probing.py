"""What a server can do is found out by asking it, whatever its version lets one expect."""

from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from local.processes import LOOPBACK
from milvus_vault.adapters.milvus_imports import GrpcImporter
from milvus_vault.adapters.milvus_rest import RestImporter
from milvus_vault.connection import connect_for_imports
from milvus_vault.settings import MilvusSettings
from tests.conformance.conftest import Start

NOWHERE = "http://127.0.0.1:9"


def importer_of(uri: str, rest_uri: str = "") -> type:
    with connect_for_imports(MilvusSettings(milvus_uri=uri, milvus_rest_uri=rest_uri)) as connected:
        return type(connected.importer)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.2.16", GrpcImporter),
        ("2.3.5", GrpcImporter),
        ("2.4.23", RestImporter),
        ("2.5.27", RestImporter),
        ("2.6.19", RestImporter),
    ],
)
def test_imports_go_by_rest_where_it_answers(start: Start, version: str, expected: type) -> None:
    assert importer_of(start(version).server.uri) is expected


@pytest.mark.parametrize("version", ["2.4.23", "2.6.19"])
def test_they_go_by_grpc_where_nobody_answers_rest_or_somebody_else_does(start: Start, version: str) -> None:
    uri = start(version).server.uri
    assert importer_of(uri, NOWHERE) is GrpcImporter
    with ThreadingHTTPServer((LOOPBACK, 0), SimpleHTTPRequestHandler) as other:
        serving = Thread(target=other.serve_forever)
        serving.start()
        assert importer_of(uri, f"http://{LOOPBACK}:{other.server_port}") is GrpcImporter
        other.shutdown()
        serving.join()


def test_a_rest_endpoint_of_its_own_is_the_one_that_is_asked(start: Start) -> None:
    grpc_only, rest = start("2.6.19").server.uri, start("2.5.27").server
    with connect_for_imports(MilvusSettings(milvus_uri=grpc_only, milvus_rest_uri=rest.uri)) as connected:
        rest.crash()
        assert isinstance(connected.importer, RestImporter)
        assert not connected.importer.answers()
