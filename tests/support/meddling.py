"""Faults between a function and what it asks: S3, Milvus, and the other services of AWS."""

import io
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import wraps
from http import HTTPStatus
from random import Random
from typing import Any, get_protocol_members, override

import pytest
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, ReadTimeoutError
from botocore.response import StreamingBody

from milvus_vault.adapters import s3 as adapter
from milvus_vault.adapters.management import MilvusGarbageCollector
from milvus_vault.adapters.milvus import MilvusDatabase
from milvus_vault.adapters.milvus_imports import GrpcImporter
from milvus_vault.adapters.milvus_rest import RestImporter
from milvus_vault.api.problems import INTERNAL_FAULT
from milvus_vault.errors import (
    CollectionNotFoundError,
    DatabaseNotFoundError,
    FlushTimeoutError,
    MilvusAuthenticationError,
    MilvusPermissionError,
    MilvusRequestError,
    MilvusUnavailableError,
    VaultError,
)
from milvus_vault.ports import GarbageCollector, Importer, VectorDatabase
from tests.support.faults import is_many
from tests.support.lambda_context import Invocation
from tests.support.mistakes import MistakesNoted
from tests.support.privilege import guarded, is_of_a_function
from tests.support.quick_s3 import URL, Answer, QuickS3, RefusedError
from tests.support.restoring import Json, Restoring

FAULTS = 5 if is_many() else 2
"""Calls of each function with a fault in them, before the one that has none."""

REFUSALS = [
    ("SlowDown", 503),
    ("InternalError", 500),
    ("AccessDenied", 403),
    ("NoSuchKey", 404),
    ("NoSuchBucket", 404),
    ("PreconditionFailed", 412),
    ("ConditionalRequestConflict", 409),
    ("InvalidObjectState", 403),
    ("ThrottlingException", 400),
    ("SomethingNew", 418),
]
BREAKS = [ConnectionClosedError, EndpointConnectionError, ReadTimeoutError]
_OF_ALL = (MilvusUnavailableError, MilvusRequestError)
_OF_USERS = (*_OF_ALL, MilvusAuthenticationError, MilvusPermissionError)
_OF_NAMES = (*_OF_USERS, CollectionNotFoundError, DatabaseNotFoundError, FlushTimeoutError)

# The ports of Milvus, what implements them, and what their calls may end in.
_PORTS: list[tuple[type, type, tuple[type[VaultError], ...]]] = [
    (VectorDatabase, MilvusDatabase, _OF_NAMES),
    (Importer, GrpcImporter, _OF_USERS),
    (Importer, RestImporter, _OF_USERS),
    (GarbageCollector, MilvusGarbageCollector, _OF_ALL),
]


@dataclass
class Faults:
    """One answer that goes wrong, after some that do not."""

    seed: int
    random: Random = field(init=False)
    left: int = -1
    """How many answers are right until then; below 0 all are."""
    _times: Counter[str] = field(default_factory=Counter)

    def arm(self, function: str) -> None:
        """Choose which answer to a function goes wrong. Most functions get few; some hundred."""
        # By the function's own calls: of others, such as for the state of an import, nobody knows how many there are.
        self._times[function] += 1
        self.random = Random(f"{self.seed} {function} {self._times[function]}")  # noqa: S311 - chances, not secrets
        self.left = int(self.random.expovariate(1 / 12))

    def disarm(self) -> None:
        """Let all answers be right."""
        self.left = -1

    @property
    def is_due(self) -> bool:
        """Count an answer, and return whether it is the one."""
        self.left -= 1
        return self.left == -1

    def of_aws(self, client: Any, operation: str, carry_out: Callable[[], Answer]) -> Answer:
        """Answer a request to AWS; those of Milvus itself as they are."""
        is_s3 = client.meta.service_model.service_name == "s3"
        if (is_s3 and not is_of_a_function(client)) or not self.is_due:
            return carry_out()
        match self.random.randrange(4):
            case 0:
                raise RefusedError(*self.random.choice(REFUSALS))
            case 1:
                # It was carried out, and nobody was told.
                carry_out()
                raise self.random.choice(BREAKS)(endpoint_url=URL, error=operation)
            case 2:
                answer = carry_out()
                return {name: answer[name] for name in answer if self.random.random() < 0.5}
        answer = carry_out()
        for name in ("Body", "Payload"):
            if name in answer:
                body = self._damaged(answer[name].read())
                answer[name] = StreamingBody(io.BytesIO(body), len(body))
        return answer

    def of_milvus(self, leaves: tuple[type[VaultError], ...], call: Callable[[], Any]) -> Any:
        """Answer a call of Milvus, or raise what it may end in: before it is carried out, or after."""
        if not self.is_due:
            return call()
        if self.random.random() < 0.3:
            call()
            raise MilvusUnavailableError("by chance, and it was carried out", hint="Look again.")
        raise self.random.choice(leaves)("by chance", hint="Look again.")

    def _damaged(self, body: bytes) -> bytes:
        at = self.random.randrange(len(body) + 1)
        middle = self.random.choice([b"", self.random.randbytes(3), b'{"a": [', b"\x00", b"\xff\xfe"])
        return body[:at] + middle + self.random.choice([b"", body[at + 1 :]])


@dataclass
class Faulty(Restoring):
    """A deployment whose functions meet faults before each of their calls."""

    faults: Faults = field(default_factory=lambda: Faults(0))
    unnamed: list[str] = field(default_factory=list)
    """Functions that ended otherwise than they may."""
    told: list[tuple[str, Json, Json]] = field(default_factory=list)
    """Function, event and result of each call that ended in one."""
    count: int = FAULTS
    is_guarded: bool = True
    """Whether a function that asks for more than its role allows fails; it may where it is given what no machine is."""

    @override
    def _call(self, handler: Callable[..., Any], event: Json) -> Json:
        for _ in range(self.count):
            self.faults.arm(_name(handler))
            with suppress(VaultError):
                self.once(handler, event)
        self.faults.disarm()
        return self.once(handler, event)

    def once(self, handler: Callable[..., Any], event: Any) -> Json:
        """Call a function, and write down what comes of it."""
        noted = MistakesNoted(lambda err: self.unnamed.append(f"{_name(handler)}: {err!r}"), but=(VaultError,))
        with noted, guarded(handler.__module__, os.environ) if self.is_guarded else nullcontext():
            result: Json = handler(event, Invocation())
        # A door answers where others raise.
        if result.get("statusCode") == HTTPStatus.INTERNAL_SERVER_ERROR and INTERNAL_FAULT in result["body"]:
            self.unnamed.append(f"{_name(handler)}: {event} is answered {result['body']}")
        self.told.append((_name(handler), event, result))
        return result


def _name(handler: Callable[..., Any]) -> str:
    """Return the name of a function: that of its folder."""
    return handler.__module__.partition(".")[0]


@contextmanager
def meddling(faults: Faults, quick_s3: QuickS3) -> Iterator[None]:
    """Let AWS and Milvus answer by the faults."""

    def meddled(leaves: tuple[type[VaultError], ...], call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def asked(*arguments: Any, **named: Any) -> Any:
            return faults.of_milvus(leaves, lambda: call(*arguments, **named))

        return asked

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapter, "_READ_WAIT_SECONDS", 0.0)
        patch.setattr(adapter, "_CONFLICT_WAIT_SECONDS", 0.0)
        for port, implementation, leaves in _PORTS:
            for name in sorted(get_protocol_members(port)):
                if callable(getattr(port, name)):
                    patch.setattr(implementation, name, meddled(leaves, getattr(implementation, name)))
        patch.setattr(quick_s3, "between", faults.of_aws)
        if not is_many():
            # One after the other, so that the same seed gives the same fault.
            begin = ThreadPoolExecutor.__init__
            patch.setattr(ThreadPoolExecutor, "__init__", lambda pool, *_, **__: begin(pool, 1))
        yield
