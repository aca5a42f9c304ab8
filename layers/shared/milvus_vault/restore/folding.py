"""Deletes of level 0 beside the segments that they concern: as they are, or few logs composed of many.

A log of level 0 concerns each segment of its partition, or of all. Many logs copied beside many segments multiply. So
CutCollections composes those of a partition into logs of some MiB, and these are copied instead: what is copied grows
with segments and logs, and not with their product.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from milvus_vault.archive.layout import log_of
from milvus_vault.model.collections import ALL_PARTITIONS
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.restore.working_files import Composition, LogToCompose

# Of logs as they are stored: 600,000 deletes of random keys, with which composing takes 70 MiB of memory. Keys that are
# like each other take a hundredth of what they are in memory, so that CutCollections looks at that as well.
COMPOSED_BYTES = 8 * 1024**2


@dataclass(frozen=True, slots=True)
class Folding:
    """What to copy beside the segments of a collection, and what of it has to be composed first."""

    _beside: Mapping[int, Sequence[ArchivedObject]]
    compositions: tuple[Composition, ...]

    @classmethod
    def of(
        cls, level_zero: Mapping[int, Sequence[ArchivedObject]], homes: Iterable[int], *, copies: int, folder: str
    ) -> "Folding":
        """Return what to copy and to compose.

        Args:
            level_zero: Logs of level 0, by their partition.
            homes: The partition of each segment with rows.
            copies: Up to how many of a collection the logs are copied as they are.
            folder: Full key prefix of what is composed.
        """
        counts = Counter(homes)
        counts[ALL_PARTITIONS] = counts.total()
        if sum(len(logs) * counts[number] for number, logs in level_zero.items()) <= copies:
            return cls(level_zero, ())
        beside: dict[int, list[ArchivedObject]] = {}
        compositions: list[Composition] = []
        for number, logs in level_zero.items():
            beside[number] = []
            # For one segment nothing would be saved.
            for share in _shares(logs) if counts[number] > 1 else ([log] for log in logs):
                if len(share) == 1:
                    beside[number] += share
                    continue
                composition = _composition(f"{folder}{number}/", share)
                beside[number].append(share[0]._replace(stored_key=composition.key, size_bytes=0, etag=""))
                compositions.append(composition)
        return cls(beside, tuple(compositions))

    def beside(self, partition_id: int) -> tuple[ArchivedObject, ...]:
        """Return what to copy beside each segment of a partition: which deletes concern it, key and time tell.

        What has to be composed stands there by the key of its composition, without size and ETag.
        """
        return (*self._beside.get(partition_id, ()), *self._beside.get(ALL_PARTITIONS, ()))


def _shares(logs: Iterable[ArchivedObject]) -> Iterator[list[ArchivedObject]]:
    """Cut logs into what is composed into one; a larger one stays as it is."""
    share: list[ArchivedObject] = []
    size_bytes = 0
    for log in logs:
        if share and size_bytes + log.size_bytes > COMPOSED_BYTES:
            yield share
            share, size_bytes = [], 0
        share.append(log)
        size_bytes += log.size_bytes
    if share:
        yield share


def _composition(folder: str, logs: Sequence[ArchivedObject]) -> Composition:
    found = tuple(LogToCompose(key=log.stored_key, etag=log.etag, log_id=log_of(log).log_id) for log in logs)
    return Composition(key=f"{folder}{found[0].log_id}", logs=found)
