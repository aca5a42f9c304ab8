"""What a drill tells, and which verdict is kept with the backup."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from milvus_vault.catalogue import Catalogue
from milvus_vault.drills.concluding import conclude
from milvus_vault.drills.working_files import PLAN, DrilledCollection, DrillPlan, ProvenCollection, proven_name
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.messages_drill import ConcludeDrillResult
from milvus_vault.model.requests import DrillRequest
from milvus_vault.model.resources import Drill
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX

NOW = datetime(2026, 11, 30, tzinfo=UTC)


class World:
    """The drills of a backup of forty collections."""

    def __init__(self) -> None:
        """Begin without a drill."""
        self.store = InMemoryObjectStore(BUCKET)
        self.catalogue = Catalogue(self.store, BUCKET, PREFIX)
        self.drills = 0

    def drill(
        self, found: Mapping[str, Sequence[str]], *, planned: Sequence[str] = (), error: str = "", warnings: int = 0
    ) -> ConcludeDrillResult:
        """Return what a drill tells that found differences in collections; its conclusion is repeated.

        Args:
            found: The differences of each collection that was compared.
            planned: Collections that were to be compared, too.
            error: What ended it.
            warnings: How many each collection has.
        """
        self.drills += 1
        run = Workspace(self.store, BUCKET, PREFIX, f"drill-b-{self.drills}")
        names = (*found, *planned)
        collections = tuple(
            DrilledCollection(
                source=CollectionName(database="db", name=name),
                target=CollectionName(database="scratch", name=f"drill_{index}"),
                size_bytes=1,
            )
            for index, name in enumerate(names)
        )
        plan = DrillPlan(
            request=DrillRequest(backup_name="b"), execution_arn=f"arn:aws:states:x:y:execution:drill:{self.drills}",
            started_at=NOW, backup_name="b", backup_finished_at=None, milvus="here", milvus_version="2.6.19",
            database="scratch", seed=1, collections=collections, collection_total=40,
        )  # fmt: skip
        run.write(PLAN, plan)
        for index, differences in enumerate(found.values()):
            texts = tuple(f"db.{names[index]}: {number}" for number in range(warnings))
            run.write(proven_name(index), ProvenCollection(differences=tuple(differences), warnings=texts))
        now = NOW + timedelta(days=self.drills)
        told = [
            conclude(run, self.catalogue, has_scratch=True, error=error, cause="Milvus is away", now=now)
            for _ in range(2)
        ]
        assert told[0] == told[1]
        return told[0]

    @property
    def kept(self) -> Drill:
        """What is kept with the backup."""
        found = self.catalogue.drill_of("b", None)
        assert found is not None
        return found


BAD, WORSE = "db.bad has 1 row instead of 2", "db.worse id 1: the row is missing"


def test_a_drill_proves_so_many_collections_as_it_restored() -> None:
    world = World()
    told = world.drill({"one": (), "two": ()})
    assert (told.status, told.proven_count, told.collection_total, told.unproven) == ("proven", 2, 40, ())
    assert (world.kept.proven_at, world.kept.proven_count) == (NOW + timedelta(days=1), 2)


def test_a_failed_verdict_is_kept_until_drills_have_found_those_collections_as_they_should_be() -> None:
    world = World()
    failed = world.drill({"good": (), "bad": (BAD,), "worse": (WORSE,)})
    assert failed.unproven == ("db.bad", "db.worse")

    assert world.drill({"good": ()}).status == "proven"
    assert (world.kept.status, world.kept.run, world.kept.differences) == ("failed", failed.run, (BAD, WORSE))
    assert world.kept.proven_at is None

    assert world.drill({"bad": ()}).status == "proven"
    assert (world.kept.status, world.kept.unproven, world.kept.differences) == ("failed", ("db.worse",), (WORSE,))

    told = world.drill({"worse": ()})
    assert (world.kept.status, world.kept.run, world.kept.differences) == ("proven", told.run, ())


def test_a_drill_that_fails_by_other_collections_keeps_what_failed_before() -> None:
    world = World()
    world.drill({"bad": (BAD,)})
    told = world.drill({"worse": (WORSE,)})
    assert told.differences == (WORSE,)
    assert (world.kept.run, world.kept.differences) == (told.run, (WORSE, BAD))
    assert world.kept.unproven == ("db.worse", "db.bad")


def test_what_was_not_compared_is_not_proven_by_those_that_were() -> None:
    world = World()
    told = world.drill({"good": ()}, planned=["later"], error="LoadFailedError")
    assert (told.error, told.unproven) == ("LoadFailedError", ("db.later",))
    world.drill({"good": ()})
    assert world.kept.error == "LoadFailedError"
    world.drill({"later": ()})
    assert world.kept.status == "proven"


def test_a_result_is_no_longer_than_a_state_may_be_however_much_there_is_to_tell() -> None:
    world = World()
    long = "x" * 250
    names = [f"{number:03}_{long}" for number in range(300)]
    told = world.drill({name: [f"db.{name} id '{'é' * 80}' field {long}"] * 3 for name in names}, warnings=3)
    assert 30 < len(told.differences) < 100
    assert len(told.warnings) == 100
    assert len(json.dumps(told.model_dump(mode="json"))) < 120_000
    assert len(world.drill({f"c{number}": (BAD,) for number in range(300)}, warnings=1).warnings) == 100
