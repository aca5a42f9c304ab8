"""Deleting backups: marker first, resumable, one at a time, and never one that is held or being read."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat

import pytest

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.remains import check_stays
from milvus_vault.archive.tombstones import tombstone_key
from milvus_vault.catalogue import Catalogue
from milvus_vault.catalogue.describe import summary_of
from milvus_vault.claims import Claims
from milvus_vault.errors import (
    BackupHeldError,
    BackupInUseError,
    BackupNotFoundError,
    InvalidRequestError,
    RunTakenOverError,
    StorageAccessDeniedError,
    StorageUnavailableError,
)
from milvus_vault.model.requests import BackupRequest, PruneRequest, ScheduleTag
from milvus_vault.model.resources import Hold
from milvus_vault.model.retention import Retention
from milvus_vault.retention import delete
from milvus_vault.retention.delete import BackupDeletion
from milvus_vault.retention.plan import PrunePreparation
from milvus_vault.retention.report import report_prune
from milvus_vault.retention.working_files import Outcome, PrunePlan, outcome_name
from milvus_vault.workspace import Workspace
from tests.support.fake_scheduler import FakeScheduler
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX, golden_store, sample_contents, write_backup
from tests.unit.test_claims import FakeExecutions

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NIGHTLY = ScheduleTag(name="nightly", retention=Retention(keep_last=1))


def one_schedule() -> FakeScheduler:
    """Return a scheduler with the schedule nightly, which keeps one backup."""
    scheduler = FakeScheduler()
    request = BackupRequest(schedule=NIGHTLY).model_dump_json()
    scheduler.put(NIGHTLY.name, expression="rate(1 day)", timezone="UTC", is_enabled=True, request=request)
    return scheduler


class Pruner:
    """One execution of the prune machine."""

    def __init__(self, store: InMemoryObjectStore, arn: str = "prune", **statuses: str) -> None:
        """Name the execution, and give others their statuses."""
        self.store = store
        self.arn = arn
        self.executions = FakeExecutions(**statuses)
        self.run = Workspace(store, BUCKET, PREFIX, f"prune-{arn}")
        self.catalogue = Catalogue(store, BUCKET, PREFIX, clock=lambda: NOW)

    def plan(self, **request: object) -> PrunePlan:
        """Run PlanPrune."""
        return PrunePreparation(
            run=self.run,
            request=PruneRequest.model_validate(request),
            catalogue=self.catalogue,
            scheduler=one_schedule(),
            executions=self.executions,
            execution_arn=self.arn,
            started_at=NOW,
        ).prepare()

    def delete(self, index: int = 0, seconds_left: Callable[[], float] = lambda: 900.0) -> bool:
        """Delete one backup, as CarryOutPrune does."""
        return BackupDeletion(
            run=self.run,
            plan=self.plan(),
            index=index,
            catalogue=self.catalogue,
            executions=self.executions,
            now=NOW,
            seconds_left=seconds_left,
        ).delete()

    def outcome(self, index: int = 0) -> tuple[str, str]:
        """Return what became of a deletion: status and error."""
        found = self.run.read(outcome_name(index), Outcome)
        return found.status, found.error


def add(store: InMemoryObjectStore, name: str, age_days: int, schedule: ScheduleTag | None = NIGHTLY) -> None:
    """Write a backup with objects, and its entry."""
    layout = BackupLayout(PREFIX, name)
    started_at = NOW - timedelta(days=age_days)
    manifest = write_backup(store, layout, sample_contents(layout), started_at=started_at, schedule=schedule)
    Catalogue(store, BUCKET, PREFIX).publish(summary_of(manifest))
    run = Workspace(store, BUCKET, PREFIX, f"backup-{name}")
    Claims(store, FakeExecutions(), BUCKET, execution_arn="done", run=run.run).take(run.key("claim.json"))


@pytest.fixture
def store() -> InMemoryObjectStore:
    """A bucket with three backups of which the policy keeps the newest."""
    store = InMemoryObjectStore(BUCKET)
    for age in (3, 2, 1):
        add(store, f"night_{age}", age)
    return store


def pruner(store: InMemoryObjectStore, arn: str = "prune", **statuses: str) -> Pruner:
    """Return an execution; those that made the backups have succeeded."""
    return Pruner(store, arn, done="SUCCEEDED", **statuses)


def keys_of(store: InMemoryObjectStore, name: str) -> list[str]:
    """Return all keys that have to do with a backup."""
    runs = f"{PREFIX}/.runs/prune-"
    return [key for key in store.buckets[BUCKET] if name in key and not key.startswith(runs)]


def start_restore(store: InMemoryObjectStore, name: str, arn: str = "restoring") -> None:
    """Claim a restore's run, as PrepareRestore does."""
    key = f"{PREFIX}/.runs/restore-{name}-0123456789ab/claim.json"
    Claims(store, FakeExecutions(), BUCKET, execution_arn=arn, run=f"restore-{name}").take(key)


def test_the_plan_names_what_goes_the_oldest_first_and_why_the_rest_stays(store: InMemoryObjectStore) -> None:
    plan = pruner(store).plan()
    assert [deletion.name for deletion in plan.deletions] == ["night_3", "night_2"]
    assert {d.name: d.reason for d in plan.decisions} == {
        "night_1": "kept: the newest complete one of its schedule",
        "night_2": "deleted: not among the last 1 and no other rule keeps it",
        "night_3": "deleted: not among the last 1 and no other rule keeps it",
    }
    assert plan.deletions[0].size_bytes > 0


def test_a_dry_run_plans_no_deletion(store: InMemoryObjectStore) -> None:
    plan = pruner(store).plan(dry_run=True)
    assert plan.deletions == ()
    assert sum(not decision.keep for decision in plan.decisions) == 2
    assert [(spared.name, spared.may_share) for spared in plan.spared] == [("night_3", False), ("night_2", False)]
    assert pruner(store, "other").plan().spared == ()


def sizes_of_objects(store: InMemoryObjectStore, name: str) -> list[int]:
    """Return the sizes of what lies in a backup's folder, without its documents."""
    binlogs = BackupLayout(PREFIX, name).binlogs
    return [len(found.body) for key, found in store.buckets[BUCKET].items() if key.startswith(binlogs)]


@pytest.fixture(params=["another tool's", "damaged", "without a marker"])
def unsealed(request: pytest.FixtureRequest, store: InMemoryObjectStore) -> tuple[InMemoryObjectStore, str]:
    """A bucket, and the name of a backup in it of which nothing is sealed."""
    if request.param == "another tool's":
        return golden_store("golden_2_4"), "golden_2_4"
    layout = BackupLayout(PREFIX, "night_1")
    if request.param == "damaged":
        store.put(BUCKET, layout.manifest, b"")
    else:
        del store.buckets[BUCKET][layout.marker]
    return store, layout.name


def test_where_nothing_is_sealed_it_is_counted_what_goes(unsealed: tuple[InMemoryObjectStore, str]) -> None:
    store, name = unsealed
    sizes = sizes_of_objects(store, name)
    (spared,) = pruner(store, "dry").plan(backup_names=[name], dry_run=True).spared
    assert (spared.size_bytes, spared.object_count, spared.may_share) == (sum(sizes), len(sizes), False)
    prune = pruner(store)
    # To list millions of objects would take longer than the function has.
    assert prune.plan(backup_names=[name]).deletions[0].object_count == 0
    assert prune.delete()
    assert prune.run.read(outcome_name(0), Outcome).size_bytes == sum(sizes) > 0


def test_what_functions_removed_one_after_another_is_added_up(
    monkeypatch: pytest.MonkeyPatch, unsealed: tuple[InMemoryObjectStore, str]
) -> None:
    monkeypatch.setattr(delete, "DELETE_AT_A_TIME", 1)
    store, name = unsealed
    sizes = sizes_of_objects(store, name)
    prune = pruner(store)
    prune.plan(backup_names=[name])
    calls = 0
    while not prune.delete(seconds_left=chain([900.0], repeat(0.0)).__next__):
        calls += 1
    assert calls >= len(sizes)
    assert prune.run.read(outcome_name(0), Outcome).size_bytes == sum(sizes) > 0


def test_a_plan_is_made_once(store: InMemoryObjectStore) -> None:
    first = pruner(store).plan()
    add(store, "night_0", 0)
    assert pruner(store).plan() == first


def test_nothing_is_left_of_a_deleted_backup_and_nothing_else_is_touched(store: InMemoryObjectStore) -> None:
    before = {key: o.body for key, o in store.buckets[BUCKET].items() if "night_3" not in key}
    prune = pruner(store)
    placed_before = Catalogue(store, BUCKET, PREFIX, clock=lambda: NOW - timedelta(days=1))
    placed_before.place_hold("night_3", Hold(until=NOW), "me")
    prune.plan()
    assert prune.delete()
    assert keys_of(store, "night_3") == []
    after = {key: o.body for key, o in store.buckets[BUCKET].items() if "/.runs/prune-" not in key}
    assert after == before
    assert prune.outcome() == ("deleted", "")


def test_the_marker_goes_before_anything_else_and_the_claim_last(store: InMemoryObjectStore) -> None:
    deleted: list[str] = []
    prune = pruner(store)
    prune.plan()

    def note(operation: str, bucket: str, key: str) -> None:
        # Before it writes a tombstone it deletes the one that is not there.
        if operation == "delete" and key in store.buckets[bucket]:
            deleted.append(key)

    store.before = note
    prune.delete()
    assert deleted[0] == BackupLayout(PREFIX, "night_3").marker
    assert deleted[-2:] == [tombstone_key(PREFIX, "night_3"), f"{PREFIX}/.runs/backup-night_3/claim.json"]


def test_a_deletion_that_runs_out_of_time_goes_on_where_it_was(store: InMemoryObjectStore) -> None:
    prune = pruner(store)
    prune.plan()
    assert not prune.delete(seconds_left=lambda: 1.0)
    assert "night_3" not in [item.name for item in prune.catalogue.list(10, None).items]
    assert prune.delete()
    assert keys_of(store, "night_3") == []


@pytest.mark.parametrize("operation", ["put", "get", "delete", "list_objects", "list_folders"])
def test_a_deletion_that_dies_at_any_request_is_completed_by_the_next_prune(
    store: InMemoryObjectStore, operation: str
) -> None:
    for step in range(200):
        left = [step]

        def die(found: str, _bucket: str, _key: str, left: list[int] = left) -> None:
            if found == operation:
                left[0] -= 1
                if left[0] < 0:
                    msg = "no answer"
                    raise StorageUnavailableError(msg)

        name = "night_3"
        if not keys_of(store, name):
            add(store, name, 3)
        dying = pruner(store, f"dying{step}")
        dying.plan()
        store.before = die
        try:
            dying.delete()
        except StorageUnavailableError:
            store.before = lambda *_: None
        else:
            store.before = lambda *_: None
            break
        listed = [item.name for item in dying.catalogue.list(10, None).items]
        marker = BackupLayout(PREFIX, name).marker
        assert (name in listed) <= (marker in store.buckets[BUCKET])
        dead = {f"dying{number}": "ABORTED" for number in range(step + 1)}
        after = pruner(store, f"after{step}", **dead)
        for index, deletion in enumerate(after.plan().deletions):
            if deletion.name == name:
                assert after.delete(index)
        # The sweeper's, where only the claim was left.
        assert [key for key in keys_of(store, name) if not key.endswith(f"backup-{name}/claim.json")] == []
        store.delete(BUCKET, keys_of(store, name))
    else:
        pytest.fail("it never came to its end")


def test_of_two_prunes_at_once_one_deletes_and_the_other_skips(store: InMemoryObjectStore) -> None:
    first, second = pruner(store, "first"), pruner(store, "second")
    assert first.plan().deletions == second.plan().deletions
    assert not first.delete(seconds_left=lambda: 1.0)
    assert second.delete()
    assert second.outcome() == ("skipped", "BackupInProgressError")
    assert first.delete()
    assert keys_of(store, "night_3") == []


def test_a_prune_that_comes_after_another_finds_nothing_and_leaves_nothing(store: InMemoryObjectStore) -> None:
    first, second = pruner(store, "first"), pruner(store, "second")
    first.plan()
    second.plan()
    first.delete()
    assert second.delete()
    assert second.outcome()[0] == "deleted"
    assert keys_of(store, "night_3") == []


def test_a_backup_made_anew_since_it_was_planned_stays(store: InMemoryObjectStore) -> None:
    prune = pruner(store)
    prune.plan()
    add(store, "night_3", 0)
    assert prune.delete()
    assert prune.outcome() == ("skipped", "BackupInProgressError")
    assert BackupLayout(PREFIX, "night_3").marker in store.buckets[BUCKET]
    assert tombstone_key(PREFIX, "night_3") not in store.buckets[BUCKET]


def test_a_name_that_a_running_execution_works_on_is_skipped(store: InMemoryObjectStore) -> None:
    prune = Pruner(store, done="RUNNING")
    prune.plan()
    assert prune.delete()
    assert prune.outcome() == ("skipped", "BackupInProgressError")
    assert BackupLayout(PREFIX, "night_3").marker in store.buckets[BUCKET]


def test_a_hold_that_comes_after_the_plan_saves_the_backup(store: InMemoryObjectStore) -> None:
    prune = pruner(store)
    prune.plan()
    prune.catalogue.place_hold("night_3", Hold(reason="wait"), "me")
    before = dict(store.buckets[BUCKET])
    assert prune.delete()
    assert prune.outcome() == ("skipped", "BackupHeldError")
    gone = before.keys() - store.buckets[BUCKET].keys()
    assert gone == {f"{PREFIX}/.runs/backup-night_3/claim.json"}


def test_a_restore_that_begins_before_the_tombstone_saves_the_backup(store: InMemoryObjectStore) -> None:
    prune = pruner(store)
    prune.plan()
    start_restore(store, "night_3")
    assert prune.delete()
    assert prune.outcome() == ("skipped", "BackupInUseError")
    assert BackupLayout(PREFIX, "night_3").marker in store.buckets[BUCKET]
    assert tombstone_key(PREFIX, "night_3") not in store.buckets[BUCKET]


def test_a_restore_that_has_ended_saves_nothing(store: InMemoryObjectStore) -> None:
    start_restore(store, "night_3", "done")
    prune = pruner(store)
    prune.plan()
    assert prune.delete()
    assert prune.outcome() == ("deleted", "")


def test_a_function_of_a_stopped_prune_deletes_nothing_of_its_successor(store: InMemoryObjectStore) -> None:
    prune = pruner(store, "stopped")
    prune.plan()

    def take_over(operation: str, _bucket: str, key: str) -> None:
        if operation == "list_objects" and key == BackupLayout(PREFIX, "night_3").root:
            store.before = lambda *_: None
            claims = Claims(store, FakeExecutions(stopped="ABORTED"), BUCKET, execution_arn="backup", run="backup")
            claims.take(f"{PREFIX}/.runs/backup-night_3/claim.json")

    store.before = take_over
    binlogs = [key for key in keys_of(store, "night_3") if "/binlogs/" in key]
    assert prune.delete()
    assert prune.outcome() == ("failed", "RunTakenOverError")
    assert set(binlogs) <= store.buckets[BUCKET].keys()


def test_named_backups_go_whatever_a_policy_says(store: InMemoryObjectStore) -> None:
    prune = pruner(store)
    plan = prune.plan(backup_names=["night_1"])
    assert [deletion.name for deletion in plan.deletions] == ["night_1"]
    assert prune.delete()
    assert keys_of(store, "night_1") == []


def test_a_named_backup_with_damaged_metadata_can_be_deleted(store: InMemoryObjectStore) -> None:
    store.put(BUCKET, BackupLayout(PREFIX, "night_1").manifest, b"")
    prune = pruner(store)
    prune.plan(backup_names=["night_1"])
    assert prune.delete()
    assert keys_of(store, "night_1") == []


def test_named_backups_are_refused_before_any_is_deleted(store: InMemoryObjectStore) -> None:
    prune = pruner(store)
    with pytest.raises(BackupNotFoundError, match="unknown"):
        prune.plan(backup_names=["night_3", "unknown"])
    prune.catalogue.place_hold("night_2", Hold(reason="audit"), "me")
    with pytest.raises(BackupHeldError, match="audit"):
        prune.plan(backup_names=["night_3", "night_2"])
    start_restore(store, "night_1")
    with pytest.raises(BackupInUseError, match="restoring"):
        prune.plan(backup_names=["night_3", "night_1"])


def test_a_named_backup_of_which_only_the_tombstone_is_left_is_resumed(store: InMemoryObjectStore) -> None:
    first = pruner(store, "first")
    first.plan(backup_names=["night_1"])
    assert not first.delete(seconds_left=lambda: 1.0)
    second = pruner(store, "second", first="ABORTED")
    second.plan(backup_names=["night_1"])
    assert second.delete()
    assert keys_of(store, "night_1") == []


def test_the_report_has_decisions_outcomes_and_sizes(store: InMemoryObjectStore) -> None:
    prune = pruner(store)
    plan = prune.plan()
    for index in range(2):
        prune.delete(index)
    end = report_prune(prune.run, plan, NOW)
    assert (end.error, end.cause) == ("", "")
    assert [(o.name, o.status) for o in end.report.outcomes] == [("night_3", "deleted"), ("night_2", "deleted")]
    assert end.report_key in store.buckets[BUCKET]


def test_a_backup_that_cannot_be_deleted_fails_the_prune_and_not_the_others(store: InMemoryObjectStore) -> None:
    prune = pruner(store)
    plan = prune.plan()

    def deny(operation: str, _bucket: str, key: str) -> None:
        if operation == "delete" and "night_3" in key:
            msg = "denied"
            raise StorageAccessDeniedError(msg)

    store.before = deny
    assert [prune.delete(0), prune.delete(1)] == [True, True]
    end = report_prune(prune.run, plan, NOW)
    assert end.error == "PruneFailedError"
    assert "night_3: StorageAccessDeniedError: denied" in end.cause
    assert keys_of(store, "night_2") == []


def test_a_named_backup_that_is_skipped_fails_the_prune_under_that_name(store: InMemoryObjectStore) -> None:
    prune = pruner(store)
    plan = prune.plan(backup_names=["night_1"])
    prune.catalogue.place_hold("night_1", Hold(), "me")
    prune.delete()
    end = report_prune(prune.run, plan, NOW)
    assert (end.error, end.report.outcomes[0].hint) == ("BackupHeldError", "Lift the hold first.")
    assert end.cause.endswith("\nHint: Lift the hold first.")


@pytest.mark.parametrize("index", [-1, 1])
def test_a_deletion_that_the_plan_has_not_is_refused(store: InMemoryObjectStore, index: int) -> None:
    for name, age_days in (("old", 9), ("new", 1)):
        add(store, name, age_days)
    prune = Pruner(store)
    prune.plan(backup_names=["old"])
    with pytest.raises(InvalidRequestError, match=f"has no deletion {index}"):
        prune.delete(index)


def test_the_claim_is_given_back_when_nothing_else_of_the_backup_is_left(store: InMemoryObjectStore) -> None:
    """While it is there, nobody makes a backup of the name whose files would go with those of the old one."""
    claim = f"{PREFIX}/.runs/backup-night_3/claim.json"

    def fail_at_the_tombstone(operation: str, _: str, key: str) -> None:
        if operation == "delete" and key == tombstone_key(PREFIX, "night_3"):
            msg = "InternalError"
            raise StorageUnavailableError(msg)

    execution = pruner(store)
    store.before = fail_at_the_tombstone
    with pytest.raises(StorageUnavailableError):
        execution.delete()
    assert claim in store.buckets[BUCKET]
    store.before = lambda *_: None
    assert execution.delete()
    assert keys_of(store, "night_3") == []


def test_the_outcome_says_how_much_was_freed(store: InMemoryObjectStore) -> None:
    execution = pruner(store)
    size_bytes = execution.plan().deletions[0].size_bytes
    assert execution.delete()
    assert execution.run.read(outcome_name(0), Outcome).size_bytes == size_bytes > 0


@pytest.mark.parametrize("denied", ["", "night_3/meta/backup_meta.json"])
def test_nobody_is_kept_from_a_backup_that_may_not_be_deleted(store: InMemoryObjectStore, denied: str) -> None:
    """A policy of the bucket that denies it, be it of all or of the backup, is not to make the backup vanish."""
    prune = pruner(store)
    prune.plan()

    def deny(operation: str, _bucket: str, key: str) -> None:
        if operation == "delete" and denied in key:
            msg = "denied"
            raise StorageAccessDeniedError(msg)

    store.before = deny
    assert prune.delete()

    assert prune.outcome() == ("failed", "StorageAccessDeniedError")
    assert "night_3" in [entry.name for entry in prune.catalogue.entries(adopt=False)]
    start_restore(store, "night_3")
    check_stays(store, BUCKET, BackupLayout(PREFIX, "night_3"), prune.plan().deletions[0].marker_etag)


@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT", "FAILED"])
def test_a_prune_that_was_stopped_begins_no_other_deletion(store: InMemoryObjectStore, status: str) -> None:
    """Its function goes on for up to 15 minutes: whoever has stopped it wants the backups that are left."""
    prune = pruner(store)
    prune.plan()
    assert prune.delete(0)
    prune.executions.statuses["prune"] = status
    before = dict(store.buckets[BUCKET])

    with pytest.raises(RunTakenOverError, match="prune"):
        prune.delete(1)

    assert store.buckets[BUCKET] == before


def test_a_prune_that_was_stopped_at_its_end_takes_nothing_from_who_makes_the_backup_anew(
    store: InMemoryObjectStore,
) -> None:
    prune = pruner(store)
    prune.plan()
    anew = Workspace(store, BUCKET, PREFIX, "backup-night_3")

    def begin_anew(operation: str, _bucket: str, key: str) -> None:
        if operation == "delete" and "/holds/" in key:
            store.before = lambda *_: None
            executions = FakeExecutions(prune="ABORTED")
            Claims(store, executions, BUCKET, execution_arn="anew", run=anew.run).take(anew.key("claim.json"))
            store.put(BUCKET, anew.key("plan.json"), b"{}")

    store.before = begin_anew
    prune.delete()

    assert prune.outcome() == ("failed", "RunTakenOverError")
    assert set(anew.names()) == {"plan.json", "claim.json"}
