"""The copy machine's handlers, from event to result, on moto."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from copy_batch.handler import handler as copy_batch_handler
from moto import mock_aws
from mypy_boto3_s3 import S3Client
from plan_copy.handler import handler as plan_copy_handler
from verify_copy.handler import handler as verify_copy_handler

from local.aws import Ministack
from milvus_vault import runtime
from milvus_vault.adapters import s3_direct
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.backup.working_files import PLAN
from milvus_vault.copying.working_files import CopyTarget, write_job, write_target
from milvus_vault.errors import (
    BackupDamagedError,
    BackupExistsError,
    CopyUnfinishedError,
    InvalidRequestError,
    SettingsError,
)
from milvus_vault.model.messages import MAX_ROUNDS
from milvus_vault.model.names import attempt_of
from milvus_vault.model.objects import CopyItem, CopyJob
from milvus_vault.runtime import LambdaHandler
from milvus_vault.workspace import Workspace
from tests.support.lambda_context import Invocation, LateInvocation
from tests.support.privilege import within_role
from tests.support.verified import read_verified
from tests.template.loading import functions
from tests.unit.archive.samples import sample_contents, write_backup
from tests.unit.test_prepare import plan_of

type Event = dict[str, Any]

# What the roles of the template do not allow fails here.
plan_copy, copy_batch, verify_copy = map(within_role, (plan_copy_handler, copy_batch_handler, verify_copy_handler))

# Not every invocation has something to count.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "BACKUP_BUCKET_NAME": "backups",
    "BACKUP_PREFIX": "team",
    "MILVUS_BUCKET_NAME": "milvus",
    "MILVUS_ROOT_PATH": "files",
    "STAGING_PREFIX": "staging",
    "COPY_BATCH_OBJECTS": "2",
    "COPY_THREADS": "4",
}
ROUND: Event = {"run": "backup-nightly", "attempt": "a1", "round": 1}
VERIFY: Event = ROUND | {"purpose": "backup"}
BATCH: Event = {"run": "backup-nightly", "batch": "copy/a1/r1/batch-0.jsonl"}
DONE = {"copied_count": 2, "missing_count": 0, "changed_count": 0, "copied_bytes": 10, "error": ""}
FOLDER = "team/nightly/binlogs/insert_log/1/"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that the template gives the functions."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(runtime.metrics, "namespace", "MilvusVault")  # read when it was imported


@pytest.fixture
def s3(environment: None) -> Iterator[S3Client]:  # noqa: ARG001 - fixtures are asked for by name
    """Two buckets, and a job of one target with five objects."""
    with mock_aws():
        yield filled()


def filled() -> S3Client:
    """Make the buckets and the job, and return a client."""
    session = boto3.session.Session()
    client: S3Client = session.client("s3")
    for bucket in ("milvus", "backups"):
        client.create_bucket(Bucket=bucket)
        # A server that tests share may have them, with what another test has copied.
        session.resource("s3").Bucket(bucket).objects.all().delete()
    run = workspace()
    items = []
    for number in range(5):
        key = f"files/insert_log/1/{number}"
        etag = client.put_object(Bucket="milvus", Key=key, Body=b"12345")["ETag"].strip('"')
        items.append(CopyItem(key, f"{FOLDER}{number}", 5, etag))
    write_target(run, "a1", CopyTarget(index=0, name="default.a", folders=(FOLDER,)), items)
    write_job(run, "a1", CopyJob(source_bucket="milvus", destination_bucket="backups"))
    # Without collections that were captured: nothing of them can be doubted.
    run.write(PLAN, plan_of("second").model_copy(update={"backup_name": "nightly"}))
    return client


def workspace() -> Workspace:
    """Return the run's working files."""
    return Workspace(S3ObjectStore.connect(), "backups", "team", "backup-nightly")


@pytest.mark.usefixtures("s3")
def test_plan_copy_verify() -> None:
    plan = plan_copy(ROUND, Invocation())
    copied = [copy_batch(BATCH | {"batch": f"copy/a1/r1/batch-{n}.jsonl"}, Invocation()) for n in range(3)]
    verified = verify_copy(VERIFY, Invocation())

    assert plan == {
        "status": "copy",
        "next": None,
        "bucket": "backups",
        "batches_key": "team/.runs/backup-nightly/copy/a1/r1/batches.json",
        "batch_count": 3,
        "object_count": 5,
        "size_bytes": 25,
        "present_object_count": 0,
        "present_size_bytes": 0,
    }
    assert copied == [DONE, DONE, DONE | {"copied_count": 1, "copied_bytes": 5}]
    assert verified == {"status": "complete", "incomplete_count": 0, "next": {"number": 2, "batches": []}}
    assert set(read_verified(workspace(), "a1", 0)) == {f"{FOLDER}{number}" for number in range(5)}


@pytest.mark.usefixtures("environment")
def test_copies_by_the_client_that_the_template_names(ministack: Ministack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPY_CLIENT", functions()["CopyBatchFunction"]["Environment"]["Variables"]["COPY_CLIENT"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", ministack.url)
    answers: list[bool] = []
    read = s3_direct._result

    def read_and_count(body: bytes) -> dict[str, str]:
        found = read(body)
        answers.append(bool(found))
        return found

    monkeypatch.setattr(s3_direct, "_result", read_and_count)
    client = filled()
    client.put_object(Bucket="milvus", Key="files/insert_log/1/3", Body=b"54321")
    client.delete_object(Bucket="milvus", Key="files/insert_log/1/4")

    plan_copy(ROUND, Invocation())
    copied = [copy_batch(BATCH | {"batch": f"copy/a1/r1/batch-{n}.jsonl"}, Invocation()) for n in range(3)]

    assert answers == [True] * 3
    assert copied == [
        DONE,
        DONE | {"copied_count": 1, "changed_count": 1, "copied_bytes": 5},
        DONE | {"copied_count": 0, "missing_count": 1, "copied_bytes": 0},
    ]


def test_sends_a_target_round_again_whose_source_vanished(s3: S3Client) -> None:
    plan_copy(ROUND, Invocation())
    s3.delete_object(Bucket="milvus", Key="files/insert_log/1/0")
    for number in range(3):
        copy_batch(BATCH | {"batch": f"copy/a1/r1/batch-{number}.jsonl"}, Invocation())

    verified = verify_copy(VERIFY, Invocation())

    assert verified == {"status": "again", "incomplete_count": 1, "next": {"number": 2, "batches": [0]}}


def test_gives_up_after_the_last_round(s3: S3Client) -> None:
    last = ROUND | {"round": MAX_ROUNDS}
    plan_copy(last, Invocation())
    s3.delete_object(Bucket="milvus", Key="files/insert_log/1/0")

    verified = verify_copy(last | {"purpose": "backup"}, Invocation())

    assert isinstance(verified, dict)
    assert verified["status"] == "exhausted"


def test_refuses_to_restore_where_the_backups_objects_vanish(s3: S3Client) -> None:
    plan_copy(ROUND, Invocation())
    s3.delete_object(Bucket="milvus", Key="files/insert_log/1/0")
    for number in range(3):
        copy_batch(BATCH | {"batch": f"copy/a1/r1/batch-{number}.jsonl"}, Invocation())

    with pytest.raises(BackupDamagedError, match="vanished or changed"):
        verify_copy(ROUND | {"purpose": "restore"}, Invocation())


@pytest.mark.parametrize("somebody", ["nobody", "this run", "somebody else"])
def test_deletes_what_does_not_belong_unless_somebody_else_published_it(s3: S3Client, somebody: str) -> None:
    surplus, layout, run = f"{FOLDER}surplus", BackupLayout("team", "nightly"), workspace()
    plan_copy(ROUND, Invocation())
    s3.put_object(Bucket="backups", Key=surplus, Body=b"")
    # The claim is this attempt's by its absence, as in the tests above.
    if somebody != "nobody":
        manifest = write_backup(run.store, layout, sample_contents(layout))
        if somebody == "this run":
            job = CopyJob(source_bucket="milvus", destination_bucket="backups")
            write_job(run, attempt_of(manifest.execution_arn), job)
    if somebody == "somebody else":
        with pytest.raises(BackupExistsError, match="'nightly' exists already"):
            verify_copy(VERIFY, Invocation())
    else:
        verify_copy(VERIFY, Invocation())
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="backups", Prefix=FOLDER).get("Contents", [])]
    assert (surplus in keys) == (somebody == "somebody else")


@pytest.mark.usefixtures("s3")
def test_goes_on_where_an_invocation_ran_out_of_time() -> None:
    plan_copy(ROUND, Invocation())

    with pytest.raises(CopyUnfinishedError, match="2 of 2 objects"):
        copy_batch(BATCH, LateInvocation())

    assert copy_batch(BATCH, Invocation()) == DONE


@pytest.fixture
def small(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> S3Client:
    """The same, in one batch."""
    monkeypatch.setenv("COPY_BATCH_OBJECTS", "1000")
    return s3


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("purpose", ["backup", "restore", "export"])
def test_a_small_round_is_copied_and_verified_at_once(purpose: str) -> None:
    plan = plan_copy(ROUND | {"purpose": purpose}, Invocation())

    assert isinstance(plan, dict)
    assert (plan["status"], plan["next"]) == ("complete", {"number": 2, "batches": []})
    assert (plan["batch_count"], plan["object_count"]) == (1, 5)
    assert set(read_verified(workspace(), "a1", 0)) == {f"{FOLDER}{number}" for number in range(5)}
    # As a machine that began before it was told what for, or whose function died.
    again = [plan_copy(event, Invocation()) for event in (ROUND, ROUND | {"purpose": purpose})]
    assert [found["status"] for found in again if isinstance(found, dict)] == ["verify", "verify"]


@pytest.mark.parametrize(
    ("number", "status", "following"),
    [
        (1, "again", {"number": 2, "batches": [0]}),
        (MAX_ROUNDS, "exhausted", {"number": MAX_ROUNDS + 1, "batches": [0]}),
    ],
)
def test_at_once_a_target_whose_source_vanished_goes_round_again_as_often_as_by_steps(
    small: S3Client, number: int, status: str, following: Event
) -> None:
    small.delete_object(Bucket="milvus", Key="files/insert_log/1/0")

    plan = plan_copy(ROUND | {"round": number, "purpose": "backup"}, Invocation())

    assert isinstance(plan, dict)
    assert (plan["status"], plan["next"]) == (status, following)


def test_at_once_a_restore_is_refused_where_the_backups_objects_vanish(small: S3Client) -> None:
    small.delete_object(Bucket="milvus", Key="files/insert_log/1/0")

    with pytest.raises(BackupDamagedError, match="vanished or changed"):
        plan_copy(ROUND | {"purpose": "restore"}, Invocation())


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("why", ["there is no time", "it is not wanted"])
def test_a_small_round_is_left_to_the_steps(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    context = LateInvocation() if why == "there is no time" else Invocation()
    if why == "it is not wanted":
        monkeypatch.setenv("COPY_AT_ONCE_OBJECTS", "0")

    plan = plan_copy(ROUND | {"purpose": "backup"}, context)

    assert isinstance(plan, dict)
    assert (plan["status"], plan["batch_count"]) == ("copy", 1)
    copied = copy_batch(BATCH, Invocation())
    assert copied == DONE | {"copied_count": 5, "copied_bytes": 25}
    verified = verify_copy(VERIFY, Invocation())
    assert isinstance(verified, dict)
    assert verified["status"] == "complete"


def test_at_once_what_does_not_belong_is_deleted_unless_somebody_else_published_it(small: S3Client) -> None:
    surplus, layout, run = f"{FOLDER}surplus", BackupLayout("team", "nightly"), workspace()
    small.put_object(Bucket="backups", Key=surplus, Body=b"")
    write_backup(run.store, layout, sample_contents(layout))

    with pytest.raises(BackupExistsError, match="'nightly' exists already"):
        plan_copy(ROUND | {"purpose": "backup"}, Invocation())

    assert small.head_object(Bucket="backups", Key=surplus)["ContentLength"] == 0


EVENTS = [(plan_copy, ROUND), (copy_batch, BATCH), (verify_copy, VERIFY)]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("handler", "event"), EVENTS)
def test_names_an_environment_variable_that_is_missing(
    handler: LambdaHandler, event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BACKUP_BUCKET_NAME")

    with pytest.raises(SettingsError, match="BACKUP_BUCKET_NAME"):
        handler(event, Invocation())


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("handler", "event"), EVENTS)
def test_refuses_a_field_that_it_does_not_know(handler: LambdaHandler, event: Event) -> None:
    with pytest.raises(InvalidRequestError, match="force: unknown field"):
        handler(event | {"force": True}, Invocation())


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("handler", "event"), EVENTS)
def test_refuses_a_request_without_a_run(handler: LambdaHandler, event: Event) -> None:
    with pytest.raises(InvalidRequestError, match="run"):
        handler({name: value for name, value in event.items() if name != "run"}, Invocation())
