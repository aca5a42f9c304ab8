"""What a backup would take, from listings: nothing is flushed, nothing is copied and nothing is written."""

from collections.abc import Sequence
from dataclasses import dataclass

from milvus_vault.copying.parts import MAX_SINGLE_COPY_BYTES, part_ranges
from milvus_vault.errors import CollectionNotFoundError
from milvus_vault.inspection.collections import InspectedMilvus
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.names import COLLECTIONS_PER_BATCH
from milvus_vault.model.prices import GB_MONTH_USD, GET_USD, REQUEST_USD
from milvus_vault.model.requests import BackupRequest
from milvus_vault.model.resources import CollectionInfo, Estimate, IncrementalEstimate
from milvus_vault.parallel import each
from milvus_vault.pool.sharing import Pool

GB = 2**30

# docs/performance.md: some 2 s for the states, 0.12 s for each collection, 370 to 510 copies a second in one function.
STATES_SECONDS = 2.0
COLLECTION_SECONDS = 0.12
COPIES_PER_SECOND = 400.0

LISTED_AT_A_TIME = 1000  # ListObjectsV2, S3 API reference

# Of each of a collection's two folders: the source once, the destination before and after copying.
LISTINGS = 3

# What an incremental backup reads of the newest ones: up to thirty entries of the catalogue, the marker and the
# manifest for each batch of collections, and for each collection the condemned objects, the marker and the list.
ENTRY_GETS = 30
BATCH_GETS = 2
COLLECTION_GETS = 3

LARGEST = 10
_AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class _Measured:
    info: CollectionInfo
    object_count: int
    size_bytes: int
    copy_requests: int
    source_pages: int
    """Pages of the collection's folders in Milvus' bucket."""
    copied: Sequence[int] = ()
    """Sizes of the objects that an incremental backup would copy, in bytes."""
    pooled_count: int = 0
    """How many objects the pool has of the collection."""


def storage_cost(size_bytes: int) -> float:
    """Return the price of keeping bytes for a month, in US dollars."""
    return size_bytes / GB * GB_MONTH_USD


def estimate_backup(milvus: InspectedMilvus, request: BackupRequest, pool: Pool | None = None) -> Estimate:
    """Return what a backup would take, and with a pool also what an incremental one would.

    Rows that are not flushed yet are not in it.

    Raises:
        DatabaseNotFoundError, CollectionNotFoundError: As the backup would.
        WorkingFileError: What is about to be deleted of the pool cannot be read, as in the backup.
    """
    names = milvus.select(request.collections)
    measured = [found for found in each(lambda n: _measure(milvus, n, pool), names, threads=_AT_A_TIME) if found]
    counted = [] if request.meta_only else measured
    copies = sum(m.copy_requests for m in counted)
    listings = LISTINGS * sum(m.source_pages for m in counted)
    size_bytes = sum(m.size_bytes for m in counted)
    return Estimate(
        collection_count=len(measured),
        object_count=sum(m.object_count for m in counted),
        size_bytes=size_bytes,
        row_count=sum(m.info.row_count for m in counted),
        copy_requests=copies,
        list_requests=listings,
        request_cost_usd=(copies + listings) * REQUEST_USD,
        storage_cost_usd_per_month=storage_cost(size_bytes),
        expected_seconds=_seconds(len(measured), copies),
        largest=tuple(
            sorted((m.info for m in measured), key=lambda info: info.size_bytes or 0, reverse=True)[:LARGEST]
        ),
        incremental=_incremental(measured) if pool else None,
    )


def _incremental(measured: Sequence[_Measured]) -> IncrementalEstimate:
    copies = sum(copy_requests(size) for m in measured for size in m.copied)
    # Of the catalogue's entries, a page.
    listings = 1 + sum(m.source_pages + _poolpages(m) for m in measured)
    batches = -(-len(measured) // COLLECTIONS_PER_BATCH)
    gets = ENTRY_GETS + BATCH_GETS * batches + COLLECTION_GETS * sum(m.object_count > 0 for m in measured)
    size_bytes = sum(size for m in measured for size in m.copied)
    return IncrementalEstimate(
        copied_object_count=sum(len(m.copied) for m in measured),
        copied_size_bytes=size_bytes,
        copy_requests=copies,
        list_requests=listings,
        get_requests=gets,
        request_cost_usd=(copies + listings) * REQUEST_USD + gets * GET_USD,
        storage_cost_usd_per_month=storage_cost(size_bytes),
        expected_seconds=_seconds(len(measured), copies),
    )


def _poolpages(measured: _Measured) -> int:
    """Return how many pages of the pool are listed: to see what is there, and again where something was copied."""
    if not measured.object_count:
        return 0
    before, copied = measured.pooled_count, len(measured.copied)
    return pages(before) + (pages(before + copied) if copied else 0)


def _measure(milvus: InspectedMilvus, name: CollectionName, pool: Pool | None) -> _Measured | None:
    """Return what a collection is made of, or None where it was dropped since it was listed."""
    try:
        segments = milvus.database.list_segments(name.database, name.name)
        number = milvus.database.collection_id(name.database, name.name)
        loaded = milvus.database.load_percent(name.database, name.name)
    except CollectionNotFoundError:
        return None
    if number is None:
        return None
    objects = list(milvus.objects(number, segments))
    sizes = [listed.size_bytes for listed in objects]
    info = CollectionInfo(
        database=name.database,
        name=name.name,
        row_count=sum(segment.row_count for segment in segments),
        size_bytes=sum(sizes),
        object_count=len(sizes),
        segment_count=len(segments),
        is_loaded=loaded == 100,  # noqa: PLR2004 - percent
    )
    return _Measured(
        info,
        len(sizes),
        sum(sizes),
        sum(map(copy_requests, sizes)),
        # The folder of deletes takes a page for itself.
        1 + -(-len(sizes) // LISTED_AT_A_TIME),
        [place.listed.size_bytes for place in pool.places(number, objects) if not place.shared] if pool else (),
        pool.listed_counts.get(number, 0) if pool else 0,
    )


def pages(count: int) -> int:
    """Return how many requests the listing of a folder takes: an empty one takes one, too."""
    return max(1, -(-count // LISTED_AT_A_TIME))


def _seconds(collection_count: int, copies: int) -> float:
    return STATES_SECONDS + collection_count * COLLECTION_SECONDS + copies / COPIES_PER_SECOND


def copy_requests(size_bytes: int) -> int:
    """Return how many requests the copy of one object takes: one, or a part each and two around them."""
    return 1 if size_bytes <= MAX_SINGLE_COPY_BYTES else len(list(part_ranges(size_bytes))) + 2
