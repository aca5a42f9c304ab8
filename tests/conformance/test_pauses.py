"""The pause of garbage collection: asked for by each backup, given back by it, never left behind."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from milvus_vault.adapters.management import MilvusGarbageCollector
from milvus_vault.backup.pauses import GC_PAUSE_SECONDS, Pauses
from milvus_vault.errors import MilvusRequestError, MilvusUnavailableError, WorkingFileError
from milvus_vault.model.names import attempt_of
from tests.compatibility.features import Feature
from tests.conformance.asking import base_fields
from tests.conformance.conftest import Running, Start
from tests.conformance.test_capture import NAME, Open, backups
from tests.support.memory_store import InMemoryObjectStore
from tests.support.milvus_server.versions import NEWER

__all__ = ["backups"]
FIRST, SECOND = (f"arn:aws:states:eu-west-1:123456789012:execution:backup:{name}" for name in ("one", "two"))
NOW = datetime(2026, 3, 1, 2, tzinfo=UTC)
BUCKET = "backups"
NOTE = f"p/.runs/pauses/{attempt_of(FIRST)}.json"


def _begin(running: Running) -> tuple[Pauses, MilvusGarbageCollector]:
    """Begin the pauses of two executions."""
    pauses, collector = (
        Pauses(InMemoryObjectStore(BUCKET), BUCKET, "p"),
        MilvusGarbageCollector(running.server.management_uri),
    )
    for execution in (FIRST, SECOND):
        assert pauses.begin(collector, execution, NOW) == []
    return pauses, collector


@pytest.mark.feature(Feature.PAUSE)
@pytest.mark.parametrize("version", NEWER)
def test_garbage_collection_goes_on_when_the_last_backup_has_ended_and_not_before(start: Start, version: str) -> None:
    running = start(version)
    pauses, collector = _begin(running)
    told_first = pauses.end(collector, FIRST, NOW)
    assert running.server.garbage_collection.pauses == 1
    assert pauses.end(collector, SECOND, NOW)
    assert running.server.garbage_collection.pauses == 0
    # Before tickets the first left it to the second.
    assert told_first == (version >= "2.6")


@pytest.mark.feature(Feature.PAUSE_TICKETS, since="2.6")
@pytest.mark.parametrize("version", NEWER)
def test_a_pause_is_given_back_once(start: Start, version: str) -> None:
    running = start(version)
    pauses, collector = _begin(running)
    for execution in (FIRST, SECOND, FIRST, SECOND):
        pauses.end(collector, execution, NOW)
    assert not pauses.end(collector, FIRST, NOW)
    assert running.server.garbage_collection.pauses == 0


def test_a_task_that_is_repeated_does_not_pause_again(start: Start) -> None:
    running = start("2.6.19")
    pauses, collector = _begin(running)
    assert pauses.begin(collector, FIRST, NOW) == []
    assert running.server.garbage_collection.pauses == 2


@pytest.mark.parametrize("version", ["2.4.23", "2.5.27"])
def test_the_pause_of_an_execution_that_was_killed_counts_until_it_has_ended(start: Start, version: str) -> None:
    running = start(version)
    pauses, collector = _begin(running)
    assert not pauses.end(collector, FIRST, NOW)
    later = NOW + timedelta(seconds=GC_PAUSE_SECONDS)
    third = SECOND.replace("two", "three")
    assert pauses.begin(collector, third, later) == []
    assert pauses.end(collector, third, later)
    assert running.server.garbage_collection.pauses == 0


def test_a_pause_that_has_ended_by_itself_is_not_given_back(start: Start) -> None:
    pauses, collector = _begin(start("2.6.19"))
    assert not pauses.end(collector, FIRST, NOW + timedelta(seconds=GC_PAUSE_SECONDS))


@dataclass
class Told:
    """Executions with a status each."""

    statuses: dict[str, str]

    def status(self, execution_arn: str) -> str:
        """Return the status."""
        return self.statuses[execution_arn]


@pytest.mark.feature(Feature.RENEWED_PAUSE)
@pytest.mark.parametrize("version", NEWER)
def test_the_pause_of_a_backup_that_runs_on_is_renewed_before_it_ends(start: Start, version: str) -> None:
    running = start(version)
    pauses, collector = _begin(running)
    executions = Told({FIRST: "RUNNING", SECOND: "RUNNING"})
    before = running.server.garbage_collection.pauses
    early, later = NOW + timedelta(minutes=20), NOW + timedelta(minutes=40)
    assert pauses.tend(collector, executions, early) == (0, 0, ())
    for _ in range(2):
        pauses.tend(collector, executions, later)
    # Tickets of before are given back: there is no more than one for each.
    assert running.server.garbage_collection.pauses == before
    # Renewed, it does not end when the first would have.
    ends = NOW + timedelta(seconds=GC_PAUSE_SECONDS + 60)
    pauses.end(collector, FIRST, ends)
    assert running.server.garbage_collection.pauses == 1
    assert pauses.end(collector, SECOND, ends)
    assert running.server.garbage_collection.pauses == 0


@pytest.mark.parametrize("version", NEWER)
@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT", "SUCCEEDED", "GONE"])
def test_what_an_aborted_backup_has_left_paused_is_given_back(start: Start, version: str, status: str) -> None:
    running = start(version)
    pauses, collector = _begin(running)
    tended = pauses.tend(collector, Told({FIRST: status, SECOND: "RUNNING"}), NOW)
    assert (tended.renewed, tended.failures) == (0, ())
    assert running.server.garbage_collection.pauses == 1
    assert pauses.tend(collector, Told({SECOND: status}), NOW).ended == 1
    assert running.server.garbage_collection.pauses == 0


def test_pauses_of_another_stack_are_left_to_it(start: Start) -> None:
    running = start("2.6.19")
    pauses, collector = _begin(running)
    executions = Told(dict.fromkeys((FIRST, SECOND), "UNKNOWN"))
    assert pauses.tend(collector, executions, NOW + timedelta(minutes=50)) == (0, 0, ())
    assert running.server.garbage_collection.pauses == 2


def test_what_could_not_be_renewed_is_told_and_tried_the_next_time(start: Start) -> None:
    running = start("2.6.19")
    pauses, collector = _begin(running)
    executions, later = Told(dict.fromkeys((FIRST, SECOND), "RUNNING")), NOW + timedelta(minutes=40)
    tended = pauses.tend(MilvusGarbageCollector("http://127.0.0.1:9"), executions, later)
    assert (tended.renewed, len(tended.failures)) == (0, 2)
    assert pauses.tend(collector, executions, later).renewed == 2


@pytest.mark.parametrize("version", ["2.4.23", "2.5.27"])
def test_a_pause_that_is_over_by_itself_ends_nobody_elses(start: Start, version: str) -> None:
    running = start(version)
    pauses, collector = _begin(running)
    # By hand, at a server that has one pause for all.
    collector.pause(10 * GC_PAUSE_SECONDS)
    over = NOW + timedelta(seconds=GC_PAUSE_SECONDS)
    assert not pauses.end(collector, FIRST, over)
    assert not pauses.end(collector, SECOND, over)
    assert running.server.garbage_collection.pauses == 1


def test_a_ticket_that_the_server_does_not_know_is_refused(start: Start) -> None:
    collector = MilvusGarbageCollector(start("2.6.19").server.management_uri)
    with pytest.raises(MilvusRequestError, match="answers 500"):
        collector.resume("bm8=")


def test_an_endpoint_that_does_not_answer_is_asked_again_by_the_task_that_is_repeated(start: Start) -> None:
    running = start("2.5.27")
    pauses, collector = _begin(running)
    pauses.end(collector, FIRST, NOW)
    with pytest.raises(MilvusUnavailableError):
        pauses.end(MilvusGarbageCollector("http://127.0.0.1:9"), SECOND, NOW)
    assert pauses.end(collector, SECOND, NOW)
    assert running.server.garbage_collection.pauses == 0


@pytest.mark.parametrize(
    ("version", "pauses"), [("2.2.16", 0), ("2.3.5", 0), ("2.4.23", 1), ("2.5.27", 1), ("2.6.19", 1)]
)
def test_a_backup_pauses_where_the_server_can_and_warns_where_it_cannot(
    start: Start, backups: Open, version: str, pauses: int
) -> None:
    running = start(version)
    running.milvus.make(NAME, *base_fields())
    taken = backups(running)
    run, plan = taken.prepare("b")
    assert running.server.garbage_collection.pauses == pauses
    assert any("not paused" in warning for warning in plan.warnings) == (pauses == 0)
    collector = MilvusGarbageCollector(running.server.management_uri)
    Pauses(run.store, run.bucket, run.prefix).end(collector, plan.execution_arn, datetime.now(UTC))
    assert running.server.garbage_collection.pauses == 0


@pytest.mark.parametrize("option", [{"gc_pause": False}, {"meta_only": True}])
def test_a_backup_that_needs_no_pause_asks_for_none(start: Start, backups: Open, option: dict[str, bool]) -> None:
    running = start("2.6.19")
    running.milvus.make(NAME, *base_fields())
    backups(running).prepare("b", **option)
    assert running.server.garbage_collection.pauses == 0


def test_a_note_that_cannot_be_read_is_told_of_and_keeps_no_other_pause_from_being_given_back(start: Start) -> None:
    running, store = start("2.6.19"), InMemoryObjectStore(BUCKET)
    pauses, collector = Pauses(store, BUCKET, "p"), MilvusGarbageCollector(running.server.management_uri)
    for execution in (FIRST, SECOND):
        pauses.begin(collector, execution, NOW)
    store.put(BUCKET, NOTE, b'{"execution_arn":"arn:aws:st')

    tended = pauses.tend(collector, Told({SECOND: "ABORTED"}), NOW)

    assert (tended.ended, len(tended.failures)) == (1, 1)
    assert NOTE in tended.failures[0]
    (warning,) = pauses.begin(collector, FIRST, NOW)
    assert warning.startswith(f"Garbage collection was not paused: working file {NOTE}")


def test_a_pause_stays_noted_where_that_of_another_cannot_be_read(start: Start) -> None:
    # Before tickets the last one to end tells the server; whether this is the last, nobody knows.
    running, store = start("2.5.27"), InMemoryObjectStore(BUCKET)
    pauses, collector = Pauses(store, BUCKET, "p"), MilvusGarbageCollector(running.server.management_uri)
    pauses.begin(collector, SECOND, NOW)
    store.put(BUCKET, NOTE, b"{}")

    with pytest.raises(WorkingFileError, match=NOTE):
        pauses.end(collector, SECOND, NOW)

    assert running.server.garbage_collection.pauses == 1
    store.delete(BUCKET, [NOTE])
    assert pauses.end(collector, SECOND, NOW)
