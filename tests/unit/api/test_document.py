import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from milvus_vault.api.app import Api
from milvus_vault.api.openapi import openapi_document
from milvus_vault.api.problems import CONTENT_TYPE
from milvus_vault.api.routes import ROUTES
from milvus_vault.api.routing import Route
from milvus_vault.api.services import Services
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
    assert fields["verified_at"]["description"] == "When it ended, UTC."


def properties() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each member of each schema, and each parameter, by its name."""
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for member, found in schema.get("properties", {}).items():
            yield f"{name}.{member}", found
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            for one in operation["parameters"]:
                if one["in"] != "path":
                    yield f"{method} {path} {one['name']}", one


def test_every_member_of_every_schema_is_described() -> None:
    assert [name for name, found in properties() if not found.get("description", "").strip()] == []


@pytest.mark.parametrize("route", [route for route in ROUTES if route.body], ids=lambda r: f"{r.method} {r.path}")
def test_every_request_has_examples_that_it_takes(route: Route) -> None:
    content = DOCUMENT["paths"][route.path][route.method.lower()]["requestBody"]["content"]["application/json"]
    examples = content["examples"].values()
    assert examples
    for example in examples:
        assert example["summary"]
        assert route.body is not None
        route.body.model_validate_json(json.dumps(example["value"]), strict=True)


def asked(route: str, context: Mapping[str, str]) -> dict[str, Any]:
    """Return what the API answers to a request with such a context, with routes that need no deployment."""
    event = {"httpMethod": "GET", "path": route, "headers": {}, "requestContext": {"requestId": "7", **context}}
    return Api(ROUTES, lambda: cast("Services", None)).handle(event, None)


def test_the_document_names_the_address_at_which_it_was_asked_for() -> None:
    context = {"domainName": "a1.execute-api.eu-west-1.amazonaws.com", "path": "/v1/openapi.json"}
    servers = json.loads(asked("/openapi.json", context)["body"])["servers"]
    assert [server["url"] for server in servers] == ["https://a1.execute-api.eu-west-1.amazonaws.com/v1"]
    custom = json.loads(asked("/openapi.json", {"domainName": "vault.example.org", "path": "/openapi.json"})["body"])
    assert custom["servers"][0]["url"] == "https://vault.example.org"
    (server,) = json.loads(asked("/openapi.json", {})["body"])["servers"]
    assert server["url"].format(**{name: one["default"] for name, one in server["variables"].items()})


def test_the_api_is_a_page_as_well_without_anything_from_elsewhere() -> None:
    answer = asked("/docs", {"domainName": "vault.example.org", "path": "/docs"})
    assert answer["statusCode"] == 200
    assert answer["multiValueHeaders"]["Content-Type"] == ["text/html; charset=utf-8"]
    page = answer["body"]
    assert "https://vault.example.org" in page
    for route in ROUTES:
        assert f'<span class="method">{route.method}</span> <code>{route.path}</code>' in page
    for name in DOCUMENT["components"]["schemas"]:
        assert f'id="schema-{name}"' in page
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert targets <= set(re.findall(r'id="([^"]+)"', page))
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!#)', page)
