"""Where a restored collection is cut: rows and deletes up to there come back, and none that are newer."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.archive.layout import DELTA_LOG, holds_timestamps, log_of
from milvus_vault.errors import MomentOutOfRangeError
from milvus_vault.model.hybrid import as_text, from_datetime
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.restore.working_files import Composition, Cut


def cut_of(request: RestoreRequest, collection: ArchivedCollection) -> int:
    """Return the hybrid timestamp after which rows and deletes of a collection are left out; 0: none are."""
    if request.as_of is not None:
        return from_datetime(request.as_of)
    return collection.moment if request.point_in_time else 0


def check_not_after(request: RestoreRequest, moments: Iterable[int]) -> None:
    """Return if a time that a person chose is not after the backup, as far as its collections have known moments.

    `moments` are those of the collections that are restored; 0: nobody knows it. Raises `MomentOutOfRangeError`.
    """
    newest = min(filter(None, moments), default=0)
    if request.as_of is not None and newest and from_datetime(request.as_of) > newest:
        raise out_of_range(request.as_of, newest, is_after=True)


def out_of_range(as_of: datetime, end: int, *, is_after: bool) -> MomentOutOfRangeError:
    """Return the error of a time that is not in the backup; `end` is the one of its ends behind which it lies."""
    side, other = ("after", "an earlier") if is_after else ("before", "a later")
    msg = f"{as_text(from_datetime(as_of))} does not lie in the backup, which holds nothing {side} {as_text(end)}"
    return MomentOutOfRangeError(msg, hint=f"Choose {other} time, or leave it out.")


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
