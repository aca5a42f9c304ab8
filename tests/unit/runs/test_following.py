"""How far a restore is: never a number that is done while the work is not."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from milvus_vault.copying.progress import CopyState
from milvus_vault.copying.working_files import CopyProgress
from milvus_vault.errors import StorageAccessDeniedError, WorkingFileError
from milvus_vault.model.collections import CollectionName, LoadState
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.model.resources import PhaseProgress, UnitCount
from milvus_vault.restore.working_files import (
    PLAN,
    ImportedSoFar,
    ImportPaths,
    ImportsMoved,
    ImportSource,
    Movement,
    RestorePlan,
    ServedSoFar,
    ServingMoved,
    Target,
    imports_name,
    serving_name,
    target_name,
)
from milvus_vault.retention.policy import Decision
from milvus_vault.retention.working_files import PruneReport, Swept
from milvus_vault.runs.collections import Followed, copying_phases, follow_restore
from milvus_vault.runs.describing import WorkingFiles
from milvus_vault.runs.measuring import Phase
from milvus_vault.runs.paces import read_paces, remember_paces
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.test_restore_aliases import layout

NOW = datetime(2026, 11, 28, 3, tzinfo=UTC)


ARN = "arn:aws:states:eu-west-1:1:execution:restore:mine"
ROWS = (100, 900)


class Restore:
    """The working files of a restore of two collections, of 100 and of 900 rows."""

    def __init__(self, count: int = 2) -> None:
        self.run = Workspace(InMemoryObjectStore("backups"), "backups", "p", "restore-b-0123456789ab")
        self.row_counts = (ROWS * count)[:count]
        names = tuple(CollectionName(database="db", name=f"c{number}") for number in range(count))
        plan = RestorePlan(
            request=RestoreRequest(backup_name="b"), execution_arn=ARN, started_at=NOW, backup_etag="e",
            backup_version="2.4.4", server_version="2.4.4", content_checked=True, is_staged=True,
            staging_folder="staging/", targets=names, row_counts=self.row_counts, databases=(),
        )  # fmt: skip
        self.run.write(PLAN, plan)
        for index, named in enumerate(names):
            pairs = (ImportPaths(insert_prefix="a", delta_prefix="", row_count=self.row_counts[index]),)
            target = Target(
                index=index, source=named, name=named, collection_id=index, layout=layout(), indexes=(), aliases=(),
                load_state=LoadState.LOADED, replicas=1, loaded_partitions=(), live_row_count=None,
                imports=(ImportSource(partition="p", pairs=pairs),),
            )  # fmt: skip
            self.run.write(target_name(index), target)

    def note(self, index: int, *steps: str) -> None:
        """Note how far a collection is."""
        for step in steps:
            self.run.write_bytes(f"collections/{index}/{step}.json", b'{"collection_id": 1, "row_count": 7}')

    def import_rows(self, *rows: int, took: int = 60, ago: int = 0, jobs: int = 4) -> None:
        """Note how many rows of the first collections are imported, half of whose jobs are done."""
        since = NOW - timedelta(seconds=ago)
        for index in range(len(rows)):
            self.note(index, "attempt-1", "importing-1-1")
        self.run.write(
            imports_name(ARN),
            ImportsMoved(
                percent=1, since=since, begun_at=since - timedelta(seconds=took),
                percents=dict.fromkeys(range(len(rows)), 1.0),
                collections={
                    index: ImportedSoFar(rows_done=done, jobs_done=jobs // 2, jobs_total=jobs)
                    for index, done in enumerate(rows)
                },
            ),
        )  # fmt: skip

    @property
    def followed(self) -> Followed:
        """What is told of it."""
        found = follow_restore(self.run, ARN)
        assert found
        return found

    def phase(self, name: str) -> PhaseProgress:
        """Return how far a phase is."""
        (found,) = (phase for phase in self.followed.progress(NOW).phases if phase.name == name)
        return found


def test_while_it_copies_rate_and_time_are_those_of_the_copy() -> None:
    total = CopyProgress(objects_done=4, objects_total=10, bytes_done=500, bytes_total=1000)
    # 100 bytes were there before.
    state = CopyState(total, 400, NOW - timedelta(seconds=10), round_number=1)
    names = (CollectionName(database="db", name="a"),)
    told = Followed(names, (), ("running",), state, lambda _, one: one, copying_phases(state)).progress(NOW)
    assert (told.bytes_per_second, told.eta_seconds) == (40, 12.5)
    (phase,) = told.phases
    assert (phase.name, phase.per_second, phase.eta_seconds, phase.eta_from) == ("copying", 40, 12.5, "this run")
    assert phase.counts == (
        UnitCount(unit="byte", done=500, total=1000), UnitCount(unit="object", done=4, total=10)
    )  # fmt: skip


@pytest.mark.parametrize("seconds", [10, 100, 1000])
def test_once_all_is_copied_there_is_no_rate_that_falls(seconds: int) -> None:
    total = CopyProgress(objects_done=10, objects_total=10, bytes_done=1000, bytes_total=1000)
    state = CopyState(total, 1000, NOW - timedelta(seconds=seconds), round_number=1)
    told = Followed((), (), (), state, lambda _, one: one, copying_phases(state)).progress(NOW)
    assert (told.bytes_per_second, told.eta_seconds) == (None, None)


def test_imports_count_rows_and_jobs_and_tell_how_long_they_still_take() -> None:
    restore = Restore()
    restore.import_rows(100, 0)
    told = restore.phase("importing")
    assert told.counts == (UnitCount(unit="row", done=100, total=1000), UnitCount(unit="job", done=4, total=8))
    assert (round(told.per_second or 0, 2), round(told.eta_seconds or 0)) == (1.67, 540)
    restore.import_rows(100, 0, ago=40)
    assert round(restore.phase("importing").eta_seconds or 0) == 500
    assert restore.followed.progress(NOW).eta_seconds == restore.phase("importing").eta_seconds


def test_what_an_earlier_execution_imported_is_done_and_says_nothing_of_the_rate() -> None:
    restore = Restore()
    restore.note(1, "attempt-1", "imported-1")
    restore.import_rows(50)
    told = restore.phase("importing")
    assert (told.counts[0].done, told.counts[0].total) == (950, 1000)
    assert round(told.per_second or 0, 2) == round(50 / 60, 2)


def test_logs_that_an_earlier_execution_read_are_not_counted() -> None:
    restore = Restore()
    plan = restore.run.read(PLAN, RestorePlan)
    restore.run.write(PLAN, plan.model_copy(update={"cuts": (1,)}))
    restore.run.write_bytes("cuts/0.done.json", b"{}")
    assert restore.phase("reading logs").counts == (UnitCount(unit="collection", done=0, total=1),)
    restore.run.write_bytes("cuts/1.done.json", b"{}")
    assert restore.phase("reading logs").counts == (UnitCount(unit="collection", done=1, total=1),)


def test_a_collection_that_failed_is_not_waited_for() -> None:
    restore = Restore()
    restore.import_rows(100)
    restore.note(1, "failed")
    told = restore.phase("importing")
    assert (told.counts[0].done, told.counts[0].total, told.eta_seconds) == (100, 100, None)
    assert restore.followed.progress(NOW).collections_failed == 1


@pytest.mark.parametrize(("rows", "ago"), [((0, 0), 0), ((100, 900), 0), ((100, 0), 9000)])
def test_where_nothing_can_be_said_nothing_is(rows: tuple[int, int], ago: int) -> None:
    restore = Restore()
    restore.import_rows(*rows, ago=ago)
    told = restore.phase("importing")
    assert (told.eta_seconds, told.eta_from) == (None, None)


def test_indexing_and_loading_have_rows_and_rates_of_their_own() -> None:
    restore = Restore()
    for index in range(2):
        restore.note(index, "attempt-1", "importing-1-1", "imported-1")
    begun = NOW - timedelta(seconds=100)
    seen = ServingMoved().seen({0: ServedSoFar(indexed_rows=0, rows_to_index=200)}, begun)
    assert seen.seen({0: ServedSoFar(indexed_rows=0, rows_to_index=200)}, NOW) is seen
    half = NOW - timedelta(seconds=50)
    seen = seen.seen({0: ServedSoFar(indexed_rows=100, rows_to_index=200)}, half)
    assert seen.indexing == Movement(begun_at=begun, since=half)
    restore.run.write(serving_name(ARN), seen)
    told = restore.phase("indexing")
    assert told.counts == (UnitCount(unit="row", done=50, total=1000),)
    assert (told.per_second, told.eta_seconds) == (1, 900)
    assert [one.phase for one in restore.followed.collections([0, 1])] == ["indexing", "indexing"]
    seen = seen.seen({0: ServedSoFar(indexed_rows=200, rows_to_index=200, load_percent=40)}, half)
    restore.run.write(serving_name(ARN), seen)
    assert restore.phase("indexing").counts[0].done == 100
    assert restore.phase("loading").counts[0].done == 40
    (first,) = restore.followed.collections([0])
    assert (first.phase, first.counts) == ("loading", (UnitCount(unit="row", done=40, total=100),))
    restore.note(0, "finished")
    assert restore.phase("loading").counts[0].done == 100


def test_a_phase_that_has_not_moved_is_told_by_the_last_run_that_had_it() -> None:
    restore = Restore()
    restore.import_rows(0, 0)
    assert restore.phase("importing").eta_from is None
    done = Phase(
        "importing", (UnitCount(unit="row", done=500, total=500),), NOW - timedelta(seconds=100),
        begun_with=100, ended_at=NOW - timedelta(seconds=20),
    )  # fmt: skip
    remember_paces(restore.run, "restore", lambda: [done])
    told = restore.phase("importing")
    assert (told.per_second, told.eta_seconds, told.eta_from) == (None, 1000 / 5, "an earlier run")
    # What moves by itself is told by that.
    restore.import_rows(100, 0)
    assert restore.phase("importing").eta_from == "this run"


def test_a_pace_is_kept_until_another_run_has_that_phase_and_nothing_short_is_one() -> None:
    store = Restore().run
    count = (UnitCount(unit="row", done=500, total=500),)
    begun = NOW - timedelta(seconds=100)
    remember_paces(
        store, "restore", lambda: [Phase(name, count, begun, ended_at=NOW) for name in ("importing", "indexing")]
    )
    remember_paces(store, "restore", lambda: [Phase("importing", count, NOW - timedelta(seconds=10), ended_at=NOW)])
    remember_paces(store, "restore", lambda: [Phase("indexing", count, NOW - timedelta(seconds=1), ended_at=NOW)])
    unfinished = (UnitCount(unit="row", done=1, total=500),)
    remember_paces(store, "restore", lambda: [Phase("indexing", unfinished, begun, ended_at=NOW)])
    assert read_paces(store, "restore") == {"importing": 50, "indexing": 5}
    assert read_paces(store, "backup") == {}


def test_who_may_not_write_a_pace_has_done_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise StorageAccessDeniedError("no right", hint="")

    run = Restore().run
    monkeypatch.setattr(run.store, "put", denied)
    count = (UnitCount(unit="row", done=500, total=500),)
    remember_paces(run, "restore", lambda: [Phase("importing", count, NOW - timedelta(seconds=100), ended_at=NOW)])
    assert read_paces(run, "restore") == {}


def test_of_250_collections_each_is_counted() -> None:
    restore = Restore(250)
    for index in range(40):
        restore.note(index, "finished")
    for index in range(40, 52):
        restore.note(index, "failed")
    for index in range(52, 90):
        restore.note(index, "attempt-1")
    told = restore.followed.progress(NOW)
    counts = (told.collections_done, told.collections_failed, told.collections_running, told.collections_total)
    assert counts == (40, 12, 38, 250)


def test_a_report_of_a_prune_that_cannot_be_read_is_named() -> None:
    store = InMemoryObjectStore("backups")
    store.put("backups", "p/.runs/reports/a.json", b'{"decisions": [')
    files = WorkingFiles(store, "backups", "p")
    with pytest.raises(WorkingFileError, match=r"p/.runs/reports/a\.json"):
        files.prune_report("arn:aws:states:us-east-1:123456789012:execution:prune:a")
    assert files.prune_report("arn:aws:states:us-east-1:123456789012:execution:prune:b") == {}


@pytest.mark.parametrize("count", [3, 40_000])
def test_of_the_decisions_of_a_prune_an_answer_has_as_many_as_it_can_hold_and_those_to_delete_first(count: int) -> None:
    store = InMemoryObjectStore("backups")
    decisions = tuple(
        Decision(name=f"b{number:0100}", keep=number < count - 1, reason="kept: newest of day 2026-11-22")
        for number in range(count)
    )
    report = PruneReport(dry_run=True, started_at=NOW, finished_at=NOW, decisions=decisions, outcomes=(), swept=Swept())
    store.put("backups", "p/.runs/reports/a.json", report.model_dump_json().encode())
    found = WorkingFiles(store, "backups", "p").prune_report("arn:aws:states:us-east-1:123456789012:execution:prune:a")
    assert found["decision_count"] == count
    assert len(json.dumps(json.dumps(found))) < 6_000_000
    if count == 3:
        assert [decision["keep"] for decision in found["decisions"]] == [True, True, False]
    else:
        assert found["decisions"][0]["keep"] is False
        assert 10_000 < len(found["decisions"]) < count
