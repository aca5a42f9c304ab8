"""Milvus in memory, for logic that makes, finds and loads collections: the ports for it, without a server.

It answers at once, as the real ones do in the end. `tests/conformance/test_memory_database.py` holds it to the adapter.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import override

from milvus_vault.errors import (
    CollectionExistsError,
    CollectionNotFoundError,
    DatabaseNotFoundError,
    LoadFailedError,
    MilvusRequestError,
)
from milvus_vault.model.collections import (
    DEFAULT_DATABASE,
    DEFAULT_RESOURCE_GROUP,
    CollectionDescription,
    CollectionLayout,
    CollectionName,
    CollectionSchema,
    DatabaseDescription,
    IndexDescription,
    KeyValue,
    LoadState,
    Partition,
    Segment,
    SegmentLogs,
)
from milvus_vault.model.flushes import FlushAllPoint, FlushPoint
from milvus_vault.ports import Flushes, Indexes, IndexProgress, Loads, Maker, Schemas, Segments


@dataclass(eq=False)
class _Collection:
    number: int
    layout: CollectionLayout
    schema: CollectionSchema
    partitions: list[str]
    properties: dict[str, str]
    indexes: list[IndexDescription] = field(default_factory=list)
    row_count: int = 0
    flushed_row_count: int = 0
    replicas: int = 0


@dataclass
class InMemoryDatabase(Schemas, Maker, Indexes, Loads, Flushes, Segments):
    """A server with collections, their aliases and indexes, and the number of their rows."""

    query_nodes: dict[str, int] = field(default_factory=lambda: {DEFAULT_RESOURCE_GROUP: 1})
    """By resource group."""
    _collections: dict[str, dict[str, _Collection]] = field(default_factory=lambda: {DEFAULT_DATABASE: {}})
    _aliases: dict[str, dict[str, _Collection]] = field(default_factory=lambda: {DEFAULT_DATABASE: {}})
    _numbers: Callable[[], int] = field(default_factory=lambda: itertools.count(1).__next__)

    def _of(self, database: str) -> dict[str, _Collection]:
        if database not in self._collections:
            raise DatabaseNotFoundError(f"the database of {database} does not exist", hint="")
        return self._collections[database]

    def _find(self, database: str, name: str) -> _Collection:
        found = self._of(database).get(name) or self._aliases[database].get(name)
        if found is None:
            raise CollectionNotFoundError(f"collection {database}.{name} does not exist", hint="")
        return found

    def _check_free(self, database: str, name: str) -> None:
        if name in self._of(database) or name in self._aliases[database]:
            raise CollectionExistsError(f"{database}.{name} is taken", hint="")

    @override
    def list_databases(self) -> list[str]:
        return sorted(self._collections)

    @override
    def describe_database(self, name: str) -> DatabaseDescription:
        self._of(name)
        return DatabaseDescription(name=name)

    @override
    def list_collections(self, database: str) -> dict[str, int]:
        return {name: found.number for name, found in sorted(self._of(database).items())}

    @override
    def collection_id(self, database: str, name: str) -> int | None:
        try:
            return self._find(database, name).number
        except CollectionNotFoundError:
            return None

    @override
    def describe_collection(self, database: str, name: str) -> CollectionDescription:
        found = self._find(database, name)
        return CollectionDescription(
            collection_id=found.number,
            name=CollectionName(database=database, name=name),
            schema_proto=b"",
            collection_schema=found.schema,
            shards=found.layout.shards,
            consistency_level=found.layout.consistency_level,
            properties=tuple(KeyValue(key=key, value=value) for key, value in found.properties.items()),
            partitions=tuple(
                Partition(partition_id=number, name=partition, is_loaded=found.replicas > 0)
                for number, partition in enumerate(found.partitions, start=1)
            ),
            indexes=tuple(found.indexes),
            aliases=tuple(sorted(self.list_aliases(database, name))),
            load_state=LoadState.LOADED if found.replicas else LoadState.NOT_LOADED,
            replicas=found.replicas,
        )

    @override
    def schema(self, database: str, name: str) -> CollectionSchema:
        return self._find(database, name).schema

    @override
    def list_aliases(self, database: str, name: str = "") -> frozenset[str]:
        only = self._find(database, name) if name else None
        self._of(database)
        return frozenset(alias for alias, of in self._aliases[database].items() if only in {None, of})

    @override
    def create_database(self, name: str, properties: Sequence[KeyValue] = ()) -> bool:
        if name in self._collections:
            return False
        self._collections[name], self._aliases[name] = {}, {}
        return True

    @override
    def drop_database(self, name: str) -> None:
        if self._collections.get(name):
            raise MilvusRequestError(f"database {name} is not empty")
        self._collections.pop(name, None)
        self._aliases.pop(name, None)

    @override
    def create_collection(
        self, database: str, name: str, layout: CollectionLayout, *, without: Sequence[str] = ()
    ) -> int:
        self._check_free(database, name)
        fields = tuple(item for item in layout.collection_schema.fields if item.name not in without)
        schema = layout.collection_schema.model_copy(update={"name": name, "fields": fields})
        partitions = list(dict.fromkeys(("_default", *layout.partitions)))
        properties = {item.key: item.value for item in layout.properties}
        made = _Collection(self._numbers(), layout, schema, partitions, properties)
        self._of(database)[name] = made
        return made.number

    @override
    def create_missing_partitions(self, database: str, name: str, partitions: Sequence[str]) -> None:
        found = self._find(database, name)
        found.partitions += [partition for partition in partitions if partition not in found.partitions]

    @override
    def add_fields(self, database: str, name: str, layout: CollectionLayout, fields: Sequence[str]) -> None:
        found = self._find(database, name)
        there = {item.name for item in found.schema.fields}
        added = [item for item in layout.collection_schema.fields if item.name in {*fields} - there]
        found.schema = found.schema.model_copy(update={"fields": (*found.schema.fields, *added)})

    @override
    def set_properties(
        self, database: str, name: str, properties: Sequence[KeyValue], *, removed: Sequence[str] = ()
    ) -> None:
        found = self._find(database, name)
        found.properties |= {item.key: item.value for item in properties}
        found.properties = {key: value for key, value in found.properties.items() if key not in removed}

    @override
    def insert_row(
        self, database: str, name: str, numbers: Mapping[str, int], vectors: Mapping[str, Sequence[float]]
    ) -> None:
        self._find(database, name).row_count += 1

    @override
    def create_alias(self, database: str, name: str, alias: str, *, take: bool = False) -> None:
        found = self._find(database, name)
        other = self._aliases[database].get(alias)
        if alias in self._of(database) or (other not in {None, found} and not take):
            raise CollectionExistsError(f"{database}.{alias} is taken", hint="")
        self._aliases[database][alias] = found

    @override
    def rename_collection(self, database: str, name: str, new_name: str) -> None:
        found = self._find(database, name)
        self._check_free(database, new_name)
        del self._of(database)[name]
        self._of(database)[new_name] = found

    @override
    def drop_collection(self, database: str, name: str) -> None:
        if dropped := self._of(database).pop(name, None):
            self._aliases[database] = {a: of for a, of in self._aliases[database].items() if of is not dropped}

    @override
    def list_indexes(self, database: str, name: str) -> tuple[IndexDescription, ...]:
        return tuple(self._find(database, name).indexes)

    @override
    def create_index(self, database: str, name: str, index: IndexDescription) -> None:
        found = self._find(database, name)
        if index.name not in {there.name for there in found.indexes}:
            found.indexes.append(index)

    @override
    def index_progress(self, database: str, name: str) -> IndexProgress:
        found = self._find(database, name)
        rows = found.row_count * len(found.indexes)
        return IndexProgress(is_built=True, rows_done=rows, rows_total=rows)

    @override
    def count_query_nodes(self, resource_group: str) -> int:
        return self.query_nodes.get(resource_group, 0)

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
        found = self._find(database, name)
        if not found.indexes or replicas > sum(self.query_nodes.values()):
            raise LoadFailedError(f"{database}.{name} cannot be loaded with {replicas} replica(s)", hint="")
        found.replicas = replicas

    @override
    def load_percent(self, database: str, name: str, partitions: Sequence[str] = ()) -> int | None:
        return 100 if self._find(database, name).replicas else None

    @override
    def release(self, database: str, name: str) -> None:
        self._find(database, name).replicas = 0

    @override
    def count_rows(self, database: str, name: str, partitions: Sequence[str] = ()) -> int:
        return self._find(database, name).row_count

    @override
    def current_timestamp(self) -> int | None:
        return self._numbers()

    @override
    def flush(self, database: str, name: str, *, timeout_seconds: float) -> FlushPoint:
        found = self._find(database, name)
        found.flushed_row_count = found.row_count
        return FlushPoint(timestamp=self._numbers())

    @override
    def flush_all(self, *, timeout_seconds: float) -> FlushAllPoint | None:
        return None

    @override
    def list_segments(self, database: str, name: str) -> list[Segment]:
        found = self._find(database, name)
        segment = Segment(segment_id=found.number, partition_id=1, row_count=found.flushed_row_count)
        return [segment] if found.flushed_row_count else []

    @override
    def describe_segments(
        self, database: str, collection_id: int, segment_ids: Sequence[int]
    ) -> dict[int, SegmentLogs]:
        return {}
