"""What a process makes once: clients of AWS, of which each takes some 30 ms of processor time and keeps its memory.

They may be used by many threads, and their connections stay open from one invocation to the next.
"""

import os
import threading
from collections.abc import Callable, Hashable
from typing import cast

_lock = threading.Lock()
_kept: dict[Hashable, object] = {}


def kept[Client](make: Callable[[], Client], *key: Hashable) -> Client:
    """Return what `make` returned when it was first asked for by this key in this environment.

    Credentials, Region and endpoint come from environment variables: where they change, another client is made.

    Args:
        make: Makes the client. Whatever it raises is raised, and nothing is kept.
        key: What the client is, and what else it depends on.
    """
    environment = frozenset((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))
    # Made under the lock: two threads must not both pay for it.
    with _lock:
        found = _kept.get((key, environment))
        if found is None:
            found = _kept[key, environment] = make()
        return cast("Client", found)
