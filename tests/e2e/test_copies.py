"""Copies of backups of a real Milvus in another bucket, from which a second deployment there restores them."""

from collections.abc import Iterator
from typing import Any

import pytest

from local.stack import Deployment, LocalStack
from tests.support import library, vault_runs
from tests.support.api_calls import call
from tests.support.killing import kill_inside

DATABASE = "copied_books"
ELSEWHERE, PREFIX = "copies-elsewhere", "milvus-vault"
SOURCE = "copied-from"


def request(name: str) -> dict[str, Any]:
    """Return what the API starts the machine with."""
    return {"backup_name": name, "export_name": name, "is_copy": True, "to": {}}


@pytest.fixture(scope="module")
def primary(stack: LocalStack) -> Deployment:
    """Deploy a stack with a bucket of its own, which a test may empty, and another Region's to copy to."""
    for bucket in (SOURCE, ELSEWHERE):
        stack.client("s3").create_bucket(Bucket=bucket)
    parameters = {"BackupBucketName": SOURCE, "ExportBucketName": ELSEWHERE, "ExportPrefix": PREFIX}
    return stack.deploy("copying", stack.milvus, parameters)


@pytest.fixture(scope="module")
def second(stack: LocalStack) -> Deployment:
    """Deploy a stack where the copies are."""
    return stack.deploy("second-site", stack.milvus, {"BackupBucketName": ELSEWHERE, "BackupPrefix": PREFIX})


@pytest.fixture(scope="module")
def contents(stack: LocalStack, primary: Deployment) -> Iterator[library.Contents]:
    """Make two incremental backups and a full one; return what the newest has."""
    yield vault_runs.back_up_library(primary, stack.milvus_uri, DATABASE)
    library.drop(stack.milvus_uri, DATABASE)


@pytest.mark.usefixtures("contents")
def test_what_is_there_already_is_not_copied_again(primary: Deployment) -> None:
    first = vault_runs.succeed(primary, "Export", request("night_1"))
    assert first["location"] == f"s3://{ELSEWHERE}/{PREFIX}/night_1/"
    assert first["copied_object_count"] == first["object_count"] > 0
    second = vault_runs.succeed(primary, "Export", request("night_2"))
    assert 0 < second["copied_object_count"] < second["object_count"]
    again = vault_runs.succeed(primary, "Export", request("night_2"))
    assert (again["copied_object_count"], again["mode"]) == (0, "incremental")


@pytest.mark.usefixtures("contents")
def test_the_api_starts_one_and_tells_where_it_is(stack: LocalStack, primary: Deployment) -> None:
    place = {"bucket": ELSEWHERE, "bucket_region": "us-east-1"}
    started = call(primary.api_url, "POST", "/backups/night_1/copies", {"to": place})
    assert started.status == 202, started.text
    stack.wait(started.json["execution_arn"], vault_runs.TIMEOUT_SECONDS)
    run = call(primary.api_url, "GET", f"/runs/{started.json['id']}").json
    assert (run["kind"], run["status"], run["export_to"]) == ("export", "succeeded", f"s3://{ELSEWHERE}"), run
    (copy,) = call(primary.api_url, "GET", "/backups/night_1").json["copies"]
    assert (copy["location"], copy["run"]) == (f"s3://{ELSEWHERE}/{PREFIX}/night_1/", started.json["id"])
    other: dict[str, str]
    for other in ({"bucket": "nowhere"}, {"bucket": ELSEWHERE, "bucket_region": "eu-central-1"}):
        refused = call(primary.api_url, "POST", "/backups/night_1/copies", {"to": other})
        assert (refused.status, refused.json["error"]) == (400, "InvalidRequestError"), refused.text


@pytest.mark.usefixtures("contents")
def test_a_backup_is_copied_once_it_is_published_where_its_request_asks_for_it(
    stack: LocalStack, primary: Deployment
) -> None:
    folder = f"{PREFIX}/asked"
    asked = {"backup_name": "asked", "collections": [f"{DATABASE}.drafts"], "mode": "incremental"}
    body = {**asked, "copy_to": {"bucket": ELSEWHERE, "prefix": folder}}
    nowhere = call(primary.api_url, "POST", "/backups", {**asked, "copy_to": {"bucket": "nowhere"}})
    assert (nowhere.status, nowhere.json["error"]) == (400, "InvalidRequestError")
    started = call(primary.api_url, "POST", "/backups", body)
    assert started.status == 202, started.text
    stack.wait(started.json["execution_arn"], vault_runs.TIMEOUT_SECONDS)

    made = call(primary.api_url, "GET", f"/runs/{started.json['id']}").json
    assert made["status"] == "succeeded", made
    following = made["result"]["next_copy"]
    copied = call(primary.api_url, "GET", f"/runs/{following['run']}").json
    stack.wait(copied["execution_arn"], vault_runs.TIMEOUT_SECONDS)

    copied = call(primary.api_url, "GET", f"/runs/{following['run']}").json
    assert (copied["status"], copied["export_to"]) == ("succeeded", f"s3://{ELSEWHERE}/{folder}"), copied
    there = vault_runs.listing(stack, ELSEWHERE, f"{folder}/")
    assert f"{folder}/asked/meta/backup_meta.json" in there
    assert copied["result"]["object_count"] == sum(key.startswith(f"{folder}/.pool/") for key in there) > 0
    (copy,) = call(primary.api_url, "GET", "/backups/asked").json["copies"]
    assert (copy["location"], copy["run"]) == (f"s3://{ELSEWHERE}/{folder}/asked/", following["run"])


@pytest.mark.parametrize("name", ["night_2", "weekly"])
@pytest.mark.usefixtures("contents")
def test_one_that_was_stopped_is_completed_by_the_next(primary: Deployment, second: Deployment, name: str) -> None:
    asked = {**request(name), "to": {"prefix": f"{PREFIX}/stopped"}}
    function = kill_inside(primary, "Export", "CopyObjects", asked)

    output = vault_runs.succeed(primary, "Export", asked)

    function.result()
    assert (output["status"], output["location"]) == ("complete", f"s3://{ELSEWHERE}/{PREFIX}/stopped/{name}/")
    # One prefix below the other: each has backups of its own.
    assert not vault_runs.listing(second, ELSEWHERE, f"{PREFIX}/stopped/.runs/")


def test_all_are_restored_there_once_the_primary_is_gone(
    stack: LocalStack, primary: Deployment, second: Deployment, contents: library.Contents
) -> None:
    names = ("night_1", "night_2", "weekly")
    for name in names:
        vault_runs.succeed(primary, "Export", request(name))
    s3 = stack.client("s3")
    for key in vault_runs.listing(stack, SOURCE):
        s3.delete_object(Bucket=SOURCE, Key=key)

    listed = call(second.api_url, "GET", "/backups").json["items"]
    modes = {item["name"]: (item["mode"], item["status"]) for item in listed}
    assert modes == {
        "night_1": ("incremental", "complete"),
        "night_2": ("incremental", "complete"),
        "weekly": ("full", "complete"),
    }
    for name in names:
        assert vault_runs.succeed(second, "Verify", {"backup_name": name, "level": "deep"})["status"] == "intact"
    for name in ("night_2", "weekly"):
        try:
            vault_runs.restore(second, {"backup_name": name, "rename": {f"{DATABASE}.*": f"of_{name}.*"}})
            assert library.look(stack.milvus_uri, f"of_{name}") == contents
        finally:
            library.drop(stack.milvus_uri, f"of_{name}")
    # A prune there deletes what no backup there lists any more, and nothing else.
    vault_runs.succeed(second, "Prune", {"backup_names": ["night_1"]})
    assert vault_runs.succeed(second, "Verify", {"backup_name": "night_2"})["status"] == "intact"
