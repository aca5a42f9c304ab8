"""Values of a row in a backup, and those that Milvus returns: whether they are the same.

Numbers are compared exactly, since both come from the same bytes; NaN is the same as NaN. JSON is the same where it
says the same, in whatever order, and a time where it is the same moment.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from milvus_vault.binlogs.values import VECTORS, DataType
from milvus_vault.model.collections import CollectionSchema, FieldSchema
from milvus_vault.model.times import EPOCH
from milvus_vault.rows import readable_fields


def comparable_fields(schema: CollectionSchema) -> Mapping[str, FieldSchema]:
    """Return the fields whose values can be compared, by name.

    What a function computes Milvus returns of no row, shapes it returns as texts, and structs are not read of binlogs.
    """
    computed = {name for function in schema.functions for name in function.output_field_names}
    return {
        name: field
        for name, field in readable_fields(schema).items()
        if field.data_type != DataType.GEOMETRY and not field.is_function_output and name not in computed
    }


def other_fields(schema: CollectionSchema) -> list[str]:
    """Return the names of the fields whose values cannot be compared."""
    compared = comparable_fields(schema)
    names = [*(field.name for field in schema.fields), *(struct.name for struct in schema.struct_array_fields)]
    return [name for name in names if name not in compared]


def comparable(field: FieldSchema, value: object) -> object:
    """Return a value as Arrow has it, or as Milvus returns it, in the one form in which both can be compared."""
    if value is None:
        return None
    if field.data_type == DataType.JSON and isinstance(value, str | bytes):
        return _json(value)
    if field.data_type == DataType.TIMESTAMPTZ:
        return _moment(value)
    if field.data_type == DataType.SPARSE_FLOAT_VECTOR:
        return _sparse(value)
    if isinstance(value, list):
        return [_number(item) for item in value]
    return _number(value)


def as_sought(field: FieldSchema, value: object, metric: str) -> object:
    """Return a vector as a search by a metric takes it; None for one that no search can find.

    That is null, a sparse one without a weight, and by COSINE one of zeros, which is like nothing.
    """
    found = comparable(field, value)
    if field.data_type not in VECTORS or not isinstance(found, list):
        return None
    if field.data_type == DataType.SPARSE_FLOAT_VECTOR:
        return dict(found) or None
    if metric == "COSINE" and not any(found):
        return None
    return found


def difference(expected: object, found: object) -> str:
    """Return how two values differ, without a word of what they are: it is told to people who may not read rows."""
    if expected is None or found is None:
        return "it is null" if found is None else "it is not null"
    if isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return f"it has {len(found)} elements instead of {len(expected)}"
        place = next(at for at, pair in enumerate(zip(expected, found, strict=True)) if pair[0] != pair[1])
        return f"element {place} is another one"
    return "it has another value"


def _number(value: object) -> object:
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def _json(value: str | bytes) -> object:
    try:
        return json.dumps(json.loads(value), sort_keys=True)
    except (ValueError, RecursionError):
        return value.decode(errors="replace") if isinstance(value, bytes) else value


def _moment(value: object) -> object:
    """Return microseconds since 1970."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - EPOCH) // timedelta(microseconds=1)
    return value


def _sparse(value: object) -> object:
    """Return index and weight of each element: Milvus answers with a mapping, the rows of a backup with pairs."""
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    return sorted((index, _number(weight)) for index, weight in pairs) if isinstance(pairs, list) else pairs
