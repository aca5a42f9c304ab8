"""Rows on their way in: which partition, which channel, which segment."""

import json
import struct
import zlib
from collections import Counter
from collections.abc import Sequence

from pymilvus.grpc_gen import schema_pb2

from tests.support.milvus_server.catalog import (
    ALL_PARTITIONS,
    DEFAULT_PARTITION,
    FLUSHED,
    GROWING,
    L1,
    LEGACY,
    SEALED,
    Collection,
    Partition,
    Pending,
    Segment,
)
from tests.support.milvus_server.core import Core
from tests.support.milvus_server.refusals import INVALID, Refusal
from tests.support.milvus_server.values import (
    ROW_ID,
    TIMESTAMP,
    Columns,
    Message,
    Value,
    default_of,
    from_message,
    join,
    rows_in,
    stored_fields,
    take,
    width,
)

_LONGEST_HASHED_TEXT = 100


def hash_of(value: Value) -> int:
    """Return Milvus' hash of a key, which decides on channel and partition."""
    if isinstance(value, str):
        return zlib.crc32(value[:_LONGEST_HASHED_TEXT].encode())
    return _murmur3(int(value or 0).to_bytes(8, "little", signed=True)) & 0x7FFFFFFF


def _murmur3(data: bytes) -> int:
    state, mask = 0, 0xFFFFFFFF
    for (word,) in struct.iter_unpack("<I", data):
        mixed = word * 0xCC9E2D51 & mask
        mixed = (mixed << 15 | mixed >> 17) & mask
        state ^= mixed * 0x1B873593 & mask
        state = (state << 13 | state >> 19) & mask
        state = (state * 5 + 0xE6546B64) & mask
    state ^= len(data)
    state = (state ^ state >> 16) * 0x85EBCA6B & mask
    state = (state ^ state >> 13) * 0xC2B2AE35 & mask
    return state ^ state >> 16


def channel_of(collection: Collection, key: Value) -> str:
    """Return the channel of a row."""
    return collection.channels[hash_of(key) % collection.shards]


def insert(core: Core, collection: Collection, request: Message, timestamp: int) -> list[Value]:
    """Add the rows of a request as growing ones, and return their keys."""
    count = int(request.num_rows)
    columns = _columns(core, collection, request, count)
    columns[ROW_ID] = [core.clock.new_id() for _ in range(count)]
    key = collection.key_field
    if key.autoID and key.fieldID not in columns:
        ids = columns[ROW_ID]
        columns[key.fieldID] = ids if key.data_type == schema_pb2.DataType.Value("Int64") else [str(i) for i in ids]
    columns[TIMESTAMP] = [timestamp] * count
    _run_functions(collection, columns)
    keys = columns[key.fieldID]
    homes: dict[tuple[int, str], list[int]] = {}
    for row in range(count):
        partition = _partition_of(collection, request.partition_name, columns, row)
        homes.setdefault((partition.partition_id, channel_of(collection, keys[row])), []).append(row)
    for (partition_id, channel), rows in homes.items():
        segment = _growing(core, collection, partition_id, channel)
        segment.columns = join([segment.columns, take(columns, rows)]) if segment.columns else take(columns, rows)
    return keys


def _columns(core: Core, collection: Collection, request: Message, count: int) -> Columns:
    given = {data.field_name: data for data in request.fields_data}
    for data in request.fields_data:
        given |= {inner.field_name: inner for inner in data.struct_arrays.fields}
    dynamic = next((data for data in request.fields_data if data.is_dynamic), None)
    columns: Columns = {}
    for field in stored_fields(collection.schema):
        data = dynamic if field.is_dynamic else given.get(field.name)
        if field.is_function_output or (field.is_primary_key and field.autoID and data is None):
            continue
        if data is not None:
            try:
                columns[field.fieldID] = from_message(data, field, count)
            except ValueError as err:
                raise Refusal(INVALID, f"{err}: invalid parameter[expected={count}]") from err
        elif field.is_dynamic:
            columns[field.fieldID] = [b"{}"] * count
        elif core.version.has_nullable and (field.nullable or field.HasField("default_value")):
            columns[field.fieldID] = [default_of(field)] * count
        else:
            reason = f"fieldSchema({field.name}) has no corresponding fieldData pass in: invalid parameter"
            raise Refusal(INVALID, reason)
    return columns


def _run_functions(collection: Collection, columns: Columns) -> None:
    """Fill the outputs of functions: weights by hash of each word, with a simple idea of words; vectors by hash."""
    for function in collection.schema.functions:
        texts = columns[function.input_field_ids[0]]
        if function.type != schema_pb2.FunctionType.Value("BM25"):
            output = next(field for field in collection.schema.fields if field.fieldID == function.output_field_ids[0])
            columns[output.fieldID] = [zlib.crc32(str(text).encode()).to_bytes(width(output)) for text in texts]
            continue
        weights = [Counter(zlib.crc32(word.encode()) for word in str(text).lower().split()) for text in texts]
        columns[function.output_field_ids[0]] = [
            b"".join(struct.pack("<If", *pair) for pair in sorted(found.items())) for found in weights
        ]


def _partition_of(collection: Collection, name: str, columns: Columns, row: int) -> Partition:
    key = collection.partition_key
    if key is None:
        return collection.partition(name or DEFAULT_PARTITION)
    number = hash_of(columns[key.fieldID][row]) % len(collection.partitions)
    return collection.partition(f"{DEFAULT_PARTITION}_{number}")


def _growing(core: Core, collection: Collection, partition_id: int, channel: str) -> Segment:
    for segment in collection.of_state(GROWING):
        if (segment.partition_id, segment.channel) == (partition_id, channel):
            return segment
    return core.new_segment(collection, partition_id, channel, L1 if core.version.has_l0 else LEGACY)


def delete(collection: Collection, keys: Sequence[Value], partition: str, timestamp: int) -> None:
    """Delete rows by key, wherever they are; they go with the next flush."""
    number = collection.partition(partition).partition_id if partition else ALL_PARTITIONS
    collection.pending += [Pending(key, timestamp, number, channel_of(collection, key)) for key in keys]


def live_rows(collection: Collection, partitions: Sequence[int] = ()) -> Columns:
    """Return all rows that are not deleted, of some partitions or of all, in the order of their segments."""
    parts = [
        _with_all_fields(collection, take(segment.columns, collection.alive(segment)))
        for segment in collection.of_state(GROWING, SEALED, FLUSHED)
        if segment.columns and (not partitions or segment.partition_id in partitions)
    ]
    return join(parts)


def expired_before(core: Core, collection: Collection) -> int:
    """Return the timestamp before which rows do not show any more, for their time to live."""
    by_server = core.settings.entity_expiration if core.version.hides_expired else 0
    seconds = float(collection.properties.get("collection.ttl.seconds", by_server))
    return core.clock.timestamp() - (int(seconds * 1000) << 18) if seconds > 0 else 0


def _with_all_fields(collection: Collection, columns: Columns) -> Columns:
    """Return rows with what they have in fields that were added after them."""
    count = rows_in(columns)
    for field in stored_fields(collection.schema):
        columns.setdefault(field.fieldID, [b"{}" if field.is_dynamic else default_of(field)] * count)
    return columns


def as_json(value: Value) -> dict[str, object]:
    """Return a dynamic field's value."""
    found = json.loads(value) if isinstance(value, bytes) and value else {}
    return found if isinstance(found, dict) else {}
