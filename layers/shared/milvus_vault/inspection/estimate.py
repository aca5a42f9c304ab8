"""What a backup would take, from listings: nothing is flushed and nothing is copied."""

from dataclasses import dataclass

from milvus_vault.copying.parts import MAX_SINGLE_COPY_BYTES, part_ranges
from milvus_vault.errors import CollectionNotFoundError
from milvus_vault.inspection.collections import InspectedMilvus
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.requests import BackupRequest
from milvus_vault.model.resources import CollectionInfo, Estimate
from milvus_vault.parallel import each

# AWS' price list, S3 Standard in us-east-1: $0.005 for 1,000 PUT, COPY, POST or LIST requests, and $0.023 for a GB and
# month of the first 50 TB. A GB is 2^30 bytes there.
REQUEST_USD = 0.005 / 1000
GB_MONTH_USD = 0.023
GB = 2**30

# docs/performance.md: some 2 s for the states, 0.12 s for each collection, 370 to 510 copies a second in one function.
STATES_SECONDS = 2.0
COLLECTION_SECONDS = 0.12
COPIES_PER_SECOND = 400.0

LISTED_AT_A_TIME = 1000  # ListObjectsV2, S3 API reference

# Of each of a collection's two folders: the source once, the destination before and after copying.
LISTINGS = 3

LARGEST = 10
_AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class _Measured:
    info: CollectionInfo
    object_count: int
    size_bytes: int
    copy_requests: int
    list_requests: int


def estimate_backup(milvus: InspectedMilvus, request: BackupRequest) -> Estimate:
    """Return what a backup would take.

    Rows that are not flushed yet are not in it. Raises `DatabaseNotFoundError` or `CollectionNotFoundError`, as the
    backup would.
    """
    names = milvus.select(request.collections)
    measured = [found for found in each(lambda n: _measure(milvus, n), names, threads=_AT_A_TIME) if found]
    counted = [] if request.meta_only else measured
    copies, listings = (sum(m.copy_requests for m in counted), sum(m.list_requests for m in counted))
    size_bytes = sum(m.size_bytes for m in counted)
    return Estimate(
        collection_count=len(measured),
        object_count=sum(m.object_count for m in counted),
        size_bytes=size_bytes,
        row_count=sum(m.info.row_count for m in counted),
        copy_requests=copies,
        list_requests=listings,
        request_cost_usd=(copies + listings) * REQUEST_USD,
        storage_cost_usd_per_month=size_bytes / GB * GB_MONTH_USD,
        expected_seconds=STATES_SECONDS + len(measured) * COLLECTION_SECONDS + copies / COPIES_PER_SECOND,
        largest=tuple(
            sorted((m.info for m in measured), key=lambda info: info.size_bytes or 0, reverse=True)[:LARGEST]
        ),
    )


def _measure(milvus: InspectedMilvus, name: CollectionName) -> _Measured | None:
    """Return what a collection is made of, or None where it was dropped since it was listed."""
    try:
        segments = milvus.database.list_segments(name.database, name.name)
        number = milvus.database.collection_id(name.database, name.name)
        loaded = milvus.database.load_percent(name.database, name.name)
    except CollectionNotFoundError:
        return None
    if number is None:
        return None
    sizes = [listed.size_bytes for listed in milvus.objects(number, segments)]
    info = CollectionInfo(
        database=name.database,
        name=name.name,
        row_count=sum(segment.row_count for segment in segments),
        size_bytes=sum(sizes),
        object_count=len(sizes),
        segment_count=len(segments),
        is_loaded=loaded == 100,  # noqa: PLR2004 - percent
    )
    pages = 1 + -(-len(sizes) // LISTED_AT_A_TIME)
    return _Measured(info, len(sizes), sum(sizes), sum(map(copy_requests, sizes)), LISTINGS * pages)


def copy_requests(size_bytes: int) -> int:
    """Return how many requests the copy of one object takes: one, or a part each and two around them."""
    return 1 if size_bytes <= MAX_SINGLE_COPY_BYTES else len(list(part_ranges(size_bytes))) + 2
