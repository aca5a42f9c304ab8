"""Measure PublishBackup without any server: time and memory of the documents, and of the report.

    PYTHONPATH=layers/shared python -m bench.publishing --collections 100 --objects 10000

The store keeps its objects on a disk, so that they do not count.
"""

import argparse
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import CollectionDocument, Manifest, Source
from milvus_vault.backup.publish import publish_backup
from milvus_vault.backup.working_files import BackupPlan, Snapshot, snapshot_name
from milvus_vault.copying.working_files import CopyCheck, CopyTarget, write_target, write_verified
from milvus_vault.errors import ObjectNotFoundError
from milvus_vault.model.collections import CollectionName, DatabaseDescription
from milvus_vault.model.objects import CopiedObject, CopyItem, ListedObject
from milvus_vault.model.requests import BackupRequest
from milvus_vault.ports import ObjectStore
from milvus_vault.reports.backup import render_backup_report
from milvus_vault.workspace import Workspace

ATTEMPT = "bench"
LOGS_OF_A_SEGMENT = 10
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


class DiskStore:
    """What publishing needs of an `ObjectStore`, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, bucket: str, key: str, body: bytes, **_: object) -> None:
        """Write an object."""
        self.put_in_parts(bucket, key, (body,))

    def put_if_absent(self, bucket: str, key: str, body: bytes, **_: object) -> bool:
        """Write an object, in place of that of the turn before."""
        self.put(bucket, key, body)
        return True

    def get(self, bucket: str, key: str) -> bytes:
        """Return an object's content. Raises `ObjectNotFoundError`."""
        try:
            return (self._folder / bucket / key).read_bytes()
        except FileNotFoundError as err:
            raise ObjectNotFoundError(key) from err

    def put_in_parts(self, bucket: str, key: str, parts: Iterable[bytes]) -> None:
        """Write an object."""
        path = self._folder / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines(parts)

    def chunks(self, bucket: str, key: str, etag: str = "") -> Iterator[bytes]:  # noqa: ARG002
        """Yield an object's content. Raises `ObjectNotFoundError`."""
        yield self.get(bucket, key)

    def list_folders(self, bucket: str, prefix: str) -> Iterator[str]:  # noqa: ARG002
        """Yield nothing: there are no leftovers."""
        return iter(())

    def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:  # noqa: ARG002
        """Yield nothing."""
        return iter(())

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """Delete nothing."""


def write_run(run: Workspace, layout: BackupLayout, collections: int, objects: int) -> BackupPlan:
    """Write the working files of a run that can be published, and return its plan."""
    names = []
    for index in range(collections):
        number = 449_000_000_000_000_000 + index * 1_000_000
        name = CollectionName(database="default", name=f"collection_{index:05}")
        segments = [
            {"segment_id": number + 10 + i, "partition_id": number + 1, "row_count": 1000}
            for i in range(objects // LOGS_OF_A_SEGMENT)
        ]
        document = CollectionDocument.model_validate(
            {
                "description": {
                    "collection_id": number,
                    "name": name,
                    "schema_proto": "",
                    "collection_schema": {"name": name.name, "fields": []},
                    "shards": 1,
                    "consistency_level": 2,
                    "properties": [],
                    "partitions": [{"partition_id": number + 1, "name": "_default"}],
                    "indexes": [],
                    "aliases": [],
                    "load_state": "NotLoad",
                },
                "segments": segments,
            }
        )
        run.write(snapshot_name(ATTEMPT, index), Snapshot(round=1, document=document, object_count=objects))
        items = []
        for segment in segments:
            for field in range(100, 100 + LOGS_OF_A_SEGMENT):
                ids = (number, number + 1, segment["segment_id"])
                source = f"files/insert_log/{ids[0]}/{ids[1]}/{ids[2]}/{field}/{ids[2] + field}"
                items.append(CopyItem(source, layout.insert_log(*ids, *ids[2:], field, ids[2] + field), 5000, "e" * 32))
        write_target(
            run, ATTEMPT, CopyTarget(index=index, name=str(name), folders=layout.collection_folders(number)), items
        )
        verified = (CopiedObject(item.key, item.source_etag, "CRC64NVME:AAAAAAAAAAA=") for item in items)
        write_verified(run, ATTEMPT, index, verified)
        names.append(name)
    everything = CopyCheck(
        complete=tuple(range(collections)),
        missing_source=(),
        incomplete=(),
        object_count=collections * objects,
        size_bytes=0,
        deleted_count=0,
    )
    run.write(f"copy/{ATTEMPT}/r1/verification.json", everything)
    return BackupPlan(
        request=BackupRequest(),
        backup_name=layout.name,
        backup_id="bench",
        execution_arn="arn:aws:states:eu-west-1:123456789012:execution:bench:bench",
        started_at=BEGUN,
        source=Source(milvus_version="v2.3.5", bucket="milvus", root_path="files"),
        databases=(DatabaseDescription(name="default"),),
        collections=tuple(names),
    )


def measure[Result](what: str, work: Callable[[], Result]) -> Result:
    """Print how long something takes and, from a second turn that is slow for it, what memory it needs at most."""
    begun = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - begun
    del result
    tracemalloc.start()
    result = work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{what}: {seconds:.2f} s, at most {peak / 1024**2:.0f} MiB")
    return result


def publish(run: Workspace, plan: BackupPlan, layout: BackupLayout, report: Callable[[Manifest], bytes]) -> Manifest:
    """Publish a run."""
    finished = BEGUN + timedelta(hours=1)
    manifest = publish_backup(run, plan, layout, ATTEMPT, 1, finished_at=finished, render_report=report)
    if manifest is None:
        msg = "there was not enough time"
        raise SystemExit(msg)
    return manifest


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collections", type=int, default=100)
    parser.add_argument("--objects", type=int, default=10_000, help="of each collection (default: %(default)s)")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        run = Workspace(cast("ObjectStore", DiskStore(Path(folder))), "backups", "bench", "backup-bench")
        layout = BackupLayout("bench", "bench")
        plan = write_run(run, layout, options.collections, options.objects)
        manifest = measure("publishing", lambda: publish(run, plan, layout, lambda _: b""))
        page = measure("report", lambda: render_backup_report(manifest, "s3://backups/bench/bench/"))
        print(f"the report has {len(page):,} bytes")


if __name__ == "__main__":
    main()
