"""What a backup rules out, and targets that are taken, are refused before anything is started."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from milvus_vault.api.inspection import CollectionFilter, get_collections, post_check, post_estimate
from milvus_vault.api.restores import post_restore, post_restore_plan
from milvus_vault.api.routing import Caller
from milvus_vault.api.services import Services
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.catalogue import Catalogue
from milvus_vault.claims import CLAIM, Claim
from milvus_vault.errors import (
    BackupDamagedError,
    BackupNotFoundError,
    CollectionExistsError,
    MilvusPermissionError,
    MilvusUnavailableError,
    MomentOutOfRangeError,
    ServiceRequestError,
    ServiceUnavailableError,
    TargetClaimedError,
    VaultError,
    VersionUnsupportedError,
)
from milvus_vault.model.messages import InspectMilvusRequest, Occupied, RefusedRestore, RestorePlanFound, TargetsFound
from milvus_vault.model.names import WATCH_OR_STOP
from milvus_vault.model.requests import BackupRequest, RestoreRequest
from milvus_vault.model.resources import EstimateRequest, PlannedRestore
from milvus_vault.restore.working_files import PLAN, RestorePlan
from milvus_vault.workspace import Workspace
from tests.support.fake_machines import FakeMachines, machines
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX, sample_contents, write_backup

NOW = datetime(2026, 11, 28, tzinfo=UTC)
NAME = "nightly_1"
RUN = f"restore-{NAME}-0123456789ab"
EARLIER = "arn:aws:states:us-east-1:000000000000:execution:vault-restore:earlier"
LAYOUT = BackupLayout(PREFIX, NAME)


@pytest.fixture
def states() -> FakeMachines:
    """No execution so far."""
    return FakeMachines()


PLANNED = PlannedRestore(
    backup_name=NAME, backup_version="2.4.4", server_version="2.6.19", collection_count=1, partition_count=1,
    row_count=1000, object_count=4, size_bytes=4000, import_jobs=1, copy_requests=4, list_requests=5, get_requests=5,
    request_cost_usd=0.001, expected_seconds=26.0, expected_by="rates", collections=(),
)  # fmt: skip


class Milvus:
    """The port `Inspector`: a Milvus that has these names, or answers with an error; and the port `Executions`."""

    def __init__(self) -> None:
        self.collections: set[str] = set()
        self.aliases: set[str] = set()
        self.error: VaultError | None = None
        self.status_of_claim = "FAILED"
        self.version = "2.6.19"
        self.refused: tuple[RefusedRestore, ...] = ()
        self.refused_plan: VaultError | None = None
        self.asked = 0

    def inspect(self, request: InspectMilvusRequest) -> dict[str, Any]:
        """Return what has the names of targets."""
        self.asked += 1
        if self.error:
            raise self.error
        if request.inspection == "plan" and self.refused_plan:
            raise self.refused_plan
        if request.inspection == "plan":
            return RestorePlanFound(run=RUN, plan=PLANNED, refused=self.refused).model_dump(mode="json")
        assert request.inspection == "targets"
        found = Occupied(
            collections=frozenset(name for name in request.targets if str(name) in self.collections),
            aliases=frozenset(name for name in request.targets if str(name) in self.aliases),
        )
        return TargetsFound(run=RUN, server_version=self.version, occupied=found).model_dump(mode="json")

    def status(self, execution_arn: str) -> str:
        """Return what became of the execution that holds the claim of the run."""
        assert execution_arn == EARLIER
        return self.status_of_claim


@pytest.fixture
def milvus() -> Milvus:
    """A Milvus without collections."""
    return Milvus()


@pytest.fixture
def services(states: FakeMachines, milvus: Milvus) -> Services:
    """A deployment with a backup of two collections, of which one is `books.works`, and of a database without any."""
    store = InMemoryObjectStore(BUCKET)
    write_backup(store, LAYOUT, sample_contents(LAYOUT), databases=("books", "default", "hollow"))
    unused = cast("Any", None)
    return Services(
        store=store, bucket=BUCKET, prefix=PREFIX, catalogue=Catalogue(store, BUCKET, PREFIX, clock=lambda: NOW),
        machines=machines(states), executions=milvus, schedules=unused, inspector=milvus, export_places=unused, now=NOW,
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


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({}, "CollectionExistsError", "the target has books.works already"),
        ({"suffix": "_x"}, "CollectionExistsError", "books.works_x (an alias)"),
        ({"suffix": "_x", "drop_existing": True}, "CollectionExistsError", "books.works_x (an alias)"),
        ({"rename": {"books.works": "new.works"}}, None, ""),
        ({"rename": {"books.works": "hollow.there"}}, "CollectionExistsError", "hollow.there"),
        ({"drop_existing": True}, None, ""),
        ({"skip_create": True}, None, ""),
        ({"skip_create": True, "suffix": "_y"}, "CollectionNotFoundError", "books.works_y does not"),
    ],
)
def test_a_target_that_is_taken_is_refused_at_once(
    services: Services, states: FakeMachines, milvus: Milvus, fields: dict[str, Any], error: str | None, words: str
) -> None:
    milvus.collections, milvus.aliases = {"books.works", "hollow.there"}, {"books.works_x"}
    request = RestoreRequest.model_validate({"backup_name": NAME, "collections": ["books.works"]} | fields)
    if error is None:
        post_restore(services, request, Caller())
        assert len(states.found) == 1
        return
    with pytest.raises(VaultError, match=re.escape(words)) as refused:
        post_restore(services, request, Caller())
    assert (type(refused.value).__name__, states.found) == (error, {})


@pytest.mark.parametrize(
    "error", [MilvusUnavailableError("no answer"), MilvusPermissionError("no"), ServiceUnavailableError("too long")]
)
def test_where_milvus_cannot_be_asked_the_run_is_to_tell(
    services: Services, states: FakeMachines, milvus: Milvus, error: VaultError
) -> None:
    milvus.error = error
    post_restore(services, RestoreRequest(backup_name=NAME), Caller())
    assert (milvus.asked, len(states.found)) == (1, 1)


def leave_a_run(services: Services, request: RestoreRequest, *, is_the_same_backup: bool = True) -> None:
    """Write what an earlier execution of the run has left."""
    run = Workspace(services.store, BUCKET, PREFIX, RUN)
    run.write(CLAIM, Claim(execution_arn=EARLIER, run=RUN, claimed_at=NOW))
    etag = services.store.get_with_etag(BUCKET, LAYOUT.marker)[1] if is_the_same_backup else "another"
    run.write(
        PLAN,
        RestorePlan(
            request=request, execution_arn=EARLIER, started_at=NOW, backup_etag=etag,
            backup_version="2.4.4", server_version="2.4.4", content_checked=True, is_staged=False, staging_folder="",
            targets=(), databases=(),
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "is_the_same_backup", "is_refused"),
    [
        ("UNKNOWN", True, False),
        ("ABORTED", True, False),
        ("FAILED", True, False),
        ("FAILED", False, True),
        ("SUCCEEDED", True, True),
    ],
)
def test_what_a_run_that_is_gone_on_with_has_made_is_no_obstacle(
    services: Services, milvus: Milvus, status: str, *, is_the_same_backup: bool, is_refused: bool
) -> None:
    milvus.collections, milvus.status_of_claim = {"books.works"}, status
    request = RestoreRequest(backup_name=NAME, collections=("books.works",))
    leave_a_run(services, request, is_the_same_backup=is_the_same_backup)
    if not is_refused:
        post_restore(services, request, Caller())
        return
    with pytest.raises(CollectionExistsError):
        post_restore(services, request, Caller())


def test_milvus_is_asked_of_names_only_and_not_of_a_run_that_was_started_before(
    services: Services, milvus: Milvus
) -> None:
    post_restore(services, RestoreRequest(backup_name=NAME, collections=("hollow.*",)), Caller())
    assert milvus.asked == 0
    for _ in range(2):
        milvus.collections = {"books.works"} if milvus.asked else set()
        post_restore(services, RestoreRequest(backup_name=NAME), Caller(idempotency_key="k"))
    assert milvus.asked == 1


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


def test_an_answer_about_milvus_that_is_none_to_what_was_asked_is_named(
    services: Services, milvus: Milvus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus, "inspect", lambda _: {"items": [{"is_loade": True}]})
    with pytest.raises(ServiceRequestError, match="something else than collections"):
        get_collections(services, CollectionFilter())
    with pytest.raises(ServiceRequestError, match="something else than check"):
        post_check(services)
    with pytest.raises(ServiceRequestError, match="something else than estimate"):
        post_estimate(services, EstimateRequest(backup=BackupRequest()))


@pytest.mark.parametrize("start", [post_restore_plan, lambda services, body: post_restore(services, body, Caller())])
def test_a_restore_that_runs_already_is_refused_at_once(
    services: Services, states: FakeMachines, milvus: Milvus, start: Callable[[Services, RestoreRequest], object]
) -> None:
    request = RestoreRequest(backup_name=NAME, collections=("books.works",))
    leave_a_run(services, request)
    milvus.status_of_claim = "RUNNING"
    with pytest.raises(TargetClaimedError, match=f"^run restore-earlier .{EARLIER}. is restoring") as refused:
        start(services, request)
    # Its execution is known: to delete its claim is no advice.
    assert refused.value.hint == f"{WATCH_OR_STOP}."
    assert states.found == {}


def test_a_server_that_is_older_than_the_backup_is_refused_at_once(
    services: Services, states: FakeMachines, milvus: Milvus
) -> None:
    milvus.version = "2.2.9"
    with pytest.raises(VersionUnsupportedError, match="which is older"):
        post_restore(services, RestoreRequest(backup_name=NAME, suffix="_x"), Caller())
    assert states.found == {}


@pytest.mark.parametrize("start", [post_restore_plan, lambda services, body: post_restore(services, body, Caller())])
def test_a_version_and_names_that_are_taken_are_refused_together(
    services: Services, states: FakeMachines, milvus: Milvus, start: Callable[[Services, RestoreRequest], object]
) -> None:
    milvus.collections, milvus.version = {"books.works"}, "2.2.9"
    milvus.refused_plan = VersionUnsupportedError("of the plan")
    with pytest.raises(VersionUnsupportedError) as refused:
        start(services, RestoreRequest(backup_name=NAME, collections=("books.works",)))
    assert re.search(r"which is older.*; the target has books\.works already$", refused.value.message)
    assert "Restore under other names" in refused.value.hint
    assert states.found == {}
    # Where one of them is no obstacle, the other is told alone.
    milvus.collections = set()
    with pytest.raises(VersionUnsupportedError) as refused:
        start(services, RestoreRequest(backup_name=NAME, collections=("books.works",)))
    assert "already" not in refused.value.message


class TestPlans:
    """POST /restores/plan."""

    REQUEST = RestoreRequest(backup_name=NAME, suffix="_x")
    TAKEN = RefusedRestore(error="CollectionExistsError", message="taken", hint="other names", is_of_target=True)

    def test_a_backup_that_is_not_there_is_named_without_asking_milvus(
        self, services: Services, milvus: Milvus
    ) -> None:
        with pytest.raises(BackupNotFoundError, match="nope"):
            post_restore_plan(services, RestoreRequest(backup_name="nope"))
        assert milvus.asked == 0

    def test_what_the_restore_would_refuse_is_refused_by_the_same_name(
        self, services: Services, milvus: Milvus
    ) -> None:
        milvus.refused = (self.TAKEN,)
        with pytest.raises(CollectionExistsError, match="taken") as refused:
            post_restore_plan(services, self.REQUEST)
        assert refused.value.hint == "other names"

    def test_what_an_earlier_execution_made_is_no_obstacle_and_damage_is(
        self, services: Services, milvus: Milvus
    ) -> None:
        leave_a_run(services, self.REQUEST)
        milvus.refused = (self.TAKEN,)
        assert post_restore_plan(services, self.REQUEST).continues == EARLIER
        damaged = RefusedRestore(error="BackupDamagedError", message="rotten", hint="", is_of_target=False)
        milvus.refused = (self.TAKEN, damaged)
        with pytest.raises(BackupDamagedError, match="rotten"):
            post_restore_plan(services, self.REQUEST)

    def test_the_time_is_that_of_the_restore_which_was_most_like_it(
        self, services: Services, states: FakeMachines
    ) -> None:
        assert post_restore_plan(services, self.REQUEST).expected_by == "rates"
        for name, seconds, rows in (("small", 30, 300), ("large", 600, 9000), ("other", 9000, 10**6), ("none", 5, 0)):
            states.add("restore", name, NOW, seconds=seconds, output=f'{{"imported_row_count": {rows}}}')
        planned = post_restore_plan(services, self.REQUEST)
        assert planned.expected_seconds == pytest.approx(100)
        assert "restore-small" in planned.expected_by
        assert "300 rows in 30 s" in planned.expected_by

    @pytest.mark.parametrize("call", ["list_executions", "describe"])
    def test_where_earlier_restores_cannot_be_looked_up_the_plan_holds_and_says_so(
        self, services: Services, states: FakeMachines, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        def throttled(*_: object, **__: object) -> None:
            raise ServiceUnavailableError("Rate exceeded")

        states.add("restore", "one", NOW, seconds=30, output='{"imported_row_count": 1000}')
        monkeypatch.setattr(states, call, throttled)
        planned = post_restore_plan(services, self.REQUEST)
        assert planned.expected_seconds == PLANNED.expected_seconds
        assert planned.expected_by == "rates, since earlier restores could not be looked up: Rate exceeded"


@pytest.mark.parametrize("how", [{}, {"collections": ("books.works",)}])
def test_a_time_after_the_moment_is_refused_at_once(
    services: Services, states: FakeMachines, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    backup = services.catalogue.get(NAME)
    moments = {"works": NOW, "orders": NOW.replace(hour=2)}
    collections = tuple(one.model_copy(update={"moment": moments.get(one.name)}) for one in backup.collections)
    monkeypatch.setattr(Catalogue, "get", lambda *_: backup.model_copy(update={"collections": collections}))
    for at, is_in_it in ((NOW, True), (NOW.replace(hour=1), False)):
        request = RestoreRequest(backup_name=NAME, suffix="_x", as_of=at, **how)
        if is_in_it:
            post_restore(services, request, Caller())
            continue
        with pytest.raises(MomentOutOfRangeError, match="which holds nothing after 2026-11-28 00:00:00"):
            post_restore(services, request, Caller())
    assert len(states.found) == 1
