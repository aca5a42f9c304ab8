"""Collections whose segments cannot be backed up, or be restored only in rounds: before a backup is relied on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from milvus_vault.archive.added_vectors import IN_ROUNDS_HINT, OlderSegments, older_segments
from milvus_vault.archive.layout import LogKey, parse_log_key
from milvus_vault.backup.segments import NEWER_STORAGE_HINT, newer_storage
from milvus_vault.errors import CollectionNotFoundError
from milvus_vault.model.collections import CollectionName, Segment
from milvus_vault.model.versions import PACKED_VERSION
from milvus_vault.parallel import each
from milvus_vault.ports import ObjectStore
from milvus_vault.source import MilvusStorage, StoredCollections

# A call or two for each; the answer is waited for.
LOOKED_AT = 100
_AT_A_TIME = 8
# The oldest are the first that would lack something; each is listed.
_LISTED_SEGMENTS = 20


@dataclass(frozen=True, slots=True)
class Unfit:
    """What stands in the way of a collection."""

    message: str
    hint: str


def unfit_collections(
    store: ObjectStore, database: StoredCollections, storage: MilvusStorage, names: Sequence[CollectionName]
) -> list[Unfit]:
    """Return what is wrong with the segments of the first hundred collections."""

    def look(name: CollectionName) -> Unfit | None:
        try:
            return _look(store, database, storage, name)
        except CollectionNotFoundError:
            # Dropped since it was listed.
            return None

    return [found for found in each(look, islice(names, LOOKED_AT), threads=_AT_A_TIME) if found]


def _look(
    store: ObjectStore, database: StoredCollections, storage: MilvusStorage, name: CollectionName
) -> Unfit | None:
    segments = database.list_segments(name.database, name.name)
    if newer := newer_storage(name, segments):
        return Unfit(newer, NEWER_STORAGE_HINT)
    older = _older(store, database, storage, name, segments)
    return Unfit(older.of(name), IN_ROUNDS_HINT) if older else None


def _older(
    store: ObjectStore,
    database: StoredCollections,
    storage: MilvusStorage,
    name: CollectionName,
    segments: Sequence[Segment],
) -> OlderSegments | None:
    if all(segment.storage_version < PACKED_VERSION for segment in segments):
        return None
    described = database.describe_collection(name.database, name.name)
    oldest = sorted(segments, key=lambda segment: segment.segment_id)[:_LISTED_SEGMENTS]
    folder = storage.insert_logs(described.collection_id)
    return older_segments(described.collection_schema, oldest, _logs(store, storage.bucket, folder, oldest))


def _logs(store: ObjectStore, bucket: str, folder: str, segments: Sequence[Segment]) -> Iterator[LogKey]:
    for segment in segments:
        for listed in store.list_objects(bucket, f"{folder}{segment.partition_id}/{segment.segment_id}/"):
            if key := parse_log_key(listed.key):
                yield key
