"""How a list of objects is cut into batches: one batch is one task of a distributed Map."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

from milvus_vault.model.objects import CopyItem


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What a batch may hold at most. A single item above these makes a batch of its own."""

    max_objects: int
    max_bytes: int


class Batchable(Protocol):
    """What is not divided: an object, or some that belong together."""

    @property
    def size_bytes(self) -> int:
        """Return its bytes."""

    @property
    def object_count(self) -> int:
        """Return of how many objects it is."""


@dataclass(frozen=True, slots=True)
class PlannedItem:
    """An object to copy, and the index of the target that it belongs to."""

    item: CopyItem
    target: int

    @property
    def size_bytes(self) -> int:
        """Return the size of the object."""
        return self.item.size_bytes

    @property
    def object_count(self) -> int:
        """Return that it is one."""
        return 1


def cut_batches[Item: Batchable](items: Iterable[Item], limits: BatchLimits) -> Iterator[list[Item]]:
    """Yield the items in batches within the limits, each with its largest ones first.

    Greedy and in order: a batch is closed by the first item that does not fit. The largest go first inside a
    batch, since one that is started last would be waited for alone.
    """
    batch: list[Item] = []
    object_count = size_bytes = 0
    for item in items:
        is_full = (
            object_count + item.object_count > limits.max_objects or size_bytes + item.size_bytes > limits.max_bytes
        )
        if batch and is_full:
            yield sorted(batch, key=attrgetter("size_bytes"), reverse=True)
            batch, object_count, size_bytes = [], 0, 0
        batch.append(item)
        object_count += item.object_count
        size_bytes += item.size_bytes
    if batch:
        yield sorted(batch, key=attrgetter("size_bytes"), reverse=True)
