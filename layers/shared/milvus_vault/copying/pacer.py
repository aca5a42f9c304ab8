"""How fast requests are sent: as fast as S3 takes them, found out by trying."""

import threading
import time
from collections.abc import Callable

START_RATE = 200.0
"""Requests a second to begin with. A new prefix takes 3,500 a second in all (S3 user guide, "Optimizing
performance"), and some 16 functions copy at the same time: 16 x 200 = 3,200."""

INCREASE_PER_SECOND = 20.0
"""Requests a second that are added each second while the rate is used up."""

GROWTH_PER_SECOND = 0.25
"""Share of the rate that is added each second instead, where that is more, until the first refusal: TCP's
slow start. From 200 requests a second to 800, as many as one function's processor signs, takes 6 s instead of 30."""

DECREASE_FACTOR = 0.8
"""What remains of the rate after S3 asked to slow down.

With these two, 91 % of what a throttling server allowed was used, with 14 refused requests in 3,000 copies;
the SDK's own retries used 39 to 85 % with up to 777 refused (measured, 300 requests a second allowed).
"""

MIN_RATE = 5.0
"""Requests a second that remain in any case: 64 threads then wait 13 s at most, well within a task's time."""


RATE_HOLDS_SECONDS = 600.0
"""For how long a rate says something of what S3 takes: it splits a prefix that is busy, and others come and go."""


class Pacer:
    """A rate of requests that the threads of one function share (AIMD, as TCP's congestion control).

    It grows by a fixed amount each second (faster until the first refusal), and falls by a factor when S3
    refuses a request. It grows only while it is what holds requests back: an unused rate says nothing about
    what S3 would take.
    Functions find their shares by the refusals that they get. One that is new goes on where another one of its run is
    (`resume`); a rate that was not used for long is forgotten.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, start_rate: float = START_RATE, min_rate: float = MIN_RATE
    ) -> None:
        """Start at `start_rate`, and never fall below `min_rate`; `clock` returns seconds that only grow."""
        self._clock = clock
        self._lock = threading.Lock()
        self._start_rate = self._rate = start_rate
        self._min_rate = min_rate
        self._grown_at = self._next_at = clock()
        self._used_at = self._falls_from = float("-inf")
        self._was_refused = False

    def now(self) -> float:
        """Return the seconds of its clock."""
        return self._clock()

    @property
    def rate(self) -> float:
        """Return the requests a second that are allowed now."""
        return self._rate

    def resume(self, rate: float) -> None:
        """Go on at a rate that another one has found, unless this one has found its own.

        Below the rate to begin with it was refused, and grows as slowly as after a refusal.
        """
        with self._lock:
            if self._is_unused(self._clock()):
                self._rate = max(self._min_rate, rate)
                self._was_refused = rate < self._start_rate
                self._used_at = self._grown_at = self._clock()

    def _is_unused(self, now: float) -> bool:
        return now - self._used_at > RATE_HOLDS_SECONDS

    def reserve(self, count: int = 1) -> float:
        """Take the next free moment for a request, and return the seconds to wait until then.

        With `count` for one that the server counts as so many.
        """
        with self._lock:
            now = self._clock()
            if self._is_unused(now):
                self._rate, self._was_refused = self._start_rate, False
            self._used_at = now
            if self._next_at > now:
                slow_start = 0 if self._was_refused else self._rate * GROWTH_PER_SECOND
                self._rate += max(INCREASE_PER_SECOND, slow_start) * (now - self._grown_at)
            self._grown_at = now
            starts_at = max(now, self._next_at)
            self._next_at = starts_at + count / self._rate
            return starts_at - now

    def throttled(self, sent_at: float) -> None:
        """Lower the rate, since the request sent at `sent_at` was refused.

        Only once for all the requests whose moments were taken at the higher rate, those that are still to
        be sent among them: their refusals are one message.
        """
        with self._lock:
            self._was_refused = True
            if sent_at >= self._falls_from:
                now = self._used_at = self._clock()
                self._rate = max(self._min_rate, self._rate * DECREASE_FACTOR)
                self._grown_at = now
                self._falls_from = max(now, self._next_at)
