"""What is read of a backup for its rows, how much memory it takes, and what is said where it cannot be read."""

import hashlib
import io
import json
import random
import tracemalloc
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, override

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymilvus.grpc_gen import schema_pb2

from milvus_vault.archive.layout import BackupLayout, LogKey
from milvus_vault.archive.manifest import CollectionDocument, CollectionFailure
from milvus_vault.archive.pool import PooledKey, PoolLayout
from milvus_vault.archive.reader import read_archive, read_objects
from milvus_vault.errors import (
    BackupDamagedError,
    BackupNotFoundError,
    BinlogUnreadableError,
    CollectionNotFoundError,
    InvalidRequestError,
    VaultError,
)
from milvus_vault.model.collections import ALL_PARTITIONS, CollectionName
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.rows import KeysIn, Selection, read_rows, reading
from milvus_vault.rows.reading import METADATA
from milvus_vault.rows.writing import json_lines
from tests.support.memory_store import InMemoryObjectStore
from tests.support.milvus_server import binlog
from tests.unit.archive.samples import BUCKET, golden_layout, golden_store, sample_contents, write_backup

LAYOUT = BackupLayout("nightly", "b")
NAME = CollectionName(database="shop", name="articles")
COLLECTION, PARTITION, OTHER_PARTITION = 7, 8, 9
FIELDS = {100: ("id", 5), 101: ("title", 21), 102: ("vec", 101)}
DIM = 4

type Rows = Sequence[tuple[int, int]]
"""Keys and timestamps."""


@dataclass
class Made:
    """A backup of ours with one collection, from what its segments hold."""

    store: InMemoryObjectStore = field(default_factory=lambda: InMemoryObjectStore(BUCKET))
    moment: int = 0
    bodies: dict[LogKey, bytes] = field(default_factory=dict)
    segments: dict[int, dict[str, Any]] = field(default_factory=dict)
    schema: dict[str, Any] = field(default_factory=dict)
    is_incremental: bool = False

    def rows(self, segment: int, rows: Rows, partition: int = PARTITION) -> None:
        """Add a log of each field to a segment."""
        place = binlog.Place(COLLECTION, partition, segment)
        keys, times = [key for key, _ in rows], [time for _, time in rows]
        columns: dict[int, tuple[int, list[Any]]] = {
            0: (5, list(range(len(rows)))),
            1: (5, times),
            100: (5, keys),
            101: (21, [f"{key}@{time}" for key, time in rows]),
            102: (101, [bytes([key % 256] * 4 * DIM) for key in keys]),
        }
        for number, (kind, values) in columns.items():
            column = schema_pb2.FieldSchema(fieldID=number, data_type=kind)
            column.type_params.add(key="dim", value=str(DIM))
            body = binlog.write_insert_log(place, column, values, times, names_fields=True)
            self.add("insert_log", partition, segment, number, body)
        about = self.segments.setdefault(segment, {"segment_id": segment, "partition_id": partition, "row_count": 0})
        about["row_count"] += len(rows)

    def deletes(self, segment: int, deletes: Rows, partition: int = PARTITION) -> None:
        """Add a delta log to a segment; to one of level 0 where it has no rows."""
        body = binlog.write_delta_log(binlog.Place(COLLECTION, partition, segment), list(deletes), names_fields=True)
        self.add("delta_log", partition, segment, 0, body)
        level_zero = {"segment_id": segment, "partition_id": partition, "row_count": 0, "level": "L0"}
        self.segments.setdefault(segment, level_zero)

    def add(self, kind: str, partition: int, segment: int, number: int, body: bytes) -> None:
        self.bodies[LogKey(kind, COLLECTION, partition, segment, number, 1000 + len(self.bodies))] = body

    def stored(self, key: LogKey) -> str:
        """Return where a log lies: in the backup's folder, or in the pool."""
        if not self.is_incremental:
            return LAYOUT.log(key)
        content = hashlib.sha256(str(key).encode()).hexdigest()[:32]
        return PoolLayout(LAYOUT.prefix).key(PooledKey(f"{0:012x}-{COLLECTION}", key.segment_id, content, f"{0:08x}"))

    def write(self) -> "Made":
        """Write the backup."""
        other, _ = sample_contents(LAYOUT)[1]
        fields = [
            {"field_id": number, "name": name, "data_type": kind, "is_primary_key": number == 100,
             "type_params": [{"key": "dim", "value": str(DIM)}]}
            for number, (name, kind) in FIELDS.items()
        ]  # fmt: skip
        parts = [{"partition_id": PARTITION, "name": "_default"}, {"partition_id": OTHER_PARTITION, "name": "p"}]
        document = CollectionDocument.model_validate(
            other.model_dump()
            | {
                "description": other.description.model_dump()
                | {
                    "name": NAME,
                    "collection_id": COLLECTION,
                    "collection_schema": {"name": NAME.name, "fields": fields} | self.schema,
                    "partitions": parts,
                },
                "segments": list(self.segments.values()),
                "moment": self.moment,
            }
        )
        objects = [
            ArchivedObject(
                self.stored(key), f"files/{key}", len(body), hashlib.md5(body, usedforsecurity=False).hexdigest()
            )
            for key, body in self.bodies.items()
        ]
        write_backup(self.store, LAYOUT, [(document, objects), (other, [])])
        for key, body in self.bodies.items():
            self.store.put(BUCKET, self.stored(key), body)
        self.store.requests.clear()
        return self

    def read(self, **selection: Any) -> list[dict[str, Any]]:
        rows = read_rows(self.store, BUCKET, LAYOUT, NAME, Selection(**selection))
        return [row for batch in rows.batches for row in batch.to_pylist()]

    def titles(self, **selection: Any) -> list[str]:
        return [row["title"] for row in self.read(fields=("title",), **selection)]

    def asked(self, **selection: Any) -> list[str]:
        """Return the logs that a selection reads, below `binlogs/`, in no order."""
        keys: list[str] = []
        self.store.before = lambda operation, _, key: keys.append(key) if operation == "get" else None
        self.read(**selection)
        return sorted(key.partition("/binlogs/")[2] for key in keys if "/binlogs/" in key)


@pytest.fixture
def made() -> Made:
    """A collection of two segments and an empty one, with deletes at each place where there can be some."""
    made = Made()
    made.rows(20, [(1, 10), (2, 10), (3, 10)])
    made.rows(20, [(4, 10), (5, 10)])
    made.rows(10, [(6, 10), (2, 30), (7, 10)], OTHER_PARTITION)
    made.rows(11, [(8, 10), (4, 20)])
    made.segments[12] = {"segment_id": 12, "partition_id": PARTITION, "row_count": 0}
    return made


EVERYTHING = ["8@10", "4@20", "1@10", "2@10", "3@10", "4@10", "5@10", "6@10", "2@30", "7@10"]


def test_rows_come_by_partition_then_segment_then_as_they_are_stored(made: Made) -> None:
    assert made.write().titles() == EVERYTHING


def test_a_segment_s_deletes_are_of_its_own_rows_and_level_0_of_a_partition_or_of_all(made: Made) -> None:
    made.deletes(20, [(1, 11), (8, 11)])
    made.deletes(90, [(5, 11), (6, 11)])
    made.deletes(91, [(4, 20), (2, 30), (7, 9)], ALL_PARTITIONS)
    assert made.write().titles() == ["8@10", "4@20", "3@10", "6@10", "2@30", "7@10"]


def test_a_segment_of_all_partitions_holds_deletes_whatever_its_level(made: Made) -> None:
    made.deletes(91, [(6, 11), (8, 11)], ALL_PARTITIONS)
    made.segments[91]["level"] = "legacy"
    assert made.write().titles() == [title for title in EVERYTHING if title not in {"6@10", "8@10"}]


def test_nothing_is_newer_than_the_moment(made: Made) -> None:
    made.moment = 19
    made.deletes(91, [(3, 19), (5, 20), (4, 20)], ALL_PARTITIONS)
    assert made.write().titles() == ["8@10", "1@10", "2@10", "4@10", "5@10", "6@10", "7@10"]


def test_objects_of_an_incremental_backup_are_read_in_the_pool(made: Made) -> None:
    made.is_incremental = True
    made.deletes(91, [(6, 11)], ALL_PARTITIONS)
    assert made.write().titles() == [title for title in EVERYTHING if title != "6@10"]
    lost = made.stored(next(key for key in made.bodies if key.field_id == 101))
    made.store.delete(BUCKET, [lost])
    with pytest.raises(BackupDamagedError, match=r"nightly/\.pool/000000000000-7/.* is missing"):
        made.titles()


def test_only_logs_of_what_is_asked_for_are_read(made: Made) -> None:
    made.deletes(90, [(5, 11)])
    made.deletes(91, [(5, 11)], OTHER_PARTITION)
    made.write()
    numbers = [key.split("/")[5] for key in made.asked(fields=("title",)) if key.startswith("insert_log")]
    assert sorted(numbers) == sorted(["1", "100", "101"] * 4)
    in_other = made.asked(fields=("id",), partition="p")
    assert {key.split("/")[2] for key in in_other} == {str(OTHER_PARTITION)}
    assert len(in_other) == 3


def test_logs_without_a_selected_key_are_read_for_their_keys_alone(made: Made) -> None:
    made.deletes(90, [(5, 11)])
    made.write()
    found = made.asked(where=KeysIn("id", (6,)))
    assert sorted(key.split("/")[5] for key in found) == sorted(["100"] * 3 + ["1", "100", "101", "102"])
    assert not [key for key in found if key.startswith("delta_log")]
    assert made.titles(where=KeysIn("id", (6,))) == ["6@10"]


def test_no_document_of_another_collection_is_read(made: Made) -> None:
    keys: list[str] = []
    made.write().store.before = lambda operation, _, key: keys.append(key) if operation == "get" else None
    made.read(limit=1)
    documents = [key for key in keys if "/meta/" in key]
    assert sorted(key.rpartition("/")[2] for key in documents) == sorted(
        ["backup_meta.json", "manifest.json", f"{COLLECTION}.json", f"{COLLECTION}.jsonl", "other_etags.json"]
    )


def test_a_limit_ends_the_reading(made: Made) -> None:
    found = made.write().asked(limit=2)
    assert {key.split("/")[3] for key in found} == {"11"}
    assert made.titles(limit=2) == EVERYTHING[:2]


class CopyingStore(InMemoryObjectStore):
    """Gives each content anew, so that it counts."""

    @override
    def get_with_etag(self, bucket: str, key: str) -> tuple[bytes, str]:
        body, etag = super().get_with_etag(bucket, key)
        return bytes(bytearray(body)), etag


def test_memory_is_that_of_the_logs_that_hold_the_same_rows() -> None:
    made = Made(CopyingStore(BUCKET))
    for log in range(12):
        made.rows(20, [(log * 20_000 + row, row) for row in range(20_000)])
    made.deletes(90, [(key, 5) for key in range(1000)])
    made.write()
    total = sum(map(len, made.bodies.values()))
    rows = read_rows(made.store, BUCKET, LAYOUT, NAME)
    tracemalloc.start()
    try:
        before, most, count = pa.total_allocated_bytes(), 0, 0
        for batch in rows.batches:
            count += batch.num_rows
            most = max(most, pa.total_allocated_bytes() - before)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 12 * 20_000 - 5
    assert peak < total / 3, (peak, total)
    assert most < 6_000_000, "of 12 MB of values, as much again for what is parsed of one log"


def of_groups(listed: str) -> Made:
    """Return a segment of three column groups, with what each of them says of all."""
    made = Made()
    groups = {
        0: {100: pa.array([1, 2]), 0: pa.array([0, 1]), 1: pa.array([10, 10])},
        1: {102: pa.array([bytes(4 * DIM)] * 2, pa.binary(4 * DIM))},
        2: {101: pa.array(["a", "b"])},
    }
    for number, columns in groups.items():
        fields = [
            pa.field(f"f{of}", values.type, metadata={"PARQUET:field_id": str(of)}) for of, values in columns.items()
        ]
        schema = pa.schema(fields, metadata={"group_field_id_list": listed} if listed else None)
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_arrays(list(columns.values()), schema=schema), sink)
        made.add("insert_log", PARTITION, 20, number, sink.getvalue())
    made.segments[20] = {"segment_id": 20, "partition_id": PARTITION, "row_count": 2, "storage_version": 2}
    return made.write()


@pytest.mark.parametrize("listed", ["100,0,1;102;101", "100,0,1;101;102", "100,0,1,101,102", ""])
def test_a_field_s_column_group_is_found_whatever_is_listed(listed: str) -> None:
    assert of_groups(listed).read() == [
        {"id": 1, "title": "a", "vec": [0.0] * DIM},
        {"id": 2, "title": "b", "vec": [0.0] * DIM},
    ]


def test_batches_of_large_vectors_have_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made()
    made.rows(20, [(row, 10) for row in range(100)])
    made.write()
    assert [batch.num_rows for batch in read_rows(made.store, BUCKET, LAYOUT, NAME).batches] == [100]
    monkeypatch.setattr(reading, "_BYTES_AT_ONCE", 40 * 4 * DIM)
    rows = read_rows(made.store, BUCKET, LAYOUT, NAME)
    batches = list(rows.batches)
    assert [batch.num_rows for batch in batches] == [40, 40, 20]
    assert [key for batch in batches for key in batch.column("id").to_pylist()] == list(range(100))


def test_column_groups_that_hold_nothing_selected_are_not_read() -> None:
    found = of_groups("100,0,1;102;101").asked(fields=("title",))
    assert sorted(key.split("/")[5] for key in found) == ["0", "2"]


def test_a_list_of_column_groups_that_is_none_is_unreadable() -> None:
    with pytest.raises(BinlogUnreadableError, match=r"insert_log/7/8/20/20/0/1000: its list of column groups cannot"):
        of_groups("100,0,1;x;101").read()


def test_the_schema_says_what_its_fields_are_in_milvus_and_where_they_are_from() -> None:
    made = Made(moment=19)
    made.rows(20, [(1, 10)])
    schema = read_rows(made.write().store, BUCKET, LAYOUT, NAME).schema
    assert [(of.name, of.metadata[b"milvus_type"], of.metadata[b"milvus_field_id"]) for of in schema] == [
        ("id", b"INT64", b"100"), ("title", b"VARCHAR", b"101"), ("vec", b"FLOAT_VECTOR", b"102"),
    ]  # fmt: skip
    assert schema.field("vec").type == pa.list_(pa.float32(), DIM)
    about = json.loads(schema.metadata[METADATA])
    assert (about["backup"], about["collection"], about["moment"]) == ("b", "shop.articles", 19)
    assert [of["name"] for of in about["schema"]["fields"]] == ["id", "title", "vec"]


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "said", "hint"),
    [
        ({"fields": ("id", "nope")}, "no field nope", "It has id, title, vec."),
        ({"partition": "nope"}, "no partition nope", "It has _default, p."),
        ({"where": KeysIn("title", ("x",))}, "by the primary key, id, and not by title", "`KEY in"),
        ({"where": KeysIn("id", ("x",))}, "the primary key id is of type INT64", ""),
        ({"where": KeysIn("id", (2**63,))}, "the primary key id is of type INT64", ""),
    ],
)
def test_what_the_collection_does_not_have_is_refused(made: Made, selection: Any, said: str, hint: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        made.write().read(**selection)
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_fields_of_types_that_are_not_read_are_named_and_the_others_can_be_had(made: Made) -> None:
    made.schema = {
        "struct_array_fields": [{"field_id": 110, "name": "pages", "fields": ()}],
    }
    made.write()
    with pytest.raises(InvalidRequestError, match=r"not read: pages .ARRAY_OF_STRUCT.") as caught:
        made.read()
    assert caught.value.hint == "Name other fields: id,title,vec."
    assert len(made.read(fields=("id", "vec"))) == len(EVERYTHING)


def test_a_collection_or_a_backup_that_is_not_there_is_named(made: Made) -> None:
    made.write()
    with pytest.raises(CollectionNotFoundError, match=r"backup 'b' does not hold collection shop\.nope"):
        read_rows(made.store, BUCKET, LAYOUT, CollectionName(database="shop", name="nope"))
    with pytest.raises(BackupNotFoundError):
        read_rows(made.store, BUCKET, replace(LAYOUT, name="nope"), NAME)


def test_of_a_collection_that_could_not_be_backed_up_the_reason_is_told() -> None:
    store = InMemoryObjectStore(BUCKET)
    failure = CollectionFailure(name=NAME, error="SegmentTornError", message="a segment is torn")
    write_backup(store, LAYOUT, sample_contents(LAYOUT), failures=(failure,))
    with pytest.raises(CollectionNotFoundError, match="does not hold") as caught:
        read_rows(store, BUCKET, LAYOUT, NAME)
    assert caught.value.hint == "Its backup failed: SegmentTornError."


def test_a_backup_of_ours_of_metadata_has_no_rows() -> None:
    store = InMemoryObjectStore(BUCKET)
    write_backup(store, LAYOUT, sample_contents(LAYOUT), meta_only=True)
    with pytest.raises(CollectionNotFoundError, match="backup 'b' has metadata alone"):
        read_rows(store, BUCKET, LAYOUT, CollectionName(database="books", name="works"))


def test_a_backup_of_metadata_has_no_rows() -> None:
    store, layout = golden_store("golden_meta"), golden_layout("golden_meta")
    with pytest.raises(CollectionNotFoundError, match="has metadata alone"):
        read_rows(store, BUCKET, layout, CollectionName(database="books", name="layers"))


# --- damage ---------------------------------------------------------------------------------------


def _key(made: Made, number: int) -> str:
    return next(LAYOUT.log(key) for key in made.bodies if key.segment_id == 20 and key.field_id == number)


def _put(made: Made, key: str, body: bytes) -> None:
    made.store.put(BUCKET, key, body)


def _remake(made: Made, number: int, body: bytes) -> None:
    """Write the backup with another content of a log."""
    found = next(key for key in made.bodies if key.segment_id == 20 and key.field_id == number)
    made.bodies[found] = body
    made.write()


def _lose(made: Made) -> str:
    made.store.delete(BUCKET, [_key(made, 101)])
    return "is missing"


def _shorten(made: Made) -> str:
    _put(made, _key(made, 101), made.store.get(BUCKET, _key(made, 101))[:-1])
    return "bytes instead of"


def _change(made: Made) -> str:
    body = bytearray(made.store.get(BUCKET, _key(made, 102)))
    body[-200] ^= 1
    _put(made, _key(made, 102), bytes(body))
    return "another ETag than was recorded"


def _cut_off(made: Made) -> str:
    _remake(made, 101, next(body for key, body in made.bodies.items() if key.field_id == 101)[:-9])
    return "bytes, and the log ends after"


def _take_another_segment_s(made: Made) -> str:
    _remake(made, 101, next(body for key, body in made.bodies.items() if key.segment_id == 11 and key.field_id == 101))
    return "it is the log of another field or segment"


def _take_rows_away(made: Made) -> str:
    column = schema_pb2.FieldSchema(fieldID=101, data_type=21)
    place = binlog.Place(COLLECTION, PARTITION, 20)
    _remake(made, 101, binlog.write_insert_log(place, column, ["a"], [10], names_fields=True))
    return "fewer values of field title than there are rows"


def _add_rows(made: Made) -> str:
    column = schema_pb2.FieldSchema(fieldID=101, data_type=21)
    place = binlog.Place(COLLECTION, PARTITION, 20)
    _remake(made, 101, binlog.write_insert_log(place, column, list("abcd"), [10] * 4, names_fields=True))
    return "more values of field title than there are rows"


def _take_timestamps_away(made: Made) -> str:
    column = schema_pb2.FieldSchema(fieldID=1, data_type=5)
    place = binlog.Place(COLLECTION, PARTITION, 20)
    _remake(made, 1, binlog.write_insert_log(place, column, [10], [10], names_fields=True))
    return "it has 1 timestamps, and there are 3 keys"


def _change_type(made: Made) -> str:
    column = schema_pb2.FieldSchema(fieldID=101, data_type=5)
    place = binlog.Place(COLLECTION, PARTITION, 20)
    _remake(made, 101, binlog.write_insert_log(place, column, [1, 2, 3], [10] * 3, names_fields=True))
    return "values of field title are of type int64"


def _tear(made: Made) -> str:
    del made.bodies[next(key for key in made.bodies if key.segment_id == 20 and key.field_id == 101)]
    made.write()
    return "segment 20 of collection shop.articles is torn"


def _delete_texts(made: Made) -> str:
    body = binlog.write_delta_log(binlog.Place(COLLECTION, PARTITION, 20), [("1", 11)], names_fields=True)
    made.add("delta_log", PARTITION, 20, 0, body)
    made.write()
    return "its keys are of type string, and those of the collection int64"


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (_lose, BackupDamagedError),
        (_shorten, BackupDamagedError),
        (_change, BackupDamagedError),
        (_tear, BackupDamagedError),
        (_cut_off, BinlogUnreadableError),
        (_take_another_segment_s, BinlogUnreadableError),
        (_take_rows_away, BinlogUnreadableError),
        (_add_rows, BinlogUnreadableError),
        (_take_timestamps_away, BinlogUnreadableError),
        (_change_type, BinlogUnreadableError),
        (_delete_texts, BinlogUnreadableError),
    ],
)
def test_damage_has_a_name_and_the_object_s_key(
    made: Made, damage: Callable[[Made], str], error: type[VaultError]
) -> None:
    made.write()
    said = damage(made)
    with pytest.raises(error) as caught:
        made.read()
    assert said in caught.value.message
    assert "nightly/b/binlogs/" in caught.value.message or "segment 20" in caught.value.message


@pytest.mark.parametrize("archive", ["golden_0516", "golden_2_4", "golden_2_5", "golden_2_6"])
def test_logs_with_any_other_bytes_are_read_or_are_named(archive: str) -> None:
    store, layout, rng = golden_store(archive), golden_layout(archive), random.Random(7)  # noqa: S311 - no secret
    collections = [found for found in read_archive(store, BUCKET, layout).collections if found.segments]
    said = []
    for _ in range(40):
        collection = rng.choice(collections)
        key = rng.choice(read_objects(store, BUCKET, layout, collection)).stored_key
        whole = store.get(BUCKET, key)
        body = bytearray(whole)
        start = rng.randrange(len(body))
        length = rng.randrange(1, 9)
        body[start : start + length] = rng.randbytes(len(body[start : start + length]))
        store.put(BUCKET, key, bytes(body))
        try:
            deque(json_lines(read_rows(store, BUCKET, layout, collection.name)), maxlen=0)
        except BinlogUnreadableError as err:
            said.append((key, err.message))
        store.put(BUCKET, key, whole)
    assert len(said) > 20
    assert all(key in message for key, message in said)


def test_rows_of_a_collection_that_can_have_more_fields_are_not_guessed(made: Made) -> None:
    made.schema = {"enable_dynamic_field": True}
    made.write()
    assert made.read(limit=1)[0]["$meta"] is None
    for number in (103, 104):
        for place in [key for key in made.bodies if key.field_id == 101]:
            column = schema_pb2.FieldSchema(fieldID=number, data_type=23)
            of = binlog.Place(COLLECTION, place.partition_id, place.segment_id)
            count = len(binlog.read(made.bodies[place]).columns["101"])
            body = binlog.write_insert_log(of, column, [b'{"a": 1}'] * count, [10], names_fields=True)
            made.add("insert_log", place.partition_id, place.segment_id, number, body)
        made.write()
        if number == 103:
            assert made.read(limit=1)[0]["$meta"] == '{"a": 1}'
    with pytest.raises(BinlogUnreadableError, match="fields that the schema does not have: 103, 104"):
        made.read()


@pytest.mark.parametrize(
    ("expression", "meant"),
    [
        ("id in [1, -2]", ("id", (1, -2))),
        (" id  ==  9007199254740993 ", ("id", (9_007_199_254_740_993,))),
        ("key in ['a', \"b's\"]", ("key", ("a", "b's"))),
        ("key == ''", ("key", ("",))),
        ("id in []", ("id", ())),
        ("id in[1]", ("id", (1,))),
    ],
)
def test_expressions_of_keys(expression: str, meant: tuple[str, Any]) -> None:
    found = KeysIn.parse(expression)
    assert (found.field, found.keys) == meant


@pytest.mark.parametrize(
    "expression",
    ["id > 1", "id in 1", "id in [1.5]", "id == true", "id in [1", "id in [1] and x == 2", "id in (1, 2)", "[1]", "",
     "id in [[1]]", "id == [1]", "id in range(3)", "not id in [1]", "id in " + "[" * 500],
)  # fmt: skip
def test_other_expressions_are_refused_with_what_there_is(expression: str) -> None:
    with pytest.raises(InvalidRequestError, match="rows cannot be selected by the expression") as caught:
        KeysIn.parse(expression)
    assert "`KEY in [1, 2]`" in caught.value.hint


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"limit": 0}, "at least one row"), ({"limit": -1}, "-1"), ({"fields": "age"}, "'age' is a text")],
)
def test_a_selection_that_cannot_be_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        Selection(**wrong)
