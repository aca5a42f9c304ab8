"""Small collections for the tests on a real Milvus, and everything that can be seen of one."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import grpc
import numpy as np
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

DIMENSIONS = 8
BITS = 32

# Milvus leaves a smaller segment without an index, whatever was asked for.
INDEXED_ROWS = 1100

# Collections that are made or looked at at a time: nearly all of it is waiting for Milvus.
_AT_A_TIME = 16

_LOAD_SECONDS = 60

_LOADED = 3  # common.LoadState
_IN_MEMORY = 1  # milvus.ShowType


@dataclass(frozen=True, slots=True)
class Sample:
    """A collection to make. All have a key, `label`, `number` and `vector`; by default 20 rows, indexed and loaded."""

    name: str
    index: str = "FLAT"
    """Empty: no index, which also means not loaded."""
    metric: str = "L2"
    params: Mapping[str, object] = field(default_factory=dict)
    is_binary: bool = False
    has_text_key: bool = False
    auto_id: bool = False
    has_partition_key: bool = False
    is_dynamic: bool = False
    scalar_indexes: Mapping[str, str] = field(default_factory=dict)
    """Type of index by field."""
    partitions: Sequence[str] = ()
    shards: int = 1
    consistency: str = "Strong"
    description: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    aliases: Sequence[str] = ()
    rows: int = 20
    """In each partition."""
    growing_rows: int = 0
    """Inserted after the flush, in the first partition."""
    deleted: Sequence[int] = ()
    """Keys to delete after the flush."""
    is_flushed: bool = True
    is_loaded: bool = True
    loaded_partitions: Sequence[str] = ()
    """Only these are loaded, instead of the collection."""
    seed: int = 1

    @property
    def key(self) -> str:
        """Return the name of the primary key."""
        return "text_key" if self.has_text_key else "key"


@dataclass(frozen=True, slots=True)
class Look:
    """What a server tells of a collection, but for its name, its times and the numbers that are new in each copy."""

    schema: str
    shards: int
    consistency_level: int
    properties: dict[str, str]
    partitions: list[str]
    partition_count: int
    indexes: dict[str, tuple[str, dict[str, str]]]
    """Field and parameters, by the index' name."""
    is_loaded: bool
    loaded_partitions: list[str]
    replicas: int


@contextmanager
def client_of(uri: str, database: str = "default", **credentials: str) -> Iterator[Any]:
    """Yield a client of one database, closed at the end."""
    client = MilvusClient(uri=uri, db_name=database, **credentials)
    try:
        yield client
    finally:
        client.close()


def make(uri: str, database: str, samples: Iterable[Sample], **credentials: str) -> None:
    """Make collections, and the database if it is not there."""
    with client_of(uri, **credentials) as client:
        if database not in client.list_databases():
            client.create_database(database)
    with client_of(uri, database, **credentials) as client, ThreadPoolExecutor(_AT_A_TIME) as pool:
        list(pool.map(lambda sample: _make(client, sample), samples))


def drop_databases(uri: str, *databases: str, **credentials: str) -> None:
    """Drop databases with all that is in them; those that are not there are no error."""
    with client_of(uri, **credentials) as client:
        there = set(client.list_databases()) & set(databases)
    for database in there:
        with client_of(uri, database, **credentials) as client:
            for name in client.list_collections():
                drop(client, name)
        with client_of(uri, **credentials) as client:
            client.drop_database(database)


def drop(client: Any, name: str) -> None:
    """Drop a collection and its aliases, which Milvus 2.3 would keep."""
    for alias in client.describe_collection(name)["aliases"]:
        client.drop_alias(alias)
    client.drop_collection(name)


def rows_of(uri: str, database: str, name: str, key: str = "key", **credentials: str) -> dict[object, str]:
    """Return all rows by key, each as JSON; a collection that is not loaded as a whole is loaded for it."""
    with client_of(uri, database, **credentials) as client:
        if not client.list_indexes(name):
            _index(client, name, {"vector": ("FLAT", "L2", {})})
        states = [client.get_load_state(name, partition)["state"] for partition in client.list_partitions(name)]
        if {str(state) for state in states} != {"Loaded"}:
            client.release_collection(name)
            client.load_collection(name, timeout=_LOAD_SECONDS)
        everything = f'{key} >= ""' if key == "text_key" else f"{key} >= 0"
        rows = client.query(name, everything, output_fields=["*"], consistency_level="Strong")
        return {row[key]: json.dumps(row, default=_text, sort_keys=True) for row in rows}


def all_rows(uri: str, database: str, samples: Iterable[Sample], suffix: str = "") -> dict[str, dict[object, str]]:
    """Return the rows of many collections, see `rows_of`, by the sample's name."""
    samples = list(samples)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        rows = pool.map(lambda sample: rows_of(uri, database, sample.name + suffix, sample.key), samples)
        return {sample.name: found for sample, found in zip(samples, rows, strict=True)}


def collections_of(uri: str) -> set[str]:
    """Return the full names of all collections of a server."""
    with client_of(uri) as client:
        databases = client.list_databases()
    found = set()
    for database in databases:
        with client_of(uri, database) as client:
            found |= {f"{database}.{name}" for name in client.list_collections()}
    return found


def import_jobs(uri: str) -> set[int]:
    """Return the IDs of all import jobs that a server has ever been given."""
    with grpc.insecure_channel(urlsplit(uri).netloc) as channel:
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        answer = stub.ListImportTasks(milvus_pb2.ListImportTasksRequest(limit=10**5), timeout=30)
        return {task.id for task in answer.tasks}


def look_at(uri: str, database: str, name: str, user: str = "", password: str = "") -> Look:
    """Return what the server tells of a collection, from its own messages."""
    with grpc.insecure_channel(urlsplit(uri).netloc) as channel:
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        metadata = (("dbname", database), ("authorization", token))
        names = {"db_name": database, "collection_name": name}

        def call(method: str, message: str, **more: object) -> Any:
            request = getattr(milvus_pb2, message)(**names, **more)
            return getattr(stub, method)(request, metadata=metadata, timeout=30)

        described = call("DescribeCollection", "DescribeCollectionRequest")
        described.schema.name = ""
        partitions = call("ShowPartitions", "ShowPartitionsRequest")
        indexes = call("DescribeIndex", "DescribeIndexRequest")
        is_loaded = call("GetLoadState", "GetLoadStateRequest").state == _LOADED
        return Look(
            schema=str(described.schema),
            shards=described.shards_num,
            consistency_level=described.consistency_level,
            properties=_pairs(described.properties),
            partitions=sorted(partitions.partition_names),
            partition_count=described.num_partitions,
            indexes={i.index_name: (i.field_name, _pairs(i.params)) for i in indexes.index_descriptions},
            is_loaded=is_loaded,
            loaded_partitions=sorted(
                call("ShowPartitions", "ShowPartitionsRequest", type=_IN_MEMORY).partition_names if is_loaded else ()
            ),
            replicas=len(call("GetReplicas", "GetReplicasRequest", collectionID=described.collectionID).replicas)
            if is_loaded
            else 0,
        )


def _pairs(pairs: Iterable[Any]) -> dict[str, str]:
    return {pair.key: pair.value for pair in pairs}


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _make(client: Any, sample: Sample) -> None:
    schema = client.create_schema(
        auto_id=sample.auto_id, enable_dynamic_field=sample.is_dynamic, description=sample.description
    )
    if sample.has_text_key:
        schema.add_field(sample.key, DataType.VARCHAR, is_primary=True, max_length=32)
    else:
        schema.add_field(sample.key, DataType.INT64, is_primary=True)
    schema.add_field("label", DataType.VARCHAR, max_length=32, is_partition_key=sample.has_partition_key)
    schema.add_field("number", DataType.INT32, description="counts up")
    if sample.is_binary:
        schema.add_field("vector", DataType.BINARY_VECTOR, dim=BITS)
    else:
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSIONS)
    more = {"num_partitions": 2} if sample.has_partition_key else {}
    client.create_collection(
        sample.name, schema=schema, num_shards=sample.shards, consistency_level=sample.consistency, **more
    )
    for partition in sample.partitions:
        client.create_partition(sample.name, partition)
    if sample.properties:
        client.alter_collection_properties(sample.name, dict(sample.properties))
    for alias in sample.aliases:
        client.create_alias(sample.name, alias)
    # Ahead of the rows: for segments that are there already Milvus may take a minute to find that they lack an index.
    indexes: dict[str, tuple[str, str, Mapping[str, object]]] = {
        name: (kind, "", {}) for name, kind in sample.scalar_indexes.items()
    }
    if sample.index:
        indexes["vector"] = (sample.index, sample.metric, dict(sample.params))
    _index(client, sample.name, indexes)
    _fill(client, sample)
    if sample.loaded_partitions:
        client.load_partitions(sample.name, list(sample.loaded_partitions), timeout=_LOAD_SECONDS)
    elif sample.index and sample.is_loaded:
        client.load_collection(sample.name, timeout=_LOAD_SECONDS)


def _fill(client: Any, sample: Sample) -> None:
    rng = np.random.default_rng(sample.seed)
    partitions = ["_default", *sample.partitions]
    numbers = iter(range(10**6))

    def insert(count: int, partition: str) -> None:
        rows = [_row(sample, next(numbers), rng) for _ in range(count)]
        if rows:
            client.insert(sample.name, rows, partition_name="" if sample.has_partition_key else partition)

    for partition in partitions:
        insert(sample.rows, partition)
    if sample.is_flushed and sample.rows:
        client.flush(sample.name)
    insert(sample.growing_rows, partitions[0])
    if sample.deleted:
        client.delete(sample.name, ids=list(sample.deleted))


def _row(sample: Sample, number: int, rng: np.random.Generator) -> dict[str, object]:
    row: dict[str, object] = {"label": f"{sample.name} {number % 7}", "number": number}
    row["vector"] = rng.bytes(BITS // 8) if sample.is_binary else rng.random(DIMENSIONS, dtype=np.float32).tolist()
    if not sample.auto_id:
        row[sample.key] = f"row {number:05}" if sample.has_text_key else number
    if sample.is_dynamic:
        row |= {"colour": ("red", "green")[number % 2], "tags": [number, str(number)]}
    return row


def _index(client: Any, name: str, indexes: Mapping[str, tuple[str, str, Mapping[str, object]]]) -> None:
    for field_name, (kind, metric, params) in indexes.items():
        asked = client.prepare_index_params()
        more = {"metric_type": metric, "params": dict(params)} if metric else {}
        asked.add_index(field_name, index_type=kind, index_name=f"by_{field_name}", **more)
        client.create_index(name, asked)
