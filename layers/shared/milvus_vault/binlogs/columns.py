"""The values of a field as others read them: which Arrow type each of Milvus' types becomes, and how.

| Milvus | Arrow |
|---|---|
| Bool, Int8 to Int64, Float, Double, VarChar | the same |
| JSON, and the dynamic field | string: the text as it is stored |
| Array | list of its elements |
| Timestamptz | timestamp in microseconds, UTC |
| Geometry | binary: WKB, as it is stored |
| FloatVector | fixed-size list of float32 |
| Float16Vector, BFloat16Vector | fixed-size list of float32, which holds each of their values exactly |
| Int8Vector | fixed-size list of int8 |
| BinaryVector | fixed-size list of uint8: its bytes, of which each holds eight dimensions |
| SparseFloatVector | map from uint32 to float32 |
"""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from milvus_vault.binlogs import messages
from milvus_vault.binlogs.parquet import unreadable
from milvus_vault.binlogs.values import PAIR_BYTES, DataType, bytes_of, parameter, types_of
from milvus_vault.errors import BinlogUnreadableError
from milvus_vault.model.collections import FieldSchema

_TIME = pa.timestamp("us", "UTC")
_SPARSE = pa.map_(pa.uint32(), pa.float32())
_BITS = 8  # of a byte of a binary vector


def _from_half(raw: pa.Buffer, count: int) -> pa.Array:
    return pa.Array.from_buffers(pa.float16(), count, [None, raw]).cast(pa.float32())


def _from_brain(raw: pa.Buffer, count: int) -> pa.Array:
    # The upper half of a float32.
    halves = pa.Array.from_buffers(pa.uint16(), count, [None, raw]).cast(pa.uint32())
    return pc.shift_left(halves, pa.scalar(16, pa.uint32())).view(pa.float32())


def _as_is(kind: pa.DataType) -> Callable[[pa.Buffer, int], pa.Array]:
    return lambda raw, count: pa.Array.from_buffers(kind, count, [None, raw])


# Of a vector: the type of a value, the bytes of a stored one, and what makes many of the one of those.
_VECTORS: dict[int, tuple[pa.DataType, int, Callable[[pa.Buffer, int], pa.Array]]] = {
    DataType.BINARY_VECTOR: (pa.uint8(), 1, _as_is(pa.uint8())),
    DataType.FLOAT_VECTOR: (pa.float32(), 4, _as_is(pa.float32())),
    DataType.FLOAT16_VECTOR: (pa.float32(), 2, _from_half),
    DataType.BFLOAT16_VECTOR: (pa.float32(), 2, _from_brain),
    DataType.INT8_VECTOR: (pa.int8(), 1, _as_is(pa.int8())),
}


# What is more than is stored: a text where there are bytes, and so on. The others are as `types_of` has them.
_OTHERS = {DataType.JSON: pa.string(), DataType.TIMESTAMPTZ: _TIME, DataType.SPARSE_FLOAT_VECTOR: _SPARSE}


def type_name(number: int) -> str:
    """Return a type of Milvus as pymilvus spells it: `FLOAT_VECTOR`; its number where nobody knows it."""
    return DataType(number).name if number in DataType else str(number)


def arrow_type(field: FieldSchema) -> pa.DataType | None:
    """Return the type that a field's values get; None where they are not read, as those of struct arrays."""
    kind = field.data_type
    if kind in _VECTORS:
        return pa.list_(_VECTORS[kind][0], _length(field))
    if kind == DataType.ARRAY:
        element = FieldSchema(field_id=field.field_id, name=field.name, data_type=field.element_type)
        return pa.list_(arrow_type(element)) if field.element_type in messages.ELEMENT_TYPES else None
    stored = types_of(field)
    if kind == DataType.ARRAY_OF_VECTOR or not stored:
        return None
    return _OTHERS.get(DataType(kind), stored[0])


def read_values(field: FieldSchema, stored: pa.Array) -> pa.Array:
    """Return a field's values, of `arrow_type`, of what is stored of it. Raises `BinlogUnreadableError`."""
    if not len(stored):
        return pa.nulls(0, arrow_type(field))
    expected = types_of(field)
    if stored.type not in expected:
        msg = f"values of field {field.name} are of type {stored.type}, and not {expected[0]}"
        raise BinlogUnreadableError(msg)
    with unreadable(f"values of field {field.name} cannot be read"):
        return _READERS[field.data_type](field, stored) if field.data_type in _READERS else stored


def absent_values(field: FieldSchema, count: int) -> pa.Array:
    """Return what rows have of a field that was added after them: its default, or null where it has none.

    Raises `BinlogUnreadableError`.
    """
    kind = arrow_type(field)
    with unreadable(f"the default of field {field.name} cannot be read"):
        default = messages.read_default(field.default_value) if field.default_value else None
        if isinstance(default, bytes) and kind == pa.string():
            default = default.decode()
        return pa.nulls(count, kind) if default is None else pa.repeat(pa.scalar(default, kind), count)


def _length(field: FieldSchema) -> int:
    """Return how many values a vector has: dimensions, or of a binary one, bytes."""
    dimensions = parameter(field, "dim")
    if not dimensions:
        msg = f"field {field.name} is a vector of unknown dimensions"
        raise BinlogUnreadableError(msg)
    return dimensions // _BITS if field.data_type == DataType.BINARY_VECTOR else dimensions


def _texts(_: FieldSchema, stored: pa.Array) -> pa.Array:
    return stored.cast(pa.string())


def _times(_: FieldSchema, stored: pa.Array) -> pa.Array:
    return stored.cast(_TIME)


def _arrays(field: FieldSchema, stored: pa.Array) -> pa.Array:
    found = (None if item is None else messages.read_array(item, field.element_type) for item in stored.to_pylist())
    return pa.array(found, arrow_type(field))


def _vectors(field: FieldSchema, stored: pa.Array) -> pa.Array:
    _, size, make = _VECTORS[field.data_type]
    length = _length(field)
    width = pa.binary(length * size)
    raw = stored.cast(width)  # where vectors may be null, Milvus stores them as bytes of any number
    mask = None
    if raw.null_count:
        mask = pc.is_null(raw)
        raw = pc.fill_null(raw, pa.scalar(bytes(width.byte_width), width))
    content = _aligned(raw.buffers()[1], raw.offset * width.byte_width, len(raw) * width.byte_width)
    return pa.FixedSizeListArray.from_arrays(make(content, len(raw) * length), length, mask=mask)


def _sparse_vectors(_: FieldSchema, stored: pa.Array) -> pa.Array:
    mask = None
    if stored.null_count:
        mask = pc.is_null(stored)
        stored = pc.fill_null(stored, b"")
    if pc.any(pc.not_equal(pc.bit_wise_and(pc.binary_length(stored), PAIR_BYTES - 1), 0)).as_py():
        msg = "a sparse vector has no whole number of entries"
        raise BinlogUnreadableError(msg)
    starts, content = bytes_of(stored)
    first, last = starts[0].as_py(), starts[-1].as_py()
    pairs = _aligned(content.buffers()[1], first, last - first)
    entries = pa.Array.from_buffers(pa.uint64(), (last - first) // PAIR_BYTES, [None, pairs])
    indices = pc.bit_wise_and(entries, pa.scalar(0xFFFFFFFF, pa.uint64())).cast(pa.uint32())
    weights = pc.shift_right(entries, pa.scalar(32, pa.uint64())).cast(pa.uint32()).view(pa.float32())
    places = pc.divide(pc.subtract(starts, first), PAIR_BYTES).cast(pa.int32())
    return pa.MapArray.from_arrays(places, indices, weights, mask=mask)


def _aligned(buffer: pa.Buffer | None, start: int, size: int) -> pa.Buffer:
    """Return a part of a buffer that begins where numbers of eight bytes may."""
    if buffer is None or not size:
        return pa.py_buffer(b"")
    part = buffer.slice(start, size)
    return part if part.address % 8 == 0 else pa.py_buffer(part.to_pybytes())


_READERS: dict[int, Callable[[FieldSchema, pa.Array], pa.Array]] = {
    **dict.fromkeys(_VECTORS, _vectors),
    DataType.SPARSE_FLOAT_VECTOR: _sparse_vectors,
    DataType.ARRAY: _arrays,
    DataType.JSON: _texts,
    DataType.TIMESTAMPTZ: _times,
}
"""What reads the values of a type; those of the others are as they are stored."""
