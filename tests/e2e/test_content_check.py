"""A restore looks at the contents of another tool's archive before the real Milvus sees any of it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.stack import LocalStack
from tests.support import vault_runs
from tests.support.killing import GatedMachine, invoke
from tests.support.milvus_data import client_of, drop_databases
from tests.support.tampering import GOLDEN, StoredBackup
from tests.support.vault_runs import listing, staged

ARCHIVE, DAMAGED, SOUND = "golden_0516", "books.growing", "books.layers"
DATABASE = "guarded"
REQUEST: dict[str, Any] = {
    "backup_name": "guarded_archive",
    "collections": [DAMAGED, SOUND],
    "rename": {"books.*": f"{DATABASE}.*"},
    "allow_version": True,
}


@pytest.fixture
def archive(stack: LocalStack) -> Iterator[StoredBackup]:
    """Put an archive of milvus-backup into the backup bucket."""
    backup = StoredBackup(stack, REQUEST["backup_name"])
    for path in (GOLDEN / ARCHIVE).rglob("*"):
        if path.is_file():
            backup.write(backup.layout.root + path.relative_to(GOLDEN / ARCHIVE).as_posix(), path.read_bytes())
    yield backup
    drop_databases(stack.milvus_uri, DATABASE)
    for key in listing(stack, backup.bucket, f"{stack.outputs['BackupPrefix']}/.catalogue/digests/{backup.name}/"):
        backup.delete(key)


def damage(archive: StoredBackup) -> str:
    """Flip a byte of an insert log's end, which nothing can be read without, and return the log's key."""
    meta = json.loads((GOLDEN / ARCHIVE / "meta" / "full_meta.json").read_text())
    number = next(
        found["collection_id"]
        for found in meta["collection_backups"]
        if f"{found['db_name']}.{found['collection_name']}" == DAMAGED
    )
    key = archive.keys(f"binlogs/insert_log/{number}/")[0]
    body = bytearray(archive.read(key))
    body[-3] ^= 1
    archive.write(key, bytes(body))
    return key


def collections(stack: LocalStack) -> set[str]:
    """Return what there is in the database that is restored to."""
    with client_of(stack.milvus_uri) as client:
        if DATABASE not in client.list_databases():
            return set()
    with client_of(stack.milvus_uri, DATABASE) as client:
        return set(client.list_collections())


def test_a_flipped_byte_is_refused_by_name_and_costs_the_others_nothing_if_asked(
    stack: LocalStack, archive: StoredBackup
) -> None:
    key = damage(archive)

    failure = vault_runs.fail(stack, "Restore", REQUEST)

    assert (failure.error, key in failure.cause, DAMAGED in failure.cause) == ("BackupDamagedError", True, True)
    assert "skip_damaged" in failure.cause
    assert (collections(stack), staged(stack)) == (set(), set())

    ended = vault_runs.run(stack, "Restore", REQUEST | {"skip_damaged": True})

    assert ended.error == "RestorePartialError"
    assert "BackupDamagedError" in ended.cause
    assert (collections(stack), staged(stack)) == ({SOUND.partition(".")[2]}, set())
    key = f"{stack.outputs['BackupPrefix']}/.runs/reports/{ended.execution}.json"
    report = json.loads(archive.read(key))
    assert report["status"] == "partial"
    assert any(text.startswith("Left out by `skip_damaged`") for text in report["warnings"])


@pytest.mark.thorough
def test_a_restore_that_is_killed_while_contents_are_checked_goes_on_when_it_is_started_again(
    stack: LocalStack, archive: StoredBackup
) -> None:
    checking = GatedMachine(stack.deployment, "CheckObjects", ["before CheckObjects"])
    original = stack.outputs["CheckObjectsStateMachineArn"]
    outer = GatedMachine(stack.deployment, "Restore", [], substitutions={original: checking.arn})
    execution = outer.start(REQUEST)
    arrival = checking.arrival(execution)
    outer.stop(execution, arrival)
    # The function of the killed execution goes on all the same, and what it read is not read again.
    assert invoke(stack.deployment, "Restore", "CheckObjects", arrival.payload) is None
    folder = f"{stack.outputs['BackupPrefix']}/.runs/{arrival.payload['run']}/check/done-0.json"
    written = listing(stack, archive.bucket, folder)

    output = vault_runs.succeed(stack, "Restore", REQUEST)

    assert (output["status"], output["restored_count"]) == ("complete", 2)
    assert output["read_count"] > 0
    assert listing(stack, archive.bucket, folder) == written != {}
    assert collections(stack) == {name.partition(".")[2] for name in (DAMAGED, SOUND)}
