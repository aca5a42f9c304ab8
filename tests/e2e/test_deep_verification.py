"""The contents of a backup of a real Milvus are read, and what is not what it should be is named."""

import json
from typing import Any

import pytest
from pymilvus import MilvusClient

from local.stack import LocalStack
from milvus_vault.archive.layout import LogKey, log_of
from milvus_vault.archive.manifest import Manifest, digest, read_object_list, write_object_list
from milvus_vault.archive.reference_writer import marker_file
from milvus_vault.model.objects import ArchivedObject
from tests.support import library, vault_runs
from tests.support.killing import GatedMachine, invoke
from tests.support.tampering import StoredBackup
from tests.support.vault_runs import listing

DATABASE = "proven_books"
FULL, INCREMENTAL = "proven", "proven_incremental"


@pytest.fixture(scope="module")
def backups(stack: LocalStack) -> dict[str, StoredBackup]:
    """Back up a database in both modes."""
    library.fill(stack.milvus_uri, DATABASE)
    for name, mode in ((FULL, "full"), (INCREMENTAL, "incremental")):
        request = {"backup_name": name, "collections": [f"{DATABASE}.*"], "mode": mode}
        vault_runs.succeed(stack, "Backup", request)
    library.drop(stack.milvus_uri, DATABASE)
    return {name: StoredBackup(stack, name) for name in (FULL, INCREMENTAL)}


@pytest.mark.parametrize("name", [FULL, INCREMENTAL])
def test_each_object_of_a_whole_backup_is_read_and_nothing_is_found(
    stack: LocalStack, backups: dict[str, StoredBackup], name: str
) -> None:
    output = vault_runs.succeed(stack, "Verify", {"backup_name": name, "level": "deep"})

    assert (output["status"], output["problem_count"], output["content_checked"]) == ("intact", 0, True)
    listed = backups[name].listed()
    assert output["read_count"] == output["object_count"] == len(listed) > 0
    assert output["read_bytes"] == sum(item.size_bytes for item in listed)


def test_checksums_are_compared_as_far_as_there_are_any(stack: LocalStack, backups: dict[str, StoredBackup]) -> None:
    output = vault_runs.succeed(stack, "Verify", {"backup_name": FULL, "level": "checksum"})

    recorded = sum(bool(item.checksum) for item in backups[FULL].listed())
    assert (output["status"], output["read_count"], output["content_checked"]) == ("intact", 0, False)
    assert (output["checksum_count"], output["incomparable_count"]) == (recorded, output["object_count"] - recorded)


def test_vectors_that_were_swapped_with_their_etags_are_found_by_name(
    stack: LocalStack, backups: dict[str, StoredBackup]
) -> None:
    swapped = backups[FULL].copy("proven_swapped")
    one, other = _vectors(swapped)
    contents = {one.stored_key: swapped.read(other.stored_key), other.stored_key: swapped.read(one.stored_key)}
    for key, body in contents.items():
        swapped.write(key, body)
    _record_what_is_there(stack, swapped)

    # To a listing nothing is wrong.
    assert vault_runs.succeed(stack, "Verify", {"backup_name": swapped.name})["status"] == "intact"
    failure = vault_runs.fail(stack, "Verify", {"backup_name": swapped.name, "level": "deep"})

    assert failure.error == "BackupDamagedError"
    for item in (one, other):
        assert item.stored_key in failure.cause
        assert f"segment {log_of(item).segment_id}, field " in failure.cause
    assert f"{DATABASE}.books, partition " in failure.cause
    # What only a deep verification sees is not taken back by another.
    again = vault_runs.fail(stack, "Verify", {"backup_name": swapped.name})
    assert "found by an earlier deep verification" in again.cause


def test_a_function_that_was_killed_repeats_nothing(stack: LocalStack, backups: dict[str, StoredBackup]) -> None:
    backup = backups[FULL]
    checking = GatedMachine(stack.deployment, "CheckObjects", ["before CheckObjects"])
    original = stack.outputs["CheckObjectsStateMachineArn"]
    outer = GatedMachine(stack.deployment, "Verify", [], substitutions={original: checking.arn})
    execution = outer.start({"backup_name": FULL, "level": "deep"})
    arrival = checking.arrival(execution)
    assert invoke(stack.deployment, "Verify", "CheckObjects", arrival.payload) is None
    folder = f"{stack.outputs['BackupPrefix']}/.runs/{arrival.payload['run']}/check/"
    # As one leaves it that was killed: some objects are written down, and no end.
    (checked,) = (key for key in listing(stack, backup.bucket, folder) if "/checked-0." in key)
    records = backup.read(checked).splitlines(keepends=True)
    backup.delete(checked)
    backup.delete(f"{folder}done-0.json")
    backup.write(f"{folder}checked-0.5.jsonl", b"".join(records[:5]))
    # Who reads one of these once more finds it changed.
    key = json.loads(records[0])[1]
    body = backup.read(key)
    backup.flip_a_byte(key)

    try:
        checking.let_through_to_the_end(execution, arrival)
        ended = stack.ministack.client("stepfunctions").describe_execution(executionArn=execution)
    finally:
        backup.write(key, body)

    output = json.loads(ended["output"])
    assert (ended["status"], output["status"]) == ("SUCCEEDED", "intact")
    assert output["read_count"] == len(records) == len(backup.listed())


def test_a_sample_reads_a_part_and_the_next_one_the_rest(stack: LocalStack, backups: dict[str, StoredBackup]) -> None:
    sampled = backups[FULL].copy("proven_sampled")
    request = {"backup_name": sampled.name, "level": "deep", "sample_percent": 50}
    halves = [vault_runs.succeed(stack, "Verify", request) for _ in range(2)]

    assert sum(half["read_count"] for half in halves) == len(sampled.listed())
    assert all(half["read_count"] and not half["content_checked"] for half in halves)


def test_damage_of_a_shared_object_is_of_every_backup_that_lists_it(stack: LocalStack) -> None:
    database = "shared_books"
    library.fill(stack.milvus_uri, database)
    both = [StoredBackup(stack, name) for name in ("shared_first", "shared_second")]
    for backup in both:
        vault_runs.succeed(
            stack,
            "Backup",
            {"backup_name": backup.name, "collections": [f"{database}.*"], "mode": "incremental"},
        )
    library.drop(stack.milvus_uri, database)
    first, second = both
    item, other = _vectors(first, database)
    assert item in second.listed()
    whole = first.read(item.stored_key)
    first.write(item.stored_key, first.read(other.stored_key))
    for backup in both:
        _record_what_is_there(stack, backup)
    assert vault_runs.succeed(stack, "Verify", {"backup_name": second.name})["status"] == "intact"

    found = vault_runs.fail(stack, "Verify", {"backup_name": first.name, "level": "deep"})

    assert (found.error, item.stored_key in found.cause) == ("BackupDamagedError", True)
    requests: dict[vault_runs.Machine, dict[str, Any]] = {
        "Verify": {"backup_name": second.name},
        "Export": {"backup_name": second.name, "export_name": "shared_export"},
        "Restore": {
            "backup_name": second.name,
            "rename": {f"{database}.*": "of_shared.*"},
            "allow_version": True,
        },
    }
    for machine, request in requests.items():
        refused = vault_runs.fail(stack, machine, request)
        assert (refused.error, item.stored_key in refused.cause) == ("BackupDamagedError", True), machine
    assert "of_shared" not in MilvusClient(stack.milvus_uri).list_databases()

    # Brought back, and read by a verification of the one that nobody had verified.
    first.write(item.stored_key, whole)
    for backup in both:
        _record_what_is_there(stack, backup)
    assert vault_runs.succeed(stack, "Verify", {"backup_name": second.name, "level": "deep"})["status"] == "intact"
    assert vault_runs.succeed(stack, "Verify", {"backup_name": first.name})["status"] == "intact"
    vault_runs.succeed(stack, "Export", {"backup_name": first.name, "export_name": "shared_export"})


def _vectors(backup: StoredBackup, database: str = DATABASE) -> tuple[ArchivedObject, ArchivedObject]:
    """Return two objects of equal size that hold vectors of two segments."""
    schema = json.loads(backup.read(backup.keys("meta/vault/collections/")[0]))["description"]["collection_schema"]
    (vector,) = (field["field_id"] for field in schema["fields"] if field["name"] == "vector")
    logs: list[tuple[ArchivedObject, LogKey]] = [(item, log_of(item)) for item in backup.listed(f"{database}.books")]
    found = [(item, log) for item, log in logs if log.kind == "insert_log" and log.field_id == vector]
    (one, first), *others = found
    return one, next(item for item, log in others if log.segment_id != first.segment_id)


def _record_what_is_there(stack: LocalStack, backup: StoredBackup) -> None:
    """Seal the backup with the sizes and ETags that its objects have, as if they had always been so."""
    etags = {key: etag.strip('"') for key, etag in listing(stack, backup.bucket, backup.objects_folder).items()}
    entries = []
    for entry in backup.manifest.collections:
        key = backup.layout.root + entry.objects.key
        items = [
            item._replace(etag=etags[item.stored_key], size_bytes=len(backup.read(item.stored_key)), checksum="")
            for item in read_object_list(backup.read(key))
        ]
        body = write_object_list(items)
        backup.write(key, body)
        entries.append(entry.model_copy(update={"objects": digest(entry.objects.key, body)}))
    manifest = backup.manifest.model_copy(update={"collections": tuple(entries)})
    body = manifest.model_dump_json().encode()
    backup.write(backup.layout.manifest, body)
    backup.write(backup.layout.marker, marker_file(Manifest.model_validate_json(body), body))
