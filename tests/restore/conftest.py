"""Restores through the handlers, into protocol servers of each version."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from local.aws import Ministack
from tests.support.importing import Size, fill, quick
from tests.support.milvus_server.core import Settings
from tests.support.milvus_server.server import MilvusServer
from tests.support.milvus_server.versions import VERSIONS
from tests.support.restoring import Restoring

SPEED = 60
_NEVER = 10**6
_numbers = itertools.count()

type Deploy = Callable[..., Restoring]
type Archive = Callable[..., tuple[Restoring, str]]

# Not every invocation has something to count.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")


def start_server(
    ministack: Ministack, running: ExitStack, version: str, environment: dict[str, str] | None = None, **settings: Any
) -> Restoring:
    """Start a server of a version that stops with what runs; further settings of it by name."""
    s3 = ministack.client("s3")
    durations = replace(VERSIONS[version].durations, l0_compaction=_NEVER)
    server = MilvusServer(
        s3.meta.endpoint_url,
        version=version,
        bucket=f"restore-{next(_numbers)}",
        settings=Settings(**{"speed": SPEED, "durations": durations, **settings}),
    )
    running.enter_context(server)
    return Restoring(s3, server, environment or {})


@pytest.fixture
def deploy(ministack: Ministack) -> Iterator[Deploy]:
    """Start a server of a version: `deploy(version, environment, server settings by name)`."""
    with ExitStack() as running:

        def deploy_one(version: str, environment: dict[str, str] | None = None, **settings: Any) -> Restoring:
            return start_server(ministack, running, version, environment, **settings)

        yield deploy_one


@pytest.fixture(scope="module")
def archive(ministack: Ministack) -> Iterator[Archive]:
    """Back filled servers up, each once: `archive(version, size, with more deletes)` returns source and name."""
    with ExitStack() as running:

        @cache
        def archive_one(version: str, size: Size, more_deletes: tuple[str, ...] = ()) -> tuple[Restoring, str]:
            source = start_server(ministack, running, version, durations=quick(version))
            fill(source, size, more_deletes)
            name = f"filled_{next(_numbers)}"
            source.back_up(name)
            return source, name

        yield archive_one
