"""Versions that do not fit, other names, other databases, other buckets."""

import pytest

from milvus_vault.errors import VersionUnsupportedError
from tests.restore.conftest import Deploy
from tests.support.golden_rows import GOLDEN
from tests.support.milvus_server.versions import NEWER, OBSERVED
from tests.support.restoring import Restoring
from tests.threads.helpers import client_of, live, names_in

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

ARCHIVE = "golden_2_4"
COLLECTION = "gold.layers"


def filled(restoring: Restoring, *databases: str) -> Restoring:
    """Make a collection with rows in each database."""
    for number, database in enumerate(databases):
        if database != "default":
            client_of(restoring).create_database(database)
        client = client_of(restoring, database)
        client.create_collection("c", dimension=2, auto_id=False)
        client.insert("c", [{"id": 100 * number + row, "vector": [row, 0.5]} for row in range(10)])
        client.flush("c")
        client.close()
    return restoring


@pytest.mark.thread("milvus-backup#522", "milvus-backup#744")
@pytest.mark.parametrize("version", NEWER)
def test_a_collection_restored_into_another_database_does_not_bring_its_own_with_it(
    deploy: Deploy, version: str
) -> None:
    restoring = deploy(version)
    restoring.upload(GOLDEN / ARCHIVE)
    request = {"backup_name": ARCHIVE, "collections": [COLLECTION], "rename": {COLLECTION: "staging.layers"}}
    assert restoring.restore(request)["status"] == "complete"
    assert set(restoring.server.core.catalog.databases) == {"default", "staging"}
    assert names_in(restoring) == {"staging.layers"}


@pytest.mark.thread("milvus-backup#522")
def test_a_whole_database_can_be_restored_under_another_name(deploy: Deploy) -> None:
    restoring = deploy("2.5.27")
    restoring.upload(GOLDEN / ARCHIVE)
    request = {"backup_name": ARCHIVE, "collections": ["gold.*"], "rename": {"gold.*": "silver.*"}}
    assert restoring.restore(request)["status"] == "complete"
    assert {name.partition(".")[0] for name in names_in(restoring)} == {"silver"}


@pytest.mark.thread("milvus-backup#364", "milvus-backup#374")
@pytest.mark.parametrize("version", OBSERVED)
def test_one_collection_of_another_database_is_backed_up_and_restored_by_itself(deploy: Deploy, version: str) -> None:
    source = filled(deploy(version), "default", "library")
    name = f"library_{version.replace('.', '_')}"
    source.back_up(name, collections=["library.c"])
    target = deploy(version)
    request = {"backup_name": name, "collections": ["library.c"], "allow_version": True}
    assert target.restore(request)["status"] == "complete"
    assert names_in(target) == {"library.c"}
    assert live(target, "c", "library") == live(source, "c", "library")


@pytest.mark.thread("milvus#21284")
@pytest.mark.parametrize("version", NEWER)
def test_what_is_restored_takes_the_name_of_the_original_where_that_is_asked_for(deploy: Deploy, version: str) -> None:
    source = filled(deploy(version), "default")
    name = f"original_{version.replace('.', '_')}"
    source.back_up(name)
    there = live(source, "c")
    client_of(source).delete("c", ids=[1, 2, 3])
    assert source.restore({"backup_name": name, "drop_existing": True})["status"] == "complete"
    assert names_in(source) == {"default.c"}
    assert live(source, "c") == there


@pytest.mark.thread("milvus-backup#152")
def test_a_backup_that_was_copied_to_another_bucket_and_folder_is_found_and_restored(deploy: Deploy) -> None:
    source = filled(deploy("2.4.23"), "default")
    source.back_up("moved")
    source.s3.create_bucket(Bucket="another-bucket")
    for item in source.s3.list_objects_v2(Bucket=source.backups, Prefix="team/moved/")["Contents"]:
        key = item["Key"].replace("team/moved/", "elsewhere/renamed/")
        copied = f"{source.backups}/{item['Key']}"
        source.s3.copy_object(Bucket="another-bucket", Key=key, CopySource=copied)
    target = deploy("2.5.27", {"BACKUP_BUCKET_NAME": "another-bucket", "BACKUP_PREFIX": "elsewhere"})
    assert target.restore({"backup_name": "renamed"})["status"] == "complete"
    assert live(target, "c") == live(source, "c")


@pytest.mark.thread("milvus-backup#151", "milvus-backup#1041")
@pytest.mark.parametrize("version", NEWER)
def test_a_backup_of_2_2_is_restored_into_newer_servers(deploy: Deploy, version: str) -> None:
    source = filled(deploy("2.2.16"), "default")
    name = f"of_2_2_in_{version.replace('.', '_')}"
    source.back_up(name)
    target = deploy(version)
    assert target.restore({"backup_name": name, "allow_version": True})["status"] == "complete"
    assert live(target, "c") == live(source, "c")


@pytest.mark.thread("milvus-backup#1054")
@pytest.mark.parametrize("version", NEWER)
def test_a_backup_is_restored_on_another_server_of_its_version(deploy: Deploy, version: str) -> None:
    source = filled(deploy(version), "default")
    name = f"same_{version.replace('.', '_')}"
    source.back_up(name)
    target = deploy(version)
    assert target.restore({"backup_name": name})["status"] == "complete"
    assert live(target, "c") == live(source, "c")


@pytest.mark.thread("milvus-backup#895", "milvus#43218")
def test_rows_that_are_stored_in_groups_of_columns_come_back(deploy: Deploy) -> None:
    source = filled(deploy("2.6.19"), "default")
    assert {
        segment.storage_version for segment in source.server.core.catalog.collection("default", "c").segments.values()
    } == {2}
    source.back_up("groups")
    target = deploy("2.6.19")
    assert target.restore({"backup_name": "groups"})["status"] == "complete"
    assert live(target, "c") == live(source, "c")
    assert {job.options["storage_version"] for job in target.server.service.imports.all()} == {"2"}


@pytest.mark.thread("milvus-backup#151", "milvus-backup#205")
def test_a_server_that_cannot_take_a_backup_is_refused_by_name_before_anything_is_made(deploy: Deploy) -> None:
    restoring = deploy("2.3.5")
    restoring.upload(GOLDEN / ARCHIVE)
    with pytest.raises(VersionUnsupportedError, match=r"v2\.4\.23 cannot be restored into Milvus v?2\.3\.5"):
        restoring.restore({"backup_name": ARCHIVE, "allow_version": True})
    assert names_in(restoring) == set()
