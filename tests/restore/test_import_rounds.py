"""However much is restored, no import job waits for another, but deletes by themselves for all rows of theirs."""

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from tests.compatibility.features import Feature
from tests.restore.conftest import Archive, Deploy
from tests.support.importing import Gate, Size, keys, quick
from tests.support.milvus_server.versions import NEWER, OLDER, VERSIONS

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

BY_THEMSELVES = {"FOLD_SEGMENT_BYTES": "0"}
BY_GRPC = {"MILVUS_REST_URI": "http://127.0.0.1:9"}
SMALL, LARGE = Size(1, 1, 1), Size(6, 5, 4)
ROOT = Path(__file__).parents[2]


def restored(deploy: Deploy, archive: Archive, version: str, size: Size, environment: dict[str, str]) -> Gate:
    """Restore a backup into a server of the same version, see that all is there, and return what was started when."""
    source, name = archive(version, size)
    target = deploy(version, environment, durations=quick(version))
    gate = Gate(target)
    report = target.restore({"backup_name": name, "allow_version": True})
    assert [found["message"] for found in report["collections"]] == [""] * size.collections
    assert keys(target, size) == keys(source, size)
    return gate


@pytest.mark.feature(Feature.DELETES_AFTERWARDS)
@pytest.mark.parametrize(
    ("size", "way"), [(SMALL, BY_GRPC), pytest.param(SMALL, {}, marks=pytest.mark.thorough), (LARGE, {})], ids=str
)
@pytest.mark.parametrize("version", NEWER)
def test_deletes_by_themselves_are_a_second_round_however_much_there_is(
    deploy: Deploy, archive: Archive, version: str, size: Size, way: dict[str, str]
) -> None:
    rows, deletes = restored(deploy, archive, version, size, BY_THEMSELVES | way).rounds
    assert len(rows) == size.collections * size.partitions
    assert not any(job.is_level_zero for job in rows)
    # One for each partition, and one for the deletes that concern all of them.
    assert len(deletes) == size.collections * (size.partitions + 1)
    assert all(job.is_level_zero for job in deletes)


@pytest.mark.feature(Feature.FOLDED_DELETES, Feature.JOBS_AT_ONCE)
@pytest.mark.parametrize("size", [pytest.param(SMALL, marks=pytest.mark.thorough), LARGE], ids=str)
@pytest.mark.parametrize("version", NEWER)
def test_there_is_one_round_where_deletes_are_folded(
    deploy: Deploy, archive: Archive, version: str, size: Size
) -> None:
    (rows,) = restored(deploy, archive, version, size, {}).rounds
    assert len(rows) == size.collections * size.partitions


@pytest.mark.parametrize("version", OLDER)
def test_2_2_and_2_3_are_given_all_jobs_at_once_and_do_them_one_after_the_other(
    deploy: Deploy, archive: Archive, version: str
) -> None:
    size = Size(3, 3, 2)
    (rows,) = restored(deploy, archive, version, size, {}).rounds
    assert len(rows) == size.collections * size.partitions
    begins = sorted(job.begins_at for job in rows)
    lasts = VERSIONS[version].durations.import_job
    assert all(after - before >= lasts * 0.99 for before, after in pairwise(begins))


def test_no_state_of_the_machine_works_on_one_collection_at_a_time() -> None:
    machine = yaml.safe_load((ROOT / "statemachine" / "restore.asl.yaml").read_text())
    copying, advancing = machine["States"]["AttemptRestore"]["Branches"]
    for part in (machine, copying, advancing):
        assert not [name for name, state in part["States"].items() if state["Type"] == "Map"]
    turn = {name: state.get("Next", state.get("Default")) for name, state in advancing["States"].items()}
    ends = turn.pop("Restored")
    assert (advancing["StartAt"], ends) == ("AdvanceRestore", None)
    assert turn == {
        "AdvanceRestore": "AreAllRestored",
        "AreAllRestored": "WaitForMilvus",
        "WaitForMilvus": "AdvanceRestore",
    }
