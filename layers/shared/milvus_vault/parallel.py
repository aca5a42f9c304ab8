"""Work on many things at a time: each result in order, or each failure by itself."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice

from milvus_vault.errors import VaultError

REQUESTS_AT_A_TIME = 16
"""Requests in flight while listing, reading and writing working files. At 30 ms each, some 500 a second:
10,000 targets with two folders each are listed in 40 s."""


SMALL_REQUESTS_AT_A_TIME = 32
"""Requests in flight where each collection takes several small ones in a row. At 30 ms each, some 1,000 a second:
16,000 collections of seven requests take 110 s."""


LISTS_AT_A_TIME = 64
"""Collections whose lists of objects are worked on at a time, as far as `LISTS_AT_A_TIME_BYTES` allows. At 30 ms each
their requests are some 2,000 a second: S3 takes 3,500 that write below one prefix, and 5,500 that read."""


LISTS_AT_A_TIME_BYTES = 64 * 1024**2
"""Of lists of objects that are worked on at a time. In memory they are four times that."""


def each[Item, Result](
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int = REQUESTS_AT_A_TIME,
    weight: Callable[[Item], int] = lambda _: 0,
    max_weight: int = 0,
) -> Generator[Result]:
    """Yield `function(item)` of each item, in the order of the items.

    At most `threads` results exist that were not yet asked for, so that a slow reader does not fill the
    memory. Items whose weights together exceed `max_weight` are not worked on at a time, and a single one that does is
    worked on alone. An exception of `function` is raised in place of its result; what runs then is waited for.
    Whoever keeps it by a name, and may fail or stop before its end, closes it: a traceback would keep it, and what it
    began would go on beside whatever comes then.
    """
    with ThreadPoolExecutor(threads) as executor:
        pending: deque[tuple[Future[Result], int]] = deque()
        load = 0
        try:
            for item in items:
                heavy = weight(item)
                while pending and (len(pending) >= threads or load + heavy > max_weight > 0):
                    future, lighter = pending.popleft()
                    load -= lighter
                    yield future.result()
                pending.append((executor.submit(function, item), heavy))
                load += heavy
            while pending:
                yield pending.popleft()[0].result()
        finally:
            executor.shutdown(cancel_futures=True)


def do_each[Item](
    function: Callable[[Item], object],
    items: Iterable[Item],
    *,
    threads: int = REQUESTS_AT_A_TIME,
    weight: Callable[[Item], int] = lambda _: 0,
    max_weight: int = 0,
) -> None:
    """Do something with each item, as `each` does, where nothing of what it returns is wanted."""
    deque(each(function, items, threads=threads, weight=weight, max_weight=max_weight), maxlen=0)


def begun[Item](items: Iterable[Item]) -> Iterator[Item]:
    """Return items of which the first was asked for: the list that they are read from is read by now, and not later."""
    iterator = iter(items)
    return chain(list(islice(iterator, 1)), iterator)


def for_each[Item](
    items: Iterable[Item],
    work: Callable[[Item], None],
    *,
    threads: int,
    on_failure: Callable[[Item, VaultError], None],
) -> None:
    """Run `work` on every item, in threads; hand each lasting failure to `on_failure`.

    A retryable error is raised instead, once all items are through: the task as a whole is then tried again
    and finds done what is done. Anything but a `VaultError` is a bug, and raised as it is.
    """

    def one(item: Item) -> VaultError | None:
        try:
            work(item)
        except VaultError as err:
            if err.retryable:
                return err
            on_failure(item, err)
        return None

    # Not by `each`, where the others would wait for a slow first.
    with ThreadPoolExecutor(max_workers=threads) as pool:
        passing = [err for err in pool.map(one, items) if err is not None]
    if passing:
        raise passing[0]
