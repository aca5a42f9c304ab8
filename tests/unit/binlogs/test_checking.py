"""Deep verification: whole logs of every version are right, and each kind of damage is told in words."""

import io
import re
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.archive.layout import DELTA_LOG, INSERT_LOG
from milvus_vault.binlogs.checking import CheckedLog, ExpectedLog, check_log, check_segment
from milvus_vault.binlogs.pages import page_sizes, row_groups
from milvus_vault.binlogs.parquet import ParquetFile
from milvus_vault.model.collections import CollectionSchema, FieldSchema, KeyValue
from tests.support.checked_logs import GOLDEN, NOW, WRITTEN, Log, logs_of, rows_by_segment
from tests.support.milvus_server import binlog
from tests.support.milvus_server.binlog import Place
from tests.unit.binlogs.logs import FORMS, parquet
from tools import damage

PLACE = Place(1, 2, 3)


def check(content: bytes, expected: ExpectedLog) -> CheckedLog:
    return check_log(pa.py_buffer(content), expected)


def only(archive: str, kind: str, number: int, data_type: int = 0) -> Log:
    """Return a log of a field, by its number or its type."""

    def is_it(log: Log) -> bool:
        types = {field.field_id: field.data_type for field in log.expected.schema.fields}
        return log.key.kind == kind and (types.get(log.key.field_id) == data_type or log.key.field_id == number)

    return next(log for log in logs_of(archive) if is_it(log))


@pytest.mark.parametrize("archive", [*GOLDEN, *WRITTEN])
def test_nothing_is_wrong_with_any_log_of_a_whole_archive(archive: str) -> None:
    logs = logs_of(archive)
    found = {log.key: check(log.content, log.expected) for log in logs}
    assert {key: checked.problems for key, checked in found.items() if checked.problems} == {}
    rows = {log.key.segment_id: log.segment_rows for log in logs}
    counts = rows_by_segment(logs, {key: checked.row_count for key, checked in found.items()})
    assert counts
    assert {segment: wrong for segment, of in counts.items() if (wrong := check_segment(rows[segment], of))} == {}
    assert all(found[log.key].row_count for log in logs)


@pytest.mark.parametrize("archive", [*GOLDEN, *WRITTEN[:2]])
def test_a_log_in_the_place_of_another_is_found_by_its_descriptor(archive: str) -> None:
    logs = [log for log in logs_of(archive) if log.key.kind == INSERT_LOG and log.expected.storage_version < 2]
    for log, other in pairwise(logs):
        if (log.key.segment_id, log.key.field_id) != (other.key.segment_id, other.key.field_id):
            problems = check(other.content, log.expected).problems
            assert any("it is a log of" in problem for problem in problems), (log.key, problems)


def test_a_column_group_of_another_collection_or_group_is_found_by_its_fields() -> None:
    logs = [log for log in logs_of("golden_2_6") if log.key.kind == INSERT_LOG]
    one_of_each = {(log.key.collection_id, log.key.field_id): log for log in logs}.values()
    for log in one_of_each:
        for other in one_of_each:
            if log.key.field_id != other.key.field_id:
                assert check(other.content, log.expected).problems, (log.key, other.key)


def test_deletes_that_a_compaction_of_2_3_kept_name_the_segment_that_it_replaced() -> None:
    logs = [log for log in logs_of("golden_057") if log.key.kind == DELTA_LOG]
    kept = [log for log in logs if f"{log.key.segment_id}" not in _ids(log.content)]
    assert kept
    assert not any(check(log.content, log.expected).problems for log in kept)
    later = next(log for log in logs_of("golden_2_5") if log.key.kind == DELTA_LOG)
    wrong = check(later.content, replace(later.expected, segment_id=5)).problems
    assert wrong == (f"it is a log of segment {later.key.segment_id}",)


def _ids(content: bytes) -> set[str]:
    return {str(number) for number in struct.unpack_from("<qqq", content, 21)}


@pytest.mark.parametrize("archive", [*GOLDEN, *WRITTEN])
def test_rows_and_deletes_that_are_newer_than_the_backup_are_counted(archive: str) -> None:
    for log in logs_of(archive):
        holds_times = log.key.kind == DELTA_LOG or log.key.field_id == (0 if log.expected.storage_version >= 2 else 1)
        problems = check(log.content, replace(log.expected, newest=17)).problems
        whose = "deletes" if log.key.kind == DELTA_LOG else "rows"
        rows = check(log.content, log.expected).row_count
        assert problems == ((f"{rows} of its {whose} are newer than the backup",) if holds_times else ()), log.key


@pytest.mark.parametrize("write", FORMS)
def test_deletes_of_every_form_are_right(write: Callable[..., bytes]) -> None:
    deletes = [(5, NOW), (-7, NOW + 1), (6, NOW + 2)]
    place = (11, 12, 13)
    schema = CollectionSchema(name="c", fields=(FieldSchema(field_id=100, name="k", data_type=5, is_primary_key=True),))
    expected = ExpectedLog(DELTA_LOG, *place, 0, 0, schema, NOW + 2)
    problems = check(write(deletes), expected).problems
    # One form has two events, of which the first says where the second does not begin.
    assert not problems or write.__name__ == "write_two_events"
    assert check(write(deletes), expected).row_count == 3
    text = schema.model_copy(update={"fields": (schema.fields[0].model_copy(update={"data_type": 21}),)})
    wrong = check(write(deletes), replace(expected, schema=text)).problems
    assert "its keys are of type int64, and the field is of type 21" in wrong


def field(data_type: int, element_type: int = 0, *, nullable: bool = False, **params: int) -> FieldSchema:
    return FieldSchema(
        field_id=105,
        name="f",
        data_type=data_type,
        element_type=element_type,
        nullable=nullable,
        type_params=tuple(KeyValue(key=key, value=str(value)) for key, value in params.items()),
    )


def check_column(described: FieldSchema, values: pa.Array, *, changes: bytes = b"") -> tuple[str, ...]:
    """Return what is wrong with a log of one field, of 2.5, with these values."""
    extra: dict[str, object] = {"nullable": described.nullable}
    payload = parquet({"105": values}, may_be_null=True)
    content = binlog._write(PLACE, 105, described.data_type, extra, 1, payload, [NOW], names_fields=True)
    schema = CollectionSchema(name="c", fields=(described,))
    return check(content + changes, ExpectedLog(INSERT_LOG, 1, 2, 3, 105, 0, schema, None)).problems


def pairs(*indices: int) -> bytes:
    return b"".join(struct.pack("<If", index, 0.5) for index in indices)


BINARY = pa.binary()
PACKED = b"\x1a\x04\x0a\x02\x05\x07"  # an array of two numbers


@pytest.mark.parametrize(
    ("described", "values", "said"),
    [
        (field(5), pa.array([1, 2], pa.int64()), ""),
        (field(5), pa.array([1, None], pa.int64()), "1 of its values of field 105 are null, and none may be"),
        (field(5, nullable=True), pa.array([1, None], pa.int64()), ""),
        (field(5), pa.array([1], pa.int32()), "its values of field 105 are of type int32 instead of int64"),
        (field(26), pa.array([1], pa.int64()), ""),
        (field(27), pa.array([1], pa.int64()), ""),  # a type that is not known here
        (field(21, max_length=4), pa.array(["abcd", "é"]), ""),
        (
            field(21, max_length=4),
            pa.array(["abcde", "éé", "ééé"]),
            "2 of its values of field 105 are longer than 4 bytes",
        ),
        (field(101, dim=2), pa.array([b"x" * 8], pa.binary(8)), ""),
        (field(101, dim=2), pa.array([b"x" * 4], pa.binary(4)), "instead of fixed_size_binary[8]"),
        (field(100, dim=16), pa.array([b"xx"], pa.binary(2)), ""),
        (field(102, dim=3), pa.array([b"x" * 6], pa.binary(6)), ""),
        (field(103, dim=3), pa.array([b"x" * 3], pa.binary(3)), "instead of fixed_size_binary[6]"),
        (field(105, dim=3), pa.array([b"x" * 3], pa.binary(3)), ""),
        (field(101, nullable=True, dim=2), pa.array([b"x" * 8, None], BINARY), ""),
        (
            field(101, nullable=True, dim=2),
            pa.array([b"x" * 8, b"x"], BINARY),
            "1 of its values of field 105 have another",
        ),
        (field(104), pa.array([pairs(1, 5, 9), b"", pairs(3), pairs(0, 2)], BINARY), ""),
        (field(104), pa.array([pairs(1), b"x" * 9], BINARY), "1 of its values of field 105 are no sparse vectors"),
        (field(104), pa.array([pairs(4), pairs(5, 1)], BINARY), "1 of its values of field 105 are indices of sparse"),
        (
            field(104),
            pa.array([pairs(4, 4), b"", pairs(9), pairs(1)], BINARY),
            "1 of its values of field 105 are indices",
        ),
        (field(23), pa.array([b"{}", b"null", b" [1, 2]\n", b"NaN", b'"x"', b"1" * 5000], BINARY), ""),
        (field(23), pa.array([b"{}", b"{", b"", b'{"a":\xff}'], BINARY), "3 of its values of field 105 are no JSON"),
        (field(23), pa.array([b"1,2"], BINARY), "1 of its values of field 105 are no JSON"),
        (field(23), pa.array([b'"a', b'b"'], BINARY), "2 of its values of field 105 are no JSON"),
        (field(22, 5), pa.array([PACKED, b"", b"\x1a\x00"], BINARY), ""),
        (field(22, 5), pa.array([PACKED[:-1], PACKED], BINARY), "1 of its values of field 105 are no arrays"),
        (field(22, 21), pa.array([PACKED], BINARY), "1 of its values of field 105 are no arrays"),
        (field(22, 10), pa.array([b"\x22\x06\x0a\x04abcd"], BINARY), ""),
        (field(22, 10), pa.array([b"\x22\x05\x0a\x03abc"], BINARY), "1 of its values of field 105 are no arrays"),
        (field(22, 21), pa.array(["\x32\x04\n\x02é".encode(), b"\x32\x02\x0a\x00"], BINARY), ""),
        (field(22, 21), pa.array([b"\x32\x04\x0a\x02\xff\xff"], BINARY), "1 of its values of field 105 are no arrays"),
        (field(106, 101, dim=2), pa.array([[b"x" * 8]], pa.list_(pa.field("element", pa.binary(8)))), ""),
        (field(106, 101, dim=2), pa.array([[b"x" * 4]], pa.list_(pa.binary(4))), "instead of binary"),
    ],
)
def test_values_are_what_their_field_asks_for(described: FieldSchema, values: pa.Array, said: str) -> None:
    problems = check_column(described, values)
    assert len(problems) == bool(said), problems
    assert said in "".join(problems)


def test_values_behind_the_first_are_looked_at_from_the_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milvus_vault.binlogs.checking.PARSED_AT_FIRST", 1000)
    many = [b'{"row":1}'] * 500
    for wrong in (b'{"row":', b"row", b'{"text":"\xff"}', b""):
        problems = check_column(field(23), pa.array([*many, wrong], BINARY))
        assert problems == ("1 of its values of field 105 are no JSON",), wrong
    assert check_column(field(23), pa.array([*many, b" 1"], BINARY)) == ()
    assert check_column(field(23), pa.array([*many, b'{"row":}'], BINARY)) == ()  # a document's middle is not looked at
    arrays = [PACKED] * 500
    for wrong in (PACKED[:-1], PACKED + b"x", b"\x12" + PACKED[1:], b"\x1a", b"\x1a\x80\x80"):
        problems = check_column(field(22, 5), pa.array([*arrays, wrong], BINARY))
        assert problems == ("1 of its values of field 105 are no arrays of the field's elements",), wrong
    longer = b"\x1a\xca\x01\x0a\xc7\x01" + b"\x01" * 199
    assert check_column(field(22, 5), pa.array([*arrays, longer, b""], BINARY)) == ()


def _flipped(log: Log, place: int, value: int | None = None) -> bytes:
    content = bytearray(log.content)
    content[place] = content[place] ^ 1 if value is None else value
    return bytes(content)


def test_what_an_envelope_says_of_itself_is_compared() -> None:
    log = next(log for log in logs_of("golden_0516") if log.key.field_id == 101)
    start = log.content.index(b"PAR1")
    for place, said in {
        0: "it does not begin as a log of Milvus does",
        12: "it begins with an event of kind 1 instead of its descriptor",
        17: "its descriptor says that the next event begins at byte",
        21: "it is a log of collection",
        29: "it is a log of partition",
        37: "it is a log of segment",
        45: "it is a log of field 100",
        69: "it is of type",
        73: "its descriptor gives events of kind 0 another length than 52",
        74: "its descriptor gives events of kind 1 another length than 16",
        start - 20: "an event says that the next one begins at byte",
        start - 25: "it has an event of kind 0 among its rows",
        start - 28: "",
        len(log.content) - 1: "not a whole Parquet file",
    }.items():
        problems = check(_flipped(log, place), log.expected).problems
        assert any(said in problem for problem in problems) or not said, (place, problems)
    extra = log.content.index(b"original_size")
    assert check(_flipped(log, extra), log.expected).problems == (
        "its descriptor does not say how large its values are",
    )
    assert (
        "what its descriptor says of its values cannot be read"
        in check(_flipped(log, extra - 1), log.expected).problems[0]
    )


def test_logs_of_one_form_are_no_logs_of_the_other() -> None:
    old, new = logs_of("golden_2_5")[0], next(log for log in logs_of("golden_2_6") if log.key.kind == INSERT_LOG)
    assert check(old.content, new.expected).problems == ("it does not begin as a log of column groups does",)
    assert check(new.content, old.expected).problems == ("it does not begin as a log of Milvus does",)


def _group(log: Log, change: Callable[[pa.Table], pa.Table]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(change(pq.read_table(io.BytesIO(log.content))), sink)
    return sink.getvalue()


def test_the_columns_of_a_group_are_those_of_the_schema() -> None:
    log = only("2.6.19", INSERT_LOG, 0)
    assert check(_group(log, lambda table: table), log.expected).problems == ()
    without = check(_group(log, lambda table: table.drop_columns(["Timestamp"])), log.expected).problems
    assert any("which are not those of column group 0" in problem for problem in without)
    renamed = check(_group(log, lambda table: table.rename_columns(["x", *table.column_names[1:]])), log.expected)
    assert renamed.problems == ("its column of field 100 is named 'x', and the field 'Int64_0'",)
    bare = check(_group(log, lambda table: table.replace_schema_metadata(None).cast(_plain(table))), log.expected)
    assert "its columns have no fields" in bare.problems[0]
    scalars = only("2.6.19", INSERT_LOG, 1)
    fewer = scalars.expected.schema.model_copy(update={"fields": scalars.expected.schema.fields[:3]})
    missing = check(scalars.content, replace(scalars.expected, schema=fewer)).problems
    # One that is not known may be the dynamic field, which descriptions leave out; more are not.
    assert any("the schema has no field" in problem for problem in missing)


def _plain(table: pa.Table) -> pa.Schema:
    return pa.schema([pa.field(item.name, item.type) for item in table.schema])


def test_a_group_is_one_of_those_that_it_lists_and_has_each_field_once() -> None:
    log = only("2.6.19", INSERT_LOG, 1)
    listed = {b"group_field_id_list": b"100,0,1;101"}
    other = _group(log, lambda table: table.replace_schema_metadata((table.schema.metadata or {}) | listed))
    (problem,) = check(other, log.expected).problems
    assert problem.endswith("which are no column group of those that it names")
    none = _group(log, lambda table: table.replace_schema_metadata({b"group_field_id_list": b"100,x"}))
    assert "its list of column groups cannot be read" in check(none, log.expected).problems[0]
    twice = _group(log, lambda table: table.append_column(table.schema.field(0), table.column(0)))
    assert "it has two columns of one field" in check(twice, log.expected).problems


def written(
    field_id: int, data_type: int, column: str, values: pa.Array, *, old: bool = False, **extra: object
) -> bytes:
    payload = parquet({column: values}, may_be_null=True)
    return binlog._write(PLACE, field_id, data_type, extra, 1, payload, [NOW], names_fields=not old)


def test_what_an_insert_log_says_of_its_column_is_compared() -> None:
    schema = CollectionSchema(name="c", fields=(field(5),), enable_dynamic_field=True)
    expected = ExpectedLog(INSERT_LOG, 1, 2, 3, 105, 0, schema, None)
    values = pa.array([1, 2])
    assert check(written(105, 5, "val", values, old=True), expected).problems == ()
    assert check(written(105, 5, "x", values), expected).problems == ("it has the columns 'x'",)
    assert check(written(105, 5, "105", values, nullable=True), expected).problems == (
        "it says that its values may be null",
    )
    dynamic = replace(expected, field_id=106)
    documents = pa.array([b"{}", None], BINARY)
    assert check(written(106, 23, "106", documents, nullable=True), dynamic).problems == ()
    shown = schema.model_copy(
        update={"fields": (field(5), field(23).model_copy(update={"field_id": 106, "is_dynamic": True}))}
    )
    assert check(written(106, 23, "106", documents), replace(dynamic, schema=shown)).problems == ()
    assert check(written(106, 23, "106", documents), replace(dynamic, schema=shown, field_id=107)).problems[-1] == (
        "the schema has no field 107"
    )
    times = replace(expected, field_id=1)
    assert check(written(1, 5, "1", pa.array([NOW, -1])), times).problems == (
        "1 of its rows are newer than the backup",
    )


def test_texts_that_are_no_utf8_are_found() -> None:
    whole = check_content(field(21), pa.array(["abc", "\x01\x02\x03"]))
    expected = ExpectedLog(INSERT_LOG, 1, 2, 3, 105, 0, CollectionSchema(name="c", fields=(field(21),)), None)
    assert check(whole, expected).problems == ()
    (problem,) = check(whole.replace(b"\x01\x02\x03", b"\xff\xfe\xfd"), expected).problems
    assert problem.startswith("not a whole Parquet file: ")


def check_content(described: FieldSchema, values: pa.Array) -> bytes:
    """Return a log of one field whose values stand in it as they are."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"105": values}), sink, compression="none", use_dictionary=False, write_statistics=False)
    return binlog._write(PLACE, 105, described.data_type, {}, 1, sink.getvalue(), [NOW], names_fields=True)


def test_checksums_of_pages_are_compared() -> None:
    values = pa.array([b"abcdefgh" * 2] * 50, pa.binary(16))
    sink = io.BytesIO()
    pq.write_table(pa.table({"105": values}), sink, compression="none", use_dictionary=False, write_page_checksum=True)
    content = binlog._write(PLACE, 105, 101, {}, 1, sink.getvalue(), [NOW], names_fields=True)
    expected = ExpectedLog(INSERT_LOG, 1, 2, 3, 105, 0, CollectionSchema(name="c", fields=(field(101, dim=4),)), None)
    assert check(content, expected).problems == ()
    place = content.index(b"abcdefghabcdefghabcd") + 20
    (problem,) = check(content[:place] + b"?" + content[place + 1 :], expected).problems
    assert problem.startswith("not a whole Parquet file: ")


def test_times_of_an_envelope_do_not_end_before_they_begin() -> None:
    log = next(log for log in logs_of("golden_2_4") if log.key.kind == DELTA_LOG)
    start = log.content.index(b"PAR1")
    for place in (53, start - 16):
        content = bytearray(log.content)
        content[place + 7] |= 0x80
        (problem,) = check(bytes(content), log.expected).problems
        assert problem.endswith("says that it ends before it begins")


def test_deletes_of_all_partitions_name_their_segment_in_every_version() -> None:
    log = next(log for log in logs_of("golden_2_4") if log.key.kind == DELTA_LOG and log.key.partition_id == -1)
    problems = check(log.content, replace(log.expected, segment_id=5)).problems
    assert problems == (f"it is a log of segment {log.key.segment_id}",)
    rows = only("golden_2_4", INSERT_LOG, 100)
    assert check(rows.content, rows.expected).problems == ()
    as_deletes = check(rows.content, replace(rows.expected, kind=DELTA_LOG)).problems
    assert as_deletes == ("it has an event of kind 1 among its deletes",)
    deletes_of_a_field = bytearray(log.content)
    deletes_of_a_field[45:53] = (7).to_bytes(8, "little")
    assert check(bytes(deletes_of_a_field), log.expected).problems == ("it is a log of field 7",)


def test_the_rows_of_a_segment_fit_each_other_and_its_metadata() -> None:
    whole = {(0, 7): 10, (0, 9): 5, (1, 8): 10, (1, 10): 5}
    assert check_segment(15, whole) == ()
    assert check_segment(16, whole) == ("its logs of field 0 have 15 rows, and metadata says 16",)
    assert check_segment(15, whole | {(1, 10): 4}) == (
        "its logs of field 1 have 10 + 4 rows, and those of field 0 10 + 5",
    )
    assert check_segment(15, {**whole, (1, 8): 5, (1, 10): 10}) != ()
    assert check_segment(0, {}) == ()


def test_pages_that_take_more_memory_than_any_of_milvus_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    log = only("golden_0516", INSERT_LOG, 0, data_type=101)
    assert check(log.content, log.expected).problems == ()
    monkeypatch.setattr("milvus_vault.binlogs.parquet._LARGEST_PAGE", 1000)
    (problem,) = check(log.content, log.expected).problems
    assert re.fullmatch(r"not a whole Parquet file: a page of [0-9,]+ bytes is more than is looked into", problem)


def test_the_pages_of_a_column_fill_it() -> None:
    content = parquet({"a": pa.array(range(3000)), "b": pa.array(map(str, range(3000)))})
    described = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0)
    (group,) = row_groups(memoryview(content))
    assert group.size_bytes == described.total_byte_size
    assert len(group.columns) == 2
    columns = [described.column(0), described.column(1)]
    assert sum(page_sizes(memoryview(content))) > sum(column.total_uncompressed_size for column in columns) // 2
    longer = bytearray(content)
    longer[columns[1].dictionary_page_offset] = 0xFF
    with pytest.raises(ValueError, match=r"the header of the page at byte [0-9,]+ is none"):
        list(page_sizes(memoryview(longer)))
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        with suppress(ValueError):
            assert all(size >= 0 for size in page_sizes(memoryview(damaged)))
    with pytest.raises(ValueError, match="its footer of 4,294,967,295 bytes is larger than one can be"):
        row_groups(memoryview(content[:-8] + b"\xff" * 4 + b"PAR1"))
    # Structs in structs, and a list of 2**62 truths, of which none takes a look at the content.
    for footer in (b"\x1c" * 100, b"\x49\xf1" + b"\x80" * 8 + b"\x40\x00"):
        with pytest.raises(ValueError, match="its footer is none"):
            row_groups(memoryview(footer + len(footer).to_bytes(4, "little") + b"PAR1"))


def test_parts_of_a_log_are_small_also_where_a_dictionary_keeps_it_small() -> None:
    document = pa.array([b'{"a":"' + b"x" * 60_000 + b'"}'])
    log = parquet({"105": pa.DictionaryArray.from_arrays(pa.array([0] * 4000, pa.int32()), document)})
    assert len(log) < 10_000
    sizes = [part.nbytes for part in ParquetFile(log).batches()]
    assert len(sizes) > 5
    assert max(sizes) < 2**25 + 2**21


@given(st.binary(max_size=400), st.sampled_from([0, 2]), st.sampled_from([INSERT_LOG, DELTA_LOG]))
def test_whatever_the_bytes_are_there_is_an_answer(body: bytes, storage_version: int, kind: str) -> None:
    log = only("2.5.27", INSERT_LOG, 100)
    expected = replace(log.expected, kind=kind, storage_version=storage_version)
    start = log.content.index(b"PAR1")
    assert check(body, expected).problems
    assert check(log.content[:start] + body, expected).problems
    assert check(b"PAR1" + body + b"PAR1", expected).problems


def test_seeded_damages_are_found() -> None:
    verdicts = damage.judge_all(range(1, 401))
    assert {verdict.what for verdict in verdicts} == set(damage.KINDS)
    assert len({verdict.form for verdict in verdicts}) == 4
    changed = [verdict for verdict in verdicts if verdict.has_changed]
    assert len(changed) > 250
    assert all(verdict.by_digest for verdict in changed)
    # Without a digest: an insert log with checksums is found by structure, unless it is whole and has as many rows.
    bytes_alone = ("one bit", "up to 64 bytes", "a block of zeros", "cut off", "empty")
    rows = [verdict for verdict in changed if verdict.has_other_rows and "no checksums" not in verdict.form]
    assert [verdict for verdict in rows if verdict.what in bytes_alone and not verdict.by_structure] == []
    swapped = ("a log of another collection, same size", "another field of the segment", "an older version, fewer rows")
    inserts = [verdict for verdict in rows if verdict.form != "delta log"]
    assert [verdict for verdict in inserts if verdict.what in swapped and not verdict.by_structure] == []
