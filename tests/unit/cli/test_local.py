"""The local stack is found, started and stopped by its files, whatever state they were left in."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import override

import pytest

from milvus_vault.cli import local_stack
from milvus_vault.client.local_state import (
    LocalState,
    is_alive,
    lock_path,
    log_path,
    running_stack,
    starting_path,
    state_path,
)
from milvus_vault.errors import LocalStackError
from tests.support.fake_api import FakeApi, backup
from tests.unit.cli.conftest import Cli

HOLDER = """
import fcntl, os, signal, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
lock = open(sys.argv[1], "a+")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.write(str(os.getpid()))
lock.flush()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holders(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[str]]]:
    """Give a list for processes that stand for a local stack's; those that are left are killed."""
    assert api.url
    monkeypatch.delenv("MILVUS_VAULT_URL")
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def hold(
    holders: list[subprocess.Popen[str]], url: str, how: str = "", aws: str = "http://127.0.0.1:1", management: str = ""
) -> subprocess.Popen[str]:
    """Start a process that holds the lock, and write the file of a stack that is ready."""
    lock_path().parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock_path()), how], stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    holders.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    state = LocalState(
        pid=process.pid, repository="/nowhere", api_url=url, aws_url=aws, milvus_uri="http://127.0.0.1:2",
        stack_name="milvus-vault", management_uri=management, milvus_version="2.3.5",
    )  # fmt: skip
    state_path().write_text(state.model_dump_json())
    log_path().touch()
    return process


@pytest.mark.parametrize("configuration", [None, "", "[default\n"])
def test_a_missing_profile_or_a_broken_configuration_does_not_keep_from_the_local_stack(
    api: FakeApi, cli: Cli, holders: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    configuration: str | None,
) -> None:  # fmt: skip
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    if configuration is not None:
        (tmp_path / "config").write_text(configuration)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    hold(holders, api.url)
    assert cli("list").code == 0
    monkeypatch.setenv("MILVUS_VAULT_URL", api.url)
    done = cli("list", "-o", "json")
    assert (done.code, done.document["error"]) == (6, "ApiAccessDeniedError")
    assert len(done.err.splitlines()) == 2


def test_commands_use_the_local_stack_that_runs(
    api: FakeApi, cli: Cli, holders: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    hold(holders, api.url)
    api.backups = {"b": backup("b")}

    assert cli("get", "b", "-o", "json").document["name"] == "b"
    assert "Credential=test/" in api.asked[0].headers["Authorization"]
    assert api.url in cli("local", "status").out
    assert cli("local", "up", "-o", "json").document["api_url"] == api.url


def test_an_address_in_the_environment_goes_before_the_local_stack(
    api: FakeApi, cli: Cli, holders: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(holders, "http://127.0.0.1:1/live")
    monkeypatch.setenv("MILVUS_VAULT_URL", api.url)

    assert cli("list").code == 0


def test_going_down_ends_the_process_and_removes_all_files(
    api: FakeApi, cli: Cli, holders: list[subprocess.Popen[str]]
) -> None:
    process = hold(holders, api.url)

    assert "stopped" in cli("local", "down").out
    assert process.wait(5) == -signal.SIGTERM
    assert not lock_path().parent.exists()
    assert "does not run" in cli("local", "down").out


def test_a_process_that_does_not_listen_is_killed(
    api: FakeApi, cli: Cli, holders: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_stack, "_STOP_TIMEOUT_SECONDS", 0.3)
    process = hold(holders, api.url, "stubborn")

    assert cli("local", "down").code == 0
    assert process.wait(5) == -signal.SIGKILL
    assert not state_path().exists()


def test_files_of_a_stack_that_was_killed_do_not_count_and_are_removed(
    api: FakeApi, cli: Cli, holders: list[subprocess.Popen[str]]
) -> None:
    process = hold(holders, api.url)
    process.kill()
    process.wait()

    assert state_path().exists()
    assert running_stack() is None
    done = cli("local", "status", "-o", "json")
    assert (done.code, done.document["is_running"]) == (4, False)
    assert cli("list").code == 7
    assert cli("local", "down", "-o", "json").document == {"is_running": False, "was_running": False}
    assert not state_path().exists()


def test_an_unreadable_file_is_no_stack(api: FakeApi, cli: Cli, holders: list[subprocess.Popen[str]]) -> None:
    hold(holders, api.url)
    state_path().write_text("{")

    assert running_stack() is None
    assert "starting or stopping" in cli("local", "status").out


def test_looking_whether_it_lives_does_not_hinder_its_start(holders: list[subprocess.Popen[str]]) -> None:
    lock_path().parent.mkdir(parents=True)
    lock_path().touch()

    assert not is_alive()
    hold(holders, "http://127.0.0.1:1")
    assert is_alive()


def test_outside_of_a_clone_nothing_is_started(
    cli: Cli, holders: list[subprocess.Popen[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("local", "up")
    assert (done.code, holders) == (1, [])
    assert "--repo" in done.err


def test_a_clone_is_found_from_a_folder_inside() -> None:
    root = Path(__file__).parents[3]
    assert local_stack.find_repository(root) == root
    before = Path.cwd()
    os.chdir(root / "docs" / "adr")
    try:
        assert local_stack.find_repository(None) == root
    finally:
        os.chdir(before)


def clone(folder: Path, makefile: str) -> Path:
    """Make what looks like a clone, with this Makefile."""
    (folder / "local").mkdir()
    (folder / "local" / "background.py").touch()
    (folder / "Makefile").write_text(makefile)
    return folder


def test_a_make_that_fails_is_told(cli: Cli, holders: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    rules = "local-install:\n\t@echo noise\nbuild:\n\t@echo no disk >&2; exit 3\nlocal-up:\n\t@touch started\n"
    done = cli("local", "up", "--repo", str(clone(tmp_path, rules)))

    assert (done.code, holders) == (1, [])
    assert "did not start: 'Build what is deployed' failed" in done.err
    assert "no disk" in done.err
    assert "noise" not in done.out + done.err
    assert str(tmp_path / ".make" / "build.log") in done.err
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("sample", [False, True])
def test_steps_are_shown_and_what_make_says_is_in_files(
    api: FakeApi, cli: Cli, holders: list[subprocess.Popen[str]], tmp_path: Path, sample: bool
) -> None:
    rules = "local-install build:\n\t@echo noise of $@\nlocal-up:\n\t@echo '$(ARGS)' >> asked\n"
    rules += "\t@until [ -s $(STATE) ]; do sleep 0.01; done\n"
    ready = threading.Timer(0.1, hold, (holders, api.url))
    ready.start()
    folder = clone(tmp_path, rules.replace("$(STATE)", str(state_path())))
    done = cli("local", "up", "--repo", str(folder), *(["--sample"] if sample else []))
    ready.join()

    assert done.code == 0, done.err
    steps = ["Install what it needs", "Build what is deployed", "Start Milvus", *(["Fill"] if sample else [])]
    shown = [line for line in done.out.splitlines() if line.startswith("✓")]
    assert [step for step, line in zip(steps, shown, strict=True) if step in line] == steps
    assert "noise" not in done.out + done.err
    assert (folder / ".make" / "build.log").read_text() == "noise of build\n"
    assert (folder / "asked").read_text().split("\n") == ["", *(["--sample"] if sample else []), ""]


def test_while_it_is_installed_others_are_told(
    cli: Cli, holders: list[subprocess.Popen[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def make(*_: object, **__: object) -> int:
        told.append((cli("local", "status"), cli("list")))
        return 1

    monkeypatch.setattr(local_stack, "_make", make)
    done = cli("local", "up", "--repo", str(clone(tmp_path, "")))

    ((status, listed),) = told
    assert (status.code, listed.code, done.code, holders) == (4, 7, 1, [])
    assert "Install what it needs ..." in status.out
    assert "is being started" in status.out
    assert "is being started" in listed.err
    assert "does not run" in cli("local", "status").out


def test_a_missing_clone_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match=str(tmp_path)):
        local_stack.find_repository(tmp_path)


class Parts(BaseHTTPRequestHandler):
    """Milvus' management endpoint, S3 and Step Functions, as far as `local status` asks them."""

    health = (200, "OK")

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(*self.health)
        else:
            self.answer(200, "<ListAllMyBucketsResult><Buckets><Bucket/><Bucket/></Buckets></ListAllMyBucketsResult>")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, '{"stateMachines": []}')

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def parts() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Parts) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("configuration", [{}, {"AWS_PROFILE": "nobody"}, {"http_proxy": "http://127.0.0.1:1"}])
def test_status_asks_each_part_itself(
    api: FakeApi, cli: Cli, holders: list[subprocess.Popen[str]], parts: str, monkeypatch: pytest.MonkeyPatch,
    configuration: dict[str, str],
) -> None:  # fmt: skip
    for name, value in configuration.items():
        monkeypatch.setenv(name, value)
    hold(holders, api.url, aws=parts, management=parts)
    done = cli("local", "status", "-o", "json")
    assert done.code == 0
    found = {item["name"]: item["message"] for item in done.document["checks"]}
    assert found == {
        "milvus": "2.3.5 at http://127.0.0.1:2 says that it is well",
        "collections": f"the deployment sees {len(api.collections)} collections",
        "s3": "2 buckets",
        "step_functions": "0 state machines",
    }


def test_status_says_why_milvus_is_not_well_and_does_not_wait_for_it(
    api: FakeApi, cli: Cli, holders: list[subprocess.Popen[str]], parts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Parts, "health", (500, "component standalone is Abnormal"))
    hold(holders, api.url, aws=parts, management=parts)
    done = cli("local", "status")
    assert done.code == 7
    assert "milvus: Milvus says of itself: component standalone is Abnormal" in done.out
    assert "local down" in done.out
    assert api.asked == []


@pytest.mark.parametrize("form", ["text", "json"])
def test_up_says_that_what_runs_already_is_not_well(
    api: FakeApi, cli: Cli, holders: list[subprocess.Popen[str]], parts: str, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(Parts, "health", (500, "component standalone is Abnormal"))
    hold(holders, api.url, aws=parts, management=parts)
    done = cli("local", "up", "-o", form)
    assert done.code == 7
    assert "component standalone is Abnormal" in done.out
    assert "local down" in done.out
    assert "Try" not in done.out


def test_status_says_which_part_does_not_answer(api: FakeApi, cli: Cli, holders: list[subprocess.Popen[str]]) -> None:
    hold(holders, api.url, management="http://127.0.0.1:1")
    done = cli("local", "status", "-o", "json")
    verdicts = {item["name"]: item["verdict"] for item in done.document["checks"]}
    assert (done.code, verdicts) == (7, {"milvus": "failed", "s3": "failed", "step_functions": "failed"})


@pytest.mark.parametrize("is_json", [False, True])
@pytest.mark.usefixtures("api")
def test_a_state_that_cannot_be_written_is_told_in_a_line(
    is_json: bool, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "background.py").touch()
    for state in ("/proc/x", "/dev/null"):
        monkeypatch.setenv("XDG_STATE_HOME", state)
        done = cli("local", "up", "--repo", str(tmp_path), *(("-o", "json") if is_json else ()))
        assert done.code == 1
        assert f"error: cannot write {starting_path()}: " in done.err
        assert "XDG_STATE_HOME names" in done.err
        assert cli("local", "status").out == "The local stack does not run.\n"
        assert cli("local", "down").code == 0
        assert cli("list").code == 0


@pytest.mark.usefixtures("api")
def test_a_clone_that_cannot_be_written_is_told_in_a_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "background.py").touch()
    (tmp_path / ".make").touch()
    done = cli("local", "up", "--repo", str(tmp_path))
    assert done.code == 1
    assert f"error: cannot write {tmp_path / '.make' / 'local-up.lock'}: " in done.err
