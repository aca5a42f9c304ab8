"""What is copied and imported of a collection: which groups, which prefixes, and deletes where they belong."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.archive.contents import ArchivedCollection, ArchivedPartition, ArchivedSegment
from milvus_vault.archive.layout import log_of
from milvus_vault.model.collections import (
    ALL_PARTITIONS,
    CollectionLayout,
    CollectionName,
    CollectionSchema,
    LoadState,
    SegmentLevel,
)
from milvus_vault.model.objects import ArchivedObject, CopyItem
from milvus_vault.restore.folding import COMPOSED_BYTES
from milvus_vault.restore.staging import BYTES_A_JOB, SEGMENTS_A_JOB, CollectionImport, FoldLimits, can_lie
from milvus_vault.restore.staging_legacy import LegacyImport
from milvus_vault.restore.working_files import ImportSource
from milvus_vault.settings import RestoreSettings

COLLECTION, BASE = 7, "staging/run/7/"
CUT_BASE = "cut/"
PARTITIONS = {1: "_default", 2: "p"}
MANY = FoldLimits(copies=1000, segment_bytes=1000)
RARELY = FoldLimits(RestoreSettings().fold_copies, RestoreSettings().fold_segment_bytes)


def segment(number: int, partition: int = 1, *, rows: int = 10, storage_version: int = 0) -> ArchivedSegment:
    """Return a segment; without rows one of deletes."""
    level = SegmentLevel.L1 if rows else SegmentLevel.L0
    return ArchivedSegment(number, partition, number, rows, level, storage_version)


def insert(number: int, partition: int = 1, size_bytes: int = 5) -> ArchivedObject:
    """Return the one insert log of a segment."""
    key = f"insert_log/{COLLECTION}/{partition}/{number}/100/{number}1"
    return ArchivedObject(f"backup/{key}", f"files/{key}", size_bytes, "etag")


def delete(number: int, partition: int = 1, size_bytes: int = 5) -> ArchivedObject:
    """Return the one delta log of a segment."""
    key = f"delta_log/{COLLECTION}/{partition}/{number}/{number}2"
    return ArchivedObject(f"backup/{key}", f"files/{key}", size_bytes, "etag")


def collection(segments: Sequence[ArchivedSegment]) -> ArchivedCollection:
    """Return a collection of two partitions."""
    return ArchivedCollection(
        name=CollectionName(database="default", name="c"),
        collection_id=COLLECTION,
        layout=CollectionLayout(collection_schema=CollectionSchema(name="c", fields=()), shards=1, consistency_level=0),
        indexes=(),
        aliases=(),
        load_state=LoadState.NOT_LOADED,
        replicas=0,
        partitions=tuple(
            ArchivedPartition(number, name, False, tuple(s for s in segments if s.partition_id == number))
            for number, name in PARTITIONS.items()
        ),
        l0_segments=tuple(s for s in segments if s.partition_id == ALL_PARTITIONS),
        live_row_count=None,
        object_list=None,
    )


def whole(
    segments: Sequence[ArchivedSegment], objects: Iterable[ArchivedObject], limits: FoldLimits = MANY
) -> CollectionImport:
    """Return what is imported of a collection of these segments and objects."""
    return CollectionImport.of(collection(segments), objects, limits)


def test_a_job_has_no_more_segments_than_a_server_takes() -> None:
    numbers = range(1, SEGMENTS_A_JOB + 2)
    found = whole([segment(n) for n in numbers], [insert(n) for n in numbers])
    first, second = found.sources_staged(BASE)
    assert (first.row_count, second.row_count) == (SEGMENTS_A_JOB * 10, 10)
    assert first.pairs[0].insert_prefix == f"{BASE}insert_log/7/1/1/"
    assert second.pairs[0].insert_prefix == f"{BASE}insert_log/7/1/2/"
    keys = [item.key for item in found.staged_items(BASE)]
    assert keys[0] == f"{BASE}insert_log/7/1/1/1/100/11"
    assert keys[-1] == f"{BASE}insert_log/7/1/2/{SEGMENTS_A_JOB + 1}/100/{SEGMENTS_A_JOB + 1}1"


def test_a_job_has_no_more_bytes_than_its_share_unless_it_is_one_segment() -> None:
    sizes = {1: BYTES_A_JOB // 2, 2: BYTES_A_JOB // 2, 3: 1, 4: BYTES_A_JOB + 1}
    found = whole([segment(n) for n in sizes], [insert(n, size_bytes=size) for n, size in sizes.items()])
    assert [source.row_count for source in found.sources_staged(BASE)] == [20, 10, 10]


def test_segments_of_two_storage_versions_are_never_in_one_job() -> None:
    found = whole([segment(1), segment(2, storage_version=2), segment(3)], [insert(n) for n in (1, 2, 3)])
    assert [(s.storage_version, s.row_count) for s in found.sources_staged(BASE)] == [(0, 20), (2, 10)]


def test_segments_with_folders_of_their_own_are_imported_where_they_lie() -> None:
    objects = [insert(1), insert(2, 2), delete(2, 2)]
    found = whole([segment(1), segment(2, 2)], objects)
    assert can_lie(collection([segment(1), segment(2, 2)]), map(log_of, objects))
    first, second = found.sources_in("backup/binlogs/")
    assert (first.partition, first.pairs[0].insert_prefix) == ("_default", "backup/binlogs/insert_log/7/1/1/")
    assert (first.pairs[0].delta_prefix, second.pairs[0].delta_prefix) == ("", "backup/binlogs/delta_log/7/2/2/")


def test_deletes_of_level_zero_have_to_be_staged() -> None:
    segments = collection([segment(1), segment(9, rows=0)])
    assert not can_lie(segments, map(log_of, [insert(1), delete(9)]))
    assert can_lie(segments, map(log_of, [insert(1)]))


def test_deletes_go_to_the_segments_of_their_partition_or_to_all() -> None:
    segments = [segment(1), segment(2), segment(3, 2), segment(8, 2, rows=0), segment(9, ALL_PARTITIONS, rows=0)]
    objects = [insert(1), insert(2), delete(2), insert(3, 2), delete(8, 2), delete(9, ALL_PARTITIONS)]
    found = whole(segments, objects)
    assert found.deletes_staged(BASE, CUT_BASE) == ()
    deletes = sorted(
        item.key.removeprefix(f"{BASE}delta_log/7/") for item in found.staged_items(BASE) if "delta_log" in item.key
    )
    assert deletes == ["1/1/1/92", "1/1/2/22", "1/1/2/92", "2/1/3/82", "2/1/3/92"]


def test_above_a_limit_of_bytes_deletes_are_imported_by_themselves_after_the_rows() -> None:
    segments = [segment(1), segment(2), segment(8, rows=0), segment(9, ALL_PARTITIONS, rows=0)]
    objects = [insert(1), insert(2), delete(2), delete(8), delete(9, ALL_PARTITIONS)]
    assert whole(segments, objects, FoldLimits(copies=0, segment_bytes=10)).folds
    found = whole(segments, objects, FoldLimits(copies=4, segment_bytes=9))
    deletes = found.deletes_staged(BASE, CUT_BASE)
    assert [(s.partition, s.is_deletes, s.pairs[0].delta_prefix) for s in deletes] == [
        ("_default", True, f"{BASE}level_zero/7/1/"),
        ("", True, f"{BASE}level_zero/7/-1/"),
    ]
    keys = [item.key.removeprefix(BASE) for item in found.staged_items(BASE)]
    # What a segment has of its own stays with it.
    assert [key for key in keys if not key.startswith("insert_log")] == [
        "delta_log/7/1/1/2/22",
        "level_zero/7/1/82",
        "level_zero/7/-1/92",
    ]
    assert not found.compositions


@pytest.mark.parametrize(("segments", "files"), [(10, 10), (100, 200), (1_000, 20), (1_000, 200)])
def test_what_is_copied_grows_with_segments_and_files_of_deletes_and_not_with_their_product(
    segments: int, files: int
) -> None:
    level_zero = segment(10**6, ALL_PARTITIONS, rows=0)
    deletes = [delete(9, ALL_PARTITIONS)._replace(source_key=f"files/delta_log/7/-1/9/{n}") for n in range(files)]
    deletes = [item._replace(source_key=item.source_key.replace("/9/", "/1000000/")) for item in deletes]
    numbers = range(1, segments + 1)
    found = whole([*map(segment, numbers), level_zero], [*map(insert, numbers), *deletes], RARELY)
    staged = list(found.staged_items(BASE))
    assert found.folds
    assert len(staged) == 2 * segments
    (composition,) = found.compositions
    assert [log.log_id for log in composition.logs] == [*range(files)]
    beside = [item for item in staged if not item.key.startswith(f"{BASE}insert_log")]
    assert {(item.source_key, item.size_bytes, item.source_etag) for item in beside} == {(composition.key, 0, "")}
    assert len({item.key for item in beside}) == segments


def test_few_deletes_are_copied_as_they_are_and_one_copy_more_composes_them() -> None:
    level_zero = [segment(8, rows=0), segment(9, rows=0)]
    for count, composed in ((32, 0), (33, 1)):
        numbers = range(10, 10 + count)
        objects = [*map(insert, numbers), delete(8), delete(9)]
        found = whole([*map(segment, numbers), *level_zero], objects, RARELY)
        assert len(found.compositions) == composed
        assert len(list(found.staged_items(BASE))) == count * (2 if composed else 3)


def test_a_composed_log_is_of_8_mib_at_most_and_of_one_partition_or_of_what_concerns_all() -> None:
    half = COMPOSED_BYTES // 2
    homes = {11: 1, 12: 1, 13: 1, 14: 1, 21: 2, 22: 2, 31: ALL_PARTITIONS, 32: ALL_PARTITIONS}
    sizes = {11: half, 12: half, 13: 1, 14: COMPOSED_BYTES + 1}
    objects = [delete(number, home, sizes.get(number, 5)) for number, home in homes.items()]
    rows = {1: 1, 2: 1, 3: 2}
    found = CollectionImport.of(
        collection([segment(n, home) for n, home in rows.items()] + [segment(n, h, rows=0) for n, h in homes.items()]),
        [*(insert(n, home) for n, home in rows.items()), *objects],
        FoldLimits(copies=0, segment_bytes=10**9),
        composed="run/composed/0/",
    )
    assert [(each.key, [log.log_id for log in each.logs]) for each in found.compositions] == [
        ("run/composed/0/1/112", [112, 122]),
        ("run/composed/0/-1/312", [312, 322]),
    ]
    beside = defaultdict(list)
    for item in found.staged_items(BASE):
        if "delta_log" in item.key:
            beside[int(item.key.split("/")[-2])].append((item.source_key, item.key.rpartition("/")[2]))
    composed, alone = ("run/composed/0/1/112", "112"), [(f"backup/{_of(delete(n))}", f"{n}2") for n in (13, 14)]
    everywhere = ("run/composed/0/-1/312", "312")
    assert beside[1] == beside[2] == [composed, *alone, everywhere]
    # One segment takes what concerns its partition alone as it is.
    assert beside[3] == [*((f"backup/{_of(delete(n, 2))}", f"{n}2") for n in (21, 22)), everywhere]


def _of(item: ArchivedObject) -> str:
    return item.source_key.removeprefix("files/")


@pytest.mark.parametrize(("size_bytes", "folds"), [(64 * 1024**2, True), (64 * 1024**2 + 1, False)])
def test_a_segment_is_imported_beside_256_mib_of_deletes_and_not_a_byte_more(size_bytes: int, folds: bool) -> None:
    small, large = segment(1), segment(2, 2)
    level_zero = [segment(number, 2, rows=0) for number in range(11, 15)]
    objects = [insert(1), insert(2, 2), *(delete(number, 2, size_bytes) for number in range(11, 15))]
    limits = FoldLimits(copies=20_000, segment_bytes=RestoreSettings().fold_segment_bytes)
    assert whole([small, large, *level_zero], objects, limits).folds is folds


class Write(NamedTuple):
    """What happens to a key at a moment; an upsert is both, with one timestamp."""

    key: int
    partition: int
    inserts: bool
    deletes: bool
    whole: bool
    """Whether the delete names no partition."""
    flushes: bool


WRITES = st.lists(
    st.builds(
        Write,
        key=st.integers(1, 3),
        partition=st.sampled_from([1, 2]),
        inserts=st.booleans(),
        deletes=st.booleans(),
        whole=st.booleans(),
        flushes=st.booleans(),
    ),
    max_size=30,
)


@given(WRITES)
def test_folded_deletes_leave_just_the_rows_that_lived_in_any_order_of_writes(writes: list[Write]) -> None:
    """Each flush makes a segment of rows in each partition, and one of deletes; staged, they are imported as is."""
    rows: dict[int, list[tuple[int, int]]] = defaultdict(list)
    deletes: dict[int, list[tuple[int, int]]] = defaultdict(list)
    homes: dict[int, int] = {}
    alive: set[tuple[int, int, int]] = set()
    number, objects = 10, []
    for time, write in enumerate(writes):
        if write.deletes:
            partition = ALL_PARTITIONS if write.whole else write.partition
            own = number * 10 + partition + 6
            deletes[own].append((write.key, time))
            homes[own] = partition
            alive = {row for row in alive if row[1] != write.key or (not write.whole and row[0] != write.partition)}
        if write.inserts:
            own = number * 10 + write.partition
            rows[own].append((write.key, time))
            homes[own] = write.partition
            alive.add((write.partition, write.key, time))
        number += write.flushes
    segments = [segment(n, homes[n], rows=len(found)) for n, found in rows.items()]
    segments += [segment(n, homes[n], rows=0) for n in deletes]
    objects = [insert(n, homes[n]) for n in rows] + [delete(n, homes[n]) for n in deletes]
    staged = {item.key: item.source_key for item in whole(segments, objects).staged_items(BASE)}
    assert imported(staged, rows, deletes) == alive


def imported(
    staged: dict[str, str], rows: dict[int, list[tuple[int, int]]], deletes: dict[int, list[tuple[int, int]]]
) -> set[tuple[int, int, int]]:
    """Return what Milvus makes of staged objects: the rows of a segment that no delete beside them is newer than."""
    found = set()
    for key, source in staged.items():
        parts = key.removeprefix(BASE).split("/")
        if parts[0] != "insert_log":
            continue
        own = [
            each
            for other, log in staged.items()
            if other.startswith(f"{BASE}delta_log/{'/'.join(parts[1:5])}/")
            for each in deletes[int(log.split("/")[-2])]
        ]
        for row, time in rows[int(source.split("/")[-3])]:
            if not any(row == gone and time < at for gone, at in own):
                found.add((int(parts[2]), row, time))
    return found


def test_rows_newer_than_the_cut_are_not_waited_for_and_a_segment_of_nothing_else_is_left_out() -> None:
    segments = [replace(segment(1), later_row_count=3), replace(segment(2), later_row_count=10), segment(3)]
    objects = [insert(n) for n in (1, 2, 3)]
    (source,) = CollectionImport.of(collection(segments), objects, MANY, 50).sources_staged(BASE)
    assert (source.end_timestamp, source.row_count, source.pairs[0].segments) == (50, 17, (1, 3))
    (source,) = CollectionImport.of(collection(segments), objects, MANY).sources_staged(BASE)
    assert (source.end_timestamp, source.row_count, source.pairs[0].segments) == (0, 30, (1, 2, 3))


def test_deletes_that_are_imported_by_themselves_are_cut_instead_of_copied() -> None:
    segments = [segment(1), segment(8, rows=0), segment(9, ALL_PARTITIONS, rows=0)]
    objects = [insert(1), delete(8), delete(9, ALL_PARTITIONS)]
    found = CollectionImport.of(collection(segments), objects, FoldLimits(copies=0, segment_bytes=0), 50)
    assert [s.pairs[0].delta_prefix for s in found.deletes_staged(BASE, CUT_BASE)] == ["cut/1/", "cut/-1/"]
    assert found.deletes_to_cut(CUT_BASE) == (
        ("backup/delta_log/7/1/8/82", "cut/1/82"),
        ("backup/delta_log/7/-1/9/92", "cut/-1/92"),
    )
    assert not [item for item in found.staged_items(BASE) if "insert_log" not in item.key]
    assert CollectionImport.of(collection(segments), objects, MANY, 50).deletes_to_cut(CUT_BASE) == ()


def ends(sources: Iterable[ImportSource], items: Iterable[CopyItem]) -> list[int]:
    """Return where in the list of items the last one of each pair of prefixes is."""
    keys = [item.key for item in items]
    pairs = [
        (pair.insert_prefix, pair.delta_prefix or pair.insert_prefix) for source in sources for pair in source.pairs
    ]
    return [max(number for number, key in enumerate(keys) if key.startswith(pair)) for pair in pairs]


def test_objects_are_staged_in_the_order_in_which_they_are_imported() -> None:
    """Of servers that are given whole partitions as well."""
    segments = [
        segment(4, 2),
        segment(1),
        segment(2, storage_version=2),
        segment(3, 2),
        segment(9, ALL_PARTITIONS, rows=0),
    ]
    objects = [delete(9, ALL_PARTITIONS), insert(3, 2), insert(2), insert(1), delete(3, 2), insert(4, 2), delete(1)]
    found = whole(segments, objects)
    newer = ends(found.sources_staged(BASE), found.staged_items(BASE))
    of_partitions = LegacyImport.of(collection(segments), objects, copies=1000, composed="")
    older = ends(of_partitions.sources(BASE), of_partitions.staged_items(BASE))
    assert (len(newer), len(older)) == (3, 2)
    for places in (newer, older):
        assert places == sorted(places)
        assert places[0] < places[-1]
