"""A flush is waited for without asking too often, and is not seen much later than it is done."""

from types import SimpleNamespace
from typing import Any

import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from milvus_vault.adapters import milvus_flushes
from milvus_vault.adapters.milvus_flushes import FlushClient


class Server:
    """Flushes a collection in so many seconds, by a clock that only sleeping moves."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now = 0.0
        self.looks = 0
        self.uri = "http://milvus"

    def __call__(self, name: str, *_: Any, **__: Any) -> Any:
        if name == "Flush":
            segments = {"books": {"data": [1]}}
            return milvus_pb2.FlushResponse(coll_segIDs=segments, coll_flush_ts={"books": 1})
        self.looks += 1
        return milvus_pb2.GetFlushStateResponse(status=common_pb2.Status(), flushed=self.now >= self.seconds)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@pytest.mark.parametrize(("seconds", "most_looks"), [(0.0, 1), (0.4, 5), (3.0, 9), (60.0, 39)])
def test_a_flush_is_seen_soon_after_it_is_done(
    monkeypatch: pytest.MonkeyPatch, seconds: float, most_looks: int
) -> None:
    server = Server(seconds)
    monkeypatch.setattr(milvus_flushes, "time", SimpleNamespace(sleep=server.sleep, monotonic=lambda: server.now))
    client: Any = server

    FlushClient(client).flush("default", "books", timeout_seconds=600)

    assert seconds <= server.now <= max(seconds + 0.1, min(seconds * 1.5, seconds + 2.0))
    assert server.looks <= most_looks
