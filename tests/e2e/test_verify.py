"""A backup is checked without being restored: what is whole is called intact, and what is not is named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from local.stack import LocalStack
from tests.support import library, vault_runs
from tests.support.tampering import StoredBackup

DATABASE = "checked_books"
GOLDEN = Path(__file__).parents[1] / "data" / "golden"


@pytest.fixture(scope="module")
def backup(stack: LocalStack) -> StoredBackup:
    """Back up a database."""
    library.fill(stack.milvus_uri, DATABASE)
    vault_runs.succeed(stack, "Backup", {"backup_name": "checked", "collections": [f"{DATABASE}.*"]})
    library.drop(stack.milvus_uri, DATABASE)
    return StoredBackup(stack, "checked")


def test_a_whole_backup_is_intact_and_the_catalogue_says_so(stack: LocalStack, backup: StoredBackup) -> None:
    output = vault_runs.succeed(stack, "Verify", {"backup_name": "checked"})

    assert (output["status"], output["level"], output["problem_count"]) == ("intact", "quick", 0)
    assert (output["etags_compared"], output["content_checked"]) == (True, False)
    assert output["object_count"] == len(backup.keys("binlogs/")) > 0
    kept = backup.read(f"{stack.outputs['BackupPrefix']}/.catalogue/verifications/checked.json")
    assert b'"status":"intact"' in kept


def test_a_backup_of_another_tool_is_checked_by_presence_and_size(stack: LocalStack) -> None:
    other = StoredBackup(stack, "golden_057")
    for path in (GOLDEN / "golden_057").rglob("*"):
        if path.is_file():
            other.write(other.layout.root + path.relative_to(GOLDEN / "golden_057").as_posix(), path.read_bytes())

    output = vault_runs.succeed(stack, "Verify", {"backup_name": "golden_057"})

    assert (output["status"], output["etags_compared"]) == ("intact", False)
    assert output["object_count"] == len(other.keys("binlogs/"))


def test_what_is_no_backup_is_not_found(stack: LocalStack) -> None:
    failure = vault_runs.fail(stack, "Verify", {"backup_name": "nothing_here"})

    assert failure.error == "BackupNotFoundError"


@pytest.mark.parametrize(
    ("part", "damage", "said"),
    [
        ("binlogs/insert_log/", StoredBackup.delete, "is missing"),
        ("binlogs/insert_log/", StoredBackup.truncate, "has another size"),
        ("binlogs/insert_log/", StoredBackup.flip_a_byte, "changed"),
        ("meta/vault/objects/", StoredBackup.flip_a_byte, "another content"),
        ("meta/vault/collections/", StoredBackup.delete, "is missing"),
        ("meta/full_meta.json", StoredBackup.truncate, "instead of"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_damage_is_named(
    stack: LocalStack, backup: StoredBackup, part: str, damage: Callable[[StoredBackup, str], None], said: str
) -> None:
    key = backup.keys(part)[0]
    body = backup.read(key)
    damage(backup, key)
    try:
        failure = vault_runs.fail(stack, "Verify", {"backup_name": "checked"})
    finally:
        backup.write(key, body)

    assert failure.error == "BackupDamagedError"
    assert key in failure.cause
    assert said in failure.cause
