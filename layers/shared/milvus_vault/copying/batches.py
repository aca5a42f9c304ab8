"""How a list of objects is cut into batches: one batch is one task of the distributed Map."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from milvus_vault.model.objects import CopyItem


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What a batch may hold at most. A single object above `max_bytes` makes a batch of its own."""

    max_objects: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class PlannedItem:
    """An object to copy, and the index of the target that it belongs to."""

    item: CopyItem
    target: int

    @property
    def size_bytes(self) -> int:
        """Return the size of the object."""
        return self.item.size_bytes


def cut_batches(items: Iterable[PlannedItem], limits: BatchLimits) -> Iterator[list[PlannedItem]]:
    """Yield the items in batches within the limits, each with its largest objects first.

    Greedy and in order: a batch is closed by the first item that does not fit. The largest objects go
    first inside a batch, since one that is started last would be waited for alone.
    """
    batch: list[PlannedItem] = []
    size_bytes = 0
    for item in items:
        is_full = len(batch) >= limits.max_objects or size_bytes + item.size_bytes > limits.max_bytes
        if batch and is_full:
            yield sorted(batch, key=attrgetter("size_bytes"), reverse=True)
            batch, size_bytes = [], 0
        batch.append(item)
        size_bytes += item.size_bytes
    if batch:
        yield sorted(batch, key=attrgetter("size_bytes"), reverse=True)
