"""A marker that is lost never costs the backup: it is told, kept, not copied over, and deleted only by its name."""

from datetime import UTC, datetime
from typing import cast

import pytest

from milvus_vault.announcing.damage import tell_of_damage
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.backup.prepare import prepare_backup
from milvus_vault.catalogue import Catalogue
from milvus_vault.claims import Claims
from milvus_vault.errors import BackupExistsError, BackupNotFoundError
from milvus_vault.model.events import Metric, Notification
from milvus_vault.model.requests import BackupRequest
from milvus_vault.model.resources import Hold
from milvus_vault.ports import VectorDatabase
from milvus_vault.retention.report import report_prune
from milvus_vault.source import MilvusStorage
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX
from tests.unit.retention.test_prune import NOW, Pruner, add, keys_of, pruner
from tests.unit.test_claims import FakeExecutions

LAYOUT = BackupLayout(PREFIX, "night_1")


@pytest.fixture
def store() -> InMemoryObjectStore:
    """A bucket with two backups, of which the newer one has lost its marker."""
    store = InMemoryObjectStore(BUCKET)
    add(store, "night_2", 2)
    add(store, "night_1", 1)
    store.delete(BUCKET, [LAYOUT.marker])
    return store


def test_a_prune_writes_down_what_is_damaged_and_says_so(store: InMemoryObjectStore) -> None:
    prune = pruner(store)
    plan = prune.plan()
    assert [(note.name, note.problem, note.found_at) for note in prune.catalogue.damages()] == [
        ("night_1", f"it has lost its marker, {LAYOUT.marker}", NOW)
    ]
    report = report_prune(prune.run, plan, NOW).report
    assert report.damaged == (f"backup night_1 is damaged: it has lost its marker, {LAYOUT.marker}",)
    listed = {item.name: item.damage for item in prune.catalogue.list(10, None).items}
    assert listed == {"night_1": f"it has lost its marker, {LAYOUT.marker}", "night_2": ""}


def test_a_backup_that_is_about_to_get_its_marker_is_not_damaged(store: InMemoryObjectStore) -> None:
    prune = Pruner(store, done="RUNNING")
    plan = prune.plan()
    assert prune.catalogue.damages() == []
    assert [decision.name for decision in plan.decisions] == ["night_2"]


def test_people_are_told_once(store: InMemoryObjectStore) -> None:
    pruner(store).plan()
    told: list[Notification] = []
    catalogue = Catalogue(store, BUCKET, PREFIX)
    (measure,) = tell_of_damage(catalogue, told.append, stack="vault", now=NOW)
    assert (measure.metric, measure.value) == (Metric.BACKUPS_DAMAGED, 1)
    assert told[0].subject == "[vault] backup night_1 is damaged"
    assert "it has lost its marker" in told[0].body
    # The next prune finds it again.
    pruner(store, "next").plan()
    assert tell_of_damage(catalogue, told.append, stack="vault", now=NOW) == ()
    assert len(told) == 1


def test_it_can_be_held_and_deleted_by_its_name(store: InMemoryObjectStore) -> None:
    prune = pruner(store)
    prune.catalogue.place_hold("night_1", Hold(), "me")
    prune.catalogue.lift_hold("night_1")
    plan = prune.plan(backup_names=["night_1"])
    assert [(deletion.name, deletion.marker_etag) for deletion in plan.deletions] == [("night_1", "")]
    assert prune.delete()
    assert prune.outcome() == ("deleted", "")
    assert keys_of(store, "night_1") == []


def test_what_was_repaired_since_it_was_asked_for_by_name_stays(store: InMemoryObjectStore) -> None:
    prune = pruner(store)
    prune.plan(backup_names=["night_1"])
    store.put(BUCKET, LAYOUT.marker, b"{}")
    assert prune.delete()
    assert prune.outcome() == ("skipped", "BackupInProgressError")


def test_an_unfinished_backup_is_still_no_backup(store: InMemoryObjectStore) -> None:
    gone = [key for key in store.buckets[BUCKET] if key.startswith(LAYOUT.root) and key.endswith(".json")]
    store.delete(BUCKET, gone)
    with pytest.raises(BackupNotFoundError):
        pruner(store).plan(backup_names=["night_1"])


@pytest.mark.parametrize("status", ["SUCCEEDED", "GONE"])
def test_no_backup_is_made_over_one_that_lost_its_marker(store: InMemoryObjectStore, status: str) -> None:
    before = dict(store.buckets[BUCKET])
    with pytest.raises(BackupExistsError, match="has lost its marker") as caught:
        _prepare(store, status)
    assert "repair that backup" in caught.value.hint
    assert store.buckets[BUCKET] == before


def test_a_run_that_died_right_before_its_marker_is_resumed(store: InMemoryObjectStore) -> None:
    # It gets as far as asking Milvus.
    with pytest.raises(AttributeError, match="server_version"):
        _prepare(store, "ABORTED")


def _prepare(store: InMemoryObjectStore, status: str) -> None:
    run = Workspace(store, BUCKET, PREFIX, "backup-night_1")
    assert Claims(store, FakeExecutions(), BUCKET, execution_arn="", run="").holder(run.key("claim.json"))
    prepare_backup(
        run,
        BackupRequest(backup_name="night_1"),
        layout=LAYOUT,
        database=cast("VectorDatabase", object()),
        executions=FakeExecutions(done=status),
        storage=MilvusStorage("milvus", "files"),
        garbage_collector=None,
        execution_arn="new",
        started_at=datetime.now(UTC),
    )
