"""What the values of a column must be, by the field whose values they are.

All values of a column are looked at at once. Documents and arrays are taken apart only at the beginning of each part
that is read, since that costs ten times what it costs to read them; of all others the outside is looked at.
"""

import json
from collections.abc import Iterator
from enum import IntEnum

import pyarrow as pa
import pyarrow.compute as pc

from milvus_vault.binlogs.messages import ELEMENT_TYPES, read_array
from milvus_vault.binlogs.parquet import LONGEST
from milvus_vault.errors import BinlogUnreadableError
from milvus_vault.model.collections import FieldSchema

PARSED_AT_FIRST, PARSED_LATER = 1 << 16, 1 << 12
"""Bytes of documents and arrays that are taken apart as a whole: of the first part of a log, and of each later one."""

type Found = tuple[int, str]
"""How many values something is wrong with, and what."""


class DataType(IntEnum):
    """Milvus' numbers of the types that fields have, spelled as pymilvus spells them."""

    BOOL = 1
    INT8 = 2
    INT16 = 3
    INT32 = 4
    INT64 = 5
    FLOAT = 10
    DOUBLE = 11
    STRING = 20
    VARCHAR = 21
    ARRAY = 22
    JSON = 23
    GEOMETRY = 24
    TEXT = 25
    TIMESTAMPTZ = 26
    BINARY_VECTOR = 100
    FLOAT_VECTOR = 101
    FLOAT16_VECTOR = 102
    BFLOAT16_VECTOR = 103
    SPARSE_FLOAT_VECTOR = 104
    INT8_VECTOR = 105
    ARRAY_OF_VECTOR = 106
    ARRAY_OF_STRUCT = 200


_TEXTS = (DataType.STRING, DataType.VARCHAR, DataType.TEXT)
_SCALARS: dict[int, pa.DataType] = {
    DataType.BOOL: pa.bool_(),
    DataType.INT8: pa.int8(),
    DataType.INT16: pa.int16(),
    DataType.INT32: pa.int32(),
    DataType.INT64: pa.int64(),
    DataType.TIMESTAMPTZ: pa.int64(),
    DataType.FLOAT: pa.float32(),
    DataType.DOUBLE: pa.float64(),
    **dict.fromkeys(_TEXTS, pa.string()),
    **dict.fromkeys((DataType.ARRAY, DataType.JSON, DataType.GEOMETRY, DataType.SPARSE_FLOAT_VECTOR), pa.binary()),
}
_NUMBERS = {pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64()}
_NUMBER_BYTES = 20  # in decimal digits, or as protobuf has them
_BITS = {
    DataType.BINARY_VECTOR: 1,
    DataType.FLOAT_VECTOR: 32,
    DataType.FLOAT16_VECTOR: 16,
    DataType.BFLOAT16_VECTOR: 16,
    DataType.INT8_VECTOR: 8,
}
"""Of a dimension."""
VECTORS = frozenset({*_BITS, DataType.SPARSE_FLOAT_VECTOR, DataType.ARRAY_OF_VECTOR})

_GOES_ON = 0x80  # the bit of a byte of a number that has more bytes

PAIR_BYTES = 8
"""Of a sparse vector: an index and its value."""
_INDEX = 0xFFFFFFFF
_BEGINS = b'{["'  # of a JSON value, and how it ends then; anything else is looked at as a whole
_ENDS = b'}]"'
_LONGEST_LENGTH = 5  # bytes


def parameter(field: FieldSchema, name: str) -> int:
    """Return a number among the parameters of a field's type, or 0 where there is none."""
    found = next((item.value for item in field.type_params if item.key == name), "")
    return int(found) if found.isdecimal() else 0


def types_of(field: FieldSchema) -> tuple[pa.DataType, ...]:
    """Return the types that the column of a field may have; none for a type of Milvus that is not looked at."""
    if field.data_type in _BITS:
        vectors = pa.binary(_width(field.data_type, field))
        return (vectors, pa.binary()) if field.nullable else (vectors,)
    if field.data_type == DataType.ARRAY_OF_VECTOR:
        # Messages, or lists: of vectors, of their elements in the first patches of 2.6, of those that may be null.
        inner = [pa.binary(_width(field.element_type, field)), pa.float32(), pa.uint8(), pa.int8(), pa.binary()]
        return (pa.binary(), *(pa.list_(pa.field(name, kind)) for kind in inner for name in ("item", "element")))
    kind = _SCALARS.get(field.data_type)
    return (kind,) if kind else ()


def _width(kind: int, field: FieldSchema) -> int:
    bits = _BITS.get(DataType(kind) if kind in DataType else DataType.INT8_VECTOR, 8)
    return -(-parameter(field, "dim") * bits // 8)


def longest(field: FieldSchema) -> int:
    """Return the bytes that a value of a field may take, as text or as what stands in a column."""
    if field.data_type == DataType.ARRAY:
        element = FieldSchema(field_id=0, name="", data_type=field.element_type, type_params=field.type_params)
        return min(LONGEST, parameter(field, "max_capacity") * longest(element) + _NUMBER_BYTES) or LONGEST
    if field.data_type == DataType.VARCHAR:
        return parameter(field, "max_length") or LONGEST
    return _NUMBER_BYTES if field.data_type in _SCALARS and _SCALARS[field.data_type] in _NUMBERS else LONGEST


def wrong_values(field: FieldSchema, column: pa.Array, parsed_bytes: int = PARSED_AT_FIRST) -> Iterator[Found]:
    """Yield what is wrong with the values of a column, which has one of the field's types.

    Documents and arrays are taken apart as a whole up to that many bytes, of the others the outside is looked at.
    """
    if column.null_count and not field.nullable:
        yield column.null_count, "are null, and none may be"
    values = column.drop_null() if column.null_count else column
    kind = field.data_type
    if kind in _BITS and values.type == pa.binary():
        yield _count(pc.not_equal(pc.binary_length(values), _width(kind, field))), "have another dimension"
    elif kind == DataType.VARCHAR and (most := parameter(field, "max_length")):
        lengths = pc.binary_length(values)
        # The longest one is found in a third of the time that comparing each takes.
        if (pc.max(lengths).as_py() or 0) > most:
            yield _count(pc.greater(lengths, most)), f"are longer than {most:,} bytes"
    elif kind == DataType.SPARSE_FLOAT_VECTOR:
        yield from _wrong_sparse_vectors(values)
    elif kind == DataType.JSON:
        yield from _wrong_documents(values, parsed_bytes)
    elif kind == DataType.ARRAY:
        yield from _wrong_arrays(field, values, parsed_bytes)


def _count(is_wrong: pa.Array) -> int:
    return int(pc.sum(is_wrong, min_count=0).as_py())


def bytes_of(values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return where each of some binary values begins, and the last one ends, and the bytes of all."""
    _, offsets, content = values.buffers()
    starts = pa.Array.from_buffers(pa.int32(), len(values) + 1, [None, offsets], offset=values.offset)
    size = starts[-1].as_py() if content else 0
    return starts, pa.Array.from_buffers(pa.uint8(), size, [None, content or pa.py_buffer(b"")])


def _wrong_sparse_vectors(values: pa.Array) -> Iterator[Found]:
    """Look at vectors of pairs: an index of four bytes, and a value. Indices rise."""
    uneven = _count(pc.not_equal(pc.bit_wise_and(pc.binary_length(values), PAIR_BYTES - 1), 0))
    if uneven:
        yield uneven, "are no sparse vectors"
        return
    if not len(values):
        return
    starts, content = bytes_of(values)
    first = starts[0].as_py()
    pairs = content.buffers()[1][first : starts[-1].as_py()]
    if pairs.address % PAIR_BYTES:
        pairs = pa.py_buffer(pairs.to_pybytes())  # it has to begin where a number of eight bytes may
    count = pairs.size // PAIR_BYTES
    indices = pc.bit_wise_and(pa.Array.from_buffers(pa.uint64(), count, [None, pairs]), pa.scalar(_INDEX, pa.uint64()))
    if count < 2:  # noqa: PLR2004 - a pair of neighbours
        return
    falls = pc.less_equal(indices[1:], indices[:-1])
    # Where a vector begins, an index may be any; `falls` has the one before it.
    begins = pc.subtract(pc.divide(pc.subtract(starts[:-1], first), PAIR_BYTES), 1).unique()
    begins = begins.filter(pc.and_(pc.greater_equal(begins, 0), pc.less(begins, count - 1)))
    wrong = _count(falls) - _count(falls.take(begins))
    if wrong:
        yield wrong, "are indices of sparse vectors that do not rise"


def _first(values: pa.Array, size: int) -> int:
    """Return how many values, from the first on, have that many bytes; one at least."""
    starts, _ = bytes_of(values)
    return max(1, _count(pc.less_equal(starts[1:], starts[0].as_py() + size)))


def _wrong_documents(values: pa.Array, parsed_bytes: int) -> Iterator[Found]:
    if not len(values):
        return
    count = _first(values, parsed_bytes)
    if not (_are_json(values[:count].to_pylist()) and _look_like_json(values[count:])):
        yield sum(not _is_json(document) for document in values.to_pylist()), "are no JSON"


def _are_json(documents: list[bytes]) -> bool:
    """Return whether all documents are JSON. A text ends on its line, since JSON allows no line break in one."""
    try:
        return len(json.loads(b"[" + b",\n".join(documents) + b"]", parse_int=str)) == len(documents)
    except (ValueError, RecursionError):
        return False


def _is_json(document: bytes) -> bool:
    try:
        json.loads(document, parse_int=str)  # Python refuses numbers of some thousand digits
    except ValueError:
        return False
    except RecursionError:
        return True  # as far as anybody can tell
    return True


def _look_like_json(values: pa.Array) -> bool:
    """Return whether all values are texts that begin and end as JSON does."""
    try:
        values.cast(pa.string())
    except pa.ArrowInvalid:
        return False
    if not pc.all(pc.greater(pc.binary_length(values), 0), min_count=0).as_py():
        return False
    starts, content = bytes_of(values)
    first, last = content.take(starts[:-1]), content.take(pc.subtract(starts[1:], 1))
    begins = pc.index_in(first, pa.array(list(_BEGINS), pa.uint8()))
    if begins.null_count:
        return False
    ends = pa.array(list(_ENDS), pa.uint8()).take(begins)
    return bool(pc.all(pc.equal(last, ends), min_count=0).as_py())


def _wrong_arrays(field: FieldSchema, values: pa.Array, parsed_bytes: int) -> Iterator[Found]:
    if field.element_type not in ELEMENT_TYPES or not len(values):
        return
    count = _first(values, parsed_bytes)
    some, others = values[:count].to_pylist(), values[count:]
    # The tag of the member that has the elements, which is one byte.
    tag = next((value[0] for value in some if value), None)
    if all(_is_array(field.element_type, value) for value in some) and _look_like_arrays(tag, others):
        return
    wrong = sum(not _is_array(field.element_type, value) for value in values.to_pylist())
    yield wrong, "are no arrays of the field's elements"


def _look_like_arrays(tag: int | None, values: pa.Array) -> bool:
    """Return whether all values are messages with one member of that tag, as long as the message says."""
    values = values.filter(pc.greater(pc.binary_length(values), 0))  # an empty message is an empty array
    if not len(values):
        return True
    if tag is None:
        return False  # the first ones were all empty: nothing is known of it
    starts, content = bytes_of(values)
    begins, ends = starts[:-1].cast(pa.int64()), starts[1:].cast(pa.int64())
    said = taken = pc.subtract(begins, begins)
    goes_on = pc.equal(content.take(begins), tag)
    if not pc.all(goes_on).as_py():
        return False
    for place in range(_LONGEST_LENGTH):
        byte = content.take(pc.min_element_wise(pc.add(begins, place + 1), pc.subtract(ends, 1))).cast(pa.int64())
        part = pc.shift_left(pc.bit_wise_and(byte, 0x7F), 7 * place)
        said = pc.add(said, pc.if_else(goes_on, part, 0))
        taken = pc.add(taken, goes_on.cast(pa.int64()))
        goes_on = pc.and_(goes_on, pc.greater_equal(byte, _GOES_ON))
        if not pc.any(goes_on).as_py():
            break
    return bool(pc.all(pc.equal(pc.add(pc.add(said, taken), 1), pc.subtract(ends, begins)), min_count=0).as_py())


def _is_array(element_type: int, value: bytes) -> bool:
    try:
        read_array(value, element_type)
    except BinlogUnreadableError:
        return False
    return True
