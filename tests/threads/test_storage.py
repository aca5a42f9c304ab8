"""Buckets and root paths that are not Milvus' own, and backups that hold less than they say."""

import json
from typing import Any

import pytest

from milvus_vault.errors import BackupDamagedError, WrongRootPathError
from tests.conformance.asking import base_fields
from tests.conformance.conftest import Start
from tests.conformance.test_capture import Open
from tests.restore.conftest import Deploy
from tests.support.golden_rows import GOLDEN
from tests.support.milvus_server.versions import ALL, NEWER, OBSERVED
from tests.support.reference_shapes import meta_files
from tests.support.restoring import BACKUPS, PREFIX, Json, Restoring

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

ARCHIVE = "golden_2_4"
OTHER_BUCKET = "not-of-milvus"
OF_2_3 = "golden_0516"
ELSEWHERE = {"MILVUS_BUCKET_NAME": OTHER_BUCKET}


def deployed(deploy: Deploy, version: str, environment: dict[str, str], **settings: Any) -> Restoring:
    """Return a deployment whose settings may name another bucket than the server's, which is there as well."""
    restoring = deploy(version, environment, **settings)
    if OTHER_BUCKET not in {bucket["Name"] for bucket in restoring.s3.list_buckets()["Buckets"]}:
        restoring.s3.create_bucket(Bucket=OTHER_BUCKET)
    restoring.upload(GOLDEN / archive_for(version), ARCHIVE)
    return restoring


def archive_for(version: str) -> str:
    """Return the name of an archive that a version takes; it is uploaded as ARCHIVE."""
    return OF_2_3 if version == "2.3.5" else ARCHIVE


def collections_of(restoring: Restoring) -> list[str]:
    return [collection.name for collection in restoring.server.core.catalog.collections()]


def staged_in(restoring: Restoring, bucket: str) -> list[str]:
    listed = restoring.s3.list_objects_v2(Bucket=bucket, Prefix="staging/").get("Contents", [])
    return [item["Key"] for item in listed if "/claims/" not in item["Key"]]


@pytest.mark.thread("milvus-backup#55", "milvus-backup#430", "milvus-backup#830", "milvus-backup#923")
@pytest.mark.thread("milvus-backup#1006", "milvus-backup#1026", "milvus-backup#1036", "milvus-backup#1145")
@pytest.mark.parametrize("version", OBSERVED)
@pytest.mark.parametrize("wrong", [ELSEWHERE, {"MILVUS_ROOT_PATH": "file"}], ids=["bucket", "root path"])
def test_a_restore_into_storage_that_is_not_of_the_empty_target_is_refused_before_anything_is_copied(
    deploy: Deploy, version: str, wrong: dict[str, str]
) -> None:
    restoring = deployed(deploy, version, wrong)
    with pytest.raises(WrongRootPathError, match=r"is empty, but .* has flushed rows"):
        restoring.restore({"backup_name": ARCHIVE, "allow_version": True})
    assert collections_of(restoring) == []
    assert staged_in(restoring, OTHER_BUCKET) == []
    assert list(restoring.server.service.imports.all()) == []


@pytest.mark.thread("milvus-backup#830", "milvus-backup#923", "milvus-backup#1006", "milvus-backup#1145")
def test_a_target_that_takes_no_row_to_prove_its_bucket_by_is_restored_with_a_warning(deploy: Deploy) -> None:
    restoring = deployed(deploy, "2.6.19", {})
    restoring.server.faults.over_disk_quota = True
    report = restoring.restore({"backup_name": ARCHIVE})
    assert report["status"] == "complete"
    assert any("could not be proven" in warning for warning in report["warnings"])


@pytest.mark.thread("milvus-backup#830", "milvus-backup#923", "milvus-backup#1006", "milvus-backup#1145")
@pytest.mark.parametrize("version", NEWER)
def test_an_import_that_finds_nothing_says_whose_bucket_it_must_be_and_leaves_no_collection(
    deploy: Deploy, version: str
) -> None:
    restoring = deployed(deploy, version, ELSEWHERE)
    restoring.server.faults.over_disk_quota = True
    report = restoring.restore({"backup_name": ARCHIVE})
    failed = {found["error"] for found in report["collections"] if found["status"] == "failed"}
    assert failed == {WrongRootPathError.__name__}
    assert all("looks into its own bucket" in found["message"] for found in report["collections"] if found["message"])
    assert staged_in(restoring, OTHER_BUCKET) == []


@pytest.mark.thread("milvus-backup#849", "milvus-backup#1037")
@pytest.mark.parametrize("way", [{}, {"MILVUS_REST_URI": "http://127.0.0.1:9"}], ids=["REST", "gRPC"])
@pytest.mark.parametrize("version", NEWER)
def test_no_import_is_given_an_empty_path_or_one_that_is_no_folder(
    deploy: Deploy, version: str, way: dict[str, str]
) -> None:
    restoring = deployed(deploy, version, way)
    assert restoring.restore({"backup_name": ARCHIVE})["status"] == "complete"
    paths = [path for job in restoring.server.service.imports.all() for pair in job.files for path in pair]
    assert paths
    assert all(path.strip("/") and path.endswith("/") for path in paths)


@pytest.mark.thread("milvus#26088", "milvus-backup#176", "milvus-backup#183", "milvus-backup#441")
@pytest.mark.thread("milvus-backup#479", "milvus-backup#1033")
@pytest.mark.parametrize("version", ALL)
def test_a_backup_from_a_wrong_root_path_is_refused_before_it_has_a_name(
    start: Start, backups: Open, version: str
) -> None:
    running = start(version)
    running.milvus.make("c", *base_fields())
    running.milvus.insert("c", range(10))
    running.milvus.flush("c")
    taken = backups(running)
    running.server.root_path = "file"
    with pytest.raises(WrongRootPathError, match="MilvusRootPath"):
        taken.prepare("b")
    assert list(taken.store.list_objects(taken.bucket, "")) == []


def without_files(restoring: Restoring, *, keeps_list: bool) -> None:
    """Take the insert logs of the archive's first segment with rows away: those in the bucket, or those in the list."""
    key = f"{PREFIX}/{ARCHIVE}/meta/full_meta.json"
    meta: Json = json.loads(restoring.s3.get_object(Bucket=BACKUPS, Key=key)["Body"].read())
    segment = next(
        segment
        for collection in meta["collection_backups"]
        for partition in collection["partition_backups"]
        for segment in partition.get("segment_backups", [])
        if segment.get("binlogs")
    )
    listed = restoring.s3.list_objects_v2(Bucket=BACKUPS, Prefix=f"{PREFIX}/{ARCHIVE}/binlogs/insert_log/")
    for item in listed["Contents"]:
        if f"/{segment['segment_id']}/" in item["Key"]:
            restoring.s3.delete_object(Bucket=BACKUPS, Key=item["Key"])
    if not keeps_list:
        del segment["binlogs"]
        for name, body in meta_files(meta).items():
            restoring.s3.put_object(Bucket=BACKUPS, Key=f"{PREFIX}/{ARCHIVE}/meta/{name}", Body=body)


@pytest.mark.thread("milvus-backup#86", "milvus-backup#166", "milvus-backup#190", "milvus-backup#227")
@pytest.mark.thread("milvus-backup#441", "milvus-backup#479", "milvus-backup#541")
@pytest.mark.parametrize("version", OBSERVED)
def test_a_backup_with_rows_and_no_files_is_refused(deploy: Deploy, version: str) -> None:
    restoring = deployed(deploy, version, {})
    without_files(restoring, keeps_list=False)
    with pytest.raises(BackupDamagedError, match=r"has .* row.* and no insert logs"):
        restoring.restore({"backup_name": ARCHIVE, "allow_version": True})
    assert collections_of(restoring) == []


@pytest.mark.thread("milvus-backup#541", "milvus-backup#781", "milvus-backup#838", "milvus-backup#1036")
@pytest.mark.parametrize("version", OBSERVED)
def test_a_backup_whose_metadata_names_files_that_are_not_there_is_refused(deploy: Deploy, version: str) -> None:
    restoring = deployed(deploy, version, {})
    without_files(restoring, keeps_list=True)
    with pytest.raises(BackupDamagedError, match="missing"):
        restoring.restore({"backup_name": ARCHIVE, "allow_version": True})
    assert collections_of(restoring) == []
