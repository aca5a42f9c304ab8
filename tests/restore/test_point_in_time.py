"""A backup is one moment: what came later is in it by chance, and does not come back unless somebody asks for it."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from milvus_vault.adapters.milvus import MilvusDatabase
from milvus_vault.backup import judging, snapshot
from milvus_vault.backup.segments import CollectionObjects, capture_objects
from milvus_vault.binlogs import read_deletes
from milvus_vault.errors import MomentOutOfRangeError, ServerClockError
from milvus_vault.model.flushes import FlushPoint
from milvus_vault.model.hybrid import as_datetime
from tests.compatibility.features import Feature
from tests.conformance.asking import base_fields
from tests.restore.conftest import Deploy
from tests.restore.servers import INDEX
from tests.support.golden_rows import GOLDEN
from tests.support.milvus_server.versions import ALL, NEWER, VERSIONS
from tests.support.restoring import BACKUPS, PREFIX, Restoring, objects_of

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

NAME = "c"
# So many milliseconds apart, for a version that knows no shorter time.
PAUSE_SECONDS = 0.05
NEVER = 10.0**6


def start(deploy: Deploy, version: str, **environment: str) -> Restoring:
    """Return a server with rows in a loaded collection, and deletes that no flush has covered."""
    durations = replace(VERSIONS[version].durations, flush_limit=0.0, l0_compaction=NEVER)
    restoring = deploy(version, environment, durations=durations)
    milvus = restoring.milvus
    milvus.make(NAME, *base_fields(), shards=2)
    milvus.insert(NAME, range(20))
    milvus.flush(NAME)
    milvus.must("CreateIndex", collection_name=NAME, field_name="v", extra_params=INDEX)
    milvus.must("LoadCollection", collection_name=NAME, replica_number=1)
    milvus.delete(NAME, range(5))
    return restoring


def meanwhile(monkeypatch: pytest.MonkeyPatch, restoring: Restoring, *works: Callable[[], object]) -> None:
    """Let things happen between flush and listing, one in each round."""
    left = list(works)

    def work_and_capture(*arguments: Any, **options: Any) -> CollectionObjects:
        time.sleep(PAUSE_SECONDS)
        if left:
            left.pop(0)()
            restoring.milvus.settle()
        return capture_objects(*arguments, **options)

    monkeypatch.setattr(snapshot, "capture_objects", work_and_capture)


def write(restoring: Restoring) -> None:
    """Insert and delete, and have it flushed."""
    restoring.milvus.insert(NAME, range(20, 30))
    restoring.milvus.delete(NAME, range(5, 8))
    restoring.milvus.flush(NAME)


def keys(restoring: Restoring, suffix: str) -> list[int]:
    """Return the keys of the live rows."""
    return sorted(map(int, map(str, restoring.server.live_rows("default", NAME + suffix)[100])))


def named(version: str, what: str) -> str:
    """Return a name for a backup."""
    return f"{what}_{version.replace('.', '_')}"


@pytest.mark.feature(Feature.POINT_IN_TIME)
@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("folds", ["folded", "by themselves"])
def test_rows_and_deletes_after_the_moment_are_left_out_unless_everything_is_asked_for(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch, version: str, folds: str
) -> None:
    restoring = start(deploy, version, **({} if folds == "folded" else {"FOLD_SEGMENT_BYTES": "0"}))
    meanwhile(monkeypatch, restoring, lambda: write(restoring))
    name = named(version, f"during_{folds[:2]}")
    restoring.back_up(name)
    for suffix, options, expected in (("_then", {}, range(5, 20)), ("_all", {"point_in_time": False}, range(8, 30))):
        report = restoring.restore({"backup_name": name, "suffix": suffix, "allow_version": True, **options})
        assert (report["status"], report["warnings"]) == ("complete", [])
        assert keys(restoring, suffix) == [*expected]
        assert (report["collections"][0]["as_of"] is None) == ("point_in_time" in options)


@pytest.mark.feature(Feature.AS_OF)
@pytest.mark.parametrize("version", ALL)
def test_an_earlier_time_can_be_chosen_and_one_that_is_not_in_the_backup_is_refused_before_anything_is_made(
    deploy: Deploy, version: str
) -> None:
    restoring = start(deploy, version, FOLD_SEGMENT_BYTES="0")
    time.sleep(PAUSE_SECONDS)
    chosen = datetime.now(UTC)
    time.sleep(PAUSE_SECONDS)
    write(restoring)
    name = named(version, "as_of")
    restoring.back_up(name)
    ask = {"backup_name": name, "allow_version": True}
    report = restoring.restore({**ask, "suffix": "_then", "as_of": chosen.isoformat()})
    assert keys(restoring, "_then") == [*range(5, 20)]
    assert datetime.fromisoformat(report["collections"][0]["as_of"]) == _at_whole_millisecond(chosen)
    for wrong, side in ((chosen - timedelta(hours=1), "before"), (chosen + timedelta(hours=1), "after")):
        with pytest.raises(MomentOutOfRangeError, match=f"does not lie in the backup, which holds nothing {side} 2"):
            restoring.restore({**ask, "suffix": "_wrong", "as_of": wrong.isoformat()})
    assert [*restoring.milvus.must("ShowCollections").collection_names] == [NAME, f"{NAME}_then"]


def _at_whole_millisecond(when: datetime) -> datetime:
    return when.replace(microsecond=when.microsecond // 1000 * 1000)


@pytest.mark.feature(Feature.TORN_UPSERTS)
@pytest.mark.parametrize("version", ALL)
def test_an_archive_without_a_moment_tells_how_many_keys_were_deleted_last(deploy: Deploy, version: str) -> None:
    restoring = start(deploy, version)
    restoring.milvus.flush(NAME)
    name = named(version, "torn")
    restoring.back_up(name, skip_flush=True)
    report = restoring.restore({"backup_name": name, "suffix": "_torn", "allow_version": True})
    (warning,) = report["warnings"]
    assert warning.startswith(f"5 key(s) of default.{NAME} were deleted while the backup was made or just before")
    restoring.milvus.insert(NAME, range(100, 103))
    restoring.milvus.flush(NAME)
    time.sleep(0.1)
    assert keys(restoring, "_torn") == [*range(5, 20)]


def test_an_archive_of_another_tool_is_looked_through_and_restored_whole(deploy: Deploy) -> None:
    restoring = deploy("2.4.23")
    restoring.upload(GOLDEN / "golden_0516")
    report = restoring.restore({"backup_name": "golden_0516"})
    assert report["status"] == "complete"
    assert {collection["as_of"] for collection in report["collections"]} == {None}


def compact(restoring: Restoring) -> None:
    """Write, have it flushed, and have all of it compacted."""
    write(restoring)
    restoring.milvus.must("ManualCompaction", collection_name=NAME)
    restoring.milvus.settle()


@pytest.mark.parametrize("version", ALL)
def test_rows_that_a_compaction_took_since_the_flush_are_taken_from_the_segments_that_it_replaced(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    restoring = start(deploy, version)
    meanwhile(monkeypatch, restoring, lambda: compact(restoring))
    name = named(version, "compacted")
    # All of 2.6 are flushed by one call that names no segments.
    restoring.back_up(name, collections=[f"default.{NAME}"])
    assert restoring.rounds == 2
    report = restoring.restore({"backup_name": name, "suffix": "_then", "allow_version": True})
    assert report["status"] == "complete"
    assert keys(restoring, "_then") == [*range(5, 20)]


@pytest.mark.parametrize("version", ALL)
def test_rows_that_a_compaction_took_before_the_flush_give_a_collection_a_later_moment_of_its_own(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    restoring = start(deploy, version)
    restoring.milvus.make("other", *base_fields())
    restoring.milvus.insert("other", range(3))
    left = [lambda: compact(restoring)]
    real = MilvusDatabase.flush

    def compact_and_flush(database: MilvusDatabase, where: str, which: str, **options: Any) -> FlushPoint:
        if left and which == NAME:
            left.pop()()
        return real(database, where, which, **options)

    monkeypatch.setattr(MilvusDatabase, "flush", compact_and_flush)
    name = named(version, "compacted_before")
    restoring.back_up(name, collections=["default.*"])
    report = restoring.restore({"backup_name": name, "suffix": "_then", "allow_version": True})
    assert report["status"] == "complete"
    if version == "2.2.16":
        # Its time is that of a flush, and so the compaction comes before it.
        assert keys(restoring, "_then") in ([*range(8, 30)], [*range(5, 20)])
        return
    assert keys(restoring, "_then") == [*range(8, 30)]
    moments = {found["source"]["name"]: datetime.fromisoformat(found["as_of"]) for found in report["collections"]}
    assert moments[NAME] > moments["other"]
    page = restoring.s3.get_object(Bucket=BACKUPS, Key=f"{PREFIX}/{name}/meta/vault/report.html")["Body"].read()
    assert b"but 1 of 2 collections, with a later one each" in page


def test_a_moment_that_could_not_be_proven_is_told_by_the_backup_and_by_each_restore(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    restoring = start(deploy, "2.5.27")
    # A log that cannot be read proves nothing, and no other round would help.
    monkeypatch.setattr(judging, "read_timestamps", read_deletes)
    restoring.back_up("unproven")
    assert restoring.rounds == 1
    page = restoring.s3.get_object(Bucket=BACKUPS, Key=f"{PREFIX}/unproven/meta/vault/report.html")["Body"].read()
    assert f"The moment of default.{NAME} could not be proven".encode() in page
    report = restoring.restore({"backup_name": "unproven", "suffix": "_then"})
    (warning,) = report["warnings"]
    assert warning.startswith(f"default.{NAME} may lack rows, or have halves of upserts")
    assert restoring.restore({"backup_name": "unproven", "suffix": "_all", "point_in_time": False})["warnings"] == []


@pytest.mark.parametrize("version", NEWER)
def test_a_compaction_before_the_moment_or_of_earlier_deletes_costs_no_round(deploy: Deploy, version: str) -> None:
    restoring = start(deploy, version)
    restoring.milvus.flush(NAME)
    restoring.milvus.must("ManualCompaction", collection_name=NAME)
    restoring.milvus.settle()
    name = named(version, "before")
    restoring.back_up(name)
    assert restoring.rounds == 1
    restoring.restore({"backup_name": name, "suffix": "_then"})
    assert keys(restoring, "_then") == [*range(5, 20)]


@pytest.mark.parametrize("version", ["2.3.5", *NEWER])
def test_a_server_whose_time_runs_back_is_refused_by_name(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    restoring = start(deploy, version)
    clock = restoring.server.core.clock
    ahead = clock.timestamp() + (60_000 << 18)
    times = iter([ahead])
    real = clock.timestamp
    monkeypatch.setattr(clock, "timestamp", lambda: next(times, None) or real())
    with pytest.raises(ServerClockError, match=f"Milvus said it was {as_datetime(ahead):%Y-%m-%d}"):
        restoring.back_up(named(version, "backwards"))
    assert objects_of(restoring, f"{PREFIX}/{named(version, 'backwards')}/") == []
