"""Collections of any schema and with any history, as hypothesis draws them, and what they should hold."""

import itertools
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from hypothesis import strategies as st
from pymilvus.grpc_gen import schema_pb2

from tests.conformance.asking import DIMENSIONS, Milvus
from tests.conformance.asking import field as schema_field
from tests.support.milvus_server.catalog import L0
from tests.support.milvus_server.compaction import fold_deletes
from tests.support.milvus_server.server import MilvusServer
from tests.support.milvus_server.values import Message, Value, to_message
from tests.support.milvus_server.versions import Version

PARTITIONS = ("_default", "p")

_FIRST_KEY, _LAST_KEY = -30, 30
_MOST_ADDED = 2


class Extra(NamedTuple):
    """A field beside those that every collection here has."""

    since: tuple[int, int]
    """The first version that can have it."""
    data_type: str
    options: Mapping[str, Any]
    value: Callable[[int], Value]
    """From the number of a row."""


def _numbers(*values: int) -> bytes:
    found = schema_pb2.ScalarField()
    found.long_data.data.extend(values)
    content: bytes = found.SerializeToString()
    return content


TEXT = {"max_length": 60}
EXTRAS: dict[str, Extra] = {
    "truth": Extra((2, 2), "Bool", {}, lambda n: n % 2 == 0),
    "tiny": Extra((2, 2), "Int8", {}, lambda n: n % 100),
    "small": Extra((2, 2), "Int16", {}, lambda n: -n),
    "real": Extra((2, 2), "Float", {}, lambda n: n / 2),
    "double": Extra((2, 2), "Double", {}, lambda n: n / 3),
    "text": Extra((2, 2), "VarChar", TEXT, lambda n: f"é{n}" if n % 4 else ""),
    "document": Extra((2, 3), "JSON", {}, lambda n: json.dumps({"n": n}).encode()),
    "list": Extra((2, 3), "Array", {"element_type": "Int64", "max_capacity": 9}, lambda n: _numbers(*range(n % 3))),
    "sparse": Extra((2, 4), "SparseFloatVector", {}, lambda n: struct.pack("<IfIf", n, 0.5, n + 7, 1.0)),
    "bits": Extra((2, 4), "BinaryVector", {"dim": 8}, lambda n: bytes([n % 256])),
    "maybe": Extra((2, 5), "VarChar", TEXT | {"nullable": True}, lambda n: None if n % 3 else f"m{n}"),
    "usually": Extra((2, 5), "Int64", {"default": 7}, lambda n: n),
    "perhaps": Extra((2, 5), "Int64", {"default": 8, "nullable": True}, lambda n: n),
}


@dataclass(frozen=True)
class Shape:
    """What a collection is made of."""

    key_type: str = "Int64"
    has_auto_id: bool = False
    shards: int = 2
    partition_key: str = ""
    """Type of the field whose value decides on the partition; empty: there is none."""
    is_dynamic: bool = False
    extras: tuple[str, ...] = ()

    @property
    def partitions(self) -> tuple[str, ...]:
        """Return the partitions to write to; with a key the server chooses among its own."""
        return ("",) if self.partition_key else PARTITIONS

    def fields(self) -> list[Message]:
        """Return the fields to create: key, vector, number, and what else there is."""
        key_options = dict(TEXT) if self.key_type == "VarChar" else {}
        fields = [
            schema_field("id", self.key_type, is_primary_key=True, autoID=self.has_auto_id, **key_options),
            schema_field("v", "FloatVector", dim=DIMENSIONS),
            schema_field("n", "Int64"),
        ]
        if self.partition_key:
            options = TEXT if self.partition_key == "VarChar" else {}
            fields.append(schema_field("tenant", self.partition_key, is_partition_key=True, **options))
        return fields + [extra_field(name, EXTRAS[name]) for name in self.extras]


def extra_field(name: str, extra: Extra) -> Message:
    """Return a field of the schema."""
    own = {key: value for key, value in extra.options.items() if key not in {"default", "element_type"}}
    made = schema_field(name, extra.data_type, **own)
    if "element_type" in extra.options:
        made.element_type = schema_pb2.DataType.Value(extra.options["element_type"])
    if "default" in extra.options:
        made.default_value.long_data = extra.options["default"]
    return made


class Step(NamedTuple):
    """Something that happens to a collection."""

    kind: str
    """write, delete, flush, fold, compact or add."""
    keys: frozenset[int] = frozenset()
    partition: int = 0
    """Which one, by its place among those that can be written to; one more: all, of a delete."""


KEYS = st.frozensets(st.integers(_FIRST_KEY, _LAST_KEY), min_size=1, max_size=12)
PLAIN = Shape()


def shapes(version: Version) -> st.SearchStrategy[Shape]:
    """Return the strategy for what a collection of a version can be made of."""
    extras = sorted(name for name, extra in EXTRAS.items() if version.at_least(*extra.since))
    return st.builds(
        Shape,
        key_type=st.sampled_from(("Int64", "VarChar")),
        has_auto_id=st.booleans(),
        shards=st.integers(1, 3),
        partition_key=st.sampled_from(("", "Int64", "VarChar")),
        is_dynamic=st.booleans(),
        extras=st.lists(st.sampled_from(extras), max_size=4, unique=True).map(tuple),
    )


def histories(version: Version) -> st.SearchStrategy[list[Step]]:
    """Return the strategy for what can happen to a collection of a version."""
    kinds = ["flush", "fold", "compact"] + ["add"] * version.at_least(2, 6)
    return st.lists(
        st.one_of(
            st.builds(Step, st.just("write"), KEYS, st.integers(0, len(PARTITIONS) - 1)),
            st.builds(Step, st.just("delete"), KEYS, st.integers(0, len(PARTITIONS))),
            st.builds(Step, st.sampled_from(kinds)),
        ),
        min_size=1,
        max_size=14,
    )


type Rows = dict[str, dict[Any, int]]
"""Numbers by key, by partition."""


@dataclass
class Collection:
    """A collection on a server, and what it should hold."""

    milvus: Milvus
    server: MilvusServer
    name: str
    shape: Shape = PLAIN
    added: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @cached_property
    def expected(self) -> Rows:
        """What it should hold."""
        return {name: {} for name in self.shape.partitions}

    def create(self) -> None:
        """Make it, without rows."""
        others = [name for name in self.shape.partitions if name not in {"", "_default"}]
        self.milvus.make(
            self.name,
            *self.shape.fields(),
            shards=self.shape.shards,
            partitions=others,
            num_partitions=3 if self.shape.partition_key else 0,
            dynamic=self.shape.is_dynamic,
        )

    def take(self, step: Step) -> None:
        """Let something happen."""
        names = self.shape.partitions
        match step.kind:
            case "write":
                self._write(sorted(step.keys), names[step.partition % len(names)])
            case "delete":
                self._delete(sorted(step.keys), (*names, "")[step.partition % (len(names) + 1)])
            case "flush":
                self.milvus.flush(self.name)
            case "fold":
                self._fold()
            case "compact":
                self.milvus.must("ManualCompaction", collection_name=self.name)
            case "add":
                self._add_field()

    def _write(self, numbers: list[int], partition: str) -> None:
        """Upsert, so that a key is there at most once in a partition; a server that makes keys makes each once."""
        rows = [next(self._numbers) for _ in numbers]
        # Now and then a batch leaves out what may be left out.
        given = [f for f in self._fields() if not (rows[0] % 2 and f.HasField("default_value"))]
        keys: list[Any] = [self._key(number) for number in numbers]
        data = [to_message(f, [self._value(f.name, row) for row in rows]) for f in given]
        names = {"collection_name": self.name, "partition_name": partition, "num_rows": len(rows)}
        if self.shape.has_auto_id:
            answer = self.milvus.must("Insert", **names, fields_data=data)
            keys = list(answer.IDs.str_id.data or answer.IDs.int_id.data)
        else:
            self.milvus.must("Upsert", **names, fields_data=[to_message(self.shape.fields()[0], keys), *data])
        self.expected[partition] |= dict(zip(keys, rows, strict=True))

    def _fields(self) -> list[Message]:
        """Return what a write gives values for, apart from the key."""
        dynamic = schema_field("$meta", "JSON")
        dynamic.is_dynamic = True
        added = [schema_field(name, "Int64", nullable=True) for name in self.added]
        return self.shape.fields()[1:] + added + [dynamic] * self.shape.is_dynamic

    def _value(self, name: str, row: int) -> Value:
        match name:
            case "v":
                return struct.pack("<4f", row, 0, 0.5, 1)
            case "n":
                return row
            case "tenant":
                return row % 7 if self.shape.partition_key == "Int64" else f"t{row % 7}"
            case "$meta":
                return json.dumps({"more": [row]}).encode()
        return EXTRAS[name].value(row) if name in EXTRAS else row if row % 2 else None

    def _key(self, number: int) -> int | str:
        return number if self.shape.key_type == "Int64" else f"k{number}"

    def _delete(self, numbers: list[int], partition: str) -> None:
        keys: list[Any] = [self._key(number) for number in numbers]
        if self.shape.has_auto_id:
            known = sorted({key for rows in self.expected.values() for key in rows})
            keys = sorted({known[number % len(known)] for number in numbers}) if known else []
        if not keys:
            return
        self.milvus.must(
            "Delete", collection_name=self.name, partition_name=partition, expr=f"id in {json.dumps(keys)}"
        )
        for name in [partition] if partition else self.expected:
            for key in keys:
                self.expected[name].pop(key, None)

    def _fold(self) -> None:
        with self.server.core.lock:
            collection = self.server.core.catalog.collection("default", self.name)
            for segment in list(collection.segments.values()):
                if segment.level == L0 and self.server.core.version.has_l0:
                    fold_deletes(self.server.core, collection, segment)

    def _add_field(self) -> None:
        if len(self.added) < _MOST_ADDED:
            name = f"added_{len(self.added)}"
            schema = schema_field(name, "Int64", nullable=True).SerializeToString()
            self.milvus.must("AddCollectionField", collection_name=self.name, schema=schema)
            self.added.append(name)

    def found(self) -> Rows:
        """Return what it does hold."""
        rows: Rows = {}
        for partition in self.shape.partitions:
            columns = self.server.live_rows("default", self.name, partition)
            pairs = list(zip(columns.get(100, []), columns.get(102, []), strict=True))
            assert len(pairs) == len(dict(pairs)), "a key is there twice"
            rows[partition] = {key: int(value) for key, value in pairs if value is not None}
        return rows


def whole_rows(server: MilvusServer, name: str) -> dict[str, list[tuple[Value, ...]]]:
    """Return all live rows with all that they hold, their timestamps included, by partition."""
    with server.core.lock:
        names = list(server.core.catalog.collection("default", name).partitions)
    found = {}
    for partition in names:
        columns = server.live_rows("default", name, partition)
        values = [columns[number] for number in sorted(columns)]
        found[partition] = sorted(zip(*values, strict=True), key=str)
    return found
