"""Logs, with what they must be: those of the golden archives, and some of each form that are written here."""

import io
import json
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from random import Random

import pyarrow.parquet as pq
from pymilvus.grpc_gen import schema_pb2

from milvus_vault.adapters.milvus_schema import schema_from_proto
from milvus_vault.archive.layout import INSERT_LOG, LogKey, log_of, parse_log_key
from milvus_vault.archive.reader import read_archive, read_objects
from milvus_vault.binlogs.checking import ExpectedLog
from tests.support.milvus_server.binlog import Place
from tests.support.milvus_server.objects import MemoryObjects
from tests.support.milvus_server.segment_files import SegmentLogs, Writer
from tests.support.milvus_server.values import ROW_ID, TIMESTAMP, Columns, Message, Value, stored_fields
from tests.unit.archive.samples import BUCKET, golden_layout, golden_store

GOLDEN = ("golden_0516", "golden_057", "golden_2_4", "golden_2_5", "golden_2_6")
WRITTEN = ("2.3.5", "2.5.27", "2.6.19", "2.6.19 without checksums")
"""As those versions write them; the last as Milvus' own writer of column groups does, without checksums of pages."""

NOW = 470_643_278_680_162_305
_COLLECTION, _PARTITION = 470_642_820_001_452_354, 470_642_820_001_452_355
_ROWS = 120
_TYPE = schema_pb2.DataType.Value


@dataclass(frozen=True, slots=True)
class Log:
    """An object of an archive."""

    archive: str
    key: LogKey
    content: bytes
    expected: ExpectedLog
    segment_rows: int
    """What metadata says of its segment."""

    @property
    def form(self) -> str:
        """Return what kind of object it is."""
        if self.key.kind != INSERT_LOG:
            return "delta log"
        if self.expected.storage_version < 2:
            return "insert log of a field"
        return "column group, no checksums" if "without" in self.archive else "column group"


@cache
def logs_of(archive: str) -> tuple[Log, ...]:
    """Return all logs of an archive."""
    return tuple(_golden_logs(archive) if archive in GOLDEN else _written_logs(archive))


def _golden_logs(archive: str) -> Iterator[Log]:
    store, layout = golden_store(archive), golden_layout(archive)
    for collection in read_archive(store, BUCKET, layout).collections:
        segments = {segment.segment_id: segment for segment in collection.segments}
        for item in read_objects(store, BUCKET, layout, collection):
            key = log_of(item)
            segment = segments[key.segment_id]
            schema = collection.layout.collection_schema
            expected = ExpectedLog(*key[:5], segment.storage_version, schema, None)
            yield Log(archive, key, store.get(BUCKET, item.stored_key), expected, segment.row_count)


def schema_of(version: str) -> Message:
    """Return the schema of a collection with fields of all types that a version has."""
    schema = schema_pb2.CollectionSchema(name="everything", enable_dynamic_field=True)
    kinds = ["Int64", "Bool", "Int8", "Int16", "Int32", "Float", "Double", "VarChar", "JSON", "Array", "Array", "Array"]
    elements = {"9": "Int64", "10": "VarChar", "11": "Float"}
    kinds += ["FloatVector", "BinaryVector"]
    if version >= "2.4":
        kinds += ["Float16Vector", "BFloat16Vector", "SparseFloatVector"]
    if version >= "2.6":
        kinds += ["Int8Vector", "Timestamptz", "Geometry"]
    for number, kind in enumerate(kinds):
        field = schema.fields.add(
            fieldID=100 + number, name=f"{kind}_{number}", data_type=_TYPE(kind), is_primary_key=not number
        )
        if kind == "Array":
            field.element_type = _TYPE(elements[str(number)])
            field.type_params.add(key="max_capacity", value="16")
        if "Vector" in kind and kind != "SparseFloatVector":
            field.type_params.add(key="dim", value="16")
        if "VarChar" in {kind, elements.get(str(number))}:
            field.type_params.add(key="max_length", value="64")
        field.nullable = version >= "2.5" and kind in {"Double", "JSON"}
    schema.fields.add(
        fieldID=100 + len(kinds), name="$meta", data_type=_TYPE("JSON"), is_dynamic=True, nullable=version >= "2.6"
    )
    if version >= "2.6":
        struct_array = schema.struct_array_fields.add(fieldID=101 + len(kinds), name="pages")
        word, place = struct_array.fields.add(), struct_array.fields.add()
        word.CopyFrom(_inner(102 + len(kinds), "pages[word]", "Array", "VarChar", max_length=64, max_capacity=8))
        place.CopyFrom(_inner(103 + len(kinds), "pages[place]", "ArrayOfVector", "FloatVector", dim=16, max_capacity=8))
    return schema


def _inner(number: int, name: str, kind: str, element: str, **params: int) -> Message:
    """Return a field within an array of structs."""
    pairs = [{"key": key, "value": str(value)} for key, value in params.items()]
    return schema_pb2.FieldSchema(
        fieldID=number, name=name, data_type=_TYPE(kind), element_type=_TYPE(element), type_params=pairs
    )


def _value(field: Message, row: int, chance: Random) -> Value:
    if field.is_primary_key:
        return row
    if field.nullable and row % 5 == 0:
        return None
    number = chance.randrange(100)
    values: dict[str, Callable[[], Value]] = {
        "Bool": lambda: number > 50,
        "Float": lambda: number / 8,
        "Double": lambda: number / 8,
        "VarChar": lambda: f"text {number}, é",
        "JSON": lambda: json.dumps({"a": number / 7, "b": [row, None, "x"], "c": {"d": "é"}}).encode(),
        "Geometry": lambda: struct.pack("<BIdd", 1, 1, number, row),
        "Array": lambda: bytes(_array(field, chance).SerializeToString()),
        "ArrayOfVector": lambda: bytes(_vectors(chance).SerializeToString()),
        "SparseFloatVector": lambda: b"".join(struct.pack("<If", index, number) for index in range(row % 4, number, 9)),
        "FloatVector": lambda: struct.pack("<16f", *(chance.random() for _ in range(16))),
        "BinaryVector": lambda: chance.randbytes(2),
        "Int8Vector": lambda: chance.randbytes(16),
        "Float16Vector": lambda: chance.randbytes(32),
        "BFloat16Vector": lambda: chance.randbytes(32),
    }
    return values.get(schema_pb2.DataType.Name(field.data_type), lambda: number)()


def _array(field: Message, chance: Random) -> Message:
    numbers = [chance.randrange(10**6) for _ in range(chance.randrange(6))]
    found = schema_pb2.ScalarField()
    if field.element_type == _TYPE("VarChar"):
        found.string_data.data.extend(f"é{number}" for number in numbers)
    elif field.element_type == _TYPE("Float"):
        found.float_data.data.extend(map(float, numbers))
    else:
        found.long_data.data.extend(numbers)
    return found


def _vectors(chance: Random) -> Message:
    values = [chance.random() for _ in range(16 * chance.randrange(4))]
    return schema_pb2.VectorField(dim=16, float_vector=schema_pb2.FloatArray(data=values))


def _written_logs(archive: str) -> Iterator[Log]:
    version = archive.partition(" ")[0]
    chance = Random(1)  # noqa: S311 - the same each time
    schema = schema_of(version)
    objects, ids, rows = MemoryObjects(), count(470_642_820_001_500_000), {}
    writer = Writer(objects, "files", 2 if version >= "2.6" else 0, version >= "2.5", lambda: next(ids))
    for segment in range(4):
        place = Place(_COLLECTION, _PARTITION, _COLLECTION + 100 + segment)
        rows[place.segment_id] = 2 * _ROWS + segment // 2
        logs = SegmentLogs()
        for half in range(2):
            size = _ROWS + (segment // 2) * half  # two and two have as many rows
            columns: Columns = {
                ROW_ID: [NOW + row for row in range(size)],
                TIMESTAMP: [NOW + 1000 * segment + row for row in range(size)],
            }
            columns |= {f.fieldID: [_value(f, row, chance) for row in range(size)] for f in stored_fields(schema)}
            writer.write_rows(place, schema, columns, logs, merges=False)
        writer.write_deletes(place, [(row, NOW + row) for row in range(3 * segment + 4)], logs)
    if version >= "2.4":
        writer.write_deletes(
            Place(_COLLECTION, -1, _COLLECTION + 200), [(row, NOW + row) for row in range(9)], SegmentLogs()
        )
    known = schema_from_proto(schema)
    # Descriptions of collections leave out the dynamic field.
    known = known.model_copy(update={"fields": tuple(field for field in known.fields if not field.is_dynamic)})
    for name in objects.keys("files/"):
        key = parse_log_key(name)
        if key is None:
            continue  # statistics, which no backup has
        content = objects.get(name)
        if "without" in archive and key.kind == INSERT_LOG:
            content = _without_checksums(content)
        expected = ExpectedLog(*key[:5], writer.storage_version, known, NOW + 10_000)
        yield Log(archive, key, content, expected, rows.get(key.segment_id, 0))


def _without_checksums(content: bytes) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(content)), sink, compression="zstd")
    return sink.getvalue()


def rows_by_segment(logs: tuple[Log, ...], counts: dict[LogKey, int]) -> dict[int, dict[tuple[int, int], int]]:
    """Return the rows of each insert log, by segment, as `check_segment` takes them."""
    found: defaultdict[int, dict[tuple[int, int], int]] = defaultdict(dict)
    for log in logs:
        if log.key.kind == INSERT_LOG:
            found[log.key.segment_id][log.key.field_id, log.key.log_id] = counts[log.key]
    return found
