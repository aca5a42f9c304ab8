"""What it takes to find and delete what no backup lists, in a pool of a million objects that thirty backups list.

    export PYTHONPATH=layers/shared:.
    .venv/bin/python -m bench.pool [--objects 100000 300000 1000000] [--backups 30]

Each backup lists as many objects of one collection as the first; 2 % are others than the night before, and the oldest
backup is gone. A sweep goes from its first request to its last one, in a process of its own for each size. Memory is
all that the process had at its height (`getrusage`), with Python and what this bench needs itself, and at its
beginning. The lists lie in a file, the listing is made up as it goes.
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, override

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import POOL_FORMAT_VERSION, CollectionEntry, FileDigest, Manifest, Source
from milvus_vault.archive.pool import PooledKey, PoolLayout
from milvus_vault.archive.reference_writer import marker_file
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.objects import ListedObject
from milvus_vault.ports import Executions
from milvus_vault.retention.pool_sweep import PoolSweep
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore

BUCKET, PREFIX, GROUP = "backups", "nightly", "0123456789ab-470642820001452533"
FOLDER = PoolLayout(PREFIX).folder(GROUP)
BEGUN = datetime(2026, 11, 1, tzinfo=UTC)
MIB = 1 << 20


class Took(NamedTuple):
    """What a sweep took."""

    objects: int
    """Of a backup."""
    lines: int
    """In all lists together."""
    deleted: int
    cpu_seconds: float
    seconds: float
    began_with: int
    """KiB."""
    peak: int
    """KiB."""


class Nothing(Executions):
    """Nothing runs."""

    @override
    def status(self, execution_arn: str) -> str:
        return "SUCCEEDED"


class Lists(InMemoryObjectStore):
    """A bucket with the object lists of backups, each a piece of one file, since all lines are of the same length."""

    def __init__(self, path: Path, objects: int, backups: int) -> None:
        """Write the lists; the first backup is gone, and only its objects are there."""
        super().__init__(BUCKET)
        self.path, self.changed = path, objects // 50
        self.total = objects + backups * self.changed
        self.gone: set[str] = set()
        source = "files/insert_log/470642820001452533/470642820001452534/470642820001452545/100/470642820001452546"
        rest = f'"{source}",1048576,"0123456789abcdef0123456789abcdef","CRC64NVME:0123456789A="]'
        with path.open("w") as file:
            file.writelines(f'["{key}",{rest}\n' for key in self._pooled())
        width = path.stat().st_size // self.total
        self.size = objects * width
        self.starts: dict[str, int] = {}
        for night in range(1, backups + 1):
            self._publish(f"night{night:02}", night * self.changed * width, objects)

    def _pooled(self) -> Iterator[str]:
        for number in range(self.total):
            content = hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
            yield PoolLayout(PREFIX).key(PooledKey(GROUP, number, content, "01234567"))

    def _publish(self, name: str, start: int, objects: int) -> None:
        layout = BackupLayout(PREFIX, name)
        key = layout.object_list(1)
        self.starts[key] = start
        found = hashlib.sha256()
        for chunk in self.chunks(BUCKET, key, ""):
            found.update(chunk)
        nothing = FileDigest(key="meta/vault/collections/1.json", size_bytes=0, sha256="")
        lists = FileDigest(key=key.removeprefix(layout.root), size_bytes=self.size, sha256=found.hexdigest())
        entry = CollectionEntry(
            name=CollectionName(database="default", name="books"),
            collection_id=1,
            segment_count=0,
            row_count=0,
            live_row_count=None,
            object_count=objects,
            size_bytes=objects * MIB,
            document=nothing,
            objects=lists,
            group=GROUP,
        )
        manifest = Manifest(
            format_version=POOL_FORMAT_VERSION,
            backup_name=name,
            backup_id=name,
            created_by="bench",
            execution_arn=name,
            started_at=BEGUN,
            finished_at=BEGUN,
            mode="incremental",
            source=Source(milvus_version="v2.5.27", bucket="milvus", root_path="files"),
            databases=("default",),
            collections=(entry,),
            object_count=objects,
            size_bytes=objects * MIB,
            files=(),
        )
        body = manifest.model_dump_json().encode()
        self.put(BUCKET, layout.manifest, body)
        self.put(BUCKET, layout.marker, marker_file(manifest, body))

    @override
    def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        if prefix in self.starts:
            yield ListedObject(prefix, self.size, "")
        elif prefix == FOLDER:
            left = (key for key in self._pooled() if key not in self.gone and key > after)
            yield from (ListedObject(key, MIB, "", BEGUN) for key in left)
        else:
            yield from super().list_objects(bucket, prefix, after=after)

    @override
    def list_folders(self, bucket: str, prefix: str) -> Iterator[str]:
        yield from super().list_folders(bucket, prefix)
        if prefix == PoolLayout(PREFIX).root:
            yield GROUP

    @override
    def chunks(self, bucket: str, key: str, etag: str = "") -> Iterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(self.starts[key])
            for at in range(0, self.size, MIB):
                yield file.read(min(MIB, self.size - at))

    @override
    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        some = list(keys)
        self.gone |= {key for key in some if key.startswith(FOLDER)}
        super().delete(bucket, some)


def sweep(objects: int, backups: int) -> Took:
    """Sweep a pool, and return what that took."""
    with TemporaryDirectory() as folder:
        lists = Lists(Path(folder) / "lists", objects, backups)
        run = Workspace(lists, BUCKET, PREFIX, "prune-bench")
        lists.clock, before = (lambda: BEGUN + timedelta(days=backups)), _peak()
        began, cpu = time.perf_counter(), time.process_time()
        found = PoolSweep(run, Nothing(), "prune", timedelta(days=7), seconds_left=lambda: 900)
        is_done = found.sweep()
        took = time.process_time() - cpu, time.perf_counter() - began
    if not is_done or found.reasons:
        msg = f"not done: {found.reasons}"
        raise SystemExit(msg)
    return Took(objects, backups * objects, found.counts["objects"], *took, before, _peak())


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what sweeps of several sizes take, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--backups", type=int, default=30)
    parser.add_argument("--here", action="store_true", help="in this process, and as JSON")
    options = parser.parse_args(arguments)
    if options.here:
        print(json.dumps(sweep(options.objects[0], options.backups)))
        return
    last: Took | None = None
    for objects in options.objects:
        command = [sys.executable, "-m", "bench.pool", "--here", "--objects", str(objects)]
        command += ["--backups", str(options.backups)]
        took = Took(*json.loads(subprocess.run(command, env=os.environ, check=True, capture_output=True).stdout))
        print(
            f"{options.backups} lists of {took.objects:,} objects, {took.deleted:,} of the pool deleted: "
            f"{took.cpu_seconds:.0f} s of CPU ({took.seconds:.0f} s), {took.cpu_seconds / took.lines * 1e6:.2f} s a "
            f"million lines; {took.peak / 1024:.0f} MiB at most, {took.began_with / 1024:.0f} MiB before"
        )
        if last:
            slope = (took.peak - last.peak) * 1024 / (took.objects - last.objects)
            print(f"  {slope:.0f} bytes more for each object more")
        last = took


if __name__ == "__main__":
    main()
