"""The files of a segment: written in Milvus' own folders, read from wherever they were staged.

`insert_log/<collection>/<partition>/<segment>/<field or group>/<log>`, `stats_log` likewise for the key (and
`bm25_stats` for full text), `delta_log/<collection>/<partition>/<segment>/<log>`.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymilvus.grpc_gen import schema_pb2

from tests.support.milvus_server import binlog, column_groups
from tests.support.milvus_server.binlog import SYSTEM_FIELDS, DamagedBinlogError, Delete, Place
from tests.support.milvus_server.objects import Objects
from tests.support.milvus_server.values import (
    INT64,
    TIMESTAMP,
    Columns,
    Message,
    join,
    rows_in,
    stored_fields,
)

MERGED_STATS = 1  # the name of the stats of a whole segment, beside those of its logs

type Logs = dict[int, list[int]]
"""Log IDs by field ID or column group."""


@dataclass
class SegmentLogs:
    """The files of a segment, by the names that Milvus gave them."""

    insert: Logs = field(default_factory=dict)
    stats: Logs = field(default_factory=dict)
    bm25: Logs = field(default_factory=dict)
    delta: list[int] = field(default_factory=list)

    def keys(self, root: str, place: Place) -> list[str]:
        """Return the keys of all files."""
        parts = {"insert_log": self.insert, "stats_log": self.stats, "bm25_stats": self.bm25}
        keys = [
            f"{folder(root, kind, place)}{number}/{log}"
            for kind, logs in parts.items()
            for number, ids in logs.items()
            for log in ids
        ]
        return keys + [f"{folder(root, 'delta_log', place)}{log}" for log in self.delta]


def folder(root: str, kind: str, place: Place) -> str:
    """Return where a segment's files of one kind lie."""
    return f"{root}/{kind}/{place.collection_id}/{place.partition_id}/{place.segment_id}/"


@dataclass(frozen=True)
class Writer:
    """Writes segments as one version of Milvus does."""

    objects: Objects
    root: str
    storage_version: int
    names_fields: bool
    new_id: Callable[[], int]

    def write_rows(self, place: Place, schema: Message, columns: Columns, logs: SegmentLogs, *, merges: bool) -> None:
        """Write rows as one log of each field; `merges`: with the stats of the whole segment."""
        files = self._column_groups(schema, columns) if self.storage_version else self._fields(place, schema, columns)
        for number, content in files.items():
            self._put("insert_log", place, number, content, logs.insert)
        key = next(item for item in schema.fields if item.is_primary_key)
        values: list[Any] = list(columns[key.fieldID])
        stats = {"fieldID": key.fieldID, "pkType": key.data_type, "min": min(values), "max": max(values)}
        content = json.dumps(stats).encode()
        self._put("stats_log", place, key.fieldID, content, logs.stats)
        if merges:
            self.objects.put(f"{folder(self.root, 'stats_log', place)}{key.fieldID}/{MERGED_STATS}", content)
            logs.stats[key.fieldID].append(MERGED_STATS)
        for function in schema.functions:
            if function.type == schema_pb2.FunctionType.Value("BM25"):
                for number in function.output_field_ids:
                    rows = str(rows_in(columns)).encode()
                    self._put("bm25_stats", place, number, rows, logs.bm25)

    def write_deletes(self, place: Place, deletes: Sequence[Delete], logs: SegmentLogs) -> None:
        """Write deletes as one delta log."""
        log = self.new_id()
        content = binlog.write_delta_log(place, deletes, names_fields=self.names_fields)
        self.objects.put(f"{folder(self.root, 'delta_log', place)}{log}", content)
        logs.delta.append(log)

    def _put(self, kind: str, place: Place, number: int, content: bytes, logs: Logs) -> None:
        log = self.new_id()
        self.objects.put(f"{folder(self.root, kind, place)}{number}/{log}", content)
        logs.setdefault(number, []).append(log)

    def _fields(self, place: Place, schema: Message, columns: Columns) -> dict[int, bytes]:
        timestamps = [value for value in columns[TIMESTAMP] if isinstance(value, int)]
        system = [
            schema_pb2.FieldSchema(fieldID=number, name=name, data_type=INT64) for number, name in SYSTEM_FIELDS.items()
        ]
        return {
            item.fieldID: binlog.write_insert_log(
                place, item, columns[item.fieldID], timestamps, names_fields=self.names_fields
            )
            for item in (*system, *stored_fields(schema))
            if item.fieldID in columns
        }

    def _column_groups(self, schema: Message, columns: Columns) -> dict[int, bytes]:
        fields = {item.fieldID: item for item in stored_fields(schema) if item.fieldID in columns}
        return column_groups.write(fields, columns, column_groups.groups_of(list(fields.values())))


def read_rows(objects: Objects, keys: Mapping[int, Iterable[str]]) -> Columns:
    """Return the rows in insert logs, which are given by field or group. Raises `DamagedBinlogError`.

    Logs of a field follow each other in the order of their IDs. Columns may have different lengths: whoever
    imports has to look.
    """
    found: Columns = {}
    for number, names in keys.items():
        contents = [objects.get(key) for key in sorted(names, key=_log_id)]
        if contents[0][:4] == b"PAR1":
            found |= join([column_groups.read(content) for content in contents])
            continue
        found[number] = []
        for content in contents:
            for values in binlog.read(content).columns.values():
                found[number].extend(values)
    return found


def read_deletes(objects: Objects, keys: Iterable[str]) -> list[Delete]:
    """Return the deletes in delta logs. Raises `DamagedBinlogError`."""
    return [delete for key in sorted(keys) for delete in binlog.read_deletes(objects.get(key))]


def _log_id(key: str) -> int:
    name = key.rpartition("/")[2]
    if not name.isdecimal():
        msg = f"the name of {key} is not that of a log"
        raise DamagedBinlogError(msg)
    return int(name)


def by_field(keys: Iterable[str]) -> dict[int, list[str]]:
    """Return the keys of insert logs by the folder that they lie in, which must be a number."""
    found: dict[int, list[str]] = {}
    for key in keys:
        name = key.split("/")[-2]
        if not name.isdecimal():
            msg = f"the folder of {key} is not that of a field"
            raise DamagedBinlogError(msg)
        found.setdefault(int(name), []).append(key)
    return found
