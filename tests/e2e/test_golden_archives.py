"""Archives that milvus-backup wrote are restored, and give what the server had that they were made from."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from local.stack import LocalStack
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.catalogue import Catalogue
from tests.compatibility.features import Feature, from_version
from tests.support.oracle import MADE_OF, ROWS, Snapshot, drop_everything, renamed, snapshot
from tests.support.selecting import selected
from tests.support.vault_runs import Failure, fail, report, restore_all, staged
from tests.tiers import parameters

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
ORACLE: Snapshot = json.loads((GOLDEN / "oracle_2_3.json").read_bytes())

WITH_ROWS = ["golden_0516", "golden_057"]
METADATA_ONLY = "golden_meta"
# Objects without metadata, which a run that failed left behind.
NO_BACKUP = "golden_rbac"
# Only these recorded them.
WITH_ALIASES = ["golden_0516", METADATA_ONLY]

# All three side by side, each under names of its own.
REQUESTS: dict[str, dict[str, Any]] = {
    "golden_0516": {"backup_name": "golden_0516"},
    "golden_057": {"backup_name": "golden_057", "suffix": "_057"},
    METADATA_ONLY: {
        "backup_name": METADATA_ONLY,
        "rename": {"default.*": "default_bare.*", "books.*": "books_bare.*"},
    },
}

# Of the same rows by a newer version of the tool. tests/restore/test_golden_archives.py has it too.
NEWER = "golden_057"


each_archive = pytest.mark.parametrize("archive", parameters(REQUESTS, {NEWER}))
each_archive_with_rows = pytest.mark.parametrize("archive", parameters(WITH_ROWS, {NEWER}))
each_collection = pytest.mark.parametrize("collection", ORACLE)


class Restored(NamedTuple):
    """What became of the archives, by their names."""

    outputs: Mapping[str, Mapping[str, Any]]
    reports: Mapping[str, Mapping[str, Any]]
    collections: Mapping[str, Snapshot]
    """Under the names that they have in the archive."""
    refusal: Failure
    """Of the one that is none."""
    left_staged: set[str]
    """Keys of staged objects that were still there afterwards."""


@pytest.fixture(scope="module")
def restored(stack: LocalStack, request: pytest.FixtureRequest) -> Iterator[Restored]:
    """Put the archives into the backup bucket, restore them into an empty Milvus, and look at that."""
    drop_everything(stack.milvus_uri)
    with_newer = NEWER in selected(request, "archive")
    requests = {name: asked for name, asked in REQUESTS.items() if name != NEWER or with_newer}
    for archive in (*requests, NO_BACKUP):
        upload(stack, archive)
    refusal = fail(stack, "Restore", {"backup_name": NO_BACKUP, "allow_version": True})
    outputs = restore_all(stack, requests)
    found = snapshot(stack.milvus_uri)
    yield Restored(
        outputs,
        {archive: report(stack, output) for archive, output in outputs.items()},
        {archive: under_old_names(archive, found) for archive in requests},
        refusal,
        staged(stack),
    )
    drop_everything(stack.milvus_uri)


def upload(stack: LocalStack, archive: str) -> None:
    s3 = stack.client("s3")
    folder = GOLDEN / archive
    for path in folder.rglob("*"):
        if path.is_file():
            key = f"{stack.outputs['BackupPrefix']}/{archive}/{path.relative_to(folder).as_posix()}"
            s3.put_object(Bucket=stack.outputs["BackupBucketName"], Key=key, Body=path.read_bytes())


def new_name(archive: str, name: str) -> str:
    """Return the name under which a collection of an archive is restored."""
    database, _, collection = name.partition(".")
    if archive == METADATA_ONLY:
        database += "_bare"
    return f"{database}.{collection}{REQUESTS[archive].get('suffix', '')}"


def under_old_names(archive: str, found: Snapshot) -> Snapshot:
    return {name: renamed(found[new_name(archive, name)], name) for name in ORACLE}


@each_archive
def test_every_collection_of_an_archive_is_restored_and_reported(restored: Restored, archive: str) -> None:
    output, written = restored.outputs[archive], restored.reports[archive]

    assert (output["status"], output["restored_count"], output["failed_count"]) == ("complete", len(ORACLE), 0)
    assert (written["backup_name"], written["backup_version"]) == (archive, "v2.3.5-lite")
    assert sorted(
        (f"{found['source']['database']}.{found['source']['name']}", found["status"], found["row_count"])
        for found in written["collections"]
    ) == sorted((name, "restored", 0 if archive == METADATA_ONLY else truth["count"]) for name, truth in ORACLE.items())


@each_archive
@each_collection
@pytest.mark.parametrize("member", MADE_OF)
def test_a_collection_is_made_as_it_was(restored: Restored, archive: str, collection: str, member: str) -> None:
    assert restored.collections[archive][collection][member] == ORACLE[collection][member]


@pytest.mark.feature(Feature.PEER_ARCHIVES, from_version("2.3"), Feature.IMPORT_BY_GRPC)
@each_archive_with_rows
@each_collection
@pytest.mark.parametrize("member", ROWS)
def test_every_row_comes_back_with_all_its_values(
    restored: Restored, archive: str, collection: str, member: str
) -> None:
    assert restored.collections[archive][collection][member] == ORACLE[collection][member]


@pytest.mark.feature(Feature.ALIASES)
@each_archive
@each_collection
def test_aliases_come_back_where_the_archive_has_them(restored: Restored, archive: str, collection: str) -> None:
    expected = ORACLE[collection]["aliases"] if archive in WITH_ALIASES else []

    assert restored.collections[archive][collection]["aliases"] == expected


@pytest.mark.feature(Feature.LOAD_STATE)
@each_archive
@each_collection
def test_what_was_loaded_is_loaded_with_one_replica(restored: Restored, archive: str, collection: str) -> None:
    found, truth = restored.collections[archive][collection], ORACLE[collection]

    assert found["loaded"] == truth["loaded"]
    assert found["replicas"] == int(truth["loaded"])
    assert found["loaded_partitions"] == (truth["partitions"] if truth["loaded"] else [])


@pytest.mark.feature(Feature.METADATA_ONLY)
@each_collection
def test_an_archive_of_metadata_brings_no_rows(restored: Restored, collection: str) -> None:
    found = restored.collections[METADATA_ONLY][collection]

    assert (found["count"], found["rows"]) == (0, [])


@each_archive_with_rows
def test_the_report_says_that_each_object_was_read(restored: Restored, archive: str) -> None:
    logs = [path for path in (GOLDEN / archive / "binlogs").rglob("*") if path.is_file()]

    for said in (restored.outputs[archive], restored.reports[archive]):
        assert (said["content_checked"], said["read_count"]) == (False, len(logs))
        assert not any("content was not" in warning for warning in said["warnings"])


def test_the_report_says_that_there_was_metadata_only(restored: Restored) -> None:
    for said in (restored.outputs[METADATA_ONLY], restored.reports[METADATA_ONLY]):
        assert said["content_checked"] is False
        assert "The backup holds metadata only: the collections are restored without rows." in said["warnings"]


def test_objects_are_staged_where_there_are_any_and_none_stays_behind(restored: Restored) -> None:
    assert {archive: said["is_staged"] for archive, said in restored.reports.items()} == {
        archive: archive != METADATA_ONLY for archive in restored.reports
    }
    assert restored.left_staged == set()


def test_what_a_failed_run_left_behind_is_refused(restored: Restored) -> None:
    assert restored.refusal.error == "BackupNotFoundError"
    assert NO_BACKUP in restored.refusal.cause


def test_what_a_failed_run_left_behind_is_not_listed(stack: LocalStack, restored: Restored) -> None:
    assert restored.outputs
    s3 = stack.client("s3")
    store = S3ObjectStore(s3, s3, ThreadPoolExecutor(1))
    catalogue = Catalogue(store, stack.outputs["BackupBucketName"], stack.outputs["BackupPrefix"])

    listed = [item.name for item in catalogue.list(100, None).items]

    assert set(restored.outputs) <= set(listed)
    assert NO_BACKUP not in listed
