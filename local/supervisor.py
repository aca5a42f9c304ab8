"""The process that holds the local stack that `local/background.py` started, until it is told to end."""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.milvus import VERSION
from local.processes import exit_on_signals
from local.stack import QUIET, LocalStack
from milvus_vault.client.local_state import LocalState, lock_path, state_folder, state_path

_LOOK_EVERY_SECONDS = 1.0
_LOCK_ATTEMPTS = 20

ALREADY_RUNNING = 3
"""Exit code where another one holds the lock."""


def main() -> int:
    """Run the stack until a signal ends this process or a server dies."""
    exit_on_signals()
    state_folder().mkdir(parents=True, exist_ok=True)
    # Never closed: the lock is to end with the process, and not a moment before.
    lock = os.open(lock_path(), os.O_RDWR | os.O_CREAT, 0o600)
    if not _is_locked(lock):
        return ALREADY_RUNNING
    os.truncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    with LocalStack(QUIET) as stack, _published(stack):
        while stack.ministack.is_running() and stack.milvus.is_running():
            time.sleep(_LOOK_EVERY_SECONDS)
        ended = "Milvus" if stack.ministack.is_running() else "the emulated AWS"
        print(f"{ended} has ended by itself", flush=True)
    return 1


def _is_locked(lock: int) -> bool:
    """Lock the file, unless another supervisor has. One that only looks whether there is one has it for a moment."""
    for _ in range(_LOCK_ATTEMPTS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
        else:
            return True
    return False


@contextmanager
def _published(stack: LocalStack) -> Iterator[None]:
    """Write the file by which the stack is found, whole or not at all, and remove it in the end."""
    state = LocalState(
        pid=os.getpid(),
        repository=str(Path(__file__).parents[1]),
        api_url=stack.api_url,
        aws_url=stack.ministack.url,
        milvus_uri=stack.milvus_uri,
        management_uri=stack.milvus.management_uri,
        milvus_version=VERSION,
        stack_name=stack.deployment.stack_name,
    )
    unfinished = state_path().with_suffix(".new")
    unfinished.write_text(state.model_dump_json())
    unfinished.replace(state_path())
    try:
        yield
    finally:
        state_path().unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
