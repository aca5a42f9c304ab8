"""The table of calls: what answers to which name."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pymilvus.grpc_gen import common_pb2

from tests.support.milvus_server import refusals
from tests.support.milvus_server.catalog import DEFAULT, Collection
from tests.support.milvus_server.core import Core
from tests.support.milvus_server.rbac import Rbac
from tests.support.milvus_server.values import Message

type Handler = Callable[["Call", Message, Message], None]
"""Takes the call, its request and the answer to fill; raises `Refusal`."""

DEFAULT_GROUP = "__default_resource_group"

CALLS: dict[str, Handler] = {}


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, and the server that is called."""

    core: Core
    rbac: Rbac
    imports: Any
    """The import jobs, of `importing`, which knows this module."""
    groups: Any
    """The resource groups."""
    user: str
    header_database: str

    def database(self, request: Message) -> str:
        """Return the database that a request is about: in the request, else in the header."""
        named = getattr(request, "db_name", "") or getattr(request, "dbName", "")
        return str(named or self.header_database or DEFAULT)

    def collection(self, request: Message, *, described: bool = False) -> Collection:
        """Return the collection that a request is about, by name, alias or number."""
        name = getattr(request, "collection_name", "") or getattr(request, "collectionName", "")
        if not name and getattr(request, "collectionID", None):
            return self.core.catalog.by_id(request.collectionID)
        refusals.check_name(self.core.version, "collection name", name)
        return self.core.catalog.collection(self.database(request), name, described=described)


def answers(name: str) -> Callable[[Handler], Handler]:
    """Make a function answer to a call."""

    def register(handler: Handler) -> Handler:
        CALLS[name] = handler
        return handler

    return register


def pairs(values: dict[str, str]) -> list[Message]:
    """Return properties as messages have them."""
    return [common_pb2.KeyValuePair(key=key, value=value) for key, value in values.items()]


def as_dict(items: Iterable[Message]) -> dict[str, str]:
    """Return properties from a message."""
    return {item.key: item.value for item in items}
