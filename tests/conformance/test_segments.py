"""Segments as seen on real servers: replaced, folded, collected; nothing of it is in the facts."""

import time
from collections.abc import Callable

import pytest
import requests

from tests.conformance.asking import Milvus, base_fields, field, numbers, status
from tests.conformance.conftest import Start
from tests.support.milvus_server.compaction import compact
from tests.support.milvus_server.versions import FROM_2_5, NEWER, OBSERVED, VERSIONS

pytestmark = pytest.mark.tools("milvus")

NAME = "c"
ROWS = 40
L0, L1 = "L0", "L1"
DROPPED = 6
GARBAGE = "/management/datacoord/garbage_collection/"


def _until(is_right: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not is_right():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def _fill(milvus: Milvus) -> list[int]:
    """Insert and flush; return the segments that the flush sealed."""
    milvus.make(NAME, *base_fields())
    milvus.insert(NAME, range(ROWS))
    sealed = list(milvus.flush(NAME).coll_segIDs[NAME].data)
    milvus.settle()
    return sealed


def _ids(milvus: Milvus) -> list[int]:
    return [info.segmentID for info in milvus.infos(NAME)]


def _objects(milvus: Milvus, kind: str) -> list[str]:
    return list(milvus.keys(f"{milvus.root}/{kind}/"))


@pytest.mark.parametrize("version", FROM_2_5)
def test_a_flushed_segment_gets_another_id_and_its_old_objects_stay(start: Start, version: str) -> None:
    milvus = start(version).milvus
    sealed = _fill(milvus)
    assert len(_ids(milvus)) == len(sealed) == 1
    assert _ids(milvus) != sealed
    assert all(info.is_sorted for info in milvus.infos(NAME))
    folders = {key.split("/")[4] for key in _objects(milvus, "insert_log")}
    assert folders == {str(number) for number in sealed + _ids(milvus)}
    asked = milvus.must("GetFlushState", collection_name=NAME, segmentIDs=sealed)
    assert asked.flushed
    collection = milvus.must("DescribeCollection", collection_name=NAME).collectionID
    body = {"dbName": "default", "collectionID": collection, "segmentIDs": sealed}
    described = milvus.post("/v2/vectordb/segments/describe", body)["data"]["segmentInfos"]
    assert [info["state"] for info in described] == [DROPPED]


@pytest.mark.parametrize("version", ["2.3.5", "2.4.23"])
def test_before_2_5_a_segment_keeps_its_id(start: Start, version: str) -> None:
    milvus = start(version).milvus
    assert _fill(milvus) == _ids(milvus)


def test_the_logs_that_rest_tells_are_the_objects_there_are(start: Start) -> None:
    milvus = start("2.5.27").milvus
    _fill(milvus)
    (info,) = milvus.infos(NAME)
    body = {"dbName": "default", "collectionID": info.collectionID, "segmentIDs": [info.segmentID]}
    (told,) = milvus.post("/v2/vectordb/segments/describe", body)["data"]["segmentInfos"]
    place = f"{info.collectionID}/{info.partitionID}/{info.segmentID}"
    for kind, name in (("insert_log", "insertLogs"), ("stats_log", "statsLogs")):
        folder = f"{milvus.root}/{kind}/{place}/"
        expected = {f"{folder}{logs['fieldID']}/{log}" for logs in told[name] for log in logs["logIDs"]}
        assert set(milvus.keys(folder)) == expected != set()


def test_segments_are_asked_for_by_numbers_that_are_numbers(start: Start) -> None:
    milvus = start("2.6.19").milvus
    milvus.make(NAME, *base_fields())
    path, body = "/v2/vectordb/segments/describe", {"dbName": "default", "collectionID": 1}
    assert milvus.post(path, body | {"segmentIDs": ["1"]})["code"] == 1801
    assert milvus.post(path, body | {"segmentIDs": [1]})["code"] == 600


def test_segments_are_described_to_who_spells_the_members_in_another_case(start: Start) -> None:
    milvus = start("2.5.27").milvus
    _fill(milvus)
    (info,) = milvus.infos(NAME)
    body = {"dbName": "default", "collectionId": info.collectionID, "segmentIds": [info.segmentID]}
    (told,) = milvus.post("/v2/vectordb/segments/describe", body)["data"]["segmentInfos"]
    assert (told["segmentID"], told["numRows"]) == (info.segmentID, ROWS)


@pytest.mark.parametrize("version", list(VERSIONS))
def test_every_answer_has_a_status_though_all_is_well(start: Start, version: str) -> None:
    answer = start(version).milvus.must("ShowCollections")
    assert answer.HasField("status")


@pytest.mark.parametrize("version", NEWER)
def test_deletes_at_level_zero_are_folded_into_segments_by_and_by(start: Start, version: str) -> None:
    milvus = start(version, {"l0_compaction": 20}).milvus
    _fill(milvus)
    milvus.delete(NAME, range(5))
    milvus.flush(NAME)
    assert {level for level, *_ in milvus.segments(NAME)} == {L0, L1}
    (of_level_zero,) = _objects(milvus, "delta_log")
    _until(lambda: {level for level, *_ in milvus.segments(NAME)} == {L1})
    (info,) = milvus.infos(NAME)
    assert [key for key in _objects(milvus, "delta_log") if f"/{info.segmentID}/" in key]
    assert of_level_zero in _objects(milvus, "delta_log")


def test_deletes_stay_at_level_zero_without_automatic_compaction(start: Start) -> None:
    milvus = start("2.5.27", {"l0_compaction": 0}, auto_compaction=False).milvus
    _fill(milvus)
    milvus.delete(NAME, range(5))
    milvus.flush(NAME)
    milvus.settle()
    assert {level for level, *_ in milvus.segments(NAME)} == {L0, L1}


@pytest.mark.parametrize("version", OBSERVED)
def test_a_compaction_replaces_segments_and_takes_deleted_rows_away(start: Start, version: str) -> None:
    running = start(version, {"flush_limit": 0})
    milvus = running.milvus
    _fill(milvus)
    milvus.insert(NAME, range(ROWS, 2 * ROWS))
    milvus.delete(NAME, range(10))
    milvus.flush(NAME)
    milvus.settle()
    before = _ids(milvus)
    assert sum(info.num_rows for info in milvus.infos(NAME)) == 2 * ROWS
    milvus.must("ManualCompaction", collection_name=NAME)
    (merged,) = milvus.infos(NAME)
    assert merged.segmentID not in before
    assert merged.num_rows == 2 * ROWS - 10
    assert running.server.live_rows("default", NAME)[100] == list(range(10, 2 * ROWS))


@pytest.mark.parametrize("version", list(VERSIONS))
def test_a_server_that_knows_how_large_segments_are_leaves_two_small_ones_and_merges_three(
    start: Start, version: str
) -> None:
    running = start(version, {"flush_limit": 0}, segment_rows=100 * ROWS)
    milvus, core = running.milvus, running.server.core
    _fill(milvus)
    rows = []
    for first in (ROWS, 2 * ROWS):
        milvus.insert(NAME, range(first, first + ROWS))
        milvus.flush(NAME)
        milvus.settle()
        with core.lock:
            compact(core, core.catalog.collection("default", NAME), is_asked=False)
        rows.append([info.num_rows for info in milvus.infos(NAME)])
    assert rows == [[ROWS, ROWS], [3 * ROWS]]
    before = _ids(milvus)
    milvus.must("ManualCompaction", collection_name=NAME)
    assert len(_ids(milvus)) == 1
    assert _ids(milvus) != before


@pytest.mark.parametrize("version", FROM_2_5)
def test_garbage_collection_deletes_what_was_replaced_but_not_in_a_pause(start: Start, version: str) -> None:
    running = start(version, {"gc_interval": 4, "gc_tolerance": 2})
    milvus = running.milvus
    url = milvus.management_uri + GARBAGE
    paused = requests.get(f"{url}pause?pause_seconds=3600", timeout=5).json()
    sealed = str(_fill(milvus)[0])
    time.sleep(running.server.seconds(15))
    assert any(sealed in key for key in _objects(milvus, "insert_log"))
    requests.get(f"{url}resume", params={"ticket": paused.get("ticket", "")}, timeout=5).raise_for_status()
    _until(lambda: not any(sealed in key for key in _objects(milvus, "insert_log")))
    (info,) = milvus.infos(NAME)
    assert all(str(info.segmentID) in key for key in _objects(milvus, "insert_log"))


def test_each_pause_of_2_6_is_its_own_and_ends_by_its_ticket_or_by_time(start: Start) -> None:
    running = start("2.6.19")
    url = running.milvus.management_uri + GARBAGE
    first, second = (requests.get(f"{url}pause?pause_seconds=600", timeout=5).json()["ticket"] for _ in range(2))
    requests.post(f"{url}pause?pause_seconds=0", timeout=5).raise_for_status()
    assert running.server.garbage_collection.pauses == 2
    requests.get(f"{url}resume", params={"ticket": first}, timeout=5).raise_for_status()
    assert running.server.garbage_collection.pauses == 1
    assert requests.get(f"{url}resume", params={"ticket": first}, timeout=5).status_code == 500
    requests.get(f"{url}resume", params={"ticket": second}, timeout=5).raise_for_status()
    assert running.server.garbage_collection.pauses == 0


@pytest.mark.parametrize("version", ["2.4.23", "2.5.27"])
def test_before_2_6_one_resume_ends_the_pauses_of_all(start: Start, version: str) -> None:
    running = start(version)
    url = running.milvus.management_uri + GARBAGE
    for collection in (1, 2):
        requests.get(f"{url}pause?pause_seconds=600&collection_id={collection}", timeout=5).raise_for_status()
    requests.get(f"{url}resume", timeout=5).raise_for_status()
    assert running.server.garbage_collection.pauses == 0


def test_the_rate_of_flushes_is_that_of_one_collection_and_flush_all_has_none(start: Start) -> None:
    milvus = start("2.5.27").milvus
    for name in (NAME, "other"):
        milvus.make(name, *base_fields())
        assert status(milvus.call("Flush", collection_names=[name])) == "OK"
    assert status(milvus.call("Flush", collection_names=[NAME]))[0] == 8
    answer = milvus.must("FlushAll")
    checkpoints = [found for result in answer.flush_results for found in result.collection_results]
    assert {found.collection_name for found in checkpoints} == {NAME, "other"}
    _until(lambda: milvus.must("GetFlushAllState", flush_all_ts=answer.flush_all_ts).flushed)
    _until(lambda: status(milvus.call("Flush", collection_names=[NAME])) == "OK")


def test_flush_all_of_2_6_answers_with_a_message_of_each_channel(start: Start) -> None:
    milvus = start("2.6.19").milvus
    for name in (NAME, "other"):
        milvus.make(name, *base_fields(), shards=2)
    answer = milvus.must("FlushAll")
    timestamps = {channel: int(found.properties["_tt"], 36) for channel, found in answer.flush_all_msgs.items()}
    assert len(timestamps) == 2
    assert set(timestamps.values()) == {answer.flush_all_ts}
    _until(lambda: milvus.must("GetFlushAllState", flush_all_ts=answer.flush_all_ts).flushed)
    _until(lambda: milvus.must("GetFlushAllState", flush_all_tss=timestamps).flushed)


def test_a_field_that_was_added_reads_its_default_in_older_rows(start: Start) -> None:
    running = start("2.6.19")
    milvus = running.milvus
    _fill(milvus)
    added = field("later", "Int64", nullable=True)
    added.default_value.long_data = 5
    milvus.must("AddCollectionField", collection_name=NAME, schema=added.SerializeToString())
    milvus.insert(NAME, range(ROWS, ROWS + 1), extra=[numbers("later", [7])])
    assert set(running.server.live_rows("default", NAME)[102]) == {5, 7}


@pytest.mark.parametrize("version", NEWER)
def test_a_major_compaction_makes_segments_of_level_2(start: Start, version: str) -> None:
    running = start(version)
    milvus = running.milvus
    _fill(milvus)
    milvus.must("ManualCompaction", collection_name=NAME, majorCompaction=True)
    assert [segment[:3] for segment in milvus.segments(NAME)] == [["L2", "Flushed", ROWS]]
    assert sorted(map(str, running.server.live_rows("default", NAME)[100])) == sorted(map(str, range(ROWS)))
