"""How far verifications, prunes and drills are, and what a verification leaves that failed."""

from datetime import UTC, datetime, timedelta

import pytest

from milvus_vault.drills.working_files import PLAN as DRILL_PLAN
from milvus_vault.drills.working_files import (
    RESTORED,
    DrilledCollection,
    DrillPlan,
    ProvenCollection,
    Restored,
    proven_name,
)
from milvus_vault.execution_records import ExecutionRecord, record_execution
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.executions import ExecutionDescription
from milvus_vault.model.messages import Execution
from milvus_vault.model.names import drill_restore_name
from milvus_vault.model.requests import DrillRequest, VerifyRequest
from milvus_vault.model.resources import ObjectCount, PhaseProgress
from milvus_vault.retention import plan as planning
from milvus_vault.retention.working_files import (
    FREED,
    PLAN,
    POOL_SWEPT,
    Deletion,
    Freed,
    FreedSoFar,
    PoolSwept,
    removed_name,
)
from milvus_vault.runs.collections import Followed
from milvus_vault.runs.describing import WorkingFiles, describe_run
from milvus_vault.runs.following import follow_drill, follow_prune, follow_verify
from milvus_vault.runs.paces import read_paces, remember_paces
from milvus_vault.verifying.objects import check_batch
from milvus_vault.verifying.verify import verify_backup
from milvus_vault.verifying.working_files import CheckRecord, batch_name, read_items, write_records
from milvus_vault.workspace import Workspace, record_key
from tests.support.fake_machines import FakeMachines, machines
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX
from tests.unit.retention.test_prune import add, pruner
from tests.unit.runs.test_following import ARN as RESTORE_ARN
from tests.unit.runs.test_following import Restore
from tests.unit.test_claims import FakeExecutions
from tests.unit.verifying import logs

NOW = datetime(2026, 11, 28, 3, tzinfo=UTC)
ARN = "arn:aws:states:eu-west-1:1:execution:verify:mine"


class Clock:
    """What time a store says it is."""

    def __init__(self, store: InMemoryObjectStore) -> None:
        self.now = NOW
        store.clock = lambda: self.now

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


def told(followed: Followed | None, now: datetime) -> dict[str, PhaseProgress]:
    """Return what is told of the phases of a run."""
    assert followed is not None
    return {phase.name: phase for phase in followed.progress(now).phases}


def counts(phase: PhaseProgress) -> list[tuple[str, int, int | None]]:
    """Return what moves in a phase."""
    return [(one.unit, one.done, one.total) for one in phase.counts]


class Verification:
    """A verification of a backup of logs, a step further with each call."""

    def __init__(self, **options: object) -> None:
        self.store = InMemoryObjectStore(BUCKET)
        self.clock = Clock(self.store)
        self.keys = logs.backup(self.store)
        self.run = Workspace(self.store, BUCKET, PREFIX, "verify-mine")
        self.request = VerifyRequest.model_validate({"backup_name": "books", **options})
        record_execution(self.run, Execution(arn=ARN, started_at=NOW), "verify", "books")
        self.check_count = 0

    def step(self) -> bool:
        """Call VerifyBackup; return whether it is done."""
        result = verify_backup(
            self.run, self.request, executions=FakeExecutions(), execution_arn=ARN, now=self.clock.now,
            seconds_left=lambda: 900.0, check_count=self.check_count,
        )  # fmt: skip
        self.check_count = result.check_count
        return result.is_done

    @property
    def phases(self) -> dict[str, PhaseProgress]:
        """What is told of its phases."""
        return told(follow_verify(self.run, ARN), self.clock.now)


def test_a_deep_verification_tells_objects_and_bytes_as_they_are_read() -> None:
    verification = Verification(level="deep")
    assert follow_verify(verification.run, ARN) is None
    assert not verification.step()
    count = len(verification.keys)
    size = sum(len(verification.store.get(BUCKET, key)) for key in verification.keys.values())
    listing, reading = verification.phases["checking documents and objects"], verification.phases["reading objects"]
    assert counts(listing) == [("object", count, count), ("collection", 1, 1)]
    assert counts(reading) == [("byte", 0, size), ("object", 0, count)]
    verification.clock.pass_seconds(10)
    # A function has noted half of the objects, after it had noted one.
    items = list(read_items(verification.run, batch_name(0)))
    records = [CheckRecord(0, item.key, "digest", item.size_bytes, 0, "", "") for item in items]
    for some in (1, count // 2):
        write_records(verification.run, 0, records[:some])
    reading = verification.phases["reading objects"]
    assert counts(reading)[1] == ("object", count // 2, count)
    done = reading.counts[0].done
    assert 0 < done < size
    assert (reading.per_second, reading.eta_from) == (done / 10, "this run")
    assert reading.eta_seconds == pytest.approx((size - done) / (done / 10))
    check_batch(verification.run, 0, seconds_left=lambda: 900.0)
    assert counts(verification.phases["reading objects"]) == [("byte", size, size), ("object", count, count)]
    assert verification.step()
    progress = follow_verify(verification.run, ARN)
    assert progress is not None
    assert progress.progress(NOW).collections_total is None


def test_a_verification_of_checksums_counts_objects() -> None:
    verification = Verification(level="checksum")
    verification.step()
    assert "reading objects" not in verification.phases


def test_a_verification_that_failed_tells_what_it_found() -> None:
    verification = Verification(level="quick")
    key = min(verification.keys.values())
    verification.store.delete(BUCKET, [key])
    assert verification.step()
    files = WorkingFiles(verification.store, BUCKET, PREFIX)
    execution = ExecutionDescription(
        arn=ARN, name="mine", status="FAILED", started_at=NOW, ended_at=NOW,
        input_json=verification.request.model_dump_json(exclude_unset=True), output_json=None, error="", cause="",
    )  # fmt: skip
    found = files.verify_result(execution)
    assert (found["backup_name"], found["level"], found["status"]) == ("books", "quick", "damaged")
    assert (found["collection_count"], found["problem_count"]) == (1, len(found["problems"]))
    assert key in found["problems"][0]
    elsewhere = execution.model_copy(update={"arn": ARN + "x"})
    assert files.verify_result(elsewhere) == {}


def test_of_a_run_that_was_stopped_it_is_told_how_far_it_came_and_no_time_that_is_left() -> None:
    verification = Verification(level="deep")
    verification.step()
    verification.clock.pass_seconds(10)
    items = list(read_items(verification.run, batch_name(0)))
    write_records(verification.run, 0, [CheckRecord(0, items[0].key, "digest", 1, 0, "", "")])
    states, now = FakeMachines(), verification.clock.now
    deployed = machines(states)
    for status, has_time in (("RUNNING", True), ("ABORTED", False)):
        states.add("verify", "mine", NOW, status, given='{"backup_name": "books", "level": "deep"}', seconds=10)
        arn = deployed.execution_arn("verify-mine")[1]
        record_execution(verification.run, Execution(arn=arn, started_at=NOW), "verify", "books")
        files = WorkingFiles(verification.store, BUCKET, PREFIX)
        run = describe_run(deployed, files, "verify-mine", now)
        (reading,) = (phase for phase in run.progress.phases if phase.name == "reading objects")
        assert (reading.counts[0].done > 0, reading.per_second is not None) == (True, True)
        assert (reading.eta_seconds is not None, run.progress.eta_seconds is not None) == (has_time, has_time)


def test_a_prune_tells_backups_and_their_objects_as_they_go() -> None:
    store = InMemoryObjectStore(BUCKET)
    for age in (3, 2, 1):
        add(store, f"night_{age}", age)
    clock, prune = Clock(store), pruner(store)
    assert follow_prune(prune.run, "prune") is None
    plan = prune.plan()
    sizes = [one.object_count for one in plan.deletions]
    assert counts(told(follow_prune(prune.run, "prune"), clock.now)["deleting backups"]) == [
        ("object", 0, sum(sizes)),
        ("backup", 0, 2),
    ]
    clock.pass_seconds(10)
    prune.delete(0)
    deleting = told(follow_prune(prune.run, "prune"), clock.now)["deleting backups"]
    assert counts(deleting) == [("object", sizes[0], sum(sizes)), ("backup", 1, 2)]
    assert deleting.per_second == sizes[0] / 10
    # A function that has noted what it removed of the other one, and is not through.
    prune.run.write(removed_name(1), ObjectCount(object_count=1, size_bytes=1))
    deleting = told(follow_prune(prune.run, "prune"), clock.now)["deleting backups"]
    assert counts(deleting) == [("object", sizes[0] + 1, sum(sizes)), ("backup", 1, 2)]
    assert follow_prune(prune.run, "another") is None


def test_before_a_prune_decides_it_tells_how_many_backups_it_has_read(monkeypatch: pytest.MonkeyPatch) -> None:
    store = InMemoryObjectStore(BUCKET)
    for age in (3, 2, 1):
        add(store, f"night_{age}", age)
    monkeypatch.setattr(planning, "_NOTED_AT_A_TIME", 2)
    prune, seen = pruner(store), list[list[tuple[str, int, int | None]] | None]()

    def look(operation: str, _: str, key: str) -> None:
        if operation == "put" and key.endswith(("/read.json", "/plan.json")):
            followed = follow_prune(prune.run, "prune")
            seen.append(counts(told(followed, NOW)["reading backups"]) if followed else None)

    store.before = look
    prune.plan(dry_run=True)
    assert seen == [None, [("backup", 0, 3)], [("backup", 2, 3)], [("backup", 3, 3)]]


def test_a_dry_run_tells_how_far_it_is_with_the_pool() -> None:
    store = InMemoryObjectStore(BUCKET)
    prune = pruner(store)
    planned = prune.plan(dry_run=True)
    spared = Deletion(name="night", size_bytes=70, object_count=7, marker_etag="e")
    prune.run.write(PLAN, planned.model_copy(update={"spared": (spared,)}))
    so_far = FreedSoFar(freed=Freed(object_count=0, size_bytes=0), group="g2", groups_done=2, groups_total=8)
    looking = []
    for noted in (None, so_far, so_far.model_copy(update={"groups_done": 8, "is_all": True})):
        if noted:
            prune.run.write(FREED, noted)
        looking.append(counts(told(follow_prune(prune.run, "prune"), NOW)["looking what the pool shares"]))
    assert looking == [[("group", 0, None)], [("group", 2, 8)], [("group", 8, 8)]]


@pytest.mark.parametrize(
    ("given", "phase"), [('{"dry_run": true}', "finding what would be freed"), ("{}", "deleting and sweeping")]
)
def test_a_dry_run_never_says_that_it_deletes(given: str, phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    states = FakeMachines()
    states.add("prune", "mine", NOW, "RUNNING", given=given)
    monkeypatch.setattr(states, "last_state", lambda _: "CarryOutPrune")
    files = WorkingFiles(InMemoryObjectStore(BUCKET), BUCKET, PREFIX)
    assert describe_run(machines(states), files, "prune-mine", NOW).phase == phase


def test_the_sweep_of_the_pool_tells_groups_and_what_it_has_deleted() -> None:
    store = InMemoryObjectStore(BUCKET)
    clock, prune = Clock(store), pruner(store)
    prune.plan()
    swept = PoolSwept(begun_at=NOW, groups_done=40, groups_total=100, object_count=7)
    clock.pass_seconds(20)
    prune.run.write(POOL_SWEPT, swept)
    sweeping = told(follow_prune(prune.run, "prune"), clock.now)["sweeping the pool"]
    assert counts(sweeping) == [("group", 40, 100), ("object", 7, None)]
    assert (sweeping.per_second, sweeping.eta_seconds) == (2, 30)


def test_a_drill_tells_its_restore_and_then_what_is_compared() -> None:
    restore = Restore()
    store, arn = restore.run.store, "arn:aws:states:eu-west-1:1:execution:drill:mine"
    run = Workspace(store, "backups", "p", "drill-b-0123456789ab")
    names = [CollectionName(database="db", name=f"c{number}") for number in range(2)]
    plan = DrillPlan(
        request=DrillRequest(backup_name="b"), execution_arn=arn, started_at=NOW, backup_name="b",
        backup_finished_at=None, milvus="m", milvus_version="2.6.19", database="scratch", seed=1, collection_total=2,
        collections=tuple(
            DrilledCollection(source=name, target=name, size_bytes=size)
            for name, size in zip(names, (100, 300), strict=True)
        ),
    )  # fmt: skip
    run.write(DRILL_PLAN, plan)
    waiting = follow_drill(run, arn)
    assert waiting is not None
    assert (list(waiting.statuses), waiting.phases) == (["waiting", "waiting"], [])
    record = ExecutionRecord(
        execution_arn=RESTORE_ARN, kind="restore", run=restore.run.run, backup_name="b", started_at=NOW
    )
    key = record_key("p", "executions", drill_restore_name(arn))
    store.put("backups", key, record.model_dump_json().encode())
    restore.import_rows(50, 0)
    begun = follow_drill(run, arn)
    assert list(told(begun, NOW)) == ["importing"]
    run.write(RESTORED, Restored(started_at=NOW - timedelta(seconds=60), finished_at=NOW))
    run.write(proven_name(0), ProvenCollection(row_count=7, differences=("one row is missing",)))
    comparing = told(follow_drill(run, arn), NOW)["comparing rows"]
    assert counts(comparing) == [("byte", 100, 400), ("collection", 1, 2)]
    found = follow_drill(run, arn)
    assert found is not None
    first, second = found.collections([0, 1])
    assert (first.status, first.row_count, first.message) == ("done", 7, "one row is missing")
    assert (second.status, second.target) == ("running", "db.c1")


def test_what_a_phase_is_told_by_is_kept_by_its_name_and_damage_of_one_costs_no_other() -> None:
    verification = Verification(level="deep")
    verification.step()
    verification.clock.pass_seconds(10)
    check_batch(verification.run, 0, seconds_left=lambda: 900.0)
    followed = follow_verify(verification.run, ARN)
    assert followed is not None
    remember_paces(verification.run, "verify", lambda: followed.phases)
    (name,) = read_paces(verification.run, "verify")
    assert name == "reading objects"
    folder = f"{PREFIX}/.runs/reports/paces/verify/"
    verification.store.put(BUCKET, f"{folder}other.json", b"{")
    assert [*read_paces(verification.run, "verify")] == [name]
    again = Verification(level="deep")
    again.step()
    again.store.buckets[BUCKET] |= {
        key: one for key, one in verification.store.buckets[BUCKET].items() if key.startswith(folder)
    }
    assert again.phases["reading objects"].eta_from == "an earlier run"
