"""A drill of what is not there is refused at once."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from milvus_vault.api.drills import post_drill
from milvus_vault.api.routing import Caller
from milvus_vault.api.schedules import put_schedule
from milvus_vault.api.services import Services
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.catalogue import Catalogue
from milvus_vault.catalogue.describe import summary_of
from milvus_vault.errors import (
    BackupNotFoundError,
    CollectionNotFoundError,
    DatabaseNotFoundError,
    InvalidRequestError,
    ScheduleNotFoundError,
    ServiceUnavailableError,
    VersionUnsupportedError,
)
from milvus_vault.model.requests import DrillRequest, ScheduleTag
from milvus_vault.model.resources import Schedule, ScheduleSpec
from tests.support.fake_machines import FakeMachines, machines
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.api.test_exports import PLACES
from tests.unit.api.test_restores import Milvus
from tests.unit.archive.samples import BUCKET, PREFIX, sample_contents, write_backup

NOW = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.fixture
def states() -> FakeMachines:
    """No execution so far."""
    return FakeMachines()


@pytest.fixture
def services(states: FakeMachines) -> Services:
    """A deployment with a backup of a schedule."""
    store = InMemoryObjectStore(BUCKET)
    layout = BackupLayout(PREFIX, "monday")
    manifest = write_backup(store, layout, sample_contents(layout), schedule=ScheduleTag(name="nightly"))
    Catalogue(store, BUCKET, PREFIX).publish(summary_of(manifest))
    unused = cast("Any", None)
    milvus = Milvus()
    return Services(
        store=store, bucket=BUCKET, prefix=PREFIX, catalogue=Catalogue(store, BUCKET, PREFIX, clock=lambda: NOW),
        machines=machines(states), executions=unused, schedules=unused, inspector=milvus, now=NOW, export_places=unused,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (DrillRequest(backup_name="sunday"), "there is no backup 'sunday'"),
        (DrillRequest(newest_of="weekly"), "schedule 'weekly' has no complete backup"),
    ],
)
def test_what_is_not_there_is_not_drilled(
    services: Services, states: FakeMachines, request_: DrillRequest, words: str
) -> None:
    with pytest.raises(BackupNotFoundError, match=words):
        post_drill(services, request_, Caller())
    assert states.found == {}


@pytest.mark.parametrize("of", [{"backup_name": "monday"}, {"newest_of": "nightly"}])
@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"collections": ("books.nothing",)}, CollectionNotFoundError, "'books.nothing' does not exist"),
        ({"collections": ("nowhere.*",)}, DatabaseNotFoundError, "'nowhere'"),
        (
            {"collections": ("books.works",), "max_bytes": 1},
            InvalidRequestError,
            "no collection has at most 1 byte: the smallest, ",
        ),
    ],
)
def test_what_a_backup_lacks_is_refused_before_anything_is_started(
    services: Services,
    states: FakeMachines,
    of: dict[str, str],
    more: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        post_drill(services, DrillRequest(**of, **more), Caller())
    assert states.found == {}
    assert post_drill(services, DrillRequest(**of, collections=("books.*",), max_bytes=2**40), Caller()).kind == "drill"


@pytest.mark.parametrize(
    "of", [{"backup_name": "monday"}, {"newest_of": "nightly"}, {"backup_name": "monday", "max_bytes": 2**40}]
)
def test_a_milvus_that_takes_no_backup_of_its_version_is_refused_at_once_as_by_a_restore(
    services: Services, states: FakeMachines, of: dict[str, Any]
) -> None:
    milvus = Milvus()
    milvus.version = "2.2.9"
    with pytest.raises(VersionUnsupportedError, match="which is older"):
        post_drill(replace(services, inspector=milvus), DrillRequest(**of), Caller())
    assert states.found == {}
    # A Milvus that cannot be asked now is no reason: the run tries for longer.
    milvus.error = ServiceUnavailableError("too many invocations at once", hint="")
    assert post_drill(replace(services, inspector=milvus), DrillRequest(**of), Caller()).kind == "drill"


class _Stored:
    """Schedules, of which only one is there."""

    def __init__(self) -> None:
        self.put_names: list[str] = []

    described: Schedule | None = None

    def exists(self, name: str) -> bool:
        return name == "hourly"

    def near(self, name: str) -> str:
        return f"Near {name}?"

    def get(self, name: str) -> Schedule:
        assert self.described is not None
        assert self.described.name == name
        return self.described

    def put(self, name: str, spec: ScheduleSpec) -> None:
        del spec
        self.put_names.append(name)


def test_no_schedule_drills_what_cannot_be_there(services: Services) -> None:
    stored = _Stored()
    services = replace(services, schedules=cast("Any", stored), export_places=PLACES)
    for drill, error, words in (
        (DrillRequest(backup_name="nosuch"), BackupNotFoundError, "there is no backup 'nosuch'"),
        (DrillRequest(newest_of="nosuch"), ScheduleNotFoundError, "there is no schedule 'nosuch' whose backups"),
    ):
        with pytest.raises(error, match=words):
            put_schedule(services, "tried", ScheduleSpec(expression="rate(1 day)", drill=drill))
    assert stored.put_names == []
    # A schedule that has made no backup yet, and one that is gone and has left some.
    for drill in (
        DrillRequest(newest_of="hourly"),
        DrillRequest(newest_of="nightly"),
        DrillRequest(backup_name="monday"),
    ):
        put_schedule(services, "tried", ScheduleSpec(expression="rate(1 day)", drill=drill))
    assert stored.put_names == ["tried"] * 3


def test_a_schedule_whose_backup_is_gone_can_be_switched_off_and_asked_for_again(services: Services) -> None:
    stored = _Stored()
    services = replace(services, schedules=cast("Any", stored), export_places=PLACES)
    spec = ScheduleSpec(expression="rate(1 day)", drill=DrillRequest(backup_name="gone"))
    put_schedule(services, "tried", spec.model_copy(update={"enabled": False}))
    stored.described = Schedule(name="hourly", **dict(spec))
    put_schedule(services, "hourly", spec)
    assert stored.put_names == ["tried", "hourly"]
    with pytest.raises(BackupNotFoundError):
        put_schedule(services, "hourly", spec.model_copy(update={"drill": DrillRequest(backup_name="other")}))


@pytest.mark.parametrize(
    ("request_", "name"), [(DrillRequest(backup_name="monday"), "monday"), (DrillRequest(newest_of="nightly"), None)]
)
def test_a_drill_is_started_once_for_a_key(
    services: Services, states: FakeMachines, request_: DrillRequest, name: str | None
) -> None:
    first = post_drill(services, request_, Caller(idempotency_key="k"))
    assert (first.id, first.kind, first.backup_name) == ("drill-k", "drill", name)
    assert post_drill(services, request_, Caller(idempotency_key="k")) == first
    assert len(states.found) == 1
