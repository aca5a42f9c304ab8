"""SeaweedFS: a second, stricter S3 server, with real checksums, credentials and files on disk."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import override

from botocore.exceptions import BotoCoreError, ClientError
from mypy_boto3_s3 import S3Client

from local import clients
from local.processes import LOOPBACK, Server, free_ports

ACCESS_KEY = "localaccesskey"
SECRET_KEY = "localsecretkey"  # noqa: S105 - of a server on loopback


class SeaweedFS(Server):
    """One S3 server on loopback; its data goes away with it."""

    name = "seaweedfs"
    stop_timeout_seconds = 1.0  # it would take more than ten, to save data that is thrown away

    def __init__(self) -> None:
        """Describe the server and choose its ports."""
        super().__init__()
        self._first_port = free_ports(8)

    @property
    def url(self) -> str:
        """The S3 endpoint."""
        return f"http://{LOOPBACK}:{self._first_port}"

    def client(self) -> S3Client:
        """Return a boto3 client of this server."""
        client: S3Client = clients.create("s3", self.url, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
        return client

    @override
    def _prepare(self) -> None:
        for name in ("data", "log"):
            (self.folder / name).mkdir()
        identity = {
            "name": "local",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))

    @override
    def _command(self) -> Sequence[str]:
        # Each component's gRPC port is given, because the default (its port + 10000) falls into the range of
        # outgoing connections.
        components = ("s3", "master", "volume", "filer")
        ports = [
            f"-{component}.{kind}={self._first_port + 2 * number + (kind == 'port.grpc')}"
            for number, component in enumerate(components)
            for kind in ("port", "port.grpc")
        ]
        return [
            str(Path(sys.executable).parent / "weed"),
            f"-logdir={self.folder / 'log'}",
            "server",
            f"-dir={self.folder / 'data'}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            "-s3",
            "-filer",
            *ports,
            f"-s3.config={self.folder / 's3.json'}",
            f"-s3.localSocket={self.folder / 's3.sock'}",
            f"-filer.localSocket={self.folder / 'filer.sock'}",
            # Off: two more APIs on fixed ports, and reports to the maker.
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            # A bucket takes seven volumes of its own; the default limit of eight is enough for one bucket.
            "-master.volumeSizeLimitMB=512",
            "-volume.max=200",
            "-volume.preStopSeconds=1",
        ]

    @override
    def _is_ready(self) -> bool:
        try:
            self.client().list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True
