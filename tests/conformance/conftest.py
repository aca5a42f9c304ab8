"""Protocol servers for the tests here, each with a bucket of its own."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.conformance.asking import Milvus
from tests.support.milvus_server.core import Settings
from tests.support.milvus_server.server import MilvusServer
from tests.support.milvus_server.versions import VERSIONS
from tests.support.quick_s3 import QuickS3
from tests.support.waits import short_waits

__all__ = ["short_waits", "start"]

SPEED = 40
_POLL_SECONDS = 0.02
_SETTLE_SECONDS = 2
_numbers = itertools.count()

# Longer than any test lasts: for what is not to happen meanwhile.
NEVER = 10**6


@dataclass(frozen=True)
class Running:
    """A protocol server, and what asks it."""

    server: MilvusServer
    milvus: Milvus


type Start = Callable[..., Running]


@pytest.fixture
def start(quick_s3: QuickS3) -> Iterator[Start]:
    """Start servers: `start(version, durations by name, other settings)`. They stop with the test."""
    with ExitStack() as running:

        def start_one(version: str, durations: dict[str, float] | None = None, **options: Any) -> Running:
            s3 = quick_s3.client()
            taken: dict[str, Any] = {"l0_compaction": NEVER} | (durations or {})
            chosen: dict[str, Any] = {"speed": SPEED, "durations": replace(VERSIONS[version].durations, **taken)}
            chosen |= {name: options.pop(name) for name in list(options) if hasattr(Settings, name)}
            server = MilvusServer(
                s3.meta.endpoint_url,
                version=version,
                bucket=f"behaviour-{next(_numbers)}",
                settings=Settings(**chosen),
                **options,
            )
            running.enter_context(server)
            settle_seconds = server.seconds(_SETTLE_SECONDS)
            milvus = Milvus(
                server.uri, server.management_uri, s3, server.bucket, server.root_path, settle_seconds, _POLL_SECONDS
            )
            return Running(server, milvus)

        yield start_one
