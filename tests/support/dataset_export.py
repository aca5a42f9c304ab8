"""An execution of the export machine that writes a dataset, on a store in memory."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from milvus_vault.backup.places import Place
from milvus_vault.catalogue import Catalogue
from milvus_vault.datasets.preparing import DatasetPreparation, Unwritten
from milvus_vault.datasets.working_files import Dataset, DatasetLayout
from milvus_vault.datasets.writing import write_batch
from milvus_vault.model.messages_rows import DatasetResult, WriteRowsResult
from milvus_vault.model.names import dataset_run
from milvus_vault.model.requests import ExportRequest
from milvus_vault.ports import Executions
from milvus_vault.rows import Rows
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.test_claims import FakeExecutions

WRITTEN_AT = datetime(2026, 11, 30, 3, tzinfo=UTC)


@dataclass
class DatasetExport:
    """One execution."""

    store: InMemoryObjectStore
    request: ExportRequest
    place: Place
    """Where it is written."""
    backups: Place
    """Where the deployment's backups lie."""
    arn: str = "first"
    executions: Executions = field(default_factory=FakeExecutions)

    @property
    def layout(self) -> DatasetLayout:
        """Where it lies."""
        return DatasetLayout(self.place.bucket, self.place.prefix, self.request.export_name)

    @property
    def run(self) -> Workspace:
        """The working files."""
        name = dataset_run(self.layout.bucket, self.layout.root)
        return Workspace(self.store, self.backups.bucket, self.backups.prefix, name)

    def prepare(self, write_count: int = 0) -> DatasetResult | Unwritten:
        """Run PrepareExport."""
        return DatasetPreparation(
            run=self.run,
            request=self.request,
            executions=self.executions,
            execution_arn=self.arn,
            started_at=WRITTEN_AT,
            damaged_contents=Catalogue(self.store, self.backups.bucket, self.backups.prefix).damaged_contents,
            place=self.place,
            write_count=write_count,
        ).prepare()

    def batches(self, found: Unwritten) -> list[str]:
        """Return the names of the batches that are to be written."""
        listed = json.loads(self.store.get(self.backups.bucket, found.batches_key))
        return [item["batch"] for item in listed]

    def write(self, batch: str, seconds_left: float = 900.0) -> WriteRowsResult:
        """Run WriteRows."""
        return write_batch(self.run, batch, seconds_left=lambda: seconds_left)

    def succeed(self) -> DatasetResult:
        """Run the machine."""
        for write_count in range(10):
            found = self.prepare(write_count)
            if isinstance(found, DatasetResult):
                return found
            for batch in self.batches(found):
                while not self.write(batch).is_done:
                    pass
        msg = "it does not end"
        raise AssertionError(msg)

    def document(self) -> Dataset:
        """Return what the dataset says of itself."""
        return Dataset.model_validate_json(self.store.get(self.layout.bucket, self.layout.document))

    def table(self, collection: str) -> pa.Table:
        """Return a collection, as pyarrow reads its folder."""
        return table_of(self.store, self.layout.bucket, f"{self.layout.root}{collection}")

    def rows(self, collection: str) -> Rows:
        """Return a collection's rows as `read_rows` does."""
        table = self.table(collection)
        return Rows(table.schema, iter(table.to_batches()))


def table_of(store: InMemoryObjectStore, bucket: str, folder: str) -> pa.Table:
    """Return what lies in a folder of Parquet files, in the order of their names."""
    files = fs.SubTreeFileSystem("", fs._MockFileSystem())
    for key, found in store.buckets[bucket].items():
        files.create_dir(key.rpartition("/")[0], recursive=True)
        with files.open_output_stream(key) as sink:
            sink.write(found.body)
    return ds.dataset(folder, filesystem=files, format="parquet").to_table()
