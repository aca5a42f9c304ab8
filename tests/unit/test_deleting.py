"""Many objects are deleted some requests at a time, as fast as S3 takes them, and nothing goes on behind one's back."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import batched
from typing import override

import pytest

from milvus_vault.deleting import ATTEMPTS, REQUESTS_IN_FLIGHT, delete_batches, deletion_pacer
from milvus_vault.errors import RunTakenOverError, StorageThrottledError, StorageUnavailableError
from tests.support.memory_store import InMemoryObjectStore

BUCKET = "bucket"
KEYS = [f"staged/{number:04}" for number in range(240)]


class Clock:
    """A clock that goes on where somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        with self.lock:
            self.now += seconds


class Busy(InMemoryObjectStore):
    """A store that refuses some requests, and counts how many it has at a time."""

    def __init__(self, refused: int = 0, *, meet: int = 0) -> None:
        super().__init__(BUCKET)
        self.refused, self.met = refused, threading.Barrier(meet, timeout=20) if meet else None
        self.at_a_time = self.most = self.sent = 0
        self.counting = threading.Lock()
        for key in KEYS:
            self.put(BUCKET, key, b"")

    @override
    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        with self.counting:
            self.at_a_time, self.sent = self.at_a_time + 1, self.sent + 1
            self.most = max(self.most, self.at_a_time)
            is_refused = self.sent <= self.refused
        if self.met:
            self.met.wait()
        try:
            if is_refused:
                raise StorageThrottledError("SlowDown")
            super().delete(bucket, keys)
        finally:
            with self.counting:
                self.at_a_time -= 1

    @property
    def left(self) -> list[str]:
        """Return what is there."""
        return sorted(self.buckets[BUCKET])


def delete(
    store: Busy,
    batches: Iterable[Sequence[str]] | None = None,
    before: Callable[[], None] = lambda: None,
    clock: Clock | None = None,
) -> Iterator[Sequence[str]]:
    """Delete all keys, ten a request, on a clock that is set by hand."""
    clock = clock or Clock()
    pacer = deletion_pacer(clock)
    some = batched(KEYS, 10, strict=False) if batches is None else batches
    return delete_batches(store, BUCKET, some, str, pacer=pacer, before=before, wait=clock.wait)


def test_some_requests_are_under_way_at_a_time_and_never_more() -> None:
    store = Busy(meet=REQUESTS_IN_FLIGHT)

    assert [key for gone in delete(store) for key in gone] == KEYS
    assert (store.left, store.most) == ([], REQUESTS_IN_FLIGHT)


def test_a_listing_is_read_as_requests_are_sent() -> None:
    store, read = Busy(), []

    def listing() -> Iterator[Sequence[str]]:
        for some in batched(KEYS, 10, strict=False):
            read.append(some)
            yield some

    going = delete(store, listing())
    next(going)
    # One more was read, and waits for its turn.
    assert len(read) <= REQUESTS_IN_FLIGHT + 1
    assert [key for gone in going for key in gone] == KEYS[10:]


def test_what_is_refused_is_sent_again_more_slowly() -> None:
    store, clock = Busy(refused=2), Clock()
    pacer = deletion_pacer(clock)
    begun_at = pacer.rate
    gone = delete_batches(store, BUCKET, batched(KEYS, 10, strict=False), str, pacer=pacer, wait=clock.wait)

    assert [key for some in gone for key in some] == KEYS
    assert (store.left, store.sent) == ([], len(KEYS) // 10 + 2)
    assert pacer.rate < begun_at


def test_a_server_that_insists_is_given_up_for_the_tasks_next_try() -> None:
    store, clock = Busy(refused=10**6), Clock()

    with pytest.raises(StorageThrottledError):
        list(delete(store, clock=clock))
    assert store.sent <= ATTEMPTS * REQUESTS_IN_FLIGHT
    assert (store.left, store.at_a_time) == (KEYS, 0)


def test_a_small_request_that_is_refused_waits_as_long_as_a_full_one() -> None:
    store, clock = Busy(refused=1), Clock()

    list(delete(store, [KEYS[:1]], clock=clock))
    assert clock.now > 0.3


def test_nothing_is_sent_any_more_once_somebody_else_has_the_run() -> None:
    store = Busy()
    asked = threading.Semaphore(3)

    def before() -> None:
        if not asked.acquire(blocking=False):
            raise RunTakenOverError("another execution")

    with pytest.raises(RunTakenOverError):
        list(delete(store, before=before))
    assert store.at_a_time == 0
    sent = store.sent
    assert sent == 3
    assert len(store.left) == len(KEYS) - 30


@pytest.mark.parametrize("request_number", range(len(KEYS) // 10))
def test_who_dies_at_any_request_leaves_what_the_next_one_removes(request_number: int) -> None:
    store, sent = Busy(), []

    def die(operation: str, _bucket: str, key: str) -> None:
        sent.append(key)
        if operation == "delete" and len(sent) == request_number + 1:
            raise StorageUnavailableError("no answer")

    store.before = die
    with pytest.raises(StorageUnavailableError):
        list(delete(store))
    assert (store.at_a_time, bool(store.left)) == (0, True)

    store.before = lambda *_: None
    left = store.left
    list(delete(store, batched(left, 10, strict=False)))
    assert store.left == []
