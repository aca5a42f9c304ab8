"""Imports that expire, get stuck, or are forgotten: a restore ends, and says why."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from milvus_vault.errors import ImportFailedError
from tests.restore.conftest import Deploy
from tests.support.golden_rows import GOLDEN
from tests.support.milvus_server.versions import OBSERVED
from tests.threads.helpers import names_in

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

MACHINES = Path(__file__).parents[2] / "statemachine"
DAY_SECONDS = 86_400
EXPIRED = "the import task expired"


@pytest.mark.thread("milvus#22760", "milvus-backup#189", "milvus-backup#363")
@pytest.mark.parametrize("version", OBSERVED)
def test_an_import_that_milvus_lets_expire_fails_by_name_and_is_not_waited_for(deploy: Deploy, version: str) -> None:
    restoring = deploy(version)
    restoring.upload(GOLDEN / "golden_0516")
    restoring.server.faults.expires_imports = True
    report = restoring.restore({"backup_name": "golden_0516", "allow_version": True})
    failed = [found for found in report["collections"] if found["status"] == "failed"]
    assert {found["error"] for found in failed} == {ImportFailedError.__name__}
    assert all(EXPIRED in found["message"] for found in failed)
    assert names_in(restoring) == {
        f"{found['target']['database']}.{found['target']['name']}"
        for found in report["collections"]
        if found["status"] == "restored"
    }


@pytest.mark.thread("milvus-backup#363", "milvus-backup#640", "milvus-backup#1176", "milvus-backup#1177")
@pytest.mark.parametrize("path", sorted(MACHINES.glob("*.asl.yaml")), ids=lambda path: path.name.partition(".")[0])
def test_nothing_is_waited_for_longer_than_a_day(path: Path) -> None:
    machine: dict[str, Any] = yaml.safe_load(path.read_text())
    assert 0 < machine["TimeoutSeconds"] <= DAY_SECONDS
