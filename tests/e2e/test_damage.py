"""Backups that are damaged: refused before Milvus sees anything of them, since some damage kills the server."""

import json
from collections.abc import Callable, Iterator

import pytest
from pymilvus import MilvusClient

from local.stack import LocalStack
from tests.support.library import BOOKS, DELETED, NOVELS, drop, fill, look
from tests.support.tampering import StoredBackup, upload_golden
from tests.support.vault_runs import fail, listing, report, restore, succeed

DATABASE, BACKUP = "damaged", "damaged"
ROWS = BOOKS + NOVELS - len(DELETED)


def _delete(backup: StoredBackup, key: str) -> None:
    backup.delete(key)


def _flip(backup: StoredBackup, key: str) -> None:
    backup.flip_a_byte(key)


def _truncate(backup: StoredBackup, key: str) -> None:
    backup.truncate(key)


DAMAGES = [
    pytest.param(_delete, id="missing"),
    pytest.param(_flip, id="flipped"),
    pytest.param(_truncate, id="shorter"),
]
type Damage = Callable[[StoredBackup, str], None]


@pytest.fixture(scope="module")
def backup(stack: LocalStack) -> Iterator[StoredBackup]:
    """Yield a sound backup of ours."""
    fill(stack.milvus_uri, DATABASE)
    succeed(stack, "Backup", {"backup_name": BACKUP, "collections": [f"{DATABASE}.*"]})
    yield StoredBackup(stack, BACKUP)
    drop(stack.milvus_uri, DATABASE)


@pytest.mark.parametrize("kind", ["insert_log", "delta_log"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_object_is_refused_before_milvus_sees_an_import(
    stack: LocalStack, backup: StoredBackup, damage: Damage, kind: str
) -> None:
    copy = backup.copy(f"damaged_{kind}_{damage.__name__.strip('_')}")
    key = copy.keys(f"binlogs/{kind}/")[0]
    damage(copy, key)
    before = _collections(stack)

    failure = fail(stack, "Restore", {"backup_name": copy.name, "suffix": "_x", "allow_version": True})

    assert (failure.error, key.rpartition("binlogs/")[2] in failure.cause) == ("BackupDamagedError", True)
    assert _collections(stack) == before
    assert listing(stack, stack.milvus.bucket, "milvus-vault-staging/restore-") == {}
    assert MilvusClient(stack.milvus_uri).get_server_version()


def test_a_stray_object_is_left_out(stack: LocalStack, backup: StoredBackup) -> None:
    copy = backup.copy("damaged_stray")
    first = copy.insert_log(f"{DATABASE}.books")
    folder, _, log = first.rpartition("/")
    copy.write(f"{folder}/{int(log) + 1}", copy.read(first))

    output = restore(stack, {"backup_name": copy.name, "suffix": "_stray"})

    assert output["restored_count"] == 2
    assert look(stack.milvus_uri, DATABASE).counts["books_stray"] == ROWS


def test_a_stray_object_is_left_out_where_the_backup_lies_in_milvus_own_bucket(stack: LocalStack) -> None:
    place = {"BackupBucketName": stack.milvus.bucket, "BackupPrefix": "damaged-in-place"}
    in_place = stack.deploy("damaged-in-place", stack.milvus, place)
    fill(stack.milvus_uri, "damaged_in_place")
    succeed(in_place, "Backup", {"backup_name": BACKUP, "collections": ["damaged_in_place.books"]})
    stored = StoredBackup(in_place, BACKUP)
    first = stored.insert_log("damaged_in_place.books")
    folder, _, log = first.rpartition("/")
    stored.write(f"{folder}/{int(log) + 1}", stored.read(first))

    output = restore(in_place, {"backup_name": BACKUP, "suffix": "_stray"})

    assert report(in_place, output)["is_staged"]
    assert look(stack.milvus_uri, "damaged_in_place").counts["books_stray"] == ROWS
    drop(stack.milvus_uri, "damaged_in_place")


@pytest.mark.parametrize("damage", [DAMAGES[0], DAMAGES[2]])
def test_the_other_tools_archive_is_checked_for_presence_and_size(stack: LocalStack, damage: Damage) -> None:
    golden = upload_golden(stack, "golden_0516", f"damaged_golden_{damage.__name__.strip('_')}")
    key = golden.keys("binlogs/insert_log/")[0]
    damage(golden, key)
    before = _collections(stack)

    failure = fail(stack, "Restore", {"backup_name": golden.name, "suffix": "_x", "allow_version": True})

    assert (failure.error, key.rpartition("binlogs/")[2] in failure.cause) == ("BackupDamagedError", True)
    assert _collections(stack) == before


def test_the_report_says_that_the_other_tools_content_was_not_checked(stack: LocalStack) -> None:
    golden = upload_golden(stack, "golden_0516", "damaged_not_at_all")
    request = {"backup_name": golden.name, "collections": ["books.empty"], "rename": {"books.*": "damaged_golden.*"}}

    output = restore(stack, request)

    assert not output["content_checked"]
    assert any("content was not" in warning for warning in output["warnings"])
    drop(stack.milvus_uri, "damaged_golden")


def _collections(stack: LocalStack) -> str:
    databases = MilvusClient(stack.milvus_uri).list_databases()
    return json.dumps(
        {d: sorted(MilvusClient(stack.milvus_uri, db_name=d).list_collections()) for d in databases}, sort_keys=True
    )
