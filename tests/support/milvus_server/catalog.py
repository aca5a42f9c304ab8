"""What a Milvus knows: databases, collections, partitions, indexes, aliases, segments."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.support.milvus_server import refusals
from tests.support.milvus_server.binlog import Delete, Place
from tests.support.milvus_server.refusals import Refusal
from tests.support.milvus_server.segment_files import SegmentLogs
from tests.support.milvus_server.values import TIMESTAMP, Columns, Message, Value, rows_in
from tests.support.milvus_server.versions import Version

DEFAULT = "default"
DEFAULT_PARTITION = "_default"
ALL_PARTITIONS = -1

LEGACY, L0, L1, L2 = 0, 1, 2, 3  # common.SegmentLevel
GROWING, SEALED, FLUSHED, DROPPED = 2, 3, 4, 6  # common.SegmentState


@dataclass
class Segment:
    """Rows, or at level 0 only deletes, and the files that they lie in."""

    segment_id: int
    collection_id: int
    partition_id: int
    channel: str
    level: int
    state: int = GROWING
    columns: Columns = field(default_factory=dict)
    deletes: dict[Value, int] = field(default_factory=dict)
    """Newest delete of each key."""
    every_delete: list[Delete] = field(default_factory=list)
    """An older delete of a key counts, too, where a newer one is left out by its timestamp."""
    logs: SegmentLogs = field(default_factory=SegmentLogs)
    is_sorted: bool = False
    storage_version: int = 0
    flushed_at: float = 0.0
    dropped_at: float = 0.0
    compacted_from: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """Rows, deleted ones among them."""
        return rows_in(self.columns)

    @property
    def oldest(self) -> int:
        """The timestamp of its oldest row, later than all where it has none."""
        return min((time for time in self.columns.get(TIMESTAMP, []) if isinstance(time, int)), default=2**64)

    @property
    def place(self) -> Place:
        """Where its files are."""
        return Place(self.collection_id, self.partition_id, self.segment_id)

    def add_deletes(self, deletes: Sequence[Delete]) -> None:
        """Remember deletes of its rows."""
        self.every_delete += deletes
        for key, timestamp in deletes:
            self.deletes[key] = max(timestamp, self.deletes.get(key, 0))


@dataclass(frozen=True, slots=True)
class Partition:
    """A part of a collection."""

    partition_id: int
    name: str
    created: int


@dataclass
class Index:
    """An index; it is built a while after the segment or the index came, whichever was later."""

    index_id: int
    name: str
    field_name: str
    params: dict[str, str]
    created_at: float


@dataclass(frozen=True, slots=True)
class Pending:
    """A delete that no flush has covered yet, or up to 2.3 not for all the rows that it concerns."""

    key: Value
    timestamp: int
    partition_id: int
    channel: str
    written: set[int] = field(default_factory=set)
    """The segments that have it in a delta log of theirs."""

    def concerns(self, segment: Segment) -> bool:
        """Return whether it reaches rows of a segment."""
        return self.channel == segment.channel and reaches(self.partition_id, segment)


@dataclass
class Load:
    """What of a collection is in memory."""

    partitions: set[str]
    replicas: int
    ready_at: float
    resource_groups: tuple[str, ...]
    hidden: frozenset[str] = frozenset()
    """Partitions that were added to others in memory, whose rows are not found before a time."""
    hidden_until: float = 0.0


@dataclass
class Collection:
    """A collection."""

    collection_id: int
    database: str
    name: str
    schema: Message
    """As Milvus keeps it: with the dynamic field."""
    shards: int
    consistency: int
    properties: dict[str, str]
    created: int
    partitions: dict[str, Partition] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)
    segments: dict[int, Segment] = field(default_factory=dict)
    pending: list[Pending] = field(default_factory=list)
    in_flight: list[int] = field(default_factory=list)
    """Timestamps of requests whose rows or deletes are on their way."""
    load: Load | None = None
    flushed_up_to: int = 0
    may_flush_at: float = 0.0

    @property
    def key_field(self) -> Message:
        """The primary key."""
        return next(item for item in self.schema.fields if item.is_primary_key)

    @property
    def partition_key(self) -> Message | None:
        """The field whose value decides on the partition, if there is one."""
        return next((item for item in self.schema.fields if item.is_partition_key), None)

    @property
    def channels(self) -> list[str]:
        """The virtual channels."""
        return [f"by-dev-rootcoord-dml_{shard}_{self.collection_id}v{shard}" for shard in range(self.shards)]

    def of_state(self, *states: int) -> list[Segment]:
        """Return segments in these states, oldest first."""
        return [segment for segment in self.segments.values() if segment.state in states]

    def expects(self, before: int) -> bool:
        """Return whether a request with an older timestamp is still on its way."""
        return any(timestamp < before for timestamp in self.in_flight)

    def partition(self, name: str) -> Partition:
        """Return a partition by name."""
        if name not in self.partitions:
            raise refusals.partition_not_found(name)
        return self.partitions[name]

    def alive(self, segment: Segment) -> list[int]:
        """Return the numbers of those rows of a segment that nothing has deleted."""
        newest = dict(segment.deletes)
        for other in self.of_state(SEALED, FLUSHED):
            if other.level == L0 and other.channel == segment.channel and reaches(other.partition_id, segment):
                for key, timestamp in other.deletes.items():
                    newest[key] = max(timestamp, newest.get(key, 0))
        for delete in self.pending:
            if delete.concerns(segment):
                newest[delete.key] = max(delete.timestamp, newest.get(delete.key, 0))
        return self._left_by(newest, segment)

    def left_by_own_deletes(self, segment: Segment) -> list[int]:
        """Return the numbers of those rows that a segment's own delta logs have not deleted."""
        return self._left_by(segment.deletes, segment)

    def _left_by(self, newest: Mapping[Value, int], segment: Segment) -> list[int]:
        keys = segment.columns.get(self.key_field.fieldID, [])
        times = segment.columns.get(TIMESTAMP, [])
        return [
            row
            for row, (key, timestamp) in enumerate(zip(keys, times, strict=True))
            if isinstance(timestamp, int) and timestamp >= newest.get(key, 0)
        ]


def reaches(partition_id: int, segment: Segment) -> bool:
    """Return whether a delete of a partition, or of all, concerns a segment."""
    return partition_id in {ALL_PARTITIONS, segment.partition_id}


@dataclass
class Database:
    """A namespace of collections."""

    database_id: int
    name: str
    properties: dict[str, str]
    created: int
    collections: dict[str, Collection] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    """Collections by alias. Up to 2.3 an alias outlives its collection."""


class Catalog:
    """All databases; finds things or refuses as the version does."""

    def __init__(self, version: Version) -> None:
        """Begin with the database that is always there."""
        self._version = version
        self.databases: dict[str, Database] = {DEFAULT: Database(1, DEFAULT, {}, 0)}
        self.dropped: list[Collection] = []

    def database(self, name: str) -> Database:
        """Return a database."""
        if name not in self.databases:
            raise refusals.database_not_found(self._version, name)
        return self.databases[name]

    def collection(self, database: str, name: str, *, described: bool = False) -> Collection:
        """Return a collection by name or alias; `described`: refuse as DescribeCollection does."""
        if database not in self.databases and not self._version.at_least(2, 4):
            raise refusals.collection_not_found(self._version, database, name, described=described)
        found = self.database(database)
        real = found.aliases.get(name, name) if name not in found.collections else name
        if real not in found.collections:
            raise refusals.collection_not_found(self._version, database, name, described=described)
        return found.collections[real]

    def by_id(self, collection_id: int) -> Collection:
        """Return a collection by its ID."""
        for collection in self.collections():
            if collection.collection_id == collection_id:
                return collection
        raise Refusal(100, f"collection not found[collection={collection_id}]", 4)

    def collections(self) -> Iterator[Collection]:
        """Yield all collections."""
        for database in self.databases.values():
            yield from database.collections.values()

    def aliases_of(self, collection: Collection) -> list[str]:
        """Return the aliases of a collection."""
        aliases = self.databases[collection.database].aliases
        return sorted(alias for alias, name in aliases.items() if name == collection.name)
