"""Flushes: asked for, waited for, and what their answers say about the point in time that they cover."""

import time
from collections.abc import Callable
from typing import override

from pymilvus.grpc_gen import milvus_pb2

from milvus_vault.adapters.milvus_calls import Message, MilvusClient
from milvus_vault.adapters.milvus_errors import check, understood
from milvus_vault.errors import FlushTimeoutError, MilvusUnavailableError
from milvus_vault.model.flushes import ChannelCheckpoint, FlushAllPoint, FlushedChannel, FlushPoint
from milvus_vault.model.hybrid import from_milliseconds
from milvus_vault.ports import Flushes

# GetFlushState is true 0.4 to 3 s after a Flush on servers of 2.3 to 2.6: ask often at first.
FIRST_POLL_SECONDS = 0.1
LONGEST_POLL_SECONDS = 2.0
# So that nobody waits for half as long again as it took: a flush of 0.4 s is seen after 0.48 s, and of 3 s after 3.2 s.
POLL_GROWTH = 1.5

# A property of the message that marks a flush in its channel: the timestamp, in digits of base 36.
_TIME_TICK = "_tt"
_BASE = 36


class FlushClient(MilvusClient, Flushes):
    """The calls about flushes, and the clock by which they are told."""

    @override
    def current_timestamp(self) -> int | None:
        answer = self._call("AllocTimestamp", milvus_pb2.AllocTimestampRequest(), optional=True)
        if answer is None:
            return None
        check(answer.status, "AllocTimestamp", self._call.uri)
        return int(answer.timestamp)

    @override
    def flush(self, database: str, name: str, *, timeout_seconds: float) -> FlushPoint:
        subject = f"{database}.{name}"
        end = time.monotonic() + timeout_seconds
        request = milvus_pb2.FlushRequest(db_name=database, collection_names=[name])

        def flush() -> Message:
            answer = self._call("Flush", request, database)
            check(answer.status, "Flush", subject)
            return answer

        # From 2.4 on a collection may be flushed once in 10 s; within that the server asks to come back.
        answer = _until(end, flush, retry_on=MilvusUnavailableError)
        with understood("Flush", subject):
            point = flush_point(answer, name)
            # The timestamp covers what the segment IDs cannot: a flush of deletes only has none.
            asked = milvus_pb2.GetFlushStateRequest(
                segmentIDs=answer.coll_segIDs[name].data,
                flush_ts=point.timestamp,
                db_name=database,
                collection_name=name,
            )
        self._wait("GetFlushState", asked, database, subject, end)
        return point

    @override
    def flush_all(self, *, timeout_seconds: float) -> FlushAllPoint | None:
        end = time.monotonic() + timeout_seconds
        answer = self._call("FlushAll", milvus_pb2.FlushAllRequest(), optional=True)
        if answer is None:
            return None
        check(answer.status, "FlushAll", self._call.uri)
        with understood("FlushAll", self._call.uri):
            point = flush_all_point(answer)
            if point is None:
                return None
            asked = milvus_pb2.GetFlushAllStateRequest(
                flush_all_ts=point.timestamp, flush_all_tss={item.channel: item.timestamp for item in point.channels}
            )
        self._wait("GetFlushAllState", asked, "", self._call.uri, end)
        return point

    def _wait(self, call: str, asked: Message, database: str, subject: str, end: float) -> None:
        pause = FIRST_POLL_SECONDS
        while True:
            state = self._call(call, asked, database)
            check(state.status, call, subject)
            if state.flushed:
                return
            if time.monotonic() >= end:
                msg = f"{subject} was not flushed in time"
                raise FlushTimeoutError(msg, hint="Milvus is overloaded; try again later, or set `skip_flush`.")
            time.sleep(pause)
            pause = min(pause * POLL_GROWTH, LONGEST_POLL_SECONDS)


def flush_point(answer: Message, name: str) -> FlushPoint:
    """Return what the flush of a collection covers; servers before 2.4 tell no checkpoints."""
    return FlushPoint(
        # Servers of 2.2 tell only the second, of the same clock.
        timestamp=answer.coll_flush_ts[name] or from_milliseconds(answer.coll_seal_times[name] * 1000),
        checkpoints=tuple(
            ChannelCheckpoint(channel=channel, timestamp=position.timestamp, position=position.SerializeToString())
            for channel, position in sorted(answer.channel_cps.items())
        ),
        segment_ids=(*answer.flush_coll_segIDs[name].data, *answer.coll_segIDs[name].data),
        sealed_ids=tuple(answer.coll_segIDs[name].data),
    )


def flush_all_point(answer: Message) -> FlushAllPoint | None:
    """Return what a FlushAll covers, or None from a server that answers without messages (before 2.6.11)."""
    channels = tuple(
        FlushedChannel(
            channel=channel, timestamp=int(message.properties[_TIME_TICK], _BASE), message=message.SerializeToString()
        )
        for channel, message in sorted(answer.flush_all_msgs.items())
        if _TIME_TICK in message.properties
    )
    if not channels:
        return None
    timestamp = answer.flush_all_ts or min(channel.timestamp for channel in channels)
    return FlushAllPoint(
        timestamp=timestamp,
        channels=channels,
        control_channel=answer.cluster_info.cchannel,
        physical_channels=tuple(answer.cluster_info.pchannels),
    )


def _until[Result](end: float, work: Callable[[], Result], *, retry_on: type[Exception]) -> Result:
    """Return what `work` returns, again after a pause while it raises `retry_on` and the time `end` is not there."""
    pause = FIRST_POLL_SECONDS
    while True:
        try:
            return work()
        except retry_on:
            if time.monotonic() + pause >= end:
                raise
        time.sleep(pause)
        pause = min(pause * POLL_GROWTH, LONGEST_POLL_SECONDS)
