"""What Milvus' answers to Flush and FlushAll say about the point in time that they cover."""

from typing import Any

from milvus_vault.model.flushes import ChannelCheckpoint, FlushAllPoint, FlushedChannel, FlushPoint

# Message classes are built when pymilvus is imported, so that no type checker knows them.
type Message = Any

# A property of the message that marks a flush in its channel: the timestamp, in digits of base 36.
_TIME_TICK = "_tt"
_BASE = 36


def flush_point(answer: Message, name: str) -> FlushPoint:
    """Return what the flush of a collection covers; servers before 2.4 tell no checkpoints."""
    return FlushPoint(
        timestamp=answer.coll_flush_ts[name],
        checkpoints=tuple(
            ChannelCheckpoint(channel=channel, timestamp=position.timestamp, position=position.SerializeToString())
            for channel, position in sorted(answer.channel_cps.items())
        ),
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
