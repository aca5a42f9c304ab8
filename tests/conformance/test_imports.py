"""Imports as seen on real servers, beside what the facts say of them."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.conformance.asking import Milvus, base_fields, status
from tests.conformance.conftest import Running, Start
from tests.support.milvus_server.versions import FROM_2_5, NEWER, OBSERVED, OLDER

pytestmark = pytest.mark.tools("milvus")

SOURCE, TARGET = "source", "target"
ROWS = 60
CREATE, PROGRESS = "/v2/vectordb/jobs/import/create", "/v2/vectordb/jobs/import/get_progress"
STAGE = "stage"
SLOW, JOBS = 5, 6

type Options = dict[str, str]


def _until[Result](ask: Callable[[], Result], is_right: Callable[[Result], object]) -> Result:
    end = time.monotonic() + 15
    while not is_right(found := ask()):
        assert time.monotonic() < end, found
        time.sleep(0.01)
    return found


def _stage(milvus: Milvus, prefix: str = STAGE) -> tuple[str, str]:
    """Copy the logs of the source, and return insert and delta path of its partition."""
    infos = milvus.infos(SOURCE)
    live = {str(info.segmentID) for info in infos}
    for kind in ("insert_log", "delta_log"):
        for key in milvus.keys(f"{milvus.root}/{kind}/{infos[0].collectionID}/"):
            if key.split("/")[4] in live:
                target = f"{prefix}{key.removeprefix(milvus.root)}"
                milvus.s3.copy_object(Bucket=milvus.bucket, Key=target, CopySource=f"{milvus.bucket}/{key}")
    partition = next(info.partitionID for info in infos if info.partitionID > 0)
    place = f"{infos[0].collectionID}/{partition}/"
    return f"{prefix}/insert_log/{place}", f"{prefix}/delta_log/{place}"


def _fill(milvus: Milvus) -> tuple[str, str]:
    milvus.make(SOURCE, *base_fields())
    milvus.make(TARGET, *base_fields())
    milvus.insert(SOURCE, range(ROWS))
    milvus.flush(SOURCE)
    milvus.settle()
    return _stage(milvus)


def _packed(milvus: Milvus) -> Options:
    packed = any(info.storage_version for info in milvus.infos(SOURCE))
    return {"backup": "true"} | ({"storage_version": "2"} if packed else {})


def _start(milvus: Milvus, paths: list[list[str]], options: Options, partition: str = "_default") -> str:
    body = {"collectionName": TARGET, "partitionName": partition, "files": paths, "options": options}
    answer = milvus.post(CREATE, body)
    assert answer["code"] == 0, answer
    return str(answer["data"]["jobId"])


def _job(milvus: Milvus, job: str) -> dict[str, Any]:
    data: dict[str, Any] = milvus.post(PROGRESS, {"jobId": job})["data"]
    return data


def _end(milvus: Milvus, job: str) -> dict[str, Any]:
    return _until(lambda: _job(milvus, job), lambda data: data["state"] in {"Completed", "Failed"})


def _import(milvus: Milvus, paths: list[list[str]], options: Options, partition: str = "_default") -> dict[str, Any]:
    return _end(milvus, _start(milvus, paths, options, partition))


def _index(milvus: Milvus) -> None:
    params = [{"key": "index_type", "value": "FLAT"}, {"key": "metric_type", "value": "L2"}]
    milvus.must("CreateIndex", collection_name=TARGET, field_name="v", extra_params=params)


def _keys(running: Running) -> list[Any]:
    return sorted(running.server.live_rows("default", TARGET)[100], key=str)


@pytest.mark.parametrize("version", NEWER)
def test_jobs_of_2_4_and_newer_overlap(start: Start, version: str) -> None:
    running = start(version, speed=SLOW)
    milvus = running.milvus
    insert, _ = _fill(milvus)
    jobs = [_start(milvus, [[insert]], _packed(milvus)) for _ in range(JOBS)]
    for job in jobs:
        _end(milvus, job)
    found = list(running.server.service.imports.all())
    assert all(job.ended_at is not None for job in found)
    assert max(job.begins_at for job in found) < min(job.ended_at or 0.0 for job in found)


def test_jobs_of_2_3_run_one_after_the_other(start: Start) -> None:
    running = start("2.3.5")
    milvus = running.milvus
    insert, delta = _fill(milvus)
    begin = time.monotonic()
    options = [{"key": "backup", "value": "true"}]
    request = {"collection_name": TARGET, "partition_name": "_default", "files": [insert, delta], "options": options}
    tasks = [milvus.must("Import", **request).tasks[0] for _ in range(8)]
    for task in tasks:
        _until(partial(milvus.must, "GetImportState", task=task), lambda answer: answer.state == 6)
    assert time.monotonic() - begin > running.server.seconds(2 * 8)


@pytest.mark.parametrize("version", NEWER)
def test_a_job_goes_through_its_states_and_waits_for_indexes_at_70_percent(start: Start, version: str) -> None:
    # Long enough to be seen in each state.
    milvus = start(version, {"import_job": 40, "index": 20}).milvus
    insert, _ = _fill(milvus)
    _index(milvus)
    job, seen = _start(milvus, [[insert]], _packed(milvus)), list[tuple[str, int]]()
    while not seen or seen[-1][0] != "Completed":
        data = _job(milvus, job)
        if (found := (data["state"], data["progress"])) not in seen:
            seen.append(found)
        time.sleep(0.005)
    assert list(dict.fromkeys(state for state, _ in seen)) == ["Pending", "Importing", "Completed"]
    assert ("Importing", 70) in seen
    assert [percent for _, percent in seen] == sorted(percent for _, percent in seen)


@pytest.mark.parametrize(("version", "code"), [("2.4.23", 2100), ("2.5.27", 2100), ("2.6.19", 2101)])
def test_the_record_of_a_job_is_forgotten_a_while_after_its_end(start: Start, version: str, code: int) -> None:
    milvus = start(version, {"import_retention": 20}).milvus
    insert, _ = _fill(milvus)
    job = _start(milvus, [[insert]], _packed(milvus))
    assert _end(milvus, job)["state"] == "Completed"
    assert _until(lambda: milvus.post(PROGRESS, {"jobId": job})["code"], lambda found: found) == code
    assert milvus.post("/v2/vectordb/jobs/import/list", {})["data"]["records"] == []


@pytest.mark.parametrize("version", NEWER)
def test_deletes_at_level_zero_go_in_only_while_the_target_is_not_loaded(start: Start, version: str) -> None:
    running = start(version)
    milvus = running.milvus
    insert, _ = _fill(milvus)
    milvus.delete(SOURCE, range(10))
    milvus.flush(SOURCE)
    _stage(milvus)
    _import(milvus, [[insert]], _packed(milvus))
    _index(milvus)
    milvus.must("LoadCollection", collection_name=TARGET)
    deletes = f"{STAGE}/delta_log/{milvus.infos(SOURCE)[0].collectionID}/-1/"
    body = {"collectionName": TARGET, "files": [[deletes]], "options": {"l0_import": "true"}}
    refused = milvus.post(CREATE, body)
    assert refused["code"] == 2100
    assert "please release it first" in refused["message"]
    milvus.must("ReleaseCollection", collection_name=TARGET)
    assert _import(milvus, [[deletes]], {"l0_import": "true"}, "")["importedRows"] == 10
    assert _keys(running) == sorted(range(10, ROWS), key=str)


@pytest.mark.parametrize("version", NEWER)
def test_deletes_laid_beside_a_segment_are_applied_by_key_and_timestamp(start: Start, version: str) -> None:
    running = start(version, {"flush_limit": 0})
    milvus = running.milvus
    insert, delta = _fill(milvus)
    (segment,) = (info.segmentID for info in milvus.infos(SOURCE))
    milvus.delete(SOURCE, range(10))
    milvus.insert(SOURCE, range(5))
    milvus.flush(SOURCE)
    milvus.settle()
    _stage(milvus)
    segments = [info.segmentID for info in milvus.infos(SOURCE) if info.num_rows]
    assert segment in segments
    (level_zero,) = (key for key in milvus.keys(f"{STAGE}/delta_log/") if "/-1/" in key)
    for number in segments:
        target = f"{delta}{number}/{level_zero.rpartition('/')[2]}"
        milvus.s3.copy_object(Bucket=milvus.bucket, Key=target, CopySource=f"{milvus.bucket}/{level_zero}")
    assert _import(milvus, [[insert, delta]], _packed(milvus))["importedRows"] == ROWS - 5
    assert _keys(running) == sorted([*range(5), *range(10, ROWS)], key=str)


@pytest.mark.parametrize("version", NEWER)
def test_an_end_is_milliseconds_on_2_4_and_a_hybrid_timestamp_after(start: Start, version: str) -> None:
    milvus = start(version, {"flush_limit": 0}).milvus
    _fill(milvus)
    time.sleep(0.01)
    hybrid = milvus.must("AllocTimestamp").timestamp
    time.sleep(0.01)
    milvus.insert(SOURCE, range(ROWS, 2 * ROWS))
    milvus.flush(SOURCE)
    milvus.settle()
    insert, _ = _stage(milvus)
    end = {"2.4.23": hybrid >> 18}.get(version, hybrid)
    assert _import(milvus, [[insert]], _packed(milvus) | {"end_ts": str(end)})["importedRows"] == ROWS
    if version == "2.4.23":
        assert _import(milvus, [[insert]], _packed(milvus) | {"end_ts": str(hybrid)})["importedRows"] == 2 * ROWS


@pytest.mark.parametrize("version", OLDER)
def test_an_end_of_2_2_and_2_3_is_milliseconds_for_rows_and_deletes(start: Start, version: str) -> None:
    milvus = start(version).milvus
    _fill(milvus)
    time.sleep(0.01)
    then = time.time_ns() // 10**6
    time.sleep(0.01)
    milvus.insert(SOURCE, range(ROWS, 2 * ROWS))
    milvus.delete(SOURCE, range(5))
    milvus.flush(SOURCE)
    milvus.settle()
    files = _stage(milvus)

    def rows(**span: int) -> int:
        chosen = [{"key": "backup", "value": "true"}, *({"key": key, "value": str(span[key])} for key in span)]
        request = {"collection_name": TARGET, "partition_name": "_default", "files": files, "options": chosen}
        task = milvus.must("Import", **request).tasks[0]
        return int(
            _until(partial(milvus.must, "GetImportState", task=task), lambda answer: answer.state == 6).row_count
        )

    assert rows() == 2 * ROWS - 5
    assert rows(end_ts=then) == ROWS
    assert rows(start_ts=then) == ROWS
    assert rows(end_ts=then << 18) == 2 * ROWS - 5
    assert rows(end_ts=then // 1000) == rows(start_ts=then << 18) == 0


@pytest.mark.parametrize("version", FROM_2_5)
def test_from_2_5_on_an_end_that_is_no_hybrid_timestamp_is_refused_by_name(start: Start, version: str) -> None:
    milvus = start(version).milvus
    insert, _ = _fill(milvus)
    wrong = time.time_ns() // 10**6
    for name in ("start_ts", "end_ts"):
        failed = _import(milvus, [[insert]], _packed(milvus) | {name: str(wrong)})
        assert failed["state"] == "Failed"
        assert f"{name} is not a valid hybrid timestamp, value={wrong}" in failed["reason"]


def test_column_groups_need_the_option_that_says_so(start: Start) -> None:
    milvus = start("2.6.19").milvus
    insert, _ = _fill(milvus)
    failed = _import(milvus, [[insert]], {"backup": "true"})
    assert failed["state"] == "Failed"
    assert "no binlog for Timestamp field" in failed["reason"]


@pytest.mark.parametrize("version", NEWER)
def test_the_path_of_a_single_segment_has_no_binlog_of_most_fields(start: Start, version: str) -> None:
    milvus = start(version).milvus
    insert, _ = _fill(milvus)
    (segment,) = (info.segmentID for info in milvus.infos(SOURCE))
    assert _import(milvus, [[f"{insert}{segment}/"]], _packed(milvus))["state"] == "Failed"


@pytest.mark.parametrize("version", OBSERVED)
def test_a_path_without_a_slash_takes_whatever_begins_so(start: Start, version: str) -> None:
    running = start(version)
    milvus = running.milvus
    insert, _ = _fill(milvus)
    folder = insert.rstrip("/")
    for key in list(milvus.keys(insert)):
        sibling = f"{folder}9/{key.removeprefix(insert)}"
        milvus.s3.copy_object(Bucket=milvus.bucket, Key=sibling, CopySource=f"{milvus.bucket}/{key}")
    options = [{"key": key, "value": value} for key, value in _packed(milvus).items()]
    request = {"collection_name": TARGET, "partition_name": "_default", "files": [folder, ""], "options": options}
    task = milvus.must("Import", **request).tasks[0]
    found = _until(lambda: milvus.must("GetImportState", task=task), lambda answer: answer.state == 6)
    assert found.row_count == 2 * ROWS


@pytest.mark.parametrize("version", NEWER)
def test_more_files_than_a_job_takes_are_refused(start: Start, version: str) -> None:
    milvus = start(version).milvus
    insert, _ = _fill(milvus)
    body = {"collectionName": TARGET, "partitionName": "_default", "files": [[insert]] * 1025}
    assert milvus.post(CREATE, body | {"options": {"backup": "true"}})["code"] == 2100


def test_a_job_into_a_collection_that_is_dropped_meanwhile_fails(start: Start) -> None:
    milvus = start("2.5.27").milvus
    insert, _ = _fill(milvus)
    job = _start(milvus, [[insert]], _packed(milvus))
    milvus.must("DropCollection", collection_name=TARGET)
    assert _end(milvus, job)["state"] == "Failed"


def test_2_2_refuses_with_its_older_codes_only(start: Start) -> None:
    milvus = start("2.2.16").milvus
    answer = milvus.call("DescribeCollection", collection_name="none")
    assert (answer.status.code, answer.status.error_code) == (0, 4)
    assert status(milvus.call("ListAliases")) == "UNIMPLEMENTED"
    insert, delta = _fill(milvus)
    options = [{"key": "backup", "value": "true"}]
    request = {"collection_name": TARGET, "partition_name": "_default", "files": [insert, delta], "options": options}
    task = milvus.must("Import", **request).tasks[0]
    assert _until(lambda: milvus.must("GetImportState", task=task), lambda found: found.state == 6).row_count == ROWS
