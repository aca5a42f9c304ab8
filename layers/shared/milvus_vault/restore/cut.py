"""Where a restored collection is cut: rows and deletes up to there come back, and none that are newer."""

from collections.abc import Iterable, Iterator

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.archive.layout import DELTA_LOG, holds_timestamps, log_of
from milvus_vault.model.hybrid import from_datetime
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.restore.working_files import Composition, Cut


def cut_of(request: RestoreRequest, collection: ArchivedCollection) -> int:
    """Return the hybrid timestamp after which rows and deletes of a collection are left out; 0: none are."""
    if request.as_of is not None:
        return from_datetime(request.as_of)
    return collection.moment if request.point_in_time else 0


def doubts(request: RestoreRequest, collections: Iterable[ArchivedCollection]) -> Iterator[str]:
    """Yield a warning for each collection that is cut at a moment which the backup could not prove."""
    for collection in collections:
        if collection.moment_doubt and cut_of(request, collection):
            yield (
                f"{collection.name} may lack rows, or have halves of upserts: its moment could not be proven"
                f" when it was backed up ({collection.moment_doubt})"
            )


def cut_to_read(
    request: RestoreRequest,
    collection: ArchivedCollection,
    objects: Iterable[ArchivedObject],
    cut_deletes: tuple[tuple[str, str], ...],
    compositions: tuple[Composition, ...],
) -> Cut | None:
    """Return what of a collection's logs has to be read before it is imported; None where nothing has.

    That is all timestamps where a person chose the time; and where nobody knows the moment, what may tell of halves
    of upserts. Deletes to cut or to compose are read in any case.
    """
    is_chosen = request.as_of is not None
    is_written = bool(cut_deletes or compositions)
    if not (is_chosen or is_written or not collection.moment):
        return None
    versions = {segment.segment_id: segment.storage_version for segment in collection.segments}
    rows: dict[int, list[str]] = {}
    deletes: list[str] = []
    for item in objects:
        key = log_of(item)
        if key.kind == DELTA_LOG:
            deletes.append(item.stored_key)
        elif holds_timestamps(key, versions.get(key.segment_id, 0)):
            rows.setdefault(key.segment_id, []).append(item.stored_key)
    is_suspect = not collection.moment and bool(deletes)
    if not (is_chosen or is_written or is_suspect):
        return None
    reads = is_chosen or is_suspect
    return Cut(
        name=collection.name,
        end_timestamp=cut_of(request, collection),
        is_chosen=is_chosen,
        moment=collection.moment,
        rows={number: tuple(keys) for number, keys in rows.items()} if reads else {},
        deletes=tuple(deletes) if reads else (),
        cut_deletes=cut_deletes,
        compositions=compositions,
    )
