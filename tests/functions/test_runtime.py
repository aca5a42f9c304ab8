"""Each handler under AWS' own client of Lambda's runtime API, which a stand-in of that API gives two events.

What Step Functions reads of a failure is what the client makes of an exception: the name of its class, and its message.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, override

import pytest

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
                self.send_header("Lambda-Runtime-Deadline-Ms", "4102444800000")
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


@contextmanager
def running(name: str, function: Data) -> Iterator[RuntimeApi]:
    """Run a function in a process of its own, from its folder and its layers, as Lambda does."""
    api = RuntimeApi()
    server = _Server(("127.0.0.1", 0), api.handler())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    spec = find_spec("awslambdaric")
    assert spec is not None
    assert spec.origin is not None
    layers = [str(BUILD / layer["Ref"] / "python") for layer in function["Layers"]]
    path = [str(BUILD / name), *layers, str(Path(spec.origin).parents[1])]
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
        **{key: value if isinstance(value, str) else "given" for key, value in environment(function).items()},
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "awslambdaric", "handler.handler"], cwd=BUILD / name, env=given, stdout=subprocess.PIPE
    )
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
            api.events.put({"nonsense": True})
            answer = api.answers.get(timeout=60)
            assert answer.path == "/invocation/request/error", answer.body
            assert answer.body["errorType"] in leaves(), answer.body
            assert answer.body["errorMessage"]


def test_the_api_answers_a_request_that_is_none_by_a_problem_and_not_by_an_error() -> None:
    with running("ApiFunction", functions()["ApiFunction"]) as api:
        api.events.put({"httpMethod": "GET", "path": "/nowhere", "headers": {}, "requestContext": {"requestId": "r"}})
        answer = api.answers.get(timeout=60)
    assert answer.path == "/invocation/request/response", answer.body
    assert answer.body["statusCode"] == 404
