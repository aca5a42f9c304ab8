"""Answer a request: find its route, check what it says, call the route's function, and write what comes of it."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from milvus_vault.api import problems
from milvus_vault.api.parsing import arguments
from milvus_vault.api.routing import Html, Route
from milvus_vault.api.services import Services
from milvus_vault.errors import InvalidRequestError, RouteNotFoundError, VaultError
from milvus_vault.model.resources import Problem, Started
from milvus_vault.runtime import explain, logger

JSON = "application/json"
HTML = "text/html; charset=utf-8"


class _ProxyEvent(BaseModel):
    """What is read of an event of API Gateway; it has more."""

    model_config = ConfigDict(alias_generator=to_camel)

    http_method: str
    path: str
    headers: dict[str, str] | None = None
    multi_value_query_string_parameters: dict[str, list[str]] | None = None
    request_context: dict[str, object] | None = None
    body: str | None = None


class Api:
    """The routes, ready to answer events of API Gateway (REST, Lambda proxy)."""

    def __init__(self, routes: Sequence[Route], open_services: Callable[[], Services]) -> None:
        """Register the routes.

        Args:
            routes: the routes.
            open_services: gives what they work with; called once a request, so that settings that are wrong
                are an answer too.
        """
        self._routes = tuple(routes)
        self._open_services = open_services
        self._resolver = APIGatewayRestResolver()
        for route in self._routes:
            rule = route.path.replace("{", "<").replace("}", ">")
            self._resolver.route(rule, method=route.method)(self._handler(route))
        self._resolver.not_found(self._not_found)
        self._resolver.exception_handler(VaultError)(self._problem)
        self._resolver.exception_handler(Exception)(self._fault)

    def handle(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Return the answer to an event of API Gateway. Every error is a problem.

        Raises `InvalidRequestError` only for what is no such event, as where somebody invokes the function by hand.
        """
        try:
            _ProxyEvent.model_validate(event)
        except ValidationError as err:
            raise explain(err, "event") from err
        return self._resolver.resolve(event, context)

    def _handler(self, route: Route) -> Callable[..., Response[str]]:
        def answer(**path_values: str) -> Response[str]:
            if route not in self._routes_of(self._event.get("path", "")):
                return self._not_found(NotFoundError())
            return self._answer(route, path_values)

        return answer

    def _answer(self, route: Route, path_values: Mapping[str, str]) -> Response[str]:
        values = arguments(route, self._event, path_values)
        result = route.call(services=self._open_services(), **values)
        if route.answer is None:
            return Response(int(route.status), body="")
        if route.answer is Html:
            return Response(route.status, content_type=HTML, body=result)
        headers = {"Location": f"/runs/{result.id}"} if isinstance(result, Started) else {}
        body = TypeAdapter(route.answer).dump_json(result).decode()
        return Response(route.status, content_type=JSON, body=body, headers=headers)

    def _not_found(self, _: NotFoundError) -> Response[str]:
        method, path = self._event.get("httpMethod", ""), self._event.get("path", "")
        allowed = sorted({route.method for route in self._routes_of(path)})
        if method in allowed:
            # The resolver finds no route for a part with a character that none of our names can have.
            msg = f"the path {path!r} has a character that is in no name"
            return self._problem(InvalidRequestError(msg, hint="Names have letters, digits, dashes and underscores."))
        error = RouteNotFoundError(
            f"there is no {method} {path}" + (f", but {', '.join(allowed)}" if allowed else ""),
            hint="`GET /openapi.json` describes all routes.",
        )
        problem = problems.problem_of(error, self._request_id)
        if not allowed:
            return _response(problem)
        problem = problem.model_copy(update={"status": HTTPStatus.METHOD_NOT_ALLOWED})
        return _response(problem, {"Allow": ", ".join(allowed)})

    def _routes_of(self, path: str) -> list[Route]:
        """Return the routes of a path. A word that is a route's own is never a name: there is no restore `plan`."""
        named = [route for route in self._routes if route.path == path]
        return named or [route for route in self._routes if _matches(route.path, path)]

    def _problem(self, error: VaultError) -> Response[str]:
        logger.info("refused", error_name=type(error).__name__, error_message=error.message)
        return _response(problems.problem_of(error, self._request_id))

    def _fault(self, error: Exception) -> Response[str]:
        logger.error("fault", exc_info=error)
        return _response(problems.internal_problem(self._request_id))

    @property
    def _event(self) -> Mapping[str, Any]:
        event: Mapping[str, Any] = self._resolver.current_event.raw_event
        return event

    @property
    def _request_id(self) -> str:
        return str((self._event.get("requestContext") or {}).get("requestId") or "")


def _matches(pattern: str, path: str) -> bool:
    parts, given = pattern.split("/"), path.split("/")
    return len(parts) == len(given) and all(
        bool(value) if part.startswith("{") else part == value for part, value in zip(parts, given, strict=True)
    )


def _response(problem: Problem, headers: dict[str, Any] | None = None) -> Response[str]:
    return Response(
        problem.status, content_type=problems.CONTENT_TYPE, body=problem.model_dump_json(), headers=headers or {}
    )
