"""Import jobs as each version takes them: how many, in which order, and what happens when they go wrong."""

import time
from datetime import UTC, datetime

import pytest

from milvus_vault.errors import BackupDamagedError, ImportFailedError, InvalidRequestError, RowCountMismatchError
from milvus_vault.runs.describing import WorkingFiles
from milvus_vault.settings import StorageSettings
from milvus_vault.stores import open_workspace
from tests.compatibility.features import Feature
from tests.restore.conftest import Deploy
from tests.support.golden_rows import GOLDEN, full_meta, oracle
from tests.support.milvus_server.calls.table import DEFAULT_GROUP
from tests.support.milvus_server.catalog import Load
from tests.support.milvus_server.importing import COMPLETED, Job
from tests.support.milvus_server.versions import NEWER
from tests.support.restoring import BACKUPS, Restoring, staged_keys

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

ARCHIVE, LAYERED = "golden_2_4", "gold.layers"
AFTERWARDS = {"FOLD_SEGMENT_BYTES": "0"}
EXECUTION = "arn:aws:states:us-east-1:000000000000:execution:vault-restore:followed"
BY_GRPC = {"MILVUS_REST_URI": "http://127.0.0.1:9"}


def jobs(restoring: Restoring) -> list[Job]:
    """Return the jobs of a server, oldest first."""
    return list(restoring.server.service.imports.all())[::-1]


def partitions_with_rows() -> int:
    """Return how many partitions of the archive have rows."""
    return sum(
        any(not segment.get("is_l0") for segment in partition.get("segment_backups", []))
        for collection in full_meta(ARCHIVE)["collection_backups"]
        for partition in collection["partition_backups"]
    )


@pytest.fixture(params=NEWER)
def restoring(deploy: Deploy, request: pytest.FixtureRequest) -> Restoring:
    found = deploy(str(request.param))
    found.upload(GOLDEN / ARCHIVE)
    return found


@pytest.mark.thread("milvus-backup#1075", "milvus#51177")
@pytest.mark.feature(Feature.FOLDED_DELETES, Feature.IMPORT_BY_REST, parameter="restoring")
def test_there_is_one_job_a_partition_and_none_for_deletes(restoring: Restoring) -> None:
    restoring.restore({"backup_name": ARCHIVE})
    assert len(jobs(restoring)) == partitions_with_rows()
    assert not any(job.is_level_zero for job in jobs(restoring))


@pytest.mark.feature(Feature.JOBS_AT_ONCE, parameter="restoring")
def test_all_jobs_are_there_before_the_first_is_waited_for(restoring: Restoring) -> None:
    counts: list[int] = []
    restoring.after = {"advance_restore": lambda: counts.append(len(jobs(restoring)))}
    restoring.restore({"backup_name": ARCHIVE})
    assert set(counts) == {partitions_with_rows()}


@pytest.mark.thread("milvus#33157")
@pytest.mark.feature(Feature.DELETES_AFTERWARDS)
@pytest.mark.parametrize("version", NEWER)
def test_deletes_by_themselves_come_after_all_rows_of_their_collection(deploy: Deploy, version: str) -> None:
    restoring = deploy(version, AFTERWARDS)
    restoring.upload(GOLDEN / ARCHIVE)
    restoring.restore({"backup_name": ARCHIVE})
    deletes = [job for job in jobs(restoring) if job.is_level_zero]
    assert deletes
    for job in deletes:
        assert job.state == COMPLETED
        assert [len(files) for files in job.files] == [1]
        rows = [j for j in jobs(restoring) if j.collection is job.collection and not j.is_level_zero]
        assert all(other.ended_at is not None and other.ended_at <= job.created_at for other in rows)


@pytest.mark.feature(Feature.MISSING_ROWS)
@pytest.mark.parametrize("version", NEWER)
def test_deletes_of_which_milvus_says_that_they_are_imported_and_are_not_fail_their_collection(
    deploy: Deploy, version: str
) -> None:
    restoring = deploy(version, AFTERWARDS)
    restoring.upload(GOLDEN / ARCHIVE)
    restoring.after = {"verify_copy": lambda: _remove_level_zero(restoring)}
    report = restoring.restore({"backup_name": ARCHIVE})
    told = {
        (c["error"], "none of the deletes" in c["message"]) for c in report["collections"] if c["status"] == "failed"
    }
    assert told == {(RowCountMismatchError.__name__, True)}


@pytest.mark.parametrize("version", NEWER)
def test_a_loaded_collection_that_could_not_take_its_deletes_gets_no_rows_either(deploy: Deploy, version: str) -> None:
    restoring = deploy(version, AFTERWARDS)
    restoring.upload(GOLDEN / ARCHIVE)
    request = {"backup_name": ARCHIVE, "collections": [LAYERED], "suffix": "_there"}
    restoring.restore(request | {"meta_only": True})
    database, _, name = f"{LAYERED}_there".partition(".")
    there = restoring.server.core.catalog.collection(database, name)
    there.load = Load({"_default"}, 1, 0.0, (DEFAULT_GROUP,))
    with pytest.raises(InvalidRequestError, match="is loaded, and the backup has more deletes"):
        restoring.restore(request | {"skip_create": True})
    assert not jobs(restoring)
    there.load = None
    assert restoring.restore(request | {"skip_create": True})["status"] == "complete"
    alive = sum(len(rows) for rows in oracle("2_4")[LAYERED]["rows"].values())
    assert len(restoring.server.live_rows(database, name)[1]) == alive


def _remove_level_zero(restoring: Restoring) -> None:
    """Remove staged deletes after they were checked: Milvus imports nothing from there, and says nothing."""
    for key in staged_keys(restoring):
        if "/level_zero/" in key:
            restoring.s3.delete_object(Bucket=restoring.server.bucket, Key=key)


@pytest.mark.feature(Feature.IMPORT_BY_GRPC)
@pytest.mark.parametrize("version", NEWER)
def test_where_rest_does_not_answer_jobs_are_started_by_grpc(deploy: Deploy, version: str) -> None:
    restoring = deploy(version, BY_GRPC)
    restoring.upload(GOLDEN / ARCHIVE)
    assert restoring.restore({"backup_name": ARCHIVE})["status"] == "complete"
    assert {len(job.files) for job in jobs(restoring)} == {1}


@pytest.mark.thread("milvus-backup#473", "milvus-backup#1176", "milvus-backup#1177", "milvus-backup#1217")
@pytest.mark.feature(Feature.FORGOTTEN_JOBS, parameter="restoring")
def test_jobs_that_milvus_forgot_fail_by_name_since_nothing_proves_their_rows(restoring: Restoring) -> None:
    restoring.server.faults.forgets_imports = True
    restoring.after = {"advance_restore": lambda: _until_all_ended(restoring)}
    report = restoring.restore({"backup_name": ARCHIVE})
    told = {(c["error"], "no longer knows" in c["message"]) for c in report["collections"] if c["status"] == "failed"}
    assert told == {(ImportFailedError.__name__, True)}
    # What could not be proven did not get its name.
    named = {c["target"]["name"] for c in report["collections"] if c["status"] == "restored"}
    there = restoring.server.core.catalog.databases["default"].collections
    assert set(there) <= named


def _until_all_ended(restoring: Restoring) -> None:
    service = restoring.server.service.imports
    while any(job.ended_at is None for job in service.all()):
        time.sleep(0.02)


@pytest.mark.thread("milvus-backup#1061")
@pytest.mark.feature(Feature.LOST_ANSWERS)
@pytest.mark.parametrize("way", [{}, BY_GRPC], ids=["REST", "gRPC"])
@pytest.mark.parametrize("version", NEWER)
def test_an_answer_that_got_lost_doubles_no_rows(deploy: Deploy, version: str, way: dict[str, str]) -> None:
    restoring = deploy(version, way)
    restoring.upload(GOLDEN / ARCHIVE)
    faults = restoring.server.faults
    faults.unavailable_names = frozenset({"Import", "/v2/vectordb/jobs/import/create"})
    restoring.after = {"verify_copy": lambda: setattr(faults, "lost_answers", 2)}
    report = restoring.restore({"backup_name": ARCHIVE})
    assert (report["status"], faults.lost_answers) == ("complete", 0)
    assert len(jobs(restoring)) > partitions_with_rows()
    assert sum(c["row_count"] for c in report["collections"]) == _live_rows(restoring)


def _live_rows(restoring: Restoring) -> int:
    return sum(
        len(restoring.server.live_rows(database.name, name).get(1, []))
        for database in restoring.server.core.catalog.databases.values()
        for name in database.collections
    )


@pytest.mark.feature(Feature.MISSING_OBJECTS, parameter="restoring")
def test_a_segment_that_is_missing_is_found_before_anything_is_made(restoring: Restoring) -> None:
    key = next(
        item["Key"]
        for item in restoring.s3.list_objects_v2(Bucket=BACKUPS, Prefix=f"team/{ARCHIVE}/binlogs/insert_log")[
            "Contents"
        ]
    )
    restoring.s3.delete_object(Bucket=BACKUPS, Key=key)
    with pytest.raises(BackupDamagedError, match="missing"):
        restoring.restore({"backup_name": ARCHIVE})
    assert not jobs(restoring)


@pytest.mark.feature(Feature.IN_PLACE)
@pytest.mark.parametrize(
    "way", [pytest.param({}, id="REST"), pytest.param(BY_GRPC, id="gRPC", marks=pytest.mark.thorough)]
)
@pytest.mark.parametrize("version", NEWER)
def test_a_backup_in_milvus_own_bucket_is_imported_where_it_lies_unless_deletes_lie_apart(
    deploy: Deploy, version: str, way: dict[str, str]
) -> None:
    restoring = deploy(version)
    restoring.environment = {"BACKUP_BUCKET_NAME": restoring.server.bucket, **way}
    restoring.upload(GOLDEN / "golden_0516")
    restoring.upload(GOLDEN / ARCHIVE)
    report = restoring.restore({"backup_name": "golden_0516"})
    assert (report["status"], report["is_staged"]) == ("complete", False)
    assert {file.split("/")[1] for job in jobs(restoring) for files in job.files for file in files} == {"golden_0516"}
    assert sum(c["row_count"] for c in report["collections"]) == sum(c["count"] for c in oracle("2_3").values())
    again = restoring.restore({"backup_name": ARCHIVE, "suffix": "_2"})
    assert (again["status"], again["is_staged"]) == ("complete", True)


def test_rows_are_told_as_they_are_imported_and_deleted_ones_at_the_end(deploy: Deploy) -> None:
    restoring = deploy("2.6.19")
    restoring.upload(GOLDEN / "golden_0516")
    seen: list[tuple[int, int | None]] = []
    units: set[tuple[str, str]] = set()

    def look() -> None:
        run = open_workspace(StorageSettings.from_env(), "")
        told = WorkingFiles(run.store, run.bucket, run.prefix).follow("restore", EXECUTION)
        assert told
        for phase in told.progress(datetime.now(UTC)).phases:
            units.update((phase.name, count.unit) for count in phase.counts)
            if phase.name == "importing":
                seen.append((phase.counts[0].done, phase.counts[0].total))

    restoring.after = {"advance_restore": look}
    report = restoring.restore({"backup_name": "golden_0516"}, EXECUTION.rpartition(":")[2])
    assert {("copying", "byte"), ("copying", "object"), ("importing", "row"), ("importing", "job")} <= units
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == sum(c["imported_row_count"] for c in report["collections"])
    for collection in report["collections"]:
        if collection["deleted_row_count"] is not None:
            assert collection["row_count"] + collection["deleted_row_count"] == collection["imported_row_count"]
