"""Random choices, which a seed makes the same each time: of collections within a number of bytes, and of rows."""

import math
from collections.abc import Sequence
from random import Random

import pyarrow as pa


class Reservoir:
    """A random sample of values that come one after the other, of which nobody knows how many there are.

    It is algorithm L of Kim-Hung Li (1994): each value is as likely to be chosen, and those that are not cost nothing.
    """

    def __init__(self, size: int, random: Random) -> None:
        self._size, self._random = size, random
        self._chosen: list[int | str] = []
        self._weight = 1.0
        self._next = 0
        self.count = 0
        """How many values there were."""

    def add(self, values: pa.Array) -> None:
        """Take some more values, of which none is null."""
        behind = self.count + len(values)
        while len(self._chosen) < self._size and self._next < behind:
            self._chosen.append(values[self._next - self.count].as_py())
            self._next += 1
            if len(self._chosen) == self._size:
                self._next -= 1
                self._skip()
        while len(self._chosen) == self._size and self._next < behind:
            self._chosen[self._random.randrange(self._size)] = values[self._next - self.count].as_py()
            self._skip()
        self.count = behind

    def chosen(self) -> tuple[int | str, ...]:
        """Return the sample, in random order."""
        self._random.shuffle(self._chosen)
        return tuple(self._chosen)

    def _skip(self) -> None:
        self._weight *= math.exp(math.log(1 - self._random.random()) / self._size)
        self._next += math.floor(math.log(1 - self._random.random()) / math.log1p(-self._weight)) + 1


def spread(counts: Sequence[int], size: int, random: Random) -> list[int]:
    """Return how many rows of a random sample lie in each part, of parts with so many rows."""
    shares = [0] * len(counts)
    total = sum(counts)
    ends: list[int] = []
    for count in counts:
        ends.append(count + (ends[-1] if ends else 0))
    part = 0
    for place in sorted(random.sample(range(total), min(size, total))):
        while place >= ends[part]:
            part += 1
        shares[part] += 1
    return shares
