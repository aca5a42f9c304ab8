"""From a request of API Gateway to the values that a route's function takes."""

import base64
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from milvus_vault.api.routing import Caller, IdempotencyKey, Route
from milvus_vault.errors import InvalidRequestError
from milvus_vault.model.base import Model
from milvus_vault.model.words import wrong_fields
from milvus_vault.runtime import explain

IDEMPOTENCY_HEADER = "Idempotency-Key"

_DOCUMENT = "docs/api.md"
_KEY = TypeAdapter[str](IdempotencyKey)


def arguments(route: Route, event: Mapping[str, Any], path_values: Mapping[str, str]) -> dict[str, Any]:
    """Return what the route's function takes of a request. Raises `InvalidRequestError` naming what is wrong."""
    found: dict[str, Any] = {"caller": _caller(route, event)}
    for name, kind in route.path_types.items():
        found[name] = _checked(kind, path_values[name], name)
    if route.query is not None:
        found["query"] = _query(route.query, event.get("multiValueQueryStringParameters") or {})
    if route.body is not None:
        found["body"] = _body(route, route.body, event)
    return found


def _caller(route: Route, event: Mapping[str, Any]) -> Caller:
    context = event.get("requestContext") or {}
    identity = context.get("identity") or {}
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    key = headers.get(IDEMPOTENCY_HEADER.lower()) if route.starts_run else None
    checked = None if key is None else _checked(_KEY, key, IDEMPOTENCY_HEADER)
    return Caller(arn=identity.get("userArn") or "", idempotency_key=checked, api_url=_api_url(context, event))


def _api_url(context: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """Return where the API was reached: the path as the caller knows it begins with the stage, or with nothing."""
    domain, path = context.get("domainName"), str(context.get("path") or "")
    return f"https://{domain}{path.removesuffix(str(event.get('path')))}" if domain else ""


def _query(model: type[Model], given: Mapping[str, list[str]]) -> Model:
    if repeated := sorted(name for name, values in given.items() if len(values) > 1):
        msg = f"the query is not valid: {', '.join(repeated)} given more than once"
        raise InvalidRequestError(msg, hint=f"The parameters are in {_DOCUMENT}.")
    try:
        return model.model_validate({name: values[0] for name, values in given.items()})
    except ValidationError as err:
        raise explain(err, "query", document=_DOCUMENT) from err


def _body(route: Route, model: type[Model], event: Mapping[str, Any]) -> Model:
    text = event.get("body") or ""
    if event.get("isBase64Encoded"):
        try:
            text = base64.b64decode(text, validate=True)
        except ValueError as err:
            msg = "the body is said to be Base64, and is not"
            raise InvalidRequestError(msg, hint="Send JSON as it is.") from err
    if not text and route.has_optional_body:
        text = "{}"
    try:
        # Strict: a text is no number, and 1 is not true.
        return model.model_validate_json(text, strict=True)
    except ValidationError as err:
        raise explain(err, "body") from err


def _checked[T](kind: TypeAdapter[T], value: str, name: str) -> T:
    try:
        return kind.validate_python(value)
    except ValidationError as err:
        msg = f"{name} is not valid: {'; '.join(text for _, text in wrong_fields(err))}"
        raise InvalidRequestError(msg, hint=f"{_DOCUMENT} describes each route.") from err
