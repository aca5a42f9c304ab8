"""ProveDrill: compare what was restored with what the binlogs of the backup hold.

Of each collection the rows of each partition are counted, those of a random sample are compared with all their values,
and vectors of some of these are searched for. The keys of all rows are read for that, and of the other fields the logs
that hold rows of the sample.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from itertools import batched
from random import Random
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.reader import collections_by_name
from milvus_vault.binlogs.values import VECTORS, DataType
from milvus_vault.drills.comparing import as_sought, comparable, comparable_fields, difference, other_fields
from milvus_vault.drills.sampling import Reservoir, spread
from milvus_vault.drills.working_files import (
    PLAN,
    PROVEN,
    RESTORED,
    WAITING,
    CountedPartition,
    DrilledCollection,
    DrillPlan,
    ProvenCollection,
    Restored,
    Waiting,
    counted_name,
    proven_name,
)
from milvus_vault.errors import LoadFailedError
from milvus_vault.model.collections import (
    CollectionName,
    CollectionSchema,
    FieldSchema,
    IndexDescription,
    KeyValue,
    lifetime_seconds,
)
from milvus_vault.model.hybrid import LOGICAL_BITS, milliseconds
from milvus_vault.model.messages_drill import ProveDrillResult
from milvus_vault.model.names import drill_restore_name
from milvus_vault.model.readable import count, duration, first_of, number_of, shortened
from milvus_vault.parallel import each
from milvus_vault.ports import Indexes, Loads, Queries
from milvus_vault.restore.working_files import RestoreReport
from milvus_vault.rows import WRITTEN_AT, KeysIn, Selection, read_collection_rows
from milvus_vault.workspace import Workspace, record_key

FULLY_LOADED = 100

# Rows of one query: an answer of Milvus is at most some ten MiB, of which vectors are most.
_ROWS_AT_ONCE, _BYTES_AT_ONCE = 100, 4 * 1024**2

# Vectors of each field that are searched for, and among how many neighbours each has to find itself.
_SEARCHES, _NEIGHBOURS = 3, 10

_MAX_DIFFERENCES = 100

# Of a key in a difference, which may have 64 KiB.
_KEY_LENGTH = 80

# Milvus 2.3 counts the row with the largest key and finds it by a search, and returns it of no query
# (findings/milvus_largest_key_is_not_found.sh).
_LARGEST_KEY = 2**63 - 1

# Milvus counts a score anew for each search, in another order of adding.
_SCORE_TOLERANCE = 1e-5

# Metrics by which no vector is nearer to another than to itself, and of these, those by which more is nearer.
_NEAREST_TO_THEMSELVES = {"L2", "COSINE", "HAMMING", "JACCARD"}
_LIKENESSES = {"COSINE"}

# A function has 15 minutes; the rows of a partition are counted and compared in one go.
_STOP_SECONDS = 240.0

# Collections that Milvus is asked for, and loads, before some are compared: each takes up to five requests.
_LOADING_AT_ONCE = 32

# Since something was last compared: Milvus loads gigabytes a minute.
_LOAD_SECONDS = 3600.0

# A row may be missing that expires up to an hour later: a function has 15 minutes, and clocks differ.
_EXPIRY_MARGIN_SECONDS = 3600
_HOUR_SECONDS = 3600

# From the counting of a partition to the end of its drill, which the state machine gives a day, with the margin.
_LONGEST_DRILL_HOURS = 26

# Of the time that was waited so far, before the next look.
_WAIT_SHARE, _LONGEST_WAIT = 0.1, 60

# What a field of each type is indexed by that has no index in the backup: Milvus loads no collection that lacks one.
_OWN_INDEXES: Mapping[int, tuple[str, str]] = {
    DataType.FLOAT_VECTOR: ("FLAT", "L2"),
    DataType.FLOAT16_VECTOR: ("FLAT", "L2"),
    DataType.BFLOAT16_VECTOR: ("FLAT", "L2"),
    DataType.INT8_VECTOR: ("AUTOINDEX", "L2"),
    DataType.BINARY_VECTOR: ("BIN_FLAT", "HAMMING"),
    DataType.SPARSE_FLOAT_VECTOR: ("SPARSE_INVERTED_INDEX", "IP"),
}

type Key = int | str
type Row = Mapping[str, object]


class DrilledMilvus(Indexes, Loads, Queries, Protocol):
    """Milvus, as far as what was restored is asked for there."""


@dataclass(frozen=True, slots=True)
class DrillProof:
    """The comparison of all collections of a drill. What is found is written down for each of them."""

    run: Workspace
    plan: DrillPlan
    restored: Restored
    database: DrilledMilvus
    now: datetime
    seconds_left: Callable[[], float]

    @classmethod
    def of(
        cls, run: Workspace, database: DrilledMilvus, now: datetime, seconds_left: Callable[[], float]
    ) -> "DrillProof":
        """Return the comparison of a run, and write down what the restore took.

        Raises `ObjectNotFoundError` or `WorkingFileError`.
        """
        plan = run.read(PLAN, DrillPlan)
        reports = Workspace(run.store, run.bucket, run.prefix, "reports")
        key = record_key(run.prefix, "reports", drill_restore_name(plan.execution_arn))
        report = reports.read(key.removeprefix(reports.folder), RestoreReport)
        restored = Restored(started_at=report.started_at, finished_at=report.finished_at)
        run.write(RESTORED, restored)
        return cls(run, plan, restored, database, now, seconds_left)

    def prove(self) -> ProveDrillResult:
        """Compare as many collections as are loaded, and as there is time for.

        Milvus is asked for a bounded number of collections before these are compared, so that they load meanwhile and
        so that each call gets on, of however many collections.

        Raises as `rows.read_rows` does, what Milvus refuses, and `LoadFailedError` where it does not load them.
        """
        proven = self.run.numbers(PROVEN)
        pending = [item for item in enumerate(self.plan.collections) if item[0] not in proven]
        if not pending:
            return ProveDrillResult(is_done=True, proven_count=len(proven), wait_seconds=0)
        find = collections_by_name(self.run.store, self.run.bucket, self._layout)
        done, loading, is_loaded = len(proven), 0, False
        for some in batched(pending, _LOADING_AT_ONCE, strict=False):
            ready = self._ready(some, find)
            is_loaded = is_loaded or bool(ready)
            for index, archived in ready:
                if done > len(proven) and not self._has_time():
                    break
                comparison = Comparison(self.run, self.plan, index, archived, self.database, self.now)
                if not comparison.count(self.seconds_left):
                    break
                self.run.write(proven_name(index), comparison.compare())
                done += 1
            loading += len(some) - len(ready)
            if loading >= _LOADING_AT_ONCE or not self._has_time():
                break
        wait_seconds = 0 if is_loaded else self._wait_seconds(done, pending[0][1])
        return ProveDrillResult(
            is_done=done == len(self.plan.collections), proven_count=done, wait_seconds=wait_seconds
        )

    @property
    def _layout(self) -> BackupLayout:
        return BackupLayout(self.run.prefix, self.plan.backup_name)

    def _has_time(self) -> bool:
        return self.seconds_left() >= _STOP_SECONDS

    def _ready(
        self, some: Sequence[tuple[int, DrilledCollection]], find: Callable[[CollectionName], ArchivedCollection]
    ) -> list[tuple[int, ArchivedCollection]]:
        """Return those of some collections that can be compared, as far as there was time to ask."""
        ready = []
        # Closed also where it is asked in vain: nothing is to be read on beside what comes then.
        with closing(each(lambda numbered: find(numbered[1].source), some)) as found:
            for turn, ((index, drilled), archived) in enumerate(zip(some, found, strict=True)):
                if turn and not self._has_time():
                    break
                if self._is_ready(drilled, archived):
                    ready.append((index, archived))
        return ready

    def _wait_seconds(self, done: int, first: DrilledCollection) -> int:
        """Return how long to wait for Milvus. Raises `LoadFailedError` where it was waited long enough."""
        waiting = self.run.find(WAITING, Waiting)
        if waiting is None or waiting.proven_count != done:
            waiting = Waiting(proven_count=done, since=self.now if done else self.restored.finished_at)
            self.run.write(WAITING, waiting)
        waited = (self.now - waiting.since).total_seconds()
        if waited > _LOAD_SECONDS:
            msg = f"{first.source}, restored as {first.target}, is not loaded {duration(waited)} after it was asked for"
            raise LoadFailedError(msg, hint="Give the query nodes more memory, or drill less: `max_bytes`.")
        return min(_LONGEST_WAIT, max(1, round(waited * _WAIT_SHARE)))

    def _is_ready(self, drilled: DrilledCollection, archived: ArchivedCollection) -> bool:
        """Return whether a collection is indexed and loaded; where it is not, see to it."""
        database, name = drilled.target.database, drilled.target.name
        there = {index.field_name for index in self.database.list_indexes(database, name)}
        for vector in _vectors(archived.layout.collection_schema):
            if vector.name not in there and vector.data_type in _OWN_INDEXES:
                self.database.create_index(database, name, _own_index(vector))
        if not self.database.index_progress(database, name).is_built:
            return False
        partitions = () if archived.layout.has_partition_key else archived.layout.partitions
        percent = self.database.load_percent(database, name, partitions)
        if percent is None and self.database.load_percent(database, name) is not None:
            # Some partitions are loaded, as they were. To such a collection 2.3 adds the others and calls them loaded
            # up to eight seconds before a query finds their rows (findings/milvus_added_partitions_load_empty.sh).
            self.database.release(database, name)
        if not percent:
            self.database.request_load(database, name, replicas=1)
        return percent == FULLY_LOADED


@dataclass(slots=True)
class Comparison:
    """The comparison of one collection."""

    run: Workspace
    plan: DrillPlan
    index: int
    archived: ArchivedCollection
    database: DrilledMilvus
    now: datetime
    row_count: int = 0
    compared_count: int = 0
    searched: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By field, how many vectors were searched for, and found."""
    differences: list[str] = field(default_factory=list)
    expired_count: int = 0
    """Rows that are missing, and had expired."""
    lacks_largest: bool = False
    """Whether the row with the largest key was asked for, and not returned."""
    _counted: list[CountedPartition] = field(default_factory=list)

    @property
    def _target(self) -> CollectionName:
        return self.plan.collections[self.index].target

    @property
    def _schema(self) -> CollectionSchema:
        return self.archived.layout.collection_schema

    @property
    def _key(self) -> FieldSchema:
        return next(one for one in self._schema.fields if one.is_primary_key)

    @property
    def _lifetime(self) -> int | None:
        """Return how many seconds rows live; None: for ever."""
        return lifetime_seconds(self.archived.layout.properties)

    @property
    def _expired_by(self) -> float:
        """Return until when a row has to have expired that is missing, in seconds since 1970."""
        return self.now.timestamp() + _EXPIRY_MARGIN_SECONDS

    def count(self, seconds_left: Callable[[], float]) -> bool:
        """Count the rows of each partition in the backup; return whether there was time for all."""
        for number, partition in enumerate(self.archived.partitions):
            name = counted_name(self.index, number)
            counted = self.run.find(name, CountedPartition)
            if counted is None:
                if number and seconds_left() < _STOP_SECONDS:
                    return False
                counted = self._counted_in(partition.name)
                self.run.write(name, counted)
            self._counted.append(counted)
        return True

    def _counted_in(self, partition: str) -> CountedPartition:
        sample = Reservoir(self.plan.request.row_count, self._random(partition))
        expiring: Counter[int] = Counter()
        lifetime = self._lifetime
        selection = Selection(fields=(self._key.name,), partition=partition, with_timestamps=lifetime is not None)
        for batch in self._read(selection):
            sample.add(batch.column(0))
            if lifetime is not None:
                for found in pc.value_counts(self._expiry_hours(batch.column(1), lifetime)).to_pylist():
                    expiring[found["values"]] += found["counts"]
        return CountedPartition(row_count=sample.count, expiring=expiring, keys=sample.chosen())

    def _expiry_hours(self, timestamps: pa.Array, lifetime: int) -> pa.Array:
        """Return the hours since 1970 in which rows expire, as `CountedPartition.expiring` has them."""
        first = int(self.now.timestamp() // _HOUR_SECONDS)
        written = pc.divide(pc.shift_right(timestamps, LOGICAL_BITS), 1000)
        hours = pc.divide(pc.add(written, lifetime), _HOUR_SECONDS)
        return pc.min_element_wise(pc.max_element_wise(hours, first), first + _LONGEST_DRILL_HOURS)

    def compare(self) -> ProvenCollection:
        """Return what is the same, and what is not, when the rows in the backup are counted."""
        self._compare_counts()
        keys = self._sampled_keys()
        if keys:
            self._compare_rows(keys)
        return ProvenCollection(
            row_count=self.row_count,
            compared_count=self.compared_count,
            searched_count=sum(self.searched.values()),
            differences=tuple(self.differences[:_MAX_DIFFERENCES]),
            warnings=tuple(self._warnings()),
        )

    def _random(self, what: str) -> Random:
        return Random(f"{self.plan.seed} {self.archived.name} {what}")  # noqa: S311 - a sample, and no secret

    def _read(self, selection: Selection) -> Iterator[pa.RecordBatch]:
        layout = BackupLayout(self.run.prefix, self.plan.backup_name)
        return read_collection_rows(self.run.store, self.run.bucket, layout, self.archived, selection).batches

    def _compare_counts(self) -> None:
        expected = {
            partition.name: (counted.row_count, self._lasting(counted))
            for partition, counted in zip(self.archived.partitions, self._counted, strict=True)
        }
        rows, lasting = (sum(counts) for counts in zip((0, 0), *expected.values(), strict=True))
        database, name = self._target.database, self._target.name
        self.row_count = self.database.count_rows(database, name)
        self.expired_count = max(0, min(rows - lasting, rows - self.row_count))
        self._compare_count("", rows, lasting, self.row_count)
        # Of a collection with a partition key no partition can be asked for.
        if not self.archived.layout.has_partition_key and len(expected) > 1:
            for partition, (rows, lasting) in expected.items():
                found = self.database.count_rows(database, name, [partition])
                self._compare_count(f" partition {partition}", rows, lasting, found)

    def _lasting(self, counted: CountedPartition) -> int:
        """Return how many rows of a partition have not expired."""
        if self._lifetime is None:
            return counted.row_count
        return sum(rows for hour, rows in counted.expiring.items() if hour * _HOUR_SECONDS > self._expired_by)

    def _compare_count(self, where: str, rows: int, lasting: int, found: int) -> None:
        if not lasting <= found <= rows:
            expired = f", of which {count(rows - lasting)} may have expired" if found < lasting < rows else ""
            self.differences.append(
                f"{self.archived.name}{where} has {number_of(found, 'row')} instead of {count(rows)}{expired}"
            )

    def _sampled_keys(self) -> list[Key]:
        counts = [counted.row_count for counted in self._counted]
        shares = spread(counts, self.plan.request.row_count, self._random("partitions of"))
        chosen = (key for counted, share in zip(self._counted, shares, strict=True) for key in counted.keys[:share])
        return list(dict.fromkeys(chosen))

    def _compare_rows(self, keys: Sequence[Key]) -> None:
        """Compare the rows with these keys.

        A key that was inserted twice has two rows in the backup, and Milvus shows one of them: that one has to be the
        same. For the row with the largest key stands the count of its partition.
        """
        fields = comparable_fields(self._schema)
        names = tuple(fields)
        wrong: dict[Key, list[str]] = {}
        right: set[Key] = set()
        missing: set[Key] = set()
        selection = Selection(
            fields=names, where=KeysIn(self._key.name, tuple(keys)), with_timestamps=self._lifetime is not None
        )
        for expected in _rows_at_a_time(self._read(selection)):
            asked = [_key(row[self._key.name]) for row in expected]
            found = {
                _key(row[self._key.name]): row
                for row in self.database.rows_by_key(
                    self._target.database, self._target.name, self._key.name, list(dict.fromkeys(asked)), names
                )
            }
            for key, row in zip(asked, expected, strict=True):
                if key not in found:
                    if key == _LARGEST_KEY:
                        self.lacks_largest = True
                    elif not self._has_expired(row):
                        missing.add(key)
                elif differing := list(self._differing(key, fields, row, found[key])):
                    wrong.setdefault(key, []).extend(differing)
                else:
                    right.add(key)
                    self._search(key, fields, row)
        self.compared_count = len(right | wrong.keys())
        self.differences += (f"{self.named(key)}: the row is missing" for key in keys if key in missing)
        for key, texts in wrong.items():
            if key not in right:
                self.differences += texts

    def _has_expired(self, row: Row) -> bool:
        written = row.get(WRITTEN_AT)
        if self._lifetime is None or not isinstance(written, int):
            return False
        return milliseconds(written) / 1000 + self._lifetime <= self._expired_by

    def named(self, key: Key) -> str:
        """Return what a difference begins with that is of one row."""
        return f"{self.archived.name} {self._key.name} {shortened(repr(key), _KEY_LENGTH)}"

    def _differing(self, key: Key, fields: Mapping[str, FieldSchema], row: Row, found: Row) -> Iterator[str]:
        for name, one in fields.items():
            expected, there = comparable(one, row[name]), comparable(one, found[name])
            if expected != there:
                yield f"{self.named(key)} field {name}: {difference(expected, there)}"

    def _search(self, key: Key, fields: Mapping[str, FieldSchema], row: Row) -> None:
        """Search for the vectors of a row, as far as not enough were searched for: each has to find its own row."""
        database, name = self._target.database, self._target.name
        wanted = {one: fields[one] for one in fields if fields[one].data_type in VECTORS}
        wanted = {one: vector for one, vector in wanted.items() if self.searched[one] < _SEARCHES}
        if not wanted:
            return
        indexes = {index.field_name: index for index in self.database.list_indexes(database, name)}
        for one, vector in wanted.items():
            if one not in indexes:
                continue
            sought = as_sought(vector, row[one], _metric(indexes[one]))
            if sought is None:
                continue
            if self._finds_itself(key, indexes[one], vector, sought):
                self.searched[one] += 1
            else:
                self.differences.append(f"{self.named(key)}: a search for its vector {one} does not find it")

    def _finds_itself(self, key: Key, index: IndexDescription, vector: FieldSchema, sought: object) -> bool:
        """Return whether a search for a row's vector finds the row.

        An index may be inexact, or have many vectors that are equal. So a row that is not among the nearest is looked
        for by its key, and it is as it should be if it is no further away than the last of those. By the inner product
        a longer vector is nearer than the vector itself, so that the row only has to be found.
        """
        database, name = self._target.database, self._target.name
        near = self.database.nearest(database, name, index, vector, sought, limit=_NEIGHBOURS)
        if any(neighbour.key == key for neighbour in near):
            return True
        of_key = (self._key.name, key)
        itself = self.database.nearest(database, name, index, vector, sought, limit=1, of_key=of_key)
        if not itself or itself[0].key != key:
            return False
        metric = _metric(index)
        if not near or metric not in _NEAREST_TO_THEMSELVES:
            return True
        own, last = itself[0].score, near[-1].score
        is_as_near = own >= last if metric in _LIKENESSES else own <= last
        return is_as_near or math.isclose(own, last, rel_tol=_SCORE_TOLERANCE)

    def _warnings(self) -> Iterator[str]:
        if self.lacks_largest:
            yield f"{self.named(_LARGEST_KEY)}: the row is counted, and not compared: Milvus returns it of no query"
        if others := other_fields(self._schema):
            yield f"{self.archived.name}: values of these fields are not compared: {first_of(others)}"
        if self.expired_count:
            missing = (
                f"{count(self.expired_count)} of its {number_of(sum(one.row_count for one in self._counted), 'row')}"
            )
            yield f"{self.archived.name} has a time to live: {missing} have expired, and did not come back"


def _metric(index: IndexDescription) -> str:
    return index.param("metric_type").upper()


def _key(value: object) -> Key:
    if not isinstance(value, int | str):
        msg = f"{value!r} is no primary key"
        raise TypeError(msg)
    return value


def _vectors(schema: CollectionSchema) -> Iterator[FieldSchema]:
    return (one for one in schema.fields if one.data_type in VECTORS and not one.is_function_output)


def _own_index(vector: FieldSchema) -> IndexDescription:
    kind, metric = _OWN_INDEXES[vector.data_type]
    params = (KeyValue(key="index_type", value=kind), KeyValue(key="metric_type", value=metric))
    return IndexDescription(index_id=0, name=f"drill_{vector.name}", field_name=vector.name, params=params)


def _rows_at_a_time(batches: Iterator[pa.RecordBatch]) -> Iterator[list[dict[str, object]]]:
    """Yield rows, as many as one query is to ask for."""
    for batch in batches:
        size = max(1, batch.nbytes // max(1, batch.num_rows))
        number = max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // size))
        for start in range(0, batch.num_rows, number):
            yield batch.slice(start, number).to_pylist()
