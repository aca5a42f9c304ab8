"""Where a dataset lies, and the working files of the export that writes it, by names relative to the run's folder.

    rows/dataset.json                             `DatasetPlan`: what one execution writes
    rows/<attempt>/source-<index>.json            `DatasetSource`: a collection of the backup
    rows/<attempt>/cut-<index>.json               `Cut`: its batches
    rows/<attempt>/batch-<index>-<number>.json    `Batch`: files that one WriteRows writes
    rows/<attempt>/batch-<index>-<number>.jsonl   the logs that it reads, as an object list
    rows/<attempt>/error-<index>-<number>.json    `BatchError`: why it gave up
    rows/<attempt>/batches.json                   the batches as Step Functions reads them
    rows/written-<hash>/<index>-<number>-<bytes>.json    `WrittenFile`: a file that is written

What is written is kept by a hash of what it is made of, so that an execution that is started again writes no file
twice. All else is of one execution. The bytes in a name are those of the logs, so that one LIST tells the progress.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Self
from urllib.parse import quote

from pydantic import Field

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.archive.layout import DATASETS_FOLDER, join
from milvus_vault.model.base import Count, Model
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.hybrid import HybridTimestamp
from milvus_vault.model.requests import ExportRequest
from milvus_vault.model.times import Time
from milvus_vault.workspace import Workspace

FORMAT_VERSION = 1

PLAN = "rows/dataset.json"

_WRITTEN = re.compile(r"^rows/written-[0-9a-f]+/(?P<index>[0-9]+)-(?P<number>[0-9]+)-(?P<bytes>[0-9]+)\.json$")
_BATCH = re.compile(r"^rows/(?P<attempt>[^/]+)/batch-(?P<index>[0-9]+)-(?P<number>[0-9]+)$")


@dataclass(frozen=True, slots=True)
class DatasetLayout:
    """The keys of a dataset."""

    bucket: str
    prefix: str
    """That of a place for backups; may be empty."""
    name: str

    @property
    def root(self) -> str:
        """Return its folder, with a slash at its end."""
        return join(self.prefix, DATASETS_FOLDER, self.name) + "/"

    @property
    def location(self) -> str:
        """Return its folder as people are told of it."""
        return f"s3://{self.bucket}/{self.root}"

    @property
    def document(self) -> str:
        """Return the key of its `Dataset`, which is written last. Readers of Parquet pass by names with a `_`."""
        return f"{self.root}_dataset.json"

    @property
    def claim(self) -> str:
        """Return the key of the claim of its name, which is there while it is written."""
        return f"{self.root}_claim.json"

    def file(self, collection: CollectionName, number: int) -> str:
        """Return the key of a file of a collection. Sorted by name they are in the order of their rows."""
        return f"{self.root}{self.folder(collection)}part-{number:06}.parquet"

    @staticmethod
    def folder(collection: CollectionName) -> str:
        """Return the folder of a collection below the root, with a slash at its end."""
        # Milvus' own names stay as they are; another tool's metadata may have any.
        return f"{quote(str(collection), safe='')}/"


class PlannedFile(Model):
    """A file, and of which rows it is."""

    number: Count
    """Within its collection, from 0, in the order of rows."""
    partition_id: int
    partition: str
    """Its name; empty where the collection has no segment at all."""
    segments: tuple[int, ...]
    size_bytes: Count
    """Of the logs of these segments."""


class Batch(Model):
    """What one WriteRows writes: files of one collection."""

    index: Count
    """Of the collection in the plan."""
    number: Count
    """Within the collection."""
    files: tuple[PlannedFile, ...]


class Cut(Model):
    """The batches of a collection."""

    batches: tuple[Batch, ...]


class DatasetSource(Model):
    """A collection of the backup, as the reader of rows needs it: without its object list."""

    collection: ArchivedCollection


class Share(NamedTuple):
    """How much there is of one collection."""

    files: int
    bytes: int
    """Of the logs with rows."""


class DatasetPlan(Model):
    """What one execution writes. Written once by PrepareExport."""

    request: ExportRequest
    execution_arn: str
    backup_id: str
    """Empty where milvus-backup wrote the backup."""
    bucket: str
    prefix: str
    """Of the place; see `DatasetLayout`."""
    written: str
    """The folder of what is written, with a slash at its end."""
    collections: tuple[CollectionName, ...]
    shares: tuple[Share, ...]
    """By collection."""
    warnings: tuple[str, ...] = ()

    @property
    def layout(self) -> DatasetLayout:
        """Return where it lies."""
        return DatasetLayout(self.bucket, self.prefix, self.request.export_name)


class WrittenFile(Model):
    """A file that is there."""

    size_bytes: Count
    row_count: Count
    left_out: dict[str, str] = Field(default_factory=dict)
    """Type of each field that is not read, by name."""


class DatasetFile(Model):
    """A file of a dataset, in `Dataset`."""

    path: str
    """Below the folder of the dataset."""
    partition: str
    segments: tuple[int, ...]
    row_count: Count
    size_bytes: Count


class DatasetCollection(Model):
    """A collection of a dataset, in `Dataset`."""

    name: CollectionName
    folder: str
    """Below that of the dataset, with a slash at its end."""
    moment: HybridTimestamp
    """Hybrid timestamp: rows are as they were then; 0 where nobody knows it."""
    row_count: Count
    size_bytes: Count
    left_out: dict[str, str]
    """Type of each field that has no column, by name."""
    files: tuple[DatasetFile, ...]
    """In the order of their rows."""


class Dataset(Model):
    """The document of a dataset, `_dataset.json`: a folder without it is none."""

    format_version: int = FORMAT_VERSION
    name: str
    backup_name: str
    backup_id: str
    """Empty where milvus-backup wrote the backup."""
    written_at: Time
    row_count: Count
    size_bytes: Count
    collections: tuple[DatasetCollection, ...]
    warnings: tuple[str, ...]


class WrittenName(NamedTuple):
    """What the name of a `WrittenFile` says."""

    collection: int
    """Its index in the plan."""
    number: int
    bytes: int

    @classmethod
    def of(cls, index: int, file: PlannedFile) -> Self:
        """Return that of a file of a collection."""
        return cls(index, file.number, file.size_bytes)

    def below(self, folder: str) -> str:
        """Return it as a name in the folder of what is written."""
        return f"{folder}{self.collection}-{self.number}-{self.bytes}.json"


def list_written(run: Workspace, folder: str) -> Mapping[WrittenName, datetime | None]:
    """Return which files are written, each with when it was, by the server's clock, where it tells."""
    found = ((_WRITTEN.match(name), when) for name, when in run.documents(folder))
    return {
        WrittenName(int(match["index"]), int(match["number"]), int(match["bytes"])): when
        for match, when in found
        if match
    }


def source_name(attempt: str, index: int) -> str:
    """Return the name of a collection's `DatasetSource`."""
    return f"rows/{attempt}/source-{index}.json"


def cut_name(attempt: str, index: int) -> str:
    """Return the name of a collection's `Cut`."""
    return f"rows/{attempt}/cut-{index}.json"


def batch_name(attempt: str, batch: Batch) -> str:
    """Return the name of a batch, as WriteRows is given it."""
    return f"rows/{attempt}/batch-{batch.index}-{batch.number}"


def attempt_of_batch(name: str) -> str:
    """Return the attempt of a batch. Raises `ValueError` for what is not the name of one."""
    return _batch_match(name)["attempt"]


def error_name(name: str) -> str:
    """Return the name of the reason why a batch gave up. Raises `ValueError` for what is not the name of one."""
    found = _batch_match(name)
    return f"rows/{found['attempt']}/error-{found['index']}-{found['number']}.json"


def batches_name(attempt: str) -> str:
    """Return the name of the list of batches."""
    return f"rows/{attempt}/batches.json"


def write_batches(run: Workspace, attempt: str, batches: Iterable[Batch]) -> None:
    """Write the list of batches that the distributed Map goes through."""
    names = [{"batch": batch_name(attempt, batch)} for batch in batches]
    run.write_bytes(batches_name(attempt), json.dumps(names).encode())


def _batch_match(name: str) -> re.Match[str]:
    found = _BATCH.match(name)
    if found is None:
        msg = f"not the name of a batch: {name}"
        raise ValueError(msg)
    return found


def by_collection(written: Iterable[WrittenName]) -> Mapping[int, Share]:
    """Return how much of each collection is written, by its index."""
    found: dict[int, Share] = {}
    for one in written:
        files, size_bytes = found.get(one.collection, Share(0, 0))
        found[one.collection] = Share(files + 1, size_bytes + one.bytes)
    return found


def files_of(cut: Cut) -> Iterator[PlannedFile]:
    """Yield the files of a collection, in the order of their rows."""
    for batch in cut.batches:
        yield from batch.files
