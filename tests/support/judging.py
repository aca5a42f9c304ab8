"""Whether restored collections are what a writer's log says they were at a moment, operation by operation."""

import bisect
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.support.writing import Operation

type Fault = Literal["missing", "torn", "doubled", "too new", "foreign", "no moment", "clock"]

LOGICAL_BITS = 18


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that a restored collection should not be."""

    fault: Fault
    """`missing`: an operation up to the moment is not there. `torn`: half of one is. `doubled`: a key is there more
    than once. `too new`: an operation after the moment is there. `foreign`: a row that no operation wrote.
    `no moment`: the backup does not tell its moment. `clock`: the server's timestamps are no order of the operations.
    """
    text: str

    def __str__(self) -> str:
        """Say it."""
        return f"{self.fault}: {self.text}"


@dataclass(frozen=True, slots=True)
class Restored:
    """The rows of a restored collection."""

    rows: tuple[tuple[int, int], ...]
    """Key, and number of the operation that wrote it."""
    count: int
    """How many the server counts; more than it shows where a key is there more than once."""


def judge(
    log: Sequence[Operation],
    restored: Mapping[str, Restored],
    moments: Mapping[str, int],
    *,
    started: float,
    ended: float,
) -> list[Violation]:
    """Return what is wrong; nothing where each collection is what it was at its moment.

    Those that share a moment are then at one prefix of all operations. One whose moment is not told is compared with
    the prefix that comes nearest to it.

    Args:
        log: the operations, of these collections and maybe others.
        restored: the rows of each collection, by the name that it had in the log.
        moments: hybrid timestamps up to which operations belong to the backup.
        started: when the backup was asked for, by the clock of the log.
        ended: when it had ended.
    """
    found = _misorder([done for done in log if done.timestamp])
    in_order = dated(log)
    for name, rows in restored.items():
        operations = [done for done in in_order if done.collection == name]
        moment = moments.get(name)
        if moment is None:
            found.append(Violation("no moment", f"{name}: the backup does not tell its moment"))
            moment = _nearest(operations, rows, started, ended)
        else:
            found += _misplacement(name, operations, moment, started, ended)
        ways = _ways(log, operations, moment)
        judged = [_Comparison(name, way, rows, moment).violations() for way in ways]
        likeliest: list[Violation] = min(judged, key=len)
        found += likeliest
    return found


def dated(log: Sequence[Operation]) -> list[Operation]:
    """Return operations by timestamp, those without one behind what had been acknowledged when they were sent."""
    known = [done for done in log if done.timestamp]
    found = [done if done.timestamp else replace(done, timestamp=_earliest(known, done)) for done in log]
    return sorted(found, key=_by_timestamp)


def _by_timestamp(done: Operation) -> tuple[int, int]:
    return done.timestamp, done.number


def _earliest(known: Iterable[Operation], done: Operation) -> int:
    return max((other.timestamp for other in known if other.acknowledged < done.sent), default=1)


def _ways(log: Sequence[Operation], operations: Sequence[Operation], moment: int) -> Iterator[list[Operation]]:
    """Yield in what order operations may have been: each that may be on either side of the moment is on one of them.

    There are few: of each client at most the one that was in flight at the moment.
    """
    known = [done for done in log if done.timestamp]
    undated = {done.number for done in log if not done.timestamp}
    open_ones = [
        done
        for done in operations
        if done.number in undated
        and done.timestamp <= moment
        and all(other.timestamp > moment for other in known if other.sent > done.acknowledged)
    ]
    for later in itertools.product((False, True), repeat=len(open_ones)):
        moved = {done.number for done, is_later in zip(open_ones, later, strict=True) if is_later}
        way = [replace(done, timestamp=moment + 1) if done.number in moved else done for done in operations]
        yield sorted(way, key=_by_timestamp)


def state_at(operations: Iterable[Operation], moment: int) -> dict[int, int]:
    """Return what a collection held at a moment: by key the number of the operation; operations as `dated`."""
    state: dict[int, int] = {}
    for done in operations:
        if done.timestamp > moment:
            break
        _apply(state, done)
    return state


def _apply(state: dict[int, int], done: Operation) -> None:
    for key in done.keys:
        if done.kind == "delete":
            state.pop(key, None)
        else:
            state[key] = done.number


def _misorder(log: Sequence[Operation]) -> list[Violation]:
    """Find operations with an older timestamp than one that had been acknowledged when they were sent."""
    by_end = sorted(log, key=lambda done: done.acknowledged)
    found, before, newest = [], iter(by_end), None
    waiting = next(before, None)
    for done in sorted(log, key=lambda done: done.sent):
        while waiting is not None and waiting.acknowledged < done.sent:
            newest = waiting if newest is None or waiting.timestamp > newest.timestamp else newest
            waiting = next(before, None)
        if newest is not None and done.timestamp <= newest.timestamp:
            text = f"{_named(done)} was sent after {_named(newest)} was acknowledged, and has an older timestamp"
            found.append(Violation("clock", text))
    return found


def _misplacement(
    name: str, operations: Sequence[Operation], moment: int, started: float, ended: float
) -> list[Violation]:
    """Find what a moment leaves out or takes in that it cannot."""
    left_out = [done for done in operations if done.acknowledged < started and done.timestamp > moment]
    ahead = [done for done in operations if done.sent > ended and done.timestamp <= moment]
    found = []
    if left_out:
        text = f"{len(left_out)} operations were acknowledged before the backup began, and are after its moment"
        found.append(Violation("missing", f"{name}: {text}, the first {_named(left_out[0])}"))
    if ahead:
        text = f"{len(ahead)} operations were sent after the backup had ended, and are before its moment"
        found.append(Violation("too new", f"{name}: {text}, the first {_named(ahead[0])}"))
    return found


def _nearest(operations: Sequence[Operation], restored: Restored, started: float, ended: float) -> int:
    """Return the moment while a backup was made at which the fewest keys differ from what was restored."""
    there = dict(restored.rows)
    state: dict[int, int] = {}
    differing = set(there)
    best: tuple[int, int] | None = None
    first = max((done.timestamp for done in operations if done.acknowledged < started), default=0)
    for done in operations:
        _apply(state, done)
        for key in done.keys:
            (differing.discard if state.get(key) == there.get(key) else differing.add)(key)
        if first <= done.timestamp and done.sent <= ended and (best is None or len(differing) < best[0]):
            best = (len(differing), done.timestamp)
    return best[1] if best else 0


@dataclass
class _Comparison:
    """A collection at its moment, and what was restored."""

    name: str
    operations: Sequence[Operation]
    """By timestamp."""
    restored: Restored
    moment: int
    _wrong: dict[tuple[Fault, Operation], list[int]] = field(default_factory=lambda: defaultdict(list))
    """Keys, by what is wrong with which operation."""
    _right: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Keys that are as they should be, by operations that should and those that should not show in them."""

    def violations(self) -> list[Violation]:
        """Return what is wrong."""
        by_number = {done.number: done for done in self.operations}
        histories: dict[int, list[Operation]] = defaultdict(list)
        for done in self.operations:
            for key in done.keys:
                histories[key].append(done)
        there: dict[int, list[int]] = defaultdict(list)
        for key, number in self.restored.rows:
            there[key].append(number)
        foreign = [
            key
            for key, shown in there.items()
            if any(number not in by_number or key not in by_number[number].keys for number in shown)
        ]
        for key in sorted(histories.keys() - foreign):
            self._compare(key, histories[key], [by_number[number] for number in there[key]])
        found = [Violation(self._fault(*about), self._text(*about, keys)) for about, keys in self._wrong.items()]
        if foreign:
            text = f"{self.name}: {len(foreign)} rows are of no operation, the first with key {min(foreign)}"
            found.append(Violation("foreign", text))
        if self.restored.count != len(self.restored.rows):
            text = f"{self.name}: the server counts {self.restored.count} rows, and shows {len(self.restored.rows)}"
            found.append(Violation("doubled", text))
        return found

    def _compare(self, key: int, history: Sequence[Operation], shown: Sequence[Operation]) -> None:
        split = bisect.bisect_right([done.timestamp for done in history], self.moment)
        last = history[split - 1] if split else None
        following = history[split] if split < len(history) else None
        expected = [last] if last is not None and last.kind != "delete" else []
        if shown == expected:
            for done in ([last] if last else []) + list(history[split:] if expected else []):
                self._right[done.number].add(key)
        elif len(shown) > 1:
            self._wrong["doubled", max(shown, key=lambda done: done.timestamp)].append(key)
        elif shown and shown[0].timestamp > self.moment:
            self._wrong["too new", shown[0]].append(key)
        elif not shown and following is not None:
            # Its row is gone by a delete, or by the half of an upsert that deletes.
            self._wrong["torn" if following.kind == "upsert" else "too new", following].append(key)
        elif last is not None:
            self._wrong["missing", last].append(key)

    def _fault(self, fault: Fault, done: Operation) -> Fault:
        """Return `torn` where other keys of an operation tell the contrary."""
        return "torn" if fault in {"missing", "too new"} and self._right[done.number] else fault

    def _text(self, fault: Fault, done: Operation, keys: Sequence[int]) -> str:
        distance = ((done.timestamp >> LOGICAL_BITS) - (self.moment >> LOGICAL_BITS)) / 1000
        when = f"{abs(distance):.3f} s {'before' if done.timestamp <= self.moment else 'after'} the moment"
        what = {
            "missing": "should show and do not",
            "too new": "should not show it and do",
            "torn": "have lost their rows to its delete half, and have none of its own",
            "doubled": "are there more than once",
        }[fault]
        return f"{self.name}: of {_named(done)}, {when}, {len(keys)} of {len(done.keys)} keys {what}"


def _named(done: Operation) -> str:
    return f"{done.kind} {done.number} to {done.collection}"


def count_faults(violations: Iterable[Violation]) -> Counter[Fault]:
    """Return how many violations there are of each kind."""
    return Counter(violation.fault for violation in violations)
