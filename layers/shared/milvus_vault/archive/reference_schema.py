"""A collection's schema and indexes as milvus-backup writes them."""

import base64
from collections.abc import Iterable

from milvus_vault.archive.go_json import Encoded, array, message
from milvus_vault.model.collections import (
    CollectionDescription,
    FieldSchema,
    FunctionSchema,
    IndexDescription,
    KeyValue,
)


def encode_schema(description: CollectionDescription) -> Encoded:
    """Return a collection's schema, with the collection's properties in it.

    milvus-backup restores the properties of the schema, and ignores those of the collection.
    """
    schema = description.collection_schema
    properties = {item.key: item for item in (*schema.properties, *description.properties)}
    return message(
        {
            "name": schema.name,
            "description": schema.description,
            "autoID": schema.auto_id,
            "fields": _fields(schema.fields),
            "enable_dynamic_field": schema.enable_dynamic_field,
            "properties": encode_key_values(properties.values()),
            "functions": array(_function(function) for function in schema.functions),
            "struct_array_fields": array(
                message(
                    {
                        "fieldID": struct.field_id,
                        "name": struct.name,
                        "description": struct.description,
                        "fields": _fields(struct.fields),
                    }
                )
                for struct in schema.struct_array_fields
            ),
        }
    )


def _fields(fields: Iterable[FieldSchema]) -> Encoded:
    # Milvus adds the dynamic field by itself where the schema enables it.
    return array(_field(field) for field in fields if not field.is_dynamic)


def _field(field: FieldSchema) -> Encoded:
    return message(
        {
            "fieldID": field.field_id,
            "name": field.name,
            "is_primary_key": field.is_primary_key,
            "description": field.description,
            "data_type": field.data_type,
            "type_params": encode_key_values(field.type_params),
            "index_params": encode_key_values(field.index_params),
            "autoID": field.auto_id,
            "element_type": field.element_type,
            "is_partition_key": field.is_partition_key,
            "nullable": field.nullable,
            "is_function_output": field.is_function_output,
            "default_value_base64": base64.b64encode(field.default_value or b"").decode(),
        }
    )


def _function(function: FunctionSchema) -> Encoded:
    return message(
        {
            "name": function.name,
            "id": function.function_id,
            "description": function.description,
            "type": function.function_type,
            "input_field_names": function.input_field_names,
            "input_field_ids": function.input_field_ids,
            "output_field_names": function.output_field_names,
            "output_field_ids": function.output_field_ids,
            "params": encode_key_values(function.params),
        }
    )


def encode_index(index: IndexDescription) -> Encoded:
    """Return an index; its type is among the parameters as well."""
    return message(
        {
            "field_name": index.field_name,
            "index_name": index.name,
            "index_type": index.param("index_type"),
            "params": {item.key: item.value for item in index.params},
            "index_id": index.index_id,
        }
    )


def encode_key_values(items: Iterable[KeyValue]) -> Encoded:
    """Return parameters, in their order."""
    return array(message({"key": item.key, "value": item.value}) for item in items)
