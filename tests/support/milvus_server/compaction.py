"""What replaces segments by others, and what deletes the files of those that were replaced."""

from tests.support.milvus_server import mix_compaction
from tests.support.milvus_server.catalog import (
    DROPPED,
    FLUSHED,
    GROWING,
    L0,
    L2,
    SEALED,
    Collection,
    Segment,
    reaches,
)
from tests.support.milvus_server.core import Core
from tests.support.milvus_server.values import Columns, join, rows_in, take

_SHORTEST_PAUSE = 1.0


def sort(core: Core, collection: Collection, segment: Segment) -> None:
    """Replace a flushed segment by one that is sorted by key; its objects stay where they are."""
    if segment.state != FLUSHED:
        return
    _replace(core, collection, [segment], _sorted(collection, _kept(collection, [segment])), is_sorted=True)


def _kept(collection: Collection, segments: list[Segment]) -> Columns:
    """Return what a compaction of segments keeps: it reads their own delta logs, and no other deletes."""
    return join([take(segment.columns, collection.left_by_own_deletes(segment)) for segment in segments])


def _sorted(collection: Collection, columns: Columns) -> Columns:
    keys = columns.get(collection.key_field.fieldID, [])
    return take(columns, sorted(range(rows_in(columns)), key=lambda row: (keys[row],)))


def fold_deletes(core: Core, collection: Collection, level_zero: Segment) -> None:
    """Move deletes from level 0 into the segments that have such keys; those without any are spent on nothing.

    They stay while there may be rows for them that no segment with files has, as the source of 2.4 and newer has it.
    """
    if level_zero.state != FLUSHED or _is_needed(collection, level_zero):
        return
    for segment in collection.of_state(FLUSHED):
        if segment.level == L0 or segment.channel != level_zero.channel:
            continue
        if not reaches(level_zero.partition_id, segment):
            continue
        keys = set(segment.columns.get(collection.key_field.fieldID, []))
        own = [(key, timestamp) for key, timestamp in level_zero.every_delete if key in keys]
        if own:
            segment.add_deletes(own)
            core.writer.write_deletes(segment.place, own, segment.logs)
    _drop(core, level_zero)


def _is_needed(collection: Collection, level_zero: Segment) -> bool:
    newest = max(level_zero.deletes.values(), default=0)
    return collection.expects(newest) or any(
        segment.channel == level_zero.channel and reaches(level_zero.partition_id, segment) and segment.oldest < newest
        for segment in collection.of_state(GROWING, SEALED)
    )


def fold_by_and_by(core: Core, collection: Collection, level_zero: Segment) -> None:
    """Fold deletes a while later, and try again where they could not be."""

    def fold() -> None:
        fold_deletes(core, collection, level_zero)
        if level_zero.state == FLUSHED:
            fold_by_and_by(core, collection, level_zero)

    core.after(max(core.durations.l0_compaction, _SHORTEST_PAUSE), fold)


def compact_again_and_again(core: Core) -> None:
    """Compact what is worth it in every collection, as a server does by itself while clients write."""

    def work() -> None:
        for collection in core.catalog.collections():
            compact(core, collection, is_asked=False)
        compact_again_and_again(core)

    core.after(core.settings.compacts_every, work)


def compact(core: Core, collection: Collection, *, is_major: bool = False, is_asked: bool = True) -> None:
    """Merge segments of each partition and channel, without the rows that were deleted.

    Where the settings say how many rows fill a segment, Milvus' policy picks them. Otherwise all become one, and what
    nobody asked for leaves a single segment alone that has no deletes. In either case it leaves those alone that are
    still to be sorted. A major compaction arranges rows by the clustering key, and its segments are of level 2.
    """
    for segment in collection.of_state(FLUSHED):
        if segment.level == L0:
            fold_deletes(core, collection, segment)
    homes: dict[tuple[int, str], list[Segment]] = {}
    for segment in collection.of_state(FLUSHED):
        if segment.level != L0 and (is_asked or segment.is_sorted or not core.version.sorts):
            homes.setdefault((segment.partition_id, segment.channel), []).append(segment)
    for of_home in homes.values():
        for segments in _plans(core, of_home, is_asked=is_asked):
            live = _kept(collection, segments)
            sorts = core.version.sorts
            live = _sorted(collection, live) if sorts else live
            _replace(core, collection, segments, live, is_sorted=sorts, level=L2 if is_major else None)


def _plans(core: Core, segments: list[Segment], *, is_asked: bool) -> list[list[Segment]]:
    if core.settings.segment_rows:
        packs, full = core.version.packs_segments, core.settings.segment_rows
        return mix_compaction.plans(segments, full, is_asked=is_asked, packs=packs)
    return [segments] if is_asked or len(segments) > 1 or segments[0].deletes else []


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
