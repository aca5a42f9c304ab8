"""Drills of backups of a real Milvus, into the same Milvus."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.stack import LocalStack
from tests.support import vault_runs
from tests.support.api_calls import call
from tests.support.milvus_data import INDEXED_ROWS, Sample, client_of, drop_databases, make, rows_of

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
    rows = {sample.name: rows_of(stack.milvus_uri, DATABASE, sample.name, sample.key) for sample in SAMPLES[:1]}

    result = vault_runs.succeed(stack, "Drill", request(row_count=50))

    assert (result["status"], result["differences"]) == ("proven", [])
    assert (result["collection_count"], result["collection_total"]) == (len(SAMPLES), len(SAMPLES))
    assert result["searched_count"] == 3 * len(SAMPLES)
    assert (databases(stack), scratches(stack)) == (before, {})
    assert {name: rows_of(stack.milvus_uri, DATABASE, name) for name in rows} == rows
    answer = call(stack, "GET", f"/backups/{BACKUP}")
    assert answer["drill"]["status"] == "proven"
    assert answer["proven_at"] == answer["drill"]["drilled_at"]
