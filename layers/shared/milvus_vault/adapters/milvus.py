"""Milvus behind the port `VectorDatabase`, by gRPC. With its siblings the only module that knows pymilvus."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import grpc

from milvus_vault.adapters import milvus_errors
from milvus_vault.adapters.milvus_flushes import Flusher
from milvus_vault.adapters.milvus_imports import GrpcImporter
from milvus_vault.adapters.milvus_making import MilvusMaker
from milvus_vault.adapters.milvus_segments import SegmentDescriber
from milvus_vault.errors import SettingsError
from milvus_vault.model.collections import SegmentLogs
from milvus_vault.model.flushes import FlushAllPoint, FlushPoint

CONNECT_SECONDS = 5.0


@contextmanager
def connect(uri: str, *, username: str = "", password: str = "", rest_uri: str = "") -> Iterator["MilvusDatabase"]:
    """Yield a connection to Milvus at `http://host:port` or `https://host:port`, closed at the end.

    REST is asked at the same address unless `rest_uri` is another.

    Raises `SettingsError` for another form of URI, and `MilvusUnavailableError` where nothing answers.
    """
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = f"MilvusUri '{uri}' is not of the form http://host:port or https://host:port"
        raise SettingsError(msg, hint="Deploy the stack again with a correct MilvusUri.")
    address = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 19530)}"
    # Listings of segments and partitions can be far over gRPC's default of 4 MiB.
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    channel = (
        grpc.secure_channel(address, grpc.ssl_channel_credentials(), options)
        if parts.scheme == "https"
        else grpc.insecure_channel(address, options)
    )
    try:
        try:
            grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
        except grpc.FutureTimeoutError as err:
            raise milvus_errors.unreachable(uri, CONNECT_SECONDS) from err
        yield MilvusDatabase(channel, uri, username=username, password=password, rest_uri=rest_uri)
    finally:
        channel.close()


class MilvusDatabase(MilvusMaker):
    """The port `VectorDatabase`: reads and makes, and what has a module of its own. Safe for several threads."""

    def __init__(self, channel: grpc.Channel, uri: str, *, username: str, password: str, rest_uri: str = "") -> None:
        super().__init__(channel, uri, username=username, password=password)
        self._flusher = Flusher(self._call, uri)
        self._describer = SegmentDescriber(rest_uri or uri, username=username, password=password)

    def describe_segments(
        self, database: str, collection_id: int, segment_ids: Sequence[int]
    ) -> dict[int, SegmentLogs]:
        """Return the logs of segments, by their IDs, as far as the server tells them.

        Servers from 2.5.8 on do, by REST. What is not in the answer must be listed; nothing is raised.
        """
        return self._describer.describe_segments(database, collection_id, segment_ids)

    def flush(self, database: str, name: str, *, timeout_seconds: float) -> FlushPoint:
        """Flush a collection, wait for it, and return up to which point in time all is flushed.

        Raises `FlushTimeoutError`.
        """
        return self._flusher.flush(database, name, timeout_seconds=timeout_seconds)

    def flush_all(self, *, timeout_seconds: float) -> FlushAllPoint | None:
        """Flush all collections of all databases; None from a server that does not say up to where (before 2.6.11).

        Raises `FlushTimeoutError`.
        """
        return self._flusher.flush_all(timeout_seconds=timeout_seconds)

    def may_flush(self, database: str) -> bool:
        """Return whether the user may flush all collections of a database; nothing is flushed."""
        return self._flusher.may_flush(database)

    def importer(self) -> GrpcImporter:
        """Return the import by this connection."""
        return GrpcImporter(self._call, self.server_version())
