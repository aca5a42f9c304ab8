"""Drills of backups of a real Milvus, into the same Milvus."""

from collections.abc import Iterator
from typing import Any

import pytest

from local.stack import LocalStack
from tests.support import vault_runs
from tests.support.api_calls import call
from tests.support.milvus_data import INDEXED_ROWS, Sample, client_of, drop_databases, make, rows_of
from tests.support.tampering import StoredBackup

DATABASE = "drilled"
BACKUP = "drill_source"
SAMPLES = (
    Sample("plain", partitions=("red", "blue"), deleted=(3, 4)),
    Sample("indexed", index="HNSW", metric="COSINE", params={"M": 8, "efConstruction": 64}, rows=INDEXED_ROWS),
    Sample("product", index="IVF_FLAT", metric="IP", params={"nlist": 4}, rows=INDEXED_ROWS, has_text_key=True),
    Sample("bits", index="BIN_FLAT", metric="HAMMING", is_binary=True, is_dynamic=True),
    Sample("by_label", has_partition_key=True),
    Sample("partly", partitions=("red", "blue"), loaded_partitions=("red",)),
    Sample("bare", index="", is_loaded=False),
)


@pytest.fixture(scope="module", autouse=True)
def backup(stack: LocalStack) -> Iterator[None]:
    """Make collections of many kinds, and a backup of them."""
    make(stack.milvus_uri, DATABASE, SAMPLES)
    vault_runs.succeed(stack, "Backup", {"backup_name": BACKUP, "collections": [f"{DATABASE}.*"]})
    yield
    drop_databases(stack.milvus_uri, DATABASE)


def request(**more: Any) -> dict[str, Any]:
    return {"backup_name": BACKUP, "allow_version": True, "seed": 1, **more}


def databases(stack: LocalStack) -> set[str]:
    with client_of(stack.milvus_uri) as client:
        return set(client.list_databases())


def scratches(stack: LocalStack) -> dict[str, str]:
    """Return the records of scratch databases."""
    folder = f"{stack.outputs['BackupPrefix']}/.runs/scratch/"
    return vault_runs.listing(stack, stack.outputs["BackupBucketName"], folder)


def test_a_drill_proves_each_value_of_a_sample_and_leaves_nothing(stack: LocalStack) -> None:
    before = databases(stack)
    result = vault_runs.succeed(stack, "Drill", request(row_count=50))

    assert (result["status"], result["differences"]) == ("proven", [])
    assert (result["collection_count"], result["collection_total"]) == (len(SAMPLES), len(SAMPLES))
    assert result["searched_count"] == 3 * len(SAMPLES)
    assert (databases(stack), scratches(stack)) == (before, {})
    told = call(stack.deployment.api_url, "GET", f"/backups/{BACKUP}").json
    assert told["drill"]["status"] == "proven"
    assert told["proven_at"] == told["drill"]["drilled_at"]


def test_a_database_that_exists_is_refused_and_nothing_in_it_is_touched(stack: LocalStack) -> None:
    rows = {sample.name: rows_of(stack.milvus_uri, DATABASE, sample.name, sample.key) for sample in SAMPLES[:2]}
    before = databases(stack)

    failure = vault_runs.fail(stack, "Drill", request(database=DATABASE))

    assert (failure.error, DATABASE in failure.cause) == ("DatabaseExistsError", True)
    assert (databases(stack), scratches(stack)) == (before, {})
    assert {name: rows_of(stack.milvus_uri, DATABASE, name, key_of(name)) for name in rows} == rows


def test_a_drill_that_fails_is_told_by_the_api_and_drops_its_scratch_as_well(stack: LocalStack) -> None:
    before, backup = databases(stack), StoredBackup(stack, BACKUP)
    key = backup.insert_log(f"{DATABASE}.plain")
    whole = backup.read(key)
    backup.delete(key)

    started = call(stack.deployment.api_url, "POST", "/drills", request(database="drill_scratch"))
    assert started.status == 202
    ended = stack.wait(started.json["execution_arn"], vault_runs.TIMEOUT_SECONDS)
    backup.write(key, whole)

    assert (ended["status"], ended["error"], key in ended["cause"]) == ("FAILED", "BackupDamagedError", True)
    assert (databases(stack), scratches(stack)) == (before, {})
    run = call(stack.deployment.api_url, "GET", f"/runs/{started.json['id']}").json
    assert (run["kind"], run["status"], run["error"]) == ("drill", "failed", "BackupDamagedError")
    told = call(stack.deployment.api_url, "GET", f"/backups/{BACKUP}").json["drill"]
    assert (told["status"], told["error"]) == ("failed", "BackupDamagedError")


def key_of(name: str) -> str:
    """Return the primary key of a sample."""
    return next(sample.key for sample in SAMPLES if sample.name == name)
