"""Waits of functions and clients in the tests' own process, cut to the pace of the protocol server.

It is 40 to 60 times as fast as Milvus. Who asks it twice a second, as pymilvus does whether a flush or an index is
ready, waits most of its time for nothing. How long is waited is looked at where that is the point, as in
tests/unit/adapters; here only what is waited for.
"""

import time
from types import SimpleNamespace

import pytest
from copy_batch import handler as copy_batch
from plan_copy import handler as plan_copy
from pymilvus import decorators
from pymilvus.client import grpc_handler

from milvus_vault.adapters import milvus_flushes, milvus_segments
from milvus_vault.backup import segments
from milvus_vault.copying.pacer import Pacer

PAUSE_SECONDS = 0.01
# Between looks at segments, of which there are only so many: no shorter for the server than half a second for Milvus.
_LOOK_SECONDS = 0.02
# The S3 of the tests takes whatever comes; how fast is asked of one that does not is tests/unit/copying's matter.
_COPIES_PER_SECOND = 100_000.0


def _sleep(seconds: float) -> None:
    time.sleep(min(seconds, PAUSE_SECONDS))


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let functions and pymilvus ask again soon."""
    for module in (grpc_handler, decorators):
        monkeypatch.setattr(module, "time", SimpleNamespace(**{**vars(time), "sleep": _sleep}))
    monkeypatch.setattr(milvus_flushes, "FIRST_POLL_SECONDS", PAUSE_SECONDS)
    monkeypatch.setattr(milvus_flushes, "LONGEST_POLL_SECONDS", PAUSE_SECONDS)
    monkeypatch.setattr(milvus_segments, "SEGMENT_INFO_PAUSE_SECONDS", _LOOK_SECONDS)
    monkeypatch.setattr(segments, "PAUSE_SECONDS", _LOOK_SECONDS)
    for module in (copy_batch, plan_copy):
        monkeypatch.setattr(module, "PACER", Pacer(start_rate=_COPIES_PER_SECOND))
