"""What to do about one collection's failure is told where the failure is."""

from datetime import UTC, datetime
from typing import Any

import pytest

from milvus_vault.archive.manifest import CollectionFailure, Source
from milvus_vault.backup import working_files as backup
from milvus_vault.errors import ImportFailedError
from milvus_vault.model.collections import CollectionLayout, CollectionName, CollectionSchema, LoadState
from milvus_vault.model.names import attempt_of
from milvus_vault.model.requests import BackupRequest, RestoreRequest
from milvus_vault.restore import working_files as restore
from milvus_vault.restore.journal import Journal
from milvus_vault.restore.report import report_restore
from milvus_vault.runs.collections import follow_backup, follow_restore
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore

ARN = "arn:aws:states:us-east-1:123456789012:execution:vault-backup:one"
NAME = CollectionName(database="shop", name="orders")
NOW = datetime(2026, 11, 28, 3, tzinfo=UTC)
ERROR = ImportFailedError("no such file", hint="Look into the bucket.")
WITHOUT_HINT = b'{"error": "ImportFailedError", "message": "no such file"}'


@pytest.fixture
def run() -> Workspace:
    """The working files of a run."""
    return Workspace(InMemoryObjectStore("backups"), "backups", "vault", "run")


def write_backup(run: Workspace, snapshot: backup.Snapshot) -> None:
    """Write a backup of one collection that could not be read."""
    plan = backup.BackupPlan(
        request=BackupRequest(),
        backup_name="b",
        backup_id="1",
        execution_arn=ARN,
        started_at=NOW,
        source=Source(milvus_version="2.4.4", bucket="milvus", root_path="files"),
        databases=(),
        collections=(NAME,),
    )
    run.write(backup.PLAN, plan)
    run.write(backup.snapshot_name(attempt_of(ARN), 0), snapshot)


def write_restore(run: Workspace) -> restore.RestorePlan:
    """Write a restore of one collection."""
    values: dict[str, Any] = {
        "request": RestoreRequest(backup_name="b"),
        "execution_arn": ARN,
        "started_at": NOW,
        "backup_etag": "e",
        "backup_origin": "milvus_vault",
        "backup_version": "2.4.4",
        "server_version": "2.4.4",
        "content_checked": True,
        "is_staged": False,
        "staging_folder": "",
        "targets": (NAME,),
        "databases": (),
    }
    known = {name: value for name, value in values.items() if name in restore.RestorePlan.model_fields}
    plan = restore.RestorePlan.model_validate(known)
    schema = CollectionSchema(name=NAME.name, fields=())
    target = restore.Target(
        index=0,
        source=NAME,
        name=NAME,
        collection_id=1,
        layout=CollectionLayout(collection_schema=schema, shards=1, consistency_level=1),
        indexes=(),
        aliases=(),
        load_state=LoadState.NOT_LOADED,
        replicas=0,
        loaded_partitions=(),
        live_row_count=None,
    )
    run.write(restore.PLAN, plan)
    run.write(restore.target_name(0), target)
    return plan


def test_a_collection_that_could_not_be_read_has_its_hint(run: Workspace) -> None:
    failure = CollectionFailure(name=NAME, error="FlushTimeoutError", message="it took too long")
    write_backup(run, backup.Snapshot(round=1, failure=failure, hint="Give it more time."))

    followed = follow_backup(run, ARN)

    assert followed is not None
    (told,) = followed.first(1)
    assert (told.error, told.message, told.hint) == ("FlushTimeoutError", "it took too long", "Give it more time.")


@pytest.mark.parametrize("has_hint", [True, False], ids=["now", "by the release before"])
def test_a_collection_that_could_not_be_restored_has_its_hint(run: Workspace, *, has_hint: bool) -> None:
    plan = write_restore(run)
    if has_hint:
        Journal(run).fail(0, ERROR)
    else:
        run.write_bytes("collections/0/failed.json", WITHOUT_HINT)
    expected = ("ImportFailedError", "no such file", ERROR.hint if has_hint else "")

    followed = follow_restore(run, ARN)

    assert followed is not None
    (told,) = followed.first(1)
    assert (told.error, told.message, told.hint) == expected
    (reported,) = report_restore(run, plan, NOW).collections
    assert (reported.error, reported.message, reported.hint) == expected
