import json
import re
from pathlib import Path

import pytest

from milvus_vault.api.openapi import openapi_document
from milvus_vault.api.problems import CONTENT_TYPE
from milvus_vault.api.routes import ROUTES
from milvus_vault.api.routing import Route
from milvus_vault.model.base import Model

DOCUMENT = openapi_document(ROUTES)
API = Path(__file__).parents[3] / "docs" / "api.md"


def test_the_routes_are_those_of_the_document_for_people() -> None:
    written = re.findall(r"^\| `([A-Z]+ \S+)` \|", API.read_text(), re.MULTILINE)
    assert sorted(written) == sorted(f"{route.method} {route.path}" for route in ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {r.path}")
def test_a_route_is_described_in_full(route: Route) -> None:
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    assert operation["summary"]
    assert all(parameter["schema"] for parameter in operation["parameters"])
    assert {p["name"] for p in operation["parameters"] if p["in"] == "path"} == route.path_types.keys()
    responses = operation["responses"]
    assert {"400", "404", "500", "503"} <= responses.keys()
    assert all(CONTENT_TYPE in responses[status]["content"] for status in responses if status >= "400")
    assert ("Location" in responses.get("202", {}).get("headers", {})) == route.starts_run


def test_all_references_lead_somewhere() -> None:
    asked = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(DOCUMENT)))
    assert asked <= DOCUMENT["components"]["schemas"].keys()


def test_fields_have_the_docstrings_of_the_models() -> None:
    fields = DOCUMENT["components"]["schemas"]["Run"]["properties"]
    assert fields["phase"]["description"] == "What it does now, for example `copying`; empty once it has ended."


def test_fields_have_no_docstring_of_a_working_file_that_is_called_alike() -> None:
    class Verification(Model):
        verified_at: int
        """Of a round of copies."""

    fields = openapi_document(ROUTES)["components"]["schemas"][Verification.__name__]["properties"]
    assert "description" not in fields["verified_at"]
