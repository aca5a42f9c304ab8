"""Restores through the handlers, into protocol servers of each version."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from tests.restore.servers import Filled, Servers, start_server
from tests.support.importing import Size, fill, quick
from tests.support.quick_s3 import QuickS3
from tests.support.restoring import Restoring
from tests.support.waits import short_waits

__all__ = ["archive", "deploy", "filled", "let_executions_be", "servers", "short_waits"]

type Deploy = Callable[..., Restoring]
type Archive = Callable[..., tuple[Restoring, str]]

# Not every invocation has something to count.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")


@pytest.fixture
def deploy(quick_s3: QuickS3) -> Iterator[Deploy]:
    """Start a server of a version: `deploy(version, environment, server settings by name)`."""
    with ExitStack() as running:

        def deploy_one(version: str, environment: dict[str, str] | None = None, **settings: Any) -> Restoring:
            return start_server(quick_s3, running, version, environment, **settings)

        yield deploy_one


@pytest.fixture
def let_executions_be(quick_s3: QuickS3, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let Step Functions say of every execution that it has a status; else it knows none."""

    def let_be(status: str) -> None:
        def answered(_client: object, operation: str, carry_out: Callable[[], Any]) -> Any:
            return {"status": status} if operation == "DescribeExecution" else carry_out()

        monkeypatch.setattr(quick_s3, "between", answered)

    return let_be


@pytest.fixture(scope="module")
def archive(quick_s3: QuickS3) -> Iterator[Archive]:
    """Back filled servers up, each once: `archive(version, size, with more deletes)` returns source and name."""
    with ExitStack() as running:

        @cache
        def archive_one(version: str, size: Size, more_deletes: tuple[str, ...] = ()) -> tuple[Restoring, str]:
            source = start_server(quick_s3, running, version, durations=quick(version))
            fill(source, size, more_deletes)
            name = f"filled_{source.server.bucket.replace('-', '_')}"
            source.back_up(name)
            return source, name

        yield archive_one


@pytest.fixture(scope="module")
def servers(quick_s3: QuickS3) -> Iterator[Servers]:
    with ExitStack() as running:
        yield Servers(quick_s3, running)


@pytest.fixture
def filled(servers: Servers, version: str) -> Iterator[Filled]:
    """The server of a version, as it was before the test but for collections that the test made."""
    found = servers.filled(version)
    yield found
    found.restoring.after, found.restoring.environment = {}, {}
