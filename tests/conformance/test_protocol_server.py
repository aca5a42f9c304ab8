"""The protocol server, in each version's mode, answers what the real server of that version answered."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.conformance.asking import Milvus, status
from tests.conformance.comparing import EXCEPTIONS, ask, flat, known
from tests.conformance.conftest import Start
from tests.conformance.questions import SCENARIOS
from tests.support.milvus_server.calls.table import CALLS
from tests.support.milvus_server.core import Settings
from tests.support.milvus_server.server import MilvusServer
from tests.support.milvus_server.versions import OBSERVED, VERSIONS
from tests.support.quick_s3 import QuickS3

pytestmark = pytest.mark.tools("milvus")

# 2.2 was never asked.
SPEED = 40
SETTLE_SECONDS = 2
POLL_SECONDS = 0.02

# Here some seconds pass between questions that followed each other at once on the real servers, whose deletes are
# folded into segments 20 to 60 s after a flush.
LONG_AFTER = 6000


@pytest.fixture(scope="module", params=OBSERVED)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def milvus(quick_s3: QuickS3, version: str) -> Iterator[Milvus]:
    s3 = quick_s3.client()
    settings = Settings(speed=SPEED, durations=replace(VERSIONS[version].durations, l0_compaction=LONG_AFTER))
    bucket = f"conformance-{version.replace('.', '-')}"
    with MilvusServer(s3.meta.endpoint_url, version=version, bucket=bucket, settings=settings) as server:
        settle_seconds = server.seconds(SETTLE_SECONDS)
        yield Milvus(server.uri, server.management_uri, s3, bucket, server.root_path, settle_seconds, POLL_SECONDS)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_protocol_server_answers_as_the_real_one_did(milvus: Milvus, version: str, scenario: str) -> None:
    expected = flat(known(version)[scenario], scenario)
    found = flat(ask(milvus, scenario), scenario)
    differing = {fact for fact in expected.keys() | found.keys() if expected.get(fact) != found.get(fact)}
    excepted = {fact for of, fact in EXCEPTIONS if of == version and fact.startswith(f"{scenario} /")}
    assert {fact: (expected.get(fact), found.get(fact)) for fact in differing - excepted} == {}
    assert excepted - differing == set(), "these are exceptions no longer"


def test_a_mistake_of_the_server_is_noted_and_what_it_refuses_is_none(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start("2.5.27")
    failures = running.server.core.agenda.failures
    running.server.core.faults.unavailable_calls = 1
    assert status(running.milvus.call("HasCollection", collection_name="c")) == "UNAVAILABLE"
    assert failures == []

    def mistake(*_: object) -> None:
        raise KeyError("nobody thought of it")

    monkeypatch.setitem(CALLS, "HasCollection", mistake)
    assert status(running.milvus.call("HasCollection", collection_name="c")) == "UNKNOWN"
    assert [type(failure) for failure in failures] == [KeyError]
    # Left there, it would fail this test when the server stops.
    failures.clear()
