"""Backups are deleted by policy and by name, and what ended runs left behind is swept; the rest stays."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.stack import Deployment, LocalStack
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.archive.sealing import seal
from milvus_vault.archive.tombstones import Tombstone, tombstone_key
from milvus_vault.catalogue import Catalogue
from milvus_vault.model.names import export_elsewhere_run
from milvus_vault.model.resources import Hold
from milvus_vault.retention.working_files import Swept
from tests.support import library, vault_runs
from tests.support.killing import GatedMachine, kill
from tests.support.sweeping import sweep
from tests.support.vault_runs import EXPORTS, listing

DATABASE, STAGING = "kept_books", "retention-staging"
KEEP_ONE = {"name": "nightly", "timezone": "Europe/Berlin", "retention": {"keep_last": 1}}
# As the schedule was before it had a policy: then no prune follows a backup.
KEEP_ALL = {"name": "nightly"}


@pytest.fixture(scope="module")
def deployment(stack: LocalStack) -> Iterator[Deployment]:
    """Deploy a stack of its own, with a schedule that keeps one backup, and fill a database."""
    library.fill(stack.milvus_uri, DATABASE)
    deployment = stack.deploy("retention", stack.milvus, {"StagingPrefix": STAGING})
    stack.client("scheduler").create_schedule(
        GroupName="retention",
        Name="nightly",
        ScheduleExpression="cron(0 3 * * ? 2199)",
        ScheduleExpressionTimezone="Europe/Berlin",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": deployment.outputs["BackupStateMachineArn"],
            "RoleArn": "arn:aws:iam::000000000000:role/unused",
            "Input": json.dumps({"schedule": KEEP_ONE}),
        },
    )
    yield deployment
    library.drop(stack.milvus_uri, DATABASE)


@pytest.fixture
def store(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> S3ObjectStore:
    """Return the emulated S3, to which the environment leads for the time of a test, as to all of AWS."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", deployment.ministack.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return S3ObjectStore.connect()


@pytest.fixture
def catalogue(deployment: Deployment, store: S3ObjectStore) -> Catalogue:
    """Return the catalogue of the deployment."""
    return Catalogue(store, deployment.outputs["BackupBucketName"], deployment.outputs["BackupPrefix"])


def back_up(deployment: Deployment, name: str, **more: Any) -> dict[str, Any]:
    """Back up the database, without its rows where nothing else is asked for."""
    request = {"backup_name": name, "collections": [f"{DATABASE}.*"], "meta_only": True, **more}
    return vault_runs.succeed(deployment, "Backup", request)


def prune(deployment: Deployment, **request: Any) -> dict[str, Any]:
    """Run a prune that must succeed, and return its report."""
    return vault_runs.report(deployment, vault_runs.succeed(deployment, "Prune", {"sweep": False, **request}))


def prune_at(deployment: Deployment, time: datetime) -> dict[str, Any]:
    """Run a prune that takes a time for that of its start, and return its report."""
    its_start, given = '"started_at.$": "$$.Execution.StartTime"', f'"started_at": "{time.isoformat()}"'
    moved = GatedMachine(deployment, "Prune", [], substitutions={its_start: given})
    ended = deployment.wait(moved.start({"sweep": False}))
    assert ended["status"] == "SUCCEEDED", ended
    return vault_runs.report(deployment, json.loads(ended["output"]))


def keys(deployment: Deployment, name: str) -> list[str]:
    """Return the keys of everything that there is of a backup, but for what prunes say of it."""
    bucket, prefix = deployment.outputs["BackupBucketName"], deployment.outputs["BackupPrefix"]
    folders = (f"{prefix}/{name}/", f"{prefix}/.catalogue/", f"{prefix}/.runs/backup-{name}/")
    return [key for folder in folders for key in listing(deployment, bucket, folder) if name in key]


def names(catalogue: Catalogue) -> set[str]:
    """Return the names of all backups. Their order says nothing: several may begin within one second."""
    return {item.name for item in catalogue.list(100, None).items}


def test_a_policy_deletes_what_a_dry_run_has_said_and_nothing_else(
    deployment: Deployment, catalogue: Catalogue
) -> None:
    for name in ("night_1", "night_2", "night_3"):
        back_up(deployment, name, schedule=KEEP_ALL)
    back_up(deployment, "by_hand")
    before = keys(deployment, "night_1")

    dry = prune(deployment, dry_run=True)

    assert names(catalogue) == {"by_hand", "night_3", "night_2", "night_1"}
    assert keys(deployment, "night_1") == before
    assert {decision["name"]: decision["reason"] for decision in dry["decisions"]} == {
        "night_3": "kept: the newest complete one of its schedule",
        "night_2": "deleted: not among the last 1 and no other rule keeps it",
        "night_1": "deleted: not among the last 1 and no other rule keeps it",
        "by_hand": "kept: it belongs to no schedule and has no expiry",
    }

    done = prune(deployment)

    assert done["decisions"] == dry["decisions"]
    assert names(catalogue) == {"by_hand", "night_3"}
    assert keys(deployment, "night_1") + keys(deployment, "night_2") == []
    assert {name: found.name for name, found in catalogue.newest_complete({"nightly"}).items()} == {
        "nightly": "night_3"
    }


def test_a_scheduled_backup_is_followed_by_a_prune(deployment: Deployment, catalogue: Catalogue) -> None:
    back_up(deployment, "followed_1", schedule=KEEP_ONE)
    back_up(deployment, "followed_2", schedule=KEEP_ONE)
    end = time.monotonic() + 60
    while "followed_1" in names(catalogue) and time.monotonic() < end:
        time.sleep(0.3)

    assert "followed_1" not in names(catalogue)
    assert "followed_2" in names(catalogue)


def test_a_backup_that_has_expired_is_deleted_and_one_that_has_not_stays(
    deployment: Deployment, catalogue: Catalogue
) -> None:
    back_up(deployment, "expires_soon", expire_after="1m")
    back_up(deployment, "expires_late", expire_after="30d")
    late = catalogue.get("expires_late")
    soon = catalogue.get("expires_soon")

    assert soon.expires_at == soon.created_at + timedelta(minutes=1)
    assert late.expires_at == late.created_at + timedelta(days=30)
    prune_at(deployment, soon.expires_at - timedelta(seconds=1))
    assert {"expires_soon", "expires_late"} <= names(catalogue)

    prune_at(deployment, soon.expires_at + timedelta(seconds=1))
    assert "expires_soon" not in names(catalogue)
    assert "expires_late" in names(catalogue)


def test_deleting_by_name_is_refused_where_one_is_held_or_not_there(
    deployment: Deployment, catalogue: Catalogue
) -> None:
    back_up(deployment, "held")
    back_up(deployment, "free")
    catalogue.place_hold("held", Hold(reason="audit"), "arn:aws:iam::1:user/ann")

    held = vault_runs.fail(deployment, "Prune", {"backup_names": ["free", "held"]})
    unknown = vault_runs.fail(deployment, "Prune", {"backup_names": ["free", "unknown"]})

    assert (held.error, unknown.error) == ("BackupHeldError", "BackupNotFoundError")
    assert "audit" in held.cause
    assert {"held", "free"} <= names(catalogue)
    catalogue.lift_hold("held")
    prune(deployment, backup_names=["held", "free"])
    assert not {"held", "free"} & names(catalogue)


def test_a_backup_is_not_deleted_while_a_restore_reads_it_and_not_restored_while_it_is_deleted(
    deployment: Deployment, catalogue: Catalogue
) -> None:
    back_up(deployment, "read", meta_only=False)
    request = {"backup_name": "read", "suffix": "_reading", "allow_version": True}
    gated = GatedMachine(deployment, "Restore", ["after PrepareRestore"])
    restore = gated.start(request)
    arrival = gated.arrival(restore)

    refused = vault_runs.fail(deployment, "Prune", {"backup_names": ["read"]})

    assert refused.error == "BackupInUseError"
    assert restore in refused.cause
    assert "read" in names(catalogue)
    gated.stop(restore, arrival)
    kill(deployment, "Prune", "after CarryOutPrune", {"backup_names": ["read"]})
    assert vault_runs.fail(deployment, "Restore", request).error == "BackupNotFoundError"


def test_a_deletion_that_was_killed_is_completed_by_the_next_prune(
    deployment: Deployment, catalogue: Catalogue, store: S3ObjectStore
) -> None:
    back_up(deployment, "cut_short", meta_only=False)
    # What CarryOutPrune leaves behind when it dies among the objects.
    kill(deployment, "Prune", "before CarryOutPrune", {"backup_names": ["cut_short"]})
    bucket, prefix = deployment.outputs["BackupBucketName"], deployment.outputs["BackupPrefix"]
    tombstone = Tombstone(backup_name="cut_short", execution_arn="killed", since=datetime.now(UTC), is_decided=True)
    store.put(bucket, tombstone_key(prefix, "cut_short"), seal(tombstone))
    some = [key for key in keys(deployment, "cut_short") if "/binlogs/" in key][::2]
    store.delete(bucket, [f"{prefix}/cut_short/meta/backup_meta.json", *some])
    assert "cut_short" not in names(catalogue)

    report = prune(deployment)

    assert ["cut_short", "deleted"] in [[o["name"], o["status"]] for o in report["outcomes"]]
    assert keys(deployment, "cut_short") == []


def test_two_prunes_at_once_do_each_other_no_harm(deployment: Deployment, catalogue: Catalogue) -> None:
    for name in ("twice_1", "twice_2", "twice_3"):
        back_up(deployment, name, schedule=KEEP_ALL)

    ended = vault_runs.run_all(deployment, "Prune", {"a": {"sweep": False}, "b": {"sweep": False}})

    assert {item.status for item in ended.values()} == {"SUCCEEDED"}
    assert {name for name in names(catalogue) if name.startswith("twice")} == {"twice_3"}


def test_a_sweep_removes_what_dead_runs_left_once_it_is_old_and_leaves_backups_and_running_ones(
    deployment: Deployment, catalogue: Catalogue
) -> None:
    back_up(deployment, "whole", meta_only=False)
    outputs, milvus_bucket = deployment.outputs, deployment.milvus.bucket
    bucket, prefix = outputs["BackupBucketName"], outputs["BackupPrefix"]
    whole = dict(listing(deployment, bucket, f"{prefix}/whole/").items())
    request = {"collections": [f"{DATABASE}.*"], "backup_name": "dead"}
    kill(deployment, "Backup", "after CopyObjects", request)
    kill(deployment, "Export", "after CopyObjects", {"backup_name": "whole", "export_name": "left", "to": {}})
    assert listing(deployment, bucket, f"{EXPORTS}/left/binlogs/")
    left = export_elsewhere_run(bucket, EXPORTS, "left")
    restoring = {"backup_name": "whole", "suffix": "_dead", "allow_version": True}
    kill(deployment, "Restore", "after VerifyCopy", restoring)
    gated = GatedMachine(deployment, "Restore", ["after VerifyCopy"])
    running = gated.start({**restoring, "suffix": "_running"})
    arrival = gated.arrival(running)
    owned = {
        key
        for place in (bucket, milvus_bucket)
        for key in listing(deployment, place)
        if f"{STAGING}/restore-whole" in key or "_running" in key
    }
    upload = deployment.ministack.client("s3").create_multipart_upload(Bucket=bucket, Key=f"{prefix}/dead/binlogs/1")
    foreign = deployment.ministack.client("s3").create_multipart_upload(Bucket=bucket, Key="other/1")

    def sweep_after(days: int) -> Swept:
        return sweep(deployment, STAGING, now=datetime.now(UTC) + timedelta(days=days))

    assert sweep_after(0).object_count == 0
    assert vault_runs.succeed(deployment, "Prune", {})["swept_objects"] == 0
    noted = sweep_after(8)
    assert (set(noted.quarantined), noted.upload_count) == ({"dead", left}, 1)
    assert not {"backup-dead", left} & {*noted.runs}
    assert {"backup-dead", left} <= {*sweep_after(16).runs}
    gone = (f"{prefix}/dead/", f"{EXPORTS}/left/", f"{EXPORTS}/.runs/backup-left/")
    assert [listing(deployment, bucket, folder) for folder in gone] == [{}, {}, {}]
    assert listing(deployment, bucket, f"{prefix}/whole/") == whole
    claim = gated_run(deployment, running)
    staged = {key.split("/")[1] for key in listing(deployment, milvus_bucket, f"{STAGING}/")}
    assert staged == {"claims", claim}
    assert {key for key in owned if claim in key} <= listing(deployment, milvus_bucket).keys() | listing(
        deployment, bucket
    ).keys()
    uploads = deployment.ministack.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert [found["UploadId"] for found in uploads] == [foreign["UploadId"]] != [upload["UploadId"]]
    gated.stop(running, arrival)
    assert "whole" in names(catalogue)


def gated_run(deployment: Deployment, execution_arn: str) -> str:
    """Return the run that an execution works on."""
    outputs = deployment.outputs
    key = f"{outputs['BackupPrefix']}/.runs/executions/{execution_arn.rpartition(':')[2]}.json"
    answer = deployment.ministack.client("s3").get_object(Bucket=outputs["BackupBucketName"], Key=key)
    record: dict[str, str] = json.loads(answer["Body"].read())
    return record["run"]
