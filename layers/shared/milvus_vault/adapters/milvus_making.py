"""What a restore makes in Milvus."""

from collections.abc import Mapping, Sequence

from pymilvus.grpc_gen import milvus_pb2

from milvus_vault.adapters import milvus_errors
from milvus_vault.adapters.milvus_errors import check, one_line
from milvus_vault.adapters.milvus_rbac import ALL_PRIVILEGES, grant_to_proto, rbac_to_proto
from milvus_vault.adapters.milvus_reading import MilvusReader
from milvus_vault.adapters.milvus_schema import (
    layout_to_proto,
    pairs,
    row_to_proto,
    shorten_struct_fields,
    take_fields,
)
from milvus_vault.errors import CollectionNotFoundError, IndexFailedError, LoadFailedError, MilvusRequestError
from milvus_vault.model.collections import CollectionLayout, IndexDescription, KeyValue
from milvus_vault.model.rbac import Rbac

_INDEX_FINISHED, _INDEX_FAILED = 3, 4  # common.IndexState


class MilvusMaker(MilvusReader):
    """The calls that make, change and drop; they read as well, to be safe to repeat."""

    def create_database(self, name: str, properties: Sequence[KeyValue] = ()) -> None:
        """Create a database; one that exists already is no error, and keeps its properties."""
        if name in self.list_databases():
            return
        request = milvus_pb2.CreateDatabaseRequest(db_name=name, properties=pairs(properties))
        status = self._call("CreateDatabase", request)
        if "already exist" not in status.reason:
            check(status, "CreateDatabase", f"database {name}")

    def create_collection(
        self, database: str, name: str, layout: CollectionLayout, *, without: Sequence[str] = ()
    ) -> int:
        """Create a collection with its partitions, but without the fields named, and return its ID."""
        schema = layout_to_proto(layout)
        schema.name = name
        shorten_struct_fields(schema)
        take_fields(schema, without)
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
        self.create_missing_partitions(database, name, layout.partitions)
        return int(self._describe(database, name).collectionID)

    def add_fields(self, database: str, name: str, layout: CollectionLayout, fields: Sequence[str]) -> None:
        """Add those of the fields named that the collection lacks, as the layout has them, in its order."""
        there = self._field_names(database, name)
        for field in take_fields(layout_to_proto(layout), fields):
            if field.name in there:
                continue
            adding = milvus_pb2.AddCollectionFieldRequest(
                db_name=database, collection_name=name, schema=field.SerializeToString()
            )
            status = self._call("AddCollectionField", adding, database)
            try:
                check(status, "AddCollectionField", f"{database}.{name} field {field.name}")
            except MilvusRequestError:
                # A call of which the answer was lost, or another execution's, may have added it in between.
                if field.name not in self._field_names(database, name):
                    raise

    def _field_names(self, database: str, name: str) -> set[str]:
        return {field.name for field in self._describe(database, name).schema.fields}

    def insert_row(
        self, database: str, name: str, numbers: Mapping[str, int], vectors: Mapping[str, Sequence[float]]
    ) -> None:
        """Insert one row: values of fields of Int64, and of FloatVector, by the fields' names."""
        request = milvus_pb2.InsertRequest(
            db_name=database, collection_name=name, num_rows=1, fields_data=row_to_proto(numbers, vectors)
        )
        check(self._call("Insert", request, database).status, "Insert", f"{database}.{name}")

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
            for alias in sorted(self.list_aliases(database, name)):
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
                reason = one_line(index.index_state_fail_reason) or "no reason given"
                msg = f"Milvus cannot build index {index.index_name} of {database}.{name}: {reason}"
                raise IndexFailedError(msg, hint="Restore with `restore_index: false`, and build the index by hand.")
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
                msg, hint="Add query nodes, or restore with `load: false` and load it yourself."
            ) from err

    def load_percent(self, database: str, name: str, partitions: Sequence[str] = ()) -> int:
        """Return how much of a collection is loaded: 0 to 100, where 0 also means not loaded at all."""
        request = milvus_pb2.GetLoadingProgressRequest(
            db_name=database, collection_name=name, partition_names=partitions
        )
        answer = self._call("GetLoadingProgress", request, database)
        if milvus_errors.is_not_loaded(answer.status):
            return 0
        check(answer.status, "GetLoadingProgress", f"{database}.{name}")
        return int(answer.progress)

    def create_alias(self, database: str, name: str, alias: str, *, take: bool = False) -> None:
        """Give a collection an alias; the same alias on the same collection is no error.

        With `take`, one that another collection has is taken from it, in one step. Raises `CollectionExistsError`
        where another collection has the name, or without `take` the alias.
        """
        names = {"db_name": database, "collection_name": name, "alias": alias}
        subject = f"{database}.{name} as {alias}"
        status = self._call("CreateAlias", milvus_pb2.CreateAliasRequest(**names), database)
        # Up to 2.3 an alias outlives its collection: nothing lists it, but it still has its name.
        if milvus_errors.is_alias_taken(status) and (take or alias not in self.list_aliases(database)):
            status = self._call("AlterAlias", milvus_pb2.AlterAliasRequest(**names), database)
        check(status, "CreateAlias", subject)

    def restore_rbac(self, rbac: Rbac) -> None:
        """Add users, roles, grants and privilege groups. Fails as a whole where one is there already."""
        # Up to 2.6.14 RestoreRBAC garbles grants of all privileges, or refuses them.
        of_all = tuple(grant for grant in rbac.grants if grant.privilege == ALL_PRIVILEGES)
        others = rbac.model_copy(update={"grants": tuple(grant for grant in rbac.grants if grant not in of_all)})
        if others != Rbac():
            request = milvus_pb2.RestoreRBACMetaRequest(RBAC_meta=rbac_to_proto(others))
            check(self._call("RestoreRBAC", request), "RestoreRBAC", self._uri)
        for grant in of_all:
            granting = milvus_pb2.OperatePrivilegeRequest(entity=grant_to_proto(grant))
            check(self._call("OperatePrivilege", granting), "OperatePrivilege", f"role {grant.role}")
