"""Rows as JSON, CSV, Parquet and Arrow: what is written is what was read."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.rows import Rows
from milvus_vault.rows.writing import csv_lines, json_lines, write_arrow, write_parquet

JSON = {"milvus_type": "JSON"}
SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("f", pa.float32()),
        pa.field("flag", pa.bool_()),
        pa.field("doc", pa.string(), metadata=JSON),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("vec", pa.list_(pa.float32(), 2)),
        pa.field("sparse", pa.map_(pa.uint32(), pa.float32())),
        pa.field("place", pa.binary()),
        pa.field("at", pa.timestamp("us", "UTC")),
    ],
    metadata={"milvus_vault": '{"backup": "b"}'},
)
BIG = 9_007_199_254_740_993
TIME = datetime(2026, 11, 29, 1, 2, 3, 4, tzinfo=UTC)
VALUES: list[dict[str, Any]] = [
    {
        "id": BIG, "text": 'a "b", c\n', "f": 0.5, "flag": True, "doc": '{"n": 12345678901234567890.10,\n "l": [null]}',
        "tags": ["x", 'y"'], "vec": [0.25, -1.0], "sparse": [(7, 0.5), (4_000_000_000, 1.0)], "place": b"\x00\xff",
        "at": TIME,
    },
    {"id": -1, "text": "", "f": float("nan"), "flag": False, "doc": "no json", "tags": [], "vec": [0.0, float("inf")],
     "sparse": [], "place": b"", "at": TIME},
    dict.fromkeys(SCHEMA.names) | {"id": 2},
]  # fmt: skip


def rows(*, batches: int = 1) -> Rows:
    made = [pa.RecordBatch.from_pylist(VALUES, SCHEMA) for _ in range(batches)]
    return Rows(SCHEMA, iter(made))


def test_json_has_a_line_for_each_row_and_digits_as_they_are() -> None:
    lines = "".join(json_lines(rows())).splitlines()
    assert len(lines) == 3
    assert '"doc": {"n": 12345678901234567890.10,  "l": [null]}' in lines[0]
    first, second, third = map(json.loads, lines)
    assert first == {
        "id": BIG, "text": 'a "b", c\n', "f": 0.5, "flag": True, "doc": {"n": 12345678901234567890.10, "l": [None]},
        "tags": ["x", 'y"'], "vec": [0.25, -1.0], "sparse": {"7": 0.5, "4000000000": 1.0}, "place": "AP8=",
        "at": "2026-11-29T01:02:03.000004Z",
    }  # fmt: skip
    assert (second["f"], second["vec"], second["doc"]) == ("NaN", [0.0, "Infinity"], "no json")
    assert third == dict.fromkeys(SCHEMA.names) | {"id": 2}


@given(
    st.lists(st.one_of(st.none(), st.tuples(*[st.floats(width=32, allow_nan=False)] * 2)), max_size=9),
    st.integers(0, 3),
)
def test_vectors_have_the_digits_that_make_them_what_they_were(
    vectors: list[tuple[float, float] | None], skipped: int
) -> None:
    schema = pa.schema([pa.field("vec", pa.list_(pa.float32(), 2))])
    batch = pa.RecordBatch.from_pylist([{"vec": vector} for vector in vectors], schema)[skipped:]
    found = [json.loads(line)["vec"] for line in json_lines(Rows(schema, iter([batch])))]
    read = [None if vector is None else tuple(float(np.float32(number)) for number in vector) for vector in found]
    assert read == vectors[skipped:]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8()])
def test_vectors_of_whole_numbers_are_whole(kind: pa.DataType) -> None:
    schema = pa.schema([pa.field("vec", pa.list_(kind, 2))])
    batch = pa.RecordBatch.from_pylist([{"vec": [1, 127]}, {"vec": None}], schema)
    assert [*json_lines(Rows(schema, iter([batch])))] == ['{"vec": [1, 127]}\n', '{"vec": null}\n']
    assert [*csv_lines(Rows(schema, iter([batch])))] == ['"vec"\n', '"[1, 127]"\n', "\n"]


def test_csv_tells_null_from_an_empty_text_and_numbers_from_texts() -> None:
    text = "".join(csv_lines(rows()))
    found = list(csv.reader(io.StringIO(text)))
    assert found[0] == SCHEMA.names
    assert found[1] == [
        str(BIG), 'a "b", c\n', "0.5", "true", VALUES[0]["doc"], '["x", "y\\""]', "[0.25, -1.0]",
        '{"7": 0.5, "4000000000": 1.0}', "AP8=", "2026-11-29T01:02:03.000004Z",
    ]  # fmt: skip
    assert text.endswith(
        '\n-1,"",NaN,false,"no json","[]","[0.0, ""Infinity""]","{}","","2026-11-29T01:02:03.000004Z"\n2,,,,,,,,,\n'
    )
    options = pa.csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    table = pa.csv.read_csv(
        io.BytesIO(text.encode()), parse_options=pa.csv.ParseOptions(newlines_in_values=True), convert_options=options
    )
    assert table.column("text").to_pylist() == ['a "b", c\n', "", None]
    assert table.column("id").to_pylist() == [BIG, -1, 2]


def _same(table: pa.Table, times: int = 1) -> None:
    assert table.schema.equals(SCHEMA)
    assert table.schema.metadata == SCHEMA.metadata
    assert table.schema.field("doc").metadata == SCHEMA.field("doc").metadata
    expected = pa.Table.from_pylist(VALUES * times, SCHEMA)
    assert str(table.to_pylist()) == str(expected.to_pylist())  # as text, since no NaN is equal to itself


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_parquet_keeps_types_values_and_metadata(batches: int) -> None:
    sink = io.BytesIO()
    write_parquet(rows(batches=batches), sink)
    file = pq.ParquetFile(io.BytesIO(sink.getvalue()))
    assert file.num_row_groups == min(batches, 1)
    _same(file.read(), batches)


def test_parquet_holds_a_row_group_in_memory_and_no_more() -> None:
    schema = pa.schema([pa.field("vec", pa.list_(pa.float32(), 1024))])
    part = pa.RecordBatch.from_arrays(
        [pa.FixedSizeListArray.from_arrays(pa.repeat(0.5, 4096 * 1024).cast("float"), 1024)], schema=schema
    )
    sink = io.BytesIO()
    write_parquet(Rows(schema, iter([part] * 9)), sink)
    file = pq.ParquetFile(io.BytesIO(sink.getvalue()))
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [
        4 * 4096,
        4 * 4096,
        4096,
    ]


@pytest.mark.parametrize("is_stream", [True, False])
def test_arrow_is_a_stream_or_a_file(tmp_path: Path, is_stream: bool) -> None:
    path = tmp_path / "rows.arrow"
    with path.open("wb") as sink:
        write_arrow(rows(batches=2), sink, is_stream=is_stream)
    with pa.OSFile(str(path)) as source:
        reader = pa.ipc.open_stream(source) if is_stream else pa.ipc.open_file(source)
        _same(reader.read_all(), 2)
