"""Starting and stopping the local stack from the command line.

What runs it is `local/background.py` of a clone of the repository: the emulator and Milvus are no part of what
`pip install` brings.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from milvus_vault.cli.session import Output
from milvus_vault.client.local_state import (
    LocalState,
    is_alive,
    lock_path,
    log_path,
    running_stack,
    starting_path,
    state_folder,
    state_path,
)
from milvus_vault.errors import LocalStackError

_PYTHON = "python3.13"
_MARK = Path("local", "background.py")
# The repository has a Python of its own; and a `make` that this program runs in is none of its business.
_NOT_FOR_MAKE = {"PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
_STOP_TIMEOUT_SECONDS = 40.0
_KILL_TIMEOUT_SECONDS = 10.0
_LAST_LINES = 30


def start(output: Output, repository: Path | None, *, with_sample: bool) -> LocalState:
    """Start the local stack, unless it runs, and return it once it is ready. Raises LocalStackError."""
    running = running_stack()
    if running is not None and not with_sample:
        output.say("It runs already:")
        return running
    clone = find_repository(repository or (Path(running.repository) if running else None))
    with _alone(output, clone):
        return _start(output, clone, running_stack(), with_sample=with_sample)


@contextlib.contextmanager
def _alone(output: Output, clone: Path) -> Iterator[None]:
    """Wait until nobody else starts the stack from this clone: an install removes what was half installed."""
    with _written(clone / ".make" / "local-up.lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            output.say("Another 'local up' is at work here; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        with _told_to_others():
            yield


@contextlib.contextmanager
def _told_to_others() -> Iterator[None]:
    """Let `is_starting` be true meanwhile. It is as well where another clone's 'local up' has the lock."""
    with _written(starting_path()) as lock:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _written(path: Path) -> IO[str]:
    """Open a file of the local stack to be written, in a folder that is made. Raises LocalStackError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w")
    except OSError as err:
        raise _unwritable(path, err) from err


def _unwritable(path: Path, err: OSError) -> LocalStackError:
    return LocalStackError(
        f"cannot write {path}: {err.strerror or err}",
        hint="See that you may write there. XDG_STATE_HOME names the folder of the local stack's state, "
        "--repo the clone that it is started from.",
    )


def _start(output: Output, clone: Path, running: LocalState | None, *, with_sample: bool) -> LocalState:
    if running is not None and not with_sample:
        output.say("It runs already:")
        return running
    steps = [
        ("local-install", "Install what it needs"),
        ("build", "Build what is deployed"),
        ("local-up", "Start Milvus 2.3.5 and an emulated AWS, deploy"),
    ]
    for target, text in steps if running is None else steps[-1:]:
        _step(output, clone, target, text, "ARGS=")
    if with_sample:
        _step(output, clone, "local-up", "Fill the sample collections", "ARGS=--sample")
    state = running_stack()
    if state is None:
        msg = "the local stack has ended again"
        raise LocalStackError(msg, hint=f"Its log says why: {log_path()}")
    return state


def _step(output: Output, repository: Path, target: str, text: str, *arguments: str) -> None:
    """Run `make` with what it says in a file, and say what is done meanwhile. Raises LocalStackError where it fails."""
    log = repository / ".make" / f"{target}.log"
    began = time.monotonic()
    with _written(log) as said, contextlib.ExitStack() as shown:
        if output.is_live:
            shown.enter_context(output.text.status(text))
        else:
            output.say("{text} ...", text=text)
        code = _make(repository, target, *arguments, to=said)
    if code != 0:
        for line in log.read_text(errors="replace").splitlines()[-_LAST_LINES:]:
            output.tell("{line}", line=line)
        msg = f"the local stack did not start: '{text}' failed"
        raise LocalStackError(msg, hint=f"The lines above say why, and {log} has all of them.")
    output.say("[green]✓[/] {text} [dim]({seconds} s)[/]", text=text, seconds=round(time.monotonic() - began))


def find_repository(given: Path | None) -> Path:
    """Return the folder of a clone: the given one, or the one that the current folder is in.

    Raises LocalStackError.
    """
    looked_at = [given.absolute()] if given else [Path.cwd(), *Path.cwd().parents]
    for folder in looked_at:
        if (folder / _MARK).is_file():
            return folder
    msg = f"{looked_at[0]} is not in a clone of Milvus Vault's repository"
    raise LocalStackError(
        msg,
        hint="The local stack is started from one: change into it, or name it with --repo.",
    )


def make(output: Output, repository: Path, target: str) -> int:
    """Run `make` as it is, and return its exit code. Beside JSON, what it writes goes to standard error.

    Raises LocalStackError where there is no `make`.
    """
    return _make(repository, target, to=sys.stderr if output.is_json else None)


def _make(repository: Path, target: str, *arguments: str, to: IO[str] | None) -> int:
    """Run `make`, and return its exit code. Ctrl-C reaches it as well, and it is waited for."""
    program = shutil.which("make")
    if program is None:
        msg = "there is no 'make' on this machine"
        raise LocalStackError(msg, hint="Install it, for example with apt or dnf.")
    python = shutil.which(_PYTHON) or sys.executable
    command = [program, "--no-print-directory", "--directory", str(repository), target, f"PYTHON={python}", *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_MAKE}
    errors = subprocess.STDOUT if to is not None else None
    with subprocess.Popen(command, env=environment, stdout=to, stderr=errors) as process:  # noqa: S603 - a Makefile that the user named
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise


def stop() -> bool:
    """Stop the local stack, remove its files, and return whether it ran. Raises LocalStackError."""
    was_running = is_alive()
    if was_running:
        _signal(signal.SIGTERM)
        if not _wait_until_gone(_STOP_TIMEOUT_SECONDS):
            # Its servers end with it all the same: each has a watchdog.
            _signal(signal.SIGKILL)
            if not _wait_until_gone(_KILL_TIMEOUT_SECONDS):
                msg = f"process {_pid()} of the local stack does not end"
                raise LocalStackError(msg, hint="Kill it by hand.")
    for path in (state_path(), lock_path(), log_path(), starting_path()):
        try:
            if path.exists():
                path.unlink(missing_ok=True)
        except OSError as err:
            raise _unwritable(path, err) from err
    with contextlib.suppress(OSError):  # there is something else in it, or it was never made
        state_folder().rmdir()
    return was_running


def _pid() -> int:
    try:
        return int(lock_path().read_text())
    except (OSError, ValueError) as err:
        msg = "the local stack is just starting or stopping"
        raise LocalStackError(msg, hint="Try again in a few seconds.") from err


def _signal(number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(_pid(), number)


def _wait_until_gone(timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while is_alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
