"""Rows as lines of JSON, as CSV, as a Parquet file, or in Arrow's own format."""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from milvus_vault.rows.reading import Rows

_ROWS_AT_ONCE = 256  # as Python's objects, which take ten times as much as Arrow's arrays
_ROW_GROUP_ROWS = 122_880  # what DuckDB reads in one go; Spark and others take any
_ROW_GROUP_BYTES = 64 * 1024**2
_COMPRESSION = "zstd"

type Encode = Callable[[Any], str]
"""Returns the JSON text of a value that is not null."""


def json_lines(rows: Rows) -> Iterator[str]:
    """Yield each row as a JSON object on a line.

    Values of JSON fields are as they are stored. Numbers that JSON does not have are texts: `NaN`, `Infinity` and
    `-Infinity`; bytes are Base64; a sparse vector is an object of weights by index.
    """
    names = [json.dumps(field.name) for field in rows.schema]
    encoders = [_encoder(field) for field in rows.schema]
    for values in _values(rows):
        cells = (
            f"{name}: {'null' if value is None else encode(value)}"
            for name, encode, value in zip(names, encoders, values, strict=True)
        )
        yield f"{{{', '.join(cells)}}}\n"


def csv_lines(rows: Rows) -> Iterator[str]:
    """Yield a heading, then the rows.

    Texts are in quotes and numbers are not; null is nothing at all, as opposed to an empty text. Everything else is in
    the text that `json_lines` has for it.
    """
    yield ",".join(_quoted(field.name) for field in rows.schema) + "\n"
    encoders = [_encoder(field) for field in rows.schema]
    for values in _values(rows):
        cells = zip(encoders, values, strict=True)
        yield ",".join(_cell(encode, value) for encode, value in cells) + "\n"


def write_parquet(rows: Rows, sink: IO[bytes]) -> None:
    """Write a Parquet file. In memory is one row group, of some 64 MiB."""
    with pq.ParquetWriter(sink, rows.schema, compression=_COMPRESSION) as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in rows.batches:
            waiting.append(batch)
            many = sum(each.num_rows for each in waiting) >= _ROW_GROUP_ROWS
            if many or sum(each.nbytes for each in waiting) >= _ROW_GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting.clear()
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting))


def write_arrow(rows: Rows, sink: IO[bytes], *, is_stream: bool) -> None:
    """Write Arrow's IPC format: as a stream, or as a file, which can be read from any place in it."""
    new = pa.ipc.new_stream if is_stream else pa.ipc.new_file
    with new(sink, rows.schema) as writer:
        for batch in rows.batches:
            writer.write_batch(batch)


def _values(rows: Rows) -> Iterator[tuple[Any, ...]]:
    for batch in rows.batches:
        for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
            some = batch.slice(start, _ROWS_AT_ONCE)
            yield from zip(*(column.to_pylist() for column in some.columns), strict=True)


def _encoder(field: pa.Field) -> Encode:
    kind = field.type
    if (field.metadata or {}).get(b"milvus_type") == b"JSON":
        return _stored_json
    if pa.types.is_map(kind):
        return lambda pairs: _json({str(index): weight for index, weight in pairs})
    if pa.types.is_binary(kind):
        return lambda value: _json(base64.b64encode(value).decode())
    if pa.types.is_timestamp(kind):
        return lambda value: _json(_text_of(value))
    return _json


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_without_nan(value), ensure_ascii=False)


def _without_nan(value: object) -> object:
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, float):
        text = json.dumps(value)
        return text if text in {"NaN", "Infinity", "-Infinity"} else value
    return value


def _stored_json(text: str) -> str:
    """Return a JSON text on one line; as a JSON string where it is none, which Milvus would not have taken."""
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _json(text)
    # Within its strings no such character can be, so that these are between its parts.
    return text.replace("\n", " ").replace("\r", " ")


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _text_of(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _cell(encode: Encode, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return _quoted(value)
    text = encode(value)
    is_number = isinstance(value, int | float)
    return text.strip('"') if is_number else _quoted(text[1:-1] if text.startswith('"') else text)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
