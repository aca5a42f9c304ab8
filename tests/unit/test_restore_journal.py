"""The journal of a restore: what its names say of each collection, and who may write into it."""

from datetime import UTC, datetime

import pytest

from milvus_vault.claims import CLAIM, Claim
from milvus_vault.errors import (
    MilvusUnavailableError,
    ObjectNotFoundError,
    RowCountMismatchError,
    RunTakenOverError,
)
from milvus_vault.restore.journal import Journal
from milvus_vault.restore.working_files import Attempt, Created, Failed, JobsDone, Replaced
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore

_EXECUTIONS = "arn:aws:states:eu-central-1:123456789012:execution:restore:"
MINE, OTHER = f"{_EXECUTIONS}mine", f"{_EXECUTIONS}other"
ROW_MISSING = RowCountMismatchError("9 of 10 rows are there")


@pytest.fixture
def journal() -> Journal:
    return Journal(Workspace(InMemoryObjectStore("backups"), "backups", "team", "restore-a-1"))


def noted(journal: Journal, index: int, *steps: tuple[str, int] | tuple[str, int, int]) -> None:
    for step, *numbers in steps:
        attempt = Attempt(number=numbers[0], name=f"restoring_{numbers[0]}", execution_arn=MINE)
        assert journal.note(index, step, attempt, *numbers)


def claim(journal: Journal, arn: str) -> None:
    journal.run.write(CLAIM, Claim(execution_arn=arn, run=journal.run.run, claimed_at=datetime.now(UTC)))


def test_nothing_was_done_of_a_collection_without_documents(journal: Journal) -> None:
    noted(journal, 1, ("attempt", 1))
    progress = journal.read()[0]
    assert (progress.latest, progress.has("attempt"), progress.is_imported) == (0, False, False)
    assert set(journal.read()) == {1}


def test_files_of_the_run_that_are_not_the_journals_say_nothing(journal: Journal) -> None:
    for name in ("collections/0/target.json", "collections/0/finished.json.tmp"):
        journal.run.write_bytes(name, b"{}")
    assert journal.read() == {}
    noted(journal, 0, ("attempt", 1))
    assert journal.read()[0].latest == 1


def test_a_collection_whose_predecessor_may_be_dropped_is_told_from_one_that_is_finished(journal: Journal) -> None:
    journal.note(0, "replaced", Replaced())
    entry = journal.entry(0)
    assert (entry.has_replaced, entry.is_finished, entry.has_failed) == (True, False, False)


def test_rows_are_there_from_when_they_are_imported_until_their_collection_is_dropped(journal: Journal) -> None:
    noted(journal, 0, ("attempt", 1), ("created", 1))
    assert not journal.read()[0].is_imported
    noted(journal, 0, ("imported", 1))
    assert journal.read()[0].is_imported
    noted(journal, 0, ("abandoned", 1))
    assert not journal.read()[0].is_imported


def test_only_the_latest_attempt_counts(journal: Journal) -> None:
    """Of several digits, too: the ninth is older than the tenth."""
    noted(journal, 31, ("attempt", 9), ("created", 9), ("imported", 9), ("abandoned", 9), ("attempt", 10))
    progress = journal.read()[31]
    assert (progress.latest, progress.has("created"), progress.has("abandoned")) == (10, False, False)
    noted(journal, 31, ("imported", 10))
    assert journal.read()[31].is_imported


def test_a_finished_collection_has_its_rows_whatever_became_of_an_attempt(journal: Journal) -> None:
    noted(journal, 0, ("attempt", 1), ("imported", 1), ("abandoned", 1))
    journal.run.write_bytes("collections/0/finished.json", b"{}")
    progress = journal.read()[0]
    assert (progress.is_finished, progress.is_imported, progress.has_failed) == (True, True, False)


def test_jobs_are_known_once_each_turn_that_began_is_written_down(journal: Journal) -> None:
    for turn in range(12):
        noted(journal, 0, ("importing", 1, turn))
        assert not journal.read()[0].knows_its_jobs
        noted(journal, 0, ("jobs", 1, turn))
        assert journal.read()[0].knows_its_jobs
    assert journal.read()[0].count("jobs") == 12


def test_jobs_of_deletes_are_no_jobs_of_rows(journal: Journal) -> None:
    noted(journal, 0, ("importing", 1, 0), ("deletes", 1, 0))
    assert not journal.read()[0].knows_its_jobs


def test_a_turn_that_is_taken_back_never_began(journal: Journal) -> None:
    noted(journal, 0, ("importing", 1, 0), ("jobs", 1, 0), ("importing", 1, 1))
    journal.take_back(0, "importing", 1, 1)
    assert journal.read()[0].knows_its_jobs


def test_who_notes_a_step_first_has_noted_it(journal: Journal) -> None:
    assert journal.note(0, "created", Created(collection_id=1), 1)
    assert not journal.note(0, "created", Created(collection_id=2), 1)
    assert journal.get(0, "created", Created, 1) == Created(collection_id=1)


def test_what_is_done_of_the_jobs_is_written_again(journal: Journal) -> None:
    for rows in ({"1": 10}, {"1": 10, "2": 20}):
        journal.note_again(0, "done", JobsDone(rows=rows), 3)
    assert journal.get(0, "done", JobsDone, 3).rows == {"1": 10, "2": 20}
    assert journal.read()[0].attempts == {3: {"done": 1}}


def test_what_was_not_noted_is_not_there(journal: Journal) -> None:
    assert journal.find(0, "failed", Failed) is None
    with pytest.raises(ObjectNotFoundError):
        journal.get(0, "created", Created, 1)


def test_failures_are_forgotten_of_the_collections_that_are_named(journal: Journal) -> None:
    for index in range(3):
        noted(journal, index, ("attempt", 1))
        journal.fail(index, ROW_MISSING)
    journal.forget_failures([0, 2])
    assert {index: progress.has_failed for index, progress in journal.read().items()} == {0: False, 1: True, 2: False}
    assert journal.find(1, "failed", Failed) == Failed(error="RowCountMismatchError", message="9 of 10 rows are there")


def test_all_is_forgotten_of_one_collection_and_nothing_of_others(journal: Journal) -> None:
    """Not of those either whose number begins with its own."""
    for index in (1, 10):
        noted(journal, index, ("attempt", 1), ("importing", 1, 0))
        journal.fail(index, ROW_MISSING)
    journal.forget(1)
    assert set(journal.read()) == {10}
    assert len(list(journal.run.names())) == 3


def test_a_failure_that_lasts_is_the_collections_own(journal: Journal) -> None:
    claim(journal, MINE)
    worked = []

    def work(index: int) -> None:
        if index == 1:
            raise ROW_MISSING
        worked.append(index)

    journal.work_on(range(3), work, execution_arn=MINE, threads=1)
    assert worked == [0, 2]
    assert {index for index, progress in journal.read().items() if progress.has_failed} == {1}


def test_a_failure_that_may_pass_is_raised_and_not_written_down(journal: Journal) -> None:
    def work(_: int) -> None:
        raise MilvusUnavailableError("busy")

    with pytest.raises(MilvusUnavailableError):
        journal.work_on([0], work, execution_arn=MINE, threads=1)
    assert journal.read() == {}


def test_nothing_is_done_for_an_execution_that_has_lost_the_run(journal: Journal) -> None:
    claim(journal, OTHER)
    worked: list[int] = []
    with pytest.raises(RunTakenOverError):
        journal.work_on([0, 1], worked.append, execution_arn=MINE, threads=1)
    assert worked == []


def test_an_execution_that_loses_the_run_at_work_writes_no_failure(journal: Journal) -> None:
    """What failed may have been dropped by the execution that has the run now."""
    claim(journal, MINE)

    def lose_it(_: int) -> None:
        claim(journal, OTHER)
        raise ROW_MISSING

    with pytest.raises(RunTakenOverError):
        journal.work_on([0], lose_it, execution_arn=MINE, threads=1)
    assert journal.read() == {}
