"""What functions take in memory and processor time with many objects: real handlers, synthetic listings.

    export PYTHONPATH=layers/shared:functions:.
    .venv/bin/python -m bench.objects --objects 100000 300000 1000000
    .venv/bin/python -m bench.objects --objects 100000 300000 --runs restore --before CHECKOUT
    .venv/bin/python -m bench.objects --objects 100000 --collections 100 --other-etags
    .venv/bin/python -m bench.objects --objects 50 5000 --collections 1 100 --runs backup

Each function has a process of its own, so that its peak is its own; what it reads and writes is on a disk. Listings are
made up as they are read, in S3's order, a segment of 50 objects after the other, and cost nothing but that. With
`--other-etags` copies have other ETags than their sources, as under KMS.

`backup` is a full backup, `incremental` one whose pool is empty, each from its first function to PublishBackup, with a
verification of it, and the first functions of its restore and its export. `again` is a backup of the same objects with
that one as its base, `restore` the staging of one, and `reference` the reading of a backup of milvus-backup, with which
each function begins that is given one. CopyBatch is left out: it has a thousand objects at a time.

A row is a function: seconds of processor time, user and system, and the largest resident set. Last come the bytes that
an object more costs, from each number of objects to the next.
"""

import argparse
import hashlib
import importlib
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any, cast, override
from unittest.mock import patch
from urllib.parse import quote, unquote

from bench.counting_store import CountingStore, Written
from bench.figures import Row, write_run
from bench.instance import BEGIN, DAY, ENVIRONMENT, FIELDS, MIB, Instance, Json, number_at
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.archive.layout import DELTA_LOG, BackupLayout, parse_log_key
from milvus_vault.archive.manifest import CollectionDocument
from milvus_vault.archive.pool import PooledKey, PoolLayout, content_of, group_of
from milvus_vault.archive.reference_reader import read_reference_archive
from milvus_vault.archive.reference_writer import FILES, CollectionTexts, ReferenceFiles
from milvus_vault.copying.batches import BatchLimits
from milvus_vault.copying.plan import plan_copy
from milvus_vault.copying.verify import incomplete_targets, verify_copy
from milvus_vault.copying.working_files import (
    CopyPart,
    CopyRecord,
    CopyTarget,
    read_batch,
    records_body,
    write_job,
    write_target,
)
from milvus_vault.errors import ObjectNotFoundError
from milvus_vault.model.collections import CollectionName, DatabaseDescription, Segment, SegmentLogs
from milvus_vault.model.objects import ArchivedObject, CopyItem, CopyJob, ListedObject
from milvus_vault.runtime import logger, metrics
from milvus_vault.workspace import Workspace
from tests.support.lambda_context import Invocation

LOGS_OF_A_FIELD = 5
OBJECTS_OF_A_SEGMENT = LOGS_OF_A_FIELD * len(FIELDS)
SEGMENTS_OF_A_PART = 256
_BACKING_UP = ("prepare_backup", "snapshot_batch", "plan_copy", "copy", "verify_copy")
_READING = ("verify_backup", "prepare_restore", "prepare_export")
STAGES = {
    "backup": (*_BACKING_UP, "publish_backup", *_READING),
    "incremental": (*_BACKING_UP, "publish_backup", *_READING),
    "again": ("prepare_backup", "snapshot_batch", "plan_copy", "verify_copy"),
    "restore": ("stage", "plan_copy", "copy", "look", "verify_copy"),
    "reference": ("write_reference", "read_reference"),
}
UNMEASURED = {"prepare_backup", "stage", "copy", "write_reference"}
_ID = re.compile(r"\d{18,}")
CHECKSUM = "CRC64NVME:AAAAAAAAAAA="


class Collections:
    """Collections of equal size, and the keys of their objects."""

    def __init__(self, collections: int, objects: int) -> None:
        """Say how many there are, of how many objects in all."""
        self.ids = {f"c{index:05}": number_at(BEGIN - 101 * DAY, 10 * index) for index in range(collections)}
        self._segments = objects // collections // OBJECTS_OF_A_SEGMENT

    def segments(self, collection: int, after: str = "") -> Iterator[int]:
        """Yield the IDs of the segments of a collection, in order, from that on of which a key is."""
        first = number_at(BEGIN - 100 * DAY, 1 + collection % 1000)
        numbers = range(first, first + 7 * self._segments, 7)
        of_key = next((number for number in map(int, _ID.findall(after)) if number in numbers), first)
        yield from numbers[numbers.index(of_key) :]

    def logs(self, collection: int, after: str = "") -> Iterator[tuple[int, str, str]]:
        """Yield segment, place below the folder of insert logs, and ETag of each log, in S3's order.

        Whoever lists behind a key is spared what lies in the segments before it, as by S3.
        """
        for segment in self.segments(collection, after):
            for field in sorted(FIELDS, key=str):
                for log in range(LOGS_OF_A_FIELD):
                    below = f"{collection}/1/{segment}/{field}/{segment + 10 * field + log}"
                    yield segment, below, f"{segment:020x}{field * LOGS_OF_A_FIELD + log:012x}"


class DiskStore(CountingStore):
    """Documents in a folder; objects of Milvus, and their copies, are made up while they are listed."""

    def __init__(self, folder: Path, there: Collections, *, other_etags: bool) -> None:
        """Say where documents lie, and which objects there are."""
        super().__init__()
        self._folder, self._there, self._other_etags = folder, there, other_etags

    def _path(self, bucket: str, key: str) -> Path:
        return self._folder / f"{bucket}:{quote(key, safe='')}"

    @override
    def _write(self, bucket: str, key: str, body: bytes) -> None:
        self._path(bucket, key).write_bytes(body)

    @override
    def put_in_parts(self, bucket: str, key: str, parts: Iterable[bytes]) -> None:
        with self._path(bucket, key).open("wb") as file:
            file.writelines(parts)

    @override
    def put_if_absent(self, bucket: str, key: str, body: bytes, **_: object) -> bool:
        if self._path(bucket, key).exists():
            return False
        self._write(bucket, key, body)
        return True

    @override
    def put_if_unchanged(self, bucket: str, key: str, body: bytes, etag: str, **_: object) -> bool:
        if self._find(bucket, key).etag != etag:
            return False
        self._write(bucket, key, body)
        return True

    @override
    def _find(self, bucket: str, key: str) -> Written:
        try:
            body = self._path(bucket, key).read_bytes()
        except FileNotFoundError:
            raise ObjectNotFoundError(key, hint="") from None
        return Written(body, hashlib.md5(body, usedforsecurity=False).hexdigest(), datetime.now(UTC))

    @override
    def chunks(self, bucket: str, key: str, etag: str = "") -> Iterator[bytes]:
        try:
            with self._path(bucket, key).open("rb") as file:
                while piece := file.read(MIB):
                    yield piece
        except FileNotFoundError:
            raise ObjectNotFoundError(key, hint="") from None

    @override
    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        for key in keys:
            self._path(bucket, key).unlink(missing_ok=True)

    @override
    def list_folders(self, bucket: str, prefix: str) -> Iterator[str]:
        below = (key.removeprefix(prefix) for key in self._documents(bucket, prefix))
        yield from sorted({name.partition("/")[0] for name in below if "/" in name})

    def _documents(self, bucket: str, prefix: str) -> list[str]:
        start = f"{bucket}:{quote(prefix, safe='')}"
        names = (entry.name for entry in os.scandir(self._folder))
        return sorted(unquote(name.removeprefix(f"{bucket}:")) for name in names if name.startswith(start))

    @override
    def list_objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        documents = self._documents(bucket, prefix)
        if documents:
            for key in documents:
                size = self._path(bucket, key).stat().st_size
                yield ListedObject(key, size, "etag", datetime.now(UTC))
            return
        for key, etag in self._made_up(bucket, prefix, after):
            if key.startswith(prefix) and key > after:
                yield ListedObject(key, MIB, etag, BEGIN)

    def _made_up(self, bucket: str, prefix: str, after: str) -> Iterator[tuple[str, str]]:
        """Yield keys and ETags of what may lie below a prefix."""
        for number in (number for number in self._there.ids.values() if str(number) in prefix):
            if bucket == "milvus" and prefix.startswith("files/insert_log/"):
                yield from ((f"files/insert_log/{below}", etag) for _, below, etag in self._there.logs(number, after))
            elif (self._folder / "is_copied").exists() and DELTA_LOG not in prefix:
                yield from self._copies(prefix, number, after)

    def _copies(self, prefix: str, collection: int, after: str) -> Iterator[tuple[str, str]]:
        if "/.pool/" in prefix:
            yield from self._pooled(collection, after)
        elif prefix.startswith("staging/"):
            for item in staged(self._there, collection):
                yield item.key, self.copied_etag(item.source_etag)
        else:
            layout = BackupLayout("nightly", "bench_backup")
            for _, below, etag in self._there.logs(collection, after):
                if log := parse_log_key(f"files/insert_log/{below}"):
                    yield layout.log(log), self.copied_etag(etag)

    def _pooled(self, collection: int, after: str) -> Iterator[tuple[str, str]]:
        layout, attempt = PoolLayout("nightly"), (self._folder / "is_copied").read_text()
        group, here, of = group_of("milvus", "files", collection), list[tuple[str, str]](), 0
        for segment, below, etag in self._there.logs(collection, after):
            if segment != of:
                yield from sorted(here)
                here, of = [], segment
            content = content_of("milvus", ListedObject(f"files/insert_log/{below}", MIB, etag))
            here.append((layout.key(PooledKey(group, segment, content, attempt)), self.copied_etag(etag)))
        yield from sorted(here)

    def copied_etag(self, etag: str) -> str:
        """Return the ETag of the copy of an object."""
        return etag[:-1] + "k" if self._other_etags else etag


def staged(there: Collections, collection: int) -> Iterator[CopyItem]:
    """Yield what a restore stages of a collection, in the order of its imports."""
    segments: dict[int, int] = {}
    for segment, below, etag in there.logs(collection):
        part = segments.setdefault(segment, len(segments)) // SEGMENTS_OF_A_PART
        numbers = below.split("/")
        key = f"staging/restore-b/{collection}/insert_log/{collection}/1/{part:04}/{'/'.join(numbers[2:])}"
        yield CopyItem(f"nightly/b/binlogs/insert_log/{below}", key, MIB, etag)


class ManyObjects(Instance):
    """A Milvus with these collections."""

    def __init__(self, store: CountingStore, there: Collections) -> None:
        """Make it."""
        super().__init__(store, 0, 0)
        self._ids, self._there = there.ids, there

    @override
    def list_segments(self, database: str, name: str) -> list[Segment]:
        numbers = self._there.segments(self._ids[name])
        return [Segment(segment_id=number, partition_id=1, row_count=1000) for number in numbers]

    @override
    def describe_segments(
        self, database: str, collection_id: int, segment_ids: Sequence[int]
    ) -> dict[int, SegmentLogs]:
        # As `Collections.logs` numbers them, and as servers from 2.5.8 on tell it.
        return {
            segment: SegmentLogs(
                virtual_channel=f"by-dev-rootcoord-dml_0_{collection_id}v0",
                insert_logs=frozenset((f, segment + 10 * f + n) for f in FIELDS for n in range(LOGS_OF_A_FIELD)),
                delta_logs=frozenset(),
            )
            for segment in segment_ids
        }


class Stage:
    """One function of a run, in a process of its own."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._what, self._folder = options.what, options.folder
        self._there = Collections(options.collections[0], options.objects[0])
        self.store = DiskStore(options.folder, self._there, other_etags=options.other_etags)
        self._memory = options.folder / "memory.json"
        self._arn = f"arn:aws:states:us-east-1:000000000000:execution:backup:{options.what}"

    def run(self, name: str) -> None:
        """Run it."""
        own: dict[str, Callable[[], object]] = {
            "copy": self._copy,
            "stage": self._stage,
            "look": self._look,
            "write_reference": self._write_reference,
            "read_reference": self._read_reference,
        }
        if name in own:
            own[name]()
        elif self._what == "restore":
            of_restore = {"plan_copy": self._plan, "verify_copy": self._verify}
            of_restore[name]()
        else:
            self._call(name)

    def _remembered(self) -> Json:
        return cast("Json", json.loads(self._memory.read_text()))

    def _call(self, name: str) -> None:
        handler = importlib.import_module(f"{name}.handler")
        # The older of two backups is the other's base.
        started = BEGIN + DAY * (self._what == "again")
        if name == "prepare_backup":
            mode = "full" if self._what == "backup" else "incremental"
            event: Json = {
                "execution": {"arn": self._arn, "started_at": started.isoformat()},
                "request": {"backup_name": f"bench_{self._what}", "mode": mode},
            }
            self._memory.write_text(json.dumps(self._invoke(handler, event)))
            return
        if name in _READING:
            self._read(name, handler)
            return
        plan = self._remembered()
        turn = {"run": plan["run"], "attempt": plan["attempt"], "round": 1}
        if name == "snapshot_batch":
            for batch in plan["round"]["batches"]:
                self._invoke(handler, turn | {"batch": batch})
            return
        purpose = {"purpose": "backup"} if name == "verify_copy" else {}
        result = self._invoke(handler, turn | purpose)
        if name == "verify_copy" and result["status"] != "complete":
            msg = f"{name}: {result}"
            raise SystemExit(msg)

    def _read(self, name: str, handler: Any) -> None:
        """Verify the backup, or do the first of what a restore or an export does."""
        more = {
            "prepare_restore": {"suffix": f"_{self._what}"},
            "prepare_export": {"export_name": f"exported_{self._what}"},
        }
        event: Json = {
            "execution": {"arn": f"{self._arn}-{name}", "started_at": (BEGIN + 3 * DAY).isoformat()},
            "request": {"backup_name": f"bench_{self._what}", **more.get(name, {})},
        }
        found = self._invoke(handler, event)
        if name == "verify_backup" and found["status"] != "intact":
            msg = f"{name}: {found}"
            raise SystemExit(msg)

    def _invoke(self, handler: Any, event: Json) -> Json:
        @contextmanager
        def connected(*_: object) -> Iterator[Instance]:
            yield ManyObjects(self.store, self._there)

        with patch.object(S3ObjectStore, "shared", lambda *_: self.store), patch.object(metrics, "add_metric"):
            if hasattr(handler, "connect_milvus"):
                with patch.object(handler, "connect_milvus", connected):
                    return cast("Json", handler.handler(event, Invocation()))
            return cast("Json", handler.handler(event, Invocation()))

    @property
    def _workspace(self) -> Workspace:
        return Workspace(self.store, "backups", "nightly", self._remembered()["run"])

    def _copy(self) -> None:
        """Write what CopyBatch would have recorded of all batches."""
        run, attempt = self._workspace, self._remembered()["attempt"]
        folder = f"copy/{attempt}/r1/"
        for name in list(run.names(f"{folder}batch-")):
            items = read_batch(run, name)
            records = (
                CopyRecord(item.key, "copied", self.store.copied_etag(item.source_etag), CHECKSUM, item.source_etag)
                for item in items
            )
            number = name.removeprefix(f"{folder}batch-").removesuffix(".jsonl")
            size = sum(item.size_bytes for item in items)
            run.write_bytes(f"{folder}copied-{number}.{len(items)}.{size}.jsonl", records_body(records))
        (self._folder / "is_copied").write_text(attempt)

    def _stage(self) -> None:
        """Write what PrepareRestore would have written for the copying."""
        self._memory.write_text(json.dumps({"run": "restore-b", "attempt": "bench"}))
        run = self._workspace
        write_job(run, "bench", CopyJob(source_bucket="backups", destination_bucket="milvus", lists_objects=False))
        for index, (name, number) in enumerate(self._there.ids.items()):
            base = f"staging/restore-b/{number}/"
            parts = -(-sum(1 for _ in self._there.segments(number)) // SEGMENTS_OF_A_PART)
            target = CopyTarget(
                index=index,
                name=str(CollectionName(database="default", name=name)),
                folders=(base,),
                parts=tuple(CopyPart(prefixes=(f"{base}insert_log/{number}/1/{part:04}/",)) for part in range(parts)),
            )
            write_target(run, "bench", target, staged(self._there, number))

    def _plan(self) -> None:
        plan_copy(self._workspace, "bench", 1, BatchLimits(max_objects=1000, max_bytes=50 * 1024**3))

    def _verify(self) -> None:
        if found := verify_copy(self._workspace, "bench", 1).again:
            msg = f"not complete: {found}"
            raise SystemExit(msg)

    def _write_reference(self) -> None:
        """Write the metadata of a backup as milvus-backup does."""
        layout, milvus = BackupLayout("nightly", "bench_reference"), ManyObjects(self.store, self._there)
        with ExitStack() as stack:
            files: dict[str, IO[bytes]] = {name: stack.enter_context(TemporaryFile()) for name in FILES}
            for name, number in self._there.ids.items():
                keys = (parse_log_key(f"files/insert_log/{below}") for _, below, _ in self._there.logs(number))
                objects = (ArchivedObject(layout.log(key), f"files/{key}", MIB, "") for key in keys if key)
                document = CollectionDocument(
                    description=milvus.describe_collection("default", name),
                    segments=tuple(milvus.list_segments("default", name)),
                )
                CollectionTexts("bench", document, objects).write(files)
            told = ReferenceFiles(
                backup_id="bench",
                backup_name=layout.name,
                milvus_version="v2.5.27",
                databases=[DatabaseDescription(name="default")],
                size_bytes=0,
            )
            for name, file in files.items():
                file.seek(0)
                self.store.put_in_parts(
                    "backups", layout.meta(name), told.pieces(name, [iter(partial(file.read, MIB), b"")])
                )
        self.store.put("backups", layout.marker, b'{"name":"bench_reference","milvus_version":"v2.5.27"}')

    def _read_reference(self) -> None:
        """Read it, and go through its objects once."""
        layout = BackupLayout("nightly", "bench_reference")
        archive = read_reference_archive(self.store, "backups", layout, self.store.get("backups", layout.marker))
        found = sum(sum(1 for _ in collection.listed_objects) for collection in archive.collections)
        wanted = sum(sum(1 for _ in self._there.logs(number)) for number in self._there.ids.values())
        if found != wanted:
            msg = f"{found} objects instead of {wanted}"
            raise SystemExit(msg)

    def _look(self) -> None:
        """Look at what is copied as AdvanceRestore does, once all is."""
        if found := incomplete_targets(self._workspace, "bench", checked=set()):
            msg = f"not complete: {found}"
            raise SystemExit(msg)
        run = self._workspace
        run.delete(list(run.names("copy/bench/verified/")))


def measure(
    options: argparse.Namespace, objects: int, collections: int, checkout: Path
) -> dict[str, tuple[float, float]]:
    """Return processor seconds and peak MB of each function."""
    here = Path(__file__).parent.parent
    path = ":".join(str(folder) for folder in (checkout / "layers/shared", checkout / "functions", here))
    found: dict[str, tuple[float, float]] = {}
    given = ["--objects", str(objects), "--collections", str(collections)]
    given += ["--other-etags"] * options.other_etags
    with TemporaryDirectory(prefix="bench-objects-") as folder:
        for run in options.runs:
            for name in STAGES[run]:
                command = [sys.executable, "-m", "bench.objects", "--stage", name, "--what", run, "--folder", folder]
                environment = os.environ | {"PYTHONPATH": path}
                told = subprocess.run([*command, *given], env=environment, check=True, stdout=subprocess.PIPE)
                if name not in UNMEASURED:
                    seconds, peak = json.loads(told.stdout.splitlines()[-1])
                    found[f"{run}: {name}"] = seconds, peak
                    print(f"{objects:,} objects, {run}, {name}: {seconds:.1f} s of CPU, {peak:.0f} MB", flush=True)
            if run in {"backup", "restore"}:
                (Path(folder) / "is_copied").unlink()
    return found


def report(sizes: Sequence[int], found: Sequence[dict[str, tuple[float, float]]]) -> None:
    """Print a table of what was measured."""
    cells = " | ".join(f"{size:,}" for size in sizes)
    steps = " | ".join(f"KB an object, {a:,} to {b:,}" for a, b in pairwise(sizes))
    print(f"| function | {cells} | {steps} |\n|{'---|' * (2 * len(sizes))}")
    for name in found[0]:
        rows = " | ".join(f"{one[name][0]:.1f} s, {one[name][1]:.0f} MB" for one in found)
        growth = " | ".join(
            f"{(found[n + 1][name][1] - found[n][name][1]) * 1000 / (sizes[n + 1] - sizes[n]):.3f}"
            for n in range(len(sizes) - 1)
        )
        print(f"| {name} | {rows} | {growth} |")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[100_000, 300_000], help="(default: %(default)s)")
    parser.add_argument(
        "--collections", type=int, nargs="+", default=[1], help="of equal size, for all or each (default: %(default)s)"
    )
    parser.add_argument("--runs", nargs="+", choices=STAGES, default=list(STAGES), help="(default: all)")
    parser.add_argument("--other-etags", action="store_true", help="copies have other ETags than their sources")
    parser.add_argument("--before", type=Path, help="another checkout, which is measured as well")
    parser.add_argument("--json", type=Path, help="write the figures to this file too, for bench.plots")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--what", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.stage:
        os.environ.update(ENVIRONMENT)
        logger.setLevel("CRITICAL")
        Stage(options).run(options.stage)
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6]))
        return
    collections = options.collections * (len(options.objects) if len(options.collections) == 1 else 1)
    if len(collections) != len(options.objects):
        parser.error("--collections has one number, or one for each of --objects")
    sizes = list(zip(options.objects, collections, strict=True))
    here = Path(__file__).parent.parent
    checkouts = {"before": options.before} if options.before else {}
    rows = list[Row]()
    for name, checkout in (checkouts | {"this build": here}).items():
        print(f"## {name}")
        found = {size: measure(options, *size, checkout) for size in sizes}
        report(options.objects, list(found.values()))
        rows += [
            {"build": name, "objects": objects, "collections": collections, "function": function}
            | {"cpu_seconds": round(seconds, 2), "peak_mb": round(peak, 1)}
            for (objects, collections), functions in found.items()
            for function, (seconds, peak) in functions.items()
        ]
    if options.json:
        write_run(options.json, "objects", rows)


if __name__ == "__main__":
    main()
