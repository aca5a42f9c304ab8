"""What a restore makes in Milvus. What makes a thing reads first, so that it may be repeated."""

from collections.abc import Mapping, Sequence
from typing import override

from pymilvus.grpc_gen import milvus_pb2

from milvus_vault.adapters import milvus_errors
from milvus_vault.adapters.milvus_calls import MilvusClient
from milvus_vault.adapters.milvus_errors import check
from milvus_vault.adapters.milvus_reading import SchemaClient, describe, partitions_of
from milvus_vault.adapters.milvus_schema import (
    layout_to_proto,
    pairs,
    row_to_proto,
    shorten_struct_fields,
    take_fields,
)
from milvus_vault.errors import CollectionNotFoundError, MilvusRequestError
from milvus_vault.model.collections import CollectionLayout, KeyValue
from milvus_vault.ports import Maker


class MakerClient(MilvusClient, Maker):
    """The calls that make, change and drop."""

    @override
    def create_database(self, name: str, properties: Sequence[KeyValue] = ()) -> bool:
        if name in SchemaClient(self._call).list_databases():
            return False
        request = milvus_pb2.CreateDatabaseRequest(db_name=name, properties=pairs(properties))
        status = self._call("CreateDatabase", request)
        if "already exist" in status.reason:
            return False
        check(status, "CreateDatabase", f"database {name}")
        return True

    @override
    def drop_database(self, name: str) -> None:
        if name in SchemaClient(self._call).list_databases():
            # As to create one, the right is looked at in the default database.
            status = self._call("DropDatabase", milvus_pb2.DropDatabaseRequest(db_name=name))
            check(status, "DropDatabase", f"database {name}")

    @override
    def create_collection(
        self, database: str, name: str, layout: CollectionLayout, *, without: Sequence[str] = ()
    ) -> int:
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
        return int(describe(self._call, database, name).collectionID)

    @override
    def create_missing_partitions(self, database: str, name: str, partitions: Sequence[str]) -> None:
        there = partitions_of(self._call, database, name)
        for partition in partitions:
            if partition not in there:
                request = milvus_pb2.CreatePartitionRequest(
                    db_name=database, collection_name=name, partition_name=partition
                )
                status = self._call("CreatePartition", request, database)
                check(status, "CreatePartition", f"{database}.{name} partition {partition}")

    @override
    def add_fields(self, database: str, name: str, layout: CollectionLayout, fields: Sequence[str]) -> None:
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

    @override
    def set_properties(
        self, database: str, name: str, properties: Sequence[KeyValue], *, removed: Sequence[str] = ()
    ) -> None:
        subject = f"{database}.{name}"
        names = {"db_name": database, "collection_name": name}
        # One or the other: Milvus refuses both at once.
        for part in ({"properties": pairs(properties)}, {"delete_keys": removed}):
            if any(part.values()):
                request = milvus_pb2.AlterCollectionRequest(**names, **part)
                check(self._call("AlterCollection", request, database), "AlterCollection", subject)

    @override
    def insert_row(
        self, database: str, name: str, numbers: Mapping[str, int], vectors: Mapping[str, Sequence[float]]
    ) -> None:
        request = milvus_pb2.InsertRequest(
            db_name=database, collection_name=name, num_rows=1, fields_data=row_to_proto(numbers, vectors)
        )
        check(self._call("Insert", request, database).status, "Insert", f"{database}.{name}")

    @override
    def create_alias(self, database: str, name: str, alias: str, *, take: bool = False) -> None:
        names = {"db_name": database, "collection_name": name, "alias": alias}
        subject = f"{database}.{name} as {alias}"
        status = self._call("CreateAlias", milvus_pb2.CreateAliasRequest(**names), database)
        # Up to 2.3 an alias outlives its collection: nothing lists it, but it still has its name.
        if milvus_errors.is_alias_taken(status) and (
            take or alias not in SchemaClient(self._call).list_aliases(database)
        ):
            status = self._call("AlterAlias", milvus_pb2.AlterAliasRequest(**names), database)
        check(status, "CreateAlias", subject)

    @override
    def rename_collection(self, database: str, name: str, new_name: str) -> None:
        request = milvus_pb2.RenameCollectionRequest(db_name=database, oldName=name, newName=new_name)
        check(self._call("RenameCollection", request, database), "RenameCollection", f"{database}.{name} to {new_name}")

    @override
    def drop_collection(self, database: str, name: str) -> None:
        try:
            # From 2.4 on Milvus refuses to drop a collection that has an alias.
            for alias in sorted(SchemaClient(self._call).list_aliases(database, name)):
                request = milvus_pb2.DropAliasRequest(db_name=database, alias=alias)
                check(self._call("DropAlias", request, database), "DropAlias", f"{database}.{alias}")
        except CollectionNotFoundError:
            return
        status = self._call(
            "DropCollection", milvus_pb2.DropCollectionRequest(db_name=database, collection_name=name), database
        )
        check(status, "DropCollection", f"{database}.{name}")

    def _field_names(self, database: str, name: str) -> set[str]:
        return {field.name for field in describe(self._call, database, name).schema.fields}
