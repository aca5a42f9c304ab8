"""What the clean-up and the advancing restore do beside each other, and what a long restore costs."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import cast, override

import pytest

from milvus_vault.claims import CLAIM, Claim
from milvus_vault.errors import MilvusUnavailableError, RunTakenOverError
from milvus_vault.model.objects import ListedObject
from milvus_vault.ports import VectorDatabase
from milvus_vault.restore.advance import LONGEST_IN_CALL_SECONDS, seconds_of_round, seconds_to_wait
from milvus_vault.restore.cleanup import CleanUp
from milvus_vault.restore.working_files import Target, target_name
from milvus_vault.source import MilvusStorage
from tests.support.memory_database import InMemoryDatabase
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.test_restore_advance import ARN, MILVUS, Restore
from tests.unit.test_restore_aliases import PLACE, layout


def _nothing() -> None:
    pass


@dataclass
class Meddled(InMemoryDatabase):
    """A Milvus that lets something happen before the old collection is dropped, and before the new one is named."""

    before_drop: Callable[[], None] = _nothing
    before_rename: Callable[[], None] = _nothing

    @override
    def rename_collection(self, database: str, name: str, new_name: str) -> None:
        self.before_rename()
        super().rename_collection(database, name, new_name)

    @override
    def list_aliases(self, database: str, name: str = "") -> frozenset[str]:
        if name:
            self.before_drop()
        return super().list_aliases(database, name)


class Counting(InMemoryObjectStore):
    """A store that counts the listings of Milvus' bucket."""

    listings = 0

    @override
    def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        self.listings += bucket == MILVUS
        return super().list_objects(bucket, prefix, after=after)


def _replacing() -> tuple[Restore, Meddled, Callable[[], None]]:
    restore = Restore("a")
    database = Meddled()
    restore.database = database
    old = database.create_collection(PLACE, "a", layout())
    target = restore.run.read(target_name(0), Target)
    restore.run.write(target_name(0), target.model_copy(update={"replaces": old}))
    restore.run.write(CLAIM, Claim(execution_arn=ARN, run=restore.run.run, claimed_at=datetime.now(UTC)))
    restore.advance()
    restore.imports.end("0")

    def clean_up() -> None:
        """Do what CleanUpRestore does, once the other branch has failed."""
        database.before_drop = database.before_rename = _nothing
        cleaning = CleanUp(restore.run, restore.plan, MilvusStorage(MILVUS, "files"), ARN)
        cleaning.end_work()
        cleaning.abandon_unfinished()
        cleaning.drop_temporary_collections(cast("VectorDatabase", database))

    return restore, database, clean_up


def test_the_old_collection_stays_where_the_clean_up_drops_the_new_one_just_before() -> None:
    restore, database, clean_up = _replacing()
    database.before_drop = clean_up
    with suppress(RunTakenOverError):
        restore.advance()
    assert restore.there != []


def test_the_new_collection_stays_where_the_old_one_is_dropped_and_the_name_not_yet_given() -> None:
    restore, database, clean_up = _replacing()

    def no_answer() -> None:
        raise MilvusUnavailableError("no answer", hint="")

    database.before_rename = no_answer
    with suppress(MilvusUnavailableError):
        restore.advance()
    # The task waits for its next try, and meanwhile the branch that copies fails.
    clean_up()
    assert restore.there != []


@pytest.mark.parametrize("every", [60, 100, 200, 600])
def test_a_day_of_collections_that_come_one_by_one_fits_into_the_history_of_an_execution(every: int) -> None:
    """Each few minutes something new begins, so that waits stay short; a pass takes 2 s, a call 30 s."""
    age, rounds = 0, 0
    while age < 24 * 3600:
        call_ends = age + 30
        while True:
            age += 2
            wait = seconds_to_wait(age % every)
            if wait > LONGEST_IN_CALL_SECONDS or age + wait > call_ends:
                break
            age += wait
        age += max(wait, seconds_of_round(age))
        rounds += 1
    assert rounds * 9 < 25_000


def test_a_target_that_is_not_complete_is_not_listed_anew_in_each_pass() -> None:
    restore = Restore("a", staged=True)
    restore.plan_copies()
    restore.copy(0)
    restore.store.put(MILVUS, "staging/0/surplus", b"?")
    counting = Counting()
    counting.buckets = restore.store.buckets
    restore.run = replace(restore.run, store=counting)
    call = restore.call
    for _ in range(10):
        call.advance()
    assert counting.listings <= 1
