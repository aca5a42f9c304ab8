"""The OpenAPI document, made from the routes and the models."""

import ast
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from milvus_vault import __version__
from milvus_vault.api import problems
from milvus_vault.api.parsing import IDEMPOTENCY_HEADER
from milvus_vault.api.routing import Html, IdempotencyKey, Route
from milvus_vault.errors import (
    InvalidRequestError,
    RouteNotFoundError,
    ServiceUnavailableError,
    StorageUnavailableError,
    VaultError,
)
from milvus_vault.model.base import Model
from milvus_vault.model.examples import EXAMPLES
from milvus_vault.model.resources import Problem

type Data = dict[str, Any]

_MODEL = Model.__module__.rpartition(".")[0]
_REFERENCE = "#/components/schemas/{model}"
# Any route can meet these: a bad request, a deployment that is not whole, a service that does not answer.
_EVERYWHERE = (InvalidRequestError, RouteNotFoundError, ServiceUnavailableError, StorageUnavailableError)

_ANY_STACK: Data = {
    "url": "https://{api}.execute-api.{region}.amazonaws.com/v1",
    "description": "A deployment: the stack's output `ApiUrl`",
    "variables": {
        "api": {"default": "a1b2c3d4e5", "description": "The ID that API Gateway gave the stack's API."},
        "region": {"default": "eu-central-1", "description": "The region of the stack."},
    },
}

type _Key = tuple[int, str]


def openapi_document(routes: Sequence[Route], api_url: str = "") -> Data:
    """Return the OpenAPI 3.1 document of the routes.

    Args:
        routes: The routes.
        api_url: Where they are deployed; default: that of any stack, with its parts to be filled in.
    """
    schemas, components = _schemas(routes)
    paths: Data = {}
    for number, route in enumerate(routes):
        operation = _operation(route, {use: schemas[number, use] for at, use in schemas if at == number})
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Milvus Vault",
            "version": __version__,
            "description": "Backup and restore of Milvus on AWS. Requests are signed with AWS Signature Version 4 for "
            "the service `execute-api`. Long work is answered with 202 and the address of a run.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": api_url, "description": "This deployment"}] if api_url else [_ANY_STACK],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "name": "Authorization",
                    "in": "header",
                    "x-amazon-apigateway-authtype": "awsSigv4",
                    "description": "AWS Signature Version 4",
                }
            },
        },
        "security": [{"sigv4": []}],
    }


def _schemas(routes: Sequence[Route]) -> tuple[dict[_Key, Data], Data]:
    """Return the schema of each body, answer and the problem by route and use, and the components they refer to."""
    inputs: list[tuple[_Key, JsonSchemaMode, TypeAdapter[Any]]] = []
    for number, route in enumerate(routes):
        if route.body is not None:
            inputs.append(((number, "body"), "validation", TypeAdapter(route.body)))
        if route.answer is not None and route.answer is not Html:
            inputs.append(((number, "answer"), "serialization", TypeAdapter(route.answer)))
        inputs.append(((number, "problem"), "serialization", TypeAdapter(Problem)))
    found, definitions = TypeAdapter.json_schemas(inputs, ref_template=_REFERENCE)
    components = dict(sorted(definitions["$defs"].items()))
    _describe_fields(components)
    return {key: dict(schema) for (key, _), schema in found.items()}, components


def _operation(route: Route, schemas: Mapping[str, Data]) -> Data:
    text = " ".join((inspect.getdoc(route.function) or "").split())
    summary, _, rest = text.partition(". ")
    operation: Data = {
        "operationId": route.function.__name__,
        "tags": [route.tag],
        "summary": summary.rstrip("."),
        **({"description": rest} if rest else {}),
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_headers(route)],
    }
    if route.body is not None:
        content = {"application/json": {"schema": schemas["body"], "examples": _examples(route.body)}}
        operation["requestBody"] = {"required": not route.has_optional_body, "content": content}
    operation["responses"] = {
        str(int(route.status)): _success(route, schemas),
        **_problem_responses((*route.errors, *_EVERYWHERE), schemas["problem"]),
    }
    return operation


def _examples(model: type[Model]) -> Data:
    """Return the examples of a body, by names that say what number they are."""
    found = [example for example in EXAMPLES if example.model is model]
    return {
        f"example{number}": {"summary": example.title, "value": example.request}
        for number, example in enumerate(found, start=1)
    }


def _path_parameters(route: Route) -> list[Data]:
    return [
        {"name": name, "in": "path", "required": True, "schema": kind.json_schema()}
        for name, kind in route.path_types.items()
    ]


def _query_parameters(route: Route) -> list[Data]:
    if route.query is None:
        return []
    parameters = []
    for name, found in _inlined(route.query.model_json_schema()).items():
        schema = {key: value for key, value in found.items() if key not in {"anyOf", "description", "title"}}
        # A parameter that is not given is absent; there is no null in a query.
        for option in found.get("anyOf", []):
            schema |= option if option.get("type") != "null" else {}
        if schema.get("default", ...) is None:
            del schema["default"]
        parameters.append({"name": name, "in": "query", "description": found["description"], "schema": schema})
    return parameters


def _inlined(schema: Data) -> Mapping[str, Data]:
    """Return the properties of a schema without references: `type X = Literal[...]` makes some."""
    definitions = schema.get("$defs", {})

    def inline(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                return inline(definitions[value["$ref"].rpartition("/")[2]])
            return {key: inline(inner) for key, inner in value.items()}
        return [inline(inner) for inner in value] if isinstance(value, list) else value

    properties: Mapping[str, Data] = inline(schema["properties"])
    return properties


def _headers(route: Route) -> list[Data]:
    if not route.starts_run:
        return []
    return [
        {
            "name": IDEMPOTENCY_HEADER,
            "in": "header",
            "description": "Starting twice with the same key and body starts once.",
            "schema": TypeAdapter(IdempotencyKey).json_schema(),
        }
    ]


def _success(route: Route, schemas: Mapping[str, Data]) -> Data:
    response: Data = {"description": route.status.phrase}
    if route.starts_run:
        schema = {"type": "string"}
        response["headers"] = {
            "Location": {"description": "Address of the run, relative to the API.", "schema": schema}
        }
    if route.answer is Html:
        response["content"] = {"text/html": {"schema": {"type": "string"}}}
    elif route.answer is not None:
        response["content"] = {"application/json": {"schema": schemas["answer"]}}
    return response


def _problem_responses(errors: Iterable[type[VaultError]], schema: Data) -> Data:
    by_status: dict[int, list[str]] = {}
    for error in dict.fromkeys(errors):
        by_status.setdefault(int(problems.STATUS_BY_ERROR[error]), []).append(error.__name__)
    by_status.setdefault(500, []).append(problems.INTERNAL_FAULT)
    content = {problems.CONTENT_TYPE: {"schema": schema}}
    return {
        str(status): {"description": ", ".join(names), "content": content}
        for status, names in sorted(by_status.items())
    }


def _describe_fields(components: Data) -> None:
    """Give the schemas of models the docstrings of their fields."""
    for name, schema in components.items():
        for model in _models_named(re.sub(r"(-Input|-Output|_.*)$", "", name)):
            for base in reversed(model.__mro__):
                if issubclass(base, BaseModel) and base is not BaseModel:
                    for field, text in field_docstrings(base).items():
                        schema.get("properties", {}).get(field, {}).setdefault("description", text)


def _models_named(name: str) -> list[type[Model]]:
    """Return the models that the API may speak of: those of the model, since a working file may be called alike."""
    found: list[type[Model]] = []
    left = Model.__subclasses__()
    while left:
        model = left.pop()
        left += model.__subclasses__()
        if model.__name__ == name and model.__module__.startswith(f"{_MODEL}."):
            found.append(model)
    return found


def field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the text that follows each field of a model's class, and of those that it is derived from."""
    bases = [base for base in reversed(model.__mro__) if issubclass(base, BaseModel) and base is not BaseModel]
    return {name: text for base in bases for name, text in _own_docstrings(base).items()}


def _own_docstrings(model: type[BaseModel]) -> dict[str, str]:
    tree = ast.parse(inspect.getsource(model)).body[0]
    if not isinstance(tree, ast.ClassDef):
        return {}
    described = {}
    for node, after in zip(tree.body, tree.body[1:], strict=False):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            described[node.target.id] = " ".join(after.value.value.split())
    return described
