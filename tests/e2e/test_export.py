"""Exports of incremental backups of a real Milvus: full ones, which need nothing of what they are made of."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pymilvus import MilvusClient

from local.stack import LocalStack
from tests.support import library, vault_runs
from tests.support.api_calls import call
from tests.support.killing import kill_inside, read_machine, tasks

DATABASE = "exported_books"
_MORE = range(1000, 1020)


def request(name: str, of: str = "export_source") -> dict[str, Any]:
    return {"backup_name": of, "export_name": name}


def keys(stack: LocalStack, folder: str) -> list[str]:
    """Return the keys of what lies below the backup prefix."""
    listed = vault_runs.listing(stack, stack.outputs["BackupBucketName"], f"{stack.outputs['BackupPrefix']}/{folder}")
    return [*listed]


def manifest(stack: LocalStack, name: str) -> dict[str, Any]:
    """Return the manifest of a backup."""
    key = f"{stack.outputs['BackupPrefix']}/{name}/meta/vault/manifest.json"
    body = stack.client("s3").get_object(Bucket=stack.outputs["BackupBucketName"], Key=key)["Body"].read()
    found: dict[str, Any] = json.loads(body)
    return found


@pytest.fixture(scope="module")
def contents(stack: LocalStack) -> Iterator[library.Contents]:
    """Make two incremental backups, of which the second shares most objects with the first; return what it has."""
    library.fill(stack.milvus_uri, DATABASE)
    incremental = {"collections": [f"{DATABASE}.*"], "mode": "incremental"}
    vault_runs.succeed(stack, "Backup", {"backup_name": "export_older", **incremental})
    client = MilvusClient(stack.milvus_uri, db_name=DATABASE)
    client.insert("drafts", library.rows(_MORE))
    client.flush("drafts")
    client.close()
    vault_runs.succeed(stack, "Backup", {"backup_name": "export_source", **incremental})
    yield library.look(stack.milvus_uri, DATABASE)
    library.drop(stack.milvus_uri, DATABASE)


def test_an_export_is_restored_row_for_row_where_all_that_it_was_made_of_is_gone(
    stack: LocalStack, contents: library.Contents
) -> None:
    source = request("export_copied", of="export_before")
    vault_runs.succeed(
        stack, "Backup", {"backup_name": "export_before", "collections": [f"{DATABASE}.*"], "mode": "incremental"}
    )
    output = vault_runs.succeed(stack, "Export", source)
    assert (output["backup_name"], output["status"], output["collection_count"]) == ("export_copied", "complete", 2)
    vault_runs.succeed(stack, "Prune", {"backup_names": ["export_before"]})

    assert vault_runs.succeed(stack, "Verify", {"backup_name": "export_copied"})["status"] == "intact"
    assert len(keys(stack, "export_copied/binlogs/")) == output["object_count"]
    try:
        vault_runs.restore(stack, {"backup_name": "export_copied", "rename": {f"{DATABASE}.*": "of_export.*"}})
        assert library.look(stack.milvus_uri, "of_export") == contents
    finally:
        library.drop(stack.milvus_uri, "of_export")


@pytest.mark.usefixtures("contents")
def test_the_api_starts_one_and_tells_of_it(stack: LocalStack) -> None:
    started = call(stack.deployment.api_url, "POST", "/exports", request("export_told"))
    assert started.status == 202, started.text
    stack.wait(started.json["execution_arn"], vault_runs.TIMEOUT_SECONDS)

    run = call(stack.deployment.api_url, "GET", f"/runs/{started.json['id']}").json
    assert (run["kind"], run["status"], run["backup_name"]) == ("export", "succeeded", "export_source")
    assert run["export_name"] == "export_told"
    assert [(found["name"], found["status"]) for found in run["collections"]] == [("books", "done"), ("drafts", "done")]
    assert run["progress"]["objects_done"] == run["result"]["object_count"] > 0
    assert run["report_url"]
    told = call(stack.deployment.api_url, "GET", "/backups/export_told").json
    behind_the_first = len(told["failures"]) + len(told["warnings"]) + 1
    rest = call(stack.deployment.api_url, "GET", f"/backups/export_told?limit=1&token={behind_the_first}").json
    assert (rest["collections"], rest["next_token"]) == (told["collections"][1:], None)
    source = call(stack.deployment.api_url, "GET", "/backups/export_source").json
    assert (told["mode"], told["export_of"], told["run"]) == ("full", "export_source", run["id"])
    assert [told[name] for name in ("created_at", "finished_at", "moment", "source", "row_count", "object_count")] == [
        source[name] for name in ("created_at", "finished_at", "moment", "source", "row_count", "object_count")
    ]
    diff = call(stack.deployment.api_url, "GET", "/backups/export_source/diff/export_told").json
    assert (diff["differing_count"], diff["objects"]["only_in_a"]["object_count"]) == (0, 0)
    taken = call(stack.deployment.api_url, "POST", "/exports", request("export_told"))
    assert (taken.status, taken.json["error"]) == (409, "BackupExistsError")


@pytest.mark.usefixtures("contents")
def test_what_cannot_be_exported_fails_by_name_and_leaves_nothing(stack: LocalStack) -> None:
    gone = vault_runs.fail(stack, "Export", request("export_never", of="export_gone"))
    assert gone.error == "BackupNotFoundError"
    itself = vault_runs.fail(stack, "Export", request("export_source"))
    assert (itself.error, "`export_name`" in itself.cause) == ("InvalidRequestError", True)
    taken = vault_runs.fail(stack, "Export", request("export_older"))
    assert taken.error == "BackupExistsError"
    assert keys(stack, "export_never/") == []


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(task, marks=[] if task == "CopyObjects" else [pytest.mark.thorough])
        for task in tasks(read_machine("export"))
    ],
)
@pytest.mark.usefixtures("contents")
def test_one_that_was_stopped_is_completed_by_the_next(stack: LocalStack, task: str) -> None:
    name = f"export_{task}"
    function = kill_inside(stack.deployment, "Export", task, request(name))

    output = vault_runs.succeed(stack, "Export", request(name))

    function.result()
    assert output["status"] == "complete"
    found, source = manifest(stack, name), manifest(stack, "export_source")
    assert (found["object_count"], found["size_bytes"]) == (source["object_count"], source["size_bytes"])
    assert vault_runs.succeed(stack, "Verify", {"backup_name": name})["status"] == "intact"
