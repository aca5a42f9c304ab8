"""Locked backups of a real Milvus, in a bucket that got Object Lock when it was there already."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pymilvus import MilvusClient

from local.stack import LocalStack
from tests.support import library, vault_runs
from tests.support.api_calls import call

DATABASE = "locked_books"
COLLECTIONS = [f"{DATABASE}.*"]
_MORE = range(1000, 1020)


def request(name: str, days: int, mode: str = "full") -> dict[str, Any]:
    return {"backup_name": name, "collections": COLLECTIONS, "mode": mode, "lock": {"days": days}}


@pytest.fixture(scope="module")
def _collections(stack: LocalStack) -> Iterator[None]:
    library.fill(stack.milvus_uri, DATABASE)
    yield
    library.drop(stack.milvus_uri, DATABASE)


@pytest.fixture(scope="module")
def bucket(stack: LocalStack, _collections: None) -> str:
    """Give the backup bucket Object Lock, after a backup was refused that asked for a lock."""
    name: str = stack.outputs["BackupBucketName"]
    failure = vault_runs.fail(stack, "Backup", request("locked_never", 3))
    assert failure.error == "BucketNotLockableError"
    assert name in failure.cause
    assert not vault_runs.listing(stack, name, f"{stack.outputs['BackupPrefix']}/locked_never/")
    stack.client("s3").put_object_lock_configuration(
        Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
    )
    return name


def locks(stack: LocalStack, bucket: str, keys: list[str]) -> set[tuple[str, datetime]]:
    """Return how objects are locked."""
    s3 = stack.client("s3")
    found = (s3.get_object_retention(Bucket=bucket, Key=key)["Retention"] for key in keys)
    return {(retention["Mode"], retention["RetainUntilDate"]) for retention in found}


def stored(stack: LocalStack, name: str) -> list[str]:
    """Return the keys of all that a backup is made of."""
    root = f"{stack.outputs['BackupPrefix']}/{name}/"
    documents = vault_runs.listing(stack, stack.outputs["BackupBucketName"], root)
    s3, keys = stack.client("s3"), set(documents)
    for key in documents:
        if "/meta/vault/objects/" in key:
            body = s3.get_object(Bucket=stack.outputs["BackupBucketName"], Key=key)["Body"].read()
            keys |= {json.loads(line)[0] for line in body.splitlines()}
    return sorted(keys)


def test_a_locked_backup_is_kept_by_s3_and_by_us_and_its_lock_is_proven(stack: LocalStack, bucket: str) -> None:
    output = vault_runs.succeed(stack, "Backup", request("locked_full", 3))

    until = datetime.fromisoformat(output["locked_until"])
    assert timedelta(days=2, hours=23) < until - datetime.now(UTC) < timedelta(days=3)
    keys = stored(stack, "locked_full")
    assert locks(stack, bucket, keys) == {("GOVERNANCE", until)}
    told = call(stack.deployment.api_url, "GET", "/backups/locked_full").json
    assert told["lock"] == {"mode": "governance", "until": output["locked_until"]}

    refused = call(stack.deployment.api_url, "DELETE", "/backups/locked_full")
    assert (refused.status, refused.json["error"]) == (409, "BackupLockedError")
    assert f"until {until:%Y-%m-%d %H:%M:%S} UTC" in refused.json["detail"]
    failure = vault_runs.fail(stack, "Prune", {"backup_names": ["locked_full"]})
    assert failure.error == "BackupLockedError"

    found = vault_runs.succeed(stack, "Verify", {"backup_name": "locked_full", "level": "deep"})
    assert (found["status"], found["locked_count"]) == ("intact", output["object_count"])

    s3 = stack.client("s3")
    log = next(key for key in keys if "/binlogs/" in key)
    version = s3.head_object(Bucket=bucket, Key=log)["VersionId"]
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=bucket, Key=log, VersionId=version)
    # Anybody who may delete can hide it. So it is found missing, and is back once the delete marker is gone.
    hidden = s3.delete_object(Bucket=bucket, Key=log)
    failure = vault_runs.fail(stack, "Verify", {"backup_name": "locked_full"})
    assert failure.error == "BackupDamagedError"
    s3.delete_object(Bucket=bucket, Key=log, VersionId=hidden["VersionId"])
    assert vault_runs.succeed(stack, "Verify", {"backup_name": "locked_full"})["status"] == "intact"


def test_incremental_backups_extend_the_locks_of_what_they_share(stack: LocalStack, bucket: str) -> None:
    first = vault_runs.succeed(stack, "Backup", request("locked_1", 4, "incremental"))
    assert locks(stack, bucket, stored(stack, "locked_1")) == {
        ("GOVERNANCE", datetime.fromisoformat(first["locked_until"]))
    }
    client = MilvusClient(stack.milvus_uri, db_name=DATABASE)
    client.insert("drafts", library.rows(_MORE))
    client.flush("drafts")
    client.close()

    second = vault_runs.succeed(stack, "Backup", request("locked_2", 40, "incremental"))

    assert 0 < second["copied_object_count"] < second["object_count"]
    until = datetime.fromisoformat(second["locked_until"])
    assert until - datetime.fromisoformat(first["locked_until"]) > timedelta(days=30)
    assert locks(stack, bucket, stored(stack, "locked_2")) == {("GOVERNANCE", until)}
    third = vault_runs.succeed(stack, "Backup", request("locked_3", 4, "incremental"))
    assert third["copied_object_count"] == 0
    # A shorter lock leaves those that are longer as they are.
    pooled = [key for key in stored(stack, "locked_3") if "/.pool/" in key]
    assert locks(stack, bucket, pooled) == {("GOVERNANCE", until)}
    for name in ("locked_1", "locked_2", "locked_3"):
        found = vault_runs.succeed(stack, "Verify", {"backup_name": name, "level": "checksum"})
        assert (found["status"], found["locked_count"]) == ("intact", found["object_count"])
