"""A marker that is lost never costs the backup: it is told, kept, not copied over, and deleted only by its name."""

from datetime import UTC, datetime
from typing import cast

import pytest

from milvus_vault.announcing.damage import tell_of_damage
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.sealing import seal
from milvus_vault.archive.tombstones import Tombstone, tombstone_key
from milvus_vault.backup.prepare import prepare_backup
from milvus_vault.catalogue import Catalogue
from milvus_vault.catalogue.entries import CatalogueKeys
from milvus_vault.claims import Claims
from milvus_vault.errors import BackupExistsError, BackupHeldError, BackupNotFoundError
from milvus_vault.model.events import Metric, Notification
from milvus_vault.model.requests import BackupRequest
from milvus_vault.model.resources import Hold, HoldState
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
    assert report.damaged == (f"backup 'night_1' is damaged: it has lost its marker, {LAYOUT.marker}",)
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
    Catalogue(store, BUCKET, PREFIX).forget("night_1")
    # It gets as far as asking Milvus.
    with pytest.raises(AttributeError, match="server_version"):
        _prepare(store, "ABORTED")


@pytest.mark.parametrize("status", ["FAILED", "ABORTED", "RUNNING"])
def test_one_that_had_its_marker_is_not_made_anew_by_the_run_that_wrote_it(
    store: InMemoryObjectStore, status: str
) -> None:
    """A partial backup's execution has failed, and the catalogue knows that its marker was there."""
    before = dict(store.buckets[BUCKET])
    with pytest.raises(BackupExistsError, match="has lost its marker"):
        _prepare(store, status)
    assert store.buckets[BUCKET] == before


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
        was_listed=lambda: Catalogue(store, BUCKET, PREFIX).remembered("night_1") is not None,
    )


TOMBSTONE = Tombstone(backup_name="night_1", execution_arn="dead", since=NOW)
UNPROVED = {
    "rubbish": b"rubbish",
    "of a release before": TOMBSTONE.model_dump_json().encode(),
    "decided, not sealed": TOMBSTONE.model_copy(update={"is_decided": True}).model_dump_json().encode(),
    "of a prune that died before it decided": seal(TOMBSTONE),
    "of another backup": seal(TOMBSTONE.model_copy(update={"backup_name": "night_2", "is_decided": True})),
    "rotten": seal(TOMBSTONE.model_copy(update={"is_decided": True})).replace(b"dead", b"dean"),
}


@pytest.fixture(params=list(UNPROVED.values()), ids=list(UNPROVED))
def buried(store: InMemoryObjectStore, request: pytest.FixtureRequest) -> InMemoryObjectStore:
    """The same bucket with a tombstone of the backup that proves nothing."""
    store.put(BUCKET, tombstone_key(PREFIX, "night_1"), cast("bytes", request.param))
    return store


def _objects(store: InMemoryObjectStore) -> list[str]:
    return [key for key in store.buckets[BUCKET] if key.startswith(LAYOUT.root)]


def test_a_tombstone_that_proves_nothing_deletes_nothing_and_is_told(buried: InMemoryObjectStore) -> None:
    before = _objects(buried)
    prune = pruner(buried)
    plan = prune.plan()
    assert plan.deletions == ()
    why = "and has a tombstone that does not prove that a prune began to delete it"
    assert [note.problem for note in prune.catalogue.damages()] == [f"it has lost its marker, {LAYOUT.marker}, {why}"]
    assert _objects(buried) == before
    # Nobody has to do it by hand before the backup can be repaired.
    assert tombstone_key(PREFIX, "night_1") not in buried.buckets[BUCKET]


def test_a_tombstone_that_proves_nothing_goes_past_no_hold(buried: InMemoryObjectStore) -> None:
    hold = HoldState(reason="audit", since=NOW, by="me")
    buried.put(BUCKET, CatalogueKeys(PREFIX).hold("night_1"), seal(hold))
    with pytest.raises(BackupHeldError):
        pruner(buried).plan(backup_names=["night_1"])


def test_by_its_name_a_backup_with_such_a_tombstone_goes(buried: InMemoryObjectStore) -> None:
    prune = pruner(buried)
    prune.plan(backup_names=["night_1"])
    assert prune.delete()
    assert prune.outcome() == ("deleted", "")
    assert keys_of(buried, "night_1") == []


def test_no_backup_is_made_over_one_with_such_a_tombstone(buried: InMemoryObjectStore) -> None:
    before = _objects(buried)
    with pytest.raises(BackupExistsError):
        _prepare(buried, "SUCCEEDED")
    assert _objects(buried) == before


def test_a_marker_that_is_lost_since_the_plan_saves_the_backup(store: InMemoryObjectStore) -> None:
    add(store, "night_0", 0)
    prune = pruner(store)
    assert [deletion.name for deletion in prune.plan().deletions] == ["night_2"]
    store.delete(BUCKET, [BackupLayout(PREFIX, "night_2").marker])
    before = keys_of(store, "night_2")
    assert prune.delete()
    assert prune.outcome() == ("skipped", "BackupDamagedError")
    assert set(before) - set(keys_of(store, "night_2")) == {f"{PREFIX}/.runs/backup-night_2/claim.json"}


def test_a_prune_that_died_at_its_tombstone_deletes_no_held_backup_whose_marker_is_lost_then(
    store: InMemoryObjectStore,
) -> None:
    first = Pruner(store, "first", done="SUCCEEDED")
    first.plan(backup_names=["night_2"])
    first.catalogue.place_hold("night_2", Hold(reason="audit"), "me")

    def die(operation: str, _bucket: str, key: str) -> None:
        if operation == "get" and "/holds/" in key:
            raise KeyboardInterrupt

    store.before = die
    with pytest.raises(KeyboardInterrupt):
        first.delete()
    store.before = lambda *_: None
    assert tombstone_key(PREFIX, "night_2") in store.buckets[BUCKET]
    store.delete(BUCKET, [BackupLayout(PREFIX, "night_2").marker])
    second = pruner(store, "second", first="ABORTED")
    assert second.plan().deletions == ()
