"""Rows of a collection in a backup, as a restore of it would bring them back.

The order is that of the partitions in the backup, within one that of the IDs of its segments, and within a segment that
in which rows are stored. It is the same each time, and not that of keys.

A key that was inserted twice without a delete between has two rows here, as `count(*)` counts them in Milvus, where a
query shows one of them. Rows that are older than the collection's time to live are there: a restore brings them back.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from milvus_vault.archive.check import OTHER_ETAGS_HINT
from milvus_vault.archive.contents import ArchivedCollection, ArchivedSegment
from milvus_vault.archive.layout import DELTA_LOG, BackupLayout, log_of
from milvus_vault.archive.reader import find_collection, read_objects
from milvus_vault.archive.segment_logs import is_packed, lacking, level_zero_of
from milvus_vault.binlogs import Deletes, named, naming, read_deletes
from milvus_vault.binlogs.columns import absent_values, arrow_type, read_values, type_name
from milvus_vault.binlogs.parquet import whole
from milvus_vault.binlogs.rows import InsertLog, NewestDeletes, live
from milvus_vault.binlogs.timestamps import timestamps_in
from milvus_vault.binlogs.values import DataType
from milvus_vault.errors import (
    BackupDamagedError,
    BinlogUnreadableError,
    InvalidRequestError,
    ObjectNotFoundError,
)
from milvus_vault.model.collections import (
    ALL_PARTITIONS,
    DYNAMIC_FIELD,
    FIRST_FIELD,
    TIMESTAMP,
    CollectionName,
    CollectionSchema,
    FieldSchema,
    SegmentLevel,
)
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.readable import first_of
from milvus_vault.parallel import each
from milvus_vault.ports import ObjectStore
from milvus_vault.rows.keys import SUPPORTED, KeysIn

METADATA = b"milvus_vault"
"""Name under which the metadata of a schema has a JSON document: backup, collection, moment and Milvus' own schema."""

WRITTEN_AT = "Timestamp"
"""Name of the column of timestamps, which Milvus lets no field have."""

_TIMESTAMPS = FieldSchema(field_id=TIMESTAMP, name=WRITTEN_AT, data_type=DataType.INT64)
_ROWS_AT_ONCE = 1 << 13
_BYTES_AT_ONCE = 1 << 24  # of vectors
_OBJECTS_AT_ONCE = 8
_UNKNOWN = -1  # the dynamic field's ID where the backup's schema leaves that field out, as milvus-backup's does
_HINT = "Bring the object back from a copy or an older version of it, or read another backup."


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of a collection, and what of them."""

    fields: tuple[str, ...] = ()
    """Names of fields, in the order of the columns; none: all."""
    partition: str = ""
    """Name of the only partition; empty: all."""
    where: KeysIn | None = None
    """Which primary keys; None: all."""
    limit: int | None = None
    """How many rows at most; one at least."""
    with_timestamps: bool = False
    """Whether the last column is `WRITTEN_AT`: hybrid timestamps by which rows expire."""

    def __post_init__(self) -> None:
        """Raise `InvalidRequestError` for what selects nothing, or not what it seems to."""
        if isinstance(self.fields, str):
            msg = f"fields are names, and '{self.fields}' is a text"
            raise InvalidRequestError(msg, hint=f"Give ('{self.fields}',) for one field.")
        if self.limit is not None and self.limit < 1:
            msg = f"a limit is at least one row, and not {self.limit}"
            raise InvalidRequestError(msg)


@dataclass(frozen=True, slots=True)
class Rows:
    """What was asked for."""

    schema: pa.Schema
    """Its metadata has `METADATA`, that of each field its type and number in Milvus."""
    batches: Iterator[pa.RecordBatch]
    """Of at most 8,192 rows. Objects are read as they are asked for: damage may be found after some of them."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Type of each field that is not read, by name, where they were not refused."""


def read_rows(
    store: ObjectStore,
    bucket: str,
    layout: BackupLayout,
    name: CollectionName,
    selection: Selection = Selection(),
) -> Rows:
    """Return the live rows of a collection at the moment of the backup.

    Read are the logs of the keys, the timestamps, the deletes and the selected fields; where no row has a selected key,
    those of the keys alone. In memory are at a time the deletes of one partition and of level 0 of all
    (`NewestDeletes` says how many bytes), and one log of each of these fields: Milvus ends a log after 16 to 64 MiB.

    Raises:
        BackupNotFoundError: There is no such backup.
        CollectionNotFoundError: It does not hold the collection.
        InvalidRequestError: A field, a partition or a key cannot be one of the collection's; a selected field is of a
            type that is not read; or the backup has metadata alone.
        BackupDamagedError: An object is missing, or not the one that was recorded. Also while batches are asked for.
        BinlogUnreadableError: The content of an object cannot be read. Also while batches are asked for.
        BackupFormatError: A newer release wrote the backup, or milvus-backup in another format.
    """
    return read_collection_rows(store, bucket, layout, find_collection(store, bucket, layout, name), selection)


def read_collection_rows(
    store: ObjectStore, bucket: str, layout: BackupLayout, collection: ArchivedCollection, selection: Selection
) -> Rows:
    """Return the rows that `read_rows` does, of a collection that was found already, and raise as that does."""
    reader = _Reader(store, bucket, collection, read_objects(store, bucket, layout, collection), selection)
    return _rows(reader, collection, layout.name, selection.limit)


def read_segments(
    store: ObjectStore, bucket: str, backup_name: str, collection: ArchivedCollection, objects: Iterable[ArchivedObject]
) -> Rows:
    """Return the live rows of the segments that are left in a collection, with all fields that are read.

    In the order, and in the memory, of `read_rows`, and with its errors while batches are asked for.

    Args:
        store: Where the backup lies.
        bucket: Its bucket.
        backup_name: Its name, for the metadata.
        collection: The collection, of whose partitions and segments some may be left out; none of level 0.
        objects: All logs of these segments, and all deletes of level 0 that may concern them.
    """
    fields = _Fields.of(collection.layout.collection_schema)
    reader = _Reader(store, bucket, collection, objects, Selection(fields=tuple(fields.readable)))
    return replace(_rows(reader, collection, backup_name, None), left_out=fields.others)


def _rows(reader: "_Reader", collection: ArchivedCollection, backup_name: str, limit: int | None) -> Rows:
    described = {
        "backup": backup_name,
        "collection": str(collection.name),
        "moment": collection.moment,
        "schema": collection.layout.collection_schema.model_dump(mode="json"),
    }
    schema = reader.schema().with_metadata({METADATA: json.dumps(described)})
    return Rows(schema, _limited(reader.batches(schema), limit))


def readable_fields(schema: CollectionSchema) -> Mapping[str, FieldSchema]:
    """Return the fields whose values are read, by name, with the dynamic one."""
    return _Fields.of(schema).readable


def _is_key(value: int | str, key: FieldSchema) -> bool:
    try:
        pa.array([value], arrow_type(key))
    except (pa.ArrowException, OverflowError, UnicodeError):
        return False
    return True


def _limited(batches: Iterator[pa.RecordBatch], limit: int | None) -> Iterator[pa.RecordBatch]:
    left = limit
    for batch in batches:
        yield batch if left is None else batch.slice(0, left)
        if left is not None and (left := left - batch.num_rows) <= 0:
            return


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields of a collection."""

    key: FieldSchema
    readable: Mapping[str, FieldSchema]
    others: Mapping[str, str]
    """Type of each field that is not read."""
    known: frozenset[int]
    """The numbers of all that the schema names."""

    @classmethod
    def of(cls, schema: CollectionSchema) -> "_Fields":
        fields = list(schema.fields)
        if schema.enable_dynamic_field and not any(field.is_dynamic for field in fields):
            fields.append(FieldSchema(field_id=_UNKNOWN, name=DYNAMIC_FIELD, data_type=DataType.JSON, is_dynamic=True))
        structs = schema.struct_array_fields
        return cls(
            key=next(field for field in fields if field.is_primary_key),
            readable={field.name: field for field in fields if arrow_type(field)},
            others={field.name: type_name(field.data_type) for field in fields if not arrow_type(field)}
            | {struct.name: type_name(DataType.ARRAY_OF_STRUCT) for struct in structs},
            known=frozenset(
                number
                for struct in structs
                for number in (struct.field_id, *(field.field_id for field in struct.fields))
            )
            | {field.field_id for field in schema.fields},
        )

    def selected(self, names: Sequence[str]) -> list[FieldSchema]:
        """Return the fields of these names, or all. Raises `InvalidRequestError`."""
        chosen = dict.fromkeys(names or (*self.readable, *self.others))
        if unknown := [name for name in chosen if name not in self.readable and name not in self.others]:
            msg = f"the collection has no field {first_of(unknown)}"
            raise InvalidRequestError(msg, hint=f"It has {', '.join((*self.readable, *self.others))}.")
        if unread := [f"{name} ({self.others[name]})" for name in chosen if name in self.others]:
            msg = f"values of these types are not read: {first_of(unread)}"
            raise InvalidRequestError(msg, hint=f"Name other fields: {','.join(self.readable)}.")
        return [self.readable[name] for name in chosen]


class _Reader:
    """Reads one collection."""

    def __init__(
        self,
        store: ObjectStore,
        bucket: str,
        collection: ArchivedCollection,
        objects: Iterable[ArchivedObject],
        selection: Selection,
    ) -> None:
        self._store, self._bucket, self._collection, self._objects = store, bucket, collection, objects
        self.moment = collection.moment
        self.fields = _Fields.of(collection.layout.collection_schema)
        self.selected = self.fields.selected(selection.fields)
        if selection.with_timestamps:
            self.selected.append(_TIMESTAMPS)
        self._partitions = [
            partition for partition in collection.partitions if selection.partition in {"", partition.name}
        ]
        if selection.partition and not self._partitions:
            msg = f"collection {collection.name} has no partition {selection.partition}"
            names = first_of([partition.name for partition in collection.partitions])
            raise InvalidRequestError(msg, hint=f"It has {names}.")
        self.wanted = None if selection.where is None else self._keys_of(selection.where)

    def schema(self) -> pa.Schema:
        """Return the schema of what is read, without metadata of its own."""
        return pa.schema(
            pa.field(
                field.name,
                arrow_type(field),
                nullable=not field.is_primary_key,
                metadata={"milvus_type": type_name(field.data_type), "milvus_field_id": str(field.field_id)},
            )
            for field in self.selected
        )

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yield the rows."""
        is_level_zero = level_zero_of(self._collection.segments)
        inserts: defaultdict[int, defaultdict[int, list[ArchivedObject]]] = defaultdict(lambda: defaultdict(list))
        deletes: defaultdict[int, list[ArchivedObject]] = defaultdict(list)
        level_zero: defaultdict[int, list[ArchivedObject]] = defaultdict(list)
        for item in self._objects:
            key = log_of(item)
            if key.kind != DELTA_LOG:
                inserts[key.segment_id][key.field_id].append(item)
            elif is_level_zero(key):
                level_zero[key.partition_id].append(item)
            else:
                deletes[key.segment_id].append(item)
        of_all = _DeltaLogs(self, level_zero[ALL_PARTITIONS])
        for partition in self._partitions:
            of_partition = _DeltaLogs(self, level_zero[partition.partition_id])
            with_rows = (found for found in partition.segments if found.level is not SegmentLevel.L0)
            for segment in sorted(with_rows, key=lambda found: found.segment_id):
                own = _DeltaLogs(self, deletes[segment.segment_id])
                for logs in self._stripes(segment, inserts[segment.segment_id], own):
                    yield from logs.rows(schema, (of_all, of_partition, own))

    def _stripes(
        self, segment: ArchivedSegment, logs: Mapping[int, list[ArchivedObject]], deletes: "_DeltaLogs"
    ) -> Iterator["_Stripe"]:
        """Yield the logs of a segment that hold the same rows: all that were written first, then second, and so on."""
        schema = self._collection.layout.collection_schema
        counts = {number: len(items) for number, items in logs.items()}
        if lack := lacking(schema, segment, counts, len(deletes.items)):
            msg = f"segment {segment.segment_id} of collection {self._collection.name} is torn: {lack}"
            raise BackupDamagedError(msg, hint="Bring its objects back from a copy, or read another backup.")
        in_order = {number: sorted(items, key=lambda item: log_of(item).log_id) for number, items in logs.items()}
        for index in range(max(counts.values(), default=0)):
            stripe = {number: items[index] for number, items in in_order.items()}
            yield _Stripe(self, stripe, is_packed=is_packed(schema, counts))

    def body(self, item: ArchivedObject) -> bytes:
        """Return the content of an object. Raises `BackupDamagedError` where it is not the one that was recorded."""
        try:
            body, etag = self._store.get_with_etag(self._bucket, item.stored_key)
        except ObjectNotFoundError as err:
            msg = f"{item.stored_key} is missing"
            raise BackupDamagedError(msg, hint=_HINT) from err
        if len(body) != item.size_bytes:
            msg = f"{item.stored_key} has {len(body):,} bytes instead of {item.size_bytes:,}"
            raise BackupDamagedError(msg, hint=_HINT)
        if item.etag and item.etag != etag:
            msg = f"{item.stored_key} has another ETag than was recorded: {etag} instead of {item.etag}"
            raise BackupDamagedError(msg, hint=OTHER_ETAGS_HINT)
        return body

    def _keys_of(self, where: KeysIn) -> pa.Array:
        key = self.fields.key
        if where.field != key.name:
            msg = f"rows are selected by the primary key, {key.name}, and not by {where.field}"
            raise InvalidRequestError(msg, hint=SUPPORTED)
        try:
            return pa.array(where.keys, arrow_type(key))
        except (pa.ArrowException, OverflowError, UnicodeError) as err:
            wrong = [repr(found) for found in where.keys if not _is_key(found, key)]
            msg = f"the primary key {key.name} is of type {type_name(key.data_type)}, and {first_of(wrong)} none"
            raise InvalidRequestError(msg, hint=SUPPORTED) from err


class _DeltaLogs:
    """Delta logs of the same rows, which are read when the first of these rows is."""

    def __init__(self, reader: _Reader, items: Sequence[ArchivedObject]) -> None:
        self._reader = reader
        self.items = items

    @cached_property
    def newest(self) -> NewestDeletes:
        """What they say."""
        return NewestDeletes(each(self._read, self.items, threads=_OBJECTS_AT_ONCE), self._reader.moment)

    def _read(self, item: ArchivedObject) -> Deletes:
        found = named(item.stored_key, self._reader.body(item), read_deletes)
        kind = arrow_type(self._reader.fields.key)
        if len(found.keys) and found.keys.type != kind:
            msg = f"{item.stored_key}: its keys are of type {found.keys.type}, and those of the collection {kind}"
            raise BinlogUnreadableError(msg)
        return found


class _Stripe:
    """Insert logs that hold the same rows: one of each field or column group."""

    def __init__(self, reader: _Reader, items: Mapping[int, ArchivedObject], *, is_packed: bool) -> None:
        self._reader, self._items, self._is_packed = reader, items, is_packed
        self._one_key = next(iter(items.values())).stored_key
        self._opened: dict[int, InsertLog] = {}

    def rows(self, schema: pa.Schema, deletes: Sequence[_DeltaLogs]) -> Iterator[pa.RecordBatch]:
        """Yield what is selected of the rows that deletes leave."""
        stay = self._staying(deletes)
        if stay is None:
            return
        numbers = {field.name: self._number_of(field) for field in self._reader.selected}
        self._open_all(self._likely(number)[0] for number in numbers.values() if self._likely(number))
        columns = [self._column(field, numbers[field.name], len(stay)) for field in self._reader.selected]
        count = _rows_at_once(schema)
        for start in range(0, len(stay), count):
            chosen = stay.slice(start, count)
            parts = [column.take(len(chosen)) for column in columns]
            if pc.any(chosen).as_py():
                yield pa.RecordBatch.from_arrays([part.filter(chosen) for part in parts], schema=schema)
        for column in columns:
            column.check_end()

    def _staying(self, deletes: Sequence[_DeltaLogs]) -> pa.Array | None:
        """Return of each row whether it is selected and live; None where no row is."""
        key, wanted = self._reader.fields.key, self._reader.wanted
        chosen = None
        with self._reading(key.field_id) as log:
            parts = [whole(read_values(key, stored), "keys") for stored in log.stored(key.field_id)]
            keys = pa.concat_arrays([pa.nulls(0, arrow_type(key)), *parts])
        if wanted is not None:
            chosen = pc.is_in(keys, value_set=wanted)
            if not pc.any(chosen).as_py():
                return None
        with self._reading(TIMESTAMP) as log:
            times = timestamps_in(log)
            if len(times) != len(keys):
                msg = f"it has {len(times):,} timestamps, and there are {len(keys):,} keys"
                raise BinlogUnreadableError(msg)
        stay = live(keys, times, [logs.newest for logs in deletes], self._reader.moment)
        stay = stay if chosen is None else pc.and_(stay, chosen)
        return stay if pc.any(stay).as_py() else None

    @contextmanager
    def _reading(self, field_id: int) -> Iterator[InsertLog]:
        """Yield the log that must hold a field, and name its key where it cannot be read."""
        holder = self._holder_of(field_id)
        if holder is None:
            msg = f"no log beside {self._one_key} has field {field_id}"
            raise BinlogUnreadableError(msg)
        with naming(self._items[holder].stored_key):
            yield self._opened[holder]

    def _column(self, field: FieldSchema, field_id: int, count: int) -> "_Column":
        holder = self._holder_of(field_id)
        if holder is None:
            if not (field.nullable or field.is_dynamic):
                msg = f"no log beside {self._one_key} has field {field.name}"
                raise BinlogUnreadableError(msg)
            return _Column(iter([absent_values(field, count)]), field, "")
        stored = self._opened[holder].stored(field_id)
        return _Column((read_values(field, part) for part in stored), field, self._items[holder].stored_key)

    def _number_of(self, field: FieldSchema) -> int:
        """Return the ID of a field, also of the dynamic one where the backup's schema leaves it out."""
        if field.field_id != _UNKNOWN:
            return field.field_id
        there = {number for group in self._groups().values() for number in group}
        unnamed = {number for number in there - self._reader.fields.known if number >= FIRST_FIELD}
        if len(unnamed) > 1:
            which = ", ".join(map(str, sorted(unnamed)))
            msg = f"beside {self._one_key} are fields that the schema does not have: {which}"
            raise BinlogUnreadableError(msg)
        return unnamed.pop() if unnamed else _UNKNOWN

    def _holder_of(self, field_id: int) -> int | None:
        """Return which log holds a field, opened; None where none does, as in rows that are older than the field."""
        return next((number for number in self._likely(field_id) if field_id in self._open(number).field_ids), None)

    def _likely(self, field_id: int) -> list[int]:
        """Return which logs may hold a field, the likeliest first."""
        groups = self._groups()
        found = [number for number, fields in groups.items() if field_id in fields]
        return found + [number for number in groups if found and self._is_packed and number not in found]

    def _groups(self) -> Mapping[int, Collection[int]]:
        """Return the fields that each log should hold."""
        if not self._is_packed:
            return {number: (number,) for number in self._items}
        # Groups are listed in the order of their numbers, which are those of fields, or count from 0.
        numbers = sorted(self._items)
        listed = self._open(numbers[0]).column_groups
        if len(listed) == len(numbers):
            return dict(zip(numbers, listed, strict=True))
        return {number: self._open(number).field_ids for number in numbers}

    def _open_all(self, numbers: Iterable[int]) -> None:
        missing = [number for number in dict.fromkeys(numbers) if number not in self._opened]
        self._opened |= zip(missing, each(self._opening, missing, threads=_OBJECTS_AT_ONCE), strict=True)

    def _open(self, number: int) -> InsertLog:
        self._open_all([number])
        return self._opened[number]

    def _opening(self, number: int) -> InsertLog:
        item = self._items[number]
        log = named(item.stored_key, self._reader.body(item), InsertLog)
        key = log_of(item)
        if log.place and log.place != (key.collection_id, key.partition_id, key.segment_id, key.field_id):
            msg = f"{item.stored_key}: it is the log of another field or segment: {'/'.join(map(str, log.place))}"
            raise BinlogUnreadableError(msg)
        return log


def _rows_at_once(schema: pa.Schema) -> int:
    kinds = [field.type for field in schema if pa.types.is_fixed_size_list(field.type)]
    width = sum(kind.list_size * kind.value_type.bit_width // 8 for kind in kinds)
    return int(max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // max(1, width))))


class _Column:
    """The values of a field, of which as many are taken at a time as somebody asks for."""

    def __init__(self, parts: Iterator[pa.Array], field: FieldSchema, key: str) -> None:
        self._parts, self._field, self._key = parts, field, key
        self._rest = pa.nulls(0, arrow_type(field))

    def take(self, count: int) -> pa.Array:
        """Return the next values. Raises `BinlogUnreadableError` where there are fewer."""
        taken, left = [self._rest[:count]], count - len(self._rest)
        self._rest = self._rest[count:]
        while left > 0:
            part = self._next()
            if part is None:
                msg = f"{self._key}: it has fewer values of field {self._field.name} than there are rows"
                raise BinlogUnreadableError(msg)
            taken.append(part[:left])
            self._rest = part[left:]
            left -= len(part)
        return pa.concat_arrays(taken)

    def check_end(self) -> None:
        """Raise `BinlogUnreadableError` where there are more."""
        if len(self._rest) or self._next() is not None:
            msg = f"{self._key}: it has more values of field {self._field.name} than there are rows"
            raise BinlogUnreadableError(msg)

    def _next(self) -> pa.Array | None:
        with naming(self._key):
            return next(self._parts, None)
