"""Search, by looking at every row: for each kind of vector but those in arrays."""

import json
import struct
from collections.abc import Callable

import numpy as np
from pymilvus.grpc_gen import common_pb2

from tests.support.milvus_server import reading
from tests.support.milvus_server.calls.table import Call, answers, as_dict
from tests.support.milvus_server.catalog import Collection
from tests.support.milvus_server.refusals import INVALID, Refusal
from tests.support.milvus_server.values import (
    BFLOAT16_VECTOR,
    BINARY_VECTOR,
    FLOAT16_VECTOR,
    FLOAT_VECTOR,
    INT8_VECTOR,
    SPARSE_VECTOR,
    VECTORS,
    Columns,
    Message,
    Value,
    take,
)

type Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
type Scores = Callable[[Floats, Floats], Floats]


_KINDS = {FLOAT_VECTOR: "<f4", FLOAT16_VECTOR: "<f2", INT8_VECTOR: "<i1"}
_SPARSE_DIMENSIONS = 4096  # of tests; beyond that, indices would meet others


def _cosine(query: Floats, vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    return np.asarray(vectors @ query / np.where(lengths == 0, 1, lengths), dtype=np.float32)


def _jaccard(query: Floats, vectors: Floats) -> Floats:
    both, either = np.minimum(vectors, query).sum(axis=1), np.maximum(vectors, query).sum(axis=1)
    return np.asarray(1 - both / np.where(either == 0, 1, either), dtype=np.float32)


# Of each metric what it gives, and whether more is better.
_METRICS: dict[str, tuple[Scores, bool]] = {
    "L2": (lambda query, vectors: np.asarray(((vectors - query) ** 2).sum(axis=1), dtype=np.float32), False),
    "IP": (lambda query, vectors: np.asarray(vectors @ query, dtype=np.float32), True),
    "COSINE": (_cosine, True),
    "JACCARD": (_jaccard, False),
    "HAMMING": (lambda query, vectors: np.asarray((vectors != query).sum(axis=1), dtype=np.float32), False),
}


@answers("Search")
def search(call: Call, request: Message, answer: Message) -> None:
    """Return the nearest rows of each vector."""
    collection = call.collection(request)
    options = as_dict(request.search_params)
    field = _field(collection, options.get("anns_field", ""))
    metric = options.get("metric_type") or _metric_of(collection, field.name)
    if metric not in _METRICS:
        raise Refusal(INVALID, f"metric type not match: invalid parameter[field={field.name}][metric={metric}]")
    found = reading.matching(collection, reading.shown_rows(call.core, collection, request), request.dsl)
    vectors = _numbers(field, found.get(field.fieldID, []))
    scores, more_is_better = _METRICS[metric]
    start, limit = int(options.get("offset", 0) or 0), int(options.get("topk", 10))
    picked: list[int] = []
    result = answer.results
    for query in _queries(request, field):
        scored = scores(query, vectors) if len(vectors) else np.zeros(0, np.float32)
        order = np.argsort(-scored if more_is_better else scored, kind="stable")[start : start + limit].tolist()
        picked += order
        result.scores.extend(float(scored[row]) for row in order)
        result.topks.append(len(order))
    _fill(collection, take(found, picked), list(request.output_fields), result)
    result.num_queries, result.top_k = len(result.topks), limit
    result.primary_field_name, answer.collection_name = collection.key_field.name, collection.name


def _field(collection: Collection, name: str) -> Message:
    vectors = [field for field in collection.schema.fields if field.data_type in VECTORS]
    return next((field for field in vectors if field.name == name), vectors[0])


def _metric_of(collection: Collection, field_name: str) -> str:
    for index in collection.indexes.values():
        if index.field_name == field_name:
            return index.params.get("metric_type") or json.loads(index.params.get("params", "{}")).get(
                "metric_type", ""
            )
    return ""


def _numbers(field: Message, values: list[Value]) -> Floats:
    there = [value for value in values if isinstance(value, bytes)]
    if field.data_type == SPARSE_VECTOR:
        return np.asarray([_whole(value) for value in there], dtype=np.float32)
    if field.data_type == BFLOAT16_VECTOR:
        # The upper half of a float32.
        return np.asarray(
            [(np.frombuffer(value, "<u2").astype("<u4") << 16).view("<f4") for value in there], np.float32
        )
    if field.data_type == BINARY_VECTOR:
        bits = [np.unpackbits(np.frombuffer(value, np.uint8)) for value in there]
        return np.asarray(bits, dtype=np.float32)
    kind = _KINDS[field.data_type]
    return np.asarray([np.frombuffer(value, kind) for value in there], dtype=np.float32)


def _whole(value: bytes) -> Floats:
    """Return a sparse vector with its zeros, which has to be within some dimensions."""
    found = np.zeros(_SPARSE_DIMENSIONS, np.float32)
    for index, weight in struct.iter_unpack("<If", value):
        found[index % _SPARSE_DIMENSIONS] += weight
    return found


def _queries(request: Message, field: Message) -> Floats:
    group = common_pb2.PlaceholderGroup.FromString(request.placeholder_group)
    return _numbers(field, [value for placeholder in group.placeholders for value in placeholder.values])


def _fill(collection: Collection, picked: Columns, wanted: list[str], result: Message) -> None:
    keys = picked.get(collection.key_field.fieldID, [])
    ids = result.ids.str_id if keys and isinstance(keys[0], str) else result.ids.int_id
    ids.data.extend(keys)
    for data in reading.fields_of(collection, picked, wanted):
        if data.field_name != collection.key_field.name or data.field_name in wanted:
            result.fields_data.append(data)
    result.output_fields.extend(wanted)
