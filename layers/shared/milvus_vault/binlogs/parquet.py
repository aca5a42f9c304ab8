"""Parquet files as Milvus writes them: of few columns, which all are flat."""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from milvus_vault.errors import BinlogUnreadableError

MAGIC = b"PAR1"

_ROWS_AT_ONCE = 1 << 13  # so that these, too, are bounded: a key has up to 64 KiB
_MOST_BYTES = 1 << 30  # of values. Milvus begins another log long before, after 16 to 64 MiB.
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

    def __init__(self, content: bytes | memoryview) -> None:
        with unreadable("not a whole Parquet file"):
            self._file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(content)))
            self.schema: pa.Schema = self._file.schema_arrow
            self._has_arrow_schema = _ARROW_SCHEMA in (self._file.metadata.metadata or {})

    @property
    def column_groups(self) -> int:
        """Return how many column groups there are of its rows, of which it is one; 0 where it does not say."""
        listed: bytes = (self._file.metadata.metadata or {}).get(_COLUMN_GROUPS, b"")
        return len(listed.split(b";")) if listed else 0

    def column_of(self, field_id: int) -> str | None:
        """Return the name of the column that holds a field."""
        for field in self.schema:
            if (field.metadata or {}).get(_FIELD_ID) == b"%d" % field_id or field.name == str(field_id):
                return str(field.name)
        return None

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield its rows, or those columns of them, in parts of a size that does not matter to memory."""
        rows = size = 0
        batches = self._file.iter_batches(_ROWS_AT_ONCE, columns=columns, use_threads=False)
        while True:
            with unreadable("not a whole Parquet file"):
                batch = next(batches, None)
                if batch is None:
                    break
                batch.validate(full=True)
            rows += batch.num_rows
            size += batch.nbytes
            if size > _MOST_BYTES:
                msg = f"more than {_MOST_BYTES:,} bytes of values are in one log"
                raise BinlogUnreadableError(msg)
            yield batch
        if rows != self._file.metadata.num_rows:
            msg = f"it has {rows:,} rows and says that it has {self._file.metadata.num_rows:,}"
            raise BinlogUnreadableError(msg)

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
            row_group_size=table.num_rows,
            compression="zstd",
            use_dictionary=False,  # hardly a delete is there twice
            store_schema=self._has_arrow_schema,
        )
        return sink.getvalue()

    def field_ids(self) -> list[int]:
        """Return the fields that its columns say they hold, by ID or by a name that is one."""
        said = ((field.metadata or {}).get(_FIELD_ID, field.name.encode()) for field in self.schema)
        return [int(number) for number in said if number.isdigit()]

    def listed_fields(self) -> list[set[int]]:
        """Return the fields of each of those column groups; empty where it does not say."""
        listed: bytes = (self._file.metadata.metadata or {}).get(_COLUMN_GROUPS, b"")
        with unreadable("its list of column groups cannot be read"):
            return [{int(number) for number in group.split(b",")} for group in listed.split(b";")] if listed else []


def whole(column: pa.Array, what: str) -> pa.Array:
    """Return a column of which no value may be null. Raises `BinlogUnreadableError`."""
    if column.null_count:
        msg = f"{column.null_count:,} of its {what} are null"
        raise BinlogUnreadableError(msg)
    return column
