"""Delete many objects: some requests at a time, and fewer a second where S3 says SlowDown."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count

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

_FULL = 1000
"""Keys of a full request. Who was refused waits for the time of one as well, however few keys he has."""

ATTEMPTS = 6
"""How often a request is sent that S3 refuses: of a server that takes 3,500 keys a second, none needs more than four
(`bench.deleting`). The SDK has then asked up to five times for each."""

STOP_SECONDS = 120
"""How much time has to be left where a request is begun: at the least rate it waits for up to 18 s before each try, 42
where four deletions share the rate, as in a sweep of the pool, and the SDK takes up to 15 s for one. What S3 refuses
for longer ends with the function; the next call goes on."""


def deletion_pacer(clock: Callable[[], float] = time.monotonic) -> Pacer:
    """Return the rate, in keys a second, that deletions of a function share; `clock` returns seconds that only grow."""
    return Pacer(clock, start_rate=_KEYS_PER_SECOND, min_rate=_LEAST_KEYS_PER_SECOND)


def delete_batches[Item](
    store: ObjectStore,
    bucket: str,
    batches: Iterable[Sequence[Item]],
    key_of: Callable[[Item], str],
    *,
    pacer: Pacer,
    before: Callable[[], object] = lambda: None,
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
        wait: Waits for so many seconds.

    Raises what `delete` of `ObjectStore` does; `StorageThrottledError` where a request was refused `ATTEMPTS` times.
    """

    def delete(some: Sequence[Item]) -> Sequence[Item]:
        keys = [key_of(item) for item in some]
        wait(pacer.reserve(len(keys)))
        for attempt in count(1):
            before()
            sent_at = pacer.now()
            try:
                store.delete(bucket, keys)
            except StorageThrottledError:
                pacer.throttled(sent_at)
                if attempt == ATTEMPTS:
                    raise
                wait(pacer.reserve(len(keys)) + _FULL / pacer.rate)
            else:
                break
        return some

    yield from each(delete, batches, threads=REQUESTS_IN_FLIGHT)
