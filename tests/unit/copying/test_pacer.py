"""The pacer against a simulated server that refuses what is above its rate."""

import heapq
from dataclasses import dataclass
from random import Random

import pytest

from milvus_vault.copying.pacer import (
    DECREASE_FACTOR,
    GROWTH_PER_SECOND,
    INCREASE_PER_SECOND,
    MIN_RATE,
    RATE_HOLDS_SECONDS,
    START_RATE,
    Pacer,
)

THREADS = 64
LATENCY_SECONDS = 0.035  # of a small copy inside a Region


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Outcome:
    """What a simulation came to."""

    copied: int = 0
    refused: int = 0
    seconds: float = 0.0


def simulate(allowed_per_second: float, copies: int, functions: int = 1) -> Outcome:
    """Let functions of 64 threads copy through pacers of their own, from a server with one token bucket."""
    clock, random = Clock(), Random(1)  # noqa: S311 - the same latencies each time
    pacers = [Pacer(clock) for _ in range(functions)]
    outcome = Outcome()
    tokens, filled_at, left = allowed_per_second * 0.1, 0.0, copies
    # Events: when, tie-breaker, kind, which function, when sent.
    events = [(0.0, number, "idle", number % functions, 0.0) for number in range(THREADS * functions)]
    heapq.heapify(events)
    while events and outcome.copied < copies:
        clock.now, number, kind, function, sent_at = heapq.heappop(events)
        if kind == "idle":
            starts_at = clock.now + pacers[function].reserve()
            heapq.heappush(events, (starts_at, number, "send", function, starts_at))
        elif kind == "send":
            if left <= 0:
                continue
            tokens = min(allowed_per_second * 0.1, tokens + (clock.now - filled_at) * allowed_per_second)
            filled_at = clock.now
            if tokens >= 1:
                tokens -= 1
                left -= 1
                kind = "copied"
            else:
                kind = "refused"
            took = LATENCY_SECONDS * random.uniform(0.7, 1.5)
            heapq.heappush(events, (clock.now + took, number, kind, function, sent_at))
        else:
            if kind == "refused":
                outcome.refused += 1
                pacers[function].throttled(sent_at)
            else:
                outcome.copied += 1
            heapq.heappush(events, (clock.now, number, "idle", function, 0.0))
    outcome.seconds = clock.now
    return outcome


@pytest.mark.parametrize(("allowed", "functions"), [(100, 1), (300, 1), (1000, 1), (1000, 4), (3500, 16)])
def test_uses_most_of_what_the_server_allows(allowed: int, functions: int) -> None:
    outcome = simulate(allowed, copies=allowed * 60, functions=functions)

    goodput = outcome.copied / outcome.seconds
    assert outcome.copied == allowed * 60
    assert goodput >= 0.85 * allowed
    assert outcome.refused <= 0.15 * outcome.copied


def test_spaces_requests_evenly() -> None:
    clock = Clock()
    pacer = Pacer(clock, start_rate=10)

    assert [round(pacer.reserve(), 3) for _ in range(4)] == [0, 0.1, 0.2, 0.3]


def test_grows_while_the_rate_is_used_up() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    for _ in range(1000):
        pacer.reserve()

    clock.now = 1.0
    pacer.reserve()

    assert pacer.rate == pytest.approx(START_RATE * (1 + GROWTH_PER_SECOND))


def test_grows_steadily_after_the_first_refusal() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    pacer.throttled(sent_at=0.0)
    for _ in range(1000):
        pacer.reserve()

    clock.now = 1.0
    pacer.reserve()

    assert pacer.rate == pytest.approx(START_RATE * DECREASE_FACTOR + INCREASE_PER_SECOND)


def test_does_not_grow_while_requests_come_slower_than_it_allows() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    for second in range(100):
        clock.now = float(second)
        pacer.reserve()

    assert pacer.rate == START_RATE


def test_falls_once_for_all_refusals_of_one_moment() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    clock.now = 1.0

    for _ in range(20):
        pacer.throttled(sent_at=0.9)

    assert pacer.rate == pytest.approx(START_RATE * DECREASE_FACTOR)


def test_does_not_fall_for_what_had_its_moment_before_it_fell() -> None:
    clock = Clock()
    pacer = Pacer(clock, start_rate=10)
    waits = [pacer.reserve() for _ in range(10)]
    pacer.throttled(sent_at=0.0)

    clock.now = waits[-1]
    pacer.throttled(sent_at=clock.now)

    assert pacer.rate == 10 * DECREASE_FACTOR


def test_falls_again_for_a_refusal_of_what_was_sent_later() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    for second in (1.0, 2.0):
        clock.now = second
        pacer.throttled(sent_at=second)

    assert pacer.rate == pytest.approx(START_RATE * DECREASE_FACTOR**2)


def test_never_falls_to_a_halt() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    for second in range(100):
        clock.now = float(second)
        pacer.throttled(sent_at=clock.now)

    assert pacer.rate == MIN_RATE


def test_a_new_pacer_goes_on_where_another_one_is() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    pacer.resume(700)
    assert pacer.rate == 700


def test_who_has_found_a_rate_keeps_it() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    pacer.reserve()
    pacer.throttled(clock())
    found = pacer.rate
    pacer.resume(700)
    assert pacer.rate == found < START_RATE


def test_a_rate_that_was_refused_grows_slowly_in_another_function_too() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    pacer.resume(100)
    clock.now = 1.0
    pacer.reserve()
    pacer.reserve()
    clock.now += 0.001
    pacer.reserve()
    assert pacer.rate <= 100 + INCREASE_PER_SECOND


def test_a_rate_that_was_not_used_for_long_is_forgotten() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    pacer.reserve()
    pacer.throttled(clock())
    clock.now = RATE_HOLDS_SECONDS + 1
    pacer.reserve()
    assert pacer.rate == START_RATE


def test_a_request_that_counts_as_many_takes_the_time_of_many() -> None:
    clock = Clock()
    pacer = Pacer(clock, start_rate=1000.0)
    assert pacer.reserve(500) == 0
    assert pacer.reserve(500) == pytest.approx(0.5)


def test_a_pacer_does_not_fall_below_its_least_rate() -> None:
    clock = Clock()
    pacer = Pacer(clock, start_rate=1000.0, min_rate=900.0)
    pacer.reserve()
    pacer.throttled(clock())
    assert pacer.rate == 900
