"""Archives that milvus-backup made from real servers, restored by us into each version that the matrix allows."""

import json
from typing import Any

import pytest

from tests.compatibility.features import Feature
from tests.restore.conftest import Deploy
from tests.support.golden_rows import GOLDEN, full_meta, in_order, oracle, rows_of
from tests.support.milvus_server.versions import FROM_2_5, FROM_2_6, NEWER, OBSERVED
from tests.support.oracle import snapshot
from tests.support.restoring import Restoring, staged_keys

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

FOLDED: dict[str, str] = {}
COMPOSED = {"FOLD_COPIES": "0"}
AFTERWARDS = {"FOLD_SEGMENT_BYTES": "0"}
BY_GRPC = {"MILVUS_REST_URI": "http://127.0.0.1:9"}

PAIRS = [
    *(("golden_2_4", "2_4", version) for version in NEWER),
    *(("golden_2_5", "2_5", version) for version in FROM_2_5),
    *(
        pytest.param("golden_2_6", "2_6", version, marks=pytest.mark.feature(Feature.IMPORT_COLUMN_GROUPS))
        for version in FROM_2_6
    ),
]


def restore(deploy: Deploy, version: str, archive: str, environment: dict[str, str], **request: Any) -> Restoring:
    """Restore an archive whole, and look at the report."""
    restoring = deploy(version, environment)
    restoring.upload(GOLDEN / archive)
    report = restoring.restore({"backup_name": archive, **request})
    failures = [found for found in report["collections"] if found["status"] != "restored"]
    assert (report["status"], failures) == ("complete", [])
    assert staged_keys(restoring) == []
    return restoring


@pytest.mark.thread("milvus#33157", "milvus-backup#265", "milvus-backup#316")
@pytest.mark.feature(Feature.PEER_ARCHIVES)
@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(FOLDED, id="deletes beside rows"),
        pytest.param(COMPOSED, id="composed deletes beside rows"),
        pytest.param(AFTERWARDS, id="deletes after rows"),
        pytest.param(BY_GRPC, id="by gRPC", marks=pytest.mark.thorough),
    ],
)
@pytest.mark.parametrize(("archive", "truth", "version"), PAIRS)
def test_an_archive_of_2_4_and_newer_becomes_just_the_rows_of_its_oracle(
    deploy: Deploy, archive: str, truth: str, version: str, environment: dict[str, str]
) -> None:
    restoring = restore(deploy, version, archive, environment)
    expected = oracle(truth)
    for backup in full_meta(archive)["collection_backups"]:
        database, name = backup.get("db_name") or "default", backup["collection_name"]
        collection = expected[f"{database}.{name}"]
        for partition in collection["partitions"]:
            found = list(rows_of(restoring.server.live_rows(database, name, partition)))
            wanted = [row for versions in collection["rows"].get(partition, []) for row in versions]
            assert in_order(found) == in_order(wanted), (name, partition)


@pytest.mark.feature(Feature.PEER_ARCHIVES)
@pytest.mark.parametrize("archive", ["golden_0516", pytest.param("golden_057", marks=pytest.mark.versions("2.3.5"))])
@pytest.mark.parametrize("version", OBSERVED)
def test_an_archive_of_2_3_becomes_what_the_real_server_had(deploy: Deploy, archive: str, version: str) -> None:
    restoring = restore(deploy, version, archive, FOLDED, allow_version=True)
    found, expected = snapshot(restoring.server.uri), oracle("2_3")
    assert found.keys() == expected.keys()
    for name, collection in expected.items():
        assert found[name]["count"] == collection["count"]
        assert found[name]["count_by_partition"] == collection["count_by_partition"]
        assert _as_json(found[name]["rows"]) == _as_json(collection["rows"]), name


@pytest.mark.parametrize("version", OBSERVED)
def test_an_archive_of_metadata_becomes_collections_without_rows(deploy: Deploy, version: str) -> None:
    restoring = restore(deploy, version, "golden_meta", FOLDED, allow_version=True)
    found = snapshot(restoring.server.uri)
    assert found.keys() == oracle("2_3").keys()
    assert {collection["count"] for collection in found.values()} == {0}


def _as_json(rows: list[dict[str, Any]]) -> list[str]:
    return [json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("before-upgrade", marks=pytest.mark.thorough),
        "daily 2026 (v2.4)",
        pytest.param("2026_11_28", marks=pytest.mark.thorough),
    ],
)
@pytest.mark.parametrize("environment", [FOLDED, BY_GRPC], ids=["by REST", "by gRPC"])
def test_an_archive_is_restored_under_the_name_that_its_folder_has(
    deploy: Deploy, name: str, environment: dict[str, str]
) -> None:
    restoring = deploy("2.5.27", environment)
    restoring.upload(GOLDEN / "golden_2_4", name)
    report = restoring.restore({"backup_name": name, "collections": ["gold.layers"]})
    assert (report["status"], report["backup_name"]) == ("complete", name)
    assert staged_keys(restoring) == []
