"""Parquet files as Milvus writes them: of few columns, which all are flat."""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from milvus_vault.binlogs.events import Content
from milvus_vault.binlogs.pages import page_sizes, row_groups
from milvus_vault.errors import BinlogUnreadableError

MAGIC = b"PAR1"

_ROWS_AT_ONCE = 1 << 16
_BYTES_AT_ONCE = 1 << 22  # by the size that rows have on average
_BYTES_TOGETHER = 1 << 20  # at least, of what is handed on
_LARGEST_PAGE = 1 << 28  # Milvus' writers end a page after 1 MiB, and look at that after 1,024 rows
_MOST_AT_ONCE = 1 << 25  # should all of them be as long as they can be, while a dictionary keeps the file small
LONGEST = 1 << 16  # bytes of a text or a document in Milvus

# Of values. Milvus begins another log long before, after 16 to 64 MiB; for larger files it is a multiple of their size.
_MOST_BYTES = 1 << 30
_MOST_TIMES = 16
_FIELD_ID = b"PARQUET:field_id"
_ARROW_SCHEMA = b"ARROW:schema"
# Of storage version 2: the fields of each column group, groups parted by semicolons. milvus-storage's packed writer
# writes all groups at once, and this into the file of each (ColumnGroupWriter::WriteGroupFieldIDList).
_COLUMN_GROUPS = b"group_field_id_list"
_ROW_GROUPS = b"row_group_metadata"  # of storage version 2: bytes in memory, rows and first row of each group


@contextmanager
def unreadable(what: str) -> Iterator[None]:
    """Turn what pyarrow and json say of bytes that they cannot read into a `BinlogUnreadableError`."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, RecursionError) as err:
        msg = f"{what}: {str(err).partition('\n')[0]}"
        raise BinlogUnreadableError(msg) from err


class ParquetFile:
    """One file. Everything raises `BinlogUnreadableError`."""

    def __init__(self, content: Content) -> None:
        with unreadable("not a whole Parquet file"):
            self._content = memoryview(content).cast("B")
            buffer = pa.py_buffer(content)
            self._file = pq.ParquetFile(pa.BufferReader(buffer), page_checksum_verification=True)
            self.schema: pa.Schema = self._file.schema_arrow
            self._described: dict[bytes, bytes] = self._file.metadata.metadata or {}
            self._has_arrow_schema = _ARROW_SCHEMA in self._described
            self._most_bytes = max(_MOST_BYTES, _MOST_TIMES * buffer.size)

    @property
    def column_groups(self) -> tuple[frozenset[int], ...]:
        """Return the fields of each column group of its rows, of which it is one; nothing where it does not say."""
        listed = self._described.get(_COLUMN_GROUPS, b"")
        with unreadable("its list of column groups cannot be read"):
            groups = listed.split(b";") if listed else []
            return tuple(frozenset(int(number) for number in group.split(b",")) for group in groups)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of its columns."""
        with unreadable("its columns have no names"):
            return tuple(map(str, self.schema.names))

    @property
    def field_ids(self) -> tuple[int, ...]:
        """Return which field each column holds."""
        with unreadable("its columns have no fields"):
            return tuple(int((field.metadata or {}).get(_FIELD_ID, b"")) for field in self.schema)

    def column_of(self, field_id: int) -> str | None:
        """Return the name of the column that holds a field."""
        for field in self.schema:
            if (field.metadata or {}).get(_FIELD_ID) == b"%d" % field_id or field.name == str(field_id):
                return str(field.name)
        return None

    def _rows_at_once(self, longest: int) -> int:
        """Return how many rows to read so that memory stays small, if no value is longer than that."""
        average = sum(group.size_bytes for group in row_groups(self._content)) // max(1, self._file.metadata.num_rows)
        widths = [_width(field.type) for field in self.schema]
        least = sum(width or 0 for width in widths)
        most = sum(longest if width is None else width for width in widths)
        by_size = min(_BYTES_AT_ONCE // max(1, average, least), _MOST_AT_ONCE // max(1, most))
        return int(max(1, min(_ROWS_AT_ONCE, by_size)))

    def batches(
        self, columns: Sequence[str] | None = None, longest: int = LONGEST, *, full: bool = True
    ) -> Iterator[pa.RecordBatch]:
        """Yield its rows, or those columns of them, in parts of a size that does not matter to memory.

        That is so if no value is longer than `longest` bytes; one that is takes what it is long. Without `full`, texts
        are not looked at, and may be no UTF-8.
        """
        rows = size = held = 0
        gathered: list[pa.RecordBatch] = []
        with unreadable("not a whole Parquet file"):
            self._check_pages()
            batches = self._file.iter_batches(self._rows_at_once(longest), columns=columns, use_threads=False)
        is_over = False
        while not is_over:
            with unreadable("not a whole Parquet file"):
                batch = next(batches, None)
                is_over = batch is None
                if batch is not None:
                    gathered.append(batch)
                    rows, size, held = rows + batch.num_rows, size + batch.nbytes, held + batch.nbytes
                if size > self._most_bytes:
                    msg = f"more than {self._most_bytes:,} bytes of values are in one log"
                    raise BinlogUnreadableError(msg)
                if held < _BYTES_TOGETHER and not is_over:
                    continue
                # What is done with each part costs more than to put some together.
                part = pa.concat_batches(gathered) if len(gathered) > 1 else next(iter(gathered), None)
                gathered, held = [], 0
                if part is None:
                    break
                part.validate(full=full)
            yield part
        if rows != self._file.metadata.num_rows:
            msg = f"it has {rows:,} rows and says that it has {self._file.metadata.num_rows:,}"
            raise BinlogUnreadableError(msg)

    def _check_pages(self) -> None:
        """Raise `ValueError` where a page takes more memory than any that Milvus writes."""
        for size in page_sizes(self._content):
            if size > _LARGEST_PAGE:
                msg = f"a page of {size:,} bytes is more than is looked into"
                raise ValueError(msg)

    def write(self, batches: Iterable[pa.RecordBatch]) -> bytes:
        """Return a file of the same columns with these rows."""
        table = pa.Table.from_batches(batches, self.schema)
        described = dict(self.schema.metadata or {})
        if _ROW_GROUPS in described:
            described[_ROW_GROUPS] = b"%d|%d|0" % (table.nbytes, table.num_rows)
            table = table.replace_schema_metadata(described)
        sink = io.BytesIO()
        pq.write_table(
            table,
            sink,
            row_group_size=max(1, table.num_rows),
            compression="zstd",
            use_dictionary=False,  # hardly a delete is there twice
            store_schema=self._has_arrow_schema,
        )
        return sink.getvalue()


def is_bare(content: Content) -> bool:
    """Return whether a file is a Parquet file without an envelope around it."""
    return bytes(memoryview(content)[: len(MAGIC)]) == MAGIC


def _width(kind: pa.DataType) -> int | None:
    """Return the bytes of a value, or None where each has its own."""
    try:
        return -(-int(kind.bit_width) // 8)
    except ValueError:
        return None


def whole(column: pa.Array, what: str) -> pa.Array:
    """Return a column of which no value may be null. Raises `BinlogUnreadableError`."""
    if column.null_count:
        msg = f"{column.null_count:,} of its {what} are null"
        raise BinlogUnreadableError(msg)
    return column
