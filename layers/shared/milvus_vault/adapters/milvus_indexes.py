"""Indexes: which there are, and how far Milvus has built them."""

from collections.abc import Sequence
from typing import override

from pymilvus.grpc_gen import milvus_pb2

from milvus_vault.adapters import milvus_errors
from milvus_vault.adapters.milvus_calls import Message, MilvusClient
from milvus_vault.adapters.milvus_errors import check, one_line
from milvus_vault.adapters.milvus_schema import key_values, pairs
from milvus_vault.errors import IndexFailedError
from milvus_vault.model.collections import IndexDescription
from milvus_vault.ports import Indexes, IndexProgress

_FINISHED, _FAILED = 3, 4  # common.IndexState


class IndexClient(MilvusClient, Indexes):
    """The calls about indexes."""

    @override
    def list_indexes(self, database: str, name: str) -> tuple[IndexDescription, ...]:
        return tuple(
            IndexDescription(
                index_id=index.indexID,
                name=index.index_name,
                field_name=index.field_name,
                params=key_values(index.params),
            )
            for index in self._describe(database, name)
        )

    @override
    def create_index(self, database: str, name: str, index: IndexDescription) -> None:
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

    @override
    def index_progress(self, database: str, name: str) -> IndexProgress:
        indexes = self._describe(database, name)
        for index in indexes:
            if index.state == _FAILED:
                reason = one_line(index.index_state_fail_reason) or "no reason given"
                msg = f"Milvus cannot build index {index.index_name} of {database}.{name}: {reason}"
                raise IndexFailedError(msg, hint="Restore with `restore_index: false`, and build the index by hand.")
        # The state alone is "finished" as well while no segment has been looked at: count the rows.
        is_built = all(index.state == _FINISHED and index.indexed_rows >= index.total_rows for index in indexes)
        done = sum(min(index.indexed_rows, index.total_rows) for index in indexes)
        return IndexProgress(is_built, done, sum(index.total_rows for index in indexes))

    def _describe(self, database: str, name: str) -> Sequence[Message]:
        request = milvus_pb2.DescribeIndexRequest(db_name=database, collection_name=name)
        answer = self._call("DescribeIndex", request, database)
        if answer.status.code == milvus_errors.INDEX_NOT_FOUND or "index not found" in answer.status.reason:
            return ()
        check(answer.status, "DescribeIndex", f"{database}.{name}")
        indexes: Sequence[Message] = answer.index_descriptions
        return indexes
