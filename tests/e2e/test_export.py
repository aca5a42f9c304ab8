"""Exports of incremental backups of a real Milvus: full ones, which need nothing of what they are made of."""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymilvus import MilvusClient

from local.stack import LocalStack
from milvus_vault.archive.check import check_objects
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.reader import read_archive, read_manifest, read_objects
from tests.support import library, vault_runs
from tests.support.api_calls import call
from tests.support.killing import kill_inside, read_machine, tasks
from tests.support.vault_runs import EXPORTS

DATABASE = "exported_books"
_MORE = range(1000, 1020)


ARCHIVE = "export-archive"


def request(name: str, of: str = "export_source", **more: Any) -> dict[str, Any]:
    return {"backup_name": of, "export_name": name, **more}


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
    assert "kind" in run, run
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
def test_one_to_another_prefix_has_there_what_the_backup_has_and_is_none_here(stack: LocalStack) -> None:
    run = vault_runs.run(stack, "Export", request("export_source", to={"prefix": f"{EXPORTS}/team"}))

    bucket, prefix = stack.outputs["BackupBucketName"], stack.outputs["BackupPrefix"]
    there, here = BackupLayout(f"{EXPORTS}/team", "export_source"), BackupLayout(prefix, "export_source")
    assert run.output["location"] == f"s3://{bucket}/{there.root}"
    store = vault_runs.local_store(stack)
    found, source = (read_archive(store, bucket, layout) for layout in (there, here))
    for exported, original in zip(found.collections, source.collections, strict=True):
        objects = read_objects(store, bucket, there, exported)
        assert not check_objects(store, bucket, there, exported, objects).is_damaged
        originals = {item.source_key: item for item in read_objects(store, bucket, here, original)}
        assert {item.source_key for item in objects} == originals.keys()
        for item in objects:
            assert store.get(bucket, item.stored_key) == store.get(bucket, originals[item.source_key].stored_key)
    # Nothing beside its folder, as the claim of its name.
    listed = vault_runs.listing(stack, bucket, f"{EXPORTS}/team/")
    assert [key for key in listed if not key.startswith(there.root)] == []
    # The list has the original alone, and what is told of the run has no report of another backup of the name.
    backups = call(stack.deployment.api_url, "GET", "/backups").json["items"]
    assert [found["mode"] for found in backups if found["name"] == "export_source"] == ["incremental"]
    told = call(stack.deployment.api_url, "GET", f"/runs/export-{run.execution}").json
    assert (told["result"]["location"], told["report_url"]) == (run.output["location"], None)
    assert [(one["name"], one["status"]) for one in told["collections"]] == [("books", "done"), ("drafts", "done")]

    taken = vault_runs.fail(stack, "Export", request("export_source", to={"prefix": f"{EXPORTS}/team"}))
    assert taken.error == "BackupExistsError"


def test_one_to_another_bucket_is_listed_restored_and_deleted_by_a_deployment_that_is_there(
    stack: LocalStack, contents: library.Contents
) -> None:
    stack.client("s3").create_bucket(Bucket=ARCHIVE)
    # It has the backups of the first one.
    exporter = stack.deploy(
        "exporter",
        stack.milvus,
        {"BackupBucketName": stack.outputs["BackupBucketName"], "ExportBucketName": ARCHIVE},
    )
    archive = stack.deploy("archive", stack.milvus, {"BackupBucketName": ARCHIVE, "BackupPrefix": EXPORTS})

    output = vault_runs.succeed(exporter, "Export", request("export_source", to={"bucket": ARCHIVE}))

    assert output["location"] == f"s3://{ARCHIVE}/{EXPORTS}/export_source/"
    (listed,) = call(archive.api_url, "GET", "/backups").json["items"]
    assert (listed["name"], listed["mode"], listed["object_count"]) == ("export_source", "full", output["object_count"])
    assert vault_runs.succeed(archive, "Verify", {"backup_name": "export_source"})["status"] == "intact"
    try:
        vault_runs.restore(archive, {"backup_name": "export_source", "rename": {f"{DATABASE}.*": "of_archive.*"}})
        assert library.look(stack.milvus_uri, "of_archive") == contents
    finally:
        library.drop(stack.milvus_uri, "of_archive")
    assert vault_runs.succeed(archive, "Prune", {"backup_names": ["export_source"]})["deleted_count"] == 1
    left = vault_runs.listing(stack, ARCHIVE, f"{EXPORTS}/")
    assert [key for key in left if "/.runs/" not in key] == []


@pytest.mark.usefixtures("contents")
def test_a_place_to_which_nothing_may_go_is_refused_by_name(stack: LocalStack) -> None:
    prefix = stack.outputs["BackupPrefix"]
    for to, words in (
        ({"bucket": "export-nowhere"}, "ExportBucketName"),
        ({"prefix": f"{prefix}/.pool"}, "to.prefix"),
        ({"prefix": prefix}, "ExportPrefix"),
    ):
        refused = vault_runs.fail(stack, "Export", request("export_source", to=to))
        assert (refused.error, words in refused.cause) == ("InvalidRequestError", True), refused.cause
    refused_at_once = call(
        stack.deployment.api_url, "POST", "/exports", request("export_source", to={"prefix": prefix})
    )
    assert (refused_at_once.status, refused_at_once.json["error"]) == (400, "InvalidRequestError")


@pytest.mark.usefixtures("contents")
def test_one_to_another_prefix_that_was_stopped_is_completed_by_the_next(stack: LocalStack) -> None:
    asked = request("export_stopped", to={})
    function = kill_inside(stack.deployment, "Export", "CopyObjects", asked)

    output = vault_runs.succeed(stack, "Export", asked)

    function.result()
    bucket, there = stack.outputs["BackupBucketName"], BackupLayout(EXPORTS, "export_stopped")
    found, source = read_manifest(vault_runs.local_store(stack), bucket, there), manifest(stack, "export_source")
    assert found is not None
    assert (found.object_count, found.size_bytes) == (source["object_count"], source["size_bytes"])
    assert output["location"] == f"s3://{bucket}/{there.root}"
    assert not vault_runs.listing(stack, bucket, f"{EXPORTS}/.runs/")


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
        pytest.param(task, marks=[] if task in {"PlanCopy", "CopyObjects"} else [pytest.mark.thorough])
        for task in tasks(read_machine("export"))
        if task != "WriteBatches"
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


@pytest.mark.parametrize("task", [pytest.param("PrepareExport", marks=pytest.mark.thorough), "WriteBatches"])
def test_a_dataset_whose_run_was_stopped_is_completed_by_the_next(
    stack: LocalStack, contents: library.Contents, task: str
) -> None:
    asked = request("export_source", format="parquet", to={"prefix": f"{EXPORTS}/{task}"})
    function = kill_inside(stack.deployment, "Export", task, asked)

    started = call(stack.deployment.api_url, "POST", "/exports", asked)
    stack.wait(started.json["execution_arn"], vault_runs.TIMEOUT_SECONDS)

    function.result()
    run = call(stack.deployment.api_url, "GET", f"/runs/{started.json['id']}").json
    assert (run["status"], run["progress"]["objects_done"]) == ("succeeded", run["result"]["object_count"])
    assert [(found["name"], found["status"]) for found in run["collections"]] == [("books", "done"), ("drafts", "done")]
    assert run["report_url"] is None
    bucket = stack.outputs["BackupBucketName"]
    for name, expected in contents.rows.items():
        files = vault_runs.dataset_files(stack, run["result"]["location"], f"{DATABASE}.{name}")
        rows = pa.concat_tables(pq.read_table(pa.BufferReader(body)) for body in files).to_pylist()
        assert sorted(f"{row['id']:04} {row['title']} {row['vector']}" for row in rows) == list(expected)
    # Nothing beside its folder, and no claim in it; it is no backup.
    listed = vault_runs.listing(stack, bucket, f"{EXPORTS}/{task}/")
    assert {key.split("/")[-2] for key in listed} == {"export_source", f"{DATABASE}.books", f"{DATABASE}.drafts"}
    assert not [key for key in listed if key.endswith("claim.json")]
    taken = vault_runs.fail(stack, "Export", asked)
    assert (taken.error, run["result"]["location"] in taken.cause) == ("DatasetExistsError", True)


@pytest.mark.usefixtures("contents")
def test_a_dataset_beside_the_backups_is_none_of_them(stack: LocalStack) -> None:
    asked = request("meta", format="parquet", collections=[f"{DATABASE}.drafts"])
    output = vault_runs.succeed(stack, "Export", asked)
    assert (output["format"], output["collection_count"], output["row_count"]) == ("parquet", 1, len(range(30)) + 20)
    written = keys(stack, ".datasets/meta/")
    assert len(written) == 2
    names = {found["name"] for found in call(stack.deployment.api_url, "GET", "/backups").json["items"]}
    assert "export_source" in names
    assert not names & {"meta", ".datasets"}
    vault_runs.succeed(stack, "Prune", {})
    assert keys(stack, ".datasets/meta/") == written
    absent = vault_runs.fail(stack, "Export", request("none", format="parquet", collections=[f"{DATABASE}.absent"]))
    assert absent.error == "CollectionNotFoundError"
    assert keys(stack, ".datasets/none/") == []
