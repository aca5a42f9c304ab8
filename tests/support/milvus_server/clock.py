"""Time, numbers and what happens later."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_LOGICAL_BITS = 18
_LONGEST_SLEEP = 0.05


class Clock:
    """The server's time. Waits are shorter by `speed`; timestamps of rows are those of the real time all the same.

    A test may put the server some seconds `behind`, so that what it writes then is as old as that for all that follows.
    """

    def __init__(self, speed: float) -> None:
        """Begin now; a speed of 10 makes a server that takes a tenth of the time for everything."""
        self._speed = speed
        self.behind = 0.0
        self._lock = threading.Lock()
        self._last = 0
        self._ids = itertools.count(self._hybrid())

    def now(self) -> float:
        """Return seconds of the server's time, for comparisons."""
        return time.monotonic() * self._speed

    def real(self, seconds: float) -> float:
        """Return how long seconds of the server's time take."""
        return seconds / self._speed

    def timestamp(self) -> int:
        """Return a hybrid timestamp that is newer than all before it."""
        with self._lock:
            self._last = max(self._last + 1, self._hybrid())
            return self._last

    def _hybrid(self) -> int:
        return int((time.time() - self.behind) * 1000) << _LOGICAL_BITS

    def new_id(self) -> int:
        """Return a number that this server has not used; like Milvus' it is above 2^53."""
        return next(self._ids)


class Agenda:
    """What the server does later, one thing at a time, on a thread of its own."""

    def __init__(self, clock: Clock) -> None:
        """Start the thread."""
        self._clock = clock
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._wake = threading.Condition()
        self._is_open = True
        self.failures: list[BaseException] = []
        """What went wrong: told when the server stops."""
        self._thread = threading.Thread(target=self._run, name="milvus-agenda", daemon=True)
        self._thread.start()

    def after(self, seconds: float, work: Callable[[], None]) -> None:
        """Do something when so many seconds of the server's time have passed."""
        with self._wake:
            heapq.heappush(self._due, (self._clock.now() + seconds, next(self._order), work))
            self._wake.notify()

    def close(self) -> None:
        """Stop, without what is still to come."""
        with self._wake:
            self._is_open = False
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        with ThreadPoolExecutor(max_workers=1) as hand:
            while (work := self._next()) is not None:
                if (err := hand.submit(work).exception()) is not None:
                    self.failures.append(err)

    def _next(self) -> Callable[[], None] | None:
        with self._wake:
            while self._is_open:
                if self._due and self._due[0][0] <= self._clock.now():
                    return heapq.heappop(self._due)[2]
                until = self._clock.real(self._due[0][0] - self._clock.now()) if self._due else _LONGEST_SLEEP
                self._wake.wait(min(max(until, 0.0005), _LONGEST_SLEEP))
        return None
