"""Functions that end at one of their requests, as one does whose time is over."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

from tests.support.memory_store import InMemoryObjectStore

_THREADS = "copy"  # the prefix of the names of those that a CopyBatch leaves behind


class KilledError(Exception):
    """The function ends here."""


@contextmanager
def dying(store: InMemoryObjectStore, request_number: int) -> Iterator[None]:
    """Let whatever runs in this end at that request, from 0 on: neither it nor any behind it reaches the store."""
    requests = count()

    def die(*_: str) -> None:
        if next(requests) >= request_number:
            raise KilledError

    store.before = die
    with suppress(KilledError):
        yield
    # A function takes its threads with it. Here some may have a request on its way, which would else be written
    # whenever they get on, with the clock of what comes then.
    for thread in threading.enumerate():
        if thread.name.startswith(_THREADS):
            thread.join()
    store.before = lambda *_: None
