"""What the words and numbers of Milvus, and of what lies in front of it, are called here."""

from contextlib import suppress
from typing import Any, override

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus.grpc_gen import milvus_pb2

from milvus_vault.adapters.milvus_calls import MilvusCall
from milvus_vault.adapters.milvus_errors import Answer, check, from_rpc, one_line
from milvus_vault.adapters.milvus_reading import ServerClient
from milvus_vault.errors import MilvusRequestError, MilvusUnavailableError, VaultError
from milvus_vault.model.health import ServerHealth
from tests.support.faults import cases, hard_texts

# A reason as 2.4 to 2.6 give it when a coordinator was started again.
TRACED = (
    "stack trace: /workspace/source/pkg/tracer/stack_trace.go:51 github.com/milvus-io/milvus/pkg/v2/tracer.StackTrace\n"
    "/workspace/source/internal/util/grpcclient/client.go:571 github.com/milvus-io/milvus/internal/util/grpcclient."
    "(*ClientBase[...]).Call\n"
    "/usr/local/go/src/runtime/asm_amd64.s.go:1695 runtime.goexit: node not match[expectedNodeID=1][actualNodeID=7]"
)


def rpc_failed(code: grpc.StatusCode, details: str) -> grpc.RpcError:
    """Return a call that failed on its way."""
    told = {"code": lambda _: code, "details": lambda _: details}
    return type("RpcFailed", (grpc.RpcError, grpc.Call), told)()


@pytest.mark.parametrize(
    ("code", "details"),
    [
        ("UNKNOWN", "service unavailable: internal: Milvus Proxy is not ready yet. please wait"),
        ("UNKNOWN", "Milvus Proxy is not ready yet. please wait"),
        ("UNKNOWN", "Stream removed"),
        ("INTERNAL", "Received RST_STREAM with error code 2"),
        ("UNKNOWN", TRACED),
        ("ABORTED", "try again"),
        ("UNAVAILABLE", "failed to connect to all addresses"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded"),
    ],
)
def test_a_server_that_starts_is_unavailable_by_grpc(code: str, details: str) -> None:
    found = from_rpc(rpc_failed(grpc.StatusCode[code], details), "Flush", "http://milvus:19530")

    assert type(found) is MilvusUnavailableError
    assert type(found).retryable
    assert "\n" not in found.message


def test_other_failures_of_a_call_stay_what_they_are() -> None:
    found = from_rpc(rpc_failed(grpc.StatusCode.UNKNOWN, "no such thing"), "Flush", "http://milvus:19530")

    assert type(found) is MilvusRequestError


@pytest.mark.parametrize(
    ("code", "legacy", "reason"),
    [
        (1, 0, "service not ready[proxy=1]: Initializing"),
        (65535, 1, "service unavailable: internal: Milvus Proxy is not ready yet. please wait"),
        (65535, 1, "rootcoord is not ready"),
        (904, 50, "node not match[expectedNodeID=1][actualNodeID=7]"),
        (0, 50, "node id not matched"),
        (65535, 1, TRACED),
    ],
)
def test_a_server_that_starts_is_unavailable_by_its_answer(code: int, legacy: int, reason: str) -> None:
    with pytest.raises(MilvusUnavailableError) as caught:
        check(Answer(code, reason, legacy), "DescribeCollection", "lib.books")

    assert caught.value.message.count("\n") == 0


def test_frames_of_go_are_left_out_and_the_cause_is_not() -> None:
    assert one_line(TRACED) == "node not match[expectedNodeID=1][actualNodeID=7]"
    assert one_line(f"attempt #0: {TRACED}: attempt #1: gone") == (
        "attempt #0: node not match[expectedNodeID=1][actualNodeID=7]: attempt #1: gone"
    )
    assert one_line("disk quota\n exceeded") == "disk quota exceeded"


class OneAnswer(MilvusCall):
    """A server that gives one answer to whatever it is asked."""

    def __init__(self, answer: object) -> None:
        self.uri = "http://milvus:19530"
        self._answer = answer

    @override
    def __call__(self, *_: object, **__: object) -> Any:
        return self._answer


def health(answer: object) -> ServerHealth:
    """Return what we make of a server's answer about its health."""
    return ServerClient(OneAnswer(answer)).health()


def test_what_is_not_healthy_after_a_restart_is_no_limit_and_told_once() -> None:
    answer = milvus_pb2.CheckHealthResponse(isHealthy=False, reasons=[TRACED, TRACED, TRACED])

    found = health(answer)

    assert (found.limits, found.ailments) == ((), ("node not match[expectedNodeID=1][actualNodeID=7]",))
    assert found.warning.startswith("Milvus says that it is not healthy: node not match[")
    assert found.warning.count("\n") == 0


def test_a_healthy_server_has_nothing_to_say() -> None:
    assert health(milvus_pb2.CheckHealthResponse(isHealthy=True)) == ServerHealth()
    assert not ServerHealth().warning


def test_a_limit_is_one_line() -> None:
    said = {"isHealthy": True, "quota_states": [5, 99], "reasons": [f"disk quota exceeded\n{TRACED}"]}
    answer = milvus_pb2.CheckHealthResponse(**said)

    assert health(answer) == ServerHealth(
        limits=("DenyToWrite: disk quota exceeded node not match[expectedNodeID=1][actualNodeID=7]", "state 99: ")
    )


@cases(100)
@given(st.sampled_from(list(grpc.StatusCode)), hard_texts)
def test_whatever_a_call_fails_with_is_named(status: grpc.StatusCode, details: str) -> None:
    assert isinstance(from_rpc(rpc_failed(status, details), "Flush", "http://milvus:19530"), VaultError)


@cases(100)
@given(st.integers(0, 70_000), st.integers(0, 1100), hard_texts)
def test_whatever_an_answer_says_is_named(code: int, legacy: int, reason: str) -> None:
    with suppress(VaultError):
        check(Answer(code, reason, legacy), "DescribeCollection", "lib.books")
        assert not code
        assert not legacy
