"""Calls about rows: in, out, and away."""

import json
from collections.abc import Iterator
from typing import Any

from pymilvus.grpc_gen import schema_pb2

from tests.support.milvus_server import refusals, rows
from tests.support.milvus_server.calls.table import Call, answers, as_dict
from tests.support.milvus_server.catalog import Collection
from tests.support.milvus_server.expressions import compile_filter, keys_in
from tests.support.milvus_server.refusals import INVALID, Refusal
from tests.support.milvus_server.values import (
    JSON,
    TIMESTAMP,
    VECTORS,
    Columns,
    Message,
    Value,
    rows_in,
    take,
    to_message,
)

_COUNT = "count(*)"
_LONGEST_ANSWER = 16_384


@answers("Insert")
def insert(call: Call, request: Message, answer: Message) -> None:
    """Add rows."""
    timestamp = call.core.clock.timestamp()
    keys = rows.insert(call.core, call.collection(request), request, timestamp)
    _acknowledge(answer, keys, timestamp)
    answer.insert_cnt = len(keys)


@answers("Upsert")
def upsert(call: Call, request: Message, answer: Message) -> None:
    """Add rows in the place of those with their keys; the delete has the timestamp of the insert."""
    collection = call.collection(request)
    timestamp = call.core.clock.timestamp()
    keys = rows.insert(call.core, collection, request, timestamp)
    rows.delete(collection, keys, request.partition_name, timestamp)
    _acknowledge(answer, keys, timestamp)
    answer.upsert_cnt = answer.insert_cnt = answer.delete_cnt = len(keys)


@answers("Delete")
def delete(call: Call, request: Message, answer: Message) -> None:
    """Delete rows by their keys, or by a filter where the collection is loaded."""
    collection = call.collection(request)
    timestamp = call.core.clock.timestamp()
    keys: list[Value] | None = keys_in(request.expr, collection.key_field.name)
    if keys is None:
        if collection.load is None:
            raise refusals.not_loaded(call.core.version, collection.name)
        found = _matching(collection, rows.live_rows(collection), request.expr)
        keys = found[collection.key_field.fieldID]
    rows.delete(collection, keys, request.partition_name, timestamp)
    _acknowledge(answer, keys, timestamp)
    answer.delete_cnt = len(keys)


def _acknowledge(answer: Message, keys: list[Value], timestamp: int) -> None:
    ids = answer.IDs.str_id if keys and isinstance(keys[0], str) else answer.IDs.int_id
    ids.data.extend(keys)
    answer.succ_index.extend(range(len(keys)))
    answer.timestamp, answer.acknowledged = timestamp, False


@answers("Query")
def query(call: Call, request: Message, answer: Message) -> None:
    """Return rows that a filter fits, or how many there are."""
    collection = call.collection(request)
    there = rows.live_rows(collection, _partitions(call, collection, request))
    first = rows.expired_before(collection, call.core.clock.timestamp())
    shown = [row for row, time in enumerate(there.get(TIMESTAMP, [])) if isinstance(time, int) and time >= first]
    found = _matching(collection, take(there, shown), request.expr)
    options = as_dict(request.query_params)
    answer.collection_name, answer.session_ts = collection.name, call.core.clock.timestamp()
    answer.primary_field_name = collection.key_field.name
    wanted = list(request.output_fields)
    if _COUNT in wanted:
        answer.output_fields.append(_COUNT)
        counted = answer.fields_data.add(field_name=_COUNT, type=schema_pb2.DataType.Value("Int64"))
        counted.scalars.long_data.data.append(rows_in(found))
        return
    limit = int(options.get("limit", 0) or 0)
    if not request.expr.strip() and not limit:
        raise Refusal(INVALID, "empty expression should be used with limit: invalid parameter")
    start = int(options.get("offset", 0) or 0)
    page = _newest_of_each_key(collection, found)[start : start + (limit or _LONGEST_ANSWER)]
    _fill(collection, take(found, page), wanted, answer)


def _partitions(call: Call, collection: Collection, request: Message) -> list[int]:
    """Return the partitions to look into, which must be loaded."""
    load = collection.load
    if load is None or load.ready_at > call.core.clock.now():
        raise refusals.not_loaded(call.core.version, collection.name)
    if request.partition_names and collection.partition_key is not None:
        reason = "not support manually specifying the partition names if partition key mode is used"
        raise Refusal(INVALID, f"{reason}: invalid parameter")
    names = list(request.partition_names) or sorted(load.partitions)
    for name in names:
        if collection.partition(name).name not in load.partitions:
            raise Refusal(201, f"partition not loaded[partition={name}]")
    return [collection.partitions[name].partition_id for name in names]


def _matching(collection: Collection, columns: Columns, expression: str) -> Columns:
    fits = compile_filter(expression)
    return take(columns, [number for number, row in enumerate(_readable(collection, columns)) if fits(row)])


def _readable(collection: Collection, columns: Columns) -> Iterator[dict[str, Any]]:
    """Yield rows by names, JSON as what it says."""
    fields = [field for field in collection.schema.fields if field.data_type not in VECTORS]
    for row in range(rows_in(columns)):
        found: dict[str, Any] = {}
        for field in fields:
            value = columns[field.fieldID][row]
            if field.is_dynamic:
                found = rows.as_json(value) | found
            found[field.name] = json.loads(value) if field.data_type == JSON and isinstance(value, bytes) else value
        yield found


def _newest_of_each_key(collection: Collection, columns: Columns) -> list[int]:
    """Return the rows that a query shows: of those with the same key, the newest; in the order of keys."""
    newest: dict[Any, int] = {}
    times: list[Any] = columns.get(TIMESTAMP, [])
    for row, key in enumerate(columns.get(collection.key_field.fieldID, [])):
        if key not in newest or times[row] >= times[newest[key]]:
            newest[key] = row
    return [newest[key] for key in sorted(newest)]


def _fill(collection: Collection, columns: Columns, wanted: list[str], answer: Message) -> None:
    names = {field.name for field in collection.schema.fields}
    names |= {struct.name for struct in collection.schema.struct_array_fields}
    everything = "*" in wanted
    for field in collection.schema.fields:
        is_asked = everything or field.name in wanted or field.is_primary_key
        if field.is_dynamic:
            is_asked = is_asked or any(name not in names for name in wanted)
        if not is_asked or (field.is_function_output and everything):
            continue
        answer.fields_data.append(to_message(field, columns.get(field.fieldID, [])))
        answer.output_fields.append(field.name)
    for struct in collection.schema.struct_array_fields:
        if everything or struct.name in wanted:
            data = answer.fields_data.add(field_name=struct.name, field_id=struct.fieldID, type="ArrayOfStruct")
            data.struct_arrays.fields.extend(to_message(item, columns.get(item.fieldID, [])) for item in struct.fields)
            answer.output_fields.append(struct.name)
    answer.output_fields.extend(name for name in wanted if name not in names and name != "*")
