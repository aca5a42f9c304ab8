"""Delete many objects: some requests at a time, and fewer a second where S3 says SlowDown."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from milvus_vault.copying.pacer import Pacer
from milvus_vault.errors import StorageThrottledError
from milvus_vault.parallel import each
from milvus_vault.ports import ObjectStore

REQUESTS_IN_FLIGHT = 8
"""Each deletes 1,000 objects and takes about a second."""

_KEYS_PER_SECOND = 3000.0
"""To begin with. S3 counts each key of a request, and takes 3,500 a second of a prefix; running backups need some."""

_LEAST_KEYS_PER_SECOND = 500.0
"""A request of 1,000 keys then waits 2 s for the one before it, and 16 s for all that are in flight."""

PATIENCE_SECONDS = 10
"""For how long a request is sent again that S3 refused."""

STOP_SECONDS = 90
"""How much time has to be left where a request is begun: it waits for up to 16 s, is sent for 10 s, waits again, and
the SDK takes up to half a minute for the last try of a SlowDown that S3 insists on."""


def deletion_pacer() -> Pacer:
    """Return the rate, in keys a second, that all deletions of a function share."""
    return Pacer(start_rate=_KEYS_PER_SECOND, min_rate=_LEAST_KEYS_PER_SECOND)


def delete_batches[Item](
    store: ObjectStore,
    bucket: str,
    batches: Iterable[Sequence[Item]],
    key_of: Callable[[Item], str],
    *,
    pacer: Pacer,
    before: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[Sequence[Item]]:
    """Delete objects, a batch a request, and yield each batch when it is gone, in order.

    Nothing is deleted unless the answers are asked for. Batches are read as requests are sent, so that a listing of any
    length needs little memory. When this ends, or raises, no request of it is under way any more.

    Args:
        store: Where they lie.
        bucket: Likewise.
        batches: What to delete, up to 1,000 items each.
        key_of: Returns the key of an item.
        pacer: The rate, in keys a second.
        before: Called right before each request, from several threads; what it raises ends everything.
        clock: Seconds that only grow, the pacer's own clock.
        wait: Waits for so many seconds.

    Raises `StorageThrottledError` where S3 insists on it for longer than `PATIENCE_SECONDS`, and what `delete` of
    `ObjectStore` does.
    """

    def delete(some: Sequence[Item]) -> Sequence[Item]:
        keys = [key_of(item) for item in some]
        wait(pacer.reserve(len(keys)))
        give_up_at = clock() + PATIENCE_SECONDS
        while True:
            before()
            sent_at = clock()
            try:
                store.delete(bucket, keys)
            except StorageThrottledError:
                pacer.throttled(sent_at)
                if clock() >= give_up_at:
                    raise
                wait(pacer.reserve(len(keys)))
            else:
                return some

    yield from each(delete, batches, threads=REQUESTS_IN_FLIGHT)
