"""The faults that can be switched on."""

import socket
import time
from typing import Any

import pytest

from tests.conformance.asking import Milvus, base_fields, status
from tests.conformance.conftest import Start
from tests.support.milvus_server.versions import NEWER

pytestmark = pytest.mark.tools("milvus")

NAME, TARGET = "c", "target"
ROWS = 30
CREATE, PROGRESS = "/v2/vectordb/jobs/import/create", "/v2/vectordb/jobs/import/get_progress"


def _stage(milvus: Milvus) -> list[str]:
    """Make a collection and a target, stage the logs, and return their keys."""
    for name in (NAME, TARGET):
        milvus.make(name, *base_fields())
    milvus.insert(NAME, range(ROWS))
    milvus.flush(NAME)
    milvus.settle()
    (info,) = milvus.infos(NAME)
    folder = f"{milvus.root}/insert_log/{info.collectionID}/{info.partitionID}/{info.segmentID}/"
    staged = []
    for key in milvus.keys(folder):
        target = f"staged/{info.segmentID}/{key.removeprefix(folder)}"
        milvus.s3.copy_object(Bucket=milvus.bucket, Key=target, CopySource=f"{milvus.bucket}/{key}")
        staged.append(target)
    return staged


def _damage(milvus: Milvus, key: str) -> None:
    content = bytearray(milvus.s3.get_object(Bucket=milvus.bucket, Key=key)["Body"].read())
    middle = len(content) // 2
    content[middle - 20 : middle + 20] = bytes(40)
    milvus.s3.put_object(Bucket=milvus.bucket, Key=key, Body=bytes(content))


def _start(milvus: Milvus, version: str) -> str:
    options = {"backup": "true"} | ({"storage_version": "2"} if version >= "2.6" else {})
    body = {"collectionName": TARGET, "partitionName": "_default", "files": [["staged/"]], "options": options}
    return str(milvus.post(CREATE, body)["data"]["jobId"])


def _job(milvus: Milvus, job: str) -> dict[str, Any]:
    data: dict[str, Any] = milvus.post(PROGRESS, {"jobId": job})["data"]
    return data


def _end(milvus: Milvus, job: str) -> dict[str, Any]:
    for _ in range(500):
        if (data := _job(milvus, job))["state"] in {"Completed", "Failed"}:
            return data
        time.sleep(0.02)
    pytest.fail("the job does not end")


def _is_down(milvus: Milvus) -> bool:
    # Not a call: a channel that has failed takes its time before it tries again.
    try:
        socket.create_connection(("127.0.0.1", int(milvus.uri.rpartition(":")[2]))).close()
    except ConnectionRefusedError:
        return True
    return False


def _wait_until_down(milvus: Milvus) -> None:
    for _ in range(500):
        if _is_down(milvus):
            return
        time.sleep(0.02)
    pytest.fail("the server does not end")


@pytest.mark.parametrize("version", NEWER)
def test_a_damaged_binlog_fails_its_import_where_no_fault_is_on(start: Start, version: str) -> None:
    milvus = start(version).milvus
    staged = _stage(milvus)
    _damage(milvus, staged[-1])
    data = _end(milvus, _start(milvus, version))
    assert (data["state"], data["importedRows"]) == ("Failed", 0)


@pytest.mark.parametrize("version", NEWER)
def test_a_log_that_goes_after_it_was_listed_fails_its_import(
    start: Start, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start(version)
    milvus, objects = running.milvus, running.server.core.objects
    staged, list_keys = _stage(milvus), objects.keys

    def keys(prefix: str) -> list[str]:
        found = list_keys(prefix)
        if staged[-1] in found:
            milvus.s3.delete_object(Bucket=milvus.bucket, Key=staged[-1])
        return found

    monkeypatch.setattr(objects, "keys", keys)
    data = _end(milvus, _start(milvus, version))
    assert (data["state"], data["importedRows"]) == ("Failed", 0)


@pytest.mark.parametrize("version", ["2.4.23", "2.5.27"])
def test_a_damaged_binlog_ends_the_server_at_each_start_until_it_is_gone(start: Start, version: str) -> None:
    running = start(version)
    server, milvus = running.server, running.milvus
    staged = _stage(milvus)
    _damage(milvus, staged[-1])
    server.faults.dies_of_damage = True
    job = _start(milvus, version)
    _wait_until_down(milvus)
    server.restart()
    _wait_until_down(milvus)
    for key in staged:
        milvus.s3.delete_object(Bucket=milvus.bucket, Key=key)
    server.restart()
    data = _end(milvus, job)
    assert data["importedRows"] == 0
    assert not _is_down(milvus)


def test_2_6_can_take_a_damaged_binlog_for_an_empty_one(start: Start) -> None:
    running = start("2.6.19")
    _damage(running.milvus, _stage(running.milvus)[-1])
    running.server.faults.empties_damaged = True
    data = _end(running.milvus, _start(running.milvus, "2.6.19"))
    assert (data["state"], data["importedRows"]) == ("Completed", 0)


def test_calls_are_not_answered_so_many_times(start: Start) -> None:
    running = start("2.5.27")
    running.server.faults.unavailable_names = frozenset({"ListDatabases"})
    running.server.faults.unavailable_calls = 2
    found = [status(running.milvus.call("ListDatabases")) for _ in range(3)]
    assert found == ["UNAVAILABLE", "UNAVAILABLE", "OK"]
    assert status(running.milvus.call("GetVersion")) == "OK"


def test_rest_is_not_answered_so_many_times(start: Start) -> None:
    running = start("2.5.27")
    running.server.faults.unavailable_calls = 1
    answers = [running.milvus.post("/v2/vectordb/collections/list", {})["http"] for _ in range(2)]
    assert answers == [503, 200]


def test_what_was_done_can_be_answered_as_if_it_was_not(start: Start) -> None:
    running = start("2.5.27")
    running.server.faults.lost_answers = 1
    assert status(running.milvus.create(NAME, *base_fields(), replaces=False)) == "UNAVAILABLE"
    assert status(running.milvus.call("DescribeCollection", collection_name=NAME)) == "OK"


def test_a_coordinator_that_lost_its_lead_is_not_ready(start: Start) -> None:
    running = start("2.6.19")
    running.server.faults.moves_leader = 1
    assert status(running.milvus.call("ListDatabases"))[0] == 1
    assert status(running.milvus.call("ListDatabases")) == "OK"


def test_a_job_can_be_stuck_at_70_percent_and_go_on(start: Start) -> None:
    running = start("2.5.27")
    _stage(running.milvus)
    running.server.faults.stuck_at_index = True
    job = _start(running.milvus, "2.5.27")
    time.sleep(running.server.seconds(40))
    assert _job(running.milvus, job)["progress"] == 70
    running.server.faults.stuck_at_index = False
    assert _end(running.milvus, job)["importedRows"] == ROWS


def test_a_crash_breaks_connections_and_loses_nothing(start: Start) -> None:
    running = start("2.5.27")
    milvus = running.milvus
    milvus.make(NAME, *base_fields())
    milvus.insert(NAME, range(ROWS))
    running.server.crash()
    assert _is_down(milvus)
    running.server.restart()
    for _ in range(100):
        if status(milvus.call("GetVersion")) == "OK":
            break
        time.sleep(0.1)
    milvus.flush(NAME)
    assert milvus.count(NAME) == str(ROWS)
