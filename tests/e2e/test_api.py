"""The API on the local vault, route by route: what is answered, and what comes of it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import urlopen

import pytest
from pymilvus import DataType, MilvusClient

from local.stack import Deployment, LocalStack
from milvus_vault.ports import HTML
from tests.support import vault_runs
from tests.support.api_calls import Answer, call
from tests.support.html_page import Page

ROWS = 300
COLLECTIONS = ("books", "pens", "shelves")
TIMEOUT_SECONDS = 120


@pytest.fixture(scope="module")
def vault(stack: LocalStack) -> Iterator[Deployment]:
    """Yield a deployment for three collections, whose functions may do only what the template allows them."""
    client = MilvusClient(stack.milvus_uri)
    for name in COLLECTIONS:
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
        client.create_collection(name, schema=schema, num_shards=1)
        client.insert(name, [{"id": i, "vector": [i, 1.0, 2.0, 3.0]} for i in range(ROWS)])
        client.flush(name)
    yield stack.deploy("api", stack.milvus)
    for name in client.list_collections():
        client.drop_collection(name)
    client.close()


@pytest.fixture(scope="module")
def backup(vault: Deployment) -> dict[str, Any]:
    """Return a run that made the backup `first`."""
    started = send(vault, "POST", "/backups", {"backup_name": "first"})
    assert started.status == 202
    return ended(vault, started.json["id"])


def send(vault: Deployment, method: str, path: str, body: object = None, key: str | None = None) -> Answer:
    """Send a request to the stack's API."""
    return call(vault.api_url, method, path, body, headers={"Idempotency-Key": key} if key else {})


def ended(vault: Deployment, run_id: str, seen: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return a run once it has ended; `seen` gets what was told of it on the way."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        answer = send(vault, "GET", f"/runs/{run_id}")
        assert answer.status == 200, answer.text
        run: dict[str, Any] = answer.json
        if run["status"] != "running":
            return run
        if seen is not None:
            seen.append(run)
        time.sleep(0.3)
    pytest.fail(f"{run_id} did not end")


def assert_problem(answer: Answer, status: int, error: str) -> None:
    """Check that an answer is a problem of this status and name."""
    assert (answer.status, answer.json["status"], answer.json["error"]) == (status, status, error), answer.text
    assert answer.is_problem
    assert answer.json["title"]
    assert answer.json["detail"]
    assert answer.json["instance"].startswith("urn:uuid:")


def test_a_backup_is_started_followed_and_found(vault: Deployment) -> None:
    started = send(vault, "POST", "/backups", {"backup_name": "followed"})
    seen: list[dict[str, Any]] = []
    run = ended(vault, started.json["id"], seen)

    assert started.headers["location"] == f"/runs/{started.json['id']}"
    assert (run["status"], run["backup_name"], run["phase"]) == ("succeeded", "followed", "")
    assert len({told["phase"] for told in seen} & {"flushing and listing", "copying", "verifying the copy"}) > 1
    progress = run["progress"]
    assert (progress["collections_done"], progress["collections_total"]) == (3, 3)
    assert progress["objects_done"] == progress["objects_total"] == run["result"]["object_count"]
    assert progress["bytes_done"] == progress["bytes_total"] == run["result"]["size_bytes"]
    assert {c["name"]: (c["status"], c["row_count"]) for c in run["collections"]} == dict.fromkeys(
        COLLECTIONS, ("done", ROWS)
    )
    assert sum(c["objects_done"] for c in run["collections"]) == progress["objects_total"]

    found = send(vault, "GET", "/backups/followed").json
    assert (found["status"], found["collection_count"], found["run"]) == ("complete", 3, run["id"])


def test_a_backup_without_a_name_is_told_its_name(vault: Deployment) -> None:
    started = send(vault, "POST", "/backups").json
    run = ended(vault, started["id"])
    assert run["result"]["backup_name"] == started["backup_name"] == run["backup_name"]


def test_starting_twice_at_once_with_one_key_starts_once(vault: Deployment) -> None:
    request = {"backup_name": "only_once"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: send(vault, "POST", "/backups", request, "only-once"), range(4)))
    assert [answer.status for answer in answers] == [202] * 4
    assert {answer.json["id"] for answer in answers} == {"backup-only-once"}
    assert ended(vault, "backup-only-once")["status"] == "succeeded"

    again = send(vault, "POST", "/backups", request, "only-once")
    assert (again.status, again.json) == (202, answers[0].json)
    other = send(vault, "POST", "/backups", {"backup_name": "another"}, "only-once")
    assert_problem(other, 409, "IdempotencyConflictError")


def test_a_name_that_is_taken_is_refused_at_once(vault: Deployment, backup: dict[str, Any]) -> None:
    assert_problem(send(vault, "POST", "/backups", {"backup_name": backup["backup_name"]}), 409, "BackupExistsError")


def test_bad_requests_are_refused_field_by_field(vault: Deployment) -> None:
    answer = send(vault, "POST", "/backups", {"backup_name": "1", "collection": [], "meta_only": "yes"})
    assert_problem(answer, 400, "InvalidRequestError")
    assert all(field in answer.json["detail"] for field in ("backup_name: ", "collection: ", "meta_only: "))
    assert_problem(send(vault, "POST", "/backups", "{"), 400, "InvalidRequestError")
    tagged = {"schedule": {"name": "nightly"}}
    assert_problem(send(vault, "POST", "/backups", tagged), 400, "InvalidRequestError")
    assert_problem(send(vault, "GET", "/runs?limit=101"), 400, "InvalidRequestError")
    assert_problem(send(vault, "GET", "/runs?token=x"), 400, "InvalidRequestError")
    assert_problem(send(vault, "GET", "/backups?colour=red"), 400, "InvalidRequestError")


def test_unknown_paths_and_methods_are_problems(vault: Deployment) -> None:
    assert_problem(send(vault, "GET", "/nothing"), 404, "RouteNotFoundError")
    answer = send(vault, "DELETE", "/backups")
    assert_problem(answer, 405, "RouteNotFoundError")
    assert answer.headers["allow"] == "GET, POST"


def test_without_a_signature_nobody_gets_in(vault: Deployment) -> None:
    unsigned = call(vault.api_url, "GET", "/backups", signed=False)
    assert (unsigned.status, unsigned.json) == (403, {"message": "Missing Authentication Token"})


def test_backups_are_listed_newest_first_and_page_by_page(vault: Deployment, backup: dict[str, Any]) -> None:
    ended(vault, send(vault, "POST", "/backups", {"backup_name": "second", "meta_only": True}).json["id"])
    listed = send(vault, "GET", "/backups?limit=100").json["items"]
    names = [item["name"] for item in listed]
    assert names.index("second") < names.index(backup["backup_name"])
    assert paged(vault, "/backups?limit=1") == listed


def test_runs_are_listed_newest_first_and_page_by_page(vault: Deployment, backup: dict[str, Any]) -> None:
    listed = send(vault, "GET", "/runs?limit=100").json["items"]
    assert backup["id"] in {item["id"] for item in listed}
    started = [item["started_at"] for item in listed]
    assert started == sorted(started, reverse=True)
    assert paged(vault, "/runs?limit=2") == listed
    succeeded = [item for item in listed if item["status"] == "succeeded"]
    assert send(vault, "GET", "/runs?limit=100&status=succeeded&kind=backup").json["items"] == [
        item for item in succeeded if item["kind"] == "backup"
    ]


def paged(vault: Deployment, path: str) -> list[Any]:
    """Return all items of a list, asked for page by page."""
    items: list[Any] = []
    token = ""
    while True:
        page = send(vault, "GET", f"{path}&token={token}" if token else path).json
        items += page["items"]
        token = page["next_token"]
        if not token:
            return items


def test_the_collections_of_a_run_come_page_by_page(vault: Deployment, backup: dict[str, Any]) -> None:
    collections = paged(vault, f"/runs/{backup['id']}/collections?limit=2")
    assert [collection["name"] for collection in collections] == list(COLLECTIONS)


def test_a_restore_is_started_and_followed(vault: Deployment, backup: dict[str, Any]) -> None:
    chosen = {"collections": ["default.books"], "suffix": "_back", "allow_version": True}
    request = {"backup_name": backup["backup_name"], **chosen}
    started = send(vault, "POST", "/restores", request)
    seen: list[dict[str, Any]] = []
    run = ended(vault, started.json["id"], seen)

    # What it waited for was told by phase, in what moves there: rows that never go back, and jobs.
    phases = [(phase["name"], phase["counts"]) for told in seen for phase in told["progress"]["phases"]]
    assert {"copying", "importing"} <= {name for name, _ in phases}
    imported = [counts for name, counts in phases if name == "importing"]
    assert [count["unit"] for count in imported[-1]] == ["row", "job"]
    rows = [counts[0]["done"] for counts in imported]
    assert rows == sorted(rows)
    assert {counts[0]["total"] for counts in imported} == {ROWS}
    assert {c["phase"] for told in seen for c in told["collections"]} & {"importing", "indexing", "loading"}
    assert all(phase["counts"][0]["done"] == phase["counts"][0]["total"] for phase in run["progress"]["phases"])
    # Nobody could count them when it was backed up: it was not loaded.
    assert run["result"]["expected_row_count"] is None
    assert run["result"]["row_count"] == run["result"]["imported_row_count"] == ROWS
    assert (run["status"], run["backup_name"]) == ("succeeded", backup["backup_name"])
    (collection,) = run["collections"]
    assert (collection["name"], collection["target"]) == ("books", "default.books_back")
    assert (collection["status"], collection["row_count"]) == ("done", ROWS)
    # Each answer has links of its own.
    assert send(vault, "GET", f"/restores/{run['id']}").json | {"report_url": ""} == run | {"report_url": ""}
    assert run["id"] in {item["id"] for item in send(vault, "GET", "/restores").json["items"]}


def test_reports_can_be_read_without_credentials(vault: Deployment, backup: dict[str, Any]) -> None:
    name = backup["backup_name"]
    chosen = {"collections": ["default.books"], "suffix": "_reported", "allow_version": True}
    started = send(vault, "POST", "/restores", {"backup_name": name, **chosen})
    restored = ended(vault, started.json["id"])

    links = [send(vault, "GET", f"/backups/{name}").json["report_url"], backup["report_url"], restored["report_url"]]

    titles = []
    for link in links:
        with urlopen(link) as answer:  # noqa: S310 - of the stack that the tests started
            assert answer.headers["Content-Type"] == HTML
            titles.append(Page(answer.read()).texts["title"][0])
    assert titles == [f"Backup {name}: complete"] * 2 + [f"Restore of {name}: complete"]


def test_a_restore_of_an_unknown_backup_is_refused_at_once(vault: Deployment) -> None:
    assert_problem(send(vault, "POST", "/restores", {"backup_name": "nowhere"}), 404, "BackupNotFoundError")


def test_what_is_not_there_is_not_found(vault: Deployment) -> None:
    assert_problem(send(vault, "GET", "/runs/backup-nobody"), 404, "RunNotFoundError")
    assert_problem(send(vault, "GET", "/restores/restore-nobody"), 404, "RunNotFoundError")
    assert_problem(send(vault, "DELETE", "/runs/backup-nobody"), 404, "RunNotFoundError")
    assert_problem(send(vault, "GET", "/backups/nowhere"), 404, "BackupNotFoundError")
    assert_problem(send(vault, "PUT", "/backups/nowhere/hold", {}), 404, "BackupNotFoundError")


def test_a_run_is_stopped_once(vault: Deployment) -> None:
    started = send(vault, "POST", "/backups", {"backup_name": "stopped"}).json
    stopped = send(vault, "DELETE", f"/runs/{started['id']}")
    assert (stopped.status, stopped.text) == (204, "")
    run = ended(vault, started["id"])
    assert (run["status"], run["error"]) == ("stopped", "RunStoppedError")
    assert_problem(send(vault, "DELETE", f"/runs/{started['id']}"), 409, "RunEndedError")


def test_a_restore_to_a_name_that_is_taken_is_refused_at_once(vault: Deployment, backup: dict[str, Any]) -> None:
    request = {"backup_name": backup["backup_name"], "collections": ["default.books"], "allow_version": True}
    before = send(vault, "GET", "/restores").json["items"]
    refused = send(vault, "POST", "/restores", request)
    assert_problem(refused, 409, "CollectionExistsError")
    assert "default.books" in refused.json["detail"]
    assert_problem(
        send(vault, "POST", "/restores", request | {"skip_create": True, "suffix": "_none"}),
        404,
        "CollectionNotFoundError",
    )
    assert send(vault, "GET", "/restores").json["items"] == before


def test_a_restore_that_was_stopped_may_go_on_where_its_names_are_taken(
    vault: Deployment, backup: dict[str, Any]
) -> None:
    request = {"backup_name": backup["backup_name"], "suffix": "_resumed", "allow_version": True}
    first = send(vault, "POST", "/restores", request).json["id"]
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not send(vault, "GET", f"/runs/{first}").json["progress"]["collections_total"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    send(vault, "DELETE", f"/runs/{first}")
    assert ended(vault, first)["status"] == "stopped"

    client = MilvusClient(vault.milvus.uri)
    if not client.has_collection("books_resumed"):
        client.create_collection("books_resumed", dimension=4)
    # Whose it is, the run finds out, and not the API.
    again = send(vault, "POST", "/restores", request)
    assert again.status == 202, again.text
    ended(vault, again.json["id"])
    other = send(vault, "POST", "/restores", request | {"collections": ["default.books"]})
    assert_problem(other, 409, "CollectionExistsError")
    # What it had begun, it ends: nothing that was staged or made under a temporary name is left.
    for name in client.list_collections():
        if name.endswith("_resumed"):
            client.drop_collection(name)
    last = send(vault, "POST", "/restores", request)
    assert ended(vault, last.json["id"])["status"] == "succeeded"
    client.close()


def test_a_run_that_failed_tells_why(vault: Deployment, backup: dict[str, Any]) -> None:
    # The server is older than those that a restore is made for, which the API would have refused at once.
    request = {"backup_name": backup["backup_name"], "suffix": "_failed"}
    assert_problem(send(vault, "POST", "/restores", request), 409, "VersionUnsupportedError")
    name = vault_runs.start(vault, "Restore", request).rpartition(":")[2]
    run = ended(vault, f"restore-{name}")
    assert (run["status"], run["error"]) == ("failed", "VersionUnsupportedError")
    assert run["message"]
    assert run["hint"]
    found = {item["id"]: item for item in send(vault, "GET", "/runs?status=failed").json["items"]}
    assert (found[run["id"]]["backup_name"], found[run["id"]]["error"]) == (backup["backup_name"], run["error"])


@pytest.mark.parametrize(
    ("collections", "error"),
    [(["default.nobody"], "CollectionNotFoundError"), (["nowhere.*"], "DatabaseNotFoundError")],
)
def test_collections_that_are_not_there_are_refused_at_once(
    vault: Deployment, collections: list[str], error: str
) -> None:
    assert_problem(send(vault, "POST", "/backups", {"collections": collections}), 404, error)


def test_what_is_not_in_a_backup_is_refused_at_once(vault: Deployment, backup: dict[str, Any]) -> None:
    request = {"backup_name": backup["backup_name"], "collections": ["default.nobody"]}
    assert_problem(send(vault, "POST", "/restores", request), 404, "CollectionNotFoundError")


def test_a_hold_is_placed_and_lifted(vault: Deployment, backup: dict[str, Any]) -> None:
    path = f"/backups/{backup['backup_name']}"
    placed = send(vault, "PUT", f"{path}/hold", {"reason": "audit"})
    assert (placed.status, placed.json["reason"], placed.json["until"]) == (200, "audit", None)
    assert send(vault, "GET", path).json["is_held"]
    assert send(vault, "DELETE", f"{path}/hold").status == 204
    assert not send(vault, "GET", path).json["is_held"]


def test_collections_are_listed_by_name_and_page_by_page(vault: Deployment) -> None:
    page = send(vault, "GET", "/collections?limit=100&sizes=true&database=default").json
    found = {item["name"]: item for item in page["items"]}
    assert tuple(name for name in found if name in COLLECTIONS) == COLLECTIONS
    books = found["books"]
    assert (books["row_count"], books["is_loaded"], books["segment_count"]) == (ROWS, False, 1)
    assert books["object_count"] > 0
    assert books["size_bytes"] > ROWS
    assert paged(vault, "/collections?limit=1&sizes=true") == page["items"]
    assert_problem(send(vault, "GET", "/collections?database=nowhere"), 404, "DatabaseNotFoundError")
    assert_problem(send(vault, "GET", "/collections?sizes=yes"), 400, "InvalidRequestError")


def test_a_check_has_a_verdict_on_each_thing(vault: Deployment) -> None:
    report = send(vault, "POST", "/check").json
    verdicts = {item["name"]: item["verdict"] for item in report["checks"]}
    assert report["is_ok"], report
    assert "2.3.5" in report["milvus_version"]
    # 2.3 cannot pause garbage collection.
    assert verdicts.pop("management_endpoint") == "warning"
    assert set(verdicts.values()) == {"ok"}, report


def test_a_check_of_what_is_wrong_still_looks_at_everything_else(stack: LocalStack, vault: Deployment) -> None:
    wrong = {"MilvusUri": "http://127.0.0.1:9", "MilvusManagementUri": ""}
    deployment = stack.deploy("wrong", vault.milvus, wrong)
    report = call(deployment.api_url, "POST", "/check").json
    found = {item["name"]: item for item in report["checks"]}
    assert not report["is_ok"]
    assert found["milvus_connection"]["error"] == "MilvusUnavailableError"
    assert found["milvus_connection"]["hint"]
    assert found["backup_bucket_write"]["verdict"] == "ok"
    assert found["backup_bucket_settings"]["verdict"] != "failed"
    assert found["root_path"]["verdict"] == found["management_endpoint"]["verdict"] == "skipped"
    assert_problem(call(deployment.api_url, "GET", "/collections"), 503, "MilvusUnavailableError")


def test_an_estimate_says_what_the_backup_then_takes(vault: Deployment, backup: dict[str, Any]) -> None:
    chosen = {"backup": {"collections": [f"default.{name}" for name in COLLECTIONS]}}
    estimate = send(vault, "POST", "/estimate", chosen).json
    assert estimate["object_count"] == estimate["copy_requests"] == backup["result"]["object_count"]
    assert (estimate["size_bytes"], estimate["row_count"]) == (backup["result"]["size_bytes"], 3 * ROWS)
    assert estimate["request_cost_usd"] > 0
    assert len(estimate["largest"]) == 3
    unknown = {"backup": {"collections": ["default.nobody"]}}
    assert_problem(send(vault, "POST", "/estimate", unknown), 404, "CollectionNotFoundError")


def test_a_plan_says_what_a_restore_would_do_and_refuses_what_it_would_refuse(
    vault: Deployment, backup: dict[str, Any]
) -> None:
    request = {"backup_name": backup["backup_name"], "suffix": "_planned", "allow_version": True}
    plan = send(vault, "POST", "/restores/plan", request).json
    assert (plan["collection_count"], plan["row_count"]) == (3, 3 * ROWS)
    assert {one["target"] for one in plan["collections"]} == {f"default.{name}_planned" for name in COLLECTIONS}
    assert plan["copy_requests"] == plan["object_count"] > 0
    assert plan["import_jobs"] == plan["partition_count"]
    assert plan["expected_seconds"] > 0
    taken = {**request, "suffix": ""}
    assert_problem(send(vault, "POST", "/restores/plan", taken), 409, "CollectionExistsError")
    old = {**request, "allow_version": False}
    assert_problem(send(vault, "POST", "/restores/plan", old), 409, "VersionUnsupportedError")
    # A start refuses it as well.
    assert_problem(send(vault, "POST", "/restores", old), 409, "VersionUnsupportedError")


def test_a_backup_is_verified_and_its_report_can_be_read(vault: Deployment, backup: dict[str, Any]) -> None:
    path = f"/backups/{backup['backup_name']}"
    started = send(vault, "POST", f"{path}/verify")
    assert started.status == 202
    run = ended(vault, started.json["id"])
    assert (run["status"], run["kind"]) == ("succeeded", "verify")
    verification = send(vault, "GET", path).json["verification"]
    assert (verification["status"], verification["run"]) == ("intact", run["id"])
    assert send(vault, "GET", f"{path}/report").json["url"].startswith("http")
    assert_problem(send(vault, "POST", "/backups/nowhere/verify"), 404, "BackupNotFoundError")


def test_a_backup_is_deleted_unless_it_has_a_hold(vault: Deployment) -> None:
    ended(vault, send(vault, "POST", "/backups", {"backup_name": "deleted", "meta_only": True}).json["id"])
    assert send(vault, "PUT", "/backups/deleted/hold", {"reason": "audit"}).status == 200
    assert_problem(send(vault, "DELETE", "/backups/deleted"), 409, "BackupHeldError")
    assert send(vault, "DELETE", "/backups/deleted/hold").status == 204

    started = send(vault, "DELETE", "/backups/deleted")
    assert (started.status, started.json["kind"]) == (202, "prune")
    assert ended(vault, started.json["id"])["status"] == "succeeded"
    assert_problem(send(vault, "GET", "/backups/deleted"), 404, "BackupNotFoundError")
    assert_problem(send(vault, "DELETE", "/backups/deleted"), 404, "BackupNotFoundError")


def test_a_prune_tells_what_it_would_delete(vault: Deployment) -> None:
    started = send(vault, "POST", "/prune", {"dry_run": True})
    assert started.status == 202
    run = ended(vault, started.json["id"])
    assert (run["status"], run["kind"]) == ("succeeded", "prune")


def test_what_changed_between_two_backups_is_told(vault: Deployment) -> None:
    client, name = MilvusClient(vault.milvus.uri), "compared"
    client.create_collection(name, dimension=4)
    for made, first in (("older", 0), ("newer", ROWS)):
        client.insert(name, [{"id": first + i, "vector": [i, 1.0, 2.0, 3.0]} for i in range(ROWS)])
        request = {"backup_name": made, "collections": [f"default.{name}"]}
        assert ended(vault, send(vault, "POST", "/backups", request).json["id"])["status"] == "succeeded"
        client.create_partition(name, f"after_{made}")
    client.drop_collection(name)
    client.close()

    found = send(vault, "GET", "/backups/older/diff/newer").json
    (collection,) = found["collections"]
    assert (collection["change"], collection["settings"], collection["unknown"]) == ("changed", [], [])
    assert (collection["a"]["row_count"], collection["b"]["row_count"]) == (ROWS, 2 * ROWS)
    assert (collection["partitions_added"], collection["partitions_removed"]) == (["after_older"], [])
    counts = {place: found["objects"][place]["object_count"] for place in ("only_in_a", "only_in_b", "shared")}
    assert counts == {
        "only_in_a": 0,
        "only_in_b": found["b"]["object_count"] - found["a"]["object_count"],
        "shared": found["a"]["object_count"],
    }
    assert counts["only_in_b"] > 0
    assert send(vault, "GET", "/backups/older/diff/older").json["collections"] == []
    assert_problem(send(vault, "GET", "/backups/older/diff/nowhere"), 404, "BackupNotFoundError")
