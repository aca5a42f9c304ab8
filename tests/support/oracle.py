"""What a Milvus holds, read through its clients, in the form of `tests/data/golden/oracle_2_3.json`.

By `<database>.<collection>`: all that a restore must bring back. Rows are read with a query, so that a collection
that is not loaded is loaded for a moment, and is as it was afterwards.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from pymilvus import MilvusClient
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from milvus_vault.rows import Rows

# What a snapshot has of a collection.
MADE_OF = ("schema", "shards", "consistency", "properties", "partitions", "num_partitions", "indexes")
STATE = ("aliases", "loaded", "loaded_partitions", "replicas")
ROWS = ("count", "count_by_partition", "rows")

_INDEX_NAME = "of_the_oracle"
_FIRST_VECTOR_TYPE = 100
_IN_MEMORY = 1  # milvus.ShowType
_QUERY_LIMIT = 16_384  # of the server

type Collection = dict[str, Any]
type Snapshot = dict[str, Collection]


def snapshot(uri: str) -> Snapshot:
    """Return all collections of all databases."""
    with _connect(uri) as (client, stub), ThreadPoolExecutor() as pool:
        # All at once, since loading is waiting.
        readers = {
            f"{database}.{name}": pool.submit(_Reader(inside, stub, database, name).read)
            for database in client.list_databases()
            for inside in [MilvusClient(uri, db_name=database)]
            for name in inside.list_collections()
        }
        return {name: reader.result() for name, reader in sorted(readers.items())}


def drop_everything(uri: str, *, aliases: bool = True) -> None:
    """Drop all collections, and all databases but the one that cannot be; without `aliases`, leave those dangling."""
    with _connect(uri) as (client, _):
        for database in client.list_databases():
            inside = MilvusClient(uri, db_name=database)
            for name in inside.list_collections():
                for alias in inside.describe_collection(name)["aliases"] if aliases else ():
                    inside.drop_alias(alias)
                inside.drop_collection(name)
            if database != "default":
                client.drop_database(database)


def renamed(collection: Collection, name: str) -> Collection:
    """Return a collection under another name, which its schema repeats."""
    return collection | {"schema": collection["schema"] | {"name": name.partition(".")[2]}}


def as_queried(rows: Rows, key: str) -> list[dict[str, Any]]:
    """Return rows of a backup as a collection's are in `rows`, where they were queried.

    JSON is what it says, what the dynamic field holds is beside the other fields, and binary vectors are bytes.
    """
    kinds = {field.name: field.metadata[b"milvus_type"].decode() for field in rows.schema}
    found = []
    for row in (row for batch in rows.batches for row in batch.to_pylist()):
        meant: dict[str, Any] = {}
        for name, value in row.items():
            if kinds[name] == "JSON":
                inside = json.loads(value) if value is not None else None
                meant |= (inside or {}) if name == "$meta" else {name: inside}
            else:
                meant[name] = [{"hex": bytes(value).hex()}] if kinds[name] == "BINARY_VECTOR" else value
        found.append(meant)
    return sorted(found, key=lambda row: str(row[key]))


@contextmanager
def _connect(uri: str) -> Iterator[tuple[MilvusClient, Any]]:
    with grpc.insecure_channel(uri.removeprefix("http://")) as channel:
        yield MilvusClient(uri), milvus_pb2_grpc.MilvusServiceStub(channel)


class _Reader:
    """Reads one collection: what it is made of by the server's own messages, its rows by the client."""

    def __init__(self, client: MilvusClient, stub: Any, database: str, name: str) -> None:
        self.client, self.stub = client, stub
        self.names = {"db_name": database, "collection_name": name}
        self.name = name

    def read(self) -> Collection:
        described = self.stub.DescribeCollection(milvus_pb2.DescribeCollectionRequest(**self.names))
        partitions = sorted(self.client.list_partitions(self.name))
        loaded = self._loaded_partitions()
        found = {
            "schema": MessageToDict(described.schema, preserving_proto_field_name=True),
            "shards": described.shards_num,
            "consistency": described.consistency_level,
            "properties": {item.key: item.value for item in described.properties},
            "aliases": sorted(described.aliases),
            "partitions": partitions,
            "num_partitions": len(partitions),
            "indexes": self._indexes(),
            "loaded": bool(loaded),
            "loaded_partitions": loaded,
            "replicas": self._replicas() if loaded else 0,
        }
        with self._readable(described.schema, partitions, loaded):
            rows = [_plain(dict(row)) for row in self._query("*", limit=_QUERY_LIMIT)]
            found["count"] = self._count()
            has_key = any(field.is_partition_key for field in described.schema.fields)
            # Milvus refuses to look into single partitions where a key spreads the rows.
            found["count_by_partition"] = None if has_key else {name: self._count(name) for name in partitions}
        key = next(field.name for field in described.schema.fields if field.is_primary_key)
        found["rows"] = sorted(rows, key=lambda row: str(row[key]))
        return found

    def _indexes(self) -> dict[str, dict[str, str]]:
        answer = self.stub.DescribeIndex(milvus_pb2.DescribeIndexRequest(**self.names))
        return {
            index.index_name: {item.key: item.value for item in index.params}
            | {"index_name": index.index_name, "field_name": index.field_name}
            for index in answer.index_descriptions
        }

    def _loaded_partitions(self) -> list[str]:
        state = self.client.get_load_state(self.name)["state"]
        if state.name != "Loaded":
            return []
        answer = self.stub.ShowPartitions(milvus_pb2.ShowPartitionsRequest(**self.names, type=_IN_MEMORY))
        return sorted(answer.partition_names)

    def _replicas(self) -> int:
        return len(self.stub.GetReplicas(milvus_pb2.GetReplicasRequest(**self.names)).replicas)

    @contextmanager
    def _readable(self, schema: Any, partitions: list[str], loaded: list[str]) -> Iterator[None]:
        """Load what is not loaded, and release it afterwards. What has no index gets one for that time."""
        if loaded == partitions:
            yield
            return
        is_indexed = bool(self._indexes())
        if not is_indexed:
            vector = next(field.name for field in schema.fields if field.data_type >= _FIRST_VECTOR_TYPE)
            index = self.client.prepare_index_params()
            index.add_index(vector, index_type="FLAT", metric_type="L2", index_name=_INDEX_NAME)
            self.client.create_index(self.name, index)
        # As a whole: of a partition that is added to loaded ones, rows are seen only seconds later.
        if loaded:
            self.client.release_collection(self.name)
        self.client.load_collection(self.name)
        yield
        self.client.release_collection(self.name)
        if loaded:
            self.client.load_partitions(self.name, loaded)
        if not is_indexed:
            self.client.drop_index(self.name, _INDEX_NAME)

    def _query(self, field: str, **options: Any) -> list[Any]:
        return list(self.client.query(self.name, "", output_fields=[field], consistency_level="Strong", **options))

    def _count(self, partition: str | None = None) -> int:
        rows = self._query("count(*)", partition_names=[partition] if partition else None)
        return int(rows[0]["count(*)"])


def _plain(value: Any) -> Any:
    """Return a value as it comes out of JSON; bytes as an object with their digits."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, str | bool | int | float) or value is None:
        return value
    return [_plain(item) for item in value]
