"""Whether a log is what its place says, and whether a segment's logs fit each other.

The content of every row is read, in parts that do not grow with the log. docs/reliability.md has what this proves.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from milvus_vault.binlogs import events
from milvus_vault.binlogs.deletes import count_beyond, delta_log, each_part
from milvus_vault.binlogs.parquet import ParquetFile, is_bare, unreadable
from milvus_vault.binlogs.values import (
    PARSED_AT_FIRST,
    PARSED_LATER,
    VECTORS,
    DataType,
    longest,
    types_of,
    wrong_values,
)
from milvus_vault.errors import BinlogUnreadableError
from milvus_vault.model.collections import (
    ALL_PARTITIONS,
    DYNAMIC_FIELD,
    FIRST_FIELD,
    ROW_ID,
    TIMESTAMP,
    CollectionSchema,
    FieldSchema,
)
from milvus_vault.model.objects import DELTA_LOG
from milvus_vault.model.versions import PACKED_VERSION

_SYSTEM_FIELDS = {
    ROW_ID: FieldSchema(field_id=ROW_ID, name="RowID", data_type=DataType.INT64),
    TIMESTAMP: FieldSchema(field_id=TIMESTAMP, name="Timestamp", data_type=DataType.INT64),
}
_FIRST_GROUP = 0
_NO_FIELD = -1  # what delta logs have in its place
_OLD_NAME = "val"  # of the column of a log, up to 2.4
_NEWEST_NUMBER = (1 << 63) - 1
_DELETE_BYTES = 64  # of the line of a delete, beside its key


@dataclass(frozen=True, slots=True)
class ExpectedLog:
    """What a log must be, by its key and the backup's metadata."""

    kind: str
    """`INSERT_LOG` or `DELTA_LOG`."""
    collection_id: int
    partition_id: int
    """`ALL_PARTITIONS` for deletes of the whole collection."""
    segment_id: int
    field_id: int
    """The field, or the column group in storage version 2; of no meaning for a delta log."""
    storage_version: int
    schema: CollectionSchema
    newest: int | None
    """Hybrid timestamp; no row or delete may be newer. None: not known."""


@dataclass(frozen=True, slots=True)
class CheckedLog:
    """What was found in a log."""

    row_count: int
    """Rows of an insert log, deletes of a delta log, as far as they could be read."""
    problems: tuple[str, ...]
    """In words, without the key; empty: nothing is wrong."""


def check_log(content: pa.Buffer, expected: ExpectedLog) -> CheckedLog:
    """Return what is wrong with a log, of which `content` is the whole object. No content makes it raise anything.

    A memory-mapped file is read as it is needed; beside it some MiB are taken, whatever its size.
    """
    check = _Check(expected)
    view = memoryview(content).cast("B")
    try:
        if expected.kind == DELTA_LOG:
            check.read_deletes(view)
        elif expected.storage_version >= PACKED_VERSION:
            check.read_columns(view)
        else:
            check.read_field(view)
    except BinlogUnreadableError as err:
        check.problems.append(err.message)
    return check.result()


def check_segment(row_count: int, logs: Mapping[tuple[int, int], int]) -> tuple[str, ...]:
    """Return what is wrong with the rows of a segment that is not one of deletes only, in words.

    `row_count` is what metadata says; `logs` are the rows of each insert log that was read, by its field or column
    group and its own ID. How many logs there have to be of each is `archive.segment_logs.lacking`'s.
    """
    if not logs:
        return ()
    by_field: defaultdict[int, list[int]] = defaultdict(list)
    for (field_id, _), rows in sorted(logs.items()):
        by_field[field_id].append(rows)
    first = min(by_field)
    problems = [
        f"its logs of field {field_id} have {_listed(rows)} rows, and those of field {first} {_listed(by_field[first])}"
        for field_id, rows in sorted(by_field.items())
        if rows != by_field[first]
    ]
    if sum(by_field[first]) != row_count:
        problems.append(
            f"its logs of field {first} have {sum(by_field[first]):,} rows, and metadata says {row_count:,}"
        )
    return tuple(problems)


def _listed(rows: Iterable[int]) -> str:
    return " + ".join(f"{count:,}" for count in rows)


@dataclass(slots=True)
class _Check:
    expected: ExpectedLog
    problems: list[str] = field(default_factory=list)
    wrong_rows: Counter[str] = field(default_factory=Counter)
    row_count: int = 0

    def result(self) -> CheckedLog:
        counted = [f"{count:,} of its {what}" for what, count in self.wrong_rows.items() if count]
        return CheckedLog(self.row_count, (*dict.fromkeys(self.problems), *counted))

    def read_field(self, content: memoryview) -> None:
        """Look at a log of one field, of storage version 0 or 1."""
        log = events.read(content)
        expected = self.expected
        self._compare_place(log)
        if log.field_id != expected.field_id:
            self.problems.append(f"it is a log of field {log.field_id}")
        described = _field(expected.schema, expected.field_id)
        if described is None:
            self.problems.append(f"the schema has no field {expected.field_id}")
            return
        if log.data_type != described.data_type:
            self.problems.append(f"it is of type {log.data_type}, and the field is of type {described.data_type}")
        nullable = self._read_extra(log).get("nullable", described.nullable)
        if nullable != described.nullable and not described.is_dynamic:
            self.problems.append(f"it says that its values {'may' if nullable else 'may not'} be null")
        for event in log.events:
            if event.kind != events.Kind.ROWS:
                self.problems.append(f"it has an event of kind {event.kind} among its rows")
                continue
            file = ParquetFile(event.payload)
            if file.names not in ((_OLD_NAME,), (str(expected.field_id),)):
                self.problems.append(f"it has the columns {', '.join(map(repr, file.names))}")
            self._read_rows(file, [described] * len(file.names))

    def read_columns(self, content: memoryview) -> None:
        """Look at a log of a group of columns, of storage version 2 or newer."""
        if not is_bare(content):
            msg = "it does not begin as a log of column groups does"
            raise BinlogUnreadableError(msg)
        file = ParquetFile(content)
        numbers = file.field_ids
        self.problems += self._wrong_group(file, numbers)
        described = [_field(self.expected.schema, number) for number in numbers]
        unknown = [str(number) for number, found in zip(numbers, described, strict=True) if found is None]
        dynamic = [str(found.field_id) for found in described if found is not None and found.is_dynamic]
        unknown += dynamic if len(dynamic) > 1 else []
        if unknown:
            self.problems.append(f"the schema has no field {', '.join(unknown)}")
            return
        fields = [found for found in described if found is not None]
        inner = {item.field_id for struct in self.expected.schema.struct_array_fields for item in struct.fields}
        for name, found in zip(file.names, fields, strict=True):
            if found.field_id not in inner and name not in {found.name, str(found.field_id)}:
                self.problems.append(
                    f"its column of field {found.field_id} is named {name!r}, and the field {found.name!r}"
                )
        self._read_rows(file, fields)

    def _wrong_group(self, file: ParquetFile, numbers: tuple[int, ...]) -> Iterator[str]:
        """Yield what is wrong with the fields of a column group. Milvus' SplitColumns says which may be in which."""
        group, there = self.expected.field_id, set(numbers)
        if len(there) != len(numbers):
            yield "it has two columns of one field"
        listed = file.column_groups
        if listed and there not in listed:
            yield f"it has the fields {_numbers(there)}, which are no column group of those that it names"
        schema = self.expected.schema
        if group >= FIRST_FIELD:
            wrong = there != {group}
        else:
            keys = {item.field_id for item in schema.fields if item.is_primary_key}
            system = {*_SYSTEM_FIELDS, *keys}
            vectors = {item.field_id for item in schema.fields if item.data_type in VECTORS}
            wrong = bool(there & vectors) or (not system <= there if group == _FIRST_GROUP else bool(system & there))
        if wrong:
            yield f"it has the fields {_numbers(there)}, which are not those of column group {group}"

    def read_deletes(self, content: memoryview) -> None:
        """Look at a delta log of any form."""
        if not is_bare(content):
            log = delta_log(content)
            self._compare_place(log)
            self._read_extra(log)
            if log.field_id >= 0:
                self.problems.append(f"it is a log of field {log.field_id}")
        key = next((item for item in self.expected.schema.fields if item.is_primary_key), None)
        for part in each_part(content, _DELETE_BYTES + (longest(key) if key else 0)):
            keys = part.check_keys()
            self.row_count += len(part)
            self.wrong_rows["deletes are newer than the backup"] += part.count_beyond(self._newest)
            if key is None or not len(part):
                continue
            if part.key_type not in types_of(key):
                self.problems.append(f"its keys are of type {part.key_type}, and the field is of type {key.data_type}")
                continue
            for count, what in wrong_values(key, keys) if keys is not None else ():
                self.wrong_rows[f"keys {what}"] += count

    def _compare_place(self, log: events.Log) -> None:
        expected = self.expected
        self.problems += events.contradictions(log)
        names = ("collection", "partition", "segment")
        places = (expected.collection_id, expected.partition_id, expected.segment_id)
        for name, found, place in zip(names, log.ids, places, strict=True):
            # A compaction of 2.3 keeps the deletes of the segments that it replaces, in logs that name those.
            is_kept = name == "segment" and expected.kind == DELTA_LOG and expected.partition_id != ALL_PARTITIONS
            if found != place and not (is_kept and all(event.names_next for event in log.events)):
                self.problems.append(f"it is a log of {name} {found}")

    def _read_extra(self, log: events.Log) -> dict[str, object]:
        with unreadable("what its descriptor says of its values cannot be read"):
            extra = json.loads(log.extra)
        if not isinstance(extra, dict) or not str(extra.get("original_size", "")).isdecimal():
            self.problems.append("its descriptor does not say how large its values are")
            return {}
        return extra

    def _read_rows(self, file: ParquetFile, fields: list[FieldSchema]) -> None:
        for kind, described in zip(file.schema.types, fields, strict=True):
            allowed = types_of(described)
            if allowed and kind not in allowed:
                self.problems.append(
                    f"its values of field {described.field_id} are of type {kind} instead of {allowed[0]}"
                )
                return
        for rows in file.batches(longest=max(map(longest, fields), default=0)):
            parsed = PARSED_LATER if self.row_count else PARSED_AT_FIRST
            self.row_count += rows.num_rows
            for described, column in zip(fields, rows.columns, strict=True):
                for count, what in wrong_values(described, column, parsed):
                    self.wrong_rows[f"values of field {described.field_id} {what}"] += count
                if described.field_id == TIMESTAMP:
                    self.wrong_rows["rows are newer than the backup"] += count_beyond(column, self._newest)

    @property
    def _newest(self) -> int:
        newest = self.expected.newest
        return _NEWEST_NUMBER if newest is None else min(newest, _NEWEST_NUMBER)


def _numbers(fields: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(fields)))


def _field(schema: CollectionSchema, field_id: int) -> FieldSchema | None:
    """Return a field by its ID. Descriptions of collections leave out the dynamic field, whose ID nobody tells."""
    if found := _SYSTEM_FIELDS.get(field_id):
        return found
    inner = [item for struct in schema.struct_array_fields for item in struct.fields]
    for item in (*schema.fields, *inner):
        if item.field_id == field_id:
            return item.model_copy(update={"nullable": True}) if item.is_dynamic else item
    if not schema.enable_dynamic_field or field_id < FIRST_FIELD or any(item.is_dynamic for item in schema.fields):
        return None
    return FieldSchema(field_id=field_id, name=DYNAMIC_FIELD, data_type=DataType.JSON, is_dynamic=True, nullable=True)
