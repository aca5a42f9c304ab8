"""A server with a collection of every shape is backed up, loses everything, and is restored: all is as it was."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymilvus import MilvusClient

from local.stack import LocalStack
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.model.collections import CollectionName
from milvus_vault.rows import Rows, read_rows
from tests.support.fill_collections import DATABASE, SHAPES, fill
from tests.support.oracle import MADE_OF, ROWS, STATE, Snapshot, as_queried, drop_everything, snapshot
from tests.support.vault_runs import dataset_files, local_store, restore, succeed

NAME = "fill_oracle"

each_collection = pytest.mark.parametrize("collection", SHAPES)


class RoundTrip(NamedTuple):
    """The server before and after, and what the machines said."""

    before: Snapshot
    lost: Snapshot
    """What was left when everything was dropped."""
    after: Snapshot
    backup: dict[str, Any]
    restored: dict[str, Any]
    segments_of_growing: list[Any]
    """Segments on storage of the collection that was never flushed."""


@pytest.fixture(scope="module")
def round_trip(stack: LocalStack) -> Iterator[RoundTrip]:
    """Fill the server, back it up, drop everything, restore it."""
    uri = stack.milvus_uri
    drop_everything(uri)
    fill(uri)
    before = snapshot(uri)
    unflushed = MilvusClient(uri, db_name=DATABASE).list_persistent_segments("growing")
    backup = succeed(stack, "Backup", {"backup_name": NAME})
    # As somebody in trouble would: the aliases of dropped collections stay behind in a 2.3, where nothing lists them.
    drop_everything(uri, aliases=False)
    lost = snapshot(uri)
    restored = restore(stack, {"backup_name": NAME})
    yield RoundTrip(before, lost, snapshot(uri), backup, restored, unflushed)
    drop_everything(uri)


def test_everything_is_backed_up_lost_and_restored(round_trip: RoundTrip) -> None:
    rows = sum(collection["count"] for collection in round_trip.before.values())

    assert sorted(round_trip.before) == sorted(SHAPES)
    assert (round_trip.backup["status"], round_trip.backup["collection_count"]) == ("complete", len(SHAPES))
    assert round_trip.lost == {}
    assert (round_trip.restored["status"], round_trip.restored["restored_count"]) == ("complete", len(SHAPES))
    assert round_trip.restored["row_count"] == rows
    assert round_trip.restored["content_checked"] is True
    assert sorted(round_trip.after) == sorted(SHAPES)


@each_collection
@pytest.mark.parametrize("member", MADE_OF)
def test_a_collection_is_made_as_it_was(round_trip: RoundTrip, collection: str, member: str) -> None:
    assert round_trip.after[collection][member] == round_trip.before[collection][member]


@each_collection
@pytest.mark.parametrize("member", STATE)
def test_a_collection_has_its_aliases_and_is_loaded_as_it_was(
    round_trip: RoundTrip, collection: str, member: str
) -> None:
    assert round_trip.after[collection][member] == round_trip.before[collection][member]


@each_collection
@pytest.mark.parametrize("member", ROWS)
def test_every_row_comes_back_with_all_its_values(round_trip: RoundTrip, collection: str, member: str) -> None:
    assert round_trip.after[collection][member] == round_trip.before[collection][member]


@each_collection
def test_every_row_is_read_out_of_the_backup_as_it_was_queried(
    stack: LocalStack, round_trip: RoundTrip, collection: str
) -> None:
    database, _, name = collection.partition(".")
    layout = BackupLayout(stack.outputs["BackupPrefix"], NAME)
    found = CollectionName(database=database, name=name)
    rows = read_rows(local_store(stack), stack.outputs["BackupBucketName"], layout, found)

    expected = round_trip.before[collection]
    key = next(field["name"] for field in expected["schema"]["fields"] if field.get("is_primary_key"))
    assert as_queried(rows, key) == expected["rows"]


@pytest.fixture(scope="module")
def dataset(stack: LocalStack, round_trip: RoundTrip) -> dict[str, Any]:
    """Write the rows of the backup as Parquet, and return what the machine said."""
    assert round_trip.backup["status"] == "complete"
    return succeed(stack, "Export", {"backup_name": NAME, "export_name": NAME, "format": "parquet"})


@each_collection
def test_every_row_is_in_the_dataset_as_it_was_queried(
    stack: LocalStack, round_trip: RoundTrip, dataset: dict[str, Any], collection: str
) -> None:
    files = dataset_files(stack, dataset["location"], collection)
    table = pa.concat_tables(pq.read_table(pa.BufferReader(body)) for body in files)

    expected = round_trip.before[collection]
    key = next(field["name"] for field in expected["schema"]["fields"] if field.get("is_primary_key"))
    assert as_queried(Rows(table.schema, iter(table.to_batches())), key) == expected["rows"]


def test_a_dataset_has_all_rows(round_trip: RoundTrip, dataset: dict[str, Any]) -> None:
    assert dataset["collection_count"] == len(SHAPES)
    assert dataset["row_count"] == sum(collection["count"] for collection in round_trip.before.values())


def test_the_shapes_are_what_they_are_meant_to_be(round_trip: RoundTrip) -> None:
    found = round_trip.before

    assert found["default.every_type"]["aliases"] == ["types_before", "types_now"]
    assert found[f"{DATABASE}.tenants"]["aliases"] == ["customers"]
    assert found["default.by_name"]["properties"]
    assert not found["default.by_name"]["loaded"]
    assert 0 in found["default.by_name"]["count_by_partition"].values()
    assert found["default.every_type"]["rows"][0]["key"] < 0
    generations = {row["id"]: row["generation"] for row in found[f"{DATABASE}.generations"]["rows"]}
    assert generations[39] == 103, "inserted, deleted, and inserted again"
    assert 26 not in generations, "inserted, deleted, inserted again, and deleted again"
    assert found[f"{DATABASE}.empty"]["count"] == 0
    assert found[f"{DATABASE}.growing"]["count"] > 0
    assert round_trip.segments_of_growing == []
