"""What the functions ask of S3 when they verify, repair, export, prune, sweep and watch is within their roles, on moto.

Those that back up and restore are held against their roles wherever they run: see tests/support/restoring.py.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Self, override

import boto3
import carry_out_prune.handler
import pytest
import record_failure.handler
import tend_pauses.handler
import watch_schedules.handler
from check_objects.handler import handler as check_objects
from copy_batch.handler import handler as copy_batch
from moto import mock_aws
from mypy_boto3_s3 import S3Client
from plan_copy.handler import handler as plan_copy
from plan_prune.handler import handler as plan_prune
from prepare_export.handler import handler as prepare_export
from publish_backup.handler import handler as publish_backup
from verify_backup.handler import handler as verify_backup
from verify_copy.handler import handler as verify_copy
from write_rows.handler import handler as write_rows

from milvus_vault import runtime
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.archive.check import check_objects as compare_objects
from milvus_vault.archive.layout import BackupLayout, log_of
from milvus_vault.archive.pool import PooledKey, PoolLayout, group_of
from milvus_vault.archive.reader import read_archive, read_objects
from milvus_vault.archive.tombstones import tombstone_key
from milvus_vault.backup.pauses import Pauses
from milvus_vault.backup.working_files import RBAC
from milvus_vault.catalogue import Catalogue
from milvus_vault.catalogue.describe import summary_of
from milvus_vault.claims import CLAIM, Claim
from milvus_vault.errors import (
    BackupDamagedError,
    MilvusRequestError,
    MilvusUnavailableError,
    StorageAccessDeniedError,
    VaultError,
)
from milvus_vault.execution_records import record_execution
from milvus_vault.inspection.check import Deployment, check_deployment
from milvus_vault.model.messages import Execution
from milvus_vault.model.names import attempt_of
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.rbac import Rbac
from milvus_vault.model.requests import ScheduleTag
from milvus_vault.model.resources import Damage, Hold, RunKind
from milvus_vault.model.retention import Retention
from milvus_vault.pool.doubts import Doubt, PoolDoubts
from milvus_vault.retention.working_files import SWEPT, PruneReport, Swept
from milvus_vault.runs.describing import WorkingFiles
from milvus_vault.source import MilvusStorage
from milvus_vault.workspace import Workspace
from tests.support.lambda_context import Invocation, LateInvocation
from tests.support.privilege import guarded, read_batches, within_role
from tests.unit.archive import samples
from tests.unit.archive.samples import BUCKET, PREFIX, golden_files, sample_contents, write_backup

type Json = dict[str, Any]

NOW = datetime.now(UTC)
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "BACKUP_BUCKET_NAME": BUCKET,
    "BACKUP_PREFIX": PREFIX,
    "MILVUS_BUCKET_NAME": "milvus",
    "MILVUS_ROOT_PATH": "files",
    "STAGING_PREFIX": "staging",
    "EXPORT_BUCKET_NAME": "archive",
    "EXPORT_PREFIX": "exports",
    "SCHEDULE_GROUP": "default",
    "SCHEDULE_ROLE_ARN": "arn:aws:iam::123456789012:role/schedule",
    "BACKUP_STATE_MACHINE_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:vault-backup",
    "DRILL_STATE_MACHINE_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:vault-drill",
    "DEAD_LETTER_QUEUE_ARN": "arn:aws:sqs:us-east-1:123456789012:dead",
    "STACK_NAME": "vault",
    "ALARM_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:alarms",
    "KEEP_WORKING_FILES_DAYS": "7",
}
NIGHTLY = ScheduleTag(name="nightly", retention=Retention(keep_last=1))
BOOKS, PENS = BackupLayout(PREFIX, "books"), BackupLayout(PREFIX, "pens")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Client]:
    """Two backups of a schedule, the newer one `pens`, each with its entry in the catalogue."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(runtime.metrics, "namespace", "MilvusVault")
    with mock_aws():
        client: S3Client = boto3.session.Session().client("s3")
        for bucket in (BUCKET, "milvus", "archive"):
            client.create_bucket(Bucket=bucket)
        for days, layout in ((2, BOOKS), (1, PENS)):
            write(layout, NOW - timedelta(days=days))
        yield client


def store() -> S3ObjectStore:
    """Return the store of the tests; a function has the same one, and is told from it by when it calls."""
    return S3ObjectStore.shared()


def write(layout: BackupLayout, begun: datetime) -> None:
    """Write a backup with its objects."""
    contents = sample_contents(layout)
    manifest = write_backup(
        store(),
        layout,
        contents,
        schedule=NIGHTLY,
        started_at=begun,
        finished_at=begun,
        expires_at=begun + timedelta(hours=36),
    )
    Catalogue(store(), BUCKET, PREFIX).publish(summary_of(manifest))


def arn(kind: str, name: str) -> str:
    """Return the ARN of an execution that Step Functions does not know any more."""
    return f"arn:aws:states:us-east-1:123456789012:execution:vault-{kind}:{name}"


def execution(kind: str, name: str) -> Json:
    """Return what a machine tells its first function of the execution."""
    return {"arn": arn(kind, name), "started_at": NOW.isoformat()}


def workspace(run: str) -> Workspace:
    """Return working files."""
    return Workspace(store(), BUCKET, PREFIX, run)


def run(handler: Any, event: Json, invocation: type[Invocation] = Invocation) -> Json:
    """Run a handler within its role."""
    result: Json = within_role(handler)(event, invocation())
    return result


def keys(s3: S3Client, bucket: str = BUCKET) -> list[str]:
    """Return all keys of a bucket."""
    return [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.mark.parametrize("lost", [[BOOKS.marker], [BOOKS.manifest], [BOOKS.marker, BOOKS.manifest]])
@pytest.mark.parametrize("was_claimed", [True, False])
def test_a_repair(s3: S3Client, lost: list[str], *, was_claimed: bool) -> None:
    if was_claimed:
        workspace("backup-books").write(
            CLAIM, Claim(execution_arn=arn("backup", "a"), run="backup-books", claimed_at=NOW)
        )
    for key in lost:
        s3.delete_object(Bucket=BUCKET, Key=key)

    request = {"backup_name": "books", "repair": True}
    found = run(verify_backup, {"execution": execution("verify", "v"), "request": request})

    assert len(found["mended"]) == 1
    assert {BOOKS.marker, BOOKS.manifest} <= {*keys(s3)}


def test_a_repair_of_a_flipped_marker_replaces_it(s3: S3Client) -> None:
    body = bytearray(s3.get_object(Bucket=BUCKET, Key=BOOKS.marker)["Body"].read())
    s3.put_object(Bucket=BUCKET, Key=BOOKS.marker, Body=bytes([body[0] ^ 1, *body[1:]]))

    request = {"backup_name": "books", "repair": True}
    run(verify_backup, {"execution": execution("verify", "v"), "request": request})

    assert s3.get_object(Bucket=BUCKET, Key=BOOKS.marker)["Body"].read() == bytes(body)


def prune(request: Json) -> Json:
    """Prune, and return the end."""
    plan = run(plan_prune, {"execution": execution("prune", "p"), "request": request})
    end = run(carry_out_prune.handler.handler, {"run": plan["run"]})
    assert end["is_done"]
    return end


def test_a_prune_whose_paces_cannot_be_written_has_its_report(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise StorageAccessDeniedError("the paces may not be written")

    monkeypatch.setattr(carry_out_prune.handler, "remember_paces", refuse)
    with pytest.raises(StorageAccessDeniedError):
        prune({"backup_names": ["books"]})
    (report,) = (key for key in keys(s3) if "/reports/" in key)
    deleted = PruneReport.model_validate_json(s3.get_object(Bucket=BUCKET, Key=report)["Body"].read())
    assert [(outcome.name, outcome.status) for outcome in deleted.outcomes] == [("books", "deleted")]


def test_a_prune_by_name_deletes_all_that_there_is_of_a_backup(s3: S3Client) -> None:
    restoring = Claim(execution_arn=arn("restore", "r"), run="restore-books-1a2b", claimed_at=NOW)
    workspace("restore-books-1a2b").write(CLAIM, restoring)
    workspace("backup-books").write_bytes("collections/a/0.json", b"{}")
    Catalogue(store(), BUCKET, PREFIX).note_damage(Damage(name="books", problem="it rots", found_at=NOW))

    end = prune({"backup_names": ["books"]})
    assert (end["deleted_count"], end["freed_bytes"]) == (1, None)

    assert [key for key in keys(s3) if "books" in key and "/restore-" not in key] == []


def test_a_prune_by_policy_notes_damage_and_lifts_a_tombstone(s3: S3Client) -> None:
    s3.put_object(Bucket=BUCKET, Key=tombstone_key(PREFIX, "pens"), Body=b"{}")
    write(BackupLayout(PREFIX, "rotten"), NOW - timedelta(days=3))
    s3.delete_object(Bucket=BUCKET, Key=BackupLayout(PREFIX, "rotten").marker)
    Catalogue(store(), BUCKET, PREFIX).note_damage(Damage(name="gone", problem="it rots", found_at=NOW))

    assert prune({})["deleted_count"] == 1

    assert tombstone_key(PREFIX, "pens") not in keys(s3)
    assert [note.name for note in Catalogue(store(), BUCKET, PREFIX).damages()] == ["rotten"]


@pytest.mark.parametrize(("layout", "noted"), [(BOOKS, []), (PENS, ["pens"])])
def test_a_prune_reads_in_lists_what_was_found_damaged(s3: S3Client, layout: BackupLayout, noted: list[str]) -> None:
    """Of what it deletes, too."""
    begun = NOW - timedelta(days=2 if layout == BOOKS else 1)
    contents = [(document, [stored(item, is_pooled=True) for item in o]) for document, o in sample_contents(layout)]
    times: Json = {"started_at": begun, "finished_at": begun, "expires_at": begun + timedelta(hours=36)}
    write_backup(store(), layout, contents, mode="incremental", schedule=NIGHTLY, **times)
    doubt = Doubt(problem="its rows are others", found_at=NOW, found_by="first", listed_by=("first",))
    PoolDoubts(store(), BUCKET, PREFIX).change({contents[0][1][0].stored_key: doubt}, {})

    assert prune({})["deleted_count"] == 1

    assert BOOKS.marker not in keys(s3)
    assert [note.name for note in Catalogue(store(), BUCKET, PREFIX).damages()] == noted


def test_a_prune_that_runs_short_of_time_tells_what_is_done_and_goes_on(s3: S3Client) -> None:
    plan = run(plan_prune, {"execution": execution("prune", "p"), "request": {}})

    short = run(carry_out_prune.handler.handler, {"run": plan["run"]}, LateInvocation)

    assert (short["is_done"], short["deleted_count"]) == (False, 0)
    assert short["report_key"] in keys(s3)
    assert BOOKS.marker in keys(s3)
    end = run(carry_out_prune.handler.handler, {"run": plan["run"]})
    assert (end["is_done"], end["deleted_count"]) == (True, 1)
    assert BOOKS.marker not in keys(s3)


@pytest.mark.parametrize("request_", [{"dry_run": True}, {"sweep": False}, {"backup_names": ["books"]}])
def test_only_a_prune_that_is_asked_to_sweep_sweeps(s3: S3Client, request_: Json) -> None:
    prune(request_)
    assert not [key for key in keys(s3) if key.endswith("/swept.json")]


def test_a_prune_tells_what_it_deleted_of_the_pool_and_what_waits(s3: S3Client) -> None:
    plan = run(plan_prune, {"execution": execution("prune", "p"), "request": {}})
    # As of a call that ran short of time.
    swept = Swept(pool_object_count=3, pool_size_bytes=30, pool_waiting=("a-1",), pool_reasons=("b runs",))
    workspace(plan["run"]).write(SWEPT, swept)
    s3.put_object(Bucket=BUCKET, Key=f"{PoolLayout(PREFIX).users}backup-a/1.json", Body=b"")

    end = run(carry_out_prune.handler.handler, {"run": plan["run"]})

    told = {name: end[name] for name in end if name.startswith("pool_")}
    assert told == {
        "pool_object_count": 3,
        "pool_size_bytes": 30,
        "pool_waiting_count": 1,
        "pool_reasons": ["b runs"],
    }
    report = WorkingFiles(store(), BUCKET, PREFIX).prune_report(arn("prune", "p"))
    assert report["swept"]["pool_reasons"] == ["b runs"]


@pytest.mark.usefixtures("s3")
def test_a_dry_run_tells_what_would_be_freed() -> None:
    end = prune({"dry_run": True})
    told = WorkingFiles(store(), BUCKET, PREFIX).prune_report(arn("prune", "p"))["freed"]
    assert [backup["name"] for backup in told["backups"]] == ["books"]
    assert (end["freed_object_count"], end["freed_bytes"]) == (told["object_count"], told["size_bytes"])
    assert end["deleted_bytes"] == end["freed_bytes"] > 0


def test_a_held_backup_stays(s3: S3Client) -> None:
    Catalogue(store(), BUCKET, PREFIX).place_hold("books", Hold(reason="audit"), "me")

    assert prune({})["deleted_count"] == 0

    assert BOOKS.marker in keys(s3)


class Later(datetime):
    """Half a year on, when whatever was left may be swept."""

    @classmethod
    @override
    def now(cls, tz: tzinfo | None = None) -> Self:
        """Return the time."""
        return cls.fromtimestamp((datetime.now(tz) + timedelta(days=180)).timestamp(), tz)


def test_a_sweep_removes_runs_records_staged_objects_claims_and_catalogue_files(
    s3: S3Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = run(plan_prune, {"execution": execution("prune", "p"), "request": {}})
    old = [
        ".runs/backup-old/backup.json",
        ".runs/restore-old/collections/0/finished.json",
        *(f".runs/{kind}-old/{CLAIM}" for kind in ("verify", "prune", "export", "drill")),
        *(f".runs/{kind}/old.json" for kind in ("executions", "failures", "reports", "checks")),
        *(
            f".catalogue/{kind}/gone_old.json"
            for kind in ("holds", "verifications", "drills", "deleting", "orphans", "damage")
        ),
        ".catalogue/backups/9999999998.old.-.json",
        "old/binlogs/insert_log/1/2/3/3/4/5",
        "old/meta/vault/collections/1.json",
        "older/binlogs/delta_log/1/2/3/3/4",
    ]
    claim = Claim(execution_arn=arn("restore", "r"), run="restore-old", claimed_at=NOW).model_dump_json().encode()
    for key in old:
        s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{key}", Body=claim)
    for key in ("claims/1a2b/default/books.json", "restore-old/1/insert_log/2", "restore-gone/1/insert_log/2"):
        s3.put_object(Bucket="milvus", Key=f"staging/{key}", Body=claim)
    s3.create_multipart_upload(Bucket=BUCKET, Key=f"{PREFIX}/books/binlogs/insert_log/9")
    s3.create_multipart_upload(Bucket="milvus", Key="staging/restore-old/1/insert_log/9")
    assert run(carry_out_prune.handler.handler, {"run": plan["run"]})["is_done"]
    for _ in range(2):
        monkeypatch.setattr(carry_out_prune.handler, "datetime", Later)
        assert run(carry_out_prune.handler.handler, {"run": plan["run"]})["is_done"]

    left = {key.removeprefix(f"{PREFIX}/") for key in keys(s3)}
    assert {key for key in left if "old" in key} == set()
    assert keys(s3, "milvus") == []
    # The policy keeps the newest.
    assert PENS.marker in keys(s3)
    assert BOOKS.marker not in keys(s3)


def test_who_watches_remembers_what_was_told(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(watch_schedules.handler, "publish", lambda _, notification: told.append(notification))
    catalogue = Catalogue(store(), BUCKET, PREFIX)
    catalogue.note_damage(Damage(name="books", problem="it rots", found_at=NOW))
    catalogue.forget("pens")  # a list takes it in again
    s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}/.catalogue/overdue/gone.json", Body=b"{}")
    s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}/.catalogue/backups/9999999998.gone.-.json", Body=b"{}")

    run(watch_schedules.handler.handler, {})

    assert len(told) == 1
    assert not [key for key in keys(s3) if "gone" in key]


class Collector:
    """A Milvus whose garbage collection can be paused."""

    def pause(self, seconds: int) -> str:
        """Return a ticket."""
        return f"ticket-{seconds}"

    def resume(self, ticket: str) -> None:
        """Take any ticket."""


class Deaf(Collector):
    """A Milvus that does not answer, or does not know the ticket."""

    def __init__(self, error: VaultError) -> None:
        self._error = error

    @override
    def resume(self, ticket: str) -> None:
        raise self._error


@pytest.mark.parametrize("event", [{"ending": arn("backup", "a")}, {"source": "aws.events"}])
def test_pauses_are_given_back(s3: S3Client, monkeypatch: pytest.MonkeyPatch, event: Json) -> None:
    monkeypatch.setattr(tend_pauses.handler, "open_garbage_collector", lambda _: Collector())
    Pauses(store(), BUCKET, PREFIX).begin(Collector(), arn("backup", "a"), datetime.now(UTC))

    run(tend_pauses.handler.handler, event)

    assert not [key for key in keys(s3) if "/pauses/" in key]


def test_a_backup_that_ends_gives_back_its_own_pause_alone(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tend_pauses.handler, "open_garbage_collector", lambda _: Collector())
    pauses = Pauses(store(), BUCKET, PREFIX)
    for name in ("a", "b"):
        pauses.begin(Collector(), arn("backup", name), datetime.now(UTC))

    assert run(tend_pauses.handler.handler, {"ending": arn("backup", "a")}) == {"renewed_count": 0, "ended_count": 1}

    assert [key.rpartition("/")[2] for key in keys(s3) if "/pauses/" in key] == [
        f"{attempt_of(arn('backup', 'b'))}.json"
    ]


@pytest.mark.usefixtures("s3")
def test_a_backup_that_ends_tries_again_where_milvus_is_away_and_not_where_it_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Pauses(store(), BUCKET, PREFIX).begin(Collector(), arn("backup", "a"), datetime.now(UTC))
    away, refused = Deaf(MilvusUnavailableError("away")), Deaf(MilvusRequestError("no such ticket"))

    monkeypatch.setattr(tend_pauses.handler, "open_garbage_collector", lambda _: away)
    with pytest.raises(MilvusUnavailableError):
        run(tend_pauses.handler.handler, {"ending": arn("backup", "a")})
    monkeypatch.setattr(tend_pauses.handler, "open_garbage_collector", lambda _: refused)
    assert run(tend_pauses.handler.handler, {"ending": arn("backup", "a")})["ended_count"] == 0


@pytest.mark.parametrize("is_pooled", [False, True])
def test_an_export(s3: S3Client, *, is_pooled: bool) -> None:
    night = BackupLayout(PREFIX, "night")
    contents = [(document, [stored(item, is_pooled=is_pooled) for item in o]) for document, o in sample_contents(night)]
    write_backup(store(), night, contents, mode="incremental" if is_pooled else "full")
    s3.put_object(Bucket=BUCKET, Key=tombstone_key(PREFIX, "exported"), Body=b"{}")

    request = {"backup_name": "night", "export_name": "exported"}
    step = do_export(s3, request)
    with guarded("api.handler", ENVIRONMENT):
        assert WorkingFiles(store(), BUCKET, PREFIX).follow("export", arn("export", "e")) is not None
    result = run(publish_backup, step)["published"]
    assert (result["status"], result["location"]) == ("complete", f"s3://{BUCKET}/{PREFIX}/exported/")

    check = {"execution": execution("verify", "v"), "request": {"backup_name": "exported"}}
    assert run(verify_backup, check)["status"] == "intact"
    with guarded("api.handler", ENVIRONMENT):
        assert WorkingFiles(store(), BUCKET, PREFIX).report_link("verify", arn("verify", "v"), "exported") is not None
    assert not {workspace(step["run"]).key(RBAC), tombstone_key(PREFIX, "exported")} & {*keys(s3)}
    # A task that comes once more finds it.
    again = run(prepare_export, {"execution": execution("export", "e"), "request": request})
    assert again["is_published"]


def do_export(s3: S3Client, request: Json, *, is_small: bool = False) -> Json:
    """Run the states of an export up to the last, and return the input of that. PlanCopy copies a small one itself."""
    prepared = run(prepare_export, {"execution": execution("export", "e"), "request": request})
    step = {"run": prepared["run"], "attempt": prepared["attempt"], "round": prepared["round"]["number"]}
    plan = run(plan_copy, {**step, "purpose": "export"} if is_small else step)
    if is_small:
        assert plan["status"] == "complete"
        return step
    for batch in read_batches(s3, "CopyObjectsStateMachine", plan, ENVIRONMENT):
        run(copy_batch, {"run": step["run"], **batch})
    assert run(verify_copy, {**step, "purpose": "export"})["status"] == "complete"
    return step


@pytest.mark.parametrize(
    ("to", "bucket", "prefix"),
    [({}, BUCKET, "exports"), ({"bucket": "archive", "prefix": "exports/team"}, "archive", "exports/team")],
)
@pytest.mark.parametrize("is_small", [False, True])
def test_an_export_to_another_place(s3: S3Client, to: Json, bucket: str, prefix: str, *, is_small: bool) -> None:
    night, there = BackupLayout(PREFIX, "night"), BackupLayout(prefix, "night")
    contents = [(document, [stored(item, is_pooled=True) for item in o]) for document, o in sample_contents(night)]
    write_backup(store(), night, contents, mode="incremental")
    before = {key for key in keys(s3) if "/.runs/" not in key}

    request = {"backup_name": "night", "export_name": "night", "to": to}
    step = do_export(s3, request, is_small=is_small)
    # As of an earlier round, or of a try that copied another state of the backup.
    surplus, left = f"{there.binlogs}delta_log/{samples.COLLECTION_ID}/1/2/2/3", f"{there.binlogs}insert_log/7/1/2/2/3"
    for key in (surplus, left):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    run(verify_copy, {**step, "purpose": "export"})
    result = run(publish_backup, step)["published"]

    assert result["location"] == f"s3://{bucket}/{prefix}/night/"
    assert {key for key in keys(s3, bucket) if key.startswith(f"{prefix}/") and not key.startswith(there.root)} == set()
    assert not {surplus, left} & {*keys(s3, bucket)}
    assert {key for key in keys(s3) if "/.runs/" not in key and not key.startswith("exports/")} == before
    (made, _) = read_archive(store(), bucket, there).collections
    assert not compare_objects(store(), bucket, there, made, read_objects(store(), bucket, there, made)).is_damaged
    with guarded("api.handler", ENVIRONMENT):
        followed = WorkingFiles(store(), BUCKET, PREFIX).follow("export", arn("export", "e"))
        assert followed is not None
        assert {one.status for one in followed.first(10)} == {"done"}
    # A task that comes once more finds it, and so does the next one of the machine.
    assert run(prepare_export, {"execution": execution("export", "e"), "request": request})["is_published"]
    assert run(publish_backup, step)["published"] == result
    assert not [key for key in keys(s3, bucket) if key.startswith(f"{prefix}/.runs/")]


@pytest.mark.parametrize(
    ("to", "bucket", "prefix"),
    [
        (None, BUCKET, PREFIX),
        ({}, BUCKET, "exports"),
        ({"bucket": "archive", "prefix": "exports/team"}, "archive", "exports/team"),
    ],
)
def test_a_dataset(s3: S3Client, to: Json | None, bucket: str, prefix: str) -> None:
    for name, body in golden_files("golden_2_4").items():
        s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}/golden/{name}", Body=body)
    before = {key for key in keys(s3) if "/.runs/" not in key}
    request = {
        "backup_name": "golden",
        "export_name": "rows",
        "format": "parquet",
        **({} if to is None else {"to": to}),
    }
    event = {"execution": execution("export", "e"), "request": request}

    listed = run(prepare_export, {**event, "write_count": 0})
    assert (listed["has_rows"], listed["is_dataset"], listed["write_count"]) == (True, True, 1)
    for batch in read_batches(s3, "WriteRowsStateMachine", listed, ENVIRONMENT):
        assert run(write_rows, {"run": listed["run"], **batch})["is_done"]
    left = f"{prefix}/.datasets/rows/shop.gone/part-000000.parquet"
    s3.put_object(Bucket=bucket, Key=left, Body=b"")
    found = run(prepare_export, {**event, "write_count": 1})

    location = f"s3://{bucket}/{prefix}/.datasets/rows/"
    assert not found["has_rows"]
    assert (found["dataset"]["location"], found["dataset"]["format"]) == (location, "parquet")
    assert found["dataset"]["row_count"] > 0
    written = {key for key in keys(s3, bucket) if f"{prefix}/.datasets/" in key}
    assert f"{prefix}/.datasets/rows/_dataset.json" in written
    assert left not in written
    assert {key for key in keys(s3) if "/.runs/" not in key} - written == before
    with guarded("api.handler", ENVIRONMENT):
        followed = WorkingFiles(store(), BUCKET, PREFIX).follow("export", arn("export", "e"))
        assert followed is not None
        assert {one.status for one in followed.first(10)} == {"done"}
    # A task that comes once more finds it.
    assert run(prepare_export, {**event, "write_count": 0})["dataset"] == found["dataset"]


@pytest.mark.parametrize(
    ("to", "bucket", "prefix"),
    [({}, BUCKET, "exports"), ({"bucket": "archive", "prefix": "exports/team"}, "archive", "exports/team")],
)
def test_a_sweep_removes_what_an_export_left_in_another_place(
    s3: S3Client, monkeypatch: pytest.MonkeyPatch, to: Json, bucket: str, prefix: str
) -> None:
    night, there = BackupLayout(PREFIX, "night"), BackupLayout(prefix, "night")
    contents = [(document, [stored(item, is_pooled=True) for item in o]) for document, o in sample_contents(night)]
    write_backup(store(), night, contents, mode="incremental")
    step = do_export(s3, {"backup_name": "night", "export_name": "night", "to": to})
    s3.put_object(Bucket=bucket, Key=f"{there.root}meta/vault/collections/1.json", Body=b"{}")
    s3.create_multipart_upload(Bucket=bucket, Key=f"{there.binlogs}insert_log/1/2/3/3/4/5")
    published = f"{prefix}/pens/binlogs/insert_log/1/2/3/3/4/5"
    s3.put_object(Bucket=bucket, Key=published, Body=b"")

    plan = run(plan_prune, {"execution": execution("prune", "p"), "request": {}})
    monkeypatch.setattr(carry_out_prune.handler, "datetime", Later)
    for _ in range(2):
        assert run(carry_out_prune.handler.handler, {"run": plan["run"]})["is_done"]

    assert {key for key in keys(s3, bucket) if key.startswith("exports/")} == {published}
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    assert not [key for key in keys(s3) if key.startswith(workspace(step["run"]).folder)]


@pytest.mark.parametrize("is_pooled", [False, True])
@pytest.mark.parametrize(
    ("to", "bucket", "prefix"),
    [({}, "archive", "exports"), ({"bucket": BUCKET, "prefix": "exports/team"}, BUCKET, "exports/team")],
)
def test_a_copy_of_a_backup(s3: S3Client, to: Json, bucket: str, prefix: str, *, is_pooled: bool) -> None:
    night, there = BackupLayout(PREFIX, "night"), BackupLayout(prefix, "night")
    contents = [(document, [stored(item, is_pooled=is_pooled) for item in o]) for document, o in sample_contents(night)]
    write_backup(store(), night, contents, mode="incremental" if is_pooled else "full", format_version=3)
    request = {"backup_name": "night", "export_name": "night", "is_copy": True, "to": to}
    step = do_export(s3, request)
    if not is_pooled:
        surplus = f"{there.binlogs}delta_log/{samples.COLLECTION_ID}/1/2/2/3"
        s3.put_object(Bucket=bucket, Key=surplus, Body=b"")
        run(verify_copy, {**step, "purpose": "export"})
        assert surplus not in keys(s3, bucket)
    result = run(publish_backup, step)["published"]

    assert (result["location"], result["status"]) == (f"s3://{bucket}/{prefix}/night/", "complete")
    own = (there.root, PoolLayout(prefix).root)
    assert not [key for key in keys(s3, bucket) if key.startswith(f"{prefix}/") and not key.startswith(own)]
    for made in read_archive(store(), bucket, there).collections:
        assert not compare_objects(store(), bucket, there, made, read_objects(store(), bucket, there, made)).is_damaged
    with guarded("api.handler", ENVIRONMENT):
        (copy,) = Catalogue(store(), BUCKET, PREFIX).copies("night")
        followed = WorkingFiles(store(), BUCKET, PREFIX).follow("export", arn("export", "e"))
        assert followed is not None
        assert {one.status for one in followed.first(10)} == {"done"}
    assert (copy.location, copy.run) == (result["location"], "export-e")
    # A task that comes once more changes nothing, and the next copy finds all of it there.
    assert run(publish_backup, step)["published"] == result
    again = run(prepare_export, {"execution": execution("export", "again"), "request": request})
    assert not again["is_published"]
    left = run(plan_copy, {"run": again["run"], "attempt": again["attempt"], "round": 1})
    assert left["object_count"] == 0


def test_an_export_to_another_place_that_is_refused_gives_its_claims_back(s3: S3Client) -> None:
    request = {"backup_name": "books", "export_name": "books", "to": {"bucket": "archive"}}
    with pytest.raises(BackupDamagedError):
        run(prepare_export, {"execution": execution("export", "e"), "request": request})
    assert keys(s3, "archive") == []
    assert not [key for key in keys(s3) if key.endswith(CLAIM)]


@pytest.mark.parametrize("is_pooled", [False, True])
@pytest.mark.parametrize("level", ["checksum", "deep"])
def test_a_verification_that_looks_at_each_object(s3: S3Client, level: str, *, is_pooled: bool) -> None:
    night = BackupLayout(PREFIX, "night")
    contents = [(document, [stored(item, is_pooled=is_pooled) for item in o]) for document, o in sample_contents(night)]
    if level == "checksum":
        contents = [(document, [item._replace(checksum="CRC32:AAAAAA==") for item in o]) for document, o in contents]
    write_backup(store(), night, contents, mode="incremental" if is_pooled else "full")
    event = {"execution": execution("verify", "v"), "request": {"backup_name": "night", "level": level}}

    listed = run(verify_backup, {**event, "check_count": 0})
    assert (listed["has_batches"], listed["check_count"]) == (True, 1)
    for batch in read_batches(s3, "CheckObjectsStateMachine", listed, ENVIRONMENT):
        assert run(check_objects, {"run": listed["run"], **batch})["is_done"]
    found = run(verify_backup, {**event, "check_count": 1})

    # The objects are no logs, and their checksums others than those that are said to have been recorded.
    assert (found["is_done"], found["status"]) == (True, "damaged")
    assert found["problem_count"] == found["object_count"] > 0
    assert found["read_count"] == (found["object_count"] if level == "deep" else 0)
    again = run(verify_backup, {**event, "check_count": 0})
    assert again == found | {"check_count": 0}


def stored(item: ArchivedObject, *, is_pooled: bool) -> ArchivedObject:
    """Return an object as S3 has it, where a full or an incremental backup keeps it."""
    key = log_of(item)
    content = hashlib.sha256(item.source_key.encode()).hexdigest()[:32]
    pooled = PooledKey(group_of("milvus", "files", key.collection_id), key.segment_id, content, "1a2b3c4d")
    etag = hashlib.md5(b"." * item.size_bytes).hexdigest()  # noqa: S324
    where = PoolLayout(PREFIX).key(pooled) if is_pooled else item.stored_key
    return item._replace(stored_key=where, etag=etag, checksum="")


def test_an_export_that_is_refused_gives_its_claims_back(s3: S3Client) -> None:
    event = {
        "execution": execution("export", "e"),
        "request": {"backup_name": "books", "export_name": "exported"},
    }
    with pytest.raises(BackupDamagedError):
        run(prepare_export, event)
    assert not [key for key in keys(s3) if key.endswith(CLAIM)]


@pytest.mark.parametrize(
    ("kind", "name"), [("backup", "backup-new"), ("export", "backup-new"), ("export", "export-1a2b")]
)
def test_a_failed_backup_leaves_a_record_and_no_secrets(s3: S3Client, kind: RunKind, name: str) -> None:
    new = workspace(name)
    record_execution(new, Execution(arn=arn(kind, "a"), started_at=NOW), kind, "new")
    new.write(CLAIM, Claim(execution_arn=arn(kind, "a"), run=new.run, claimed_at=NOW))
    new.write(RBAC, Rbac())

    event = {"machine": kind, "execution_arn": arn(kind, "a"), "error": "E", "cause": "c", "request": {}}
    run(record_failure.handler.handler, event)

    assert f"{PREFIX}/.runs/failures/a.json" in keys(s3)
    assert new.key(RBAC) not in keys(s3)


@pytest.mark.usefixtures("s3")
def test_the_api_lists_describes_and_holds() -> None:
    catalogue = Catalogue(store(), BUCKET, PREFIX)
    catalogue.forget("pens")
    with guarded("api.handler", ENVIRONMENT):
        assert len(catalogue.list(10, None).items) == 2
        assert catalogue.get("books").name == "books"
        catalogue.place_hold("books", Hold(reason="audit"), "me")
        catalogue.lift_hold("books")
        files = WorkingFiles(store(), BUCKET, PREFIX)
        for kind in ("backup", "restore", "verify", "prune", "export", "drill"):
            assert files.follow(kind, arn(kind, "a")) is None
        assert files.report_link("backup", "", "nobody") is None
        assert files.prune_report(arn("prune", "a")) == {}


@pytest.mark.usefixtures("s3")
def test_the_check_of_a_deployment_looks_at_both_buckets() -> None:
    def refuse() -> Any:
        msg = "nobody connects here"
        raise AssertionError(msg)

    looked_at = Deployment(
        store=store(),
        bucket=BUCKET,
        prefix=PREFIX,
        storage=MilvusStorage("milvus", "files"),
        staging_prefix="staging",
        read_secret=refuse,
        connect=refuse,
        open_garbage_collector=refuse,
    )
    with guarded("inspect_milvus.handler", ENVIRONMENT), pytest.raises(AssertionError, match="nobody connects"):
        check_deployment(looked_at)


@pytest.mark.usefixtures("s3")
def test_the_guard_tells_of_what_a_role_does_not_allow() -> None:
    with (
        pytest.raises(AssertionError, match="ApiFunction has not s3:DeleteObject"),
        guarded("api.handler", ENVIRONMENT),
    ):
        store().delete(BUCKET, [f"{PREFIX}/books/binlogs/1"])


@pytest.mark.usefixtures("s3")
def test_a_marker_is_not_written_blindly() -> None:
    with guarded("publish_backup.handler", ENVIRONMENT):
        assert not store().put_if_absent(BUCKET, BOOKS.marker, b"{}")
    blind = guarded("publish_backup.handler", ENVIRONMENT)
    with pytest.raises(AssertionError, match="PublishBackupFunction has not s3:PutObject"), blind:
        store().put(BUCKET, BOOKS.marker, b"{}")
