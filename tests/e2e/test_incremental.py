"""Incremental backups of a real Milvus: what they copy, that each is whole by itself, and that kills cost nothing."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from pymilvus import MilvusClient

from local.stack import LocalStack
from tests.support import library, vault_runs
from tests.support.api_calls import call
from tests.support.killing import kill_inside, read_machine, tasks

DATABASE = "shared_books"
# StartPrune is for schedules with a policy.
TASKS = [task for task in tasks(read_machine("backup")) if task != "StartPrune"]
_MORE = range(1000, 1020)


class Made(NamedTuple):
    """Three backups: the second of what the first had, the third of more rows."""

    before: library.Contents
    after: library.Contents
    outputs: list[dict[str, Any]]
    estimate: dict[str, Any]
    """What the third was to take, before it was made."""


def request(name: str) -> dict[str, Any]:
    return {"backup_name": name, "collections": [f"{DATABASE}.*"], "mode": "incremental"}


def manifest(stack: LocalStack, name: str) -> dict[str, Any]:
    """Return the manifest of a backup."""
    key = f"{stack.outputs['BackupPrefix']}/{name}/meta/vault/manifest.json"
    body = stack.client("s3").get_object(Bucket=stack.outputs["BackupBucketName"], Key=key)["Body"].read()
    found: dict[str, Any] = json.loads(body)
    return found


def keys(stack: LocalStack, folder: str) -> list[str]:
    """Return the keys of what lies below the backup prefix."""
    listed = vault_runs.listing(stack, stack.outputs["BackupBucketName"], f"{stack.outputs['BackupPrefix']}/{folder}")
    return [*listed]


@pytest.fixture(scope="module")
def made(stack: LocalStack) -> Iterator[Made]:
    library.fill(stack.milvus_uri, DATABASE)
    before = library.look(stack.milvus_uri, DATABASE)
    outputs = [vault_runs.succeed(stack, "Backup", request(name)) for name in ("shared_1", "shared_2")]
    client = MilvusClient(stack.milvus_uri, db_name=DATABASE)
    client.insert("drafts", library.rows(_MORE))
    client.flush("drafts")
    client.close()
    estimate = call(stack.deployment.api_url, "POST", "/estimate", {"backup": request("shared_3")}).json
    outputs.append(vault_runs.succeed(stack, "Backup", request("shared_3")))
    yield Made(before, library.look(stack.milvus_uri, DATABASE), outputs, estimate)
    library.drop(stack.milvus_uri, DATABASE)


def test_only_what_is_new_is_copied(stack: LocalStack, made: Made) -> None:
    first, second, third = (manifest(stack, f"shared_{number}") for number in (1, 2, 3))
    assert first["copied_object_count"] == first["object_count"] == second["object_count"]
    assert second["copied_object_count"] == 0
    assert 0 < third["copied_object_count"] < first["object_count"]
    assert [output["status"] for output in made.outputs] == ["complete"] * 3
    assert keys(stack, ".pool/.users/") == []


def test_an_estimate_says_what_the_next_one_then_copies(stack: LocalStack, made: Made) -> None:
    third, estimate = manifest(stack, "shared_3"), made.estimate["incremental"]
    assert estimate["copied_object_count"] == estimate["copy_requests"] == third["copied_object_count"]
    assert estimate["copied_size_bytes"] == third["copied_size_bytes"]
    assert made.estimate["object_count"] == third["object_count"]
    assert estimate["request_cost_usd"] < made.estimate["request_cost_usd"]


@pytest.mark.parametrize("number", [1, 3])
def test_each_is_restored_by_itself(stack: LocalStack, made: Made, number: int) -> None:
    target = f"of_shared_{number}"
    try:
        vault_runs.restore(stack, {"backup_name": f"shared_{number}", "rename": {f"{DATABASE}.*": f"{target}.*"}})
        assert library.look(stack.milvus_uri, target) == (made.before if number == 1 else made.after)
    finally:
        library.drop(stack.milvus_uri, target)


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(task, marks=[] if task in {"SnapshotBatch", "PublishBackup"} else [pytest.mark.thorough])
        for task in TASKS
    ],
)
@pytest.mark.usefixtures("made")
def test_one_that_was_stopped_is_completed_by_the_next(stack: LocalStack, task: str) -> None:
    name = f"shared_{task}"
    function = kill_inside(stack.deployment, "Backup", task, request(name))

    output = vault_runs.succeed(stack, "Backup", request(name))

    function.result()
    assert output["status"] == "complete"
    found, expected = manifest(stack, name), manifest(stack, "shared_3")
    assert (found["object_count"], found["copied_object_count"]) == (expected["object_count"], 0)
    assert vault_runs.succeed(stack, "Verify", {"backup_name": name})["status"] == "intact"


@pytest.mark.usefixtures("made")
def test_the_others_stay_whole_where_one_is_deleted(stack: LocalStack) -> None:
    vault_runs.succeed(stack, "Backup", request("shared_gone"))
    vault_runs.succeed(stack, "Prune", {"backup_names": ["shared_gone"], "sweep": True})
    assert keys(stack, "shared_gone/") == []
    for number in (1, 3):
        assert vault_runs.succeed(stack, "Verify", {"backup_name": f"shared_{number}"})["status"] == "intact"
