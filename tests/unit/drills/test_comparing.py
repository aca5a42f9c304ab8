"""Values in a backup, and those that Milvus returns."""

from datetime import UTC, datetime

import pytest

from milvus_vault.binlogs.values import DataType
from milvus_vault.drills.comparing import (
    as_sought,
    comparable,
    comparable_fields,
    difference,
    other_fields,
)
from milvus_vault.model.collections import CollectionSchema, FieldSchema, FunctionSchema, KeyValue

TIME = datetime(2026, 11, 30, 1, 2, 3, 4, tzinfo=UTC)
MICROSECONDS = 1_796_000_523_000_004


def field(kind: DataType, name: str = "f", **more: object) -> FieldSchema:
    dimensions = (KeyValue(key="dim", value="2"),)
    return FieldSchema(field_id=100, name=name, data_type=kind, type_params=dimensions, **more)


@pytest.mark.parametrize(
    ("kind", "backup", "milvus"),
    [
        (DataType.INT64, 2**63 - 1, 2**63 - 1),
        (DataType.FLOAT, float("nan"), float("nan")),
        (DataType.VARCHAR, "ü", "ü"),
        (DataType.JSON, '{"b": [1], "a": null}', b'{"a":null,"b":[1]}'),
        (DataType.JSON, "no JSON", b"no JSON"),
        (DataType.ARRAY, [1.5, float("nan")], [1.5, float("nan")]),
        (DataType.FLOAT_VECTOR, [0.5, 1.0], [0.5, 1.0]),
        (DataType.SPARSE_FLOAT_VECTOR, [(7, 0.5), (9, 1.0)], {9: 1.0, 7: 0.5}),
        (DataType.TIMESTAMPTZ, TIME, "2026-11-30T02:02:03.000004+01:00"),
        (DataType.TIMESTAMPTZ, TIME, MICROSECONDS),
        (DataType.VARCHAR, None, None),
    ],
)
def test_values_that_are_the_same(kind: DataType, backup: object, milvus: object) -> None:
    assert comparable(field(kind), backup) == comparable(field(kind), milvus)


@pytest.mark.parametrize(
    ("kind", "backup", "milvus"),
    [
        (DataType.INT64, 1, 2),
        (DataType.DOUBLE, 0.1, 0.10000000149011612),
        (DataType.VARCHAR, "a", "A"),
        (DataType.VARCHAR, "", None),
        (DataType.JSON, '{"a": 1}', b'{"a": true}'),
        (DataType.JSON, "null", None),
        (DataType.ARRAY, [1, 2], [2, 1]),
        (DataType.ARRAY, [], None),
        (DataType.FLOAT_VECTOR, [0.5, 1.0], [0.5, 1.0000001192092896]),
        (DataType.BINARY_VECTOR, [1, 2], [1, 3]),
        (DataType.SPARSE_FLOAT_VECTOR, [(7, 0.5)], {7: 0.5, 8: 0.0}),
        (DataType.TIMESTAMPTZ, TIME, MICROSECONDS + 1),
    ],
)
def test_values_that_are_not_the_same(kind: DataType, backup: object, milvus: object) -> None:
    assert comparable(field(kind), backup) != comparable(field(kind), milvus)


def test_what_functions_compute_and_what_is_read_in_no_comparable_form_is_named_and_left_out() -> None:
    schema = CollectionSchema(
        name="c",
        enable_dynamic_field=True,
        fields=(
            field(DataType.INT64, "id", is_primary_key=True),
            field(DataType.SPARSE_FLOAT_VECTOR, "words", is_function_output=True),
            field(DataType.SPARSE_FLOAT_VECTOR, "older"),
            field(DataType.GEOMETRY, "shape"),
            field(DataType.FLOAT_VECTOR, "v"),
        ),
        functions=(FunctionSchema(name="bm25", function_id=1, function_type=1, output_field_names=("older",)),),
    )
    assert list(comparable_fields(schema)) == ["id", "v", "$meta"]
    assert other_fields(schema) == ["words", "older", "shape"]


def test_a_vector_is_searched_for_unless_there_is_nothing_to_search_for() -> None:
    assert as_sought(field(DataType.FLOAT_VECTOR), [0.5, 1.0], "L2") == [0.5, 1.0]
    assert as_sought(field(DataType.SPARSE_FLOAT_VECTOR), [(7, 0.5)], "L2") == {7: 0.5}
    assert as_sought(field(DataType.SPARSE_FLOAT_VECTOR), [], "L2") is None
    assert as_sought(field(DataType.FLOAT_VECTOR), None, "L2") is None
    assert as_sought(field(DataType.ARRAY), [1], "L2") is None
    assert as_sought(field(DataType.FLOAT_VECTOR), [0.0, -0.0], "COSINE") is None
    assert as_sought(field(DataType.FLOAT_VECTOR), [0.0, 0.5], "COSINE") == [0.0, 0.5]
    assert as_sought(field(DataType.FLOAT_VECTOR), [0.0, 0.0], "L2") == [0.0, 0.0]


def test_a_difference_is_told_without_the_values() -> None:
    assert difference([1, 2, 3], [1, 9, 3]) == "element 1 is another one"
    assert difference([1], [1, 2]) == "it has 2 elements instead of 1"
    assert difference("a", None) == "it is null"
    assert difference(None, "a") == "it is not null"
    assert difference("secret", "other") == "it has another value"
