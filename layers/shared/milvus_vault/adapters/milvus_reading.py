"""What a backup reads of Milvus, and a restore compares with."""

import time
from collections.abc import Sequence
from itertools import zip_longest

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from milvus_vault.adapters import milvus_errors
from milvus_vault.adapters.milvus_calls import Message, MilvusCalls
from milvus_vault.adapters.milvus_errors import check, one_line, understood
from milvus_vault.adapters.milvus_rbac import rbac_from_proto
from milvus_vault.adapters.milvus_schema import key_values, schema_from_proto
from milvus_vault.errors import CollectionNotFoundError, VersionUnsupportedError
from milvus_vault.model.collections import (
    DEFAULT_DATABASE,
    DEFAULT_RESOURCE_GROUP,
    CollectionDescription,
    CollectionName,
    CollectionSchema,
    DatabaseDescription,
    IndexDescription,
    LoadState,
    Partition,
    Segment,
    SegmentLevel,
)
from milvus_vault.model.health import ServerHealth
from milvus_vault.model.rbac import Rbac
from milvus_vault.model.versions import ServerVersion, parse_version

# GetPersistentSegmentInfo can fail with "segment not found" while a compaction swaps segments, for well below 1 s.
SEGMENT_INFO_TRIES = 20
SEGMENT_INFO_PAUSE_SECONDS = 0.3

_FLUSHED = 4  # common.SegmentState
_LEVELS = {0: SegmentLevel.LEGACY, 1: SegmentLevel.L0, 2: SegmentLevel.L1, 3: SegmentLevel.L2}
_LOADED, _LOADING = 3, 2  # common.LoadState
_IN_MEMORY = 1  # milvus.ShowType


class MilvusReader(MilvusCalls):
    """The calls that change nothing."""

    # --- server -----------------------------------------------------------------------------------

    def server_version(self) -> ServerVersion:
        """Return the server's version."""
        answer = self._call("GetVersion", milvus_pb2.GetVersionRequest())
        check(answer.status, "GetVersion", self._uri)
        return parse_version(answer.version)

    def health(self) -> ServerHealth:
        """Return what the server says of itself."""
        answer = self._call("CheckHealth", milvus_pb2.CheckHealthRequest(), optional=True)
        if answer is None:
            return ServerHealth()
        check(answer.status, "CheckHealth", self._uri)
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

    def current_timestamp(self) -> int | None:
        """Return a hybrid timestamp that is newer than all that the server has acknowledged; None before 2.3."""
        answer = self._call("AllocTimestamp", milvus_pb2.AllocTimestampRequest(), optional=True)
        if answer is None:
            return None
        check(answer.status, "AllocTimestamp", self._uri)
        return int(answer.timestamp)

    def list_databases(self) -> list[str]:
        """Return all database names; `["default"]` from a server that has no databases (before 2.2.9)."""
        answer = self._call("ListDatabases", milvus_pb2.ListDatabasesRequest(), optional=True)
        if answer is None:
            return [DEFAULT_DATABASE]
        check(answer.status, "ListDatabases", self._uri)
        return sorted(answer.db_names)

    def describe_database(self, name: str) -> DatabaseDescription:
        """Return a database; its name alone from a server that tells no more (before 2.4.3)."""
        answer = self._call("DescribeDatabase", milvus_pb2.DescribeDatabaseRequest(db_name=name), name, optional=True)
        if answer is None:
            return DatabaseDescription(name=name)
        check(answer.status, "DescribeDatabase", f"database {name}")
        return DatabaseDescription(name=name, database_id=answer.dbID, properties=key_values(answer.properties))

    def backup_rbac(self) -> Rbac:
        """Return users, roles, grants and privilege groups of the server, but for those that every server has.

        Raises `VersionUnsupportedError` where the server does not tell them (before 2.4.10).
        """
        answer = self._call("BackupRBAC", milvus_pb2.BackupRBACMetaRequest(), optional=True)
        if answer is None:
            msg = f"Milvus {self.server_version()} does not tell its users and roles; 2.4.10 and newer do"
            raise VersionUnsupportedError(
                msg,
                hint="Leave out `include_rbac` (of a backup) or `rbac` (of a restore), or upgrade Milvus.",
            )
        check(answer.status, "BackupRBAC", self._uri)
        return rbac_from_proto(answer.RBAC_meta)

    # --- reading a collection ---------------------------------------------------------------------

    def list_collections(self, database: str) -> list[str]:
        """Return the names of a database's collections, sorted."""
        answer = self._call("ShowCollections", milvus_pb2.ShowCollectionsRequest(db_name=database), database)
        check(answer.status, "ShowCollections", f"database {database}")
        return sorted(answer.collection_names)

    def collection_id(self, database: str, name: str) -> int | None:
        """Return the ID of a collection, or None where there is none of this name or alias."""
        try:
            return int(self._describe(database, name).collectionID)
        except CollectionNotFoundError:
            return None

    def schema(self, database: str, name: str) -> CollectionSchema:
        """Return the schema of a collection."""
        return schema_from_proto(self._describe(database, name).schema)

    def describe_collection(self, database: str, name: str) -> CollectionDescription:
        """Return everything that a backup records of a collection but its segments."""
        answer = self._describe(database, name)
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
                for partition, number in sorted(self._partitions(database, name).items(), key=lambda pair: pair[1])
            ),
            indexes=self.list_indexes(database, name),
            aliases=tuple(sorted(self.list_aliases(database, name))),
            load_state=load_state,
            replicas=len(groups),
            resource_groups=groups,
            created_timestamp=answer.created_timestamp,
            database_id=answer.db_id,
            virtual_channels=tuple(answer.virtual_channel_names),
            physical_channels=tuple(answer.physical_channel_names),
        )

    def list_aliases(self, database: str, name: str = "") -> frozenset[str]:
        """Return all aliases of a database's collections, or those of one.

        Asks ListAliases: DescribeCollection answers from a cache that CreateAlias does not refresh on 2.6.
        """
        request = milvus_pb2.ListAliasesRequest(db_name=database, collection_name=name)
        answer = self._call("ListAliases", request, database, optional=True)
        if answer is None:
            names = [name] if name else self.list_collections(database)
            return frozenset(alias for item in names for alias in self._describe(database, item).aliases)
        check(answer.status, "ListAliases", f"{database}.{name}" if name else f"database {database}")
        return frozenset(answer.aliases)

    def count_query_nodes(self, resource_group: str) -> int:
        """Return how many query nodes a resource group has; 0 where there is no such group."""
        request = milvus_pb2.DescribeResourceGroupRequest(resource_group=resource_group)
        answer = self._call("DescribeResourceGroup", request)
        if milvus_errors.is_no_resource_group(answer.status):
            return 0
        check(answer.status, "DescribeResourceGroup", f"resource group {resource_group}")
        return int(answer.resource_group.num_available_node)

    def list_indexes(self, database: str, name: str) -> tuple[IndexDescription, ...]:
        """Return the indexes of a collection."""
        return tuple(
            IndexDescription(
                index_id=index.indexID,
                name=index.index_name,
                field_name=index.field_name,
                params=key_values(index.params),
            )
            for index in self._describe_indexes(database, name)
        )

    def list_segments(self, database: str, name: str) -> list[Segment]:
        """Return the flushed segments of a collection, from one answer of the server."""
        request = milvus_pb2.GetPersistentSegmentInfoRequest(dbName=database, collectionName=name)
        subject = f"{database}.{name}"
        for last in [False] * (SEGMENT_INFO_TRIES - 1) + [True]:
            answer = self._call("GetPersistentSegmentInfo", request, database)
            if last or "segment" not in answer.status.reason or "not found" not in answer.status.reason:
                break
            time.sleep(SEGMENT_INFO_PAUSE_SECONDS)
        check(answer.status, "GetPersistentSegmentInfo", subject)
        with understood("GetPersistentSegmentInfo", subject):
            return [
                Segment(
                    segment_id=info.segmentID,
                    partition_id=info.partitionID,
                    row_count=info.num_rows,
                    level=_LEVELS[info.level],
                    storage_version=info.storage_version,
                )
                for info in answer.infos
                if info.state == _FLUSHED
            ]

    def count_rows(self, database: str, name: str, partitions: Sequence[str] = ()) -> int:
        """Return the number of live rows (`count(*)`, strong consistency) of a loaded collection."""
        request = milvus_pb2.QueryRequest(
            db_name=database,
            collection_name=name,
            output_fields=["count(*)"],
            partition_names=partitions,
            consistency_level=common_pb2.ConsistencyLevel.Value("Strong"),
        )
        answer = self._call("Query", request, database)
        check(answer.status, "Query", f"{database}.{name}")
        with understood("Query", f"{database}.{name}"):
            return int(answer.fields_data[0].scalars.long_data.data[0])

    # --- internals --------------------------------------------------------------------------------

    def _describe(self, database: str, name: str) -> Message:
        answer = self._call(
            "DescribeCollection", milvus_pb2.DescribeCollectionRequest(db_name=database, collection_name=name), database
        )
        check(answer.status, "DescribeCollection", f"{database}.{name}")
        return answer

    def _describe_indexes(self, database: str, name: str) -> Sequence[Message]:
        request = milvus_pb2.DescribeIndexRequest(db_name=database, collection_name=name)
        answer = self._call("DescribeIndex", request, database)
        if answer.status.code == milvus_errors.INDEX_NOT_FOUND or "index not found" in answer.status.reason:
            return ()
        check(answer.status, "DescribeIndex", f"{database}.{name}")
        indexes: Sequence[Message] = answer.index_descriptions
        return indexes

    def _partitions(self, database: str, name: str) -> dict[str, int]:
        request = milvus_pb2.ShowPartitionsRequest(db_name=database, collection_name=name)
        answer = self._call("ShowPartitions", request, database)
        check(answer.status, "ShowPartitions", f"{database}.{name}")
        with understood("ShowPartitions", f"{database}.{name}"):
            return dict(zip(answer.partition_names, answer.partitionIDs, strict=True))

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
