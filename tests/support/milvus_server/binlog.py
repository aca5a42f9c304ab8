"""Binlogs of storage version 1: an insert log holds one field's values, a delta log keys that were deleted.

A file is a magic number, a descriptor, and events of which each carries a Parquet file. Up to 2.4 the column is
called `val` and holds no nulls; from 2.5 on its name is the field's ID and the descriptor says whether nulls occur.
"""

import io
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.milvus_server.values import ROW_ID, TIMESTAMP, Message, Value, arrow_type

_MAGIC = struct.Struct("<i")
_HEADER = struct.Struct("<QbiI")  # timestamp, type, length of the event, position of the next
_DESCRIPTOR = struct.Struct("<qqqqQQi")  # collection, partition, segment, field, first and last timestamp, data type
_SPAN = struct.Struct("<QQ")  # first and last timestamp of an event
_POST_HEADERS = bytes((52, 16, 16, 16, 16, 16, 16, 16))  # lengths of the fixed part, for each type of event
_MAGIC_NUMBER = 0xFFFABC
_DESCRIPTOR_EVENT, _INSERT_EVENT, _DELETE_EVENT = 0, 1, 2
_INT64, _TEXT = 5, 20
_NO_FIELD = -1
_NO_POSITION = 0xFFFFFFFF

type Delete = tuple[Value, int]
"""A key, and the timestamp of its delete."""


class DamagedBinlogError(ValueError):
    """The bytes are no binlog, or no whole one."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a binlog belongs to."""

    collection_id: int
    partition_id: int
    segment_id: int


@dataclass(frozen=True, slots=True)
class Binlog:
    """What a binlog says."""

    place: Place
    field_id: int
    data_type: int
    extra: dict[str, object]
    columns: dict[str, list[Value]]


def read(content: bytes) -> Binlog:
    """Return what is in a binlog. Raises `DamagedBinlogError`."""
    try:
        return _read(content)
    except (struct.error, pa.ArrowException, OSError, ValueError, IndexError) as err:
        msg = f"not a whole binlog: {err}"
        raise DamagedBinlogError(msg) from err


def _read(content: bytes) -> Binlog:
    if _MAGIC.unpack_from(content)[0] != _MAGIC_NUMBER:
        msg = "it does not begin as one"
        raise DamagedBinlogError(msg)
    position = _MAGIC.size
    _, kind, length, _ = _HEADER.unpack_from(content, position)
    collection, partition, segment, field, _, _, data_type = _DESCRIPTOR.unpack_from(content, position + _HEADER.size)
    end = position + length
    if kind != _DESCRIPTOR_EVENT or end > len(content):
        msg = "it has no descriptor"
        raise DamagedBinlogError(msg)
    extra = _extra(content[position + _HEADER.size + _DESCRIPTOR.size : end])
    columns: dict[str, list[Value]] = {}
    position = end
    while position < len(content):
        _, _, length, _ = _HEADER.unpack_from(content, position)
        start, end = position + _HEADER.size + _SPAN.size, position + length
        if end > len(content) or end <= start:
            msg = "it is cut off"
            raise DamagedBinlogError(msg)
        for name, values in read_parquet(content[start:end]).items():
            columns.setdefault(name, []).extend(values)
        position = end
    return Binlog(Place(collection, partition, segment), field, data_type, extra, columns)


def _extra(rest: bytes) -> dict[str, object]:
    """Return the descriptor's JSON, which comes after as many bytes as there are types of events."""
    for start in range(len(_POST_HEADERS), len(rest) - 3):
        (length,) = _MAGIC.unpack_from(rest, start)
        if length == len(rest) - start - 4:
            found: dict[str, object] = json.loads(rest[start + 4 :] or b"{}")
            return found
    return {}


def read_parquet(content: bytes) -> dict[str, list[Value]]:
    """Return the columns of a Parquet file."""
    # A third of what `read_table` takes, which looks for a data set first.
    table = pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True).read(use_threads=False)
    return {name: table.column(name).to_pylist() for name in table.column_names}


def write_insert_log(
    place: Place, field: Message, values: Sequence[Value], timestamps: Sequence[int], *, names_fields: bool
) -> bytes:
    """Return the binlog of one field; `names_fields` for the form from 2.5 on."""
    name = str(field.fieldID) if names_fields else "val"
    payload = _parquet(name, pa.array(values, arrow_type(field)), may_be_null=names_fields)
    extra: dict[str, object] = {"nullable": field.nullable} if names_fields else {}
    return _write(place, field.fieldID, field.data_type, extra, _INSERT_EVENT, payload, timestamps, names_fields)


def write_delta_log(place: Place, deletes: Sequence[Delete], *, names_fields: bool) -> bytes:
    """Return the binlog of deletes, one JSON object each."""
    lines = [
        json.dumps({"pk": key, "ts": timestamp, "pkType": _type_of_key(key)}, separators=(",", ":"), ensure_ascii=False)
        for key, timestamp in deletes
    ]
    payload = _parquet("0" if names_fields else "val", pa.array(lines, pa.string()), may_be_null=names_fields)
    timestamps = [timestamp for _, timestamp in deletes]
    return _write(place, _NO_FIELD, _TEXT, {}, _DELETE_EVENT, payload, timestamps, names_fields)


def _type_of_key(key: Value) -> int:
    return 21 if isinstance(key, str) else _INT64


def read_deletes(content: bytes) -> list[Delete]:
    """Return the deletes of a delta log in any of its forms. Raises `DamagedBinlogError`.

    Lines of JSON (2.2.? to 2.6), lines `key,timestamp` (before), or two columns, with the events around it or without.
    """
    try:
        columns = read_parquet(content) if content[:4] == b"PAR1" else read(content).columns
    except (pa.ArrowException, OSError) as err:
        msg = f"not a whole delta log: {err}"
        raise DamagedBinlogError(msg) from err
    found = list(columns.values())
    if len(found) > 1:
        return [(key, int(timestamp or 0)) for key, timestamp in zip(found[0], found[1], strict=True)]
    return [_delete(str(line)) for values in found for line in values]


def _delete(line: str) -> Delete:
    if line.startswith("{"):
        read_line = json.loads(line)
        return read_line["pk"], int(read_line["ts"])
    key, _, timestamp = line.rpartition(",")
    return int(key), int(timestamp)


def _parquet(name: str, values: pa.Array, *, may_be_null: bool) -> bytes:
    schema = pa.schema([pa.field(name, values.type, nullable=may_be_null)])
    sink = io.BytesIO()
    pq.write_table(
        pa.Table.from_arrays([values], schema=schema),
        sink,
        compression="zstd",
        store_schema=False,
        write_page_checksum=True,
    )
    return sink.getvalue()


def _write(
    place: Place,
    field_id: int,
    data_type: int,
    extra: dict[str, object],
    event: int,
    payload: bytes,
    timestamps: Sequence[int],
    names_fields: bool,
) -> bytes:
    first, last = (min(timestamps), max(timestamps)) if timestamps else (0, 0)
    text = json.dumps(extra | {"original_size": str(len(payload))}, separators=(",", ":")).encode()
    fixed = _DESCRIPTOR.pack(
        place.collection_id, place.partition_id, place.segment_id, field_id, first, last, data_type
    )
    body = fixed + _POST_HEADERS + _MAGIC.pack(len(text)) + text
    descriptor_end = _MAGIC.size + _HEADER.size + len(body)
    length = _HEADER.size + _SPAN.size + len(payload)
    return b"".join(
        (
            _MAGIC.pack(_MAGIC_NUMBER),
            _HEADER.pack(last, _DESCRIPTOR_EVENT, _HEADER.size + len(body), descriptor_end),
            body,
            _HEADER.pack(last, event, length, _NO_POSITION if names_fields else descriptor_end + length),
            _SPAN.pack(first, last),
            payload,
        )
    )


SYSTEM_FIELDS = {ROW_ID: "RowID", TIMESTAMP: "Timestamp"}
