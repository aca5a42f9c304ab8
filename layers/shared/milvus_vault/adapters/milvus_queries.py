"""Rows of loaded collections: read by their keys, and found by their vectors."""

import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import batched
from typing import override

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from milvus_vault.adapters.milvus_calls import Message, MilvusClient
from milvus_vault.adapters.milvus_errors import check, understood
from milvus_vault.adapters.milvus_schema import pairs
from milvus_vault.model.collections import DYNAMIC_FIELD, FieldSchema, IndexDescription, KeyValue
from milvus_vault.ports import Neighbour, Queries

# Numbers of `schema.DataType`, which a placeholder's type has as well.
_BINARY, _FLOAT, _FLOAT16, _BFLOAT16, _SPARSE, _INT8 = 100, 101, 102, 103, 104, 105

# Each kind of index takes what it knows of these. 2.2 and 2.3 refuse some that are asked without: they look at so many
# neighbours, lists or candidates.
_SEARCH_PARAMS = {"nprobe": 16, "ef": 64, "search_list": 64, "reorder_k": 64}

# Of all keys. 2.3.5 reads the sign for itself, and the number behind it is too large then.
_LEAST = -(2**63)


class QueryClient(MilvusClient, Queries):
    """The calls that read rows."""

    @override
    def rows_by_key(
        self, database: str, name: str, key: str, keys: Sequence[int | str], fields: Sequence[str]
    ) -> list[Mapping[str, object]]:
        request = milvus_pb2.QueryRequest(
            db_name=database,
            collection_name=name,
            expr=_key_filter(key, keys),
            output_fields=fields,
            consistency_level=common_pb2.ConsistencyLevel.Value("Strong"),
        )
        answer = self._call("Query", request, database)
        check(answer.status, "Query", f"{database}.{name}")
        with understood("Query", f"{database}.{name}"):
            columns = {_name_of(data): _values(data) for data in answer.fields_data}
            return [
                {field: columns[field][row] for field in fields} for row in range(len(columns[key]) if columns else 0)
            ]

    @override
    def nearest(
        self,
        database: str,
        name: str,
        index: IndexDescription,
        field: FieldSchema,
        vector: object,
        *,
        limit: int,
        of_key: tuple[str, int | str] | None = None,
    ) -> list[Neighbour]:
        sought = common_pb2.PlaceholderValue(
            tag="$0", type=field.data_type, values=[_ENCODERS[field.data_type](vector)]
        )
        params = {
            "anns_field": field.name,
            "topk": str(limit),
            "metric_type": index.param("metric_type"),
            "params": json.dumps(_SEARCH_PARAMS),
            "round_decimal": "-1",
        }
        request = milvus_pb2.SearchRequest(
            db_name=database,
            collection_name=name,
            dsl=_key_filter(of_key[0], [of_key[1]]) if of_key else "",
            dsl_type=common_pb2.DslType.Value("BoolExprV1"),
            placeholder_group=common_pb2.PlaceholderGroup(placeholders=[sought]).SerializeToString(),
            search_params=pairs(KeyValue(key=key, value=value) for key, value in params.items()),
            nq=1,
            consistency_level=common_pb2.ConsistencyLevel.Value("Strong"),
        )
        answer = self._call("Search", request, database)
        check(answer.status, "Search", f"{database}.{name} field {field.name}")
        with understood("Search", f"{database}.{name}"):
            ids = answer.results.ids
            keys = ids.str_id.data if ids.WhichOneof("id_field") == "str_id" else ids.int_id.data
            return [Neighbour(key, score) for key, score in zip(keys, answer.results.scores, strict=True)]


def _key_filter(key: str, keys: Sequence[int | str]) -> str:
    """Return the filter of the rows with some primary keys."""
    constants = [json.dumps(value, ensure_ascii=False) for value in keys if value != _LEAST]
    filters = [f"{key} in [{', '.join(constants)}]"] if constants else []
    if _LEAST in keys:
        filters.append(f"{key} < {_LEAST + 1}")
    return " or ".join(filters)


def _name_of(data: Message) -> str:
    return data.field_name or (DYNAMIC_FIELD if data.is_dynamic else "")


def _values(data: Message) -> list[object]:
    """Return the values of a `schema.FieldData` message; null is None, whether or not it has a place of its own."""
    found = list(_VALUES[data.WhichOneof("field")](data)) if data.WhichOneof("field") else []
    valid = list(data.valid_data)
    if not valid:
        return found
    if len(found) == len(valid):
        return [value if is_there else None for value, is_there in zip(found, valid, strict=True)]
    there = iter(found)
    return [next(there) if is_there else None for is_there in valid]


def _scalars(data: Message) -> Iterable[object]:
    kind = data.scalars.WhichOneof("data")
    if kind is None:
        return ()
    values = getattr(data.scalars, kind).data
    return (_elements(value) for value in values) if kind == "array_data" else values


def _elements(array: Message) -> list[object]:
    kind = array.WhichOneof("data")
    return list(getattr(array, kind).data) if kind else []


def _vectors(data: Message) -> Iterable[object]:
    kind = data.vectors.WhichOneof("data")
    return _VECTORS[kind](getattr(data.vectors, kind), data.vectors.dim) if kind else ()


def _from_brain(halves: Sequence[int]) -> list[float]:
    """Return numbers of which the upper halves of float32 are given."""
    wide = struct.pack(f"<{len(halves)}I", *(half << 16 for half in halves))
    return list(struct.unpack(f"<{len(halves)}f", wide))


def _unpacked(form: str) -> Callable[[bytes, int], Iterable[object]]:
    return lambda content, dimensions: map(list, struct.iter_unpack(f"<{dimensions}{form}", content))


_VECTORS: Mapping[str, Callable[[Message, int], Iterable[object]]] = {
    "float_vector": lambda numbers, dimensions: map(list, batched(numbers.data, dimensions, strict=True)),
    "binary_vector": lambda content, dimensions: map(list, batched(content, dimensions // 8, strict=True)),
    "float16_vector": _unpacked("e"),
    "bfloat16_vector": lambda content, dimensions: map(_from_brain, struct.iter_unpack(f"<{dimensions}H", content)),
    "int8_vector": _unpacked("b"),
    "sparse_float_vector": lambda rows, _: (dict(struct.iter_unpack("<If", row)) for row in rows.contents),
}
"""What yields the vectors of each kind of message, by the name of its member."""

_VALUES: Mapping[str, Callable[[Message], Iterable[object]]] = {"scalars": _scalars, "vectors": _vectors}


def _packed(form: str) -> Callable[[Message], bytes]:
    return lambda vector: struct.pack(f"<{len(vector)}{form}", *vector)


def _brain(vector: Message) -> bytes:
    wide = struct.unpack(f"<{len(vector)}I", struct.pack(f"<{len(vector)}f", *vector))
    return struct.pack(f"<{len(vector)}H", *(number >> 16 for number in wide))


_ENCODERS: Mapping[int, Callable[[Message], bytes]] = {
    _BINARY: bytes,
    _FLOAT: _packed("f"),
    _FLOAT16: _packed("e"),
    _BFLOAT16: _brain,
    _INT8: _packed("b"),
    _SPARSE: lambda vector: b"".join(struct.pack("<If", *pair) for pair in sorted(vector.items())),
}
"""What makes the bytes of a vector, by the number of its type."""
