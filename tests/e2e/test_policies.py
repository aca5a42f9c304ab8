"""The functions' own roles suffice, and are enforced."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from pymilvus import DataType, MilvusClient

from local.milvus import ROOT_CREDENTIALS, Milvus
from local.stack import Deployment, LocalStack
from tests.support.html_page import Page
from tests.support.killing import by_steps
from tests.support.vault_runs import fail, restore, succeed

ROWS = 120


@pytest.fixture(scope="module")
def milvus(stack: LocalStack) -> Milvus:
    """Return a Milvus that asks for a password, with two collections, one of them loaded."""
    milvus = stack.add_milvus("guarded", "files", authorization=True)
    client = _client(milvus)
    for name in ("books", "pens"):
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
        client.create_collection(name, schema=schema, num_shards=1)
        index = client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="L2")
        client.create_index(name, index)
        client.insert(name, [{"id": i, "vector": [i, 1.0, 2.0, 3.0]} for i in range(ROWS)])
        client.flush(name)
    client.load_collection("books")
    client.delete("books", ids=[1, 2, 3])
    return milvus


@pytest.fixture(scope="module")
def deployment(stack: LocalStack, milvus: Milvus) -> Deployment:
    """Deploy the template for that Milvus."""
    return stack.deploy("guarded", milvus)


def test_a_backup_and_a_restore_need_no_more_than_the_functions_roles(deployment: Deployment, milvus: Milvus) -> None:

    backup = succeed(deployment, "Backup", {"backup_name": "guarded"})
    output = restore(deployment, {"backup_name": "guarded", "suffix": "_back"})

    assert (backup["status"], backup["collection_count"]) == ("complete", 2)
    assert (output["status"], output["row_count"]) == ("complete", ROWS - 3 + ROWS)
    counted = _client(milvus).query("books_back", "", output_fields=["count(*)"])
    assert counted[0]["count(*)"] == ROWS - 3

    bucket, prefix = deployment.outputs["BackupBucketName"], "milvus-vault"
    pages = [f"{prefix}/guarded/meta/vault/report.html", output["report_key"].removesuffix(".json") + ".html"]
    for key in pages:
        found = deployment.ministack.client("s3").get_object(Bucket=bucket, Key=key)
        assert found["ContentType"] == "text/html; charset=utf-8"
        page = Page(found["Body"].read())
        assert sorted(row[0].splitlines()[0] for row in page.tables[1].rows[1:-1]) == ["default.books", "default.pens"]


def test_a_check_a_repair_and_a_prune_need_no_more_than_the_functions_roles(deployment: Deployment) -> None:
    succeed(deployment, "Backup", {"backup_name": "checked"})

    assert succeed(deployment, "Verify", {"backup_name": "checked"})["status"] == "intact"
    s3, bucket = deployment.ministack.client("s3"), deployment.outputs["BackupBucketName"]
    for lost in ("meta/backup_meta.json", "meta/vault/manifest.json"):
        s3.delete_object(Bucket=bucket, Key=f"milvus-vault/checked/{lost}")
        repaired = succeed(deployment, "Verify", {"backup_name": "checked", "repair": True})
        assert (repaired["status"], len(repaired["mended"])) == ("intact", 1), repaired
    # Nothing proves a manifest that was made anew: a hold keeps the backup until somebody has looked at it.
    s3.delete_object(Bucket=bucket, Key="milvus-vault/.catalogue/holds/checked.json")
    assert succeed(deployment, "Prune", {})["failed_count"] == 0
    assert succeed(deployment, "Prune", {"backup_names": ["checked"]})["deleted_count"] == 1


def test_a_backup_whose_copies_are_made_by_steps_needs_no_more_than_the_functions_roles(deployment: Deployment) -> None:
    with by_steps(deployment):
        assert succeed(deployment, "Backup", {"backup_name": "stepped"})["status"] == "complete"

    assert succeed(deployment, "Prune", {"backup_names": ["stepped"]})["deleted_count"] == 1


@pytest.mark.parametrize(
    ("function", "statement"),
    [
        ("PlanCopy", "WriteCopies"),
        ("CopyBatch", "WriteCopies"),
        ("PublishBackup", "WriteMetadata"),
        ("PrepareBackup", "ListMilvusData"),
    ],
)
def test_without_a_statement_access_is_denied_by_name(deployment: Deployment, function: str, statement: str) -> None:
    way = by_steps(deployment) if function == "CopyBatch" else nullcontext()
    with way, _without(deployment, function, statement):
        failure = fail(deployment, "Backup", {"collections": ["default.pens"]})

    assert failure.error == "StorageAccessDeniedError", failure
    assert "Hint:" in failure.cause


@contextmanager
def _without(deployment: Deployment, function: str, sid: str) -> Iterator[None]:
    """Take one statement for a while from what a deployed function's role may do."""
    resource = deployment.ministack.client("cloudformation").describe_stack_resource(
        StackName=deployment.stack_name, LogicalResourceId=f"{function}FunctionRole"
    )
    role = resource["StackResourceDetail"]["PhysicalResourceId"]
    iam = deployment.ministack.client("iam")
    policies = {
        name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    }
    ((name, whole),) = (
        (name, policy)
        for name, policy in policies.items()
        if sid in {statement.get("Sid") for statement in policy["Statement"]}
    )

    def put(document: Mapping[str, Any]) -> None:
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))

    put(whole | {"Statement": [statement for statement in whole["Statement"] if statement.get("Sid") != sid]})
    try:
        yield
    finally:
        put(whole)


def _client(milvus: Milvus) -> MilvusClient:
    return MilvusClient(milvus.uri, user=ROOT_CREDENTIALS["username"], password=ROOT_CREDENTIALS["password"])
