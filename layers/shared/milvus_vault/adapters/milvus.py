"""Milvus behind the port `VectorDatabase`, by gRPC. With its siblings the only module that knows pymilvus."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from milvus_vault.adapters import milvus_errors
from milvus_vault.adapters.endpoints import Endpoint, rest_endpoint
from milvus_vault.adapters.milvus_access import NOBODY, ClientTls, MilvusAccess
from milvus_vault.adapters.milvus_calls import MilvusCall
from milvus_vault.adapters.milvus_flushes import FlushClient
from milvus_vault.adapters.milvus_imports import GrpcImporter
from milvus_vault.adapters.milvus_indexes import IndexClient
from milvus_vault.adapters.milvus_loads import LoadClient
from milvus_vault.adapters.milvus_making import MakerClient
from milvus_vault.adapters.milvus_queries import QueryClient
from milvus_vault.adapters.milvus_reading import SchemaClient, ServerClient
from milvus_vault.adapters.milvus_rights import AccessClient
from milvus_vault.adapters.milvus_segments import SegmentClient, SegmentDescriber
from milvus_vault.adapters.tls_failures import tls_failure
from milvus_vault.ports import VectorDatabase

CONNECT_SECONDS = 5.0
_HEALTH_CHECK = "/grpc.health.v1.Health/Check"
_UNANSWERED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@contextmanager
def connect(uri: str, access: MilvusAccess = NOBODY, *, rest_uri: str = "") -> Iterator["MilvusDatabase"]:
    """Yield a connection to Milvus at `http://host:port` or `https://host:port`, closed at the end.

    REST is asked at the same address unless `rest_uri` is another.

    Raises `SettingsError` for another form of URI, `MilvusUnavailableError` where nothing answers, and
    `MilvusTlsError`, `MilvusCertificateError` or `ClientCertificateError` where TLS does not come about.
    """
    endpoint = Endpoint.parse(uri)
    rest = rest_endpoint(uri, rest_uri)
    channel = _open_channel(endpoint, access.tls)
    try:
        _wait_until_ready(channel, endpoint, access.tls)
        yield MilvusDatabase(channel, endpoint.uri, token=access.token, describer=SegmentDescriber(rest, access))
    finally:
        channel.close()


def _open_channel(endpoint: Endpoint, tls: ClientTls) -> grpc.Channel:
    # Listings of segments and partitions can be far over gRPC's default of 4 MiB.
    options: list[tuple[str, object]] = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    if not endpoint.is_tls:
        return grpc.insecure_channel(endpoint.address, options)
    if tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    texts = (tls.ca_pem, tls.key_pem, tls.certificate_pem)
    credentials = grpc.ssl_channel_credentials(*(text.encode() or None for text in texts))
    return grpc.secure_channel(endpoint.address, credentials, options)


def _wait_until_ready(channel: grpc.Channel, endpoint: Endpoint, tls: ClientTls) -> None:
    """Return when calls can be made. gRPC tries again and again; a lasting failure is told after the first try.

    Any answer will do: it shows that a server is there. Subscribing to the channel's state would need no call, but a
    channel with a subscriber takes up to 0.2 s to close.
    """
    call = channel.unary_unary(_HEALTH_CHECK)
    end = time.monotonic() + CONNECT_SECONDS
    for is_patient in (False, True):
        try:
            call(b"", timeout=max(0.0, end - time.monotonic()), wait_for_ready=is_patient)
        except grpc.RpcError as err:
            if not isinstance(err, grpc.Call) or err.code() not in _UNANSWERED:
                return
            if failure := tls_failure(endpoint, tls):
                raise failure from None
        else:
            return
    raise milvus_errors.unreachable(endpoint.uri, CONNECT_SECONDS)


class MilvusDatabase(
    SegmentClient,
    ServerClient,
    SchemaClient,
    FlushClient,
    MakerClient,
    IndexClient,
    LoadClient,
    QueryClient,
    AccessClient,
    VectorDatabase,
):
    """All clients on one connection. Safe to use from several threads."""

    def __init__(self, channel: grpc.Channel, uri: str, *, token: str = "", describer: SegmentDescriber) -> None:
        super().__init__(MilvusCall(channel, uri, token=token), describer)

    def importer(self) -> GrpcImporter:
        """Return the import by this connection."""
        return GrpcImporter(self._call, self.server_version())
