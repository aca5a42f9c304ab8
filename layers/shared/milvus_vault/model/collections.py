"""What Milvus tells of a collection, and what it needs to make one."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from milvus_vault.model.base import Blob, Count, Model, Number
from milvus_vault.model.hybrid import HybridTimestamp

DEFAULT_DATABASE = "default"

DEFAULT_PARTITION = "_default"
DEFAULT_RESOURCE_GROUP = "__default_resource_group"

# The number that Milvus gives an "all partitions" L0 segment as its partition.
ALL_PARTITIONS = -1

# IDs of the fields that each collection has without naming them, and of the first one that it names.
ROW_ID, TIMESTAMP = 0, 1
FIRST_FIELD = 100

# The name that Milvus gives the dynamic field.
DYNAMIC_FIELD = "$meta"


class KeyValue(Model):
    """A parameter as Milvus keeps it: both sides are text."""

    key: str
    value: str


class DatabaseDescription(Model):
    """A database, as DescribeDatabase tells it."""

    name: str
    database_id: Number = 0
    """0 where the server does not tell it (before 2.4.3)."""
    properties: tuple[KeyValue, ...] = ()


class CollectionName(Model):
    """A collection's full name."""

    database: str
    name: str

    def __str__(self) -> str:
        """Return `database.name`."""
        return f"{self.database}.{self.name}"


class FieldSchema(Model):
    """A field. Numbers of types are those of Milvus' `DataType` (5 Int64, 21 VarChar, 101 FloatVector, ...)."""

    field_id: Number
    name: str
    data_type: Number
    description: str = ""
    is_primary_key: bool = False
    auto_id: bool = False
    type_params: tuple[KeyValue, ...] = ()
    index_params: tuple[KeyValue, ...] = ()
    element_type: Number = 0
    is_dynamic: bool = False
    is_partition_key: bool = False
    nullable: bool = False
    is_function_output: bool = False
    is_clustering_key: bool = False
    default_value: Blob | None = None
    """The protobuf `schema.ValueField`."""


class FunctionSchema(Model):
    """A function that computes a field from others (BM25 is type 1)."""

    name: str
    function_id: Number
    function_type: Number
    description: str = ""
    input_field_names: tuple[str, ...] = ()
    input_field_ids: tuple[Number, ...] = ()
    output_field_names: tuple[str, ...] = ()
    output_field_ids: tuple[Number, ...] = ()
    params: tuple[KeyValue, ...] = ()


class StructArraySchema(Model):
    """A field whose values are arrays of structs (Milvus 2.6), and the fields inside."""

    field_id: Number
    name: str
    description: str = ""
    fields: tuple[FieldSchema, ...]
    type_params: tuple[KeyValue, ...] = ()
    nullable: bool = False


class CollectionSchema(Model):
    """A collection's schema, as far as milvus-backup's metadata has a place for it."""

    name: str
    fields: tuple[FieldSchema, ...]
    description: str = ""
    auto_id: bool = False
    enable_dynamic_field: bool = False
    properties: tuple[KeyValue, ...] = ()
    functions: tuple[FunctionSchema, ...] = ()
    struct_array_fields: tuple[StructArraySchema, ...] = ()


class Partition(Model):
    """A partition and whether it is loaded by itself or with its collection."""

    partition_id: Number
    name: str
    is_loaded: bool = False


class IndexDescription(Model):
    """An index as DescribeIndex tells it; `params` hold its type and metric as well."""

    index_id: Number
    name: str
    field_name: str
    params: tuple[KeyValue, ...]

    def param(self, key: str) -> str:
        """Return one parameter's value, or an empty text."""
        return next((item.value for item in self.params if item.key == key), "")


class LoadState(StrEnum):
    """Whether a collection is in memory; the spelling is milvus-backup's."""

    NOT_LOADED = "NotLoad"
    LOADING = "Loading"
    LOADED = "Loaded"

    @property
    def is_wanted(self) -> bool:
        """Return whether somebody has asked for it to be in memory: a restore then loads it."""
        return self is not LoadState.NOT_LOADED


def expires(properties: Iterable[KeyValue]) -> bool:
    """Return whether a collection with these properties has a time to live, after which rows are gone."""
    return any(item.key == "collection.ttl.seconds" and item.value != "0" for item in properties)


def lifetime_seconds(properties: Iterable[KeyValue]) -> int | None:
    """Return how long rows of a collection with these properties live; None: for ever."""
    values = [item.value for item in properties if item.key == "collection.ttl.seconds"]
    return int(values[0]) or None if values and values[0].isdecimal() else None


class CollectionDescription(Model):
    """Everything that a backup records of a collection but its segments."""

    collection_id: Number
    name: CollectionName
    schema_proto: Blob
    """The server's own `schema.CollectionSchema` message, so that nothing of it is lost."""
    collection_schema: CollectionSchema
    shards: Number
    consistency_level: Number
    """Milvus' number: 0 Strong, 1 Session, 2 Bounded, 3 Eventually, 4 Customized."""
    properties: tuple[KeyValue, ...]
    partitions: tuple[Partition, ...]
    indexes: tuple[IndexDescription, ...]
    aliases: tuple[str, ...]
    load_state: LoadState
    replicas: Number = 0
    """How many replicas are loaded; 0 where the collection is not loaded."""
    resource_groups: tuple[str, ...] = ()
    """The resource group of each replica, sorted."""
    created_timestamp: HybridTimestamp = 0
    database_id: Number = 0
    virtual_channels: tuple[str, ...] = ()
    physical_channels: tuple[str, ...] = ()

    @property
    def has_partition_key(self) -> bool:
        """Return whether rows are spread over the partitions by a key."""
        return any(field.is_partition_key for field in self.collection_schema.fields)


class CollectionLayout(Model):
    """What CreateCollection needs. `schema_proto` wins over `collection_schema` where both are there."""

    collection_schema: CollectionSchema
    schema_proto: Blob | None = None
    shards: Number = Field(ge=1)
    consistency_level: Number
    properties: tuple[KeyValue, ...] = ()
    partitions: tuple[str, ...] = ()

    @property
    def has_partition_key(self) -> bool:
        """Return whether Milvus makes the partitions by itself, from their number."""
        return any(field.is_partition_key for field in self.collection_schema.fields)


class SegmentLevel(StrEnum):
    """A segment's level; `L0` holds deletes only."""

    LEGACY = "legacy"
    L0 = "L0"
    L1 = "L1"
    L2 = "L2"


class Segment(Model):
    """A flushed segment, as GetPersistentSegmentInfo tells it. Deletes are not subtracted from its rows."""

    segment_id: Number
    partition_id: Number
    row_count: Count
    level: SegmentLevel = SegmentLevel.LEGACY
    storage_version: Number = 0
    """0 and 1: one object a field; 2: one a group of columns. Servers before 2.6 tell none."""
    virtual_channel: str = ""
    """Channel that its rows came by; empty where the server does not tell (before 2.5.8)."""
    later_row_count: Count = 0
    """Those of its rows that are newer than the backup's moment, so that no restore brings them back."""


@dataclass(frozen=True, slots=True)
class SegmentLogs:
    """The logs that make up a segment, as the server names them one by one."""

    virtual_channel: str
    insert_logs: frozenset[tuple[int, int]]
    """Field (or column group, in storage version 2) and log."""
    delta_logs: frozenset[int]


@dataclass(frozen=True, slots=True)
class ImportPair:
    """The two prefixes of an import: insert logs, and delta logs (empty where there are none).

    Full keys in Milvus' own bucket; both end in `/`, since Milvus takes them as bare prefixes and would
    import a neighbour whose number begins alike.
    """

    insert_prefix: str
    delta_prefix: str

    def __post_init__(self) -> None:
        """Check the slashes."""
        for prefix in (self.insert_prefix, self.delta_prefix):
            if prefix and not prefix.endswith("/"):
                msg = f"an import prefix must end in '/': {prefix}"
                raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class ImportTask:
    """What one import job is to do."""

    partition: str
    """Empty for deletes that concern all partitions."""
    pairs: tuple[ImportPair, ...]
    storage_version: int = 0
    """Of the insert logs, as the backup's server told it."""
    is_deletes: bool = False
    """Whether the prefixes hold deletes of level 0 only; there is then no insert prefix."""
    end_timestamp: int = 0
    """Hybrid timestamp after which rows and deletes are left out; 0: none are."""


class ImportStatus(StrEnum):
    """Where an import job stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    FORGOTTEN = "forgotten"
    """Milvus no longer has a record of it; it keeps those of ended jobs for some hours."""


@dataclass(frozen=True, slots=True)
class ImportJobState:
    """An import job. `row_count` is the number of rows after deletes were applied."""

    status: ImportStatus
    row_count: int
    percent: int
    reason: str = ""
