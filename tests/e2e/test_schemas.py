"""Every kind of collection that Milvus 2.3 can hold comes back as it was: one backup, one restore beside it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from local.stack import LocalStack
from tests.compatibility.features import Feature, from_version
from tests.support.milvus_data import INDEXED_ROWS, Look, Sample, all_rows, client_of, drop_databases, look_at, make
from tests.support.vault_runs import run, run_all

# In `make test` test_fill_oracle.py takes collections of every shape the same way; restore/test_schemas.py has more.
pytestmark = pytest.mark.thorough

DATABASE, OTHER_DATABASE = "schemas", "schemas_other"
SUFFIX = "_restored"

# Indexes are built for real only where a segment has rows enough.
INDEXED = [
    Sample("flat", "FLAT", "L2", shards=2, description="Flat, and not in ASCII: äöü \N{SNOWMAN}"),
    Sample("ivf_flat", "IVF_FLAT", "IP", {"nlist": 16}, rows=INDEXED_ROWS, consistency="Session"),
    Sample("ivf_sq8", "IVF_SQ8", "COSINE", {"nlist": 16}, rows=INDEXED_ROWS, consistency="Bounded", is_loaded=False),
    Sample("ivf_pq", "IVF_PQ", "L2", {"nlist": 16, "m": 4, "nbits": 8}, rows=INDEXED_ROWS, consistency="Eventually"),
    Sample(
        "hnsw",
        "HNSW",
        "COSINE",
        {"M": 8, "efConstruction": 32},
        rows=INDEXED_ROWS,
        scalar_indexes={"label": "Trie", "number": "STL_SORT"},
    ),
    Sample("scann", "SCANN", "L2", {"nlist": 16, "with_raw_data": "true"}, rows=INDEXED_ROWS, auto_id=True),
    # This build of the server takes the index and cannot make it: a small segment goes without.
    Sample("diskann", "DISKANN", "L2", has_text_key=True),
    Sample("autoindex", "AUTOINDEX", "COSINE", rows=INDEXED_ROWS, has_text_key=True, auto_id=True, is_dynamic=True),
    Sample("bin_flat", "BIN_FLAT", "JACCARD", is_binary=True, rows=INDEXED_ROWS, scalar_indexes={"label": ""}),
    Sample("bin_ivf_flat", "BIN_IVF_FLAT", "HAMMING", {"nlist": 4}, is_binary=True, rows=INDEXED_ROWS),
    Sample("by_tenant", "IVF_FLAT", "L2", {"nlist": 4}, has_partition_key=True, is_dynamic=True, rows=200),
]
STATES = [
    Sample("loaded_in_part", partitions=("hot",), loaded_partitions=("hot",), shards=3),
    Sample("growing", growing_rows=30, rows=0, properties={"collection.ttl.seconds": "3600", "mmap.enabled": "true"}),
    Sample("empty", rows=0, scalar_indexes={"number": "STL_SORT"}),
    Sample("bare", index=""),
]
ELSEWHERE = [
    Sample("flat", "FLAT", "IP", seed=2, description="Of the same name in another database"),
    Sample("half_flushed", rows=25, growing_rows=15),
]
SAMPLES = [(DATABASE, sample) for sample in INDEXED + STATES] + [(OTHER_DATABASE, sample) for sample in ELSEWHERE]


def features_of(sample: Sample) -> Iterator[Feature]:
    """Yield what the return of a collection shows."""
    yield from_version("2.3")
    shown = {
        Feature.INDEXES: bool(sample.index),
        Feature.DYNAMIC: sample.is_dynamic,
        Feature.PARTITION_KEY: sample.has_partition_key,
        Feature.AUTO_ID: sample.auto_id,
        Feature.BINARY_VECTORS: sample.is_binary,
        Feature.PARTITIONS: bool(sample.partitions),
        Feature.LOAD_STATE: bool(sample.loaded_partitions),
        Feature.TIME_TO_LIVE: "collection.ttl.seconds" in sample.properties,
        Feature.MMAP: "mmap.enabled" in sample.properties,
    }
    yield from (feature for feature, is_shown in shown.items() if is_shown)


each_collection = pytest.mark.parametrize(
    ("database", "sample"),
    [
        pytest.param(*pair, id=f"{pair[0]}.{pair[1].name}", marks=pytest.mark.feature(*features_of(pair[1])))
        for pair in SAMPLES
    ],
)


class Seen(NamedTuple):
    """What was seen of all collections: looks by full name, taken first, and then their rows."""

    looks: dict[str, Look]
    rows: dict[str, dict[object, str]]


class Restored(NamedTuple):
    """The sources and their copies, and what the machines said."""

    before: Seen
    after: Seen
    output: dict[str, Any]
    unflushed: dict[object, str]
    """Rows of `half_flushed` from a backup with skip_flush."""


@pytest.fixture(scope="module")
def restored(stack: LocalStack) -> Iterator[Restored]:
    """Make the collections, back them up, restore them beside the sources, and look at both."""
    uri = stack.milvus_uri
    try:
        make(uri, DATABASE, INDEXED + STATES)
        make(uri, OTHER_DATABASE, ELSEWHERE)
        looks = look_at_all(uri)
        everything = {"backup_name": "schemas", "collections": [f"{DATABASE}.*", f"{OTHER_DATABASE}.*"]}
        unflushed = {"backup_name": "schemas_unflushed", "collections": [f"{OTHER_DATABASE}.half_flushed"]}
        # First without a flush, since after one there is nothing to leave out.
        for backup in ({**unflushed, "skip_flush": True}, everything):
            assert run(stack, "Backup", backup).output["status"] == "complete"
        requests = {
            "schemas": {"backup_name": "schemas", "suffix": SUFFIX, "allow_version": True},
            "unflushed": {"backup_name": "schemas_unflushed", "suffix": "_unflushed", "allow_version": True},
        }
        outputs = {name: ended.output for name, ended in run_all(stack, "Restore", requests).items()}
        restored_looks = look_at_all(uri, SUFFIX)
        yield Restored(
            Seen(looks, rows_of_all(uri)),
            Seen(restored_looks, rows_of_all(uri, SUFFIX)),
            outputs["schemas"],
            all_rows(uri, OTHER_DATABASE, [Sample("half_flushed")], "_unflushed")["half_flushed"],
        )
    finally:
        drop_databases(uri, DATABASE, OTHER_DATABASE)


def look_at_all(uri: str, suffix: str = "") -> dict[str, Look]:
    """Look at all collections, or at their copies."""
    return {f"{database}.{sample.name}": look_at(uri, database, sample.name + suffix) for database, sample in SAMPLES}


def rows_of_all(uri: str, suffix: str = "") -> dict[str, dict[object, str]]:
    """Read all rows of all collections, or of their copies. Loads what is not."""
    return {
        f"{database}.{name}": rows
        for database, samples in ((DATABASE, INDEXED + STATES), (OTHER_DATABASE, ELSEWHERE))
        for name, rows in all_rows(uri, database, samples, suffix).items()
    }


@each_collection
def test_a_collection_comes_back_with_schema_indexes_and_load_state(
    restored: Restored, database: str, sample: Sample
) -> None:
    name = f"{database}.{sample.name}"

    assert restored.after.looks[name] == restored.before.looks[name]


@each_collection
def test_a_collection_comes_back_with_all_its_rows(restored: Restored, database: str, sample: Sample) -> None:
    name = f"{database}.{sample.name}"
    partitions = 1 + len(sample.partitions)

    assert len(restored.before.rows[name]) == sample.rows * partitions + sample.growing_rows
    assert restored.after.rows[name] == restored.before.rows[name]


def test_the_samples_are_as_different_as_they_are_meant_to_be(restored: Restored) -> None:
    looks = restored.before.looks.values()

    assert {look.consistency_level for look in looks} == {0, 1, 2, 3}
    assert {look.shards for look in looks} == {1, 2, 3}
    kinds = {params.get("index_type", "") for look in looks for _, params in look.indexes.values()}
    assert kinds >= {sample.index for sample in INDEXED} | {"Trie", "STL_SORT", ""}
    metrics = {params.get("metric_type", "") for look in looks for _, params in look.indexes.values()}
    assert metrics >= {"L2", "IP", "COSINE", "HAMMING", "JACCARD"}
    assert restored.before.looks["schemas.growing"].properties == {
        "collection.ttl.seconds": "3600",
        "mmap.enabled": "true",
    }
    assert restored.before.looks["schemas.loaded_in_part"].loaded_partitions == ["hot"]
    assert not restored.before.looks["schemas.ivf_sq8"].is_loaded
    assert not restored.before.looks["schemas.bare"].indexes


@pytest.mark.feature(Feature.AUTO_ID)
def test_generated_keys_are_kept(restored: Restored) -> None:
    keys = restored.after.rows["schemas.scann"].keys()

    assert all(isinstance(key, int) and key > INDEXED_ROWS for key in keys)
    assert keys == restored.before.rows["schemas.scann"].keys()


@pytest.mark.feature(Feature.EVERY_ROW_ONCE, Feature.FLUSH)
def test_every_row_is_in_the_report(restored: Restored) -> None:
    assert restored.output["status"] == "complete"
    assert restored.output["restored_count"] == len(SAMPLES)
    assert restored.output["row_count"] == sum(len(rows) for rows in restored.before.rows.values())
    assert restored.output["content_checked"]


@pytest.mark.feature(Feature.SKIP_FLUSH)
def test_without_a_flush_only_rows_in_storage_are_backed_up(restored: Restored) -> None:
    every = restored.before.rows["schemas_other.half_flushed"]

    assert restored.unflushed == {key: row for key, row in every.items() if isinstance(key, int) and key < 25}


def test_nothing_unfinished_is_left_in_milvus(restored: Restored, stack: LocalStack) -> None:
    assert restored.output["failed_count"] == 0
    for database in (DATABASE, OTHER_DATABASE):
        with client_of(stack.milvus_uri, database) as client:
            assert not [name for name in client.list_collections() if name.startswith("vault_restoring")]
