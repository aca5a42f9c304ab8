"""Servers for the tests that need real ones: each starts when the first test asks for it, and ends with the session."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache

# Read when gRPC is loaded. Its threads, taken up again in a forked child, abort it when the child closes their files
# before it becomes another program: of 150 programs in terminals, 4 ended by SIGABRT before they began.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import botocore.loaders
import botocore.session
import pytest
from hypothesis import settings

from local.aws import RIGHTS, Ministack
from local.processes import exit_on_signals
from local.seaweedfs import SeaweedFS
from local.stack import LocalStack
from milvus_vault.backup import moment
from tests import tiers
from tests.compatibility import recording
from tests.support import faults
from tests.support.milvus_data import collections_of
from tests.support.quick_s3 import QuickS3
from tests.support.vault_runs import staged

faults.register()

# How long an example takes says what else the machine does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Each session reads the descriptions of services anew, which is most of what a client of S3 takes to make. Here they
# share what has been read: nothing changes it.
botocore.session.create_loader = cache(botocore.loaders.create_loader)

# Waits and the pauses of retries as long as they are on AWS: tests of timing must mean something.
WAIT_SCALE = 1.0

# For functions that run in the tests' own process; those of a stack wait as long as on AWS.
MARGIN_SECONDS = 0.05


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let all tests be asked for."""
    tiers.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Stop all servers in order when the test run is told to end, and write down which features the tests show."""
    exit_on_signals()
    given = config.rootpath / ".make" / "rights-of-stacks.txt"
    # It names resources by their places in a statement, which another template may have changed.
    if given.exists() and given.stat().st_mtime < (config.rootpath / "template.yaml").stat().st_mtime:
        given.unlink(missing_ok=True)
    os.environ[RIGHTS] = str(given)
    # A shell's program in the background ignores Ctrl-C, and so would each that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    recording.register(config)
    tiers.register(config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each test an ID of its own: of several that share one, xdist runs one and says nothing.

    schemathesis gives those of all routes the ID of their function. Raises `pytest.UsageError` for others.
    """
    for item in items:
        route = item.name.removeprefix(item.nodeid.rpartition("::")[2])
        if item.id.params is None and route:
            item._id = item.id.with_params(route.removeprefix("[").removesuffix("]"))
    if doubled := [name for name, count in Counter(item.nodeid for item in items).items() if count > 1]:
        msg = f"several tests have the ID {doubled[0]}"
        raise pytest.UsageError(msg)
    tiers.leave_out(config, items)


def pytest_sessionfinish() -> None:
    """Write down which rights the functions have needed, where any was held against its role."""
    if "tests.support.privilege" in sys.modules:
        from tests import rights
        from tests.support import privilege

        rights.add(privilege.NOTED)


@pytest.fixture(autouse=True)
def _margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the moment of a backup lie shortly before its flush: the protocol server's requests take no second."""
    monkeypatch.setattr(moment, "MARGIN_SECONDS", MARGIN_SECONDS)


@pytest.fixture(scope="session")
def ministack() -> Iterator[Ministack]:
    """Run an emulator of AWS with nothing deployed."""
    with Ministack(wait_scale=WAIT_SCALE) as server:
        yield server


@pytest.fixture(scope="session")
def quick_s3() -> Iterator[QuickS3]:
    """Run the S3 server that lies within the process."""
    with QuickS3() as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[SeaweedFS]:
    """Run the stricter S3 server."""
    with SeaweedFS() as server:
        yield server


@pytest.fixture(scope="session")
def _running_stack() -> Iterator[LocalStack]:
    """Run a Milvus and the deployed template, whose functions may do only what it allows them.

    What `make build` made must be there.
    """
    with LocalStack(wait_scale=WAIT_SCALE, enforce_policies=True) as running:
        yield running


@pytest.fixture(scope="module")
def stack(_running_stack: LocalStack) -> Iterator[LocalStack]:
    """Lend the stack that all modules share.

    Who fills its Milvus empties it again and leaves nothing staged, and who needs a bucket with nothing in it deploys a
    stack of its own.
    """
    yield _running_stack
    assert (collections_of(_running_stack.milvus_uri), staged(_running_stack)) == (set(), set())
