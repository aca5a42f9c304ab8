"""What a reader finds in a backup, whichever tool wrote it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from milvus_vault.archive.layout import DELTA_LOG, log_of
from milvus_vault.archive.manifest import LISTED_OBJECT_BYTES, CollectionFailure, FileDigest
from milvus_vault.model.collections import (
    CollectionLayout,
    CollectionName,
    DatabaseDescription,
    IndexDescription,
    LoadState,
    SegmentLevel,
)
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.rbac import Rbac
from milvus_vault.model.versions import ServerVersion


@dataclass(frozen=True, slots=True)
class ArchivedSegment:
    """A segment. Deletes are not subtracted from its rows."""

    segment_id: int
    partition_id: int
    """`ALL_PARTITIONS` for an L0 segment of the whole collection."""
    group_id: int
    """The folder between partition and segment; 0 where there is none."""
    row_count: int
    level: SegmentLevel
    storage_version: int
    later_row_count: int = 0
    """Those of its rows that are newer than the moment of its collection."""


@dataclass(frozen=True, slots=True)
class ArchivedPartition:
    """A partition and its segments, L0 segments of the partition included."""

    partition_id: int
    name: str
    is_loaded: bool
    segments: tuple[ArchivedSegment, ...]

    @property
    def row_count(self) -> int:
        """Return the rows in its segments, deleted ones included."""
        return sum(segment.row_count for segment in self.segments)


@dataclass(frozen=True, slots=True)
class ArchivedCollection:
    """What is needed to make a collection again. `read_objects` returns its objects."""

    name: CollectionName
    collection_id: int
    layout: CollectionLayout
    indexes: tuple[IndexDescription, ...]
    aliases: tuple[str, ...]
    load_state: LoadState
    replicas: int
    """How many replicas were loaded: 0 if not loaded, 1 if loaded and nobody recorded how many."""
    partitions: tuple[ArchivedPartition, ...]
    l0_segments: tuple[ArchivedSegment, ...]
    """Segments of deletes from all partitions."""
    live_row_count: int | None
    """Rows that a query saw at the time of the backup, if one was made."""
    object_list: FileDigest | None
    """The document that lists the objects; None where the metadata already read lists them."""
    listed_objects: Sequence[ArchivedObject] = ()
    resource_groups: tuple[str, ...] = ()
    """The resource group of each replica; none where nobody recorded them."""
    moment: int = 0
    """Hybrid timestamp at which a restore cuts it, inclusive; 0 where nobody knows one."""
    moment_doubt: str = ""
    """Why the moment could not be proven; empty where it was."""
    other_etags: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By key below `binlogs/`, of all collections: a recorded ETag, and the one under which the content was proven."""

    @property
    def row_count(self) -> int:
        """Return the rows in its segments, deleted ones included."""
        return sum(partition.row_count for partition in self.partitions)

    @property
    def segments(self) -> tuple[ArchivedSegment, ...]:
        """Return all segments, partition by partition, then the L0 segments of all partitions."""
        return (*(segment for partition in self.partitions for segment in partition.segments), *self.l0_segments)


@dataclass(frozen=True, slots=True)
class Archive:
    """A backup that can be restored."""

    name: str
    milvus_version: ServerVersion
    origin: Literal["milvus_vault", "milvus_backup"]
    has_checksums: bool
    """Whether metadata has digests and objects have ETags to compare with."""
    meta_only: bool
    databases: tuple[str, ...]
    database_descriptions: tuple[DatabaseDescription, ...]
    """Databases with their properties, as far as somebody recorded them."""
    collections: tuple[ArchivedCollection, ...]
    failures: tuple[CollectionFailure, ...] = ()
    """Collections that were to be in the backup and are not."""
    warnings: tuple[str, ...] = ()
    """What the backup does not hold as it should, for the restore's report."""
    rbac: Rbac | None = None
    """Users and rights of the server, with hashes of passwords; None where nobody asked for them."""


def segments_with_deletes(objects: Iterable[ArchivedObject]) -> frozenset[int]:
    """Return the IDs of the segments that have delta logs."""
    keys = (log_of(item) for item in objects)
    return frozenset(key.segment_id for key in keys if key.kind == DELTA_LOG)


def list_bytes(collection: ArchivedCollection) -> int:
    """Return the bytes of the list of a collection's objects, or what they would be in a document of ours."""
    if collection.object_list:
        return collection.object_list.size_bytes
    return len(collection.listed_objects) * LISTED_OBJECT_BYTES
