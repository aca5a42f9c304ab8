"""Which rows deletes leave, and values of each type in each form that Milvus stores."""

import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus.grpc_gen import schema_pb2

from milvus_vault.binlogs.columns import absent_values, arrow_type, read_values
from milvus_vault.binlogs.deletes import Deletes
from milvus_vault.binlogs.messages import read_array, read_default
from milvus_vault.binlogs.rows import InsertLog, NewestDeletes, live
from milvus_vault.binlogs.values import DataType
from milvus_vault.errors import BinlogUnreadableError
from milvus_vault.model.collections import FieldSchema, KeyValue
from tests.support.milvus_server import binlog
from tests.unit.binlogs.logs import PLACE, parquet

_numbers = st.integers(-3, 3)
_texts = st.sampled_from(["", "a", "b", "é"])
_times = st.integers(1, 12)


def _log(deletes: Sequence[tuple[Any, int]], kind: pa.DataType) -> Deletes:
    return Deletes(pa.array([key for key, _ in deletes], kind), pa.array([time for _, time in deletes], pa.int64()))


def _case(keys: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    pairs = st.lists(st.tuples(keys, _times), max_size=12)
    return st.tuples(pairs, st.lists(st.lists(pairs, max_size=3), max_size=3))


@given(
    st.one_of(st.tuples(st.just(pa.int64()), _case(_numbers)), st.tuples(st.just(pa.string()), _case(_texts))),
    st.one_of(st.just(0), _times),
)
def test_deletes_remove_older_rows_of_their_keys_and_no_others(case: tuple[pa.DataType, Any], until: int) -> None:
    kind, (rows, sources) = case
    deletes = [NewestDeletes((_log(log, kind) for log in logs), until) for logs in sources]
    found = live(
        pa.array([key for key, _ in rows], kind), pa.array([time for _, time in rows], pa.int64()), deletes, until
    )

    every = [delete for logs in sources for log in logs for delete in log]
    expected = []
    for key, time in rows:
        is_deleted = any(of == key and time < at and (not until or at <= until) for of, at in every)
        expected.append(not is_deleted and (not until or time <= until))
    assert found.to_pylist() == expected


def test_an_upsert_keeps_its_row_and_removes_the_one_before() -> None:
    deletes = [NewestDeletes([_log([(1, 20)], pa.int64())])]
    assert live(pa.array([1, 1]), pa.array([10, 20]), deletes).to_pylist() == [False, True]


def test_a_delete_of_a_number_takes_sixteen_bytes() -> None:
    many = 200_000
    before = pa.total_allocated_bytes()
    newest = NewestDeletes([Deletes(pa.array(range(many)), pa.array(range(many)))])
    assert pa.total_allocated_bytes() - before < 20 * many
    assert newest.spare(pa.array([5]), pa.array([5])).to_pylist() == [True]


# --- values ---------------------------------------------------------------------------------------


def _field(data_type: int, dim: int = 0, **fields: Any) -> FieldSchema:
    params = (KeyValue(key="dim", value=str(dim)),) if dim else ()
    return FieldSchema(field_id=101, name="f", data_type=data_type, type_params=params, **fields)


VECTORS = [
    (DataType.FLOAT_VECTOR, 2, struct.pack("<2f", 0.5, -2), [0.5, -2.0]),
    (DataType.FLOAT16_VECTOR, 2, np.array([65504, -0.1], "<f2").tobytes(), [65504.0, float(np.float16(-0.1))]),
    (DataType.BFLOAT16_VECTOR, 2, b"\x80\x3f\xc0\xbf", [1.0, -1.5]),
    (DataType.INT8_VECTOR, 3, b"\x00\x7f\x80", [0, 127, -128]),
    (DataType.BINARY_VECTOR, 16, b"\x01\xff", [1, 255]),
]


@pytest.mark.parametrize(("kind", "dim", "raw", "values"), VECTORS)
@pytest.mark.parametrize("is_of_fixed_size", [True, False])
def test_vectors_are_lists_of_one_length_and_may_be_null(
    kind: DataType, dim: int, raw: bytes, values: list[Any], is_of_fixed_size: bool
) -> None:
    stored = pa.array([None, raw, raw, None], pa.binary(len(raw)) if is_of_fixed_size else pa.binary())
    field = _field(kind, dim, nullable=True)
    for part, expected in ((stored, [None, values, values, None]), (stored[2:], [values, None]), (stored[:0], [])):
        found = read_values(field, part)
        found.validate(full=True)
        assert (found.type, found.to_pylist()) == (arrow_type(field), expected)
    assert pa.types.is_fixed_size_list(arrow_type(field))


def test_sparse_vectors_are_maps() -> None:
    stored = pa.array([struct.pack("<IfIf", 7, 0.5, 2**32 - 1, -1.0), None, b"", struct.pack("<If", 0, 1.0)])
    field = _field(DataType.SPARSE_FLOAT_VECTOR)
    expected = [[(7, 0.5), (2**32 - 1, -1.0)], None, [], [(0, 1.0)]]
    for start in range(5):
        found = read_values(field, stored[start:])
        found.validate(full=True)
        assert found.to_pylist() == expected[start:]
        assert found.type == arrow_type(field)
    with pytest.raises(BinlogUnreadableError, match="no whole number of entries"):
        read_values(field, pa.array([b"1234567"]))


@pytest.mark.parametrize(
    ("kind", "stored", "expected"),
    [
        (DataType.BOOL, pa.array([True, None]), [True, None]),
        (DataType.INT8, pa.array([-128], pa.int8()), [-128]),
        (DataType.INT64, pa.array([2**63 - 1]), [2**63 - 1]),
        (DataType.FLOAT, pa.array([0.1], pa.float32()), [float(np.float32(0.1))]),
        (DataType.VARCHAR, pa.array(["é", None, ""]), ["é", None, ""]),
        (DataType.TEXT, pa.array(["é"]), ["é"]),
        (DataType.JSON, pa.array([b'{"a":1}', None]), ['{"a":1}', None]),
        (DataType.GEOMETRY, pa.array([b"\x01\x02"]), [b"\x01\x02"]),
    ],
)
def test_scalars_are_what_they_are(kind: DataType, stored: pa.Array, expected: list[Any]) -> None:
    assert read_values(_field(kind), stored).to_pylist() == expected


def test_times_have_a_zone() -> None:
    found = read_values(_field(DataType.TIMESTAMPTZ), pa.array([1_700_000_000_000_001]))
    assert found.to_pylist()[0].isoformat() == "2023-11-14T22:13:20.000001+00:00"


@pytest.mark.parametrize(
    ("field", "stored", "said"),
    [
        (_field(DataType.INT64), pa.array(["1"]), "are of type string, and not int64"),
        (_field(DataType.FLOAT_VECTOR, 2), pa.array([b"1234"], pa.binary(4)), "and not fixed_size_binary.8."),
        (_field(DataType.FLOAT_VECTOR, 2, nullable=True), pa.array([b"1234"]), "cannot be read"),
        (_field(DataType.JSON), pa.array([b"\xff"]), "cannot be read"),
        (_field(DataType.FLOAT_VECTOR), pa.array([b"1234"]), "of type binary, and not fixed_size_binary"),
        (_field(DataType.ARRAY, element_type=5), pa.array([b"\x1a\x02\x0a"]), "ends after it"),
    ],
)
def test_what_does_not_fit_its_field_is_unreadable(field: FieldSchema, stored: pa.Array, said: str) -> None:
    with pytest.raises(BinlogUnreadableError, match=said):
        read_values(field, stored)


@pytest.mark.parametrize("kind", [DataType.ARRAY_OF_VECTOR, DataType.ARRAY_OF_STRUCT, 9999])
def test_other_types_have_none(kind: int) -> None:
    assert arrow_type(_field(kind)) is None


_MEMBERS = {
    1: ("bool_data", st.booleans()),
    4: ("int_data", st.integers(-(2**31), 2**31 - 1)),
    5: ("long_data", st.integers(-(2**63), 2**63 - 1)),
    10: ("float_data", st.floats(width=32, allow_nan=False)),
    11: ("double_data", st.floats(allow_nan=False)),
    21: ("string_data", st.text()),
}
_arrays = st.sampled_from(sorted(_MEMBERS)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(_MEMBERS[kind][1], max_size=5))
)


@given(_arrays)
def test_arrays_are_read_as_protocol_buffers_write_them(case: tuple[int, list[Any]]) -> None:
    kind, elements = case
    message = schema_pb2.ScalarField()
    member = getattr(message, _MEMBERS[kind][0])
    member.SetInParent()
    member.data.extend(elements)
    assert read_array(message.SerializeToString(), kind) == elements
    field = _field(DataType.ARRAY, element_type=kind)
    stored = pa.array([message.SerializeToString(), None, b""])
    assert read_values(field, stored).to_pylist() == [elements, None, []]


def test_an_array_of_other_elements_is_unreadable() -> None:
    message = schema_pb2.ScalarField()
    message.long_data.data.append(1)
    with pytest.raises(BinlogUnreadableError, match="an array of elements of type 21 has member 3"):
        read_array(message.SerializeToString(), 21)


@given(st.binary(max_size=40), st.sampled_from(sorted(_MEMBERS)))
def test_whatever_is_no_message_is_unreadable_or_read(message: bytes, kind: int) -> None:
    for read in (lambda: read_array(message, kind), lambda: read_default(message)):
        with suppress(BinlogUnreadableError):
            read()


@pytest.mark.parametrize(
    ("kind", "member", "value"),
    [
        (DataType.BOOL, "bool_data", True),
        (DataType.INT16, "int_data", -5),
        (DataType.INT64, "long_data", -(2**63)),
        (DataType.FLOAT, "float_data", 0.5),
        (DataType.DOUBLE, "double_data", 0.1),
        (DataType.VARCHAR, "string_data", "é"),
        (DataType.JSON, "bytes_data", b'{"a":1}'),
    ],
)
def test_older_rows_have_a_field_s_default_or_null(kind: DataType, member: str, value: Any) -> None:
    default = schema_pb2.ValueField(**{member: value}).SerializeToString()
    meant = value.decode() if isinstance(value, bytes) else value
    assert absent_values(_field(kind, default_value=default), 2).to_pylist() == [meant, meant]
    assert absent_values(_field(kind), 2).to_pylist() == [None, None]


def test_a_vector_that_came_later_is_null_in_older_rows() -> None:
    assert absent_values(_field(DataType.FLOAT_VECTOR, 2), 1).to_pylist() == [None]


def test_a_default_that_does_not_fit_is_unreadable() -> None:
    default = schema_pb2.ValueField(string_data="x").SerializeToString()
    with pytest.raises(BinlogUnreadableError, match="the default of field f cannot be read"):
        absent_values(_field(DataType.INT64, default_value=default), 1)


# --- logs -----------------------------------------------------------------------------------------


def test_a_log_of_a_field_says_of_which_one_it_is() -> None:
    column = schema_pb2.FieldSchema(fieldID=100, name="id", data_type=5)
    log = InsertLog(binlog.write_insert_log(PLACE, column, [1, 2], [3, 4], names_fields=True))
    assert log.place == (PLACE.collection_id, PLACE.partition_id, PLACE.segment_id, 100)
    assert (log.field_ids, log.column_groups) == ((100,), ())
    assert [part.to_pylist() for part in log.stored(100)] == [[1, 2]]
    with pytest.raises(BinlogUnreadableError, match="it has no column of field 101"):
        list(log.stored(101))


def test_deletes_are_no_rows() -> None:
    body = binlog.write_delta_log(PLACE, [(1, 2)], names_fields=True)
    with pytest.raises(BinlogUnreadableError, match="an event of kind 2 among its rows"):
        InsertLog(body)


def test_a_log_of_a_group_says_which_fields_it_has() -> None:
    log = InsertLog(parquet({"a": pa.array([1]), "b": pa.array(["x"])}, field_ids=True))
    assert (log.place, log.field_ids) == (None, (0, 1))
    assert [part.to_pylist() for part in log.stored(1)] == [["x"]]
    assert log.column_groups == ()
