"""The gRPC service: who calls, whether that may be, which faults are due, and what answers."""

import base64
from collections.abc import Callable, Iterable
from typing import Any

import grpc
from pymilvus.grpc_gen import common_pb2, milvus_pb2, rg_pb2

from tests.support.milvus_server.calls import access, collections, imports, indexes, rows, search, segments, server
from tests.support.milvus_server.calls.table import CALLS, DEFAULT_GROUP, Call
from tests.support.milvus_server.catalog import DEFAULT
from tests.support.milvus_server.core import Core
from tests.support.milvus_server.importing import Imports
from tests.support.milvus_server.rbac import Rbac, named_in
from tests.support.milvus_server.refusals import UNEXPECTED, Refusal
from tests.support.milvus_server.values import Message
from tests.support.mistakes import MistakesNoted

SUBJECTS = (access, collections, imports, indexes, rows, search, segments, server)
"""The modules that fill the table of calls."""

_ANSWERS = {
    method.name: method.output_type._concrete_class
    for method in milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"].methods
}
_SERVICE = milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"].full_name
_NOT_READY, _NOT_READY_LEGACY = 1, 56
_OPEN_CALLS = {"Connect", "GetVersion"}


class UnavailableError(Exception):
    """A fault is due: the server does not answer."""


class DeniedError(Exception):
    """The caller is nobody that the server knows, or may not do this."""

    def __init__(self, message: str, *, is_known: bool) -> None:
        """Say why; `is_known` where the user exists and lacks a right."""
        super().__init__(message)
        self.is_known = is_known


class Service:
    """All that a server can do, for whatever way a call takes to it."""

    def __init__(self, core: Core) -> None:
        """Begin with nothing but the default database."""
        self.core = core
        self.rbac = Rbac()
        self.imports = Imports(core)
        limit = rg_pb2.ResourceGroupLimit(node_num=core.settings.query_nodes)
        self.groups: dict[str, Message] = {DEFAULT_GROUP: rg_pb2.ResourceGroupConfig(requests=limit)}

    def caller(self, name: str, user: str, password: str, database: str = "", collections: Iterable[str] = ()) -> Call:
        """Return who calls something of these collections. Raises `DeniedError`."""
        if self.core.settings.authorization and name not in _OPEN_CALLS:
            if not self.rbac.knows(user, password):
                raise DeniedError("auth check failure, please check username and password are correct", is_known=False)
            if not self.rbac.allows(user, name, database or DEFAULT, collections):
                raise DeniedError(f"PrivilegeCall: permission deny to {user} in the `{name}` call", is_known=True)
        return Call(self.core, self.rbac, self.imports, self.groups, user, database)

    def check_faults(self, name: str) -> None:
        """Raise `UnavailableError` or `Refusal` where a fault is due before a call."""
        faults = self.core.faults
        if name in faults.refused_names:
            raise Refusal(UNEXPECTED, f"{name} is refused")
        is_meant = not faults.unavailable_names or name in faults.unavailable_names
        if faults.unavailable_calls and is_meant:
            faults.unavailable_calls -= 1
            raise UnavailableError
        if faults.moves_leader and is_meant:
            faults.moves_leader -= 1
            raise Refusal(_NOT_READY, "service not ready[rootcoord=1]: Abnormal", _NOT_READY_LEGACY)

    def check_answer(self, name: str) -> None:
        """Raise `UnavailableError` where an answer is to be lost."""
        faults = self.core.faults
        if faults.lost_answers and (not faults.unavailable_names or name in faults.unavailable_names):
            faults.lost_answers -= 1
            raise UnavailableError

    def answer(self, name: str, call: Call, request: Message) -> Message:
        """Do what a call asks for."""
        answer = _ANSWERS[name]()
        with self.core.lock:
            try:
                self.check_faults(name)
                CALLS[name](call, request, answer)
            except Refusal as err:
                # A refused call may have filled some of its answer.
                answer = _ANSWERS[name]()
                status = answer if isinstance(answer, common_pb2.Status) else answer.status
                status.CopyFrom(err.status(self.core.version))
            if "status" in answer.DESCRIPTOR.fields_by_name:
                # There even where it says nothing: some clients refuse an answer without one.
                answer.status.SetInParent()
            self.check_answer(name)
        return answer

    def has(self, name: str) -> bool:
        """Return whether this version knows a call."""
        return name in CALLS and self.core.version.has_call(name)


class Servicer:
    """What the generated code asks for a method of each call's name."""

    def __init__(self, service: Service) -> None:
        """Answer with a service."""
        self._service = service

    def __getattr__(self, name: str) -> Callable[[Message, Any], Message]:
        """Return what answers to a call."""
        return lambda request, context: self._answer(name, request, context)

    def _answer(self, name: str, request: Message, context: Any) -> Message:
        service = self._service
        if not service.has(name):
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"unknown method {name} for service {_SERVICE}")
        user, password, database = _credentials(context.invocation_metadata())
        try:
            with MistakesNoted(service.core.agenda.failures.append, but=(DeniedError, UnavailableError)):
                call = service.caller(name, user, password, database, named_in(name, request))
                return service.answer(name, call, request)
        except DeniedError as err:
            code = grpc.StatusCode.PERMISSION_DENIED if err.is_known else grpc.StatusCode.UNAUTHENTICATED
            context.abort(code, str(err))
        except UnavailableError:
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection error: desc = transport is closing")


def _credentials(metadata: Iterable[tuple[str, str]]) -> tuple[str, str, str]:
    found = dict(metadata)
    try:
        user, _, password = base64.b64decode(found.get("authorization", "")).decode().partition(":")
    except ValueError:
        user = password = ""
    return user, password, found.get("dbname", "")
