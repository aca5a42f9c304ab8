"""Calls about rows: in, out, and away."""

from pymilvus.grpc_gen import schema_pb2

from tests.support.milvus_server import reading, refusals, rows
from tests.support.milvus_server.calls.table import Call, answers, as_dict
from tests.support.milvus_server.expressions import keys_in
from tests.support.milvus_server.refusals import DISK_QUOTA, INVALID, QUOTA_EXCEEDED, Refusal
from tests.support.milvus_server.values import (
    Message,
    Value,
    rows_in,
    take,
)

_COUNT = "count(*)"
_LARGEST_KEY = 2**63 - 1
_LONGEST_ANSWER = 16_384


@answers("Insert")
def insert(call: Call, request: Message, answer: Message) -> None:
    """Add rows."""
    if call.core.faults.over_disk_quota:
        raise Refusal(QUOTA_EXCEEDED, DISK_QUOTA)
    collection = call.collection(request)
    with call.core.stamped(collection) as timestamp:
        keys = rows.insert(call.core, collection, request, timestamp)
    _acknowledge(answer, keys, timestamp)
    answer.insert_cnt = len(keys)


@answers("Upsert")
def upsert(call: Call, request: Message, answer: Message) -> None:
    """Add rows in the place of those with their keys; the delete has the timestamp of the insert."""
    collection = call.collection(request)
    with call.core.stamped(collection) as timestamp:
        keys = rows.insert(call.core, collection, request, timestamp)
        rows.delete(collection, keys, request.partition_name, timestamp)
    _acknowledge(answer, keys, timestamp)
    answer.upsert_cnt = answer.insert_cnt = answer.delete_cnt = len(keys)


@answers("Delete")
def delete(call: Call, request: Message, answer: Message) -> None:
    """Delete rows by their keys, or by a filter where the collection is loaded."""
    collection = call.collection(request)
    keys: list[Value] | None = keys_in(request.expr, collection.key_field.name)
    if keys is None and collection.load is None:
        raise refusals.not_loaded(call.core.version, collection.name)
    with call.core.stamped(collection) as timestamp:
        if keys is None:
            call.core.wait_for_requests(collection, timestamp)
            found = reading.matching(collection, rows.live_rows(collection), request.expr)
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
    found = reading.matching(collection, reading.shown_rows(call.core, collection, request), request.expr)
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
    if call.core.version.hides_largest_key:
        keys = found.get(collection.key_field.fieldID, [])
        found = take(found, [row for row, key in enumerate(keys) if key != _LARGEST_KEY])
    page = reading.newest_of_each_key(collection, found)[start : start + (limit or _LONGEST_ANSWER)]
    data = reading.fields_of(collection, take(found, page), wanted)
    answer.fields_data.extend(data)
    answer.output_fields.extend(reading.names_of(data, wanted))
