"""The embedded stack keeps its promises: isolated, on loopback, and gone without a trace."""

import io
import json
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from pymilvus import CollectionSchema, DataType, MilvusClient

from local import deployment
from local.aws import Ministack
from local.milvus import ROOT_CREDENTIALS, Milvus
from local.processes import Server, ServerError, free_ports
from local.seaweedfs import ACCESS_KEY, SECRET_KEY, SeaweedFS
from local.stack import LocalStack
from tests.support.servers import create_function

pytestmark = pytest.mark.tools("emulator")

ROOT = {"user": ROOT_CREDENTIALS["username"], "password": ROOT_CREDENTIALS["password"]}
REPOSITORY = Path(__file__).parents[2]

HOLDS_A_SERVER = """
import sys, time
from local.aws import Ministack
from local.processes import exit_on_signals
if "handle" in sys.argv:
    exit_on_signals()
with Ministack() as server:
    print(server.pid, server.folder, flush=True)
    time.sleep(60)
"""


class Sleeper(Server):
    """A server that is a shell command."""

    name = "sleeper"
    ready_timeout_seconds = 1.0
    stop_timeout_seconds = 1.0

    def __init__(self, command: str) -> None:
        """Describe it; it is ready when it has written `ready`."""
        super().__init__()
        self.command = command

    def _prepare(self) -> None:
        """Write nothing: a shell needs no files."""

    def _command(self) -> Sequence[str]:
        return ["/bin/sh", "-c", self.command]

    def _is_ready(self) -> bool:
        return "ready" in self.log_path.read_text()


def group_lives(group_id: int) -> bool:
    """Tell whether a process of the group is running; one that has ended but was not waited for is not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it ended meanwhile
            continue
        if int(group) == group_id and state != "Z":
            return True
    return False


def listening(pid: int) -> list[tuple[str, int]]:
    """Return address, in hexadecimal as the kernel writes it, and port of each socket that the process listens on."""
    sockets = {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                address, _, port = fields[1].partition(":")
                found.append((address, int(port, 16)))
    return found


class TestProcesses:
    def test_stopping_removes_processes_and_folder(self) -> None:
        server = Sleeper("sleep 60 & trap '' TERM; echo ready; wait; sleep 60").start()
        pid, folder = server.pid, server.folder
        assert group_lives(pid)
        assert folder.is_dir()

        server.stop()

        assert not group_lives(pid)
        assert not folder.exists()

    def test_a_server_that_ends_at_once_is_an_error_with_its_last_words(self) -> None:
        with pytest.raises(ServerError, match=r"(?s)sleeper ended while starting.*no such port"):
            Sleeper("echo no such port; exit 3").start()

    def test_a_server_that_is_never_ready_is_stopped(self) -> None:
        server = Sleeper("echo $$; sleep 60")

        with pytest.raises(ServerError, match="not ready after 1 s") as failed:
            server.start()

        assert not group_lives(int(str(failed.value).splitlines()[-1]))

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
    @pytest.mark.parametrize("mode", ["handle", "ignore"])
    def test_a_server_does_not_outlive_the_process_that_started_it(self, how: signal.Signals, mode: str) -> None:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDS_A_SERVER, mode], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout is not None
        pid, folder = holder.stdout.readline().split()
        assert group_lives(int(pid))

        holder.send_signal(how)
        holder.wait(30)
        holder.stdout.close()

        deadline = time.monotonic() + 10
        while group_lives(int(pid)) or Path(folder).exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def test_a_port_that_is_taken_is_not_free(self) -> None:
        first = free_ports(3)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", first + 1))
            taken.listen()
            for _ in range(50):
                again = free_ports(3)
                assert not again <= first + 1 < again + 3


class TestMinistack:
    def test_it_listens_on_loopback_only(self, ministack: Ministack) -> None:
        assert [address for address, _ in listening(ministack.pid)] == ["0100007F"]

    def test_functions_see_nothing_of_the_host_and_the_way_back_to_the_emulator(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "HTTPS_PROXY", "PYTHONPATH"):
            monkeypatch.setenv(name, "of-the-host")
        with Ministack() as server:
            function = create_function(server, "import os\ndef handler(event, context):\n    return dict(os.environ)")
            answer = server.client("lambda").invoke(FunctionName=function)
            environment = json.load(answer["Payload"])

        assert "of-the-host" not in environment.values()
        assert environment["AWS_ENDPOINT_URL"] == server.url
        assert environment["POWERTOOLS_TRACE_DISABLED"] == "1"


def one_vector() -> CollectionSchema:
    """Return a schema of a key and a vector. Without an index it is never loaded, which makes stopping quick."""
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    return schema


class TestMilvus:
    def test_a_restart_keeps_the_data(self, seaweedfs: SeaweedFS, tmp_path: Path) -> None:
        server = Milvus(
            seaweedfs.url,
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            bucket="restart",
            root_path="some/folder",
            authorization=True,
            data_dir=tmp_path / "data",
        )
        with server:
            client = MilvusClient(server.uri, **ROOT)
            client.create_collection("things", schema=one_vector())
            client.insert("things", [{"id": 1, "vector": [0.5, 0.25]}])
            client.flush("things")
            client.close()

        with server:
            client = MilvusClient(server.uri, **ROOT)
            statistics = client.get_collection_stats("things")
            client.close()

        assert statistics["row_count"] == 1
        keys = [entry["Key"] for entry in seaweedfs.client().list_objects_v2(Bucket="restart")["Contents"]]
        assert all(key.startswith("some/folder/") for key in keys)
        assert any("/insert_log/" in key for key in keys)

    def test_a_setting_that_does_not_exist_is_refused(self, seaweedfs: SeaweedFS) -> None:
        with pytest.raises(KeyError, match=r"dataCoord\.gc\.intervall"):
            Milvus(seaweedfs.url, settings={"dataCoord.gc.intervall": 5}).start()


class TestLocalStack:
    def test_the_template_is_deployed(self, stack: LocalStack) -> None:
        assert stack.outputs
        assert MilvusClient(stack.milvus_uri).get_server_version() == "v2.3.5-lite"

    def test_another_milvus_gets_a_deployment_of_its_own(self, stack: LocalStack) -> None:
        milvus = stack.add_milvus("second-bucket", "second/root", authorization=True)

        second = stack.deploy("second", milvus)
        again = stack.deploy("second", milvus)
        milvus.stop()

        assert second.outputs.keys() == stack.outputs.keys()
        assert second.outputs["BackupStateMachineArn"] != stack.outputs["BackupStateMachineArn"]
        assert again.outputs == second.outputs


def test_what_is_deployed_is_compressed_once_and_anew_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "CACHE", tmp_path / "cache")
    one, equal, changed = (tmp_path / name for name in ("one", "equal", "changed"))
    for folder, text in ((one, "first"), (equal, "first"), (changed, "other")):
        folder.mkdir()
        (folder / "handler.py").write_text(text)

    archives = [deployment._zip(folder) for folder in (one, equal, changed)]

    assert archives[0] == archives[1] != archives[2]
    assert [zipfile.ZipFile(io.BytesIO(archive)).read("handler.py") for archive in archives] == [
        b"first",
        b"first",
        b"other",
    ]
    assert len(list((tmp_path / "cache" / "zips").iterdir())) == 2
