"""Where a backup's objects are imported from: where they lie, or staged in Milvus' own bucket."""

from collections.abc import Iterable, Sequence

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.archive.layout import DELTA_LOG, INSERT_LOG, parse_log_key
from milvus_vault.model.objects import ArchivedObject, CopyItem
from milvus_vault.restore.documents import ImportSource


def import_sources(
    base: str, collection: ArchivedCollection, objects: Iterable[ArchivedObject]
) -> tuple[ImportSource, ...]:
    """Return what to import of a collection whose logs lie below `base`: one source for each partition with rows.

    A whole partition at once, since a 2.2 or 2.3 server takes 2 s for each import job, whatever is in it.
    """
    keys = [key for item in objects if (key := parse_log_key(item.source_key))]
    with_deletes = {key.partition_id for key in keys if key.kind == DELTA_LOG}
    sources = []
    for partition in collection.partitions:
        if partition.row_count:
            below = f"{collection.collection_id}/{partition.partition_id}/"
            has_deletes = partition.partition_id in with_deletes
            sources.append(
                ImportSource(
                    partition=partition.name,
                    insert_prefix=f"{base}{INSERT_LOG}/{below}",
                    delta_prefix=f"{base}{DELTA_LOG}/{below}" if has_deletes else "",
                    row_count=partition.row_count,
                )
            )
    return tuple(sources)


def staged_items(base: str, objects: Sequence[ArchivedObject]) -> list[CopyItem]:
    """Return what to copy so that a collection's logs lie below `base`."""
    return [CopyItem(o.stored_key, _staged_key(base, o), o.size_bytes, o.etag) for o in objects]


def _staged_key(base: str, item: ArchivedObject) -> str:
    """Return where an object is staged: as Milvus itself lays it out, without the backup's group folders."""
    key = parse_log_key(item.source_key)
    if key is None:
        msg = f"not a log of Milvus: {item.source_key}"
        raise ValueError(msg)
    below = f"{base}{key.kind}/{key.collection_id}/{key.partition_id}/{key.segment_id}/"
    return f"{below}{key.log_id}" if key.kind == DELTA_LOG else f"{below}{key.field_id}/{key.log_id}"
