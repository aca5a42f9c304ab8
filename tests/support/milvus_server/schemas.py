"""What becomes of the schema in a CreateCollection: checks, field IDs, the hidden dynamic field."""

from collections.abc import Mapping, Sequence

from pymilvus.grpc_gen import schema_pb2

from tests.support.milvus_server.refusals import INVALID, UNEXPECTED, Refusal
from tests.support.milvus_server.values import FIRST_FIELD, INT8_VECTOR, JSON, VECTORS, Message
from tests.support.milvus_server.versions import Version

DYNAMIC = "$meta"
_BM25 = schema_pb2.FunctionType.Value("BM25")


def accept(version: Version, raw: bytes) -> Message:
    """Return a schema as the server keeps it, or refuse it."""
    schema = schema_pb2.CollectionSchema.FromString(raw)
    # These it has from elsewhere.
    schema.ClearField("properties")
    schema.ClearField("dbName")
    _check(version, schema.fields)
    for field in schema.fields:
        # What a version does not know it drops in silence.
        if not version.has_nullable:
            field.ClearField("nullable")
            field.ClearField("default_value")
    for struct in schema.struct_array_fields:
        # The message of 2.6 has no such field, so that it is none of its.
        struct.ClearField("nullable")
    if schema.enable_dynamic_field:
        schema.fields.add(name=DYNAMIC, data_type=JSON, is_dynamic=True, description="dynamic schema")
    number = FIRST_FIELD
    for field in schema.fields:
        field.fieldID, number = number, number + 1
    for struct in schema.struct_array_fields:
        struct.fieldID, number = number, number + 1
        for field in struct.fields:
            field.fieldID, number = number, number + 1
    ids = {field.name: field.fieldID for field in schema.fields}
    for order, function in enumerate(schema.functions):
        function.id = FIRST_FIELD + order
        for name in function.output_field_names:
            next(field for field in schema.fields if field.name == name).is_function_output = True
        function.ClearField("input_field_ids")
        function.ClearField("output_field_ids")
        function.input_field_ids.extend(ids[name] for name in function.input_field_names)
        function.output_field_ids.extend(ids[name] for name in function.output_field_names)
    return schema


def _check(version: Version, fields: Sequence[Message]) -> None:
    vectors = [field.name for field in fields if field.data_type in VECTORS]
    known = [field for field in fields if field.data_type != INT8_VECTOR or not version.at_least(2, 4)]
    if version.at_least(2, 4) and not version.at_least(2, 6) and not any(f.data_type in VECTORS for f in known):
        raise Refusal(INVALID, "schema does not contain vector field: invalid parameter")
    if len(vectors) > 1 and not version.at_least(2, 4):
        raise Refusal(UNEXPECTED, f"multiple vector fields is not supported, fields name: {', '.join(vectors)}")
    if not any(field.is_primary_key for field in fields):
        raise Refusal(UNEXPECTED, "primary key is not specified")


def ask_services(schema: Message, properties: Mapping[str, str]) -> None:
    """Refuse a schema with functions that call services, which do not answer; unless it is not to be tried (2.6.8)."""
    calling = [function.name for function in schema.functions if function.type != _BM25]
    if calling and properties.get("disable_func_runtime_check") != "true":
        raise Refusal(UNEXPECTED, f"Check function [{calling[0]}:TextEmbedding] failed, the service does not answer")


def shown(schema: Message) -> Message:
    """Return a schema as the server shows it: without the dynamic field."""
    copy = schema_pb2.CollectionSchema()
    copy.CopyFrom(schema)
    copy.ClearField("fields")
    copy.fields.extend(field for field in schema.fields if not field.is_dynamic)
    return copy


def add_field(schema: Message, raw: bytes) -> None:
    """Add a field to a collection that has rows; it comes after the hidden one."""
    field = schema_pb2.FieldSchema.FromString(raw)
    if any(there.name == field.name for there in schema.fields):
        raise Refusal(INVALID, f"duplicated field name {field.name}: invalid parameter")
    if not field.nullable:
        raise Refusal(INVALID, f"added field must be nullable, please check it, field name = {field.name}")
    structs = [
        *schema.struct_array_fields,
        *(inner for struct in schema.struct_array_fields for inner in struct.fields),
    ]
    field.fieldID = max(there.fieldID for there in (*schema.fields, *structs)) + 1
    schema.fields.append(field)
