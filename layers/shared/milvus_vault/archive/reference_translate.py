"""Translate what milvus-backup recorded of a collection into our terms."""

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload, override

from milvus_vault.archive.contents import ArchivedCollection, ArchivedPartition, ArchivedSegment
from milvus_vault.archive.layout import DELTA_LOG, INSERT_LOG, BackupLayout, LogKey, parse_log_key
from milvus_vault.archive.reference_messages import (
    BinlogMessage,
    CollectionMessage,
    DatabaseMessage,
    FieldMessage,
    IndexMessage,
    KeyValueMessage,
    PartitionMessage,
    SchemaMessage,
    SegmentMessage,
)
from milvus_vault.errors import BackupDamagedError
from milvus_vault.model.collections import (
    DEFAULT_DATABASE,
    DYNAMIC_FIELD,
    CollectionLayout,
    CollectionName,
    CollectionSchema,
    DatabaseDescription,
    FieldSchema,
    FunctionSchema,
    IndexDescription,
    KeyValue,
    LoadState,
    SegmentLevel,
    StructArraySchema,
)
from milvus_vault.model.objects import ArchivedObject

# What an encoder of JSON writes for bytes that are no text.
_REPLACEMENT_CHARACTER = "\ufffd"


def translate_collection(layout: BackupLayout, collection: CollectionMessage) -> ArchivedCollection:
    """Return a collection with all its objects.

    It has no moment: a channel's checkpoint is older than the flush by seconds where anybody writes, and the time of
    the backup is a clock of another machine.

    Raises:
        BackupDamagedError: A value is none that milvus-backup writes.
    """
    try:
        return _collection(layout, collection)
    except ValueError as err:
        name = collection.collection_name
        msg = f"backup '{layout.name}' does not describe collection {name} as milvus-backup does: {err}"
        raise BackupDamagedError(msg, hint="Restore the metadata from a copy, or use another backup.") from err


def losses(collection: CollectionMessage) -> Iterator[str]:
    """Yield a warning for what was not recorded in full.

    These are default values of fields, by old releases, and segments that Milvus was still writing.
    """
    name = f"{collection.db_name or DEFAULT_DATABASE}.{collection.collection_name}"
    for field in collection.collection_schema.fields:
        if not field.default_value_base64 and _REPLACEMENT_CHARACTER in field.default_value_proto:
            yield f"the default value of field {field.name} of {name} was not recorded in full, and is left out"
    for partition in collection.partition_backups:
        for segment in partition.segment_backups:
            if not _is_written(segment):
                yield f"segment {segment.segment_id} of {name} was not written in full, and is left out"


def _collection(layout: BackupLayout, collection: CollectionMessage) -> ArchivedCollection:
    load_state = LoadState(collection.load_state or LoadState.NOT_LOADED)
    segments = [segment for partition in collection.partition_backups for segment in _written(partition)]
    return ArchivedCollection(
        name=CollectionName(database=collection.db_name or DEFAULT_DATABASE, name=collection.collection_name),
        collection_id=collection.collection_id,
        layout=_layout(collection),
        indexes=tuple(_index(index) for index in collection.index_infos),
        aliases=tuple(collection.aliases),
        load_state=load_state,
        replicas=0 if load_state is LoadState.NOT_LOADED else max(1, len(collection.replicas)),
        partitions=tuple(_partition(partition) for partition in collection.partition_backups),
        l0_segments=tuple(_segment(segment) for segment in collection.l0_segments),
        live_row_count=None,
        object_list=None,
        listed_objects=_Objects(layout, collection.collection_id, (*segments, *collection.l0_segments)),
    )


def _layout(collection: CollectionMessage) -> CollectionLayout:
    schema = _schema(collection.collection_schema, collection.collection_name)
    # From a server before 2.5 only the collection has its properties.
    properties = {item.key: item for item in (*schema.properties, *_key_values(collection.properties))}
    return CollectionLayout(
        collection_schema=schema,
        shards=max(1, collection.shards_num),
        consistency_level=collection.consistency_level,
        properties=tuple(properties.values()),
        partitions=tuple(partition.partition_name for partition in collection.partition_backups),
    )


def _schema(schema: SchemaMessage, name: str) -> CollectionSchema:
    return CollectionSchema(
        name=schema.name or name,
        description=schema.description,
        auto_id=schema.auto_id,
        fields=_fields(schema.fields),
        enable_dynamic_field=schema.enable_dynamic_field,
        properties=_key_values(schema.properties),
        functions=tuple(
            FunctionSchema(
                name=function.name,
                function_id=function.function_id,
                function_type=function.function_type,
                description=function.description,
                input_field_names=tuple(function.input_field_names),
                input_field_ids=tuple(function.input_field_ids),
                output_field_names=tuple(function.output_field_names),
                output_field_ids=tuple(function.output_field_ids),
                params=_key_values(function.params),
            )
            for function in schema.functions
        ),
        struct_array_fields=tuple(
            StructArraySchema(
                field_id=struct.field_id,
                name=struct.name,
                description=struct.description,
                fields=_fields(struct.fields),
                type_params=_key_values(struct.type_params),
                nullable=struct.nullable,
            )
            for struct in schema.struct_array_fields
        ),
    )


def _fields(fields: Iterable[FieldMessage]) -> tuple[FieldSchema, ...]:
    return tuple(_field(field) for field in fields if field.name != DYNAMIC_FIELD and not field.is_dynamic)


def _field(field: FieldMessage) -> FieldSchema:
    return FieldSchema.model_validate(
        {
            "field_id": field.field_id,
            "name": field.name,
            "data_type": field.data_type,
            "description": field.description,
            "is_primary_key": field.is_primary_key,
            "auto_id": field.auto_id,
            "type_params": _key_values(field.type_params),
            "index_params": _key_values(field.index_params),
            "element_type": field.element_type,
            "is_partition_key": field.is_partition_key,
            "nullable": field.nullable,
            "is_function_output": field.is_function_output,
            "default_value": _default_value(field),
        }
    )


def _default_value(field: FieldMessage) -> bytes | None:
    """Return the default value: from Base64, or from the raw text that older releases wrote."""
    if field.default_value_base64:
        return base64.b64decode(field.default_value_base64, validate=True)
    if field.default_value_proto and _REPLACEMENT_CHARACTER not in field.default_value_proto:
        return field.default_value_proto.encode()
    return None


def _index(index: IndexMessage) -> IndexDescription:
    params = {"index_type": index.index_type} | index.params if index.index_type else index.params
    return IndexDescription(
        index_id=index.index_id,
        name=index.index_name,
        field_name=index.field_name,
        params=tuple(KeyValue(key=key, value=value) for key, value in sorted(params.items())),
    )


def _key_values(items: Iterable[KeyValueMessage]) -> tuple[KeyValue, ...]:
    return tuple(KeyValue(key=item.key, value=item.value) for item in items)


def _partition(partition: PartitionMessage) -> ArchivedPartition:
    return ArchivedPartition(
        partition_id=partition.partition_id,
        name=partition.partition_name,
        is_loaded=partition.load_state == LoadState.LOADED,
        segments=tuple(_segment(segment) for segment in _written(partition)),
    )


def _written(partition: PartitionMessage) -> list[SegmentMessage]:
    return [segment for segment in partition.segment_backups if _is_written(segment)]


def _is_written(segment: SegmentMessage) -> bool:
    # Milvus counts rows once their logs are there. A backup without a flush may have found logs before.
    return bool(segment.num_of_rows) or not segment.binlogs.count


def _segment(segment: SegmentMessage) -> ArchivedSegment:
    return ArchivedSegment(
        segment_id=segment.segment_id,
        partition_id=segment.partition_id,
        group_id=segment.group_id,
        row_count=segment.num_of_rows,
        level=SegmentLevel.L0 if _is_l0(segment) else SegmentLevel.LEGACY,
        storage_version=segment.storage_version,
    )


def _is_l0(segment: SegmentMessage) -> bool:
    # Releases before 0.4.15 did not say so of a segment that holds deletes alone.
    return segment.is_l0 or (segment.deltalogs.count > 0 and not segment.binlogs.count)


@dataclass(frozen=True, slots=True)
class _Objects(Sequence[ArchivedObject]):
    """The objects of a collection, which are read from the disk whenever they are asked for."""

    _layout: BackupLayout
    _collection_id: int
    _segments: tuple[SegmentMessage, ...]

    @override
    def __len__(self) -> int:
        return sum(segment.binlogs.count + segment.deltalogs.count for segment in self._segments)

    @override
    def __iter__(self) -> Iterator[ArchivedObject]:
        for segment in self._segments:
            yield from _objects(self._layout, self._collection_id, segment)

    @overload
    def __getitem__(self, index: int) -> ArchivedObject: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ArchivedObject]: ...
    @override
    def __getitem__(self, index: int | slice) -> ArchivedObject | Sequence[ArchivedObject]:
        return tuple(self)[index]


def _objects(layout: BackupLayout, collection_id: int, segment: SegmentMessage) -> Iterator[ArchivedObject]:
    partition_id, group_id, segment_id = segment.partition_id, segment.group_id, segment.segment_id
    for field in segment.binlogs:
        for log in field.binlogs:
            key = LogKey(INSERT_LOG, collection_id, partition_id, segment_id, field.field_id, log.number)
            stored = layout.insert_log(collection_id, partition_id, group_id, segment_id, key.field_id, key.log_id)
            yield ArchivedObject(stored, _source_key(log, key), log.log_size, etag="")
    # What delta logs have for a field says nothing: one entry without a field, or with the primary key's.
    for field in segment.deltalogs:
        for log in field.binlogs:
            key = LogKey(DELTA_LOG, collection_id, partition_id, segment_id, 0, log.number)
            stored = layout.delta_log(collection_id, partition_id, group_id, segment_id, key.log_id)
            yield ArchivedObject(stored, _source_key(log, key), log.log_size, etag="")


def _source_key(log: BinlogMessage, key: LogKey) -> str:
    """Return where Milvus kept a log. What log it is, the segment says that lists it; a path may be damaged."""
    return log.log_path if parse_log_key(log.log_path) == key else str(key)


def translate_database(database: DatabaseMessage) -> DatabaseDescription:
    """Return a database with its properties."""
    return DatabaseDescription(
        name=database.db_name or DEFAULT_DATABASE,
        database_id=database.db_id,
        properties=_key_values(database.properties),
    )
