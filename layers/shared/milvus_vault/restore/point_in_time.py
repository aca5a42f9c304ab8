"""Restoring just what there was when a backup was flushed, and nothing that came while it was made."""

from collections.abc import Iterator, Mapping, Sequence

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.model.versions import ServerVersion, has_import_jobs


def channel_ends(request: RestoreRequest, collection: ArchivedCollection) -> Mapping[str, int]:
    """Return by channel the timestamp after which rows and deletes are left out; empty where none are."""
    return _ends(collection) if request.point_in_time and _is_known(collection) else {}


def lost_points(
    request: RestoreRequest, server: ServerVersion, collections: Sequence[ArchivedCollection]
) -> Iterator[str]:
    """Yield warnings for what cannot be restored as of a point in time."""
    if not request.point_in_time:
        return
    if not has_import_jobs(server):
        yield f"Milvus {server} takes no point in time: rows that came while the backup was made are restored as well."
        return
    for collection in collections:
        if not _is_known(collection):
            yield f"{collection.name} is restored without a point in time: the backup has none for all its segments."


def _is_known(collection: ArchivedCollection) -> bool:
    ends = _ends(collection)
    return all(segment.virtual_channel in ends for segment in collection.segments)


def _ends(collection: ArchivedCollection) -> dict[str, int]:
    """Return timestamps by channel; that of the only one also for segments of which nobody told the channel."""
    ends = {checkpoint.channel: checkpoint.timestamp for checkpoint in collection.channel_checkpoints}
    if collection.layout.shards == 1 and len(ends) == 1:
        ends[""] = next(iter(ends.values()))
    return ends
