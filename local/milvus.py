"""A real Milvus 2.3.5 standalone without Docker, its data on any S3 endpoint.

The binaries come from the PyPI package `milvus`; the package's own launcher is not used, because it lets
only one server run on a machine (its etcd always takes port 2379) and kills it after a second.
"""

import importlib.util
import lzma
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, override
from urllib.parse import urlsplit

import yaml

from local.processes import LOOPBACK, Server, ServerError, fetch, free_ports, host_environment

VERSION = "2.3.5"
CACHE = Path(__file__).parent.parent / ".local-cache"
ROOT_CREDENTIALS = {"username": "root", "password": "Milvus"}

# Port of each `{{ name(int): default }}` in the package's configuration template, counted from the base port.
_PORTS = {
    "proxy_port": 0,
    "etcd_port": 1,
    "proxy_internal_port": 2,
    "root_coord_port": 3,
    "query_coord_port": 4,
    "query_node_port": 5,
    "index_coord_port": 6,
    "index_node_port": 7,
    "data_coord_port": 8,
    "data_node_port": 9,
}
_MANAGEMENT_PORT = 10
_ETCD_PEER_PORT = 11


class Milvus(Server):
    """One Milvus server.

    Binlogs, stats and indexes go to `bucket`/`root_path` on the S3 endpoint (it creates the bucket itself);
    metadata and the message queue stay in `data_dir`, by default a folder that goes away with the server.
    With a `data_dir` of yours, stop and start again is a restart.

    What listens where: etcd on loopback only. The proxy, the six coordinators and nodes, the proxy's internal
    port and the management port listen on all interfaces: Milvus 2.3 has no setting for it (`proxy.ip` and
    its like, set here to loopback, are only the addresses at which the components find each other). Run it
    where the host's ports are not open to others, or turn authorization on, which covers the proxy only.
    """

    name = "milvus"
    ready_timeout_seconds = 180.0
    # It would take 3 s, and for ever once it has been restarted with collections; it stands being killed.
    stop_timeout_seconds = 1.0

    def __init__(
        self,
        s3_endpoint: str,
        *,
        bucket: str = "milvus-bucket",
        root_path: str = "files",
        access_key: str = "test",
        secret_key: str = "test",  # noqa: S107 - the emulator's own
        authorization: bool = False,
        settings: Mapping[str, object] | None = None,
        data_dir: Path | None = None,
        port: int | None = None,
    ) -> None:
        """Describe the server.

        Args:
            s3_endpoint: URL of the S3 server, for example `http://127.0.0.1:4566`.
            bucket: bucket for the data.
            root_path: folder in the bucket, as `minio.rootPath` says it.
            access_key: S3 access key.
            secret_key: S3 secret key.
            authorization: ask clients for a user and password; the first user is `ROOT_CREDENTIALS`.
            settings: further settings by dotted name, such as `{"dataCoord.gc.interval": 5}`.
            data_dir: folder for metadata and queue that outlives the server.
            port: gRPC port; it and the eleven after it are used. Free ones are found if it is not given.
        """
        super().__init__()
        self.bucket = bucket
        self.root_path = root_path
        self.authorization = authorization
        self._endpoint = urlsplit(s3_endpoint)
        self._keys = (access_key, secret_key)
        self._settings = dict(settings or {})
        self._data_dir = data_dir
        self._port = port or free_ports(_ETCD_PEER_PORT + 1)

    @property
    def uri(self) -> str:
        """Where clients connect, by gRPC."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def management_uri(self) -> str:
        """The management endpoint: health, metrics, pause of the garbage collection."""
        return f"http://{LOOPBACK}:{self._port + _MANAGEMENT_PORT}"

    @override
    def _prepare(self) -> None:
        package = _package_data()
        configs = self.folder / "configs"
        configs.mkdir()
        data = self._data_dir or self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        settings = self._default_settings(data) | self._settings
        document = _fill_template((package / "config.yaml.template").read_text(), self._port)
        for dotted_name, value in settings.items():
            _set(document, dotted_name, value)
        (configs / "milvus.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        (configs / "embedEtcd.yaml").write_text(yaml.safe_dump(self._etcd_settings(data)))
        shutil.copy(package / "glog.conf", configs)

    def _default_settings(self, data: Path) -> dict[str, object]:
        components = ("proxy", "rootCoord", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode")
        return {
            "etcd.data.dir": str(data / "etcd.data"),
            "etcd.log.path": str(self.folder / "etcd.log"),
            "log.file.rootPath": "",
            "log.level": "warn",
            "localStorage.path": str(data),
            "rocksmq.path": str(data / "rocksmq"),
            "common.storageType": "remote",
            "common.security.authorizationEnabled": self.authorization,
            "minio.address": self._endpoint.hostname,
            "minio.port": self._endpoint.port,
            "minio.accessKeyID": self._keys[0],
            "minio.secretAccessKey": self._keys[1],
            "minio.bucketName": self.bucket,
            "minio.rootPath": self.root_path,
            "minio.region": "us-east-1",
            # SIGTERM with a loaded collection otherwise waits up to 1800 s.
            "common.gracefulStopTimeout": 3,
            # Milvus ends itself when its session in etcd was not renewed for so long, which on a machine with too much
            # to do happens well within 5 s. Sessions of a killed server linger as long, and delay its first load.
            "common.session.ttl": 30,
            **{f"{component}.ip": LOOPBACK for component in components},
        }

    def _etcd_settings(self, data: Path) -> dict[str, object]:
        client = f"http://{LOOPBACK}:{self._port + _PORTS['etcd_port']}"
        peer = f"http://{LOOPBACK}:{self._port + _ETCD_PEER_PORT}"
        return {
            "name": "default",
            "data-dir": str(data / "etcd.data"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "quota-backend-bytes": 4 * 1024**3,
            "auto-compaction-mode": "revision",
            "auto-compaction-retention": "1000",
        }

    @override
    def _command(self) -> Sequence[str]:
        return [str(unpack_binaries() / "milvus"), "run", "standalone"]

    @override
    def _environment(self) -> Mapping[str, str]:
        return host_environment(
            HOME=str(self.folder),
            TMPDIR=str(self.folder),
            DEPLOY_MODE="STANDALONE",
            METRICS_PORT=str(self._port + _MANAGEMENT_PORT),
            MILVUS_RUN_DIR=str(self.folder / "run"),
            MILVUSCONF=str(self.folder / "configs"),
            ETCD_CONFIG_PATH=str(self.folder / "configs" / "embedEtcd.yaml"),
            LD_LIBRARY_PATH=str(unpack_binaries()),
        )

    @override
    def _is_ready(self) -> bool:
        return b"OK" in (fetch(f"{self.management_uri}/healthz") or b"")


def unpack_binaries() -> Path:
    """Return the folder with the server's binary and libraries, unpacked (5 to 9 s) the first time only.

    All servers share it; two processes that unpack at once do not disturb each other.
    """
    target = CACHE / f"milvus-{VERSION}"
    if target.is_dir():
        return target
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, ignore_cleanup_errors=True) as temporary:
        unpacked = Path(temporary) / "bin"
        unpacked.mkdir()
        for packed in sorted((_package_data() / "bin").glob("*.lzma")):
            with lzma.open(packed) as source, (unpacked / packed.stem).open("wb") as destination:
                shutil.copyfileobj(source, destination, 1024**2)
            (unpacked / packed.stem).chmod(0o755)
        try:
            os.rename(unpacked, target)  # noqa: PTH104 - Path.rename follows no other rule, but hides the atomicity
        except OSError:
            if not target.is_dir():  # otherwise another process was faster
                raise
    return target


def _package_data() -> Path:
    spec = importlib.util.find_spec("milvus")
    if spec is None or spec.origin is None:
        msg = "the package `milvus` is not installed: it exists for Linux on x86_64 only"
        raise ServerError(msg)
    return Path(spec.origin).parent / "data"


def _fill_template(template: str, base_port: int) -> dict[str, Any]:
    """Return the configuration with its `{{ name }}` places filled: ports, and nothing that `_set` fills."""
    lines = []
    for line in template.splitlines():
        before, found, rest = line.partition("{{")
        if not found:
            lines.append(line)
            continue
        inside, _, after = rest.partition("}}")
        name, _, default = inside.partition(":")
        name = name.partition("(")[0].strip()
        value = str(base_port + _PORTS[name]) if name in _PORTS else default.strip()
        if name.endswith("_port") and name not in _PORTS:
            msg = f"milvus {VERSION} has a port that is not given: {name}"
            raise ServerError(msg)
        lines.append(f"{before}{value}{after}")
    document: dict[str, Any] = yaml.safe_load("\n".join(lines))
    return document


def _set(document: dict[str, Any], dotted_name: str, value: object) -> None:
    """Set one setting. Raises `KeyError` for a name that the configuration does not have: a typo."""
    *parents, last = dotted_name.split(".")
    section = document
    for parent in parents:
        section = section[parent]
    if last not in section:
        raise KeyError(dotted_name)
    section[last] = value
