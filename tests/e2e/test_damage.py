"""A damaged backup is refused before Milvus hears of it: a damaged binlog would end the server.

Each case is a copy of one sound backup with one object changed. All machines run in one fixture.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from local.stack import Deployment, LocalStack
from tests.compatibility.features import Feature
from tests.support.milvus_data import Sample, collections_of, drop_databases, import_jobs, make, rows_of
from tests.support.selecting import selected
from tests.support.tampering import Json, StoredBackup, upload_golden
from tests.support.vault_runs import Ended, listing, report, run, run_all
from tests.tiers import parameters

DATABASE = BACKUP = "damage"
BOOKS = Sample("books", partitions=("north",), deleted=(1, 2, 3))
PENS = Sample("pens", rows=5)
ALIVE = 2 * BOOKS.rows - len(BOOKS.deleted)


def insert_log(backup: StoredBackup) -> str:
    """Return the key of an insert log of `books`."""
    return backup.insert_log(f"{DATABASE}.books")


def delta_log(backup: StoredBackup) -> str:
    """Return the key of the delta log of `books`."""
    return backup.keys(f"binlogs/delta_log/{backup.collection_id(f'{DATABASE}.books')}/")[0]


def first_log(backup: StoredBackup) -> str:
    """Return the key of the first insert log in an archive of either tool."""
    return backup.keys("binlogs/insert_log/")[0]


class Damage(NamedTuple):
    """What is done to which object, and how the refusal calls it."""

    find: Callable[[StoredBackup], str]
    change: Callable[[StoredBackup, str], None]
    how: str


OURS = {
    "an insert log with another byte": Damage(insert_log, StoredBackup.flip_a_byte, "changed"),
    "a delta log with another byte": Damage(delta_log, StoredBackup.flip_a_byte, "changed"),
    "an insert log that is gone": Damage(insert_log, StoredBackup.delete, "missing"),
    "a delta log that is gone": Damage(delta_log, StoredBackup.delete, "missing"),
    "an insert log that was cut": Damage(insert_log, StoredBackup.truncate, "of another size"),
    "a delta log that was cut": Damage(delta_log, StoredBackup.truncate, "of another size"),
}
# That tool records no checksums, so that another byte cannot be told.
OF_MILVUS_BACKUP = {
    "an object of milvus-backup that is gone": Damage(first_log, StoredBackup.delete, "missing"),
    "an object of milvus-backup that was cut": Damage(first_log, StoredBackup.truncate, "of another size"),
}
IN_PLACE = {
    "an object in Milvus' bucket with another byte": Damage(insert_log, StoredBackup.flip_a_byte, "changed"),
}
DAMAGES = OURS | OF_MILVUS_BACKUP | IN_PLACE
# Each kind of log and each kind of damage stay.
ALSO = {
    "a delta log that is gone",
    "an insert log that was cut",
    "an object of milvus-backup that is gone",
}


# Restores that must succeed.
SOUND: dict[str, Json] = {
    "with a stray segment": {"backup_name": "damage_stray", "suffix": "_stray", "allow_version": True},
    "of what is sound": {
        "backup_name": "damage_0",
        "collections": [f"{DATABASE}.pens"],
        "suffix": "_sound",
        "allow_version": True,
    },
    "of milvus-backup": {
        "backup_name": "damage_golden",
        "collections": ["books.growing"],
        "rename": {"books.*": f"{DATABASE}.*"},
        "allow_version": True,
    },
}
SOUND_IN_PLACE: dict[str, Json] = {
    name: {
        "backup_name": backup_name,
        "collections": [f"{DATABASE}.books"],
        "suffix": f"_in_place_{backup_name}",
        "allow_version": True,
    }
    for name, backup_name in (("sound", BACKUP), ("with a stray segment", "damage_stray"))
}


class Seen(NamedTuple):
    """How all executions ended, and what came into Milvus and its bucket by those that were to be refused."""

    refused: dict[str, Ended]
    keys: dict[str, str]
    """The damaged object, by the name of the damage."""
    restored: dict[str, Ended]
    restored_in_place: dict[str, Ended]
    staged: dict[str, str]
    new_imports: set[int]
    new_collections: set[str]
    imports_of_sound_backups: set[int]


@pytest.fixture(scope="module")
def in_place(stack: LocalStack) -> Deployment:
    """Deploy the template with Milvus' own bucket for its backups: they are imported where they lie."""
    parameters = {"BackupBucketName": stack.milvus.bucket, "BackupPrefix": "damage-in-place"}
    return stack.deploy("damage-in-place", stack.milvus, parameters)


@pytest.fixture(scope="module")
def seen(stack: LocalStack, in_place: Deployment, request: pytest.FixtureRequest) -> Iterator[Seen]:
    """Make sound backups, try to restore damaged copies, and then restore what can be."""
    uri = stack.milvus_uri
    try:
        make(uri, DATABASE, [BOOKS, PENS])
        for deployment in (stack, in_place):
            assert run(deployment, "Backup", {"backup_name": BACKUP, "collections": [f"{DATABASE}.*"]}).output
        copies = _copies(stack, in_place)
        keys = {name: damage.find(copies[name]) for name, damage in DAMAGES.items()}
        for name, damage in DAMAGES.items():
            damage.change(copies[name], keys[name])
        before = import_jobs(uri), collections_of(uri)
        requests = {name: _request(copies[name].name) for name in selected(request, "name")}
        refused = run_all(
            stack, "Restore", {name: asked for name, asked in requests.items() if name not in IN_PLACE}
        ) | run_all(in_place, "Restore", {name: asked for name, asked in requests.items() if name in IN_PLACE})
        after = import_jobs(uri), collections_of(uri)
        staged = listing(stack, stack.milvus.bucket, f"milvus-vault-staging/restore-{BACKUP}")

        for deployment in (stack, in_place):
            _add_a_segment(StoredBackup(deployment, BACKUP).copy("damage_stray"))
        upload_golden(stack, "golden_0516", "damage_golden")
        with ThreadPoolExecutor() as pool:
            restored = pool.submit(run_all, stack, "Restore", SOUND)
            restored_in_place = pool.submit(run_all, in_place, "Restore", SOUND_IN_PLACE)
        yield Seen(
            refused,
            keys,
            restored.result(),
            restored_in_place.result(),
            staged,
            new_imports=after[0] - before[0],
            new_collections=after[1] - before[1],
            imports_of_sound_backups=import_jobs(uri) - after[0],
        )
    finally:
        drop_databases(uri, DATABASE)


def _copies(stack: LocalStack, in_place: Deployment) -> dict[str, StoredBackup]:
    """Return a copy of a sound backup for each damage."""
    ours = {name: StoredBackup(stack, BACKUP).copy(f"damage_{number}") for number, name in enumerate(OURS)}
    theirs = {
        name: upload_golden(stack, "golden_0516", f"damage_golden_{number}")
        for number, name in enumerate(OF_MILVUS_BACKUP)
    }
    in_milvus_bucket = {name: StoredBackup(in_place, BACKUP).copy("damage_in_place") for name in IN_PLACE}
    return ours | theirs | in_milvus_bucket


def _add_a_segment(backup: StoredBackup) -> None:
    """Put a segment that nobody listed into a partition's folder: imported with it, its rows would be there twice."""
    segment, _, _ = insert_log(backup).rsplit("/", 2)
    partition = segment.rsplit("/", 2)[0]
    for key in backup.keys(f"{segment.removeprefix(backup.layout.root)}/"):
        backup.write(f"{partition}/99/99{key.removeprefix(segment)}", backup.read(key))


def _request(backup_name: str) -> Json:
    return {"backup_name": backup_name, "suffix": f"_{backup_name}", "allow_version": True}


@pytest.mark.feature(Feature.MISSING_OBJECTS)
@pytest.mark.parametrize("name", parameters(DAMAGES, ALSO))
def test_a_damaged_backup_is_refused_by_the_name_of_the_object(seen: Seen, name: str) -> None:
    failure = seen.refused[name].failure

    assert failure.error == "BackupDamagedError"
    assert f"{seen.keys[name]} ({DAMAGES[name].how})" in failure.cause
    assert "1 missing" in failure.cause or "1 changed" in failure.cause or "1 of another size" in failure.cause


def test_milvus_hears_nothing_of_a_damaged_backup(seen: Seen, stack: LocalStack) -> None:
    assert not seen.new_imports
    assert not seen.new_collections
    assert not seen.staged
    assert stack.milvus.is_running()
    # What is counted does see imports.
    assert len(seen.imports_of_sound_backups) == 9


def test_what_is_sound_of_a_damaged_backup_can_be_restored(seen: Seen, stack: LocalStack) -> None:
    assert seen.restored["of what is sound"].output["restored_count"] == 1
    assert rows_of(stack.milvus_uri, DATABASE, "pens_sound") == rows_of(stack.milvus_uri, DATABASE, "pens")


def test_a_segment_that_nobody_listed_is_not_restored(seen: Seen, stack: LocalStack) -> None:
    output = seen.restored["with a stray segment"].output

    assert output["row_count"] == ALIVE + PENS.rows
    restored = rows_of(stack.milvus_uri, DATABASE, "books_stray")
    assert restored == rows_of(stack.milvus_uri, DATABASE, "books")


def test_a_backup_in_milvus_own_bucket_is_imported_where_it_lies(
    seen: Seen, stack: LocalStack, in_place: Deployment
) -> None:
    output = seen.restored_in_place["sound"].output

    assert not report(in_place, output)["is_staged"]
    assert output["row_count"] == ALIVE
    restored = rows_of(stack.milvus_uri, DATABASE, "books_in_place_damage")
    assert restored == rows_of(stack.milvus_uri, DATABASE, "books")


def test_with_a_segment_that_nobody_listed_it_is_staged_all_the_same(
    seen: Seen, stack: LocalStack, in_place: Deployment
) -> None:
    output = seen.restored_in_place["with a stray segment"].output

    assert report(in_place, output)["is_staged"]
    assert output["row_count"] == ALIVE
    restored = rows_of(stack.milvus_uri, DATABASE, "books_in_place_damage_stray")
    assert restored == rows_of(stack.milvus_uri, DATABASE, "books")


def test_the_report_says_that_another_tools_backup_records_nothing_and_was_read(seen: Seen, stack: LocalStack) -> None:
    output = seen.restored["of milvus-backup"].output

    assert output["row_count"] == 50
    assert not output["content_checked"]
    assert output["read_count"] > 0
    assert not report(stack, output)["content_checked"]
    assert seen.restored["with a stray segment"].output["content_checked"]
