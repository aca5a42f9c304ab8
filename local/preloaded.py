"""A process that has imported what functions of some layers import, and forks into their workers.

`ministack_patches.py` starts one for each set of layers: `python -P preloaded.py <socket> <layers>`. Each message on
the socket asks for one worker; it comes with the three files that are to be the worker's standard ones. A new process
would spend a second of processor time on imports; a forked one has its modules, and is like a new one in all else.
Imports that have read a variable of the environment are not passed on to a worker for which it has another value, nor
are any to one that has a module of its own under the name of an imported one.
"""

# ruff: noqa: SLF001 - the environment has no other class

import ast
import importlib
import json
import os
import runpy
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypedDict, override

MAX_REQUEST_BYTES = 1 << 17

REFUSED = b"refused"

# Of each worker its own folder, which is /var/task for all on AWS. What is imported looks only whether there is one.
_PLACE = "LAMBDA_TASK_ROOT"


class WorkerRequest(TypedDict):
    """What is to run: a script in a folder, with an environment of its own."""

    script: str
    folder: str
    environment: dict[str, str]


_read = set[str]()


class _WatchedEnvironment(os._Environ[str]):
    """The environment, which remembers the names of the variables that are asked for."""

    @override
    def __getitem__(self, name: str) -> str:
        _read.add(name)
        return super().__getitem__(name)


def main() -> None:
    """Fork on demand, until the emulator closes the socket; in a fork, be the worker."""
    # As it is in a worker while it imports: what is printed, or logged to the standard output, belongs into the log.
    standard_output, sys.stdout = sys.stdout, sys.stderr
    connection = socket.socket(fileno=int(sys.argv[1]))
    own_path = list(sys.path)
    sys.path[:0] = [f"{layer}/python" for layer in reversed(sys.argv[2].split(os.pathsep))]
    environment = dict(os.environ)
    os.environ.__class__ = _WatchedEnvironment
    while True:
        message, files, _, _ = socket.recv_fds(connection, MAX_REQUEST_BYTES, 3)
        if not message:
            return
        request: WorkerRequest = json.loads(message)
        own = {path.stem for path in Path(request["folder"]).iterdir()}
        for name in _imported_names(Path(request["folder"])):
            # Of a layer that the function lacks, or its own; the worker sees which.
            with suppress(ImportError):
                importlib.import_module(name)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        wanted = request["environment"]
        if own & sys.modules.keys() or any(wanted.get(name) != environment.get(name) for name in _read - {_PLACE}):
            connection.send(REFUSED)
        elif child := os.fork():
            handle = os.pidfd_open(child)
            socket.send_fds(connection, [str(child).encode()], [handle])
            os.close(handle)
        else:
            connection.close()
            os.environ.__class__ = os._Environ
            sys.stdout, sys.path[:] = standard_output, own_path
            _become(request, files)
            return
        for file in files:
            os.close(file)


def _imported_names(folder: Path) -> Iterator[str]:
    """Yield the modules that the modules of a folder import as they are imported themselves."""
    for path in sorted(folder.glob("*.py")):
        with suppress(SyntaxError):
            for statement in ast.parse(path.read_bytes()).body:
                if isinstance(statement, ast.Import):
                    yield from (alias.name for alias in statement.names)
                elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
                    yield statement.module


def _become(request: WorkerRequest, files: list[int]) -> None:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    # What was -P, and comes first for a script.
    sys.path.insert(0, str(Path(request["script"]).parent))
    sys.argv = [request["script"]]
    runpy.run_path(request["script"], run_name="__main__")


if __name__ == "__main__":
    main()
