"""What a server bounds, forgets, delays and loses of import jobs: a restore goes on, and never imports rows twice."""

from collections import Counter
from typing import Any

import pytest
from advance_restore import handler as advance_restore

from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.adapters.milvus_imports import GrpcImporter
from milvus_vault.adapters.milvus_rest import RestImporter
from milvus_vault.errors import ImportStalledError
from milvus_vault.model.collections import ImportTask
from milvus_vault.restore import imports, staging
from tests.compatibility.features import Feature
from tests.restore.conftest import Archive, Deploy
from tests.support.importing import Gate, Size, jobs, keys, quick
from tests.support.milvus_server.importing import COMPLETED
from tests.support.milvus_server.versions import ALL, NEWER, OBSERVED
from tests.support.restoring import Restoring, staged_keys

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

WAYS = {"folded": {}, "by themselves": {"FOLD_SEGMENT_BYTES": "0"}}
SIZE = Size(collections=2, partitions=3, segments=2)
JOBS = SIZE.collections * SIZE.partitions
CALLS = frozenset({"Import", "GetImportState", "ListImportTasks"})
ROUTES = frozenset({"/v2/vectordb/jobs/import/create", "/v2/vectordb/jobs/import/get_progress"})


class Killed(BaseException):
    """An execution is gone, and its clean-up with it."""


class Trip:
    """A backup of two collections, and a server of the same version to restore it into."""

    def __init__(
        self,
        archive: Archive,
        deploy: Deploy,
        version: str,
        environment: dict[str, str],
        *,
        more_deletes: tuple[str, ...] = (),
        **settings: Any,
    ) -> None:
        self.source, self.name = archive(version, SIZE, more_deletes)
        self.target = deploy(version, environment, durations=quick(version), **settings)

    def restore(self) -> list[str]:
        """Return the errors of the collections that failed."""
        report = self.target.restore({"backup_name": self.name, "allow_version": True})
        return [found["error"] for found in report["collections"] if found["status"] != "restored"]

    def restore_and_be_killed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Restore until the execution is killed, which Step Functions then says of it."""
        monkeypatch.setattr(StepFunctionsExecutions, "status", lambda *_: "ABORTED")
        with pytest.raises(Killed):
            self.restore()

    def check(self) -> None:
        """See that all rows are there once, that were alive."""
        assert keys(self.target, SIZE) == keys(self.source, SIZE)
        assert staged_keys(self.target) == []


def imported_twice(target: Restoring) -> list[Any]:
    """Return what more than one job that ended well imported into one collection."""
    done = [job for job in jobs(target) if job.state == COMPLETED and not job.is_level_zero]
    counted = Counter((job.collection.collection_id, str(job.files)) for job in done)
    return [what for what, count in counted.items() if count > 1]


@pytest.mark.thread("milvus-backup#1061")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", ALL)
def test_a_server_gets_no_more_jobs_than_it_takes_at_a_time_and_all_of_them_by_and_by(
    archive: Archive, deploy: Deploy, monkeypatch: pytest.MonkeyPatch, version: str, way: str
) -> None:
    trip = Trip(archive, deploy, version, WAYS[way], most_import_jobs=2)
    started = Counter[bool]()
    start = RestImporter.start_import if version in NEWER else GrpcImporter.start_import

    def counted(importer: Any, database: str, name: str, task: ImportTask) -> str | None:
        job = start(importer, database, name, task)
        started[job is not None] += 1
        return job

    monkeypatch.setattr(RestImporter if version in NEWER else GrpcImporter, "start_import", counted)
    gate = Gate(trip.target)
    assert trip.restore() == []
    trip.check()
    assert {len(together) for together in gate.rounds} == {2}
    folded = way == "folded" or version not in NEWER
    assert started[True] == len(jobs(trip.target)) == JOBS + (0 if folded else JOBS + SIZE.collections)
    # All threads may be refused once in a turn, but not each collection again and again.
    assert started[False] <= SIZE.collections * (len(gate.rounds) + 1)
    assert imported_twice(trip.target) == []


@pytest.mark.thread("milvus-backup#473", "milvus-backup#1217")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", NEWER)
def test_a_record_that_milvus_forgets_while_other_jobs_still_run_is_not_missed(
    archive: Archive, deploy: Deploy, version: str, way: str
) -> None:
    trip = Trip(archive, deploy, version, WAYS[way], most_import_jobs=1)
    gate = Gate(trip.target, forgets=True)
    assert trip.restore() == []
    trip.check()
    assert len(gate.rounds) > SIZE.partitions
    assert len(jobs(trip.target)) < len(gate.rounds)


@pytest.mark.thread("milvus-backup#363", "milvus-backup#640")
@pytest.mark.parametrize("version", ALL)
def test_jobs_that_wait_for_indexes_are_waited_for(archive: Archive, deploy: Deploy, version: str) -> None:
    trip = Trip(archive, deploy, version, {})
    faults, looks = trip.target.server.faults, list[list[int]]()

    def release_at_last() -> None:
        looks.append([job.progress for job in jobs(trip.target)])
        faults.stuck_at_index = [70] * len(looks[-1]) not in looks[:-2]

    faults.stuck_at_index = True
    trip.target.after = {"advance_restore": release_at_last}
    assert trip.restore() == []
    trip.check()
    assert looks.count([70] * len(looks[0])) >= 2


@pytest.mark.thread("milvus-backup#363", "milvus-backup#640", "milvus-backup#1176", "milvus-backup#1177")
@pytest.mark.parametrize("version", OBSERVED)
def test_jobs_of_which_none_moves_for_hours_fail_by_name_and_leave_nothing(
    archive: Archive, deploy: Deploy, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    trip = Trip(archive, deploy, version, {})
    monkeypatch.setattr(imports, "STALLED_SECONDS", 2)
    trip.target.server.faults.stuck_at_index = True
    assert trip.restore() == [ImportStalledError.__name__] * SIZE.collections
    assert staged_keys(trip.target) == []
    assert not trip.target.server.core.catalog.databases["default"].collections


@pytest.mark.feature(Feature.LOST_ANSWERS)
@pytest.mark.parametrize("version", ALL)
def test_a_server_that_answers_only_now_and_then_is_asked_until_it_does(
    archive: Archive, deploy: Deploy, version: str
) -> None:
    trip = Trip(archive, deploy, version, {"FOLD_SEGMENT_BYTES": "0"})
    faults = trip.target.server.faults
    faults.unavailable_names = CALLS | ROUTES

    def lose_some() -> None:
        faults.unavailable_calls, faults.moves_leader = 1, 1

    trip.target.after = {"verify_copy": lose_some, "advance_restore": lose_some}
    assert trip.restore() == []
    trip.check()
    assert imported_twice(trip.target) == []


@pytest.mark.parametrize(
    ("version", "accepted"), [("2.3.5", 0), ("2.6.19", 0), ("2.6.19", 1), *((version, 4) for version in ALL)]
)
def test_a_function_killed_between_a_job_and_its_record_doubles_no_rows(
    archive: Archive, deploy: Deploy, monkeypatch: pytest.MonkeyPatch, version: str, accepted: int
) -> None:
    trip = Trip(archive, deploy, version, {"MILVUS_CONCURRENCY": "1"})
    adapter: Any = RestImporter if version in NEWER else GrpcImporter
    start = adapter.start_import

    def start_and_die(importer: Any, database: str, name: str, task: ImportTask) -> str | None:
        # Killed are all threads at once.
        job: str | None = start(importer, database, name, task) if len(jobs(trip.target)) <= accepted else None
        if job is None or len(jobs(trip.target)) > accepted:
            raise Killed
        return job

    with monkeypatch.context() as patch:
        # One collection after the other.
        patch.setattr(advance_restore, "_SHARE", 1)
        patch.setattr(adapter, "start_import", start_and_die)
        trip.restore_and_be_killed(monkeypatch)
    assert len(jobs(trip.target)) == accepted + 1
    assert trip.restore() == []
    trip.check()
    # Of the collection that the killed function had not begun, or had finished, nothing is done again.
    again = len(jobs(trip.target)) - JOBS
    assert again == accepted % SIZE.partitions + 1


@pytest.mark.parametrize("version", ALL)
def test_an_execution_killed_after_its_jobs_were_written_down_starts_none_again(
    archive: Archive, deploy: Deploy, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    trip = Trip(archive, deploy, version, {})

    def die() -> None:
        raise Killed

    trip.target.after = {"advance_restore": die}
    trip.restore_and_be_killed(monkeypatch)
    trip.restore_and_be_killed(monkeypatch)
    trip.target.after = {}
    assert trip.restore() == []
    trip.check()
    assert len(jobs(trip.target)) == JOBS


@pytest.mark.parametrize("version", ALL)
def test_every_function_may_be_called_twice(archive: Archive, deploy: Deploy, version: str) -> None:
    trip = Trip(archive, deploy, version, WAYS["by themselves"])
    trip.target.repeats = True
    assert trip.restore() == []
    trip.check()
    assert imported_twice(trip.target) == []


@pytest.mark.parametrize("version", NEWER)
def test_a_job_has_no_more_segments_than_the_server_takes(
    archive: Archive, deploy: Deploy, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    trip = Trip(archive, deploy, version, {}, most_import_files=1)
    monkeypatch.setattr(staging, "SEGMENTS_A_JOB", 1)
    assert trip.restore() == []
    trip.check()
    assert len(jobs(trip.target)) == JOBS * SIZE.segments


@pytest.mark.parametrize(("copies", "staged"), [(18, 12 + 18), (17, 12 + 12)])
@pytest.mark.parametrize("version", NEWER)
def test_each_collection_by_itself_gets_composed_deletes_above_the_limit_of_copies(
    archive: Archive, deploy: Deploy, version: str, copies: int, staged: int
) -> None:
    # Of each log of deletes one copy for each segment that it may concern: two of its partition, or all six. The two
    # logs of c1 that concern all are composed.
    trip = Trip(archive, deploy, version, {"FOLD_COPIES": str(copies)}, more_deletes=("c1",))
    found: list[str] = []
    trip.target.after = {"verify_copy": lambda: found.extend(staged_keys(trip.target))}
    assert trip.restore() == []
    trip.check()
    assert len([key for key in found if "/delta_log/" in key]) == staged
    assert not any(job.is_level_zero for job in jobs(trip.target))
