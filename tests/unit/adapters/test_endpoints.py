"""Where Milvus answers."""

import pytest

from milvus_vault.adapters.endpoints import MANAGEMENT_PORT, Endpoint, rest_endpoint
from milvus_vault.errors import SettingsError


@pytest.mark.parametrize(
    ("uri", "address", "is_tls"),
    [
        ("http://milvus:19530", "milvus:19530", False),
        ("http://milvus", "milvus:19530", False),
        ("https://milvus", "milvus:443", True),
        ("https://milvus.internal:19530/", "milvus.internal:19530", True),
        ("http://10.0.0.7:1", "10.0.0.7:1", False),
        ("https://[fd00::7]:19530", "[fd00::7]:19530", True),
    ],
)
def test_an_address_is_host_and_port(uri: str, address: str, *, is_tls: bool) -> None:
    found = Endpoint.parse(uri)
    assert (found.address, found.is_tls) == (address, is_tls)
    assert found.uri == f"{'https' if is_tls else 'http'}://{address}"


def test_management_has_a_port_of_its_own() -> None:
    assert Endpoint.parse("http://milvus", "MilvusManagementUri", port=MANAGEMENT_PORT).port == 9091


def test_rest_is_where_grpc_is_unless_another_address_is_given() -> None:
    assert rest_endpoint("http://milvus:19530", "").address == "milvus:19530"
    other = rest_endpoint("https://milvus:19530", "https://milvus:8080")
    assert (other.address, other.setting) == ("milvus:8080", "MilvusRestUri")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "milvus:19530",
        "tcp://milvus:19530",
        "http://",
        "http://milvus:port",
        "http://milvus:99999",
        "http://[fd00::7",
        "http://milvus..internal:19530",
        f"http://{'m' * 64}:19530",
        "http://root:Open-Sesame@milvus:19530",
        "http://milvus:19530/path",
        "http://milvus:19530?token=Open-Sesame",
    ],
)
def test_what_is_no_address_is_refused_by_the_name_of_its_parameter_and_not_quoted(uri: str) -> None:
    with pytest.raises(SettingsError, match="MilvusRestUri is not of the form http://host:port") as caught:
        Endpoint.parse(uri, "MilvusRestUri")
    assert "Open-Sesame" not in str(caught.value)
