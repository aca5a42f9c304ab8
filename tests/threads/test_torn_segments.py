"""Logs of which there are too many or too few: while a backup is made, and in archives that have such."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from pymilvus.grpc_gen import schema_pb2

from milvus_vault.backup import segments
from milvus_vault.backup.moment import evidence_of
from milvus_vault.errors import BackupDamagedError, SegmentTornError
from milvus_vault.model.collections import Segment
from milvus_vault.model.objects import ListedObject
from tests.conformance.asking import Milvus, base_fields, numbers
from tests.conformance.conftest import Running, Start
from tests.conformance.test_capture import Open
from tests.restore.conftest import Deploy
from tests.support.capturing import Backups
from tests.support.golden_rows import GOLDEN
from tests.support.milvus_server.versions import ALL, NEWER, OLDER
from tests.support.reference_shapes import meta_files
from tests.support.restoring import BACKUPS, PREFIX, Json

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

ROWS = 30


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for what is missing at shorter intervals: nothing here comes about by itself."""
    monkeypatch.setattr(segments, "PAUSE_SECONDS", 0.02)


def filled(start: Start, version: str) -> Running:
    """Return a server with two collections that have rows."""
    running = start(version)
    for name in ("sound", "torn"):
        running.milvus.make(name, *base_fields())
        running.milvus.insert(name, range(ROWS))
        running.milvus.flush(name)
    running.milvus.settle()
    return running


def insert_logs(milvus: Milvus, name: str) -> list[str]:
    """Return the keys of the logs of a collection's only segment."""
    (segment,) = milvus.infos(name)
    return [key for key in milvus.keys(f"{milvus.root}/insert_log/") if f"/{segment.segmentID}/" in key]


@pytest.mark.thread("milvus-backup#476", "milvus-backup#635", "milvus-backup#913", "milvus-backup#971")
@pytest.mark.thread("milvus-backup#1172")
@pytest.mark.parametrize("version", ALL)
def test_a_log_that_a_repeated_upload_left_fails_its_collection_by_name_and_no_other(
    start: Start, backups: Open, version: str
) -> None:
    running = filled(start, version)
    running.server.core.faults.unavailable_names = frozenset({"/v2/vectordb/segments/describe"})
    running.server.core.faults.unavailable_calls = 10**6
    stray = f"{insert_logs(running.milvus, 'torn')[-1].rpartition('/')[0]}/999"
    taken = backups(running)
    taken.s3.put_object(Bucket=running.server.bucket, Key=stray, Body=b"left by an upload that was repeated")

    manifest = taken.take("b")

    assert [str(entry.name) for entry in manifest.collections] == ["default.sound"]
    (failure,) = manifest.failures
    assert (str(failure.name), failure.error) == ("default.torn", SegmentTornError.__name__)
    assert f"{ROWS} row(s), and is not whole" in failure.message


@pytest.mark.parametrize("version", OLDER)
def test_delta_logs_that_a_listing_leaves_out_are_missed_where_live_rows_are_counted(
    start: Start, backups: Open, version: str
) -> None:
    running = filled(start, version)
    milvus = running.milvus
    pairs = [{"key": "index_type", "value": "FLAT"}, {"key": "metric_type", "value": "L2"}]
    milvus.must("CreateIndex", collection_name="torn", field_name="v", extra_params=pairs)
    milvus.must("LoadCollection", collection_name="torn", replica_number=1)
    milvus.delete("torn", [1, 2, 3])
    milvus.flush("torn")
    milvus.settle()
    taken = backups(running)
    assert [entry.live_row_count for entry in taken.take("whole", collections=["default.torn"]).collections] == [27]
    deletes = milvus.keys(f"{milvus.root}/delta_log/")
    assert deletes
    for key in deletes:
        taken.s3.delete_object(Bucket=running.server.bucket, Key=key)

    with pytest.raises(SegmentTornError, match=r"counted 27 of 30 row\(s\), and there is no delete of any"):
        taken.take("lacking", collections=["default.torn"])


def test_a_nullable_field_without_any_log_is_missed_where_no_field_can_have_been_added(
    start: Start, backups: Open
) -> None:
    running = start("2.5.27")
    price = schema_pb2.FieldSchema(name="price", data_type=schema_pb2.Int64, nullable=True)
    running.milvus.make("torn", *base_fields(), price)
    prices = numbers("price", range(ROWS))
    prices.valid_data.extend([True] * ROWS)
    running.milvus.insert("torn", range(ROWS), extra=[prices])
    running.milvus.flush("torn")
    running.milvus.settle()
    running.server.core.faults.unavailable_names = frozenset({"/v2/vectordb/segments/describe"})
    running.server.core.faults.unavailable_calls = 10**6
    taken = backups(running)
    (gone,) = (key for key in insert_logs(running.milvus, "torn") if key.split("/")[-2] == "102")
    taken.s3.delete_object(Bucket=running.server.bucket, Key=gone)

    with pytest.raises(SegmentTornError, match=r"default\.torn has 30 row\(s\), and is not whole"):
        taken.take("b")


@pytest.mark.thread("milvus-backup#176", "milvus-backup#1033", "milvus-backup#1172")
@pytest.mark.parametrize("version", ALL)
def test_a_segment_without_insert_logs_fails_its_collection_by_name_and_no_other(
    start: Start, backups: Open, version: str
) -> None:
    running = filled(start, version)
    taken = backups(running)
    for key in insert_logs(running.milvus, "torn"):
        taken.s3.delete_object(Bucket=running.server.bucket, Key=key)
    running.milvus.insert("torn", range(ROWS, 2 * ROWS))
    running.milvus.flush("torn")
    running.milvus.settle()

    manifest = taken.take("b", collections=["default.sound", "default.torn"])

    assert [str(entry.name) for entry in manifest.collections] == ["default.sound"]
    (failure,) = manifest.failures
    assert (failure.error, "insert logs: none" in failure.message) == (SegmentTornError.__name__, True)


@pytest.mark.thread("milvus-backup#476", "milvus-backup#1172")
@pytest.mark.parametrize("tells_logs", [True, False], ids=["logs told", "logs listed"])
@pytest.mark.parametrize("version", ALL)
def test_a_field_whose_only_log_is_gone_fails_its_collection_by_name_and_no_other(
    start: Start, backups: Open, version: str, tells_logs: bool
) -> None:
    running = filled(start, version)
    if not tells_logs:
        running.server.core.faults.unavailable_names = frozenset({"/v2/vectordb/segments/describe"})
        running.server.core.faults.unavailable_calls = 10**6
    taken = backups(running)
    # Of fields the vector's, of column groups the first: which others there are, a server must tell.
    gone = insert_logs(running.milvus, "torn")[0 if version >= "2.6" else -1]
    taken.s3.delete_object(Bucket=running.server.bucket, Key=gone)

    manifest = taken.take("b")

    assert [str(entry.name) for entry in manifest.collections] == ["default.sound"]
    (failure,) = manifest.failures
    assert (str(failure.name), failure.error) == ("default.torn", SegmentTornError.__name__)


def tell_one_row_more(monkeypatch: pytest.MonkeyPatch, taken: Backups, is_told: Callable[[], bool]) -> None:
    """Let the server say of `torn`'s segments one row more than their logs hold."""
    list_segments = taken.database.list_segments

    def with_one_more(database: str, name: str) -> list[Segment]:
        more = int(name == "torn" and is_told())
        found = list_segments(database, name)
        return [one.model_copy(update={"row_count": one.row_count + more}) for one in found]

    monkeypatch.setattr(taken.database, "list_segments", with_one_more)


@pytest.mark.parametrize("version", ["2.3.5", "2.4.23", "2.6.19"])
def test_a_segment_with_other_rows_than_milvus_says_fails_its_collection_by_name_and_no_other(
    start: Start, backups: Open, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    taken = backups(filled(start, version))
    tell_one_row_more(monkeypatch, taken, lambda: True)

    manifest = taken.take("b")

    assert [str(entry.name) for entry in manifest.collections] == ["default.sound"]
    (failure,) = manifest.failures
    assert (str(failure.name), failure.error) == ("default.torn", SegmentTornError.__name__)
    assert f"has logs of {ROWS} row(s), and Milvus says {ROWS + 1}" in failure.message


@pytest.mark.parametrize("version", ["2.3.5", "2.6.19"])
def test_a_listing_that_leaves_rows_out_once_is_made_again(
    start: Start, backups: Open, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    rounds: list[int] = []
    taken = backups(filled(start, version), lambda: rounds.append(1))
    tell_one_row_more(monkeypatch, taken, lambda: not rounds)

    manifest = taken.take("b")

    assert (manifest.failures, len(rounds)) == ((), 2)
    assert [entry.row_count for entry in manifest.collections] == [ROWS, ROWS]


def test_of_a_segment_that_fills_slowly_all_logs_are_counted_and_of_a_quiet_one_none() -> None:
    began = datetime(2026, 11, 28, 3, tzinfo=UTC)
    ages = {"1/2/7/1/70": 60, "1/2/7/1/71": 1, "1/2/7/100/72": 1, "1/2/8/1/80": 60}
    listed = [
        (ListedObject(f"files/insert_log/{key}", 1, "e", began - timedelta(minutes=age)), f"stored/{key}")
        for key, age in ages.items()
    ]

    found = evidence_of(listed, {}, (), since=began - timedelta(minutes=15), is_settled=True)

    assert found.rows == {7: ("stored/1/2/7/1/70", "stored/1/2/7/1/71")}


@pytest.mark.thread("milvus-backup#476", "milvus-backup#635", "milvus-backup#871")
@pytest.mark.parametrize("version", NEWER)
def test_an_archive_with_more_logs_of_one_field_than_of_another_is_refused_before_anything_is_made(
    deploy: Deploy, version: str
) -> None:
    restoring = deploy(version)
    restoring.upload(GOLDEN / "golden_2_4")
    key = f"{PREFIX}/golden_2_4/meta/full_meta.json"
    meta: Json = json.loads(restoring.s3.get_object(Bucket=BACKUPS, Key=key)["Body"].read())
    partition = meta["collection_backups"][0]["partition_backups"][1]
    segment = next(found for found in partition["segment_backups"] if found.get("binlogs"))
    (log,) = segment["binlogs"][-1]["binlogs"]
    segment["binlogs"][-1]["binlogs"].append(log | {"log_path": f"{log['log_path']}9", "log_id": log["log_id"] * 10})
    for name, body in meta_files(meta).items():
        restoring.s3.put_object(Bucket=BACKUPS, Key=f"{PREFIX}/golden_2_4/meta/{name}", Body=body)
    with pytest.raises(BackupDamagedError, match=r"has 2 logs of field \d+ and 1 of field"):
        restoring.restore({"backup_name": "golden_2_4"})
    assert list(restoring.server.core.catalog.collections()) == []
