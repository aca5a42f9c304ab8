"""Scratch databases: what is a drill's own, and when it is dropped."""

from datetime import UTC, datetime, timedelta

import pytest

from milvus_vault.drills.scratch import Scratch, ScratchDatabases
from milvus_vault.errors import DatabaseExistsError, MilvusUnavailableError
from milvus_vault.model.names import drill_database
from milvus_vault.workspace import Workspace
from tests.support.memory_database import InMemoryDatabase
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX
from tests.unit.test_claims import FakeExecutions

ARN = "arn:aws:states:x:y:execution:vault-drill:a"


class Dies(InMemoryDatabase):
    """A Milvus before which the function dies, or whose answer it does not hear."""

    dies = ""

    def create_database(self, name: str, properties: object = ()) -> bool:
        assert properties == ()
        if self.dies == "before":
            raise MilvusUnavailableError("gone")
        made = super().create_database(name)
        if self.dies == "after":
            raise MilvusUnavailableError("gone")
        return made


class World:
    """A Milvus, and the records of its scratch databases."""

    def __init__(self) -> None:
        """Make both empty."""
        self.milvus, self.executions = Dies(), FakeExecutions()
        self.records = Workspace(InMemoryObjectStore(BUCKET), BUCKET, PREFIX, "scratch")

    def scratches(self, later: timedelta = timedelta()) -> ScratchDatabases:
        """Return the scratch databases, that much later."""
        return ScratchDatabases(self.records, self.executions, self.milvus, "here", datetime.now(UTC) + later)

    def left(self) -> Scratch:
        """Return what the only record says."""
        (name,) = self.records.names()
        return self.records.read(name, Scratch)


def scratch(database: str) -> Scratch:
    return Scratch(database=database, milvus="here", execution_arn=ARN, collection_prefix="drill_1_", restore_run="r")


@pytest.fixture
def world() -> World:
    """An empty Milvus."""
    return World()


def dying(world: World, when: str, database: str) -> None:
    world.milvus.dies = when
    with pytest.raises(MilvusUnavailableError):
        world.scratches().make(scratch(database))
    world.milvus.dies = ""


def test_a_database_that_somebody_made_between_two_calls_is_refused_and_stays(world: World) -> None:
    dying(world, "before", "trial")
    world.milvus.create_database("trial")

    with pytest.raises(DatabaseExistsError, match="trial"):
        world.scratches().make(scratch("trial"))

    assert (world.milvus.list_databases(), list(world.records.names())) == (["default", "trial"], [])


def test_a_database_that_somebody_made_after_a_drill_died_stays(world: World) -> None:
    dying(world, "before", "trial")
    world.milvus.create_database("trial")
    world.executions.statuses[ARN] = "ABORTED"

    assert list(world.scratches().drop_left()) == []

    assert (world.milvus.list_databases(), list(world.records.names())) == (["default", "trial"], [])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_database_with_the_name_of_its_drill_is_made_again_and_dropped(world: World, when: str) -> None:
    name = drill_database(ARN)
    dying(world, when, name)
    world.scratches().make(scratch(name))
    assert world.left().is_made
    world.scratches().make(scratch(name))

    world.scratches().drop(world.left())

    assert (world.milvus.list_databases(), list(world.records.names())) == (["default"], [])


def test_a_database_of_a_given_name_is_dropped_once_it_was_made(world: World) -> None:
    world.scratches().make(scratch("trial"))
    world.scratches().make(scratch("trial"))
    world.scratches().drop(world.left())
    assert world.milvus.list_databases() == ["default"]


@pytest.mark.parametrize(
    ("status", "hours", "is_dropped"),
    [("UNKNOWN", 24, False), ("UNKNOWN", 26, True), ("RUNNING", 26, False), ("FAILED", 0, True)],
)
def test_what_an_execution_left_that_nobody_knows_of_is_dropped_once_none_runs_so_long(
    world: World, status: str, hours: int, *, is_dropped: bool
) -> None:
    world.scratches().make(scratch("trial"))
    world.executions.statuses[ARN] = status
    assert list(world.scratches(timedelta(hours=hours)).drop_left()) == []
    assert ("trial" not in world.milvus.list_databases()) is is_dropped
