"""A backup holds what was flushed when it began, and what came while it was made; a restore can leave that out."""

import time
from dataclasses import replace
from typing import Any

import pytest

from milvus_vault.backup import snapshot
from milvus_vault.backup.segments import CollectionObjects, capture_objects
from tests.compatibility.features import Feature
from tests.conformance.asking import base_fields
from tests.restore.conftest import Deploy
from tests.support.golden_rows import GOLDEN
from tests.support.milvus_server.versions import VERSIONS

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

NAME = "c"
# So many milliseconds apart, for a version that knows no shorter time.
PAUSE_SECONDS = 0.05


@pytest.mark.feature(Feature.POINT_IN_TIME)
@pytest.mark.parametrize(("version", "shards"), [("2.4.23", 1), ("2.5.27", 2), ("2.6.19", 2)])
def test_rows_and_deletes_after_the_flush_can_be_left_out(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch, version: str, shards: int
) -> None:
    durations = replace(VERSIONS[version].durations, flush_limit=0.0, l0_compaction=10.0**6)
    restoring = deploy(version, durations=durations)
    server, milvus = restoring.server, restoring.milvus
    milvus.make(NAME, *base_fields(), shards=shards)
    milvus.insert(NAME, range(20))
    milvus.flush(NAME)
    milvus.delete(NAME, range(5))

    def write_and_capture(*arguments: Any) -> CollectionObjects:
        time.sleep(PAUSE_SECONDS)
        milvus.insert(NAME, range(20, 30))
        milvus.delete(NAME, range(5, 8))
        milvus.flush(NAME)
        milvus.settle()
        return capture_objects(*arguments)

    monkeypatch.setattr(snapshot, "capture_objects", write_and_capture)
    name = f"during_{version.replace('.', '_')}"
    restoring.back_up(name)
    for suffix, options, expected in (("_all", {}, range(8, 30)), ("_then", {"point_in_time": True}, range(5, 20))):
        report = restoring.restore({"backup_name": name, "suffix": suffix, **options})
        assert (report["status"], report["warnings"]) == ("complete", [])
        assert sorted(map(str, server.live_rows("default", NAME + suffix)[100])) == sorted(map(str, expected))


def test_of_several_channels_that_nobody_told_apart_everything_comes_back_with_a_warning(deploy: Deploy) -> None:
    restoring = deploy("2.4.23")
    server, milvus = restoring.server, restoring.milvus
    milvus.make(NAME, *base_fields(), shards=2)
    milvus.insert(NAME, range(20))
    restoring.back_up("two_channels")
    report = restoring.restore({"backup_name": "two_channels", "suffix": "_then", "point_in_time": True})
    assert report["status"] == "complete"
    assert any("default.c is restored without a point in time" in warning for warning in report["warnings"])
    assert len(server.live_rows("default", f"{NAME}_then")[100]) == 20


def test_a_backup_that_knows_no_channels_is_restored_whole_with_a_warning(deploy: Deploy) -> None:
    restoring = deploy("2.4.23")
    restoring.upload(GOLDEN / "golden_0516")
    report = restoring.restore({"backup_name": "golden_0516", "point_in_time": True})
    assert report["status"] == "complete"
    told = [warning for warning in report["warnings"] if "restored without a point in time" in warning]
    assert told
