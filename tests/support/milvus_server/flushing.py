"""Flush: growing rows and deletes become files, a while later."""

from functools import partial

from tests.support.milvus_server.binlog import Delete
from tests.support.milvus_server.catalog import (
    FLUSHED,
    GROWING,
    L0,
    SEALED,
    Collection,
    Pending,
    Segment,
)
from tests.support.milvus_server.compaction import fold_deletes, sort
from tests.support.milvus_server.core import Core
from tests.support.milvus_server.refusals import RATE_LIMITED, Refusal


def check_rate(core: Core, collection: Collection) -> None:
    """Refuse a flush that comes too soon after the last one."""
    if not core.version.limits_flush:
        return
    if core.clock.now() < collection.may_flush_at:
        reason = "request is rejected by grpc RateLimiter middleware, please retry later: rate limit exceeded[rate=0.1]"
        raise Refusal(RATE_LIMITED, reason)
    collection.may_flush_at = core.clock.now() + core.durations.flush_limit


def flush(core: Core, collection: Collection, timestamp: int) -> list[Segment]:
    """Begin a flush of all that came before now, a timestamp; return the segments that it seals."""
    sealed = collection.of_state(GROWING)
    for segment in sealed:
        segment.state = SEALED
    deletes = list(collection.pending)
    core.after(core.durations.flush, lambda: _finish(core, collection, timestamp, sealed, deletes))
    return sealed


def is_flushed(collection: Collection, segment_ids: list[int], timestamp: int) -> bool:
    """Return whether a flush has ended. A segment that was replaced meanwhile counts as flushed."""
    waiting = {segment.segment_id for segment in collection.of_state(GROWING, SEALED)}
    return not waiting & set(segment_ids) and collection.flushed_up_to >= timestamp


def _finish(core: Core, collection: Collection, timestamp: int, sealed: list[Segment], deletes: list[Pending]) -> None:
    for segment in sealed:
        core.writer.write_rows(segment.place, collection.schema, segment.columns, segment.logs, merges=True)
        core.mark_flushed(segment)
        if core.version.sorts:
            core.after(core.durations.sort, partial(sort, core, collection, segment))
    if core.version.has_l0:
        _write_level_zero(core, collection, deletes)
    else:
        _write_deltas(core, collection, deletes)
    done = set(map(id, deletes))
    collection.pending = [delete for delete in collection.pending if id(delete) not in done]
    collection.flushed_up_to = max(collection.flushed_up_to, timestamp)


def _write_level_zero(core: Core, collection: Collection, deletes: list[Pending]) -> None:
    homes: dict[tuple[int, str], list[Delete]] = {}
    for delete in deletes:
        homes.setdefault((delete.partition_id, delete.channel), []).append((delete.key, delete.timestamp))
    for (partition_id, channel), found in homes.items():
        add_level_zero(core, collection, partition_id, channel, found)


def add_level_zero(core: Core, collection: Collection, partition_id: int, channel: str, deletes: list[Delete]) -> None:
    """Add a segment of deletes, which is folded into others by and by."""
    segment = core.new_segment(collection, partition_id, channel, L0)
    segment.storage_version = 0
    segment.add_deletes(deletes)
    core.writer.write_deletes(segment.place, deletes, segment.logs)
    core.mark_flushed(segment)
    if core.settings.auto_compaction:
        core.after(core.durations.l0_compaction, lambda: fold_deletes(core, collection, segment))


def _write_deltas(core: Core, collection: Collection, deletes: list[Pending]) -> None:
    """Write deletes beside the rows that they concern, as up to 2.3; those that concern none are lost."""
    for segment in collection.of_state(FLUSHED):
        keys = set(segment.columns.get(collection.key_field.fieldID, []))
        own = [
            (delete.key, delete.timestamp)
            for delete in deletes
            if delete.key in keys
            and delete.channel == segment.channel
            and delete.partition_id in {-1, segment.partition_id}
        ]
        if own:
            segment.add_deletes(own)
            core.writer.write_deletes(segment.place, own, segment.logs)
