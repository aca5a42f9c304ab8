"""Segments and replicas of milvus-backup's archives, which not all of its releases recorded in full."""

import json
from typing import Any

from milvus_vault.archive.check import check_objects
from milvus_vault.archive.reader import Archive, ArchivedCollection, read_archive
from milvus_vault.model.collections import SegmentLevel
from tests.support.memory_store import InMemoryObjectStore
from tests.support.reference_shapes import meta_files
from tests.unit.archive.samples import BUCKET, golden_layout, golden_store

NAME = "golden_2_4"
LAYOUT = golden_layout(NAME)


def edited(**changes: Any) -> tuple[InMemoryObjectStore, Archive]:
    """Return an archive whose segments of partition `north` have other members; None takes one away."""
    store = golden_store(NAME)
    meta = json.loads(store.get(BUCKET, LAYOUT.meta("full_meta.json")))
    for segment in meta["collection_backups"][0]["partition_backups"][1]["segment_backups"]:
        for member, value in changes.items():
            segment[member] = value
            if value is None:
                del segment[member]
    for file_name, body in meta_files(meta).items():
        store.put(BUCKET, LAYOUT.meta(file_name), body)
    return store, read_archive(store, BUCKET, LAYOUT)


def test_replicas_are_as_many_as_were_recorded_or_one() -> None:
    store = golden_store(NAME)
    meta = json.loads(store.get(BUCKET, LAYOUT.meta("full_meta.json")))
    first, second, third, *_ = meta["collection_backups"]
    first |= {"load_state": "Loaded", "replicas": [{"replicaID": 1}, {"replicaID": 2, "partition_ids": [3]}]}
    second["load_state"] = "Loaded"
    third["replicas"] = [{"replicaID": 1}]
    for file_name, body in meta_files(meta).items():
        store.put(BUCKET, LAYOUT.meta(file_name), body)
    found = {
        collection.name.name: collection.replicas for collection in read_archive(store, BUCKET, LAYOUT).collections
    }
    assert [found[item["collection_name"]] for item in (first, second, third)] == [2, 1, 0]


def of_north(archive: Archive) -> tuple[ArchivedCollection, list[tuple[int, SegmentLevel]]]:
    collection = next(found for found in archive.collections if found.name.name == "by_name")
    partition = next(found for found in collection.partitions if found.name == "north")
    return collection, [(segment.row_count, segment.level) for segment in partition.segments]


def test_a_segment_of_deletes_alone_is_of_level_0_though_nobody_says_so() -> None:
    _, archive = edited(is_l0=None)
    assert of_north(archive)[1] == [(0, SegmentLevel.L0), (120, SegmentLevel.LEGACY)]
    assert archive.warnings == ()


def test_a_segment_whose_rows_nobody_had_counted_is_left_out_and_named() -> None:
    store, archive = edited(num_of_rows=None)
    collection, segments = of_north(archive)
    assert segments == [(0, SegmentLevel.L0)]
    (warning,) = archive.warnings
    assert warning == "segment 470644557325409056 of gold.by_name was not written in full, and is left out"
    check = check_objects(store, BUCKET, LAYOUT, collection, collection.listed_objects)
    # So that it is not imported from the backup's folder either.
    assert check.extra
