"""The file by which a running local stack is found, see `local/background.py`."""

import fcntl
import os
from pathlib import Path

from pydantic import ValidationError

from milvus_vault.model.base import Model

# The emulator takes any; these are the ones that it is used with.
LOCAL_ACCESS_KEY = LOCAL_SECRET_KEY = "test"  # noqa: S105 - the emulator takes any
LOCAL_REGION = "us-east-1"


class LocalState(Model):
    """A local stack that is ready."""

    pid: int
    """Process that holds its servers; the stack ends with it."""
    repository: str
    """Folder that it was started from."""
    api_url: str
    aws_url: str
    """Endpoint of the emulated AWS."""
    milvus_uri: str
    stack_name: str
    management_uri: str = ""
    """Where Milvus says whether it is well; empty: an earlier build has started it."""
    milvus_version: str = ""
    """What was started."""


def state_folder() -> Path:
    """Return the folder of the user in which the local stack's files are; it need not exist."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "milvus-vault"


def state_path() -> Path:
    """Return the path of the file that describes the running local stack."""
    return state_folder() / "local.json"


def lock_path() -> Path:
    """Return the path of the file that the local stack's process has locked as long as it lives."""
    return state_folder() / "local.lock"


def log_path() -> Path:
    """Return the path of the file that the local stack's process writes to."""
    return state_folder() / "local.log"


def starting_path() -> Path:
    """Return the path of the file that 'local up' has locked while it is at work."""
    return state_folder() / "local-up.lock"


def is_alive() -> bool:
    """Tell whether a local stack's process lives. Its lock ends with it, however it ends."""
    return _is_locked(lock_path())


def is_starting() -> bool:
    """Tell whether 'local up' is at work: it installs and builds before the stack's process lives."""
    return _is_locked(starting_path())


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # it is not there, or where it would be is no folder of this user
        return False
    return False


def read_state() -> LocalState | None:
    """Return what the file says, also where that process is gone, or nothing where there is no readable file."""
    try:
        return LocalState.model_validate_json(state_path().read_bytes())
    except (OSError, ValidationError):
        return None


def running_stack() -> LocalState | None:
    """Return the local stack that is ready, if there is one."""
    return read_state() if is_alive() else None
