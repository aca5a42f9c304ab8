"""Milvus' schema messages to our models and back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pymilvus.grpc_gen import schema_pb2

from milvus_vault.model.collections import (
    CollectionLayout,
    CollectionSchema,
    FieldSchema,
    FunctionSchema,
    KeyValue,
    StructArraySchema,
)

# Message classes are built when pymilvus is imported, so that no type checker knows them.
type Message = Any


def key_values(pairs: Message) -> tuple[KeyValue, ...]:
    """Return a message's list of KeyValuePair as models."""
    return tuple(KeyValue(key=pair.key, value=pair.value) for pair in pairs)


def schema_from_proto(schema: Message) -> CollectionSchema:
    """Return a `schema.CollectionSchema` message as a model."""
    return CollectionSchema(
        name=schema.name,
        description=schema.description,
        auto_id=schema.autoID,
        enable_dynamic_field=schema.enable_dynamic_field,
        properties=key_values(schema.properties),
        fields=tuple(_field_from_proto(field) for field in schema.fields),
        functions=tuple(
            FunctionSchema(
                name=function.name,
                function_id=function.id,
                function_type=function.type,
                description=function.description,
                input_field_names=tuple(function.input_field_names),
                input_field_ids=tuple(function.input_field_ids),
                output_field_names=tuple(function.output_field_names),
                output_field_ids=tuple(function.output_field_ids),
                params=key_values(function.params),
            )
            for function in schema.functions
        ),
        struct_array_fields=tuple(
            StructArraySchema(
                field_id=struct.fieldID,
                name=struct.name,
                description=struct.description,
                fields=tuple(_field_from_proto(field) for field in struct.fields),
                type_params=key_values(struct.type_params),
                nullable=struct.nullable,
            )
            for struct in schema.struct_array_fields
        ),
    )


def _field_from_proto(field: Message) -> FieldSchema:
    return FieldSchema(
        field_id=field.fieldID,
        name=field.name,
        data_type=field.data_type,
        description=field.description,
        is_primary_key=field.is_primary_key,
        auto_id=field.autoID,
        type_params=key_values(field.type_params),
        index_params=key_values(field.index_params),
        element_type=field.element_type,
        is_dynamic=field.is_dynamic,
        is_partition_key=field.is_partition_key,
        nullable=field.nullable,
        is_function_output=field.is_function_output,
        is_clustering_key=field.is_clustering_key,
        default_value=field.default_value.SerializeToString() if field.HasField("default_value") else None,
    )


def schema_to_proto(schema: CollectionSchema) -> Message:
    """Return the `schema.CollectionSchema` message that creates such a collection."""
    message = schema_pb2.CollectionSchema(
        name=schema.name,
        description=schema.description,
        autoID=schema.auto_id,
        enable_dynamic_field=schema.enable_dynamic_field,
        properties=pairs(schema.properties),
    )
    for field in schema.fields:
        _add_field(message.fields, field)
    for struct in schema.struct_array_fields:
        added = message.struct_array_fields.add(
            fieldID=struct.field_id,
            name=struct.name,
            description=struct.description,
            type_params=pairs(struct.type_params),
            nullable=struct.nullable,
        )
        for field in struct.fields:
            _add_field(added.fields, field)
    for function in schema.functions:
        message.functions.add(
            name=function.name,
            id=function.function_id,
            type=function.function_type,
            description=function.description,
            input_field_names=function.input_field_names,
            input_field_ids=function.input_field_ids,
            output_field_names=function.output_field_names,
            output_field_ids=function.output_field_ids,
            params=pairs(function.params),
        )
    return message


def layout_to_proto(layout: CollectionLayout) -> Message:
    """Return the schema message of a layout: what the server itself told, where that is there."""
    if layout.schema_proto is None:
        return schema_to_proto(layout.collection_schema)
    return schema_pb2.CollectionSchema.FromString(layout.schema_proto)


def _add_field(fields: Message, field: FieldSchema) -> None:
    added = fields.add(
        fieldID=field.field_id,
        name=field.name,
        data_type=field.data_type,
        description=field.description,
        is_primary_key=field.is_primary_key,
        autoID=field.auto_id,
        type_params=pairs(field.type_params),
        index_params=pairs(field.index_params),
        element_type=field.element_type,
        is_dynamic=field.is_dynamic,
        is_partition_key=field.is_partition_key,
        nullable=field.nullable,
        is_function_output=field.is_function_output,
        is_clustering_key=field.is_clustering_key,
    )
    if field.default_value is not None:
        added.default_value.ParseFromString(field.default_value)


def pairs(values: Iterable[KeyValue]) -> list[dict[str, str]]:
    """Return parameters in the form that makes a message's list of KeyValuePair."""
    return [{"key": item.key, "value": item.value} for item in values]


def shorten_struct_fields(schema: Message) -> None:
    """Give structs' fields the names that CreateCollection takes; some releases tell `struct[field]`."""
    for struct in schema.struct_array_fields:
        for field in struct.fields:
            field.name = field.name.removeprefix(f"{struct.name}[").removesuffix("]")


def take_fields(schema: Message, names: Sequence[str]) -> list[Message]:
    """Take some fields out of a schema message, and return them in their order."""
    taken = [field for field in schema.fields if field.name in names]
    kept = [field for field in schema.fields if field.name not in names]
    if taken:
        schema.ClearField("fields")
        schema.fields.extend(kept)
    return taken


def row_to_proto(numbers: Mapping[str, int], vectors: Mapping[str, Sequence[float]]) -> list[Message]:
    """Return the `schema.FieldData` messages of one row: fields of Int64, and of FloatVector."""
    row = []
    for name, number in numbers.items():
        data = schema_pb2.FieldData(field_name=name, type="Int64")
        data.scalars.long_data.data.append(number)
        row.append(data)
    for name, vector in vectors.items():
        data = schema_pb2.FieldData(field_name=name, type="FloatVector")
        data.vectors.dim = len(vector)
        data.vectors.float_vector.data.extend(vector)
        row.append(data)
    return row
