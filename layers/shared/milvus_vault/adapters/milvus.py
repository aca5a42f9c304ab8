"""Milvus through the generated stubs of pymilvus. The only module, with its two siblings, that knows pymilvus.

The stubs and not `MilvusClient`: its helpers leave out fields that a backup needs (flush timestamps, the
schema message, load progress by partition), and its import drops options.
"""

import base64
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import grpc
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc

from milvus_vault.adapters import milvus_errors
from milvus_vault.adapters.milvus_errors import check
from milvus_vault.adapters.milvus_flushes import Flusher
from milvus_vault.adapters.milvus_imports import GrpcImporter
from milvus_vault.adapters.milvus_rbac import rbac_from_proto, rbac_to_proto
from milvus_vault.adapters.milvus_schema import (
    full_name,
    key_values,
    pairs,
    schema_from_proto,
    schema_to_proto,
    shorten_struct_fields,
    take_fields,
)
from milvus_vault.adapters.milvus_segments import SegmentDescriber
from milvus_vault.errors import (
    CollectionNotFoundError,
    IndexFailedError,
    LoadFailedError,
    MilvusRequestError,
    SettingsError,
    VersionUnsupportedError,
)
from milvus_vault.model.collections import (
    DEFAULT_DATABASE,
    CollectionDescription,
    CollectionLayout,
    CollectionName,
    DatabaseDescription,
    IndexDescription,
    KeyValue,
    LoadState,
    Partition,
    Segment,
    SegmentLevel,
    SegmentLogs,
)
from milvus_vault.model.flushes import FlushAllPoint, FlushPoint
from milvus_vault.model.rbac import Rbac
from milvus_vault.model.versions import ServerVersion, parse_version

CONNECT_SECONDS = 5.0
CALL_SECONDS = 60.0

# GetPersistentSegmentInfo can fail with "segment not found" while a compaction swaps segments, for well below 1 s.
SEGMENT_INFO_TRIES = 20
SEGMENT_INFO_PAUSE_SECONDS = 0.3

_FLUSHED = 4  # common.SegmentState
_LEVELS = {0: SegmentLevel.LEGACY, 1: SegmentLevel.L0, 2: SegmentLevel.L1, 3: SegmentLevel.L2}
_LOADED, _LOADING = 3, 2  # common.LoadState
_INDEX_FINISHED, _INDEX_FAILED = 3, 4  # common.IndexState
_IN_MEMORY = 1  # milvus.ShowType

type _Message = Any


@contextmanager
def connect(uri: str, *, username: str = "", password: str = "", rest_uri: str = "") -> Iterator["MilvusDatabase"]:
    """Yield a connection to Milvus at `http://host:port` or `https://host:port`, closed at the end.

    REST is asked at the same address unless `rest_uri` is another.

    Raises `SettingsError` for another form of URI, and `MilvusUnavailableError` where nothing answers.
    """
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = f"MilvusUri '{uri}' is not of the form http://host:port or https://host:port"
        raise SettingsError(msg, hint="Deploy the stack again with a correct MilvusUri.")
    address = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 19530)}"
    # Listings of segments and partitions can be far over gRPC's default of 4 MiB.
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    channel = (
        grpc.secure_channel(address, grpc.ssl_channel_credentials(), options)
        if parts.scheme == "https"
        else grpc.insecure_channel(address, options)
    )
    try:
        try:
            grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
        except grpc.FutureTimeoutError as err:
            raise milvus_errors.unreachable(uri, CONNECT_SECONDS) from err
        yield MilvusDatabase(channel, uri, username=username, password=password, rest_uri=rest_uri)
    finally:
        channel.close()


class MilvusDatabase:
    """Milvus behind the port `VectorDatabase`. Safe to use from several threads."""

    def __init__(self, channel: grpc.Channel, uri: str, *, username: str, password: str, rest_uri: str = "") -> None:
        self._describer = SegmentDescriber(rest_uri or uri, username=username, password=password)
        self._stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        self._uri = uri
        self._flusher = Flusher(self._call, uri)
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._credentials = (("authorization", token),) if username else ()

    # --- server -----------------------------------------------------------------------------------

    def server_version(self) -> ServerVersion:
        """Return the server's version."""
        answer = self._call("GetVersion", milvus_pb2.GetVersionRequest())
        check(answer.status, "GetVersion", self._uri)
        return parse_version(answer.version)

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
            raise VersionUnsupportedError(msg, hint="Set include_rbac to false, or upgrade Milvus.")
        check(answer.status, "BackupRBAC", self._uri)
        return rbac_from_proto(answer.RBAC_meta)

    def create_database(self, name: str, properties: Sequence[KeyValue] = ()) -> None:
        """Create a database; one that exists already is no error, and keeps its properties."""
        if name in self.list_databases():
            return
        request = milvus_pb2.CreateDatabaseRequest(db_name=name, properties=pairs(properties))
        status = self._call("CreateDatabase", request)
        if "already exist" not in status.reason:
            check(status, "CreateDatabase", f"database {name}")

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

    def field_ids(self, database: str, name: str) -> dict[str, int]:
        """Return the field IDs of a collection, by field name; of a struct's fields by `struct[field]`."""
        schema = self._describe(database, name).schema
        numbers = {field.name: field.fieldID for field in schema.fields if not field.is_dynamic}
        for struct in schema.struct_array_fields:
            numbers[struct.name] = struct.fieldID
            # 2.6 tells them by their full names.
            numbers |= {full_name(struct.name, field.name): field.fieldID for field in struct.fields}
        return numbers

    def describe_collection(self, database: str, name: str) -> CollectionDescription:
        """Return everything that a backup records of a collection but its segments."""
        answer = self._describe(database, name)
        load_state = self._load_state(database, name)
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
            aliases=self._aliases(database, name),
            load_state=load_state,
            replicas=self._replicas(database, name, answer.collectionID) if load_state is LoadState.LOADED else 0,
            created_timestamp=answer.created_timestamp,
            database_id=answer.db_id,
            virtual_channels=tuple(answer.virtual_channel_names),
            physical_channels=tuple(answer.physical_channel_names),
        )

    def list_aliases(self, database: str) -> frozenset[str]:
        """Return all aliases of a database's collections."""
        answer = self._call("ListAliases", milvus_pb2.ListAliasesRequest(db_name=database), database, optional=True)
        if answer is None:
            named = [self._describe(database, name).aliases for name in self.list_collections(database)]
            return frozenset(alias for aliases in named for alias in aliases)
        check(answer.status, "ListAliases", f"database {database}")
        return frozenset(answer.aliases)

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

    def describe_segments(
        self, database: str, collection_id: int, segment_ids: Sequence[int]
    ) -> dict[int, SegmentLogs]:
        """Return the logs of segments, by their IDs, as far as the server tells them.

        Servers from 2.5.8 on do, by REST. What is not in the answer must be listed; nothing is raised.
        """
        return self._describer.describe_segments(database, collection_id, segment_ids)

    def flush(self, database: str, name: str, *, timeout_seconds: float) -> FlushPoint:
        """Flush a collection, wait for it, and return up to which point in time all is flushed.

        Raises `FlushTimeoutError`.
        """
        return self._flusher.flush(database, name, timeout_seconds=timeout_seconds)

    def flush_all(self, *, timeout_seconds: float) -> FlushAllPoint | None:
        """Flush all collections of all databases; None from a server that does not say up to where (before 2.6.11).

        Raises `FlushTimeoutError`.
        """
        return self._flusher.flush_all(timeout_seconds=timeout_seconds)

    def may_flush(self, database: str) -> bool:
        """Return whether the user may flush all collections of a database; nothing is flushed."""
        return self._flusher.may_flush(database)

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
        return int(answer.fields_data[0].scalars.long_data.data[0])

    # --- making a collection ----------------------------------------------------------------------

    def create_collection(
        self, database: str, name: str, layout: CollectionLayout, *, added: Sequence[str] = ()
    ) -> int:
        """Create a collection with its partitions, then add the fields named, and return its ID."""
        schema = schema_to_proto(layout.collection_schema)
        if layout.schema_proto is not None:
            schema.Clear()
            schema.ParseFromString(layout.schema_proto)
        schema.name = name
        shorten_struct_fields(schema)
        later = take_fields(schema, added)
        request = milvus_pb2.CreateCollectionRequest(
            db_name=database,
            collection_name=name,
            schema=schema.SerializeToString(),
            shards_num=layout.shards,
            consistency_level=layout.consistency_level,
            properties=pairs(layout.properties),
            num_partitions=len(layout.partitions) if layout.has_partition_key else 0,
        )
        check(self._call("CreateCollection", request, database), "CreateCollection", f"{database}.{name}")
        for field in later:
            adding = milvus_pb2.AddCollectionFieldRequest(
                db_name=database, collection_name=name, schema=field.SerializeToString()
            )
            status = self._call("AddCollectionField", adding, database)
            check(status, "AddCollectionField", f"{database}.{name} field {field.name}")
        self.create_missing_partitions(database, name, layout.partitions)
        return int(self._describe(database, name).collectionID)

    def set_properties(
        self, database: str, name: str, properties: Sequence[KeyValue], *, removed: Sequence[str] = ()
    ) -> None:
        """Set some properties of a collection, and remove others."""
        subject = f"{database}.{name}"
        names = {"db_name": database, "collection_name": name}
        # One or the other: Milvus refuses both at once.
        for part in ({"properties": pairs(properties)}, {"delete_keys": removed}):
            if any(part.values()):
                request = milvus_pb2.AlterCollectionRequest(**names, **part)
                check(self._call("AlterCollection", request, database), "AlterCollection", subject)

    def create_missing_partitions(self, database: str, name: str, partitions: Sequence[str]) -> None:
        """Create those of the partitions that the collection lacks."""
        there = self._partitions(database, name)
        for partition in partitions:
            if partition not in there:
                request = milvus_pb2.CreatePartitionRequest(
                    db_name=database, collection_name=name, partition_name=partition
                )
                status = self._call("CreatePartition", request, database)
                check(status, "CreatePartition", f"{database}.{name} partition {partition}")

    def rename_collection(self, database: str, name: str, new_name: str) -> None:
        """Rename a collection. Raises `CollectionExistsError` where the new name is taken."""
        request = milvus_pb2.RenameCollectionRequest(db_name=database, oldName=name, newName=new_name)
        check(self._call("RenameCollection", request, database), "RenameCollection", f"{database}.{name} to {new_name}")

    def drop_collection(self, database: str, name: str) -> None:
        """Drop a collection and its aliases; one that does not exist is no error."""
        try:
            # From 2.4 on Milvus refuses to drop a collection that has an alias.
            for alias in self._aliases(database, name):
                request = milvus_pb2.DropAliasRequest(db_name=database, alias=alias)
                check(self._call("DropAlias", request, database), "DropAlias", f"{database}.{alias}")
        except CollectionNotFoundError:
            return
        status = self._call(
            "DropCollection", milvus_pb2.DropCollectionRequest(db_name=database, collection_name=name), database
        )
        check(status, "DropCollection", f"{database}.{name}")

    def create_index(self, database: str, name: str, index: IndexDescription) -> None:
        """Create an index (Milvus builds it in the background); an equal one that exists is no error."""
        request = milvus_pb2.CreateIndexRequest(
            db_name=database,
            collection_name=name,
            field_name=index.field_name,
            index_name=index.name,
            extra_params=pairs(index.params),
        )
        check(
            self._call("CreateIndex", request, database), "CreateIndex", f"{database}.{name} field {index.field_name}"
        )

    def are_indexes_built(self, database: str, name: str) -> bool:
        """Return whether Milvus has built all indexes of a collection. Raises `IndexFailedError` where it gave up."""
        indexes = self._describe_indexes(database, name)
        for index in indexes:
            if index.state == _INDEX_FAILED:
                reason = index.index_state_fail_reason or "no reason given"
                msg = f"Milvus cannot build index {index.index_name} of {database}.{name}: {reason}"
                raise IndexFailedError(msg, hint="Restore with restore_index=false, and build the index by hand.")
        # The state alone is "finished" as well while no segment has been looked at: count the rows.
        return all(index.state == _INDEX_FINISHED and index.indexed_rows >= index.total_rows for index in indexes)

    def request_load(
        self,
        database: str,
        name: str,
        *,
        replicas: int,
        partitions: Sequence[str] = (),
        resource_groups: Sequence[str] = (),
    ) -> None:
        """Ask Milvus to load a collection, or only some partitions of it; do not wait.

        Raises `LoadFailedError`.
        """
        common = {
            "db_name": database,
            "collection_name": name,
            "replica_number": replicas,
            "resource_groups": resource_groups,
        }
        call, request = (
            ("LoadPartitions", milvus_pb2.LoadPartitionsRequest(**common, partition_names=partitions))
            if partitions
            else ("LoadCollection", milvus_pb2.LoadCollectionRequest(**common))
        )
        try:
            check(self._call(call, request, database), call, f"{database}.{name}")
        except MilvusRequestError as err:
            msg = f"{database}.{name} cannot be loaded with {replicas} replica(s): {err.message}"
            raise LoadFailedError(
                msg, hint="Its rows are restored. Add query nodes, or restore with load=false and load it yourself."
            ) from err

    def load_percent(self, database: str, name: str, partitions: Sequence[str] = ()) -> int:
        """Return how much of a collection is loaded: 0 to 100, where 0 also means not loaded at all."""
        request = milvus_pb2.GetLoadingProgressRequest(
            db_name=database, collection_name=name, partition_names=partitions
        )
        answer = self._call("GetLoadingProgress", request, database)
        if answer.status.code in milvus_errors.NOT_LOADED:
            return 0
        check(answer.status, "GetLoadingProgress", f"{database}.{name}")
        return int(answer.progress)

    def create_alias(self, database: str, name: str, alias: str) -> None:
        """Give a collection an alias; the same alias on the same collection is no error.

        Raises `CollectionExistsError` where another collection has the alias or the name.
        """
        names = {"db_name": database, "collection_name": name, "alias": alias}
        subject = f"{database}.{name} as {alias}"
        status = self._call("CreateAlias", milvus_pb2.CreateAliasRequest(**names), database)
        if status.code == milvus_errors.ALIAS_TAKEN and alias not in self.list_aliases(database):
            # Up to 2.3 an alias outlives its collection: nothing lists it, but it still has its name.
            status = self._call("AlterAlias", milvus_pb2.AlterAliasRequest(**names), database)
        check(status, "CreateAlias", subject)

    # --- users ------------------------------------------------------------------------------------

    def restore_rbac(self, rbac: Rbac) -> None:
        """Add users, roles, grants and privilege groups. Fails as a whole where one is there already."""
        request = milvus_pb2.RestoreRBACMetaRequest(RBAC_meta=rbac_to_proto(rbac))
        check(self._call("RestoreRBAC", request), "RestoreRBAC", self._uri)

    # --- import -----------------------------------------------------------------------------------

    def importer(self) -> GrpcImporter:
        """Return the import by this connection."""
        return GrpcImporter(self._call, self.server_version())

    # --- internals --------------------------------------------------------------------------------

    def _call(self, name: str, request: _Message, database: str = "", *, optional: bool = False) -> _Message:
        """Call one RPC. With `optional`, a server that does not know it gives None."""
        # Before 2.2.9 and in some later calls only the header tells the database, in others only the field.
        metadata = (*self._credentials, ("dbname", database)) if database else self._credentials
        try:
            return getattr(self._stub, name)(request, timeout=CALL_SECONDS, metadata=metadata)
        except grpc.RpcError as err:
            if optional and isinstance(err, grpc.Call) and err.code() is grpc.StatusCode.UNIMPLEMENTED:
                return None
            raise milvus_errors.from_rpc(err, name, self._uri) from err

    def _describe(self, database: str, name: str) -> _Message:
        answer = self._call(
            "DescribeCollection", milvus_pb2.DescribeCollectionRequest(db_name=database, collection_name=name), database
        )
        check(answer.status, "DescribeCollection", f"{database}.{name}")
        return answer

    def _describe_indexes(self, database: str, name: str) -> Sequence[_Message]:
        request = milvus_pb2.DescribeIndexRequest(db_name=database, collection_name=name)
        answer = self._call("DescribeIndex", request, database)
        if answer.status.code == milvus_errors.INDEX_NOT_FOUND or "index not found" in answer.status.reason:
            return ()
        check(answer.status, "DescribeIndex", f"{database}.{name}")
        indexes: Sequence[_Message] = answer.index_descriptions
        return indexes

    def _partitions(self, database: str, name: str) -> dict[str, int]:
        request = milvus_pb2.ShowPartitionsRequest(db_name=database, collection_name=name)
        answer = self._call("ShowPartitions", request, database)
        check(answer.status, "ShowPartitions", f"{database}.{name}")
        return dict(zip(answer.partition_names, answer.partitionIDs, strict=True))

    def _loaded_partitions(self, database: str, name: str) -> frozenset[str]:
        request = milvus_pb2.ShowPartitionsRequest(db_name=database, collection_name=name, type=_IN_MEMORY)
        answer = self._call("ShowPartitions", request, database)
        check(answer.status, "ShowPartitions", f"{database}.{name}")
        return frozenset(answer.partition_names)

    def _aliases(self, database: str, name: str) -> tuple[str, ...]:
        """Ask ListAliases: DescribeCollection answers from a cache that CreateAlias does not refresh on 2.6."""
        request = milvus_pb2.ListAliasesRequest(db_name=database, collection_name=name)
        answer = self._call("ListAliases", request, database, optional=True)
        if answer is None:
            return tuple(sorted(self._describe(database, name).aliases))
        check(answer.status, "ListAliases", f"{database}.{name}")
        return tuple(sorted(answer.aliases))

    def _load_state(self, database: str, name: str) -> LoadState:
        request = milvus_pb2.GetLoadStateRequest(db_name=database, collection_name=name)
        answer = self._call("GetLoadState", request, database)
        check(answer.status, "GetLoadState", f"{database}.{name}")
        return {_LOADED: LoadState.LOADED, _LOADING: LoadState.LOADING}.get(answer.state, LoadState.NOT_LOADED)

    def _replicas(self, database: str, name: str, collection_id: int) -> int:
        request = milvus_pb2.GetReplicasRequest(db_name=database, collection_name=name, collectionID=collection_id)
        answer = self._call("GetReplicas", request, database)
        check(answer.status, "GetReplicas", f"{database}.{name}")
        return len(answer.replicas)
