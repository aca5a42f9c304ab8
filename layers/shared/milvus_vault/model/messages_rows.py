"""What the machines export and write-rows and their functions tell each other of datasets."""

from typing import Literal

from pydantic import Field

from milvus_vault.model.base import Count, Model


class WriteRowsRequest(Model):
    """Input of WriteRows."""

    run: str = Field(min_length=1, description="Name of the run: the folder of its working files.")
    batch: str = Field(description="Name of the batch: rows/<attempt>/batch-<collection>-<number>.")


class WriteRowsResult(Model):
    """How far a batch is, and what this call wrote."""

    is_done: bool
    """False where the function ran short of time and is to be called again."""
    file_count: Count
    row_count: Count
    size_bytes: Count


class DatasetResult(Model):
    """Output of the export machine where it writes a dataset."""

    format: Literal["parquet"] = "parquet"
    backup_name: str
    export_name: str
    location: str
    """Where it lies, as `s3://bucket/prefix/.datasets/name/`."""
    collection_count: Count
    object_count: Count
    """Files of Parquet."""
    row_count: Count
    size_bytes: Count
    warnings: tuple[str, ...] = ()
