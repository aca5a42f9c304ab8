"""A drill of what is not there is refused at once."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from milvus_vault.api.drills import post_drill
from milvus_vault.api.routing import Caller
from milvus_vault.api.services import Services
from milvus_vault.catalogue import Catalogue
from milvus_vault.errors import BackupNotFoundError
from milvus_vault.model.requests import DrillRequest, ScheduleTag
from tests.support.fake_machines import FakeMachines, machines
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX
from tests.unit.catalogue.test_catalogue import add

NOW = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.fixture
def states() -> FakeMachines:
    """No execution so far."""
    return FakeMachines()


@pytest.fixture
def services(states: FakeMachines) -> Services:
    """A deployment with a backup of a schedule."""
    store = InMemoryObjectStore(BUCKET)
    add(store, "monday", schedule=ScheduleTag(name="nightly"))
    unused = cast("Any", None)
    return Services(
        store=store, bucket=BUCKET, prefix=PREFIX, catalogue=Catalogue(store, BUCKET, PREFIX, clock=lambda: NOW),
        machines=machines(states), executions=unused, schedules=unused, inspector=unused, now=NOW, export_places=unused,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (DrillRequest(backup_name="sunday"), "there is no backup 'sunday'"),
        (DrillRequest(newest_of="weekly"), "schedule weekly has no complete backup"),
    ],
)
def test_what_is_not_there_is_not_drilled(
    services: Services, states: FakeMachines, request_: DrillRequest, words: str
) -> None:
    with pytest.raises(BackupNotFoundError, match=words):
        post_drill(services, request_, Caller())
    assert states.found == {}


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
