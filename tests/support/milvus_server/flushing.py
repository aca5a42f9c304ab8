"""Flush: growing rows and deletes become files, a while later.

A flush cuts rows and deletes at different places, as seen on the real 2.3.5 and 2.5.27 under writes: rows by segment,
and what arrives after the sealing starts a new one; deletes by the buffer, which is written whole when the flush is
carried out. So of an upsert after the sealing the deletes have a file, and the rows have none. What 2.2, 2.4 and 2.6 do
was not seen; they are taken for no kinder.
"""

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
from tests.support.milvus_server.compaction import fold_by_and_by, sort
from tests.support.milvus_server.core import Core
from tests.support.milvus_server.refusals import RATE_LIMITED, Refusal

_PATIENCE_SECONDS = 0.1


def check_rate(core: Core, collection: Collection) -> None:
    """Refuse a flush that comes too soon after the last one."""
    if not core.version.limits_flush:
        return
    if core.clock.now() < collection.may_flush_at:
        reason = "request is rejected by grpc RateLimiter middleware, please retry later: rate limit exceeded[rate=0.1]"
        raise Refusal(RATE_LIMITED, reason)
    collection.may_flush_at = core.clock.now() + core.durations.flush_limit


def flush(core: Core, collection: Collection, timestamp: int) -> list[Segment]:
    """Begin a flush now, at a timestamp; return the segments that it seals."""
    sealed = collection.of_state(GROWING)
    for segment in sealed:
        segment.state = SEALED
    core.after(core.durations.flush, partial(_finish, core, collection, timestamp, sealed))
    return sealed


def is_flushed(collection: Collection, segment_ids: list[int], timestamp: int) -> bool:
    """Return whether a flush has ended. A segment that was replaced meanwhile counts as flushed."""
    waiting = {segment.segment_id for segment in collection.of_state(GROWING, SEALED)}
    return not waiting & set(segment_ids) and collection.flushed_up_to >= timestamp


def checkpoint(collection: Collection, channel: str, now: int) -> int:
    """Return up to where all of a channel lies in files, as a flush answers with it: what it flushes itself does not.

    On a busy channel that is where the flush before began; on an idle one it moves on by itself (seen on 2.5.27).
    """
    rows = [segment.oldest for segment in collection.of_state(GROWING, SEALED) if segment.channel == channel]
    deletes = [delete.timestamp for delete in collection.pending if delete.channel == channel]
    return min([now, *(timestamp - 1 for timestamp in (*rows, *deletes, *collection.in_flight))])


def _finish(core: Core, collection: Collection, timestamp: int, sealed: list[Segment]) -> None:
    if core.version.awaits_requests and collection.expects(timestamp):
        # The time tick of the channel has not come to the flush.
        core.after(_PATIENCE_SECONDS, partial(_finish, core, collection, timestamp, sealed))
        return
    for segment in sealed:
        core.writer.write_rows(segment.place, collection.schema, segment.columns, segment.logs, merges=True)
        core.mark_flushed(segment)
        if core.version.sorts:
            core.after(core.durations.sort, partial(sort, core, collection, segment))
    if core.version.has_l0:
        _write_level_zero(core, collection)
    else:
        _write_deltas(core, collection)
    collection.flushed_up_to = max(collection.flushed_up_to, timestamp)


def _write_level_zero(core: Core, collection: Collection) -> None:
    homes: dict[tuple[int, str], list[Delete]] = {}
    for delete in collection.pending:
        homes.setdefault((delete.partition_id, delete.channel), []).append((delete.key, delete.timestamp))
    for (partition_id, channel), found in homes.items():
        add_level_zero(core, collection, partition_id, channel, found)
    collection.pending = []


def add_level_zero(core: Core, collection: Collection, partition_id: int, channel: str, deletes: list[Delete]) -> None:
    """Add a segment of deletes, which is folded into others by and by."""
    segment = core.new_segment(collection, partition_id, channel, L0)
    segment.storage_version = 0
    segment.add_deletes(deletes)
    core.writer.write_deletes(segment.place, deletes, segment.logs)
    core.mark_flushed(segment)
    if core.settings.auto_compaction:
        fold_by_and_by(core, collection, segment)


def _write_deltas(core: Core, collection: Collection) -> None:
    """Write deletes beside the rows that they concern, as up to 2.3; those that concern none are lost."""
    for segment in collection.of_state(FLUSHED):
        keys = set(segment.columns.get(collection.key_field.fieldID, []))
        own = [
            delete
            for delete in collection.pending
            if delete.key in keys and delete.concerns(segment) and segment.segment_id not in delete.written
        ]
        if own:
            deletes = [(delete.key, delete.timestamp) for delete in own]
            segment.add_deletes(deletes)
            core.writer.write_deletes(segment.place, deletes, segment.logs)
        for delete in own:
            delete.written.add(segment.segment_id)
    collection.pending = _still_needed(collection)


def _still_needed(collection: Collection) -> list[Pending]:
    """Return the deletes of rows that no file has yet: they go beside those when they are flushed."""
    key = collection.key_field.fieldID
    growing = [(segment, set(segment.columns.get(key, []))) for segment in collection.of_state(GROWING, SEALED)]
    return [
        delete
        for delete in collection.pending
        if collection.expects(delete.timestamp)
        or any(delete.key in keys and delete.concerns(segment) for segment, keys in growing)
    ]
