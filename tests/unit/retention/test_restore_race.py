"""A restore and a prune of one backup that begin together: never does the one read what the other deletes."""

from collections.abc import Callable
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import Source
from milvus_vault.archive.tombstones import tombstone_key
from milvus_vault.catalogue import Catalogue
from milvus_vault.errors import BackupDamagedError, BackupNotFoundError
from milvus_vault.model.requests import PruneRequest, RestoreRequest
from milvus_vault.model.versions import parse_version
from milvus_vault.ports import VectorDatabase
from milvus_vault.restore.prepare import RestorePreparation
from milvus_vault.restore.staging import FoldLimits
from milvus_vault.retention.delete import BackupDeletion
from milvus_vault.retention.working_files import Deletion, Outcome, PrunePlan, outcome_name
from milvus_vault.source import MilvusStorage
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX, sample_contents, write_backup
from tests.unit.test_claims import FakeExecutions

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LAYOUT = BackupLayout(PREFIX, "books")
# Between its marker and its manifest a backup that is being deleted looks damaged.
REFUSALS = (BackupNotFoundError, BackupDamagedError)
TOMBSTONE = tombstone_key(PREFIX, "books")


@pytest.fixture
def store() -> InMemoryObjectStore:
    """A bucket with a backup."""
    store = InMemoryObjectStore(BUCKET, "milvus")
    source = Source(milvus_version="v2.3.5", bucket="milvus", root_path="files")
    write_backup(store, LAYOUT, sample_contents(LAYOUT), source=source)
    return store


def restore(store: InMemoryObjectStore) -> None:
    """Run PrepareRestore. It raises one of `REFUSALS` where it sees the prune."""
    database = Mock(spec=VectorDatabase)
    database.server_version.return_value = parse_version("v2.3.5")
    database.list_databases.return_value = ["default", "books"]
    database.list_collections.return_value = []
    database.list_aliases.return_value = frozenset()
    database.collection_id.return_value = None
    database.count_query_nodes.return_value = 1
    RestorePreparation(
        run=Workspace(store, BUCKET, PREFIX, "restore-books-0123456789ab"),
        request=RestoreRequest(backup_name="books", meta_only=True, allow_version=True),
        layout=LAYOUT,
        database=database,
        executions=FakeExecutions(),
        storage=MilvusStorage("milvus", "files"),
        staging_prefix="staging",
        execution_arn="restore",
        fold_limits=FoldLimits(copies=0, segment_bytes=0),
        started_at=NOW,
    ).prepare()


def prune(store: InMemoryObjectStore) -> str:
    """Delete a backup, and return what became of the backup."""
    run = Workspace(store, BUCKET, PREFIX, "prune-1")
    plan = PrunePlan(
        request=PruneRequest(backup_names=("books",)),
        execution_arn="prune",
        started_at=NOW,
        decisions=(),
        deletions=(Deletion(name="books", size_bytes=0, marker_etag=""),),
    )
    catalogue = Catalogue(store, BUCKET, PREFIX, clock=lambda: NOW)
    BackupDeletion(run, plan, 0, catalogue, FakeExecutions(), NOW, lambda: 900.0).delete()
    return run.read(outcome_name(0), Outcome).status


def interrupt(store: InMemoryObjectStore, is_reached: Callable[[str, str], bool], other: Callable[[], None]) -> None:
    """Let the other one run ahead of the first request that is reached."""

    def before(operation: str, _bucket: str, key: str) -> None:
        if is_reached(operation, key):
            store.before = lambda *_: None
            other()

    store.before = before


@pytest.mark.parametrize("request_number", range(40))
def test_a_prune_that_comes_at_any_request_of_a_restore_deletes_nothing_that_the_restore_goes_on_to_read(
    store: InMemoryObjectStore, request_number: int
) -> None:
    ahead, outcomes = [request_number], []

    def is_reached(_operation: str, _key: str) -> bool:
        ahead[0] -= 1
        return ahead[0] < 0

    interrupt(store, is_reached, lambda: outcomes.append(prune(store)))
    try:
        restore(store)
    except REFUSALS:
        # The prune was in time: it may not have withdrawn as well, unless both have seen each other.
        assert outcomes
    else:
        assert outcomes in ([], ["skipped"])
        assert LAYOUT.marker in store.buckets[BUCKET]
        assert TOMBSTONE not in store.buckets[BUCKET]


@pytest.mark.parametrize("request_number", range(30))
def test_a_restore_that_comes_at_any_request_of_a_prune_is_refused_or_keeps_its_backup(
    store: InMemoryObjectStore, request_number: int
) -> None:
    ahead, refused = [request_number], []

    def is_reached(_operation: str, _key: str) -> bool:
        ahead[0] -= 1
        return ahead[0] < 0

    def try_to_restore() -> None:
        try:
            restore(store)
        except REFUSALS:
            refused.append(True)
        else:
            refused.append(False)

    interrupt(store, is_reached, try_to_restore)
    outcome = prune(store)
    if refused == [False]:
        assert outcome == "skipped"
        assert LAYOUT.marker in store.buckets[BUCKET]
