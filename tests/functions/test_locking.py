"""Locked exports and what follows, each function within its role, on an S3 that knows Object Lock: moto does not."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from check_objects.handler import handler as check_objects
from mypy_boto3_s3 import S3Client
from plan_prune.handler import handler as plan_prune
from publish_backup.handler import handler as publish_backup
from verify_backup.handler import handler as verify_backup

import milvus_vault.backup.locking
from milvus_vault import runtime
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.pool import parse_pooled_key
from milvus_vault.errors import BackupLockedError
from milvus_vault.model.locks import ObjectLock
from tests.functions.test_privileges import ENVIRONMENT, do_export, execution, keys, run, store, stored
from tests.support.lambda_context import LateInvocation
from tests.support.quick_aws import QuickAws
from tests.unit.archive.samples import BUCKET, PREFIX, sample_contents, write_backup

NIGHT, EXPORTED = BackupLayout(PREFIX, "night"), BackupLayout(PREFIX, "exported")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Client]:
    """Buckets with Object Lock, and an incremental backup."""
    with QuickAws() as server:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": server.url}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(runtime.metrics, "namespace", "MilvusVault")
        client = server.client()
        for bucket in (BUCKET, "milvus", "archive"):
            client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
        contents = [(document, [stored(item, is_pooled=True) for item in o]) for document, o in sample_contents(NIGHT)]
        write_backup(store(), NIGHT, contents, mode="incremental")
        yield client


def test_an_export_is_locked_proven_mended_and_not_deleted(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    step = do_export(s3, {"backup_name": "night", "export_name": "exported", "lock": {"days": 9}})
    # A function that is short of time has not published, and leaves the rest to the next one.
    assert run(publish_backup, step, LateInvocation) == {"is_done": False, "published": None}
    assert EXPORTED.marker not in keys(s3)
    monkeypatch.setattr(milvus_vault.backup.locking, "_BATCH", 7)
    done = run(publish_backup, step)
    assert done["is_done"]
    until = datetime.fromisoformat(done["published"]["locked_until"])
    locks = {store().lock_of(BUCKET, key) for key in keys(s3) if key.startswith(EXPORTED.root)}
    assert {lock.until if lock else None for lock in locks} == {until}

    check = {"execution": execution("verify", "v"), "request": {"backup_name": "exported", "level": "checksum"}}
    planned = run(verify_backup, check)
    for batch in json.loads(s3.get_object(Bucket=BUCKET, Key=planned["batches_key"])["Body"].read()):
        run(check_objects, {"run": planned["run"], **batch})
    found = run(verify_backup, {**check, "check_count": 1})
    assert (found["status"], found["locked_count"]) == ("intact", done["published"]["object_count"])

    s3.delete_object(Bucket=BUCKET, Key=EXPORTED.manifest)
    prune = {"execution": execution("prune", "p"), "request": {"backup_names": ["exported"]}}
    with pytest.raises(BackupLockedError):
        run(plan_prune, prune)
    repair = {"execution": execution("verify", "w"), "request": {"backup_name": "exported", "repair": True}}
    assert run(verify_backup, repair)["mended"]
    lock = store().lock_of(BUCKET, EXPORTED.manifest)
    assert lock is not None
    assert lock.until == until
    with pytest.raises(BackupLockedError):
        run(plan_prune, prune)


@pytest.mark.parametrize("to", [{}, {"bucket": "archive", "prefix": "exports/team"}])
def test_one_to_another_place_is_locked_there(s3: S3Client, to: dict[str, str]) -> None:
    step = do_export(s3, {"backup_name": "night", "export_name": "night", "to": to, "lock": {"days": 9}})
    published = run(publish_backup, step)["published"]
    bucket, _, root = published["location"].removeprefix("s3://").partition("/")
    locks = {store().lock_of(bucket, key) for key in keys(s3, bucket) if key.startswith(root)}
    assert {lock.until if lock else None for lock in locks} == {datetime.fromisoformat(published["locked_until"])}


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("to", [{}, {"bucket": BUCKET, "prefix": "exports/team"}])
def test_a_copy_is_locked_as_its_original(
    s3: S3Client, to: dict[str, str], mode: Literal["full", "incremental"]
) -> None:
    lock = ObjectLock(mode="governance", until=datetime.now(UTC).replace(microsecond=0) + timedelta(days=9))
    is_pooled = mode == "incremental"
    contents = [(document, [stored(item, is_pooled=is_pooled) for item in o]) for document, o in sample_contents(NIGHT)]
    write_backup(store(), NIGHT, contents, mode=mode, format_version=3, lock=lock)
    request = {"backup_name": "night", "export_name": "night", "is_copy": True, "to": to}
    step = do_export(s3, request)
    assert run(publish_backup, step, LateInvocation) == {"is_done": False, "published": None}
    published = run(publish_backup, step)["published"]
    bucket, _, root = published["location"].removeprefix("s3://").partition("/")
    prefix = root.removesuffix("night/")
    pooled = [key for key in keys(s3, bucket) if key.startswith(prefix) and parse_pooled_key(key)]
    assert bool(pooled) == is_pooled
    own = [key for key in keys(s3, bucket) if key.startswith(root)]
    assert {store().lock_of(bucket, key) for key in (*own, *pooled)} == {lock}
