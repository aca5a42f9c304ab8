"""Imports that begin with what is staged of a collection, on a Milvus in memory whose imports a test lets end."""

from datetime import timedelta

import pytest

from milvus_vault.claims import CLAIM, Claim
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.restore.imports import STALLED_SECONDS
from milvus_vault.restore.journal import Journal
from milvus_vault.restore.working_files import Attempt, Finished, ImportsMoved, imports_name
from tests.unit.test_restore_advance import ARN, ROWS, Restore

OTHER = f"{ARN}-next"
PAIRS = 3


class Killed(BaseException):
    """The function's process is gone."""


def staging() -> Restore:
    """Return a restore of a collection of three pairs, of which nothing is copied yet."""
    restore = Restore("a", staged=True, pairs=PAIRS)
    assert restore.plan_copies() == PAIRS
    return restore


def percent(restore: Restore) -> float:
    """Return how far the import is, as `watch` shows it."""
    return restore.run.read(imports_name(restore.arn), ImportsMoved).percents[0]


def test_the_import_of_a_collection_begins_with_what_is_staged_of_it() -> None:
    restore = staging()
    shown = [0.0]
    for number in range(PAIRS):
        assert len(restore.imports.jobs) == number
        restore.copy(number)
        assert restore.advance().pending == 1
        restore.imports.end(str(number))
        restore.advance()
        shown.append(percent(restore))
    assert shown == sorted(shown)
    assert all(said <= 100 * copied / PAIRS + 1e-9 for copied, said in enumerate(shown))
    assert shown[-1] == 100
    assert list(restore.imports.prefixes.values()) == [f"staging/0/{number}/" for number in range(PAIRS)]
    assert restore.advance().is_done
    assert restore.there == ["a"]


def test_rows_that_are_imported_are_not_the_whole_collection_while_others_are_still_copied() -> None:
    restore = staging()
    restore.copy(0)
    restore.advance()
    restore.imports.end("0")
    for _ in range(3):
        assert restore.advance().pending == 1
    assert restore.there == ["..."]
    assert not Journal(restore.run).entry(0).is_imported


def test_deletes_are_not_imported_before_they_are_staged() -> None:
    """A server takes a folder that is half there for all that there is, and rows would come back."""
    restore = Restore("a", staged=True, pairs=PAIRS, deletes=True)
    assert restore.plan_copies() == PAIRS + 1
    for number in range(PAIRS):
        restore.copy(number)
    restore.advance()
    restore.imports.end(*restore.imports.jobs)
    for _ in range(3):
        assert restore.advance().pending == 1
    assert len(restore.imports.jobs) == PAIRS
    restore.copy(PAIRS)
    restore.advance()
    assert len(restore.imports.jobs) == PAIRS + 1
    restore.imports.end(str(PAIRS))
    assert restore.advance().is_done


def test_what_is_staged_behind_something_that_is_not_waits_for_it() -> None:
    restore = staging()
    restore.copy(1)
    restore.advance()
    assert restore.imports.jobs == {}
    restore.copy(0)
    restore.advance()
    assert len(restore.imports.jobs) == 2


def test_with_skip_create_nothing_is_begun_before_all_is_staged() -> None:
    restore = staging()
    restore.plan = restore.plan.model_copy(update={"request": RestoreRequest(backup_name="b", skip_create=True)})
    for number in range(PAIRS - 1):
        restore.copy(number)
        restore.advance()
    assert restore.imports.jobs == {}


def test_an_import_that_waits_for_copies_is_not_one_that_milvus_has_left_lying() -> None:
    restore = staging()
    restore.copy(0)
    restore.advance()
    restore.imports.end("0")
    restore.advance()
    restore.advance()
    moved = restore.run.read(imports_name(ARN), ImportsMoved)
    long_ago = moved.since - timedelta(seconds=2 * STALLED_SECONDS)
    restore.run.write(imports_name(ARN), moved.model_copy(update={"since": long_ago}))
    assert restore.advance().failed == 0
    # Nor is it, once the rest is staged, before Milvus has had its time.
    restore.copy(1)
    restore.copy(2)
    assert restore.advance().failed == 0
    assert len(restore.imports.jobs) == PAIRS


def jobs_of_the_named(restore: Restore) -> list[str]:
    """Return what was imported into the collection that has the real name by now."""
    journal = Journal(restore.run)
    named = journal.get(0, "attempt", Attempt, journal.entry(0).latest).name
    jobs = [job for job, (collection, _) in restore.imports.jobs.items() if collection == named]
    return sorted(restore.imports.prefixes[job] for job in jobs)


def test_where_another_call_has_begun_with_the_next_jobs_all_are_started_anew_in_another_collection() -> None:
    restore = staging()
    restore.copy(0)
    restore.advance()
    restore.copy(1)

    def overtaken(operation: str, _: str, key: str) -> None:
        if operation == "put" and key.endswith("importing-1-2.json"):
            restore.store.before = lambda *_: None
            Journal(restore.run).note(0, "importing", Attempt(number=1, name="", execution_arn=ARN), 1, 2)

    restore.store.before = overtaken
    restore.advance()
    assert Journal(restore.run).entry(0).latest == 2
    assert jobs_of_the_named(restore) == ["staging/0/0/", "staging/0/1/"]
    restore.copy(2)
    restore.advance()
    restore.imports.end(*restore.imports.jobs)
    assert restore.advance().is_done
    assert jobs_of_the_named(restore) == ["staging/0/0/", "staging/0/1/", "staging/0/2/"]


def begin_anew(restore: Restore) -> None:
    """Let another execution of the same input take the run over."""
    restore.arn = OTHER
    restore.plan = restore.plan.model_copy(update={"execution_arn": OTHER})
    restore.run.write(CLAIM, Claim(execution_arn=OTHER, run=restore.run.run, claimed_at=restore.plan.started_at))
    restore.prepare()


def restore_killed_at(request: int, *, begins_anew: bool) -> bool:
    """Restore while a call dies before the given request of all, see what is there, and return whether one died."""
    restore = staging()
    restore.run.write(CLAIM, Claim(execution_arn=ARN, run=restore.run.run, claimed_at=restore.plan.started_at))
    waiting, left, was_killed, is_done = list(range(PAIRS)), request, False, False

    def count(*_: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Killed

    while not is_done:
        if waiting:
            restore.copy(waiting.pop(0))
        restore.store.before = count
        try:
            is_done = restore.advance().is_done
        except Killed:
            was_killed = True
        restore.store.before = lambda *_: None
        if was_killed and begins_anew and restore.arn == ARN:
            begin_anew(restore)
            waiting = list(range(restore.plan_copies()))
        restore.imports.end(*restore.imports.jobs)
    journal = Journal(restore.run)
    assert journal.get(0, "finished", Finished).row_count == ROWS * PAIRS
    assert restore.there == ["a"]
    assert jobs_of_the_named(restore) == [f"staging/0/{pair}/" for pair in range(PAIRS)]
    return was_killed


@pytest.mark.parametrize("begins_anew", [False, True])
def test_no_row_is_doubled_or_missing_whichever_request_a_call_dies_before(*, begins_anew: bool) -> None:
    """Its task is tried again, or the execution dies as well, and the next one goes on."""
    request = 1
    while restore_killed_at(request, begins_anew=begins_anew):
        request += 1
    assert request > 100
