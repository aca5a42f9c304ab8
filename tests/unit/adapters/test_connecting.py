"""The connection to Milvus: it is there when somebody answers, whatever is answered, and leaves nothing running."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from local.processes import LOOPBACK, free_ports
from milvus_vault.adapters import milvus
from milvus_vault.errors import MilvusUnavailableError


@pytest.fixture
def address() -> Iterator[str]:
    """A server of gRPC that knows no call at all."""
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    port = server.add_insecure_port(f"{LOOPBACK}:0")
    server.start()
    yield f"http://{LOOPBACK}:{port}"
    server.stop(None).wait()


def test_a_server_that_refuses_the_first_call_is_connected_to(address: str) -> None:
    with milvus.connect(address):
        pass


def test_nothing_watches_a_connection_which_would_have_to_end_before_it_can_be_closed(address: str) -> None:
    """A subscription to a channel's state has a thread, which looks five times a second whether it may end."""
    with milvus.connect(address):
        before = set(threading.enumerate())
    with milvus.connect(address):
        assert set(threading.enumerate()) <= before


def test_nobody_there_is_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus, "CONNECT_SECONDS", 0.3)
    address = f"http://{LOOPBACK}:{free_ports()}"
    with (
        pytest.raises(MilvusUnavailableError, match=f"no connection to Milvus at {address} within"),
        milvus.connect(address),
    ):
        pass
