"""What a route is: a typed function, and what its signature says of the request and the answer.

    routes = Routes("backups")

    @routes.get("/backups/{name}", errors=[BackupNotFoundError])
    def get_backup(services: Services, name: BackupName) -> Backup:
        \"\"\"Return a backup in full.\"\"\"

The parameters' names say what they are given: `services`, the `caller`, the `query` and the `body` (each a model),
and parts of the path by their names in it. The docstring becomes the route's description.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, get_type_hints

from pydantic import BeforeValidator, Field, Strict, TypeAdapter

from milvus_vault.errors import VaultError
from milvus_vault.model.base import Model
from milvus_vault.model.resources import Started
from milvus_vault.model.words import Form

ANSWER_SECONDS = 24.0
"""API Gateway waits for 29 s, and a function that begins takes two or three of them."""

IdempotencyKey = Annotated[
    str,
    Form(r"^[A-Za-z0-9_-]{1,80}$", "idempotency key", "letters, digits, dashes and underscores, at most 80"),
    Field(examples=["nightly-2026-11-22"]),
]


class Paging(Model):
    """Which part of a list."""

    limit: int = Field(default=20, ge=1, le=100, description="How many at most.")
    token: str | None = Field(default=None, max_length=4096, description="`next_token` of the page before.")


def _flag(value: object) -> object:
    """Return what a query's text says; a bool takes more spellings than anybody documents."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


QueryFlag = Annotated[bool, Strict(), BeforeValidator(_flag)]
"""`true` or `false` in a query."""


class Html(str):
    """An answer that is a page instead of a document."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, and how."""

    arn: str = ""
    """ARN of the IAM identity that signed it; empty where nobody did, as on the local stack."""
    idempotency_key: str | None = None
    api_url: str = ""
    """Where the API was reached; empty where the gateway does not say, as on the local stack."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route: method, path, and what goes in and comes out."""

    method: str
    path: str
    """Parts in braces are parameters: `/backups/{name}`."""
    tag: str
    function: Callable[..., Any]
    errors: tuple[type[VaultError], ...]
    path_types: Mapping[str, TypeAdapter[Any]]
    query: type[Model] | None
    body: type[Model] | None
    answer: Any
    """Type of what the function returns; None: an answer without content."""

    @property
    def starts_run(self) -> bool:
        """Return whether it starts long work: `202`, and an idempotency key is taken."""
        return self.answer is Started

    @property
    def status(self) -> HTTPStatus:
        """Return the status of success."""
        if self.starts_run:
            return HTTPStatus.ACCEPTED
        return HTTPStatus.NO_CONTENT if self.answer is None else HTTPStatus.OK

    @property
    def has_optional_body(self) -> bool:
        """Return whether a body may be left out, which means `{}`."""
        return self.body is not None and not any(info.is_required() for info in self.body.model_fields.values())

    def call(self, **values: object) -> Any:
        """Call the function with those of the values that it has parameters for."""
        wanted = inspect.signature(self.function).parameters
        return self.function(**{name: value for name, value in values.items() if name in wanted})


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes of one kind of resource."""

    tag: str
    routes: list[Route] = field(default_factory=list)

    def get[F: Callable[..., Any]](self, path: str, errors: Sequence[type[VaultError]] = ()) -> Callable[[F], F]:
        """Make a route of a function: GET."""
        return self._route("GET", path, errors)

    def post[F: Callable[..., Any]](self, path: str, errors: Sequence[type[VaultError]] = ()) -> Callable[[F], F]:
        """Make a route of a function: POST."""
        return self._route("POST", path, errors)

    def put[F: Callable[..., Any]](self, path: str, errors: Sequence[type[VaultError]] = ()) -> Callable[[F], F]:
        """Make a route of a function: PUT."""
        return self._route("PUT", path, errors)

    def delete[F: Callable[..., Any]](self, path: str, errors: Sequence[type[VaultError]] = ()) -> Callable[[F], F]:
        """Make a route of a function: DELETE."""
        return self._route("DELETE", path, errors)

    def _route[F: Callable[..., Any]](
        self, method: str, path: str, errors: Sequence[type[VaultError]]
    ) -> Callable[[F], F]:
        def register(function: F) -> F:
            hints = get_type_hints(function, include_extras=True)
            answer = hints["return"]
            names = [name for name in inspect.signature(function).parameters if f"{{{name}}}" in path]
            self.routes.append(
                Route(
                    method=method,
                    path=path,
                    tag=self.tag,
                    function=function,
                    errors=tuple(errors),
                    path_types={name: TypeAdapter(hints[name]) for name in names},
                    query=hints.get("query"),
                    body=hints.get("body"),
                    answer=None if answer is type(None) else answer,
                )
            )
            return function

        return register
