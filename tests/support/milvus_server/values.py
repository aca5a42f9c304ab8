"""What a field's values look like in Python, in Arrow and in Milvus' messages.

In Python a value is what its column in a binlog holds: numbers, text, and bytes for vectors (little endian), sparse
vectors (pairs of index and weight), JSON, and arrays (Milvus' message `ScalarField`).
"""

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from pymilvus.grpc_gen import schema_pb2

type Value = bool | int | float | str | bytes | None
type Columns = dict[int, list[Value]]
"""Rows by column: values by field ID."""
type Message = Any

ROW_ID, TIMESTAMP = 0, 1
FIRST_FIELD = 100

_TYPE = schema_pb2.DataType.Value
JSON, ARRAY, VARCHAR, INT64 = _TYPE("JSON"), _TYPE("Array"), _TYPE("VarChar"), _TYPE("Int64")
BINARY_VECTOR, FLOAT_VECTOR, SPARSE_VECTOR = _TYPE("BinaryVector"), _TYPE("FloatVector"), _TYPE("SparseFloatVector")
TIMESTAMPTZ, GEOMETRY = _TYPE("Timestamptz"), _TYPE("Geometry")
INT8_VECTOR, VECTOR_ARRAY = _TYPE("Int8Vector"), _TYPE("ArrayOfVector")
TEXTS = {_TYPE("String"), VARCHAR, _TYPE("Text")}
FLOAT16_VECTOR, BFLOAT16_VECTOR = _TYPE("Float16Vector"), _TYPE("BFloat16Vector")
VECTORS = {BINARY_VECTOR, FLOAT_VECTOR, FLOAT16_VECTOR, BFLOAT16_VECTOR, SPARSE_VECTOR, INT8_VECTOR}

# Bytes a dimension.
_WIDTHS = {BINARY_VECTOR: 1 / 8, FLOAT_VECTOR: 4, _TYPE("Float16Vector"): 2, _TYPE("BFloat16Vector"): 2, INT8_VECTOR: 1}
_ARROW: dict[int, Callable[[], pa.DataType]] = {
    _TYPE("Bool"): pa.bool_,
    _TYPE("Int8"): pa.int8,
    _TYPE("Int16"): pa.int16,
    _TYPE("Int32"): pa.int32,
    INT64: pa.int64,
    TIMESTAMPTZ: pa.int64,
    _TYPE("Float"): pa.float32,
    _TYPE("Double"): pa.float64,
    **dict.fromkeys(TEXTS, pa.string),
}
# Where a message keeps the values of a scalar type.
_SCALARS = {
    _TYPE("Bool"): "bool_data",
    **dict.fromkeys((_TYPE("Int8"), _TYPE("Int16"), _TYPE("Int32")), "int_data"),
    INT64: "long_data",
    TIMESTAMPTZ: "timestamptz_data",
    _TYPE("Float"): "float_data",
    _TYPE("Double"): "double_data",
    **dict.fromkeys(TEXTS, "string_data"),
    JSON: "json_data",
    ARRAY: "array_data",
    GEOMETRY: "geometry_wkt_data",
}
_VECTOR_BYTES = {
    BINARY_VECTOR: "binary_vector",
    _TYPE("Float16Vector"): "float16_vector",
    _TYPE("BFloat16Vector"): "bfloat16_vector",
    INT8_VECTOR: "int8_vector",
}


def stored_fields(schema: Message) -> list[Message]:
    """Return all fields that have columns, those of struct arrays among them."""
    return [*schema.fields, *(field for struct in schema.struct_array_fields for field in struct.fields)]


def parameter(field: Message, name: str) -> str:
    """Return a type parameter of a field, or nothing."""
    return next((item.value for item in field.type_params if item.key == name), "")


def width(field: Message) -> int:
    """Return the bytes of one vector of a field."""
    return int(int(parameter(field, "dim")) * _WIDTHS[field.data_type])


def arrow_type(field: Message) -> pa.DataType:
    """Return the type of a field's column in a binlog."""
    if field.data_type in _WIDTHS:
        return pa.binary(width(field))
    return _ARROW.get(field.data_type, pa.binary)()


def default_of(field: Message) -> Value:
    """Return the value that a field takes where none is given."""
    which = field.default_value.WhichOneof("data")
    return getattr(field.default_value, which) if which else None


def from_message(data: Message, field: Message, rows: int) -> list[Value]:
    """Return the values of a field as a client sent them; raises `ValueError` where their number is not `rows`."""
    if field.data_type == VECTOR_ARRAY:
        values: list[Value] = [vectors.SerializeToString() for vectors in data.vectors.vector_array.data]
    else:
        values = _vectors(data.vectors, field) if field.data_type in VECTORS else _scalars(data.scalars, field)
    if data.valid_data:
        fallback = default_of(field)
        given = iter(values)
        # Clients send either only the values that are there, or something in the place of each that is not.
        is_full = len(values) == len(data.valid_data) != sum(data.valid_data)
        spread: list[Value] = []
        for is_valid in data.valid_data:
            value = next(given) if is_full or is_valid else None
            spread.append(value if is_valid else fallback)
        values = spread
    if not values and field.nullable:
        values = [default_of(field)] * rows
    if len(values) != rows:
        msg = f"the num_rows ({len(values)}) of field ({field.name}) is not equal to passed num_rows ({rows})"
        raise ValueError(msg)
    return values


def _scalars(data: Message, field: Message) -> list[Value]:
    which = data.WhichOneof("data")
    if which is None:
        return []
    values = list(getattr(data, which).data)
    if field.data_type == TIMESTAMPTZ and which == "string_data":
        return [_microseconds(text) if text else None for text in values]
    if field.data_type == GEOMETRY:
        # A real server keeps it in another form, WKB.
        return [text.encode() if isinstance(text, str) else text for text in values]
    return [value.SerializeToString() for value in values] if field.data_type == ARRAY else values


def _microseconds(text: str) -> int:
    """Return a time with a zone as the server keeps it."""
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _vectors(data: Message, field: Message) -> list[Value]:
    if field.data_type == SPARSE_VECTOR:
        return list(data.sparse_float_vector.contents)
    if field.data_type == FLOAT_VECTOR:
        raw = np.asarray(data.float_vector.data, dtype="<f4").tobytes()
        size = 4 * (data.dim or int(parameter(field, "dim")))
    else:
        raw, size = getattr(data, _VECTOR_BYTES[field.data_type]), width(field)
    if size != width(field):
        msg = f"the dim ({data.dim}) of field data({field.name}) is not equal to schema dim"
        raise ValueError(msg)
    return [raw[start : start + size] for start in range(0, len(raw), size)]


def to_message(field: Message, values: Sequence[Value]) -> Message:
    """Return values as the server answers a query with them."""
    data = schema_pb2.FieldData(
        field_name=field.name, field_id=field.fieldID, type=field.data_type, is_dynamic=field.is_dynamic
    )
    if field.nullable:
        data.valid_data.extend(value is not None for value in values)
    if field.data_type == VECTOR_ARRAY:
        _fill_vector_array(data.vectors, field, values)
        return data
    if field.data_type in VECTORS:
        _fill_vectors(data.vectors, field, values)
        return data
    name = _SCALARS[field.data_type]
    target = getattr(data.scalars, name)
    target.SetInParent()
    if field.data_type == ARRAY:
        target.element_type = field.element_type
        for value in values:
            target.data.add().ParseFromString(value or b"")
        return data
    blank: Value = "" if field.data_type in TEXTS else b"" if field.data_type == JSON else 0
    target.data.extend(blank if value is None else value for value in values)
    return data


def _fill_vectors(vectors: Message, field: Message, values: Sequence[Value]) -> None:
    there = [value for value in values if isinstance(value, bytes)]
    if field.data_type == SPARSE_VECTOR:
        vectors.sparse_float_vector.contents.extend(there)
        vectors.dim = max((index + 1 for value in there for index, _ in struct.iter_unpack("<If", value)), default=0)
        vectors.sparse_float_vector.dim = vectors.dim
        return
    vectors.dim = int(parameter(field, "dim"))
    if field.data_type == FLOAT_VECTOR:
        vectors.float_vector.data.extend(np.frombuffer(b"".join(there), dtype="<f4").tolist())
    else:
        setattr(vectors, _VECTOR_BYTES[field.data_type], b"".join(there))


def _fill_vector_array(vectors: Message, field: Message, values: Sequence[Value]) -> None:
    vectors.dim = vectors.vector_array.dim = int(parameter(field, "dim"))
    vectors.vector_array.element_type = field.element_type
    for value in values:
        vectors.vector_array.data.add().ParseFromString(value or b"")


def rows_in(columns: Columns) -> int:
    """Return how many rows there are."""
    return len(columns[TIMESTAMP]) if TIMESTAMP in columns else 0


def take(columns: Columns, rows: Sequence[int]) -> Columns:
    """Return some of the rows, in the order given."""
    return {field: [values[row] for row in rows] for field, values in columns.items()}


def join(parts: Sequence[Columns]) -> Columns:
    """Return the rows of several parts, one after the other. Columns that a part lacks are empty there."""
    fields = sorted({field for part in parts for field in part})
    joined: Columns = {field: [] for field in fields}
    for part in parts:
        blank: list[Value] = [None] * rows_in(part)
        for field in fields:
            joined[field] += part.get(field, blank)
    return joined
