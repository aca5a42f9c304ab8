"""What a backup itself rules out is refused before anything is started."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from milvus_vault.api.endpoints import Caller
from milvus_vault.api.restores import post_restore
from milvus_vault.api.services import Services
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.catalogue import Catalogue
from milvus_vault.errors import VaultError
from milvus_vault.model.requests import RestoreRequest
from tests.support.fake_machines import FakeMachines, machines
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX, sample_contents, write_backup

NOW = datetime(2026, 11, 28, tzinfo=UTC)
NAME = "nightly_1"
LAYOUT = BackupLayout(PREFIX, NAME)


@pytest.fixture
def states() -> FakeMachines:
    """No execution so far."""
    return FakeMachines()


@pytest.fixture
def services(states: FakeMachines) -> Services:
    """A deployment with a backup of two collections, of which one is `books.works`, and of a database without any."""
    store = InMemoryObjectStore(BUCKET)
    write_backup(store, LAYOUT, sample_contents(LAYOUT), databases=("books", "default", "hollow"))
    unused = cast("Any", None)
    return Services(
        store=store, bucket=BUCKET, prefix=PREFIX, catalogue=Catalogue(store, BUCKET, PREFIX, clock=lambda: NOW),
        machines=machines(states), executions=unused, schedules=unused, inspector=unused, now=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"backup_name": "nope"}, "BackupNotFoundError", "nope"),
        ({"collections": ["books.nothing"]}, "CollectionNotFoundError", "books.nothing"),
        ({"collections": ["nowhere.*"]}, "DatabaseNotFoundError", "'nowhere'"),
        ({"suffix": "x" * 128, "collections": ["books.works"], "rename": {}}, None, ""),
        ({"rename": {"books.works": "books.works"}}, "NameConflictError", "its own name"),
        ({"rename": {"books.work": "books.other"}}, "InvalidRequestError", "books.work"),
        ({"rename": {"books.works": "books.my-works"}}, "InvalidRequestError", "'my-works'"),
        ({"partitions": {"books.nothing": ["p1"]}}, "InvalidRequestError", "`partitions` names books.nothing"),
        ({"replicas": {"shop.orders": 2}}, "InvalidRequestError", "`replicas` names shop.orders"),
        ({"suffix": "_x"}, None, ""),
        ({"collections": ["hollow.*"]}, None, ""),
    ],
)
def test_a_restore_that_cannot_work_is_not_started(
    services: Services, states: FakeMachines, fields: dict[str, Any], error: str | None, words: str
) -> None:
    request = RestoreRequest.model_validate({"backup_name": NAME} | fields)
    if error is None:
        assert post_restore(services, request, Caller()).backup_name == NAME
        assert len(states.found) == 1
        return
    with pytest.raises(VaultError) as refused:
        post_restore(services, request, Caller())
    assert (type(refused.value).__name__, states.found) == (error, {})
    assert words in refused.value.message


def test_a_damaged_backup_is_refused_at_once(services: Services, states: FakeMachines) -> None:
    services.store.put(BUCKET, LAYOUT.manifest, b"{}")
    with pytest.raises(VaultError) as refused:
        post_restore(services, RestoreRequest(backup_name=NAME, suffix="_x"), Caller())
    assert (type(refused.value).__name__, states.found) == ("BackupDamagedError", {})


def test_a_request_that_is_sent_again_gets_its_run_whatever_became_of_the_backup(services: Services) -> None:
    request = RestoreRequest(backup_name=NAME, suffix="_x")
    first = post_restore(services, request, Caller(idempotency_key="k"))
    services.store.delete(BUCKET, [LAYOUT.marker, LAYOUT.manifest])
    assert post_restore(services, request, Caller(idempotency_key="k")).id == first.id
