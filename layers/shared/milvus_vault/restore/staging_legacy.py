"""What is imported of a collection into Milvus 2.2 or 2.3, which read each file's own folders, however deep.

Staged as Milvus itself lays objects out:

    <base>insert_log/<collection>/<partition>/<segment>/<field>/<log>
    <base>delta_log/<collection>/<partition>/<segment>/<log>
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.archive.layout import DELTA_LOG, INSERT_LOG, log_of
from milvus_vault.model.collections import ALL_PARTITIONS, SegmentLevel
from milvus_vault.model.objects import ArchivedObject, CopyItem
from milvus_vault.restore.folding import Folding
from milvus_vault.restore.staging import rows_until
from milvus_vault.restore.working_files import Composition, ImportPaths, ImportSource


def import_sources(
    base: str, collection: ArchivedCollection, objects: Iterable[ArchivedObject], cut: int = 0
) -> tuple[ImportSource, ...]:
    """Return what to import of a collection whose logs lie below `base`: one source for each partition with rows.

    A whole partition at once, since these servers take 2 s for each import job, whatever is in it. `cut` is the
    timestamp after which rows and deletes are left out, or 0.
    """
    keys = [log_of(item) for item in objects]
    with_deletes = {key.partition_id for key in keys if key.kind == DELTA_LOG}
    sources = []
    for partition in collection.partitions:
        row_count = sum(rows_until(segment, cut) for segment in partition.segments)
        if row_count:
            below = f"{collection.collection_id}/{partition.partition_id}/"
            has_deletes = not with_deletes.isdisjoint({partition.partition_id, ALL_PARTITIONS})
            paths = ImportPaths(
                insert_prefix=f"{base}{INSERT_LOG}/{below}",
                delta_prefix=f"{base}{DELTA_LOG}/{below}" if has_deletes else "",
                row_count=row_count,
                segments=tuple(segment.segment_id for segment in partition.segments if segment.row_count),
            )
            sources.append(ImportSource(partition=partition.name, pairs=(paths,), end_timestamp=cut))
    return tuple(sources)


def staged_items(
    base: str, collection: ArchivedCollection, objects: Iterable[ArchivedObject], *, copies: int, composed: str
) -> tuple[Iterator[CopyItem], tuple[Composition, ...]]:
    """Return what to copy so that a collection's logs lie below `base`, and the deletes that are composed for it.

    Without the backup's group folders. Deletes of L0 segments, which these servers do not know, go beside each segment
    that they may concern. They come first, then each partition in the order of the imports, which begin while the rest
    is copied. `copies` and `composed` are as of `Folding.of`.
    """
    turns = {found.partition_id: turn for turn, found in enumerate(collection.partitions, start=1)}
    l0_segments = {segment.segment_id for segment in collection.segments if segment.level is SegmentLevel.L0}
    with_rows = [s for s in collection.segments if s.row_count and s.segment_id not in l0_segments]
    level_zero: dict[int, list[ArchivedObject]] = defaultdict(list)
    others: list[ArchivedObject] = []
    for item in objects:
        key = log_of(item)
        (level_zero[key.partition_id] if key.segment_id in l0_segments else others).append(item)
    folding = Folding.of(level_zero, (s.partition_id for s in with_rows), copies=copies, folder=composed)

    def items() -> Iterator[CopyItem]:
        for segment in with_rows:
            for item in folding.beside(segment.partition_id):
                yield _copy(base, item, segment.partition_id, segment.segment_id)
        for item in sorted(others, key=lambda item: turns.get(log_of(item).partition_id, 0)):
            key = log_of(item)
            yield _copy(base, item, key.partition_id, key.segment_id)

    return items(), folding.compositions


def _copy(base: str, item: ArchivedObject, partition_id: int, segment_id: int) -> CopyItem:
    key = log_of(item)
    below = f"{base}{key.kind}/{key.collection_id}/{partition_id}/{segment_id}/"
    name = f"{below}{key.log_id}" if key.kind == DELTA_LOG else f"{below}{key.field_id}/{key.log_id}"
    return CopyItem(item.stored_key, name, item.size_bytes, item.etag)
