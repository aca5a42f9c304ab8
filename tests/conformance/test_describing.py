"""The logs of segments by REST: in batches, and nothing where the server does not tell them."""

import pytest

from milvus_vault.adapters import milvus_segments
from milvus_vault.adapters.endpoints import Endpoint
from milvus_vault.adapters.milvus_segments import SegmentDescriber
from tests.conformance.asking import base_fields
from tests.conformance.conftest import Running, Start
from tests.support.milvus_server.versions import FROM_2_5

NAME, DATABASE = "c", "default"
NOWHERE = 77


def _segments(running: Running) -> tuple[int, list[int]]:
    """Make segments of rows and of deletes; return the collection's ID and theirs."""
    milvus = running.milvus
    milvus.make(NAME, *base_fields(), shards=2)
    milvus.insert(NAME, range(40))
    milvus.flush(NAME)
    milvus.delete(NAME, range(5))
    milvus.flush(NAME)
    milvus.settle()
    number = milvus.must("DescribeCollection", collection_name=NAME).collectionID
    return number, [info.segmentID for info in milvus.infos(NAME)]


@pytest.mark.parametrize("version", FROM_2_5)
def test_every_log_that_is_told_is_an_object(start: Start, version: str) -> None:
    running = start(version)
    collection, segments = _segments(running)
    told = SegmentDescriber(Endpoint.parse(running.server.uri)).describe_segments(DATABASE, collection, segments)
    assert told.keys() == set(segments)
    for kind in ("insert_log", "delta_log"):
        keys = [key.split("/")[4:] for key in running.milvus.keys(f"{running.milvus.root}/{kind}/{collection}/")]
        for segment, logs in told.items():
            found = {tuple(int(part) for part in rest) for number, *rest in keys if int(number) == segment}
            wanted = logs.insert_logs if kind == "insert_log" else {(log,) for log in logs.delta_logs}
            assert wanted == found


@pytest.mark.parametrize("version", FROM_2_5)
def test_a_segment_that_is_gone_costs_its_batch_and_no_other(
    start: Start, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start(version)
    collection, segments = _segments(running)
    describer = SegmentDescriber(Endpoint.parse(running.server.uri))
    whole = describer.describe_segments(DATABASE, collection, segments)
    assert describer.describe_segments(DATABASE, collection, [*segments, NOWHERE]) == {}
    monkeypatch.setattr(milvus_segments, "SEGMENTS_PER_CALL", 1)
    assert describer.describe_segments(DATABASE, collection, [*segments, NOWHERE]) == whole


@pytest.mark.parametrize("version", ["2.2.16", "2.3.5", "2.4.23"])
def test_an_older_server_tells_nothing(start: Start, version: str) -> None:
    running = start(version)
    collection, segments = _segments(running)
    assert SegmentDescriber(Endpoint.parse(running.server.uri)).describe_segments(DATABASE, collection, segments) == {}
