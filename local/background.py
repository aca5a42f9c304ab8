"""`make local-up`: start the local stack in the background and return when it is ready.

`milvus-vault local down` and `make local-down` stop it, see `milvus_vault/cli/local_stack.py`.
"""

import argparse
import contextlib
import subprocess
import sys
import time
from pathlib import Path

from pymilvus import MilvusClient
from rich.console import Console

from local.processes import exit_on_signals
from local.sample_data import NAMES, fill
from local.supervisor import ALREADY_RUNNING
from milvus_vault.client.local_state import LocalState, is_alive, log_path, running_stack, state_folder, state_path

_TIMEOUT_SECONDS = 240.0
_STOP_TIMEOUT_SECONDS = 40.0
_LAST_LINES = 30

console = Console(highlight=False)


class NotStartedError(RuntimeError):
    """The stack did not start; the message says why."""


def main() -> int:
    """Start the stack unless it runs, fill the sample collections if asked, and return 0 when it is ready."""
    parser = argparse.ArgumentParser(prog="make local-up", description=__doc__)
    parser.add_argument("--sample", action="store_true", help="fill the sample collections")
    arguments = parser.parse_args()
    exit_on_signals()
    try:
        state = _start()
        if arguments.sample:
            _fill(state)
    except NotStartedError as err:
        console.print(f"[red]error:[/] {err}", markup=True, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    console.print(f"[green]✓[/] The local stack is ready: {state.api_url}", soft_wrap=True)
    return 0


def _start() -> LocalState:
    """Return the running stack, started if need be."""
    state = running_stack()
    if state is not None:
        return state
    # Left by a process that was killed.
    if not is_alive():
        state_path().unlink(missing_ok=True)
    state_folder().mkdir(parents=True, exist_ok=True)
    with (
        console.status("Starting Milvus 2.3.5 and an emulated AWS, deploying the template"),
        log_path().open("w") as log,
    ):
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "local.supervisor"],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # It outlives this process and the terminal's Ctrl-C.
            start_new_session=True,
        )
        with contextlib.ExitStack() as unless_ready:
            unless_ready.callback(_end, supervisor)
            state = _wait(supervisor)
            unless_ready.pop_all()
            return state


def _wait(supervisor: subprocess.Popen[bytes]) -> LocalState:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        state = running_stack()
        if state is not None:
            return state
        # Somebody else may have been faster: then theirs is waited for.
        if supervisor.poll() not in {None, ALREADY_RUNNING}:
            lines = log_path().read_text(errors="replace").splitlines()[-_LAST_LINES:]
            msg = "\n".join(["the local stack ended while starting:", *lines])
            raise NotStartedError(msg)
        time.sleep(0.2)
    msg = f"the local stack was not ready after {_TIMEOUT_SECONDS:.0f} s; see {log_path()}"
    raise NotStartedError(msg)


def _end(supervisor: subprocess.Popen[bytes]) -> None:
    supervisor.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        supervisor.wait(_STOP_TIMEOUT_SECONDS)
    supervisor.kill()
    supervisor.wait()


def _fill(state: LocalState) -> None:
    if "articles" in MilvusClient(uri=state.milvus_uri).list_collections():
        console.print("The sample collections are there already.")
        return
    with console.status("Filling the sample collections"):
        fill(state.milvus_uri)
    console.print(f"[green]✓[/] Filled {', '.join(NAMES)}")


if __name__ == "__main__":
    sys.exit(main())
