"""A Milvus whose disk quota is used up."""

import pytest

from tests.restore.conftest import Deploy
from tests.support.golden_rows import GOLDEN
from tests.support.milvus_server.versions import NEWER

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")


@pytest.mark.thread("milvus#33775", "milvus#38845")
@pytest.mark.parametrize(
    "environment", [{}, {"FOLD_SEGMENT_BYTES": "0"}], ids=["rows", "rows and deletes by themselves"]
)
@pytest.mark.parametrize(
    "way",
    [
        pytest.param({}, id="REST"),
        pytest.param({"MILVUS_REST_URI": "http://127.0.0.1:9"}, id="gRPC", marks=pytest.mark.thorough),
    ],
)
@pytest.mark.parametrize("version", NEWER)
def test_a_server_over_its_disk_quota_is_restored_into_with_a_warning(
    deploy: Deploy, version: str, way: dict[str, str], environment: dict[str, str]
) -> None:
    restoring = deploy(version, way | environment)
    restoring.upload(GOLDEN / "golden_2_4")
    restoring.server.faults.over_disk_quota = True
    report = restoring.restore({"backup_name": "golden_2_4"})
    assert report["status"] == "complete"
    assert any("DenyToWrite: " in warning and "disk quota exceeded" in warning for warning in report["warnings"])
