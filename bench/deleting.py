"""Compare how long many objects take to go: one request after the other, and by `delete_batches` as functions do it.

    PYTHONPATH=layers/shared python -m bench.deleting [--objects 100000] [--seconds 1] [--most 0]

The store has no objects; each request of 1,000 keys takes as long as `--seconds` says, and what is above `--most` keys
a second is refused (0: nothing is). All is waiting, so that the machine's load does not matter much.
"""

import argparse
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import batched
from typing import override

from milvus_vault.deleting import delete_batches, deletion_pacer
from milvus_vault.errors import StorageThrottledError
from tests.support.memory_store import InMemoryObjectStore


class SlowStore(InMemoryObjectStore):
    """A store without objects whose requests take time, with a bucket of tokens as S3 has one."""

    def __init__(self, seconds: float, most: float) -> None:
        """Start with a second's worth of tokens."""
        super().__init__("bucket")
        self._seconds, self._most, self._tokens, self._filled_at = seconds, most, most, time.monotonic()
        self._counting = threading.Lock()
        self.refused = 0

    @override
    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        if self._most:
            with self._counting:
                now = time.monotonic()
                self._tokens = min(self._most, self._tokens + (now - self._filled_at) * self._most) - len(list(keys))
                self._filled_at = now
                if self._tokens < 0:
                    self._tokens += 1000
                    self.refused += 1
                    msg = "SlowDown"
                    raise StorageThrottledError(msg)
        time.sleep(self._seconds)


def listing(objects: int) -> Iterator[tuple[str, ...]]:
    """Yield keys, 1,000 at a time."""
    return batched((f"staging/{number:09}" for number in range(objects)), 1000, strict=False)


def main() -> None:
    """Print both times, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=1, help="for a request of 1,000 keys")
    parser.add_argument("--most", type=float, default=0, help="keys a second that the store takes; 0: any number")
    arguments = parser.parse_args()
    store = SlowStore(arguments.seconds, 0)
    started = time.monotonic()
    for keys in listing(arguments.objects):
        store.delete("bucket", keys)
    one_by_one = time.monotonic() - started
    store = SlowStore(arguments.seconds, arguments.most)
    started = time.monotonic()
    gone = sum(map(len, delete_batches(store, "bucket", listing(arguments.objects), str, pacer=deletion_pacer())))
    together = time.monotonic() - started
    print(f"one after the other: {one_by_one:.1f} s")
    print(f"delete_batches: {together:.1f} s, {gone} objects, {store.refused} requests refused")
    print(f"ratio: {together / one_by_one:.2f}")


if __name__ == "__main__":
    main()
