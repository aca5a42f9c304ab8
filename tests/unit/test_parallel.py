"""Work on many things at once: results in order, and one that fails costs the others nothing."""

import threading
import time

import pytest

from milvus_vault.errors import ImportFailedError, MilvusUnavailableError, StorageThrottledError, VaultError
from milvus_vault.parallel import each, for_each


class Work:
    """Work that fails for some items, and remembers what it did."""

    def __init__(self, **failures: Exception) -> None:
        """Fail with these errors, by item."""
        self.failures = failures
        self.tried: set[str] = set()
        self.reported: dict[str, VaultError] = {}

    def run(self, items: str, threads: int = 2) -> None:
        """Work on each letter."""
        for_each(items, self._one, threads=threads, on_failure=self.reported.__setitem__)

    def _one(self, item: str) -> None:
        self.tried.add(item)
        if item in self.failures:
            raise self.failures[item]


def test_every_item_is_worked_on() -> None:
    work = Work()
    work.run("abcdef")
    assert work.tried == set("abcdef")
    assert work.reported == {}


def test_nothing_is_nothing_to_do() -> None:
    work = Work()
    work.run("")
    assert work.tried == set()


def test_a_lasting_failure_is_reported_and_the_others_go_on() -> None:
    error = ImportFailedError("broken")
    work = Work(b=error)
    work.run("abc")
    assert work.tried == set("abc")
    assert work.reported == {"b": error}


def test_a_passing_failure_is_raised_once_all_are_through() -> None:
    lasting = ImportFailedError("broken")
    work = Work(a=MilvusUnavailableError("away"), b=lasting)
    with pytest.raises(MilvusUnavailableError, match="away"):
        work.run("abcd", threads=1)
    assert work.tried == set("abcd")
    assert work.reported == {"b": lasting}


def test_of_several_passing_failures_that_of_the_first_item_is_raised() -> None:
    work = Work(b=StorageThrottledError("slow"), c=MilvusUnavailableError("away"))
    with pytest.raises(StorageThrottledError):
        work.run("abc")


def test_a_bug_is_raised_as_it_is_and_not_reported() -> None:
    work = Work(b=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        work.run("abc")
    assert work.reported == {}


def test_items_are_worked_on_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=30)

    def meet(_: str) -> None:
        together.wait()

    for_each("abc", meet, threads=3, on_failure=lambda *_: None)


def test_no_more_threads_than_asked_for_work_at_once() -> None:
    running, most, lock = 0, 0, threading.Lock()
    pause = threading.Event()

    def work(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        pause.wait(0.002)
        with lock:
            running -= 1

    for_each(range(20), work, threads=3, on_failure=lambda *_: None)
    assert most <= 3


def test_each_yields_results_in_the_order_of_the_items() -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number * number

    assert list(each(slow_at_first, range(50), threads=4)) == [number * number for number in range(50)]


def test_each_does_not_run_ahead_of_its_reader() -> None:
    started: list[int] = []
    results = each(started.append, range(100), threads=4)

    for _ in range(3):
        next(results)
    time.sleep(0.02)

    assert len(started) <= 3 + 4


def test_each_works_on_no_more_at_a_time_than_their_weights_allow_and_on_a_heavier_one_alone() -> None:
    weights = [1, 2, 1, 9, 1, 3, 2, 2]
    working: list[int] = []
    seen: list[int] = []
    lock = threading.Lock()

    def work(weight: int) -> int:
        with lock:
            working.append(weight)
            seen.append(sum(working))
        return weight

    for done in each(work, weights, threads=8, weight=lambda weight: weight, max_weight=4):
        with lock:
            working.remove(done)

    assert max(load for load in seen if load != 9) <= 4
    assert 9 in seen


def test_each_works_on_several_at_a_time() -> None:
    barrier = threading.Barrier(4, timeout=10)

    list(each(lambda _: barrier.wait(), range(8), threads=4))


def test_each_raises_the_first_error_and_starts_nothing_more() -> None:
    started: list[int] = []

    def fail(number: int) -> None:
        started.append(number)
        if number == 2:
            msg = "no"
            raise ZeroDivisionError(msg)

    with pytest.raises(ZeroDivisionError):
        list(each(fail, range(100), threads=4))
    assert len(started) <= 3 + 4
