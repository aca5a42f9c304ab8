"""The API as a page: what its OpenAPI document says, for people."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from milvus_vault.reports import COLOURS
from milvus_vault.reports.pages import policy_for, render

STYLE = Path(__file__).parent / "openapi.css"
"""What the page needs beside the style sheet of the page that it is in."""

type Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Member:
    """A parameter, or a member of a document."""

    name: str
    type: str
    """In words."""
    refers_to: Sequence[str]
    """Schemas that the type names."""
    default: str
    """As JSON; `required` where it must be given, and empty where leaving it out means nothing by itself."""
    description: str


@dataclass(frozen=True, slots=True)
class Example:
    """A request."""

    title: str
    text: str
    """Its JSON."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A route."""

    anchor: str
    method: str
    path: str
    summary: str
    description: str
    parameters: Sequence[Member]
    body: str
    """The schema of its body; empty where it has none."""
    examples: Sequence[Example]
    answers: Sequence[tuple[str, str, str]]
    """Status, what it means, and the schema of what comes with it."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A document that is sent or answered."""

    name: str
    description: str
    members: Sequence[Member]


@dataclass(frozen=True, slots=True)
class ApiDescription:
    """What the page shows."""

    title: str
    version: str
    description: str
    servers: Sequence[str]
    tags: Sequence[tuple[str, Sequence[Operation]]]
    schemas: Sequence[Schema]


def described(document: Data) -> ApiDescription:
    """Return what is shown of an OpenAPI document of ours."""
    operations: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            operations.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
    return ApiDescription(
        title=document["info"]["title"],
        version=document["info"]["version"],
        description=document["info"]["description"],
        servers=[server["url"] for server in document.get("servers", ())],
        tags=list(operations.items()),
        schemas=[
            Schema(name, schema.get("description", ""), list(_members(schema)))
            for name, schema in document["components"]["schemas"].items()
        ],
    )


def api_page(document: Data) -> bytes:
    """Return the page, in one file with its style. Every value is escaped."""
    style = COLOURS.read_text() + (Path(__file__).parent / "page.css").read_text() + STYLE.read_text()
    values = {"api": described(document), "style": Markup(style), "policy": policy_for(style)}  # noqa: S704 - ours
    return render("openapi.html.j2", values)


def _operation(path: str, method: str, operation: Data) -> Operation:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return Operation(
        anchor=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        description=operation.get("description", ""),
        parameters=[
            _member(one["name"], one["schema"] | one, is_required=one.get("required", False))
            for one in operation["parameters"]
        ],
        body=_name(content.get("schema", {})),
        examples=[
            Example(one["summary"], json.dumps(one["value"], indent=2)) for one in content.get("examples", {}).values()
        ],
        answers=[
            (status, answer["description"], _answered(answer)) for status, answer in operation["responses"].items()
        ],
    )


def _answered(answer: Data) -> str:
    return next((_name(content["schema"]) for content in answer.get("content", {}).values()), "")


def _members(schema: Data) -> Iterator[Member]:
    required = schema.get("required", ())
    for name, member in schema.get("properties", {}).items():
        yield _member(name, member, is_required=name in required)


def _member(name: str, schema: Data, *, is_required: bool) -> Member:
    default = "required" if is_required else json.dumps(schema["default"]) if schema.get("default") is not None else ""
    return Member(name, _type(schema), sorted(set(_references(schema))), default, schema.get("description", ""))


def _type(schema: Data) -> str:  # noqa: PLR0911 - one for each kind of type
    """Return a type in words."""
    if name := _name(schema):
        return name
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if options := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return " or ".join(json.dumps(option) for option in options)
    match schema.get("type"):
        case "array":
            return f"list of {_type(schema.get('items', {}))}"
        case "object":
            values = schema.get("additionalProperties")
            return f"object: name to {_type(values)}" if isinstance(values, Mapping) else "object"
        case "string":
            return "time" if schema.get("format") == "date-time" else "text"
        case "boolean":
            return "true or false"
        case None:
            return "anything"
        case other:
            return str(other)


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if name := _name(schema):
            yield name
        for inner in schema.values():
            yield from _references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _references(inner)


def _name(schema: Data) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]
