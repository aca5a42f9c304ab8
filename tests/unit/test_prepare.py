"""PrepareBackup, VerifyCopy and PublishBackup where a backup of the same name is there already."""

from datetime import UTC, datetime
from typing import cast

import pytest

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import CollectionFailure, Manifest, Source
from milvus_vault.archive.reader import read_manifest
from milvus_vault.backup.prepare import prepare_backup
from milvus_vault.backup.publish import find_published
from milvus_vault.backup.working_files import PLAN, BackupPlan
from milvus_vault.catalogue import Catalogue
from milvus_vault.claims import CLAIM, Claim, Claims
from milvus_vault.copying.working_files import write_job
from milvus_vault.errors import BackupExistsError, BackupInProgressError
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.names import attempt_of
from milvus_vault.model.objects import CopyJob
from milvus_vault.model.requests import BackupRequest
from milvus_vault.ports import VectorDatabase
from milvus_vault.source import MilvusStorage
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, DATABASES, PREFIX, sample_contents, write_backup
from tests.unit.test_claims import FakeExecutions

LAYOUT = BackupLayout(PREFIX, "night")
REQUEST = BackupRequest(backup_name="night")
LOST = CollectionFailure(
    name=CollectionName(database="books", name="lost"), error="MilvusUnavailableError", message="not ready"
)


def plan_of(execution_arn: str, request: BackupRequest = REQUEST) -> BackupPlan:
    """Return the plan that an execution made."""
    return BackupPlan(
        request=request,
        backup_name="night",
        backup_id="id",
        execution_arn=execution_arn,
        started_at=datetime(2026, 3, 1, tzinfo=UTC),
        source=Source(milvus_version="2.5.27", bucket="milvus", root_path="files"),
        databases=DATABASES,
        collections=(),
    )


@pytest.fixture
def run() -> Workspace:
    """The working files of a run in an empty bucket."""
    return Workspace(InMemoryObjectStore(BUCKET), BUCKET, PREFIX, "backup-night")


def store_of(run: Workspace) -> InMemoryObjectStore:
    """Return the run's store as what it is."""
    return cast("InMemoryObjectStore", run.store)


def publish(run: Workspace, *failures: CollectionFailure) -> Manifest:
    """Publish a backup, and leave the working files of the execution that did."""
    manifest = write_backup(run.store, LAYOUT, sample_contents(LAYOUT), failures=failures)
    run.write(PLAN, plan_of(manifest.execution_arn))
    write_job(run, attempt_of(manifest.execution_arn), CopyJob(source_bucket="milvus", destination_bucket=BUCKET))
    Claims(run.store, FakeExecutions(), BUCKET, execution_arn=manifest.execution_arn, run=run.run).take(run.key(CLAIM))
    return manifest


def prepare(run: Workspace, status: str, request: BackupRequest = REQUEST) -> BackupPlan | None:
    """Prepare a backup in another execution, where the one that holds the name has this status."""
    holder = run.find(CLAIM, Claim)
    return prepare_backup(
        run,
        request,
        layout=LAYOUT,
        database=cast("VectorDatabase", object()),
        executions=FakeExecutions(**({holder.execution_arn: status} if holder else {})),
        storage=MilvusStorage("milvus", "files"),
        garbage_collector=None,
        execution_arn="second",
        started_at=datetime.now(UTC),
        was_listed=lambda: Catalogue(run.store, BUCKET, PREFIX).remembered("night") is not None,
    )


def test_the_same_request_again_tells_the_same_of_a_partial_backup(run: Workspace) -> None:
    manifest = publish(run, LOST)
    assert prepare(run, "FAILED") is None
    assert read_manifest(run.store, BUCKET, LAYOUT) == manifest
    assert run.read(CLAIM, Claim).execution_arn == "second"


@pytest.mark.parametrize("status", ["FAILED", "ABORTED", "SUCCEEDED", "GONE"])
def test_another_request_for_the_name_is_told_what_the_backup_lacks(run: Workspace, status: str) -> None:
    publish(run, LOST)
    before = dict(store_of(run).buckets[BUCKET])
    with pytest.raises(BackupExistsError, match=r"without books\.lost, which could not") as caught:
        prepare(run, status, REQUEST.model_copy(update={"skip_flush": True}))
    assert "stays as it is" in caught.value.hint
    assert store_of(run).buckets[BUCKET] == before


def test_a_backup_whose_working_files_are_gone_is_not_taken_for_this_one(run: Workspace) -> None:
    publish(run, LOST)
    run.delete([PLAN])
    with pytest.raises(BackupExistsError, match=r"without books\.lost"):
        prepare(run, "FAILED")


def test_a_name_is_in_use_while_its_execution_runs(run: Workspace) -> None:
    publish(run)
    with pytest.raises(BackupInProgressError):
        prepare(run, "RUNNING")


@pytest.mark.parametrize(
    ("key", "body"),
    [(LAYOUT.marker, b"rubbish"), (LAYOUT.marker, b'{"vault": {}}'), (LAYOUT.manifest, b"{}")],
    ids=["no JSON", "empty mark", "another manifest"],
)
def test_no_backup_is_made_over_a_damaged_one(run: Workspace, key: str, body: bytes) -> None:
    publish(run, LOST)
    run.store.put(BUCKET, key, body)
    before = dict(store_of(run).buckets[BUCKET])
    with pytest.raises(BackupExistsError, match="cannot be read") as caught:
        prepare(run, "FAILED")
    assert "repair" in caught.value.hint
    assert store_of(run).buckets[BUCKET] == before


def test_the_marker_of_a_stopped_execution_of_this_run_counts_for_nothing(run: Workspace) -> None:
    publish(run)
    assert find_published(run, plan_of("second"), LAYOUT) is None


@pytest.mark.parametrize("maker", ["us", "milvus-backup"])
def test_what_somebody_else_published_meanwhile_is_neither_deleted_nor_replaced(run: Workspace, maker: str) -> None:
    write_backup(run.store, LAYOUT, sample_contents(LAYOUT))
    if maker == "milvus-backup":
        run.store.delete(BUCKET, [LAYOUT.manifest])
        run.store.put(BUCKET, LAYOUT.marker, b'{"name": "night"}')
    with pytest.raises(BackupExistsError, match="exists already, and"):
        find_published(run, plan_of("second"), LAYOUT)
