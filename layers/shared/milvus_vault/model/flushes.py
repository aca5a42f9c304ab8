"""Up to which point in time a flush has written everything."""

from milvus_vault.model.base import Blob, Model, Number
from milvus_vault.model.hybrid import HybridTimestamp


class ChannelCheckpoint(Model):
    """Up to where a virtual channel of a collection is in flushed segments."""

    channel: str
    timestamp: HybridTimestamp
    """Hybrid timestamp of the last row or delete that is in a segment for sure."""
    position: Blob = b""
    """The protobuf `msg.MsgPosition` of Flush; empty where FlushAll told the timestamp alone."""


class FlushPoint(Model):
    """What the flush of one collection covers."""

    timestamp: HybridTimestamp = 0
    """Hybrid timestamp up to which every row is in segments; 0 where nothing was flushed."""
    checkpoints: tuple[ChannelCheckpoint, ...] = ()
    """Of each virtual channel; none from servers before 2.4."""
    segment_ids: tuple[Number, ...] = ()
    """All segments with rows that there were at that time, those that the flush sealed included; none of FlushAll."""
    sealed_ids: tuple[Number, ...] = ()
    """Those that the flush sealed."""


class FlushedChannel(Model):
    """What FlushAll says of a physical channel, which many collections share."""

    channel: str
    timestamp: HybridTimestamp
    message: Blob
    """The protobuf `common.ImmutableMessage` that marks the flush in the channel."""


class FlushAllPoint(Model):
    """What one flush of a whole server (2.6.11 and newer) covers."""

    timestamp: HybridTimestamp
    channels: tuple[FlushedChannel, ...]
    control_channel: str = ""
    physical_channels: tuple[str, ...] = ()
    """All of the server's, in its order."""

    def of(self, virtual_channels: tuple[str, ...]) -> FlushPoint:
        """Return what it covers of the collection that has these channels."""
        by_name = {channel.channel: channel.timestamp for channel in self.channels}
        # A virtual channel is named `<physical channel>_<collection>v<number>`.
        homes = {channel: channel.rpartition("_")[0] for channel in virtual_channels}
        return FlushPoint(
            timestamp=self.timestamp,
            checkpoints=tuple(
                ChannelCheckpoint(channel=channel, timestamp=by_name[home])
                for channel, home in homes.items()
                if home in by_name
            ),
        )
