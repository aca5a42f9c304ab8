"""Each handler under AWS' own client of Lambda's runtime API, which a stand-in of that API gives events.

What Step Functions reads of a failure is what the client makes of an exception: the name of its class, and its message.
As on Lambda nothing can be written but in the folder for temporary files, and there is no home.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, override

import pytest

from local.aws import Ministack
from tests.functions.test_copy_functions import BATCH, DONE, ENVIRONMENT, ROUND, filled
from tests.template.loading import BUILD, DOORS, Data, environment, functions, leaves

_API = "/2018-06-01/runtime"
FUNCTIONS = [pytest.param(name, function, id=name) for name, function in functions().items()]


@dataclass
class Answer:
    """What the client posted: to which path, its headers, and its body."""

    path: str
    headers: Message
    body: Any


@dataclass
class RuntimeApi:
    """Lambda's side of the runtime API."""

    events: queue.Queue[Any] = field(default_factory=queue.Queue)
    answers: queue.Queue[Answer] = field(default_factory=queue.Queue)
    seconds: float = 900
    """How long an invocation may take, from when it is fetched."""
    pid: int = 0
    """The function's process."""
    temporary: Path = Path()
    """Its folder for temporary files."""

    def invoke(self, event: Any) -> Answer:
        """Return what the function answers to an event."""
        self.events.put(event)
        return self.answers.get(timeout=60)

    def status(self, name: str) -> int:
        """Return what Linux says of the process's memory, in KiB: `VmHWM` is the most that it had."""
        lines = (Path("/proc") / str(self.pid) / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))

    def open_files(self) -> int:
        """Return how many files and connections the process has open."""
        return len(list((Path("/proc") / str(self.pid) / "fd").iterdir()))

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """Return what answers requests."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                assert self.path == f"{_API}/invocation/next"
                body = json.dumps(api.events.get()).encode()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", "request")
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + api.seconds) * 1000)))
                self.send_header("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000;Sampled=0")
                self.send_header("Content-Type", "application/json")
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:1:function:f")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                api.answers.put(Answer(self.path.removeprefix(_API), self.headers, json.loads(body)))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            @override
            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass by what a client leaves open that is ended."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


# Python runs it before anything else. What C++ opens is not seen.
READ_ONLY = """
import errno, os, sys

def refuse(event, arguments):
    named = arguments and isinstance(arguments[0], (str, bytes)) and arguments[0]
    # A database without a name lies where SQLite finds room: of its folders Lambda lets /tmp be written alone.
    if event in {"open", "sqlite3.connect", "os.mkdir", "os.rename"} and named:
        path = os.path.abspath(os.fsdecode(arguments[0]))
        writes = event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and not (path + "/").startswith((os.environ["TMPDIR"] + "/", "/dev/", "/proc/self/")):
            raise OSError(errno.EROFS, f"{event} outside of the folder for temporary files", path)

sys.addaudithook(refuse)
"""


@contextmanager
def running(name: str, function: Data, more: Mapping[str, str] | None = None) -> Iterator[RuntimeApi]:
    """Run a function in a process of its own, from its folder and its layers, as Lambda does.

    Args:
        name: In the template.
        function: Its properties.
        more: Environment variables instead of those of the template, or beside them.
    """
    with TemporaryDirectory() as folder:
        site, temporary = Path(folder, "site"), Path(folder, "tmp")
        site.mkdir()
        temporary.mkdir()
        (site / "sitecustomize.py").write_text(READ_ONLY)
        with _running(name, function, {"TMPDIR": str(temporary), **(more or {})}, site) as api:
            api.temporary = temporary
            yield api
            assert list(temporary.iterdir()) == []


@contextmanager
def _running(name: str, function: Data, more: Mapping[str, str], site: Path) -> Iterator[RuntimeApi]:
    api = RuntimeApi()
    server = _Server(("127.0.0.1", 0), api.handler())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    spec = find_spec("awslambdaric")
    assert spec is not None
    assert spec.origin is not None
    layers = [str(BUILD / layer["Ref"] / "python") for layer in function["Layers"]]
    path = [str(site), str(BUILD / name), *layers, str(Path(spec.origin).parents[1])]
    given = {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function["MemorySize"]),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "LAMBDA_TASK_ROOT": str(BUILD / name),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/home/nobody-is-here",
        **{key: value if isinstance(value, str) else "given" for key, value in environment(function).items()},
        **more,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "awslambdaric", "handler.handler"], cwd=BUILD / name, env=given, stdout=subprocess.PIPE
    )
    api.pid = process.pid
    try:
        yield api
    finally:
        process.kill()
        process.communicate()
        # Whoever still waits for an event.
        api.events.put({})
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("name", "function"), [p for p in FUNCTIONS if p.id not in DOORS])
def test_a_request_that_is_none_fails_by_name_twice_in_one_process(name: str, function: Data) -> None:
    with running(name, function) as api:
        for _ in range(2):
            answer = api.invoke({"nonsense": True})
            assert answer.path == "/invocation/request/error", answer.body
            assert answer.body["errorType"] in leaves(), answer.body
            assert answer.body["errorMessage"]
        # The rest is for the work.
        assert api.status("VmHWM") < function["MemorySize"] * 1024 / 2


def test_the_api_answers_a_request_that_is_none_by_a_problem_and_not_by_an_error() -> None:
    with running("ApiFunction", functions()["ApiFunction"]) as api:
        answer = api.invoke(
            {"httpMethod": "GET", "path": "/nowhere", "headers": {}, "requestContext": {"requestId": "r"}}
        )
    assert answer.path == "/invocation/request/response", answer.body
    assert answer.body["statusCode"] == 404


@pytest.fixture
def copying(ministack: Ministack, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of functions that copy, with a job of three batches."""
    settings = {**ENVIRONMENT, "AWS_ENDPOINT_URL": ministack.url, "COPY_CLIENT": "direct"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    filled()
    with running("PlanCopyFunction", functions()["PlanCopyFunction"], settings) as api:
        planned = api.invoke(ROUND)
    assert planned.body.get("batch_count") == 3, planned.body
    return settings


def test_a_function_stops_before_the_deadline_of_its_invocation_and_keeps_nothing_for_the_next_ones(
    copying: dict[str, str],
) -> None:
    with running("CopyBatchFunction", functions()["CopyBatchFunction"], copying) as api:
        # It keeps some seconds to write down what it has done.
        api.seconds = 2
        late = api.invoke(BATCH)
        api.seconds = 900
        first = api.invoke(BATCH)
        again = [api.invoke(BATCH).body for _ in range(5)]
        before = api.open_files(), api.status("RssAnon")
        again += [api.invoke(BATCH).body for _ in range(30)]
        after = api.open_files(), api.status("RssAnon")

    assert (late.path, late.body.get("errorType")) == ("/invocation/request/error", "CopyUnfinishedError"), late.body
    assert first.body == DONE
    # What is copied is not copied again.
    assert again == [DONE] * 35
    assert after[0] <= before[0]
    assert after[1] - before[1] < 2048


def test_a_function_that_writes_elsewhere_than_into_its_temporary_folder_is_found_out() -> None:
    with TemporaryDirectory() as folder:
        site = Path(folder, "site")
        site.mkdir()
        (site / "sitecustomize.py").write_text(READ_ONLY)
        done = subprocess.run(
            [sys.executable, "-c", "open('elsewhere', 'w')"],
            cwd=folder,
            env={"PYTHONPATH": str(site), "TMPDIR": str(Path(folder, "tmp"))},
            capture_output=True,
            text=True,
            check=False,
        )
    assert "OSError: [Errno 30] open outside of the folder for temporary files" in done.stderr
