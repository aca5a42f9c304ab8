"""Rows as Milvus sends them, and vectors as it takes them."""

import struct
from typing import Any

import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from milvus_vault.adapters.milvus_calls import MilvusCall
from milvus_vault.adapters.milvus_queries import QueryClient
from milvus_vault.binlogs.values import DataType
from milvus_vault.errors import MilvusRequestError
from milvus_vault.model.collections import FieldSchema, IndexDescription, KeyValue
from milvus_vault.ports import Neighbour

HALVES = [0.5, -2.0]


class Answering(MilvusCall):
    """Gives one answer, and keeps what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: Any = None

    def __call__(self, name: str, request: Any, database: str = "", **_: Any) -> Any:
        self.asked = name, request, database
        return self.answer


def scalars(name: str, kind: str, values: list[Any], valid: list[bool] | None = None) -> Any:
    data = schema_pb2.FieldData(field_name=name, valid_data=valid or [])
    getattr(data.scalars, kind).data.extend(values)
    return data


def vectors(name: str, kind: str, content: Any, dimensions: int = 2, valid: list[bool] | None = None) -> Any:
    data = schema_pb2.FieldData(field_name=name, valid_data=valid or [])
    data.vectors.dim = dimensions
    if kind == "float_vector":
        data.vectors.float_vector.data.extend(content)
    elif kind == "sparse_float_vector":
        data.vectors.sparse_float_vector.contents.extend(content)
    else:
        setattr(data.vectors, kind, content)
    return data


def rows(*fields: Any, names: list[str]) -> list[Any]:
    """Return the rows of an answer with these fields, and a key."""
    answer = milvus_pb2.QueryResults(fields_data=[scalars("id", "long_data", [1, 2]), *fields])
    return [dict(row) for row in QueryClient(Answering(answer)).rows_by_key("d", "c", "id", [1, 2], ["id", *names])]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (scalars("f", "bool_data", [True, False]), [True, False]),
        (scalars("f", "int_data", [1, -1]), [1, -1]),
        (scalars("f", "double_data", [0.1, 2.0]), [0.1, 2.0]),
        (scalars("f", "string_data", ["a", ""]), ["a", ""]),
        (scalars("f", "json_data", [b"{}", b"1"]), [b"{}", b"1"]),
        (scalars("f", "long_data", [5, 0], [True, False]), [5, None]),
        (scalars("f", "long_data", [5], [False, True]), [None, 5]),
        (schema_pb2.FieldData(field_name="f", valid_data=[False, False]), [None, None]),
        (vectors("f", "float_vector", [1.0, 2.0, 3.0, 4.0]), [[1.0, 2.0], [3.0, 4.0]]),
        (vectors("f", "binary_vector", b"\x01\x02", 8), [[1], [2]]),
        (vectors("f", "float16_vector", struct.pack("<4e", *HALVES, *HALVES)), [HALVES, HALVES]),
        (vectors("f", "bfloat16_vector", struct.pack("<4H", 0x3F00, 0xC000, 0x3F00, 0xC000)), [HALVES, HALVES]),
        (vectors("f", "int8_vector", b"\x01\xff\x02\x80"), [[1, -1], [2, -128]]),
        (vectors("f", "sparse_float_vector", [struct.pack("<If", 7, 0.5), b""]), [{7: 0.5}, {}]),
        (vectors("f", "float_vector", [1.0, 2.0], valid=[False, True]), [None, [1.0, 2.0]]),
    ],
)
def test_values_of_each_kind(data: Any, expected: list[Any]) -> None:
    assert [row["f"] for row in rows(data, names=["f"])] == expected


def test_arrays_and_the_dynamic_field_that_has_no_name() -> None:
    arrays = schema_pb2.FieldData(field_name="a")
    arrays.scalars.array_data.data.add().long_data.data.extend([1, 2])
    arrays.scalars.array_data.data.add()
    dynamic = schema_pb2.FieldData(is_dynamic=True)
    dynamic.scalars.json_data.data.extend([b"{}", b"{}"])
    first, second = rows(arrays, dynamic, names=["a", "$meta"])
    assert (first["a"], second["a"], second["$meta"]) == ([1, 2], [], b"{}")


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ([1, 2], "id in [1, 2]"),
        (['a"\\', "ü\n"], 'id in ["a\\"\\\\", "ü\\n"]'),
        ([1, -(2**63)], "id in [1] or id < -9223372036854775807"),
        ([-(2**63)], "id < -9223372036854775807"),
    ],
)
def test_keys_are_asked_for_as_constants(keys: list[Any], text: str) -> None:
    call = Answering(milvus_pb2.QueryResults())
    assert QueryClient(call).rows_by_key("d", "c", "id", keys, ["id"]) == []
    assert (call.asked[0], call.asked[1].expr, call.asked[2]) == ("Query", text, "d")


def test_an_answer_without_a_field_that_was_asked_for_is_told() -> None:
    with pytest.raises(MilvusRequestError, match="Query of d"):
        rows(names=["f"])


@pytest.mark.parametrize(
    ("kind", "vector", "sent"),
    [
        (DataType.FLOAT_VECTOR, HALVES, struct.pack("<2f", *HALVES)),
        (DataType.FLOAT16_VECTOR, HALVES, struct.pack("<2e", *HALVES)),
        (DataType.BFLOAT16_VECTOR, HALVES, struct.pack("<2H", 0x3F00, 0xC000)),
        (DataType.INT8_VECTOR, [1, -128], b"\x01\x80"),
        (DataType.BINARY_VECTOR, [1, 255], b"\x01\xff"),
        (DataType.SPARSE_FLOAT_VECTOR, {9: 1.0, 7: 0.5}, struct.pack("<IfIf", 7, 0.5, 9, 1.0)),
    ],
)
def test_a_vector_of_each_kind_is_searched_for(kind: DataType, vector: Any, sent: bytes) -> None:
    answer = milvus_pb2.SearchResults()
    answer.results.ids.str_id.data.extend(["a", "b"])
    answer.results.scores.extend([0.0, 1.5])
    call = Answering(answer)
    index = IndexDescription(
        index_id=1, name="by_v", field_name="v", params=(KeyValue(key="metric_type", value="COSINE"),)
    )
    field = FieldSchema(field_id=101, name="v", data_type=kind)

    found = QueryClient(call).nearest("d", "c", index, field, vector, limit=3, of_key=("id", "a"))

    assert found == [Neighbour("a", 0.0), Neighbour("b", 1.5)]
    _, request, _ = call.asked
    (placeholder,) = common_pb2.PlaceholderGroup.FromString(request.placeholder_group).placeholders
    assert (placeholder.type, list(placeholder.values), request.dsl) == (kind, [sent], 'id in ["a"]')
    params = {pair.key: pair.value for pair in request.search_params}
    assert (params["anns_field"], params["topk"], params["metric_type"]) == ("v", "3", "COSINE")
