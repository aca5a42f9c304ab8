"""Work on many things at a time."""

import threading
import time

import pytest

from milvus_vault.copying.concurrently import each


def test_yields_results_in_the_order_of_the_items() -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number * number

    assert list(each(slow_at_first, range(50), threads=4)) == [number * number for number in range(50)]


def test_does_not_run_ahead_of_its_reader() -> None:
    started: list[int] = []
    results = each(started.append, range(100), threads=4)

    for _ in range(3):
        next(results)
    time.sleep(0.02)

    assert len(started) <= 3 + 4


def test_works_on_several_at_a_time() -> None:
    barrier = threading.Barrier(4, timeout=10)

    list(each(lambda _: barrier.wait(), range(8), threads=4))


def test_raises_the_first_error_and_starts_nothing_more() -> None:
    started: list[int] = []

    def fail(number: int) -> None:
        started.append(number)
        if number == 2:
            msg = "no"
            raise ZeroDivisionError(msg)

    with pytest.raises(ZeroDivisionError):
        list(each(fail, range(100), threads=4))
    assert len(started) <= 3 + 4
