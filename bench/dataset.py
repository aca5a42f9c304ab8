"""What WriteRows takes to write one file: memory, CPU seconds and bytes.

    PYTHONPATH=layers/shared:. python -m bench.dataset --megabytes 512 --deletes 1000000

A collection with a key, a text and vectors of 768 dimensions, in logs of 16 MiB of these two, as Milvus writes
them; each log has the same content under another key, so that the store holds little. What is written is let go. The
peak is the resident memory of the process above what it had before it read anything.
"""

import argparse
import hashlib
import resource
import threading
import time
from collections.abc import Iterable
from typing import Any, cast, override

import numpy as np
from pymilvus.grpc_gen import schema_pb2

from milvus_vault.archive.layout import BackupLayout, LogKey
from milvus_vault.archive.manifest import CollectionDocument
from milvus_vault.backup.places import Place
from milvus_vault.datasets.preparing import Unwritten
from milvus_vault.model.collections import ALL_PARTITIONS
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.readable import size
from milvus_vault.model.requests import ExportRequest
from tests.support.dataset_export import DatasetExport
from tests.support.memory_store import InMemoryObjectStore
from tests.support.milvus_server import binlog
from tests.unit.archive.samples import BUCKET, PREFIX, sample_contents, write_backup

_COLLECTION, _PARTITION, _SEGMENT, _LEVEL_ZERO = 7, 8, 9, 10
_DIM = 768
_LOG_BYTES = 16 * 1024**2
_MIB = 1024**2
_HERE = Place(bucket=BUCKET, prefix=PREFIX)


class _Discarding(InMemoryObjectStore):
    """Gives each content anew, as S3 does, and keeps nothing of a dataset."""

    written_bytes = 0

    @override
    def get_with_etag(self, bucket: str, key: str) -> tuple[bytes, str]:
        body, etag = super().get_with_etag(bucket, key)
        return bytes(bytearray(body)), etag

    @override
    def put_in_parts(self, bucket: str, key: str, parts: Iterable[bytes]) -> None:
        for part in parts:
            self.written_bytes += len(part)


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123 - no file of a disk
        return int(file.read().split()[1]) * resource.getpagesize()


class _Peak:
    """The most resident memory while it is entered, looked at every 5 ms."""

    def __enter__(self) -> "_Peak":
        self.base = self.most = _resident_bytes()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._over.wait(0.005):
            self.most = max(self.most, _resident_bytes())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _logs(stripes: int, rows: int, text_bytes: int, deletes: int) -> dict[LogKey, bytes]:
    """Return the logs of a segment, and one of deletes that concern none of its rows."""
    place = binlog.Place(_COLLECTION, _PARTITION, _SEGMENT)
    times = [10] * rows
    vectors = np.random.default_rng(1).random((rows, _DIM), np.float32)
    columns: dict[int, tuple[int, list[Any]]] = {
        0: (5, list(range(rows))),
        1: (5, times),
        100: (5, list(range(rows))),
        101: (21, [f"{number:0{text_bytes}}" for number in range(rows)]),
        102: (101, [vector.tobytes() for vector in vectors]),
    }
    found = {}
    for number, (kind, values) in columns.items():
        column = schema_pb2.FieldSchema(fieldID=number, data_type=kind)
        column.type_params.add(key="dim", value=str(_DIM))
        body = binlog.write_insert_log(place, column, values, times, names_fields=True)
        for stripe in range(stripes):
            found[LogKey("insert_log", _COLLECTION, _PARTITION, _SEGMENT, number, 1000 + stripe)] = body
    if deletes:
        of_all = binlog.Place(_COLLECTION, ALL_PARTITIONS, _LEVEL_ZERO)
        gone = [(-number - 1, 20) for number in range(deletes)]
        body = binlog.write_delta_log(of_all, gone, names_fields=True)
        found[LogKey("delta_log", _COLLECTION, ALL_PARTITIONS, _LEVEL_ZERO, 0, 1000)] = body
    return found


def _backup(store: InMemoryObjectStore, megabytes: int, text_bytes: int, deletes: int) -> None:
    stripes, rows = max(1, megabytes * _MIB // _LOG_BYTES), _LOG_BYTES // (4 * _DIM + text_bytes)
    layout = BackupLayout(PREFIX, "b")
    other, _ = sample_contents(layout)[1]
    fields = [
        {"field_id": number, "name": name, "data_type": kind, "is_primary_key": number == 100,  # noqa: PLR2004
         "type_params": [{"key": "dim", "value": str(_DIM)}]}
        for number, name, kind in ((100, "id", 5), (101, "title", 21), (102, "vec", 101))
    ]  # fmt: skip
    segments: list[dict[str, Any]] = [{"segment_id": _SEGMENT, "partition_id": _PARTITION, "row_count": stripes * rows}]
    if deletes:
        segments.append({"segment_id": _LEVEL_ZERO, "partition_id": ALL_PARTITIONS, "row_count": 0, "level": "L0"})
    described = {
        "name": {"database": "shop", "name": "articles"},
        "collection_id": _COLLECTION,
        "collection_schema": {"name": "articles", "fields": fields},
        "partitions": [{"partition_id": _PARTITION, "name": "_default"}],
    }
    description = other.description.model_dump() | described
    document = CollectionDocument.model_validate(
        other.model_dump() | {"description": description, "segments": segments}
    )
    logs = _logs(stripes, rows, text_bytes, deletes)
    objects = [
        ArchivedObject(layout.log(key), f"files/{key}", len(body), hashlib.md5(body, usedforsecurity=False).hexdigest())
        for key, body in logs.items()
    ]
    write_backup(store, layout, [(document, objects)])
    for key, body in logs.items():
        store.put(BUCKET, layout.log(key), body)


def main() -> None:
    """Write one file and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=512, help="of vectors and texts")
    parser.add_argument("--text-bytes", type=int, default=12, help="of the text of each row")
    parser.add_argument("--deletes", type=int, default=0, help="of level 0")
    given = parser.parse_args()
    store = _Discarding(BUCKET)
    _backup(store, given.megabytes, given.text_bytes, given.deletes)
    request = ExportRequest(backup_name="b", export_name="d", format="parquet")
    export = DatasetExport(store, request, _HERE, _HERE)
    (batch,) = export.batches(cast("Unwritten", export.prepare()))
    with _Peak() as peak:
        begun = time.process_time()
        result = export.write(batch)
        took = time.process_time() - begun
    print(
        f"{result.row_count:,} rows, {size(store.written_bytes)} of Parquet: {took:.1f} CPU s,"
        f" {size(peak.most - peak.base)} at most"
    )


if __name__ == "__main__":
    main()
