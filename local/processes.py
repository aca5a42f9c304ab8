"""Servers as child processes that never outlive the process that started them."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Self

LOOPBACK = "127.0.0.1"

# Below 32768, where Linux takes the ports of outgoing connections from: a server's port taken from that
# range collides with some client sooner or later.
_SERVER_PORTS = range(15000, 32000)

# Runs beside each server and waits for the end of its standard input, which comes when the process that
# started it ends, however it ends: then it ends the server's whole process group and removes its folder.
_WATCHDOG = """
read -r _
kill -TERM "-$1"
for _ in 1 2 3 4 5 6; do kill -0 "-$1" || break; sleep 0.5; done
kill -KILL "-$1"
rm -rf -- "$2"
"""


class ServerError(RuntimeError):
    """A server did not start; the message ends with the last lines of its log."""


def free_ports(count: int = 1) -> int:
    """Return the first of `count` consecutive ports that nothing listens on, on any interface.

    Chosen at random, so that two stacks that start at once rarely look at the same ports.
    """
    for _ in range(200):
        first = random.choice(_SERVER_PORTS[:-count])  # noqa: S311 - no secret
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    msg = f"no {count} consecutive free ports in {_SERVER_PORTS.start}-{_SERVER_PORTS.stop}"
    raise ServerError(msg)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: without it a port is refused for a minute after its last server stopped.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def host_environment(**variables: str) -> dict[str, str]:
    """Return an environment for a server: `variables` and the little of the host's that any program needs.

    An allow list, because ministack hands its own environment to every Lambda function: credentials,
    profiles, endpoints and proxies of the person at the keyboard must not reach them.
    """
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
    return kept | variables


def fetch(url: str) -> bytes | None:
    """Return what a server on this machine answers with success to a GET, or nothing while it does not."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever the host's proxy is
    try:
        with direct.open(url, timeout=2) as answer:
            content: bytes = answer.read()
            return content
    except OSError:
        return None


class Server(ABC):
    """One server process in a process group of its own, with a folder that is removed with it.

    A context manager: entering starts it and waits until it is ready, leaving stops it. Subclasses say
    what to run and when it is ready.
    """

    name = "server"
    ready_timeout_seconds = 60.0
    stop_timeout_seconds = 10.0

    def __init__(self) -> None:
        """Describe the server; nothing runs before `start`."""
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None

    @property
    def folder(self) -> Path:
        """Folder of this run: log, data, temporary files. It exists while the server runs."""
        if self._folder is None:
            msg = f"{self.name} is not running"
            raise ServerError(msg)
        return self._folder

    @property
    def log_path(self) -> Path:
        """Everything the server wrote to its standard output and error."""
        return self.folder / "server.log"

    @property
    def pid(self) -> int:
        """Process id of the server, which is also the id of its process group."""
        if self._process is None:
            msg = f"{self.name} is not running"
            raise ServerError(msg)
        return self._process.pid

    def start(self) -> Self:
        """Start the server and return when it is ready. Raises `ServerError` if it ends or takes too long."""
        if self._process is not None:
            msg = f"{self.name} is running already"
            raise ServerError(msg)
        self._folder = Path(tempfile.mkdtemp(prefix=f"milvus-vault-{self.name}-"))
        with contextlib.ExitStack() as unless_ready:
            unless_ready.callback(self.stop)
            self._prepare()
            with self.log_path.open("ab") as log:
                self._spawn(log)
            self._wait_until_ready()
            unless_ready.pop_all()
        return self

    def stop(self) -> None:
        """Stop the server and remove its folder; does nothing if it does not run."""
        if self._process is not None:
            self._end_group(self._process)
            self._process = None
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.wait()
            if self._watchdog.stdin is not None:
                self._watchdog.stdin.close()
            self._watchdog = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        """Start the server."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    def is_running(self) -> bool:
        """Tell whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill the server's process group at once, as a crash would; its folder stays until `stop`."""
        os.killpg(self.pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    @abstractmethod
    def _prepare(self) -> None:
        """Write what the server needs into its folder before it starts."""

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """Return the command line of the server."""

    def _environment(self) -> Mapping[str, str]:
        return host_environment(HOME=str(self.folder), TMPDIR=str(self.folder))

    @abstractmethod
    def _is_ready(self) -> bool:
        """Tell whether the server answers."""

    def _spawn(self, log: IO[bytes]) -> None:
        self._process = subprocess.Popen(
            self._command(),
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Out of reach of the terminal's Ctrl-C: the parent decides the order in which servers stop.
            start_new_session=True,
        )
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "watchdog", str(self._process.pid), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.ready_timeout_seconds
        while not self._is_ready():
            if not self.is_running():
                msg = f"{self.name} ended while starting\n{self._log_tail()}"
                raise ServerError(msg)
            if time.monotonic() > deadline:
                msg = f"{self.name} was not ready after {self.ready_timeout_seconds:.0f} s\n{self._log_tail()}"
                raise ServerError(msg)
            time.sleep(0.05)

    def _log_tail(self) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-30:])

    def _end_group(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self.stop_timeout_seconds)
        # The group, not only the server: a worker that is in the middle of a call outlives ministack.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def exit_on_signals() -> None:
    """Make SIGTERM and SIGHUP end the program as Ctrl-C does: through every `with` block, stopping servers.

    Without it the watchdogs still stop the servers, but nothing else is tidied up.
    """

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
