"""A backup that cannot work is refused before it is started, as far as that can be known in a moment."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from milvus_vault.api import backups, stats
from milvus_vault.api.app import Api
from milvus_vault.api.backups import DiffFilter, get_backup_collection, get_backup_diff, post_backup
from milvus_vault.api.routes import ROUTES
from milvus_vault.api.routing import Caller
from milvus_vault.api.schedules import put_schedule
from milvus_vault.api.services import Services
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import CollectionFailure
from milvus_vault.backup.places import ExportPlaces, Place
from milvus_vault.catalogue import Catalogue, describe_collection
from milvus_vault.catalogue.describe import describe
from milvus_vault.errors import (
    AnswerTimeoutError,
    BackupExistsError,
    BucketNotLockableError,
    CollectionNotFoundError,
    DatabaseNotFoundError,
    EmptySelectionError,
    InvalidRequestError,
    MilvusUnavailableError,
    ServiceUnavailableError,
    VaultError,
    VersionUnsupportedError,
)
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.messages import InspectMilvusRequest
from milvus_vault.model.requests import BackupRequest, ExportPlace, VerifyRequest
from milvus_vault.model.resources import BackedUpCollection, Backup, ScheduleSpec
from milvus_vault.source import MilvusStorage
from tests.support import fake_api, pool_world
from tests.support.fake_machines import FakeMachines, machines
from tests.support.memory_store import InMemoryObjectStore
from tests.support.pool_world import World
from tests.unit.archive.samples import BUCKET, PREFIX, golden_layout, golden_store, sample_contents, write_backup

NOW = datetime(2026, 11, 28, tzinfo=UTC)
PLACES = ExportPlaces(
    own=Place(bucket=BUCKET, prefix=PREFIX),
    milvus=MilvusStorage("milvus", "files"),
    staging_prefix="staging",
    bucket="archive",
    prefix="exports",
)
NOWHERE = pytest.mark.parametrize(
    ("to", "words"),
    [
        (ExportPlace(bucket="elsewhere"), "`copy_to`: this deployment does not export to bucket elsewhere"),
        (ExportPlace(prefix="other"), "`copy_to`: this deployment exports to the folder exports and below"),
    ],
)


class Milvus:
    """The port `Inspector`: a Milvus that answers with an error, or that it has what is asked for."""

    def __init__(self, error: VaultError | None = None) -> None:
        self.error = error
        self.asked: list[InspectMilvusRequest] = []

    def inspect(self, request: InspectMilvusRequest) -> dict[str, Any]:
        """Return what was found."""
        self.asked.append(request)
        if self.error:
            raise self.error
        return {"collection_count": 1}


def services(states: FakeMachines, milvus: Milvus, store: InMemoryObjectStore | None = None) -> Services:
    """Return a deployment, without backups if it has no other store."""
    store, unused = store or InMemoryObjectStore(BUCKET), cast("Any", None)
    return Services(
        store=store, bucket=BUCKET, prefix=PREFIX, catalogue=Catalogue(store, BUCKET, PREFIX, clock=lambda: NOW),
        machines=machines(states), executions=unused, schedules=unused, inspector=milvus, export_places=PLACES, now=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    "leaf",
    [
        BucketNotLockableError,
        CollectionNotFoundError,
        DatabaseNotFoundError,
        EmptySelectionError,
        VersionUnsupportedError,
    ],
)
@pytest.mark.parametrize("asked", [{"collections": ["default.nope"]}, {"lock": {"days": 3}}])
def test_what_milvus_or_the_bucket_rules_out_starts_nothing(leaf: type[VaultError], asked: dict[str, Any]) -> None:
    states, milvus = FakeMachines(), Milvus(leaf("'nope' does not work"))
    with pytest.raises(leaf, match="nope"):
        post_backup(services(states, milvus), BackupRequest.model_validate(asked), Caller())
    assert states.found == {}


@NOWHERE
@pytest.mark.parametrize("name", [None, "monday"])
def test_one_that_is_to_be_copied_where_nothing_may_go_starts_nothing(
    to: ExportPlace, words: str, name: str | None
) -> None:
    states, milvus = FakeMachines(), Milvus()
    with pytest.raises(InvalidRequestError, match=words):
        post_backup(services(states, milvus), BackupRequest(backup_name=name, copy_to=to), Caller())
    assert states.found == {}


@NOWHERE
def test_no_schedule_is_made_of_backups_that_are_to_be_copied_where_nothing_may_go(to: ExportPlace, words: str) -> None:
    # Schedules are none of the services here: who asked for them would fail otherwise.
    spec = ScheduleSpec(expression="rate(1 day)", request=BackupRequest(copy_to=to))
    with pytest.raises(InvalidRequestError, match=words):
        put_schedule(services(FakeMachines(), Milvus()), "nightly", spec)


def test_one_that_is_to_be_copied_says_so_to_the_run() -> None:
    states, milvus = FakeMachines(), Milvus()
    for to in (ExportPlace(), ExportPlace(bucket="archive", prefix="exports/nightly")):
        post_backup(services(states, milvus), BackupRequest(copy_to=to), Caller())
    assert [json.loads(found.input_json) for found in states.found.values()] == [
        {"copy_to": {}},
        {"copy_to": {"bucket": "archive", "prefix": "exports/nightly"}},
    ]


@pytest.mark.parametrize("error", [None, MilvusUnavailableError("no answer"), ServiceUnavailableError("too long")])
def test_where_milvus_cannot_be_asked_the_run_is_to_tell(error: VaultError | None) -> None:
    states, milvus = FakeMachines(), Milvus(error)
    post_backup(services(states, milvus), BackupRequest(collections=("default.a",)), Caller())
    assert [asked.inspection for asked in milvus.asked] == ["selection"]
    assert len(states.found) == 1


def test_nothing_is_asked_of_milvus_where_everything_is_wanted_or_the_run_was_started_before() -> None:
    states, milvus = FakeMachines(), Milvus(MilvusUnavailableError("no answer"))
    deployment = services(states, milvus)
    post_backup(deployment, BackupRequest(), Caller())
    assert milvus.asked == []
    for _ in range(2):
        post_backup(deployment, BackupRequest(collections=("default.a",)), Caller(idempotency_key="k"))
    assert len(milvus.asked) == 1


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (0, "backup 'nightly' exists already"),
        (2, "without db.lost_0, db.lost_1, which could not be backed up"),
        (5, "without db.lost_0, db.lost_1, db.lost_2 and 2 more, which could not be backed up"),
    ],
)
def test_a_name_that_is_taken_is_refused_and_told_what_a_partial_backup_lacks(lost: int, said: str) -> None:
    states, milvus = FakeMachines(), Milvus()
    found, layout = services(states, milvus), BackupLayout(PREFIX, "nightly")
    failures = tuple(
        CollectionFailure(
            name=CollectionName(database="db", name=f"lost_{number}"), error="SegmentTornError", message="x"
        )
        for number in range(lost)
    )
    write_backup(found.store, layout, sample_contents(layout), failures=failures)

    with pytest.raises(BackupExistsError) as caught:
        post_backup(found, BackupRequest(backup_name="nightly"), Caller())

    assert caught.value.message.endswith(said)
    assert ("what is published stays as it is" in caught.value.hint) is bool(lost)
    assert states.found == {}


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (None, {}),
        ("{}", {}),
        ('{"level": "checksum"}', {"level": "checksum"}),
        (
            '{"level": "deep", "sample_percent": 5, "max_bytes": 7}',
            {"level": "deep", "sample_percent": 5.0, "max_bytes": 7},
        ),
    ],
)
def test_how_a_backup_is_to_be_verified_reaches_the_machine(body: str | None, options: dict[str, object]) -> None:
    states = FakeMachines()
    found, layout = services(states, Milvus()), BackupLayout(PREFIX, "books")
    write_backup(found.store, layout, sample_contents(layout))

    status, _ = answered("/backups/books/verify", {}, found, method="POST", body=body)

    assert status == 202
    (started,) = states.found.values()
    given = VerifyRequest.model_validate_json(started.input_json)
    assert given == VerifyRequest.model_validate({"backup_name": "books", **options})


@pytest.mark.parametrize(
    "body",
    [
        '{"level": "thorough"}',
        '{"level": "deep", "sample_percent": 0}',
        '{"level": "deep", "sample_percent": 100.1}',
        '{"sample_percent": 5}',
        '{"level": "deep", "max_bytes": 0}',
        '{"repair": true}',
    ],
)
def test_a_verification_that_cannot_be_meant_starts_nothing(body: str) -> None:
    states = FakeMachines()
    found, layout = services(states, Milvus()), BackupLayout(PREFIX, "books")
    write_backup(found.store, layout, sample_contents(layout))

    status, document = answered("/backups/books/verify", {}, found, method="POST", body=body)

    assert (status, document["error"], states.found) == (400, "InvalidRequestError", {})


def answered(
    path: str, query: dict[str, list[str]], found: Services, *, method: str = "GET", body: str | None = None
) -> tuple[int, dict[str, Any]]:
    """Return status and document that the API answers for a path."""
    event = {
        "httpMethod": method, "path": path, "headers": {}, "multiValueQueryStringParameters": query,
        "requestContext": {"requestId": "7"}, "body": body,
    }  # fmt: skip
    answer = Api(ROUTES, lambda: found).handle(event, None)
    return answer["statusCode"], json.loads(answer["body"])


def test_two_backups_are_compared() -> None:
    found = services(FakeMachines(), Milvus())
    for layout in (BackupLayout(PREFIX, "a"), BackupLayout(PREFIX, "of 2026")):
        write_backup(found.store, layout, sample_contents(layout)[: 1 if layout.name == "a" else 2])

    status, document = answered("/backups/a/diff/of%202026", {}, found)

    assert (status, document["a"]["name"], document["b"]["name"]) == (200, "a", "of 2026")
    assert [(c["change"], c["b"]["name"], c["a"]) for c in document["collections"]] == [("added", "empty", None)]
    assert document["objects"]["shared"]["object_count"] == document["a"]["object_count"]
    assert document["unchanged_count"] == 1
    assert answered("/backups/a/diff/of%202026", {"objects": ["false"]}, found)[1]["objects"] is None
    assert answered("/backups/a/diff/a", {}, found)[1]["collections"] == []


@pytest.mark.parametrize(
    ("path", "query", "status", "error"),
    [
        ("/backups/a/diff/nope", {}, 404, "BackupNotFoundError"),
        ("/backups/nope/diff/a", {}, 404, "BackupNotFoundError"),
        ("/backups/a/diff/b", {}, 409, "BackupDamagedError"),
        ("/backups/a/diff/-", {}, 400, "InvalidRequestError"),
        ("/backups/a/diff/a", {"objects": ["no"]}, 400, "InvalidRequestError"),
        ("/backups/a/diff/a", {"lists": ["true"]}, 400, "InvalidRequestError"),
        ("/backups/a/diff", {}, 404, "RouteNotFoundError"),
    ],
)
def test_what_cannot_be_compared_is_a_problem(path: str, query: dict[str, list[str]], status: int, error: str) -> None:
    found = services(FakeMachines(), Milvus())
    for layout in (BackupLayout(PREFIX, "a"), BackupLayout(PREFIX, "b")):
        write_backup(found.store, layout, sample_contents(layout))
    found.store.put(BUCKET, BackupLayout(PREFIX, "b").manifest, b"{}")
    answer = answered(path, query, found)
    assert (answer[0], answer[1]["error"]) == (status, error)


def test_a_comparison_ends_before_the_gateway_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    found, layout = services(FakeMachines(), Milvus()), BackupLayout(PREFIX, "a")
    write_backup(found.store, layout, sample_contents(layout))
    monkeypatch.setattr(backups, "ANSWER_SECONDS", -1.0)
    with pytest.raises(AnswerTimeoutError, match="takes longer than an answer of the API may take"):
        get_backup_diff(found, "a", "a", DiffFilter())


def test_a_collection_is_told_with_its_settings_and_objects() -> None:
    found, layout = services(FakeMachines(), Milvus()), BackupLayout(PREFIX, "a")
    contents = sample_contents(layout)
    write_backup(found.store, layout, contents)
    name = "books.works"

    status, document = answered(f"/backups/a/collections/{name}", {}, found)

    assert (status, document["name"], document["load_state"]) == (200, "works", "Loaded")
    (of_backup,) = [one for one in answered("/backups/a", {}, found)[1]["collections"] if one["name"] == "works"]
    assert {member: document[member] for member in of_backup} == of_backup
    kinds = document["objects"].values()
    assert sum(kind["object_count"] for kind in kinds) == document["object_count"]
    assert sum(kind["size_bytes"] for kind in kinds) == document["size_bytes"]
    assert all(kind["object_count"] for kind in kinds)
    assert sum(one["row_count"] for one in document["partitions"]) == document["row_count"]
    by_kind = Counter(one["kind"] for one in document["settings"])
    assert by_kind["collection"] == 1
    assert by_kind["field"] > 1
    assert by_kind["index"] > 0
    assert by_kind["alias"] > 0


@pytest.mark.parametrize(
    ("path", "status", "error", "words"),
    [
        (
            "/backups/a/collections/default.nope",
            404,
            "CollectionNotFoundError",
            "does not hold collection default.nope",
        ),
        ("/backups/nope/collections/books.works", 404, "BackupNotFoundError", "nope"),
        ("/backups/b/collections/books.works", 409, "BackupDamagedError", "b"),
    ],
)
def test_a_collection_that_cannot_be_told_of_is_a_problem(path: str, status: int, error: str, words: str) -> None:
    found = services(FakeMachines(), Milvus())
    for layout in (BackupLayout(PREFIX, "a"), BackupLayout(PREFIX, "b")):
        write_backup(found.store, layout, sample_contents(layout))
    found.store.put(BUCKET, BackupLayout(PREFIX, "b").manifest, b"{}")
    answer = answered(path, {}, found)
    assert (answer[0], answer[1]["error"], words in answer[1]["detail"]) == (status, error, True)


def test_every_route_asks_whether_a_near_name_was_meant() -> None:
    found = services(FakeMachines(), Milvus())
    write_backup(found.store, layout := BackupLayout(PREFIX, "first"), sample_contents(layout))
    for method, path, body in (
        ("GET", "/backups/frist", None),
        ("GET", "/backups/frist/diff/first", None),
        ("GET", "/backups/frist/collections/books.works", None),
        ("GET", "/backups/frist/report", None),
        ("DELETE", "/backups/frist", None),
        ("PUT", "/backups/frist/hold", "{}"),
        ("DELETE", "/backups/frist/hold", None),
        ("POST", "/backups/frist/verify", None),
        ("POST", "/backups/frist/repair", None),
        ("POST", "/backups/frist/copies", "{}"),
        ("POST", "/restores", '{"backup_name": "frist"}'),
        ("POST", "/restores/plan", '{"backup_name": "frist"}'),
        ("POST", "/drills", '{"backup_name": "frist"}'),
        ("POST", "/exports", '{"backup_name": "frist", "export_name": "other"}'),
    ):
        status, problem = answered(path, {}, found, method=method, body=body)
        assert (path, status, problem["error"]) == (path, 404, "BackupNotFoundError")
        assert (path, problem["hint"]) == (path, "Did you mean 'first'?")
    status, problem = answered("/backups/first/collections/books.wroks", {}, found)
    assert (status, problem["hint"]) == (404, "Did you mean 'books.works'?")


def test_one_that_failed_says_why_it_is_not_there() -> None:
    found, layout = services(FakeMachines(), Milvus()), BackupLayout(PREFIX, "a")
    failure = CollectionFailure(
        name=CollectionName(database="shop", name="cart"), error="CopyIncompleteError", message="m"
    )
    write_backup(found.store, layout, sample_contents(layout), failures=(failure,))
    with pytest.raises(CollectionNotFoundError) as refused:
        get_backup_collection(found, "a", "shop.cart")
    assert refused.value.hint == "Its backup failed: CopyIncompleteError."


def test_counting_objects_ends_before_the_gateway_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    found, layout = services(FakeMachines(), Milvus()), BackupLayout(PREFIX, "a")
    write_backup(found.store, layout, sample_contents(layout))
    monkeypatch.setattr(backups, "ANSWER_SECONDS", -1.0)
    with pytest.raises(AnswerTimeoutError, match=r"objects of books\.works in backup 'a' takes too long"):
        get_backup_collection(found, "a", "books.works")


def test_a_collection_of_another_tools_archive_is_told_as_far_as_it_is_recorded() -> None:
    store, layout = golden_store("golden_2_5"), golden_layout("golden_2_5")
    first = describe(store, BUCKET, layout).collections[0]
    details = describe_collection(store, BUCKET, layout, f"{first.database}.{first.name}", has_time=lambda: True)
    assert details.objects.insert_logs.object_count + details.objects.delta_logs.object_count == first.object_count
    assert {one.kind for one in details.settings} >= {"collection", "field"}


def told_of(found: Backup) -> list[object]:
    """Return what of a backup comes in parts."""
    return [*found.failures, *found.warnings, *found.collections]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 9])
def test_a_backup_is_told_in_parts_of_any_length(limit: int) -> None:
    found, layout = services(FakeMachines(), Milvus()), BackupLayout(PREFIX, "a")
    failure = CollectionFailure(name=CollectionName(database="db", name="lost"), error="SegmentTornError", message="x")
    write_backup(found.store, layout, sample_contents(layout), failures=(failure,), warnings=("one", "two"))
    whole = Backup.model_validate_json(json.dumps(answered("/backups/a", {}, found)[1]))
    assert (whole.next_token, len(told_of(whole))) == (None, 5)

    token, parts = "0", list[Backup]()
    while token:
        document = answered("/backups/a", {"limit": [str(limit)], "token": [token]}, found)[1]
        parts.append(Backup.model_validate_json(json.dumps(document)))
        token = document["next_token"]

    assert [one for part in parts for one in told_of(part)] == told_of(whole)
    assert {len(told_of(part)) for part in parts[:-1]} <= {limit}
    assert [part.collection_count for part in parts] == [2] * len(parts)
    assert answered("/backups/a", {"token": ["7"]}, found)[1]["collections"] == []


@pytest.mark.parametrize("query", [{"token": ["x"]}, {"limit": ["0"]}])
def test_a_part_that_is_none_is_refused(query: dict[str, list[str]]) -> None:
    found, layout = services(FakeMachines(), Milvus()), BackupLayout(PREFIX, "a")
    write_backup(found.store, layout, sample_contents(layout))
    status, problem = answered("/backups/a", query, found)
    assert (status, problem["error"]) == (400, "InvalidRequestError")


def test_a_backup_of_many_collections_never_takes_more_than_lambda_passes_on() -> None:
    one = BackedUpCollection(
        database="shop", name="x" * 40, row_count=10**6, live_row_count=10**6, segment_count=100, object_count=1000,
        size_bytes=10**9, moment=NOW,
    )  # fmt: skip
    whole = fake_api.backup("a", collections=[one] * 30_000)
    first, counts = 0, list[int]()
    while first < 30_000:
        part = backups.part_of(whole, None, first)
        # What Lambda's runtime makes of the answer; the quota is 6 MB.
        assert len(json.dumps({"statusCode": 200, "body": part.model_dump_json()})) < 6_000_000
        counts.append(len(part.collections))
        first += counts[-1]
    assert min(counts[:-1]) > 10_000
    assert sum(counts) == 30_000


@pytest.fixture
def shared() -> Iterator[InMemoryObjectStore]:
    """Two incremental backups that share an object, and a full one, `full`."""
    with closing(World()) as world:
        world.finish(world.make("r0", {1: [10, 11]}))
        world.finish(world.make("r1", {1: [10]}))
        layout = BackupLayout(PREFIX, "full")
        write_backup(world.store, layout, sample_contents(layout))
        yield world.store


def test_what_only_one_backup_lists_is_told_where_it_is_asked_for(shared: InMemoryObjectStore) -> None:
    assert (pool_world.BUCKET, pool_world.PREFIX) == (BUCKET, PREFIX)
    found = services(FakeMachines(), Milvus(), shared)
    asked = {"unique": ["true"]}
    assert answered("/backups/r0", {}, found)[1]["unique"] is None
    assert answered("/backups/r0", asked, found)[1]["unique"] == {"object_count": 1, "size_bytes": 10}
    assert answered("/backups/r1", asked, found)[1]["unique"] == {"object_count": 0, "size_bytes": 0}
    full = answered("/backups/full", {}, found)[1]
    assert full["unique"] == {"object_count": full["object_count"], "size_bytes": full["size_bytes"]}


def test_where_nobody_can_tell_what_only_one_backup_lists_the_list_is_named(shared: InMemoryObjectStore) -> None:
    found = services(FakeMachines(), Milvus(), shared)
    shared.delete(BUCKET, [BackupLayout(PREFIX, "r1").object_list(1)])
    status, problem = answered("/backups/r0", {"unique": ["true"]}, found)
    assert (status, problem["error"]) == (409, "BackupDamagedError")
    assert "r1/meta/vault/objects/1.jsonl" in problem["detail"]


def test_what_takes_too_long_to_tell_is_told_so(shared: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "ANSWER_SECONDS", -1.0)
    found = services(FakeMachines(), Milvus(), shared)
    status, problem = answered("/backups/r0", {"unique": ["true"]}, found)
    assert (status, problem["error"]) == (422, "AnswerTimeoutError")
    assert "only backup 'r0' lists" in problem["detail"]
    assert answered("/backups/r0", {}, found)[0] == 200


def test_what_the_prefix_holds_is_told_in_time_or_not_at_all(
    shared: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = services(FakeMachines(), Milvus(), shared)
    status, document = answered("/stats", {}, found)
    assert (status, document["backup_count"], document["pool"]["object_count"]) == (200, 3, 2)
    assert answered("/stats", {"pool": ["false"]}, found)[1]["pool"] is None
    monkeypatch.setattr(stats, "ANSWER_SECONDS", -1.0)
    status, problem = answered("/stats", {}, found)
    assert (status, problem["error"]) == (422, "AnswerTimeoutError")
    assert "page by page" in problem["hint"]
