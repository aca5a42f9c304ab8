"""Binlogs of storage version 2 (2.6): plain Parquet files of several columns, named by group instead of field.

Group 0 has the key, the fields that decide where a row goes, and the two system columns; group 1 all other scalars;
each vector is a group of its own, named by its field's ID.
"""

import io
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.milvus_server.binlog import SYSTEM_FIELDS, DamagedBinlogError
from tests.support.milvus_server.values import ROW_ID, TIMESTAMP, VECTOR_ARRAY, VECTORS, Columns, Message, arrow_type

_FIELD_ID = b"PARQUET:field_id"

type Groups = dict[int, list[int]]
"""Field IDs by column group."""


def groups_of(fields: Sequence[Message]) -> Groups:
    """Return how the columns of a collection are grouped."""
    groups: Groups = {0: [], 1: []}
    for field in fields:
        if field.data_type in VECTORS or field.data_type == VECTOR_ARRAY:
            groups[field.fieldID] = [field.fieldID]
        else:
            leads = field.is_primary_key or field.is_partition_key or field.is_clustering_key
            groups[0 if leads else 1].append(field.fieldID)
    groups[0] += [ROW_ID, TIMESTAMP]
    return {group: members for group, members in groups.items() if members}


def write(fields: Mapping[int, Message], columns: Columns, groups: Groups) -> dict[int, bytes]:
    """Return the file of each group."""
    listed = ";".join(",".join(map(str, members)) for members in groups.values())
    return {group: _write_group(fields, columns, members, listed) for group, members in groups.items()}


def _write_group(fields: Mapping[int, Message], columns: Columns, members: Sequence[int], listed: str) -> bytes:
    arrays, described = [], []
    for number in members:
        kind = pa.int64() if number in SYSTEM_FIELDS else arrow_type(fields[number])
        name = SYSTEM_FIELDS.get(number) or fields[number].name
        may_be_null = number not in SYSTEM_FIELDS and bool(fields[number].nullable or fields[number].is_dynamic)
        arrays.append(pa.array(columns[number], kind))
        described.append(pa.field(name, kind, nullable=may_be_null, metadata={_FIELD_ID: str(number)}))
    table = pa.Table.from_arrays(arrays, schema=pa.schema(described))
    table = table.replace_schema_metadata(
        {
            "group_field_id_list": listed,
            "row_group_metadata": f"{table.nbytes}|{table.num_rows}|0",
            "storage_version": "1.0.0",
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def read(content: bytes) -> Columns:
    """Return a group's columns by field ID. Raises `DamagedBinlogError`."""
    try:
        table = pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True).read(use_threads=False)
        return {
            int((table.schema.field(index).metadata or {})[_FIELD_ID]): table.column(index).to_pylist()
            for index in range(table.num_columns)
        }
    except (pa.ArrowException, OSError, KeyError) as err:
        msg = f"not a whole column group: {err}"
        raise DamagedBinlogError(msg) from err
