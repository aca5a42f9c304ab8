"""Collections in memory: asked for, waited for, and counted."""

from collections.abc import Sequence
from typing import override

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from milvus_vault.adapters import milvus_errors
from milvus_vault.adapters.milvus_calls import MilvusClient
from milvus_vault.adapters.milvus_errors import check, understood
from milvus_vault.errors import LoadFailedError, MilvusRequestError
from milvus_vault.ports import Loads


class LoadClient(MilvusClient, Loads):
    """The calls about collections in memory."""

    @override
    def count_query_nodes(self, resource_group: str) -> int:
        request = milvus_pb2.DescribeResourceGroupRequest(resource_group=resource_group)
        answer = self._call("DescribeResourceGroup", request)
        if milvus_errors.is_no_resource_group(answer.status):
            return 0
        check(answer.status, "DescribeResourceGroup", f"resource group {resource_group}")
        return int(answer.resource_group.num_available_node)

    @override
    def request_load(
        self,
        database: str,
        name: str,
        *,
        replicas: int,
        partitions: Sequence[str] = (),
        resource_groups: Sequence[str] = (),
    ) -> None:
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

    @override
    def load_percent(self, database: str, name: str, partitions: Sequence[str] = ()) -> int | None:
        request = milvus_pb2.GetLoadingProgressRequest(
            db_name=database, collection_name=name, partition_names=partitions
        )
        answer = self._call("GetLoadingProgress", request, database)
        if milvus_errors.is_not_loaded(answer.status):
            return None
        check(answer.status, "GetLoadingProgress", f"{database}.{name}")
        return int(answer.progress)

    @override
    def release(self, database: str, name: str) -> None:
        request = milvus_pb2.ReleaseCollectionRequest(db_name=database, collection_name=name)
        check(self._call("ReleaseCollection", request, database), "ReleaseCollection", f"{database}.{name}")

    @override
    def count_rows(self, database: str, name: str, partitions: Sequence[str] = ()) -> int:
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
