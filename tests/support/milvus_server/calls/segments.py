"""Calls about flushes, segments and compactions."""

import time

from tests.support.milvus_server import flushing
from tests.support.milvus_server.calls.table import Call, answers
from tests.support.milvus_server.catalog import DROPPED, FLUSHED, L0, SEALED, Collection
from tests.support.milvus_server.compaction import compact
from tests.support.milvus_server.refusals import Refusal
from tests.support.milvus_server.values import Message

_MISSING_PARAMETER = 1101
_SEGMENT_NOT_FOUND = 600
_COMPLETED = 2  # common.CompactionState


@answers("Flush")
def flush(call: Call, request: Message, answer: Message) -> None:
    """Begin to flush collections."""
    database = call.database(request)
    answer.db_name = database
    collections = [call.core.catalog.collection(database, name) for name in request.collection_names]
    for name, collection in zip(request.collection_names, collections, strict=True):
        flushing.check_rate(call.core, collection)
        before = [segment.segment_id for segment in collection.of_state(FLUSHED)]
        timestamp = call.core.clock.timestamp()
        sealed = flushing.flush(call.core, collection, timestamp)
        answer.coll_segIDs[name].data.extend(segment.segment_id for segment in sealed)
        answer.flush_coll_segIDs[name].data.extend(before)
        answer.coll_seal_times[name] = int(time.time())
        answer.coll_flush_ts[name] = timestamp
        if call.core.version.has_checkpoints:
            _add_checkpoints(call, collection, answer.channel_cps, timestamp)


def _add_checkpoints(call: Call, collection: Collection, checkpoints: Message, flushed_at: int) -> None:
    for channel in collection.channels:
        timestamp = flushing.checkpoint(collection, channel, flushed_at)
        position = checkpoints[channel]
        position.channel_name, position.timestamp = channel, timestamp
        if collection.segments:  # before the first row there is no message
            position.msgID = timestamp.to_bytes(8, "little")
        position.msgGroup = f"datanode-{channel}"
        if call.core.version.at_least(2, 6):
            position.WAL_name = 1


@answers("GetFlushState")
def get_flush_state(call: Call, request: Message, answer: Message) -> None:
    """Tell whether a flush has ended."""
    ids = list(request.segmentIDs)
    all_of_them = call.core.catalog.collections()
    collections = [call.collection(request)] if request.collection_name else list(all_of_them)
    answer.flushed = all(flushing.is_flushed(collection, ids, request.flush_ts) for collection in collections)


@answers("FlushAll")
def flush_all(call: Call, request: Message, answer: Message) -> None:
    """Begin to flush everything; no rate is asked for."""
    version = call.core.version
    # One message for all, so that whoever waits for a channel's waits for each collection of that channel.
    answer.flush_all_ts = timestamp = call.core.clock.timestamp()
    for collection in list(call.core.catalog.collections()):
        if request.db_name and request.db_name != collection.database:
            continue
        sealed = flushing.flush(call.core, collection, timestamp)
        if version.minor == (2, 5):
            _add_result(call, answer, collection, timestamp, [segment.segment_id for segment in sealed])
        if version.at_least(2, 6):
            for channel in collection.channels:
                answer.flush_all_msgs[channel.rpartition("_")[0]].properties["_tt"] = _in_base_36(timestamp)


def _in_base_36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while number:
        number, digit = divmod(number, len(digits))
        text = digits[digit] + text
    return text


def _add_result(call: Call, answer: Message, collection: Collection, timestamp: int, sealed: list[int]) -> None:
    by_database = next((found for found in answer.flush_results if found.db_name == collection.database), None)
    result = by_database or answer.flush_results.add(db_name=collection.database)
    flushed = result.collection_results.add(
        collection_name=collection.name, flush_ts=timestamp, seal_time=int(time.time())
    )
    flushed.segment_ids.data.extend(sealed)
    _add_checkpoints(call, collection, flushed.channel_cps, timestamp)


@answers("GetFlushAllState")
def get_flush_all_state(call: Call, request: Message, answer: Message) -> None:
    """Tell whether a flush of everything has ended."""
    if call.core.version.at_least(2, 6) and not request.flush_all_ts and not request.flush_all_tss:
        raise Refusal(_MISSING_PARAMETER, "FlushAllTss or FlushAllTs is required: missing parameter")
    wanted = request.flush_all_ts or max(request.flush_all_tss.values(), default=0)
    answer.flushed = all(
        collection.flushed_up_to >= wanted or collection.created > wanted
        for collection in call.core.catalog.collections()
    )


@answers("GetPersistentSegmentInfo")
def get_persistent_segment_info(call: Call, request: Message, answer: Message) -> None:
    """List segments; a sealed one shows no rows before its files are written."""
    collection = call.collection(request)
    if call.core.faults.loses_segments:
        call.core.faults.loses_segments -= 1
        raise Refusal(_SEGMENT_NOT_FOUND, f"segment not found[segment={call.core.clock.new_id()}]")
    for segment in collection.of_state(SEALED, FLUSHED):
        answer.infos.add(
            segmentID=segment.segment_id,
            collectionID=segment.collection_id,
            partitionID=segment.partition_id,
            num_rows=segment.rows if segment.state == FLUSHED else 0,
            state=segment.state,
            level=segment.level,
            is_sorted=segment.is_sorted,
            storage_version=segment.storage_version,
        )


@answers("GetQuerySegmentInfo")
def get_query_segment_info(call: Call, request: Message, answer: Message) -> None:
    """List the segments in memory."""
    collection = call.collection(request)
    for segment in collection.of_state(SEALED, FLUSHED) if collection.load else ():
        if segment.level != L0:
            answer.infos.add(
                segmentID=segment.segment_id,
                collectionID=segment.collection_id,
                partitionID=segment.partition_id,
                num_rows=segment.rows,
                state=segment.state,
            )


@answers("ManualCompaction")
def manual_compaction(call: Call, request: Message, answer: Message) -> None:
    """Merge the segments of a collection."""
    collection = call.core.catalog.by_id(request.collectionID) if request.collectionID else call.collection(request)
    has_levels = call.core.version.has_l0
    compact(call.core, collection, is_major=request.majorCompaction and has_levels)
    answer.compactionID = call.core.clock.new_id()
    answer.compactionPlanCount = sum(1 for segment in collection.of_state(DROPPED))


@answers("GetCompactionState")
def get_compaction_state(_: Call, __: Message, answer: Message) -> None:
    """Tell that a compaction has ended."""
    answer.state = _COMPLETED


@answers("GetCompactionStateWithPlans")
def get_compaction_state_with_plans(_: Call, __: Message, answer: Message) -> None:
    """Tell that a compaction has ended."""
    answer.state = _COMPLETED
