"""The codec reads what real servers wrote, and reads back what it writes."""

import pytest
from pymilvus.grpc_gen import schema_pb2

from tests.support.golden_rows import Row, full_meta, in_order, objects_of, oracle, rows_of
from tests.support.milvus_server import binlog, column_groups
from tests.support.milvus_server.binlog import DamagedBinlogError, Place
from tests.support.milvus_server.objects import MemoryObjects
from tests.support.milvus_server.segment_files import (
    SegmentLogs,
    Writer,
    by_field,
    folder,
    read_deletes,
    read_rows,
)
from tests.support.milvus_server.values import TIMESTAMP, Columns, Value, join, rows_in, take

PLACE = Place(11, 12, 13)
ROWS = 3
DAMAGED_BYTES = 40


def _live_rows(name: str, collection: int, partition: int) -> list[Row]:
    """Return a partition's live rows, with all deletes of the collection applied by key and timestamp."""
    objects = objects_of(name)
    segments: dict[str, list[str]] = {}
    for key in objects.keys(f"insert_log/{collection}/{partition}/"):
        segments.setdefault(key.split("/")[4], []).append(key)
    columns = join([read_rows(objects, by_field(keys)) for keys in segments.values()])
    newest: dict[Value, int] = {}
    for scope in (partition, -1):
        for deleted, timestamp in read_deletes(objects, objects.keys(f"delta_log/{collection}/{scope}/")):
            newest[deleted] = max(timestamp, newest.get(deleted, 0))
    alive = [
        row
        for row, (deleted, timestamp) in enumerate(zip(columns.get(100, []), columns.get(TIMESTAMP, []), strict=True))
        if isinstance(timestamp, int) and timestamp >= newest.get(deleted, 0)
    ]
    return in_order(list(rows_of(take(columns, alive))))


@pytest.mark.parametrize("version", ["2_4", "2_5", "2_6"])
def test_the_files_of_a_golden_archive_hold_just_the_rows_of_its_oracle(version: str) -> None:
    expected = oracle(version)
    compared = 0
    for backup in full_meta(f"golden_{version}")["collection_backups"]:
        name = f"{backup.get('db_name') or 'default'}.{backup['collection_name']}"
        for partition in backup["partition_backups"]:
            rows = expected[name]["rows"].get(partition["partition_name"], [])
            found = _live_rows(f"golden_{version}", backup["collection_id"], partition["partition_id"])
            wanted = in_order([row for versions in rows for row in versions])
            if name == "gold.grown":  # its first segment has no file for the field that was added later
                wanted = [{key: row[key] for key in there} for row, there in zip(wanted, found, strict=True)]
                found = [
                    {key: there[key] or row[key] for key in there} for row, there in zip(wanted, found, strict=True)
                ]
            assert found == wanted, (name, partition["partition_name"])
            compared += len(found)
    assert compared > 1000


def test_the_files_of_the_golden_archive_of_2_3_hold_as_many_rows_as_its_oracle_counts() -> None:
    expected = oracle("2_3")
    for backup in full_meta("golden_0516")["collection_backups"]:
        name = f"{backup.get('db_name') or 'default'}.{backup['collection_name']}"
        found = sum(
            len(_live_rows("golden_0516", backup["collection_id"], partition["partition_id"]))
            for partition in backup["partition_backups"]
        )
        assert found == expected[name]["count"], name


def _schema(*, nullable: bool = False) -> schema_pb2.CollectionSchema:
    schema = schema_pb2.CollectionSchema(name="c")
    names = ["Int64", "Bool", "Int8", "Int16", "Int32", "Float", "Double", "VarChar", "JSON", "Array"]
    names += ["BinaryVector", "FloatVector", "Float16Vector", "BFloat16Vector", "SparseFloatVector", "Int8Vector"]
    for number, name in enumerate(names):
        field = schema.fields.add(fieldID=100 + number, name=name.lower(), data_type=name, is_primary_key=not number)
        field.nullable = nullable and 0 < number < 10
        if "Vector" in name:
            field.type_params.add(key="dim", value="8")
    return schema


def _vectors(*sizes: int) -> list[list[Value]]:
    return [[bytes([row]) * size for row in range(ROWS)] for size in sizes]


def _columns(*, nullable: bool = False) -> Columns:
    values: list[list[Value]] = [
        [7, -(2**63), 2**63 - 1],
        [True, False, True],
        [-128, 0, 127],
        [-(2**15), 0, 2**15 - 1],
        [-(2**31), 0, 2**31 - 1],
        [0.5, -1.25, 3.0],
        [0.1, 1e300, -2.5e-7],
        ["", "é 日本", "a\nb"],
        [b"{}", b'{"a":[1,null]}', b"null"],
        [b"\x1a\x00", b"\x1a\x03\n\x01\x07", b""],
        *_vectors(1, 32, 16, 16, 8, 8),
    ]
    columns: Columns = {0: [1, 2, 3], 1: [1 << 60, (1 << 60) + 1, 5]}
    columns |= {100 + number: column for number, column in enumerate(values)}
    if nullable:
        for number in range(101, 110):
            columns[number] = [None, *columns[number][1:]]
    return columns


@pytest.mark.parametrize(
    ("storage_version", "names_fields", "nullable"), [(0, False, False), (0, True, True), (2, True, True)]
)
def test_rows_of_every_type_come_back_from_the_files_of_each_version(
    storage_version: int, names_fields: bool, nullable: bool
) -> None:
    objects, ids = MemoryObjects(), iter(range(1000, 2000))
    writer = Writer(objects, "files", storage_version, names_fields, lambda: next(ids))
    columns, logs = _columns(nullable=nullable), SegmentLogs()
    writer.write_rows(PLACE, _schema(nullable=nullable), columns, logs, merges=True)
    found = read_rows(objects, by_field(objects.keys(folder("files", "insert_log", PLACE))))
    assert found == columns
    assert rows_in(found) == ROWS
    assert sorted(logs.keys("files", PLACE)) == objects.keys("files/")


def test_the_logs_of_a_segment_follow_each_other_by_their_numbers() -> None:
    objects = MemoryObjects()
    field = schema_pb2.FieldSchema(fieldID=100, data_type="Int64")
    for log, value in ((99, 1), (100, 2)):
        objects.put(f"s/100/{log}", binlog.write_insert_log(PLACE, field, [value], [1], names_fields=False))
    assert read_rows(objects, by_field(objects.keys("s/"))) == {100: [1, 2]}


@pytest.mark.parametrize("names_fields", [False, True])
@pytest.mark.parametrize("keys", [[1, -5], ["a'b\"", "日本"]])
def test_deletes_come_back_from_a_delta_log(names_fields: bool, keys: list[Value]) -> None:
    deletes = [(key, (1 << 60) + number) for number, key in enumerate(keys)]
    content = binlog.write_delta_log(PLACE, deletes, names_fields=names_fields)
    assert binlog.read_deletes(content) == deletes
    assert binlog.read(content).place == PLACE


def test_deletes_are_read_from_the_two_columns_that_newer_servers_can_write() -> None:
    schema = schema_pb2.CollectionSchema()
    schema.fields.add(fieldID=100, name="pk", data_type="Int64", is_primary_key=True)
    columns: Columns = {100: [4, 5], 0: [1, 2], 1: [40, 50]}
    content = column_groups.write({100: schema.fields[0]}, columns, {0: [100, 1]})[0]
    assert binlog.read_deletes(content) == [(4, 40), (5, 50)]


@pytest.mark.parametrize("archive", ["golden_0516", "golden_2_5"])
def test_a_binlog_that_is_cut_off_or_changed_is_never_read_as_whole(archive: str) -> None:
    objects = objects_of(archive)
    key = objects.keys("insert_log/")[0]
    content = objects.get(key)
    for damaged in (b"", content[:3], content[:30], content[:-1], b"\0" + content[1:]):
        with pytest.raises(DamagedBinlogError):
            binlog.read(damaged)
    middle = len(content) // 3
    changed = content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + DAMAGED_BYTES])
    with pytest.raises(DamagedBinlogError):
        binlog.read(changed + content[middle + DAMAGED_BYTES :])
