"""Rows of a backup, read from its binlogs without a Milvus, as Arrow's record batches."""

from milvus_vault.rows.keys import KeysIn
from milvus_vault.rows.reading import (
    WRITTEN_AT,
    Rows,
    Selection,
    read_collection_rows,
    read_rows,
    read_segments,
    readable_fields,
)

__all__ = [
    "WRITTEN_AT",
    "KeysIn",
    "Rows",
    "Selection",
    "read_collection_rows",
    "read_rows",
    "read_segments",
    "readable_fields",
]
