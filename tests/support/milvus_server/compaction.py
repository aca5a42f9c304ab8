"""What replaces segments by others, and what deletes the files of those that were replaced."""

from tests.support.milvus_server.catalog import (
    ALL_PARTITIONS,
    DROPPED,
    FLUSHED,
    L0,
    L2,
    Collection,
    Segment,
)
from tests.support.milvus_server.core import Core
from tests.support.milvus_server.values import Columns, join, rows_in, take


def sort(core: Core, collection: Collection, segment: Segment) -> None:
    """Replace a flushed segment by one that is sorted by key; its objects stay where they are."""
    if segment.state != FLUSHED:
        return
    alive = collection.alive(segment) if segment.deletes else range(segment.rows)
    keys = segment.columns[collection.key_field.fieldID]
    order = sorted(alive, key=lambda row: (keys[row],))
    _replace(core, collection, [segment], take(segment.columns, order), is_sorted=True)


def fold_deletes(core: Core, collection: Collection, level_zero: Segment) -> None:
    """Move deletes from level 0 into the segments that have such keys; those without any are spent on nothing."""
    if level_zero.state != FLUSHED:
        return
    for segment in collection.of_state(FLUSHED):
        if segment.level == L0 or segment.channel != level_zero.channel:
            continue
        if level_zero.partition_id not in {ALL_PARTITIONS, segment.partition_id}:
            continue
        keys = set(segment.columns.get(collection.key_field.fieldID, []))
        own = [(key, timestamp) for key, timestamp in level_zero.deletes.items() if key in keys]
        if own:
            segment.add_deletes(own)
            core.writer.write_deletes(segment.place, own, segment.logs)
    _drop(core, level_zero)


def compact(core: Core, collection: Collection, *, is_major: bool = False) -> None:
    """Merge all segments of each partition and channel into one, without the rows that were deleted.

    A major compaction arranges rows by the clustering key, and its segments are of level 2.
    """
    for segment in collection.of_state(FLUSHED):
        if segment.level == L0:
            fold_deletes(core, collection, segment)
    homes: dict[tuple[int, str], list[Segment]] = {}
    for segment in collection.of_state(FLUSHED):
        homes.setdefault((segment.partition_id, segment.channel), []).append(segment)
    for segments in homes.values():
        live = join([take(segment.columns, collection.alive(segment)) for segment in segments])
        _replace(core, collection, segments, live, is_sorted=core.version.sorts, level=L2 if is_major else None)


def _replace(
    core: Core,
    collection: Collection,
    segments: list[Segment],
    live: Columns,
    *,
    is_sorted: bool,
    level: int | None = None,
) -> None:
    first = segments[0]
    if rows_in(live):
        merged = core.new_segment(collection, first.partition_id, first.channel, level or first.level)
        merged.columns, merged.is_sorted = live, is_sorted
        merged.compacted_from = tuple(segment.segment_id for segment in segments)
        core.writer.write_rows(merged.place, collection.schema, live, merged.logs, merges=False)
        core.mark_flushed(merged)
    for segment in segments:
        _drop(core, segment)


def _drop(core: Core, segment: Segment) -> None:
    segment.state = DROPPED
    segment.dropped_at = core.clock.now()


def drop_partition(core: Core, collection: Collection, partition_id: int) -> None:
    """Give a partition's files to the garbage collection."""
    for segment in collection.segments.values():
        if segment.partition_id == partition_id:
            _drop(core, segment)


def drop_collection(core: Core, collection: Collection) -> None:
    """Give a collection's files to the garbage collection."""
    for segment in collection.segments.values():
        _drop(core, segment)
    core.catalog.dropped.append(collection)


def collect_garbage(core: Core) -> None:
    """Delete the files of segments that were replaced or dropped long enough ago."""
    before = core.clock.now() - core.durations.gc_tolerance
    keys: list[str] = []
    for collection in [*core.catalog.collections(), *core.catalog.dropped]:
        for segment in collection.of_state(DROPPED):
            if segment.dropped_at <= before:
                keys += segment.logs.keys(core.root, segment.place)
                del collection.segments[segment.segment_id]
    core.objects.delete(keys)
    core.catalog.dropped = [collection for collection in core.catalog.dropped if collection.segments]
