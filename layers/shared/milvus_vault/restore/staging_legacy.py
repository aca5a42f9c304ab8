"""What is imported of a collection into Milvus 2.2 or 2.3, which read each file's own folders, however deep.

Staged as Milvus itself lays objects out:

    <base>insert_log/<collection>/<partition>/<segment>/<field>/<log>
    <base>delta_log/<collection>/<partition>/<segment>/<log>
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.archive.layout import DELTA_LOG, INSERT_LOG, log_of
from milvus_vault.archive.object_table import ObjectTable
from milvus_vault.model.collections import ALL_PARTITIONS, SegmentLevel
from milvus_vault.model.objects import ArchivedObject, CopyItem
from milvus_vault.restore.folding import Folding
from milvus_vault.restore.staging import rows_until
from milvus_vault.restore.working_files import Composition, ImportPaths, ImportSource

_LEVEL_ZERO = "L0"
"""The part of what is not copied as it lies: all others are named by the turn of their partition."""


@dataclass(frozen=True, slots=True)
class LegacyImport:
    """What one collection needs to be imported into a server of 2.2 or 2.3."""

    objects: ObjectTable
    """All of them, in the order of their list."""
    _collection: ArchivedCollection
    _folding: Folding
    _with_deletes: frozenset[int]
    """Partitions of which there are deletes."""

    @classmethod
    def of(
        cls, collection: ArchivedCollection, objects: Iterable[ArchivedObject], *, copies: int, composed: str
    ) -> "LegacyImport":
        """Sort a collection's objects. `copies` and `composed` are as of `Folding.of`. Raises as `ObjectTable`."""
        turns = {found.partition_id: turn for turn, found in enumerate(collection.partitions, start=1)}
        l0_segments = {segment.segment_id for segment in collection.segments if segment.level is SegmentLevel.L0}
        level_zero: dict[int, list[ArchivedObject]] = defaultdict(list)
        with_deletes: set[int] = set()

        def part_of(item: ArchivedObject) -> str:
            key = log_of(item)
            if key.kind == DELTA_LOG:
                with_deletes.add(key.partition_id)
            if key.segment_id in l0_segments:
                level_zero[key.partition_id].append(item)
                return _LEVEL_ZERO
            return str(turns.get(key.partition_id, 0))

        table = ObjectTable(objects, part_of)
        homes = (s.partition_id for s in collection.segments if s.row_count and s.segment_id not in l0_segments)
        folding = Folding.of(level_zero, homes, copies=copies, folder=composed)
        return cls(table, collection, folding, frozenset(with_deletes))

    @property
    def compositions(self) -> tuple[Composition, ...]:
        """Return the deletes that have to be composed before they are copied."""
        return self._folding.compositions

    def sources(self, base: str, cut: int = 0) -> tuple[ImportSource, ...]:
        """Return what to import of what lies below `base`: one source for each partition with rows.

        A whole partition at once, since these servers take 2 s for each import job, whatever is in it. `cut` is the
        timestamp after which rows and deletes are left out, or 0.
        """
        sources = []
        for partition in self._collection.partitions:
            row_count = sum(rows_until(segment, cut) for segment in partition.segments)
            if row_count:
                below = f"{self._collection.collection_id}/{partition.partition_id}/"
                has_deletes = not self._with_deletes.isdisjoint({partition.partition_id, ALL_PARTITIONS})
                paths = ImportPaths(
                    insert_prefix=f"{base}{INSERT_LOG}/{below}",
                    delta_prefix=f"{base}{DELTA_LOG}/{below}" if has_deletes else "",
                    row_count=row_count,
                    segments=tuple(segment.segment_id for segment in partition.segments if segment.row_count),
                )
                sources.append(ImportSource(partition=partition.name, pairs=(paths,), end_timestamp=cut))
        return tuple(sources)

    def staged_items(self, base: str) -> Iterator[CopyItem]:
        """Yield what to copy so that the collection's logs lie below `base`, without the backup's group folders.

        Deletes of L0 segments, which these servers do not know, go beside each segment that they may concern. They come
        first, then each partition in the order of the imports, which begin while the rest is copied.
        """
        for segment in self._collection.segments:
            if segment.row_count and segment.level is not SegmentLevel.L0:
                for item in self._folding.beside(segment.partition_id):
                    yield _copy(base, item, segment.partition_id, segment.segment_id)
        for turn in range(len(self._collection.partitions) + 1):
            for item in self.objects.of(str(turn)):
                key = log_of(item)
                yield _copy(base, item, key.partition_id, key.segment_id)


def _copy(base: str, item: ArchivedObject, partition_id: int, segment_id: int) -> CopyItem:
    key = log_of(item)
    below = f"{base}{key.kind}/{key.collection_id}/{partition_id}/{segment_id}/"
    name = f"{below}{key.log_id}" if key.kind == DELTA_LOG else f"{below}{key.field_id}/{key.log_id}"
    return CopyItem(item.stored_key, name, item.size_bytes, item.etag)
