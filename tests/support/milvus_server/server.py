"""A Milvus of a chosen version, in this process: its calls on loopback, its files in a bucket."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import ThreadingHTTPServer
from pathlib import Path
from ssl import CERT_REQUIRED, PROTOCOL_TLS_SERVER, SSLContext
from typing import Self

import grpc
from pymilvus.grpc_gen import milvus_pb2_grpc

from local.processes import LOOPBACK, free_ports
from tests.support.milvus_server import management, rest
from tests.support.milvus_server.compaction import compact_again_and_again
from tests.support.milvus_server.core import Core, Faults, Settings
from tests.support.milvus_server.door import Door
from tests.support.milvus_server.management import GarbageCollection
from tests.support.milvus_server.objects import Objects, S3Objects
from tests.support.milvus_server.rows import live_rows
from tests.support.milvus_server.service import Service, Servicer
from tests.support.milvus_server.values import Columns
from tests.support.milvus_server.versions import VERSIONS

_WORKERS = 32
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    # Clients of Milvus ping more often than a server of gRPC likes by default.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
]


class MilvusServer:
    """A protocol server that behaves as one version of Milvus does.

    A context manager. It answers on one port by gRPC and REST (`uri`), with TLS on one each (`uri`, `rest_uri`), and
    on the management port (`management_uri`). What it knows is in memory, what it stores in real binlogs below
    `root_path` of `bucket`.
    """

    def __init__(
        self,
        s3_endpoint: str,
        *,
        version: str = "2.3.5",
        bucket: str = "milvus-bucket",
        root_path: str = "files",
        access_key: str = "test",
        secret_key: str = "test",  # noqa: S107 - the emulator's own
        settings: Settings | None = None,
        tls: tuple[Path, Path] | None = None,
        client_ca: Path | None = None,
        management_tls: bool = False,
    ) -> None:
        """Describe the server; nothing runs before it is entered.

        Args:
            s3_endpoint: URL of an S3 server.
            version: one of `versions.VERSIONS`.
            bucket: where its files are; created if it is not there.
            root_path: the folder of its files.
            access_key: for the S3 server.
            secret_key: for the S3 server.
            settings: speed, authorization, and what else an operator sets.
            tls: certificate and key, both PEM.
            client_ca: what signs the certificates of clients, which must then have one.
            management_tls: speak TLS on the management port, too, as only something in front of a real server does.
        """
        self.bucket, self.root_path = bucket, root_path
        self._endpoint, self._keys = s3_endpoint, (access_key, secret_key)
        self._version, self._settings = VERSIONS[version], settings or Settings()
        self._tls, self._client_ca, self._management_tls = tls, client_ca, management_tls
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start."""
        with ExitStack() as starting:
            access_key, secret_key = self._keys
            objects = S3Objects(self._endpoint, self.bucket, access_key=access_key, secret_key=secret_key)
            self._start(starting, objects)
            self._stack = starting.pop_all()
        return self

    def _start(self, starting: ExitStack, objects: Objects) -> None:
        self.core = Core(self._version, self._settings, objects, self.root_path)
        starting.callback(self.core.agenda.close)
        self.service = Service(self.core)
        self.garbage_collection = GarbageCollection(self.core)
        if self._settings.compacts_every:
            compact_again_and_again(self.core)
        rest_port = _run(starting, rest.serve(self.service, LOOPBACK))
        management_port = _run(starting, management.serve(self.core, self.garbage_collection, LOOPBACK))
        server = grpc.server(ThreadPoolExecutor(_WORKERS), options=_OPTIONS)
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(Servicer(self.service), server)
        grpc_port = server.add_insecure_port(f"{LOOPBACK}:0")
        server.start()
        starting.callback(lambda: server.stop(None).wait())
        if self._tls is None:
            self._door = self._rest_door = self._open(starting, grpc_port, rest_port)
        else:
            # They never share an encrypted port: 2.3 answers gRPC alone there, and newer ones do not start.
            self._door = self._open(starting, grpc_port, grpc_port, _tls_context(self._tls, self._client_ca, "h2"))
            context = _tls_context(self._tls, self._client_ca, "http/1.1")
            self._rest_door = self._open(starting, rest_port, rest_port, context)
        managing = _tls_context(self._tls, self._client_ca, "http/1.1") if self._tls and self._management_tls else None
        self._management_door = self._open(starting, management_port, management_port, managing)
        self.core.die = self._die

    def _open(self, starting: ExitStack, grpc_port: int, rest_port: int, context: SSLContext | None = None) -> Door:
        # Not any free port: while it is shut, a client that tries again could be given it for its own end.
        door = Door(LOOPBACK, free_ports(), grpc_port, rest_port, context)
        starting.callback(door.close)
        door.open()
        return door

    def _die(self) -> None:
        self._door.shut_soon()
        self._rest_door.shut_soon()

    def __exit__(self, *_: object) -> None:
        """Stop; raises what went wrong in the background."""
        self._stack.close()
        if self.core.agenda.failures:
            raise BaseExceptionGroup("the protocol server failed in the background", self.core.agenda.failures)

    @property
    def uri(self) -> str:
        """Where clients connect, by gRPC, and without TLS by REST."""
        return f"{'https' if self._tls else 'http'}://{LOOPBACK}:{self._door.port}"

    @property
    def rest_uri(self) -> str:
        """Where clients connect by REST."""
        return f"{'https' if self._tls else 'http'}://{LOOPBACK}:{self._rest_door.port}"

    @property
    def management_uri(self) -> str:
        """The management endpoint."""
        return f"{'https' if self._management_tls else 'http'}://{LOOPBACK}:{self._management_door.port}"

    @property
    def authorization(self) -> bool:
        """Whether clients must have a user and a password."""
        return self._settings.authorization

    @property
    def faults(self) -> Faults:
        """What goes wrong, for tests to set."""
        return self.core.faults

    def seconds(self, server_seconds: float) -> float:
        """Return how long so many seconds of a real server take here."""
        return self.core.clock.real(server_seconds)

    def crash(self) -> None:
        """End as by a signal: all connections break. What it knows it will know again, as from its log."""
        self._door.shut()
        self._rest_door.shut()
        with self.core.lock:
            self.service.imports.halt()

    def restart(self) -> None:
        """Answer again, at the same address; jobs that had not ended go on."""
        self._door.open()
        self._rest_door.open()
        with self.core.lock:
            self.service.imports.run_again()

    def live_rows(self, database: str, name: str, partition: str | None = None) -> Columns:
        """Return the rows that are not deleted, by field ID, for comparisons that no query could make."""
        with self.core.lock:
            collection = self.core.catalog.collection(database, name)
            wanted = [collection.partition(partition).partition_id] if partition else []
            return live_rows(collection, wanted)


def _run(starting: ExitStack, server: ThreadingHTTPServer) -> int:
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    starting.callback(thread.join)
    starting.callback(server.server_close)
    starting.callback(server.shutdown)
    return int(server.server_address[1])


def _tls_context(files: tuple[Path, Path], client_ca: Path | None, protocol: str) -> SSLContext:
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    context.set_alpn_protocols([protocol])
    if client_ca is not None:
        context.verify_mode = CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context
