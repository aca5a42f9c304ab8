"""The questions themselves are stable: the real 2.3.5 still answers what it answered when its facts were written."""

from collections.abc import Iterator

import pytest

from local.aws import Ministack
from local.milvus import Milvus as RealMilvus
from tests.conformance.asking import Milvus
from tests.conformance.comparing import ask, flat, known
from tests.conformance.questions import SCENARIOS

VERSION = "2.3.5"
SETTLE_SECONDS = 2
POLL_SECONDS = 0.2


@pytest.fixture(scope="module")
def milvus(ministack: Ministack) -> Iterator[Milvus]:
    s3 = ministack.client("s3")
    with RealMilvus(s3.meta.endpoint_url, bucket="conformance-real") as server:
        yield Milvus(
            server.uri, server.management_uri, s3, server.bucket, server.root_path, SETTLE_SECONDS, POLL_SECONDS
        )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_real_server_answers_as_it_did(milvus: Milvus, scenario: str) -> None:
    assert flat(ask(milvus, scenario)) == flat(known(VERSION)[scenario])
