"""What queries and searches show of rows: those in memory and not expired, by filter, as fields of messages."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pymilvus.grpc_gen import schema_pb2

from tests.support.milvus_server import refusals, rows
from tests.support.milvus_server.catalog import Collection
from tests.support.milvus_server.core import Core
from tests.support.milvus_server.expressions import compile_filter
from tests.support.milvus_server.refusals import INVALID, Refusal
from tests.support.milvus_server.values import (
    JSON,
    TIMESTAMP,
    VECTORS,
    Columns,
    Message,
    rows_in,
    take,
    to_message,
)

_STRONG = 0  # common.ConsistencyLevel


def shown_rows(core: Core, collection: Collection, request: Message) -> Columns:
    """Return the rows of the partitions that a request names, or of all that are loaded; refuse what is not.

    At strong consistency they are those of all requests that have an older timestamp than this one.
    """
    if _is_strong(collection, request):
        core.wait_for_requests(collection, core.clock.timestamp())
    there = rows.live_rows(collection, _partitions(core, collection, request))
    first = rows.expired_before(core, collection)
    shown = [row for row, time in enumerate(there.get(TIMESTAMP, [])) if isinstance(time, int) and time >= first]
    return take(there, shown)


def _is_strong(collection: Collection, request: Message) -> bool:
    if request.use_default_consistency:
        return collection.consistency == _STRONG
    # What a client sends for strong consistency; the weaker ones are 1, 2, and the timestamp that it saw last.
    return not request.guarantee_timestamp


def _partitions(core: Core, collection: Collection, request: Message) -> list[int]:
    load = collection.load
    if load is None or load.ready_at > core.clock.now():
        raise refusals.not_loaded(core.version, collection.name)
    if request.partition_names and collection.partition_key is not None:
        reason = "not support manually specifying the partition names if partition key mode is used"
        raise Refusal(INVALID, f"{reason}: invalid parameter")
    names = list(request.partition_names) or sorted(load.partitions)
    for name in names:
        if collection.partition(name).name not in load.partitions:
            raise Refusal(201, f"partition not loaded[partition={name}]")
    hidden = load.hidden if load.hidden_until > core.clock.now() else frozenset()
    return [collection.partitions[name].partition_id for name in names if name not in hidden]


def matching(collection: Collection, columns: Columns, expression: str) -> Columns:
    """Return the rows that a filter fits."""
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


def newest_of_each_key(collection: Collection, columns: Columns) -> list[int]:
    """Return the rows that a query shows: of those with the same key, the newest; in the order of keys."""
    newest: dict[Any, int] = {}
    times: list[Any] = columns.get(TIMESTAMP, [])
    for row, key in enumerate(columns.get(collection.key_field.fieldID, [])):
        if key not in newest or times[row] >= times[newest[key]]:
            newest[key] = row
    return [newest[key] for key in sorted(newest)]


def fields_of(collection: Collection, columns: Columns, wanted: Sequence[str]) -> list[Message]:
    """Return the fields that are wanted, and the key; `*` is all that a client may read."""
    structs = collection.schema.struct_array_fields
    names = {item.name for item in (*collection.schema.fields, *structs)}
    everything = "*" in wanted
    found = []
    for field in collection.schema.fields:
        is_asked = everything or field.name in wanted or field.is_primary_key
        if field.is_dynamic:
            is_asked = is_asked or any(name not in names for name in wanted)
        if is_asked and not (field.is_function_output and everything):
            found.append(to_message(field, columns.get(field.fieldID, [])))
    for struct in structs:
        if everything or struct.name in wanted:
            data = schema_pb2.FieldData(field_name=struct.name, field_id=struct.fieldID, type="ArrayOfStruct")
            data.struct_arrays.fields.extend(to_message(item, columns.get(item.fieldID, [])) for item in struct.fields)
            found.append(data)
    return found


def names_of(fields: Sequence[Message], wanted: Sequence[str]) -> list[str]:
    """Return the names of what is answered: fields, and keys of the dynamic one."""
    names = [data.field_name for data in fields]
    return names + [name for name in wanted if name not in names and name != "*"]
