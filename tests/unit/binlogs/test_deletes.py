"""Deletes are read from every form of a delta log, and a cut leaves out just those that are too new."""

import json
from collections.abc import Iterable
from itertools import product

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.binlogs import compose_deletes, cut_deletes, events, open_deletes, read_deletes
from milvus_vault.errors import BinlogUnreadableError
from tests.support.milvus_server import binlog
from tests.support.milvus_server.binlog import Delete
from tests.unit.binlogs.logs import (
    FORMS,
    FORMS_OF_TEXT,
    NOW,
    PLACE,
    Write,
    Written,
    logs,
    parquet,
    write_bare_columns,
    write_columns,
    write_go_objects,
    write_objects,
    write_old_objects,
    write_spaced_objects,
    write_two_events,
)

NUMBERS: list[Delete] = [(7, NOW), (-(2**63), NOW + 3), (2**63 - 1, NOW + 1), (0, NOW + 3), (7, NOW + 2)]
TEXTS: list[Delete] = [
    ("", NOW),
    ('say "ts":1', NOW + 1),
    ('","ts":1,"pkType":21}', NOW + 2),
    ("a,b\n\\ é 日本 <&> \u2028 😀", NOW + 3),
    ("\\u003c", NOW + 4),
]


def found_in(body: bytes) -> list[Delete]:
    deletes = read_deletes(body)
    assert deletes.keys.null_count == deletes.timestamps.null_count == 0
    assert deletes.timestamps.type == pa.int64()
    return list(zip(deletes.keys.to_pylist(), deletes.timestamps.to_pylist(), strict=True))


@pytest.mark.parametrize("write", FORMS)
def test_numbers_come_back_from_each_form(write: Write) -> None:
    assert found_in(write(NUMBERS)) == NUMBERS


@pytest.mark.parametrize("write", FORMS_OF_TEXT)
def test_texts_come_back_from_each_form(write: Write) -> None:
    assert found_in(write(TEXTS)) == TEXTS


def test_more_deletes_than_are_read_at_once_come_back() -> None:
    deletes: list[Delete] = [(str(number), NOW + number) for number in range(70_000)]
    body = write_objects(deletes)
    cut = cut_deletes(body, NOW + 69_000)
    assert cut is not None
    assert found_in(body) == deletes
    assert found_in(cut) == deletes[:69_001]


@given(logs)
def test_a_log_is_read_as_it_was_written(log: Written) -> None:
    assert found_in(log.body) == log.deletes


@given(logs, st.data())
def test_a_cut_log_reads_as_the_log_without_what_is_newer(log: Written, data: st.DataObject) -> None:
    times = [timestamp for _, timestamp in log.deletes]
    near = st.sampled_from(times).flatmap(lambda time: st.integers(time - 1, time + 1))
    end = data.draw(st.one_of(near, st.integers(-1, 2**64)))
    cut = cut_deletes(log.body, end)
    left = [delete for delete in log.deletes if delete[1] <= end]
    if len(left) == len(log.deletes):
        assert cut is log.body
    elif not left:
        assert cut is None
    else:
        assert cut is not None
        assert found_in(cut) == left == binlog.read_deletes(cut)
        assert cut_deletes(cut, end) is cut


@pytest.mark.parametrize("write", [write_old_objects, write_two_events])
def test_a_cut_log_of_2_4_has_right_lengths_positions_and_times(write: Write) -> None:
    cut = cut_deletes(write(NUMBERS), NOW + 2)
    assert cut is not None
    position, times = 4, set()
    while position < len(cut):
        _, kind, length, following = binlog._HEADER.unpack_from(cut, position)
        body = position + binlog._HEADER.size
        times.add(binlog._SPAN.unpack_from(cut, body) if kind else binlog._DESCRIPTOR.unpack_from(cut, body)[4:6])
        position += length
        assert following == position
    assert position == len(cut)
    in_events = {(NOW, NOW + 1), (NOW + 2, NOW + 2)} if write is write_two_events else set()
    assert times == {(NOW, NOW + 2), *in_events}
    read = binlog.read(cut)
    assert (read.place, read.field_id, read.data_type) == (PLACE, -1, 20)


def test_a_cut_log_of_2_5_goes_on_saying_nothing_of_positions_and_times() -> None:
    body = bytearray(write_objects(NUMBERS))
    descriptor = 4 + binlog._HEADER.size
    (_, _, length, _) = binlog._HEADER.unpack_from(body, 4)
    times = descriptor + binlog._DESCRIPTOR.size - 4 - binlog._SPAN.size
    binlog._SPAN.pack_into(body, times, 0, 0)
    binlog._SPAN.pack_into(body, 4 + length + binlog._HEADER.size, 1, 1)
    cut = cut_deletes(bytes(body), NOW)
    assert cut is not None
    (_, _, length, _) = binlog._HEADER.unpack_from(cut, 4)
    assert binlog._SPAN.unpack_from(cut, times) == (0, 0)
    assert binlog._SPAN.unpack_from(cut, 4 + length + binlog._HEADER.size) == (1, 1)
    assert binlog._HEADER.unpack_from(cut, 4 + length)[3] == binlog._NO_POSITION


def _schema(body: bytes) -> pa.Schema:
    return pa.parquet.ParquetFile(pa.BufferReader(body[body.index(b"PAR1") :]))


@pytest.mark.parametrize("write", FORMS)
def test_a_cut_log_has_the_columns_of_the_whole_one(write: Write) -> None:
    body = write(NUMBERS)
    cut = cut_deletes(body, NOW)
    assert cut is not None
    whole, left = _schema(body), _schema(cut)
    assert left.schema.equals(whole.schema)
    assert left.schema_arrow.equals(whole.schema_arrow, check_metadata=True)
    assert left.num_row_groups == 1


def test_the_size_in_memory_shrinks_with_the_deletes() -> None:
    body = write_objects(NUMBERS)
    cut = cut_deletes(body, NOW)
    assert cut is not None
    before, after = (int(str(binlog.read(log).extra["original_size"])) for log in (body, cut))
    assert after == before // len(NUMBERS)


def test_the_row_groups_of_storage_version_2_are_told_anew() -> None:
    table = pa.table({"0": pa.array([1, 2, 3]), "1": pa.array([NOW, NOW + 1, NOW + 2])})
    table = table.replace_schema_metadata({"row_group_metadata": "24|2|0;24|1|2", "storage_version": "1.0.0"})
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, row_group_size=2)
    cut = cut_deletes(sink.getvalue().to_pybytes(), NOW + 1)
    assert cut is not None
    assert _schema(cut).schema_arrow.metadata == {b"row_group_metadata": b"32|2|0", b"storage_version": b"1.0.0"}


def test_columns_without_a_name_are_taken_by_their_places() -> None:
    fields = [pa.field("", pa.string(), nullable=False), pa.field("", pa.int64(), nullable=False)]
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(pa.Table.from_arrays([["a", "b"], [NOW, NOW + 1]], schema=pa.schema(fields)), sink)
    body = sink.getvalue().to_pybytes()
    cut = cut_deletes(body, NOW)
    assert cut is not None
    assert found_in(body) == [("a", NOW), ("b", NOW + 1)]
    assert found_in(cut) == [("a", NOW)]


def test_a_log_of_columns_without_rows_has_no_deletes() -> None:
    body = write_bare_columns([])
    assert found_in(body) == []
    assert cut_deletes(body, 0) is body


def _lines(*lines: str | None) -> bytes:
    return parquet({"0": pa.array(lines, pa.string())}, may_be_null=True)


GOOD = '{"pk":1,"ts":2,"pkType":5}'
TEXT = '{"pk":"a","ts":2,"pkType":21}'


@pytest.mark.parametrize(
    "lines",
    [
        ["1,2", "nothing"],
        ["1,2", "1,2,3"],
        ["0x1,2"],
        ["1," + "9" * 19],
        [GOOD, "1,2"],
        [GOOD, None],
        [GOOD, TEXT],
        [GOOD, GOOD.replace("2", "9" * 20)],
        [GOOD, GOOD + GOOD, ""],
        [GOOD, GOOD.replace("1", "null")],
        [GOOD, GOOD.replace("1", '"1"')],
        [GOOD, GOOD.replace("1", "0x1")],
        [GOOD, GOOD.replace('"pk":1,', "")],
        [GOOD, GOOD.replace(":1,", ":1,,")],
        [GOOD.replace("5", "6")],
        [TEXT, '{"pk":"a","b","ts":2,"pkType":21}'],
        [TEXT, '{"pk":"\\","ts":2,"pkType":21}', '{"pk":"","ts":2,"pkType":21}'],
        [TEXT, '{"pk":"\\ud800","ts":2,"pkType":21}'],
        ["{" + "[" * 100_000],
        ['{"pk":"a",' + "[" * 100_000 + '"","ts":2,"pkType":21}'],
    ],
)
def test_lines_that_are_no_deletes_are_named(lines: list[str | None]) -> None:
    with pytest.raises(BinlogUnreadableError):
        read_deletes(_lines(*lines))


def _said(line: str, key_type: type) -> Delete | None:
    """Return what a line says, or None where it is no delete with such a key."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    kind = {int: 5, str: 21}[key_type]
    is_delete = list(found) == ["pk", "ts", "pkType"] and type(found["pk"]) is key_type and found["pkType"] == kind
    return (found["pk"], found["ts"]) if is_delete and type(found["ts"]) is int else None


@pytest.mark.parametrize("keys", [(1, 23, 456), ("a", "é/1", "bcd")])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_each_byte_of_each_line_is_looked_at(keys: tuple[int | str, ...], which: int) -> None:
    kind = type(keys[0])
    lines = [
        f'{{"pk":{json.dumps(key, ensure_ascii=False)},"ts":{NOW + row},"pkType":{5 if kind is int else 21}}}'
        for row, key in enumerate(keys)
    ]
    for place, other in product(range(len(lines[which])), 'x9"'):
        line = lines[which][:place] + other + lines[which][place + 1 :]
        changed = [*lines[:which], line, *lines[which + 1 :]]
        said = [_said(line, kind) for line in changed]
        if None in said:
            with pytest.raises(BinlogUnreadableError):
                read_deletes(_lines(*changed))
        else:
            assert found_in(_lines(*changed)) == said, line


def test_the_first_wrong_line_is_quoted() -> None:
    with pytest.raises(BinlogUnreadableError, match=r"2 of its lines are no deletes, the first of them b'nothing'"):
        read_deletes(_lines("1,2", "nothing", "at all"))


def test_a_log_of_another_kind_is_named() -> None:
    inserts = bytearray(write_old_objects(NUMBERS))
    (_, _, length, _) = binlog._HEADER.unpack_from(inserts, 4)
    inserts[4 + length + 8] = 1
    with pytest.raises(BinlogUnreadableError, match="an event of kind 1 among its deletes"):
        read_deletes(bytes(inserts))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"a": pa.array([1.5])}, "its only column is of type double"),
        ({"a": pa.array([1.5]), "b": pa.array([1])}, "its columns are of the types double, int64"),
        (
            {"a": pa.array([1]), "b": pa.array([1]), "c": pa.array([1])},
            "its columns are of the types int64, int64, int64",
        ),
        ({"a": pa.array([1]), "b": pa.array([None], pa.int64())}, "1 of its timestamps are null"),
    ],
)
def test_columns_that_are_no_deletes_are_named(columns: dict[str, pa.Array], said: str) -> None:
    with pytest.raises(BinlogUnreadableError, match=said):
        read_deletes(parquet(columns, may_be_null=True))


def test_events_with_keys_of_two_types_are_no_log() -> None:
    first, second = write_old_objects(NUMBERS), write_old_objects(TEXTS)
    both = first + second[second.index(b"PAR1") - binlog._HEADER.size - binlog._SPAN.size :]
    with pytest.raises(BinlogUnreadableError, match="its keys are of two types"):
        read_deletes(both)


def test_what_json_says_counts_and_not_how_it_is_written() -> None:
    body = write_spaced_objects(TEXTS)
    assert json.loads(str(binlog.read(body).columns["val"][0])) == {"pk": "", "ts": NOW, "pkType": 21}
    assert found_in(body) == found_in(write_go_objects(TEXTS)) == found_in(write_columns(TEXTS))


def composed(bodies: Iterable[bytes]) -> dict[int, bytes]:
    return dict(compose_deletes([open_deletes(body) for body in bodies]))


def form_of(body: bytes) -> object:
    return _schema(body).schema_arrow, body.startswith(b"PAR1")


@given(st.lists(logs, min_size=1, max_size=6))
def test_composed_logs_have_the_deletes_of_all_each_as_often_as_it_was_there_one_log_a_form(
    written: list[Written],
) -> None:
    found = composed(log.body for log in written)
    for position, body in found.items():
        alike = [log for log in written if form_of(log.body) == form_of(written[position].body)]
        assert alike[0] is written[position]
        # Lines of two kinds may stand in one log: the server takes each by itself.
        assert binlog.read_deletes(body) == [delete for log in alike for delete in log.deletes]
        assert body is alike[0].body if len(alike) == 1 else _schema(body).num_row_groups == 1
    assert len(found) == len({str(form_of(log.body)) for log in written})


@pytest.mark.parametrize("write", FORMS)
def test_a_composed_log_is_read_as_the_logs_are_and_has_their_columns(write: Write) -> None:
    bodies = [write(NUMBERS), write([(5, NOW + 9)]), write(NUMBERS[:2])]
    (whole,) = composed(bodies).values()
    assert found_in(whole) == [*NUMBERS, (5, NOW + 9), *NUMBERS[:2]]
    assert _schema(whole).schema_arrow.equals(_schema(bodies[0]).schema_arrow, check_metadata=True)


@pytest.mark.parametrize("write", [write_old_objects, write_objects])
def test_a_composed_log_has_one_event_with_the_times_of_all_and_the_size_that_all_have_in_memory(write: Write) -> None:
    bodies = [write(NUMBERS), write([(5, NOW + 9), (6, NOW - 9)])]
    (whole,) = composed(bodies).values()
    log = events.read(whole)
    assert list(events.contradictions(log)) == []
    (event,) = log.events
    assert (event.first, event.last) == (log.first, log.last) == (NOW - 9, NOW + 9)
    sizes = [int(str(binlog.read(body).extra["original_size"])) for body in (*bodies, whole)]
    assert sizes[0] + sizes[1] == sizes[2]


def test_a_log_that_milvus_alone_can_read_or_nobody_stays_as_it_is() -> None:
    encrypted = bytearray(binlog._write(PLACE, -1, 20, {"edek": "secret"}, 2, b"ciphertext" * 9, [NOW], True))
    encrypted[-100:] = b"\xff" * 100
    bodies = [
        write_objects(NUMBERS),
        bytes(encrypted),
        b"PARE....PARE",
        write_objects(TEXTS)[:-9],
        write_objects(NUMBERS),
    ]
    found = composed(bodies)
    assert [*found] == [0, 1, 2, 3]
    assert [found[number] for number in (1, 2, 3)] == bodies[1:4]
    assert found_in(found[0]) == [*NUMBERS, *NUMBERS]
