"""Rows as lines of JSON, as CSV, as a Parquet file, or in Arrow's own format."""

import base64
import io
import json
from collections.abc import Buffer, Callable, Iterable, Iterator, Sequence
from typing import IO, Any, override

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from milvus_vault.rows.reading import Rows

_ROWS_AT_ONCE = 256  # as Python's objects, which take ten times as much as Arrow's arrays
_ROW_GROUP_ROWS = 122_880  # what DuckDB reads in one go; Spark and others take any
_ROW_GROUP_BYTES = 64 * 1024**2
_COMPRESSION = "zstd"
_PIECE_BYTES = 8 * 1024**2  # a part of an upload to S3 has 5 MiB at least

type Encode = Callable[[pa.Array], Iterable[str | None]]
"""Returns the text of each value, and None for null."""


def json_lines(rows: Rows) -> Iterator[str]:
    """Yield each row as a JSON object on a line.

    Values of JSON fields are as they are stored. Numbers that JSON does not have are texts: `NaN`, `Infinity` and
    `-Infinity`; bytes are Base64; a sparse vector is an object of weights by index.
    """
    names = [json.dumps(field.name) for field in rows.schema]
    for texts in _texts(rows, [_as_json(field) for field in rows.schema]):
        cells = (f"{name}: {'null' if text is None else text}" for name, text in zip(names, texts, strict=True))
        yield f"{{{', '.join(cells)}}}\n"


def csv_lines(rows: Rows) -> Iterator[str]:
    """Yield a heading, then the rows.

    Texts are in quotes and numbers are not; null is nothing at all, as opposed to an empty text. Everything else is in
    the text that `json_lines` has for it.
    """
    yield ",".join(_quoted(field.name) for field in rows.schema) + "\n"
    for texts in _texts(rows, [_as_csv(field) for field in rows.schema]):
        yield ",".join("" if text is None else text for text in texts) + "\n"


def write_parquet(rows: Rows, sink: IO[bytes]) -> None:
    """Write a Parquet file. In memory is what `parquet_pieces` has there."""
    sink.writelines(parquet_pieces(rows))


def parquet_pieces(rows: Rows) -> Iterator[bytes]:
    """Yield a Parquet file in pieces of at least 8 MiB, but the last.

    In memory are one row group, of some 64 MiB, and what was written of it.
    """
    pieces = _Pieces()
    with pq.ParquetWriter(pieces, rows.schema, compression=_COMPRESSION) as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in rows.batches:
            waiting.append(batch)
            many = sum(each.num_rows for each in waiting) >= _ROW_GROUP_ROWS
            if many or sum(each.nbytes for each in waiting) >= _ROW_GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting.clear()
                if pieces.size_bytes >= _PIECE_BYTES:
                    yield pieces.take()
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting))
    yield pieces.take()


class _Pieces(io.RawIOBase):
    """A file that is written, of which what is there can be taken away."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._position = 0
        self.size_bytes = 0

    @override
    def writable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._position

    @override
    def write(self, data: Buffer, /) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        self.size_bytes += len(piece)
        return len(piece)

    def take(self) -> bytes:
        """Return what was written since it was last called."""
        taken = b"".join(self._pieces)
        self._pieces, self.size_bytes = [], 0
        return taken


def write_arrow(rows: Rows, sink: IO[bytes], *, is_stream: bool) -> None:
    """Write Arrow's IPC format: as a stream, or as a file, which can be read from any place in it."""
    new = pa.ipc.new_stream if is_stream else pa.ipc.new_file
    with new(sink, rows.schema) as writer:
        for batch in rows.batches:
            writer.write_batch(batch)


def _texts(rows: Rows, encoders: Sequence[Encode]) -> Iterator[tuple[str | None, ...]]:
    for batch in rows.batches:
        for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
            columns = batch.slice(start, _ROWS_AT_ONCE).columns
            encoded = (encode(column) for encode, column in zip(encoders, columns, strict=True))
            yield from zip(*encoded, strict=True)


def _as_json(field: pa.Field) -> Encode:
    kind = field.type
    if pa.types.is_fixed_size_list(kind):
        return _vectors
    if (field.metadata or {}).get(b"milvus_type") == b"JSON":
        return _one_by_one(_stored_json)
    if pa.types.is_map(kind):
        return _one_by_one(lambda pairs: _json({str(index): weight for index, weight in pairs}))
    if pa.types.is_binary(kind):
        return _one_by_one(lambda value: _json(base64.b64encode(value).decode()))
    if pa.types.is_timestamp(kind):
        return _one_by_one(lambda time: _json(time.isoformat().replace("+00:00", "Z")))
    return _one_by_one(_json)


def _as_csv(field: pa.Field) -> Encode:
    kind, encode = field.type, _as_json(field)
    if pa.types.is_string(kind):
        return _one_by_one(_quoted)
    if pa.types.is_nested(kind):
        return lambda array: (None if text is None else _quoted(text) for text in encode(array))
    if pa.types.is_primitive(kind) and not pa.types.is_timestamp(kind):
        return lambda array: (None if text is None else text.strip('"') for text in encode(array))
    return encode  # in quotes already, with nothing in it that CSV would write otherwise


def _one_by_one(encode: Callable[[Any], str]) -> Encode:
    return lambda array: (None if value is None else encode(value) for value in array.to_pylist())


def _vectors(array: pa.FixedSizeListArray) -> Iterable[str | None]:
    """Return vectors, each number with the digits that tell it from others of its type: in a sixth of Python's time."""
    there = array.drop_null()
    numbers = there.flatten()
    if pa.types.is_floating(numbers.type) and not pc.all(pc.is_finite(numbers)).as_py():
        return _one_by_one(_json)(array)
    ends = pa.array(range(0, len(numbers) + 1, array.type.list_size), pa.int32())
    joined = iter(pc.binary_join(pa.ListArray.from_arrays(ends, numbers.cast(pa.string())), ", ").to_pylist())
    return (f"[{next(joined)}]" if is_there else None for is_there in array.is_valid().to_pylist())


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


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
