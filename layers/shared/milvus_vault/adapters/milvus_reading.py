"""What Milvus says of itself, and of its databases and collections."""

from itertools import zip_longest
from typing import override

from pymilvus.grpc_gen import milvus_pb2

from milvus_vault.adapters.milvus_calls import Message, MilvusCall, MilvusClient
from milvus_vault.adapters.milvus_errors import check, one_line, understood
from milvus_vault.adapters.milvus_indexes import IndexClient
from milvus_vault.adapters.milvus_schema import key_values, schema_from_proto
from milvus_vault.errors import CollectionNotFoundError
from milvus_vault.model.collections import (
    DEFAULT_DATABASE,
    DEFAULT_RESOURCE_GROUP,
    CollectionDescription,
    CollectionName,
    CollectionSchema,
    DatabaseDescription,
    LoadState,
    Partition,
)
from milvus_vault.model.health import ServerHealth
from milvus_vault.model.versions import ServerVersion, parse_version
from milvus_vault.ports import Schemas, Server

_LOADED, _LOADING = 3, 2  # common.LoadState
_IN_MEMORY = 1  # milvus.ShowType


class ServerClient(MilvusClient, Server):
    """What the server says of itself."""

    @override
    def server_version(self) -> ServerVersion:
        answer = self._call("GetVersion", milvus_pb2.GetVersionRequest())
        check(answer.status, "GetVersion", self._call.uri)
        return parse_version(answer.version)

    @override
    def health(self) -> ServerHealth:
        answer = self._call("CheckHealth", milvus_pb2.CheckHealthRequest(), optional=True)
        if answer is None:
            return ServerHealth()
        check(answer.status, "CheckHealth", self._call.uri)
        # Each state has its reason. A reason without one is no limit: it tells why the server is not healthy, such as
        # nodes of the session before it was started again, which each coordinator names.
        known = {number: name for name, number in milvus_pb2.QuotaState.items()}
        names = [known.get(state, f"state {state}") for state in answer.quota_states]
        reasons = [one_line(reason) for reason in answer.reasons]
        limits = zip_longest(names, reasons[: len(names)], fillvalue="")
        return ServerHealth(
            limits=tuple(f"{name}: {reason}" for name, reason in limits),
            ailments=() if answer.isHealthy else tuple(dict.fromkeys(reasons[len(names) :])),
        )


class SchemaClient(MilvusClient, Schemas):
    """The calls that read databases and collections, and change nothing."""

    @override
    def list_databases(self) -> list[str]:
        answer = self._call("ListDatabases", milvus_pb2.ListDatabasesRequest(), optional=True)
        if answer is None:
            return [DEFAULT_DATABASE]
        check(answer.status, "ListDatabases", self._call.uri)
        return sorted(answer.db_names)

    @override
    def describe_database(self, name: str) -> DatabaseDescription:
        answer = self._call("DescribeDatabase", milvus_pb2.DescribeDatabaseRequest(db_name=name), name, optional=True)
        if answer is None:
            return DatabaseDescription(name=name)
        check(answer.status, "DescribeDatabase", f"database {name}")
        return DatabaseDescription(name=name, database_id=answer.dbID, properties=key_values(answer.properties))

    @override
    def list_collections(self, database: str) -> dict[str, int]:
        answer = self._call("ShowCollections", milvus_pb2.ShowCollectionsRequest(db_name=database), database)
        check(answer.status, "ShowCollections", f"database {database}")
        with understood("ShowCollections", f"database {database}"):
            return dict(sorted(zip(answer.collection_names, answer.collection_ids, strict=True)))

    @override
    def collection_id(self, database: str, name: str) -> int | None:
        try:
            return int(describe(self._call, database, name).collectionID)
        except CollectionNotFoundError:
            return None

    @override
    def schema(self, database: str, name: str) -> CollectionSchema:
        return schema_from_proto(describe(self._call, database, name).schema)

    @override
    def describe_collection(self, database: str, name: str) -> CollectionDescription:
        answer = describe(self._call, database, name)
        load_state = self._load_state(database, name)
        groups = self._replica_groups(database, name, answer.collectionID) if load_state is LoadState.LOADED else ()
        loaded = self._loaded_partitions(database, name) if load_state is LoadState.LOADED else frozenset()
        return CollectionDescription(
            collection_id=answer.collectionID,
            name=CollectionName(database=database, name=name),
            schema_proto=answer.schema.SerializeToString(),
            collection_schema=schema_from_proto(answer.schema),
            shards=answer.shards_num,
            consistency_level=answer.consistency_level,
            properties=key_values(answer.properties),
            partitions=tuple(
                Partition(partition_id=number, name=partition, is_loaded=partition in loaded)
                for partition, number in sorted(
                    partitions_of(self._call, database, name).items(), key=lambda pair: pair[1]
                )
            ),
            indexes=IndexClient(self._call).list_indexes(database, name),
            aliases=tuple(sorted(self.list_aliases(database, name))),
            load_state=load_state,
            replicas=len(groups),
            resource_groups=groups,
            created_timestamp=answer.created_timestamp,
            database_id=answer.db_id,
            virtual_channels=tuple(answer.virtual_channel_names),
            physical_channels=tuple(answer.physical_channel_names),
        )

    @override
    def list_aliases(self, database: str, name: str = "") -> frozenset[str]:
        # DescribeCollection answers from a cache that CreateAlias does not refresh on 2.6.
        request = milvus_pb2.ListAliasesRequest(db_name=database, collection_name=name)
        answer = self._call("ListAliases", request, database, optional=True)
        if answer is None:
            names = [name] if name else self.list_collections(database)
            return frozenset(alias for item in names for alias in describe(self._call, database, item).aliases)
        check(answer.status, "ListAliases", f"{database}.{name}" if name else f"database {database}")
        return frozenset(answer.aliases)

    def _loaded_partitions(self, database: str, name: str) -> frozenset[str]:
        request = milvus_pb2.ShowPartitionsRequest(db_name=database, collection_name=name, type=_IN_MEMORY)
        answer = self._call("ShowPartitions", request, database)
        check(answer.status, "ShowPartitions", f"{database}.{name}")
        return frozenset(answer.partition_names)

    def _load_state(self, database: str, name: str) -> LoadState:
        request = milvus_pb2.GetLoadStateRequest(db_name=database, collection_name=name)
        answer = self._call("GetLoadState", request, database)
        check(answer.status, "GetLoadState", f"{database}.{name}")
        return {_LOADED: LoadState.LOADED, _LOADING: LoadState.LOADING}.get(answer.state, LoadState.NOT_LOADED)

    def _replica_groups(self, database: str, name: str, collection_id: int) -> tuple[str, ...]:
        """Return the resource group of each replica, sorted."""
        request = milvus_pb2.GetReplicasRequest(db_name=database, collection_name=name, collectionID=collection_id)
        answer = self._call("GetReplicas", request, database)
        check(answer.status, "GetReplicas", f"{database}.{name}")
        return tuple(sorted(replica.resource_group_name or DEFAULT_RESOURCE_GROUP for replica in answer.replicas))


def describe(call: MilvusCall, database: str, name: str) -> Message:
    """Return what DescribeCollection answers."""
    answer = call(
        "DescribeCollection", milvus_pb2.DescribeCollectionRequest(db_name=database, collection_name=name), database
    )
    check(answer.status, "DescribeCollection", f"{database}.{name}")
    return answer


def partitions_of(call: MilvusCall, database: str, name: str) -> dict[str, int]:
    """Return the IDs of a collection's partitions, by their names."""
    request = milvus_pb2.ShowPartitionsRequest(db_name=database, collection_name=name)
    answer = call("ShowPartitions", request, database)
    check(answer.status, "ShowPartitions", f"{database}.{name}")
    with understood("ShowPartitions", f"{database}.{name}"):
        return dict(zip(answer.partition_names, answer.partitionIDs, strict=True))
