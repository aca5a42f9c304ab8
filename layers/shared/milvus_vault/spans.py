"""Long listings, by several requests at a time.

A page has 1,000 keys and names the next one, so that a million objects are a thousand answers one after the other: at
100 ms each they take 100 s. But a listing may also begin behind any key (`StartAfter`), and who lists mostly knows
already what should be there. So the keys are cut into spans, which are listed at the same time
([ADR 49](../../../docs/adr/0049-long-listings-in-spans.md)).
"""

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice, pairwise
from typing import NamedTuple

from milvus_vault.model.objects import ListedObject
from milvus_vault.parallel import each
from milvus_vault.ports import ObjectStore

PAGE = 1000
"""Keys of one answer: ListObjectsV2, S3 API reference."""

_SPANS_AT_A_TIME = 8
"""Of one listing, at most."""

_SPANS_OF_ALL = 16
"""Of all listings that go on side by side, shared as they begin: of sixteen the first two have eight each, the last
ones one. With two that each holds beside these it is 74 spans instead of 160."""

_LEAST_PAGES, _MOST_PAGES = 2, 12
"""At least and at most; between them, a sixteenth of the listing. Ten spans are held: the one that is yielded, the next
one, and those that are read. That is some half of a listing, and at most 120 pages: 48 MB, at 0.4 KB an object. A span
ends within a page, half of which is read once more behind it: of 12 pages that is 4 %."""

_REQUESTS = threading.BoundedSemaphore(32)
"""Of all listings of this process: half of the connections that a function keeps."""


class _Listings:
    """The long listings that go on."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[int]:
        """Be one of them, and say how many spans it may read at a time."""
        with self._lock:
            self._count += 1
            share = max(1, min(_SPANS_AT_A_TIME, _SPANS_OF_ALL // self._count))
        try:
            yield share
        finally:
            with self._lock:
                self._count -= 1


_LISTINGS = _Listings()


class _Span(NamedTuple):
    """What was listed behind a key."""

    after: str
    objects: Sequence[ListedObject]
    is_last: bool
    """Whether the listing ends with it."""


def list_in_spans(
    store: ObjectStore, bucket: str, prefix: str, marks: Callable[[], Sequence[str]]
) -> Generator[ListedObject]:
    """Yield every object below the prefix, in the server's order; each once, whatever that order is.

    What has one page is listed by one request, as `list_objects` does, and marks are not asked for. A span ends where
    the next one is seen to begin, at the same key. So wrong marks, objects that come and go meanwhile, and a server
    with an order of its own cost requests and time, and no object.

    Args:
        store: Where the objects are.
        bucket: Their bucket.
        prefix: What their keys begin with.
        marks: Returns keys that should be there, or beginnings of keys, sorted. Evenly spread: between any two lie
            about as many objects as between two others.

    Raises:
        VaultError: As `ObjectStore.list_objects`.
    """
    listing = store.list_objects(bucket, prefix)
    first = list(islice(listing, PAGE))
    # Before anything is yielded: some take from what they expect what they have found.
    cuts, most = _cuts(prefix, first[-1].key, marks()) if len(first) == PAGE else ((), 0)
    yield from first
    del first
    if len(cuts) < 2:  # noqa: PLR2004 - one span is no reason to ask anew
        yield from listing
        return

    def read(cut: tuple[str, str]) -> _Span:
        with _REQUESTS:
            return _read(store.list_objects(bucket, prefix, after=cut[0]), *cut, most)

    def to_the_end(span: _Span) -> Iterator[ListedObject]:
        yield from span.objects
        if not span.is_last:
            yield from store.list_objects(bucket, prefix, after=span.objects[-1].key)

    with _LISTINGS.one() as share, closing(each(read, pairwise((*cuts, "")), threads=share)) as spans:
        span = next(spans)
        for following in spans:
            begins_with = following.objects[0].key if following.objects else ""
            for listed in to_the_end(span):
                if listed.key == begins_with:
                    break
                yield listed
                if listed.key == following.after:
                    break
            else:
                return
            span = following
        yield from to_the_end(span)


def _cuts(prefix: str, last: str, marks: Sequence[str]) -> tuple[Sequence[str], int]:
    """Return the keys behind which spans begin, and the most of one. The first is the end of the first page."""
    begin, end = bisect_left(marks, prefix), bisect_left(marks, prefix + chr(0x10FFFF))
    behind = bisect_right(marks, last, begin, end)
    a_page = max(behind - begin, 1)
    least, most = _LEAST_PAGES, _MOST_PAGES
    pages = min(max((end - begin) // a_page // (2 * _SPANS_AT_A_TIME), least), most)
    step = pages * a_page
    if not (behind > begin and marks[behind - 1] == last):
        # They are beginnings of keys: a span of a few objects more would take a page more.
        step = max(step - a_page // 4, 1)
    # Behind the last mark nothing should be. Where there is more of a span than twice of what was thought, it waits.
    return (last, *marks[behind - 1 + step : end - 1 : step]), 2 * pages * PAGE


def _read(listing: Iterator[ListedObject], after: str, until: str, most: int) -> _Span:
    """Read a span to its end, which is where the next one begins if keys are sorted by their bytes."""
    objects: list[ListedObject] = []
    for listed in islice(listing, most):
        objects.append(listed)
        if until and listed.key >= until:
            return _Span(after, objects, is_last=False)
    return _Span(after, objects, is_last=len(objects) < most)
