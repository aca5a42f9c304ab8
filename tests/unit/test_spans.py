"""Long listings by several requests at a time: the same objects in the same order, whatever server lists them."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import Any, override

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault import parallel, spans
from milvus_vault.errors import StorageThrottledError
from milvus_vault.model.objects import ListedObject
from milvus_vault.spans import list_in_spans
from tests.support.faults import cases
from tests.support.memory_store import InMemoryObjectStore

BUCKET, PREFIX = "bucket", "p/"


class Pages(InMemoryObjectStore):
    """Lists in an order of its own, a page at a time, and counts the pages."""

    def __init__(self, keys: Sequence[str], page: int = 10) -> None:
        super().__init__(BUCKET)
        self.keys, self.page = keys, page
        self.asked: list[str] = []
        """Behind which key each page began."""
        self.meddle: Callable[[int], None] = lambda _: None
        """Called ahead of each page with its number, and may change the keys."""
        self._counting = threading.Lock()

    @override
    def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        """Yield what comes behind a key in the order of the keys, which has to have it or one that is like it."""
        assert prefix == PREFIX
        while True:
            with self._counting:
                self.asked.append(after)
                self.meddle(len(self.asked))
                at = self.position(after)
                page = list(self.keys[at : at + self.page])
                is_last = at + self.page >= len(self.keys)
            for key in page:
                yield ListedObject(key, 1, "e")
            if is_last:
                return
            after = page[-1]

    def position(self, after: str) -> int:
        """Return where the listing goes on behind a key."""
        return next((at for at, key in enumerate(self.keys) if key > after), len(self.keys))


class Shuffled(Pages):
    """In no order that anybody knows; behind a key that is not there it goes on anywhere, but always the same."""

    @override
    def position(self, after: str) -> int:
        if not after:
            return 0
        return self.keys.index(after) + 1 if after in self.keys else hash(after) % len(self.keys)


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "PAGE", 10)


def names(count: int) -> list[str]:
    """Return sorted keys."""
    return [f"{PREFIX}{number:05}" for number in range(count)]


def listed(store: Pages, marks: Sequence[str]) -> list[str]:
    """Return the keys that are listed."""
    return [found.key for found in list_in_spans(store, BUCKET, PREFIX, lambda: marks)]


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 29, 30])
def test_a_short_listing_asks_for_no_more_than_its_pages(count: int) -> None:
    store = Pages(keys := names(count))

    assert listed(store, keys) == keys
    # Also where the last page is full: it says that it is the last.
    assert len(store.asked) == max(-(-count // 10), 1)


def test_marks_of_a_page_are_not_asked_for() -> None:
    def marks() -> Sequence[str]:
        raise AssertionError

    assert len(list(list_in_spans(Pages(names(9)), BUCKET, PREFIX, marks))) == 9


def test_what_is_as_it_should_be_takes_as_many_requests_as_it_has_pages() -> None:
    store = Pages(keys := names(1000))

    assert listed(store, ["a", *keys, "z"]) == keys
    assert len(store.asked) == 100
    assert len(set(store.asked)) == 100


def test_spans_are_listed_at_the_same_time() -> None:
    keys = names(400)
    # All eight have to be there before any goes on.
    together = threading.Barrier(8, timeout=60)

    class Meeting(Pages):
        @override
        def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
            if after and int(after.removeprefix(PREFIX)) < 8 * 20:
                together.wait()
            return super().list_objects(bucket, prefix, after=after)

    assert listed(Meeting(keys), keys) == keys


def test_no_more_is_held_than_the_spans_that_are_read_at_the_same_time() -> None:
    store = Pages(keys := names(5000))
    found = list_in_spans(store, BUCKET, PREFIX, lambda: keys)

    for number, _ in enumerate(found):
        # The span that is yielded, the one that follows, and those that are read meanwhile, each of twelve pages.
        assert len(store.asked) <= number // 10 + 1 + 12 * (1 + 1 + 8)


def test_listings_that_go_on_side_by_side_share_what_they_hold() -> None:
    stores = [Pages(names(1000)) for _ in range(16)]
    listings = [list_in_spans(store, BUCKET, PREFIX, lambda: names(1000)) for store in stores]
    begun: list[int] = []

    def each[Item, Result](function: Callable[[Item], Result], items: Iterable[Item], *, threads: int) -> Any:
        begun.append(threads)
        return parallel.each(function, items, threads=threads)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(spans, "each", each)
        for listing in listings:
            list(islice(listing, 11))
        assert begun == [8, 8, 5, 4, 3, 2, 2, 2, *[1] * 8]
        for listing in listings:
            assert len(list(listing)) == 1000 - 11
        assert len(listed(stores[0], names(1000))) == 1000
    assert begun[16:] == [8]


@pytest.mark.parametrize("spread", [1, 3, 25, 200])
def test_marks_may_be_of_folders_with_more_or_fewer_objects(spread: int) -> None:
    keys = [f"{PREFIX}{number // spread:04}/{number:05}" for number in range(1200)]
    store = Pages(keys)

    assert listed(store, sorted({key[:6] for key in keys})) == keys
    # There are 120 pages. Spans do not end with one, which is much where a page has ten keys.
    assert len(store.asked) <= 180


def test_a_listing_that_nobody_knows_is_listed_page_by_page() -> None:
    store = Pages(keys := names(100))

    assert listed(store, []) == keys
    assert store.asked == ["", *keys[9:99:10]]


def test_a_failure_is_that_of_the_listing_and_ends_it() -> None:
    def fail(number: int) -> None:
        if number == 5:
            raise StorageThrottledError("slow down")

    store = Pages(keys := names(1000))
    store.meddle = fail
    before = threading.active_count()

    with pytest.raises(StorageThrottledError, match="slow down"):
        listed(store, keys)
    assert threading.active_count() == before
    # What is read at the time is read to its end: eight spans of six pages.
    assert len(store.asked) <= 5 + 8 * 6


def test_who_stops_early_leaves_nothing_running() -> None:
    before = threading.active_count()
    found = list_in_spans(Pages(keys := names(1000)), BUCKET, PREFIX, lambda: keys)

    assert len(list(islice(found, 50))) == 50
    found.close()
    assert threading.active_count() == before


KEYS = st.lists(st.text(st.sampled_from("0129/-"), min_size=1, max_size=5), unique=True, max_size=150)


@cases(150)
@given(keys=KEYS, more=KEYS, share=st.integers(0, 4), page=st.sampled_from([3, 10, 17]))
def test_every_object_comes_once_and_in_order(keys: list[str], more: list[str], share: int, page: int) -> None:
    there = sorted(PREFIX + key for key in keys)
    # Some of what is there is known, and some that is known is not there.
    marks = sorted({key for at, key in enumerate(there) if at % 4 < share} | {PREFIX + key for key in more})

    assert listed(Pages(there, page), marks) == there


@cases(150)
@given(keys=KEYS, more=KEYS, random=st.randoms(use_true_random=False))
def test_every_object_comes_once_from_a_server_with_another_order(
    keys: list[str], more: list[str], random: Random
) -> None:
    there = sorted(PREFIX + key for key in keys)
    marks = sorted({*there, *(PREFIX + key for key in more)})
    random.shuffle(there)

    assert listed(Shuffled(there, 10), marks) == there


@cases(100)
@given(data=st.data())
def test_what_is_there_all_the_time_comes_once_whatever_comes_and_goes(data: st.DataObject) -> None:
    stays, comes = names(150)[::2], names(150)[1::2]
    passing = data.draw(st.lists(st.sampled_from(comes), unique=True))
    store = Pages(sorted({*stays, *passing}))

    def meddle(number: int) -> None:
        # Each page, one of those that come and go is there or gone.
        some = passing[number % len(passing)] if passing else ""
        if some:
            store.keys = sorted({*store.keys} ^ {some})

    store.meddle = meddle
    found = listed(store, sorted({*stays, *comes}))

    assert len(found) == len(set(found))
    assert found == sorted(found)
    assert set(stays) <= set(found)
