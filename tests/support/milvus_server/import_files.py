"""What an import finds in the folders that it is given, and how it reads it.

From 2.4 on the children of an insert path are taken for segments, and the folder of each file for a field; a delta
log is found by the segment's name below the delta path. Up to 2.3 the names of a file's own folders count, wherever
the path ends. A path is a prefix and no more: without a slash at its end, whatever begins so is in it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.support.milvus_server.binlog import DamagedBinlogError, Delete
from tests.support.milvus_server.catalog import Collection
from tests.support.milvus_server.objects import Objects
from tests.support.milvus_server.segment_files import by_field, read_deletes, read_rows
from tests.support.milvus_server.values import (
    FIRST_FIELD,
    FLOAT_VECTOR,
    ROW_ID,
    SPARSE_VECTOR,
    TIMESTAMP,
    VECTORS,
    Columns,
    Message,
    Value,
    default_of,
    parameter,
    rows_in,
    stored_fields,
    take,
    width,
)
from tests.support.milvus_server.versions import Version

_LOGICAL_BITS = 18
# What can be a time at all, as the source of 2.5 and newer has it: from 2019 to 9999.
_EARLIEST_MILLISECONDS, _LATEST_MILLISECONDS = 1_546_300_800_000, 253_402_300_799_000
_LATEST = 2**64
_ENDS = ": importing data failed"


class ImportFailedError(Exception):
    """An import fails, for a reason that Milvus tells."""


@dataclass(frozen=True, slots=True)
class StagedSegment:
    """What an import takes for one segment."""

    paths: tuple[str, ...]
    """Of its insert logs and, where there are any, its delta logs."""
    insert_keys: tuple[str, ...]
    delta_keys: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return its paths as messages have them."""
        return "  ".join(f'paths:"{path}"' for path in self.paths)


def find_segments(version: Version, objects: Objects, insert_path: str, delta_path: str) -> list[StagedSegment]:
    """Return the segments below a pair of paths."""
    children = _children(objects.keys(insert_path), insert_path, is_deep=not version.has_import_v2)
    deltas: dict[str, list[str]] = {}
    if delta_path:
        for key in objects.keys(delta_path):
            deltas.setdefault(key.split("/")[-2], []).append(key)
    found = []
    for path, keys in children.items():
        own = deltas.get(path.rstrip("/").rpartition("/")[2], [])
        folders = (path, own[0].rpartition("/")[0] + "/") if own else (path,)
        found.append(StagedSegment(folders, tuple(keys), tuple(own)))
    return found


def _children(keys: Iterable[str], prefix: str, *, is_deep: bool) -> dict[str, list[str]]:
    """Return keys by the folder that is taken for their segment."""
    found: dict[str, list[str]] = {}
    for key in keys:
        if is_deep:
            segment = "/".join(key.split("/")[:-2]) + "/"
        else:
            rest = key[len(prefix) :]
            segment = prefix + rest.partition("/")[0] + "/"
        found.setdefault(segment, []).append(key)
    return found


@dataclass(frozen=True, slots=True)
class Span:
    """Which timestamps an import takes, both ends included."""

    start: int
    end: int

    def has(self, timestamp: int) -> bool:
        """Return whether a timestamp lies within."""
        return self.start <= timestamp <= self.end


def span_of(version: Version, options: dict[str, str]) -> Span:
    """Return the timestamps that the options ask for.

    Up to 2.4 they are milliseconds, of which each stands for its first moment; a hybrid timestamp is taken for some
    that never come (seen on the real 2.3.5 and 2.4.23). From 2.5 on they are hybrid, and raise `ImportFailedError`
    where they are not, in the words of the source.
    """
    start, end = _timestamp(version, options, "start_ts"), _timestamp(version, options, "end_ts")
    return Span(start or 0, _LATEST if end is None else end)


def _timestamp(version: Version, options: dict[str, str], name: str) -> int | None:
    if name not in options:
        return None
    given = int(options[name])
    if version.takes_milliseconds:
        return given << _LOGICAL_BITS
    if not _EARLIEST_MILLISECONDS <= given >> _LOGICAL_BITS <= _LATEST_MILLISECONDS:
        msg = f"{name} is not a valid hybrid timestamp, value={options[name]}{_ENDS}"
        raise ImportFailedError(msg)
    return given


def read_segment(
    version: Version, objects: Objects, collection: Collection, segment: StagedSegment, options: dict[str, str]
) -> Columns:
    """Return the live rows of a staged segment, with its deletes applied by key and timestamp.

    Raises `ImportFailedError`, and `DamagedBinlogError` where a file cannot be read.
    """
    keys = by_field(segment.insert_keys)
    is_packed = options.get("storage_version") == "2"
    if version.storage and not is_packed and (ROW_ID not in keys or _is_packed(objects, keys[ROW_ID][0])):
        msg = f"no binlog for Timestamp field{_ENDS}"
        raise ImportFailedError(msg)
    if is_packed:
        _check_vectors(collection, keys)
    else:
        _check_fields(version, collection, keys)
    columns = read_rows(objects, keys)
    _complete(version, collection, columns, is_packed=is_packed)
    _check_lengths(version, collection, columns)
    deletes = read_deletes(objects, segment.delta_keys)
    return take(columns, _wanted(collection, columns, deletes, span_of(version, options)))


def _is_packed(objects: Objects, key: str) -> bool:
    return objects.get(key)[:4] == b"PAR1"


def _may_lack(version: Version, field: Message) -> bool:
    has_default = version.has_nullable and (field.nullable or field.HasField("default_value"))
    return has_default or (field.is_dynamic and version.at_least(2, 6))


def _check_fields(version: Version, collection: Collection, there: Iterable[int]) -> None:
    for field in stored_fields(collection.schema):
        if field.fieldID in there or _may_lack(version, field):
            continue
        if version.has_import_v2:
            msg = f"no binlog for field:{field.name}{_ENDS}"
        else:
            msg = f"the field {field.fieldID} has no binlog file{_ENDS}"
        raise ImportFailedError(msg)


def _check_vectors(collection: Collection, there: Iterable[int]) -> None:
    """Fail where a vector has no column group of its own, though it be nullable (milvus-io/milvus#53361)."""
    for field in stored_fields(collection.schema):
        if field.data_type in VECTORS and field.fieldID not in there:
            msg = f"no binlog for field:{field.name}{_ENDS}"
            raise ImportFailedError(msg)


def _complete(version: Version, collection: Collection, columns: Columns, *, is_packed: bool) -> None:
    """Fill the columns that may be missing, and take away those that the collection does not have."""
    count = rows_in(columns)
    known = {ROW_ID, TIMESTAMP} | {field.fieldID for field in stored_fields(collection.schema)}
    for number in [number for number in columns if number >= FIRST_FIELD and number not in known]:
        del columns[number]
    for field in stored_fields(collection.schema):
        if field.fieldID in columns:
            continue
        if is_packed and not _may_lack(version, field):
            msg = f"Wrong row type: invalid parameter[expected={field.name}][actual=<nil>]"
            if field.data_type not in VECTORS:
                msg = "Wrong row type: invalid parameter[expected=int64][actual=<nil>]"
            raise ImportFailedError(msg)
        columns[field.fieldID] = [b"{}" if field.is_dynamic else default_of(field)] * count


def _check_lengths(version: Version, collection: Collection, columns: Columns) -> None:
    """Refuse vectors of another dimension, which look like another number of rows."""
    count = rows_in(columns)
    for field in stored_fields(collection.schema):
        values = columns[field.fieldID]
        if field.data_type in VECTORS and field.data_type != SPARSE_VECTOR and values:
            size = len(values[0]) if isinstance(values[0], bytes) else 0
            if size != width(field) and not version.has_import_v2:
                there = size // 4 if field.data_type == FLOAT_VECTOR else size
                wanted = parameter(field, "dim")
                msg = f"binary vector dimension {there} is not equal to schema dimension {wanted}{_ENDS}"
                raise ImportFailedError(msg)
            rows = len(values) * size // width(field)
        else:
            rows = len(values)
        if rows != count:
            one = f"field '{collection.key_field.name}' with '{count}' rows"
            other = f"field '{field.name}' with '{rows}' rows"
            msg = f"imported rows are not aligned, {one}, {other}{_ENDS}"
            raise ImportFailedError(msg)


def _wanted(collection: Collection, columns: Columns, deletes: Sequence[Delete], span: Span) -> list[int]:
    newest: dict[Value, int] = {}
    for key, timestamp in deletes:
        if span.has(timestamp):
            newest[key] = max(timestamp, newest.get(key, 0))
    keys = columns[collection.key_field.fieldID]
    return [
        row
        for row, timestamp in enumerate(columns.get(TIMESTAMP, []))
        if isinstance(timestamp, int) and span.has(timestamp) and timestamp >= newest.get(keys[row], 0)
    ]


def read_level_zero(version: Version, objects: Objects, paths: Sequence[str]) -> list[Delete]:
    """Return the deletes below paths; raises `DamagedBinlogError` but on 2.5, which takes a damaged file for empty."""
    found: list[Delete] = []
    for path in paths:
        for key in objects.keys(path):
            try:
                found += read_deletes(objects, [key])
            except DamagedBinlogError:
                if version.minor != (2, 5):
                    raise
    return found
