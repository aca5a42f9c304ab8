"""What an insert log holds, and which of its rows are left by deletes.

In storage version 1 an insert log holds one field, in version 2 a group of columns.
"""

from collections.abc import Iterable, Iterator
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from milvus_vault.binlogs import events, parquet
from milvus_vault.binlogs.deletes import Deletes
from milvus_vault.errors import BinlogUnreadableError


class InsertLog:
    """One insert log. Everything raises `BinlogUnreadableError`."""

    def __init__(self, body: bytes) -> None:
        self.place: tuple[int, int, int, int] | None = None
        """Collection, partition, segment and field that a log of version 1 says it is of; others do not say."""
        self.column_groups: tuple[frozenset[int], ...] = ()
        """The fields of each column group of its segment, as a log of version 2 lists them; not all do."""
        if parquet.is_bare(body):
            self._files = [parquet.ParquetFile(body)]
            self.column_groups, self.field_ids = self._files[0].column_groups, self._files[0].field_ids
            """The fields that it holds."""
            return
        log = events.read(body)
        self.place = (*log.ids, log.field_id)
        self.field_ids = (log.field_id,)
        self._files = []
        for event in log.events:
            if event.kind != events.Kind.ROWS:
                msg = f"it has an event of kind {event.kind} among its rows"
                raise BinlogUnreadableError(msg)
            file = parquet.ParquetFile(event.payload)
            if len(file.schema) != 1:
                msg = f"it has {len(file.schema)} columns where one was expected"
                raise BinlogUnreadableError(msg)
            self._files.append(file)

    def stored(self, field_id: int) -> Iterator[pa.Array]:
        """Yield what is stored of one of its fields, in parts of a size that does not matter to memory."""
        for file in self._files:
            name = file.schema.field(0).name if self.place else file.column_of(field_id)
            if name is None or field_id not in self.field_ids:
                msg = f"it has no column of field {field_id}"
                raise BinlogUnreadableError(msg)
            yield from (batch.column(0) for batch in file.batches([name]))


class NewestDeletes:
    """When each key was deleted last.

    A delete of a number takes 16 bytes of memory, one of a text 16 and the text; and as much again while logs are read.
    """

    def __init__(self, logs: Iterable[Deletes], until: int = 0) -> None:
        """Take the deletes of logs whose keys are of one type.

        Args:
            logs: what was read of delta logs.
            until: hybrid timestamp after which deletes are left out; 0: none are.
        """
        tables = [pa.table({"key": _comparable(log.keys), "time": log.timestamps}) for log in logs if len(log.keys)]
        if until:
            tables = [table.filter(pc.less_equal(table["time"], until)) for table in tables]
        found = pa.concat_tables(tables) if tables else pa.table({"key": [], "time": []})
        newest = found.group_by("key", use_threads=False).aggregate([("time", "max")]).combine_chunks()
        self._keys, self._times = newest["key"], newest["time_max"]

    def spare(self, keys: pa.Array, timestamps: pa.Array) -> pa.Array:
        """Return of each row (key and hybrid timestamp) whether it stays.

        A delete removes the rows of its key that are older. One of the same time is the half of an upsert whose other
        half the row is.
        """
        if not len(self._keys):
            return pa.repeat(pa.scalar(value=True), len(keys))
        places = pc.index_in(_comparable(keys), value_set=self._keys)
        return pc.fill_null(pc.greater_equal(timestamps, self._times.take(places).combine_chunks()), True)


def live(keys: pa.Array, timestamps: pa.Array, deletes: Iterable[NewestDeletes], until: int = 0) -> pa.Array:
    """Return of each row whether no delete removes it, and, with `until`, whether it is no newer than that."""
    stay = [each.spare(keys, timestamps) for each in deletes]
    stay.append(pc.less_equal(timestamps, until) if until else pa.repeat(pa.scalar(value=True), len(keys)))
    return reduce(pc.and_, stay)


def _comparable(keys: pa.Array) -> pa.Array:
    """Return keys in a type that holds more than 2 GiB of texts at once."""
    return keys.cast(pa.large_string()) if keys.type == pa.string() else keys
