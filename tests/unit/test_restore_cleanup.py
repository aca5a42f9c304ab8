"""CleanUpRestore removes what was staged, whatever stops it, and nothing of a run that somebody else has."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest

from milvus_vault.claims import CLAIM, Claim
from milvus_vault.errors import RunTakenOverError, StorageUnavailableError
from milvus_vault.restore import cleanup
from milvus_vault.restore.cleanup import CleanUp
from milvus_vault.source import MilvusStorage
from tests.unit.test_restore_advance import ARN, MILVUS, Restore

STAGED = 40


@pytest.fixture
def restore(monkeypatch: pytest.MonkeyPatch) -> Restore:
    """Return a restore of which forty objects are staged, three of which a request deletes."""
    monkeypatch.setattr(cleanup, "DELETE_AT_A_TIME", 3)
    made = Restore("a", staged=True)
    for key in list(made.store.buckets[MILVUS]):
        made.store.delete(MILVUS, [key])
    for number in range(STAGED):
        made.store.put(MILVUS, f"{made.plan.staging_folder}insert_log/1/2/{number}", b"")
    made.store.put(MILVUS, "files/insert_log/1/2/3", b"")
    made.run.write(CLAIM, Claim(execution_arn=ARN, run=made.run.run, claimed_at=datetime.now(UTC)))
    return made


def remove(restore: Restore) -> int:
    """Remove what is staged, as a new function does."""
    return CleanUp(restore.run, restore.plan, MilvusStorage(MILVUS, "files"), ARN).remove_staged_objects()


def test_what_was_staged_goes_and_nothing_else(restore: Restore) -> None:
    assert remove(restore) == STAGED
    assert list(restore.store.buckets[MILVUS]) == ["files/insert_log/1/2/3"]


@pytest.mark.parametrize("request_number", range(30))
def test_a_clean_up_that_dies_at_any_request_is_ended_by_the_next(restore: Restore, request_number: int) -> None:
    sent = []

    def die(_operation: str, _bucket: str, key: str) -> None:
        sent.append(key)
        if len(sent) > request_number:
            raise StorageUnavailableError("no answer")

    restore.store.before = die
    with suppress(StorageUnavailableError):
        remove(restore)
    restore.store.before = lambda *_: None
    remove(restore)
    assert list(restore.store.buckets[MILVUS]) == ["files/insert_log/1/2/3"]


def test_nothing_goes_that_another_execution_has_staged(restore: Restore) -> None:
    other = Claim(execution_arn=ARN + "-2", run=restore.run.run, claimed_at=datetime.now(UTC))
    restore.run.write(CLAIM, other)

    with pytest.raises(RunTakenOverError):
        remove(restore)
    assert len(restore.store.buckets[MILVUS]) == STAGED + 1
