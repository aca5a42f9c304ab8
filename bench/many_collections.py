"""How long each function takes where there are many small collections, on an S3 that takes 30 ms for each request.

    export PYTHONPATH=layers/shared:functions:.
    .venv/bin/python -m bench.many_collections --collections 150 1000 --before CHECKOUT --before-collections 150 300

A full backup of a synthetic instance, and a restore of all of it under other names, by the handlers in the state
machines' order. S3 is in memory, and answers any number of requests at a time, each after `--latency`; Milvus answers
at once. Each size of each build is a process of its own. A Map's calls are made one after the other: what is added up
is what is paid for.

Told are the wall time of all calls of a function and of its longest one, the processor time, the requests of S3, and
wall time by latency and collection: how many requests each collection waits for, one after the other. Waiting takes
no processor, so that these times mean something on a machine that does other work, as long as the processor time is a
small part of them.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, override
from unittest.mock import patch

from advance_restore import handler as advance_restore
from clean_up_restore import handler as clean_up_restore
from copy_batch import handler as copy_batch
from plan_copy import handler as plan_copy
from prepare_backup import handler as prepare_backup
from prepare_restore import handler as prepare_restore
from publish_backup import handler as publish_backup
from report_restore import handler as report_restore
from rich.console import Console
from rich.table import Table
from snapshot_batch import handler as snapshot_batch
from tend_pauses import handler as tend_pauses
from verify_backup import handler as verify_backup
from verify_copy import handler as verify_copy

from bench.counting_store import CountingStore
from bench.figures import Row, write_run
from bench.instance import ENVIRONMENT, Instance, Json
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.model.collections import (
    CollectionDescription,
    ImportJobState,
    ImportStatus,
    ImportTask,
    Segment,
)
from milvus_vault.ports import Importer
from milvus_vault.runtime import logger, metrics
from tests.support.lambda_context import Invocation
from tests.support.memory_database import InMemoryDatabase

BEGUN_AT = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
BACKUP = "arn:aws:states:us-east-1:000000000000:execution:backup:b"
RESTORE = "arn:aws:states:us-east-1:000000000000:execution:restore:r"
_ROWS = 1000


class Milvus(Instance):
    """An instance to which collections can be restored beside those that it has."""

    @override
    def list_collections(self, database: str) -> dict[str, int]:
        return super().list_collections(database) | InMemoryDatabase.list_collections(self, database)

    @override
    def collection_id(self, database: str, name: str) -> int | None:
        number = super().collection_id(database, name)
        return InMemoryDatabase.collection_id(self, database, name) if number is None else number

    @override
    def describe_collection(self, database: str, name: str) -> CollectionDescription:
        is_original = super().collection_id(database, name) is not None
        kind = Instance if is_original else InMemoryDatabase
        return kind.describe_collection(self, database, name)

    @override
    def list_segments(self, database: str, name: str) -> list[Segment]:
        is_original = super().collection_id(database, name) is not None
        return super().list_segments(database, name) if is_original else []


class Imports(Importer):
    """Import jobs that have ended well as soon as they are asked for."""

    @property
    @override
    def pairs_a_job(self) -> int:
        return 64

    @override
    def start_import(self, database: str, name: str, task: ImportTask) -> str | None:
        return f"{len(task.pairs)} {name}"

    @override
    def import_state(self, job_id: str) -> ImportJobState:
        pairs, _, _ = job_id.partition(" ")
        return ImportJobState(status=ImportStatus.COMPLETED, row_count=int(pairs) * _ROWS, percent=100)

    @override
    def find_import(self, database: str, name: str, task: ImportTask) -> str | None:
        return None


@dataclass
class Took:
    """What the calls of a function took."""

    calls: int = 0
    seconds: float = 0
    longest_seconds: float = 0
    cpu_seconds: float = 0
    requests: int = 0


class Deployment:
    """A deployment, and what its functions took."""

    def __init__(self, store: CountingStore, collections: int, objects: int) -> None:
        self.store = store
        self.milvus = Milvus(self.store, collections, collections * objects)
        self.took: dict[str, Took] = defaultdict(Took)

    def call(self, name: str, module: Any, event: Json, context: Invocation | None = None) -> Json:
        """Call a handler."""
        requests, began, cpu = self.store.requests.total(), time.perf_counter(), time.process_time()
        result: Json = module.handler(event, context or Invocation())
        took, seconds = self.took[name], time.perf_counter() - began
        took.calls += 1
        took.seconds += seconds
        took.longest_seconds = max(took.longest_seconds, seconds)
        took.cpu_seconds += time.process_time() - cpu
        took.requests += self.store.requests.total() - requests
        return result

    def back_up(self) -> None:
        """Make a full backup."""
        turn = self.copy_all()
        while not (published := self.publish(turn))["is_done"]:
            pass
        self.call("TendPauses", tend_pauses, {"ending": BACKUP})
        if published["published"]["status"] != "complete":
            raise SystemExit(str(published))

    def copy_all(self, **request: Any) -> Json:
        """Do of a backup what comes before it is published, and return which turn it is."""
        execution = {"arn": BACKUP, "started_at": BEGUN_AT}
        event = {"execution": execution, "request": {"backup_name": "b", **request}}
        plan = self.call("PrepareBackup", prepare_backup, event)
        turn = {"run": plan["run"], "attempt": plan["attempt"], "round": 1}
        for batch in plan["round"]["batches"]:
            self.call("SnapshotBatch", snapshot_batch, turn | {"batch": batch})
        self._copy(turn, "backup")
        return turn

    def publish(self, turn: Json, context: Invocation | None = None) -> Json:
        """Call PublishBackup."""
        return self.call("PublishBackup", publish_backup, turn, context)

    def verify(self) -> None:
        """Verify the backup."""
        execution = {"arn": "arn:aws:states:us-east-1:000000000000:execution:verify:v", "started_at": BEGUN_AT}
        event = {"execution": execution, "request": {"backup_name": "b"}}
        while not (found := self.call("VerifyBackup", verify_backup, event))["is_done"]:
            pass
        if found["status"] != "intact":
            raise SystemExit(str(found))

    def prepare_restore(self, **more: Any) -> Json:
        """Call PrepareRestore."""
        request = {"backup_name": "b", "suffix": "_again", **more}
        event = {"execution": {"arn": RESTORE, "started_at": BEGUN_AT}, "request": request}
        return self.call("PrepareRestore", prepare_restore, event)

    def restore(self) -> None:
        """Restore all of it."""
        step = self.fill_targets()
        self.call("CleanUpRestore", clean_up_restore, step)
        report = self.report(step)
        if report["status"] != "complete":
            raise SystemExit(str(report))

    def report(self, step: Json) -> Json:
        """Call ReportRestore."""
        return self.call("ReportRestore", report_restore, step)

    def fill_targets(self) -> Json:
        """Do of a restore what comes before its clean-up, and return what its last functions are given."""
        plan = self.prepare_restore()
        turn = {"run": plan["run"], "attempt": plan["attempt"], "round": 1}
        self._copy(turn, "restore")
        step = {"run": plan["run"], "execution_arn": RESTORE}
        while not self.call("AdvanceRestore", advance_restore, step)["is_done"]:
            pass
        return step

    def _copy(self, turn: Json, purpose: str) -> None:
        planned = self.call("PlanCopy", plan_copy, turn)
        for batch in json.loads(self.store.get(planned["bucket"], planned["batches_key"])):
            self.call("CopyBatch", copy_batch, {"run": turn["run"], **batch})
        verified = self.call("VerifyCopy", verify_copy, turn | {"purpose": purpose})
        if verified["status"] != "complete":
            raise SystemExit(str(verified))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the functions find the store and the Milvus."""

        @contextmanager
        def connected(*_: object) -> Iterator[Milvus]:
            yield self.milvus

        @contextmanager
        def for_imports(*_: object) -> Iterator[tuple[Milvus, Imports]]:
            yield self.milvus, Imports()

        with ExitStack() as stack:
            stack.enter_context(patch.object(S3ObjectStore, "shared", lambda *_: self.store))
            stack.enter_context(patch.object(metrics, "add_metric"))
            for module in (prepare_backup, snapshot_batch, prepare_restore, clean_up_restore):
                stack.enter_context(patch.object(module, "connect_milvus", connected))
            stack.enter_context(patch.object(advance_restore, "connect_for_imports", for_imports))
            yield


def once(options: argparse.Namespace) -> None:
    """Do everything once, and print what it took as JSON."""
    deployment = Deployment(CountingStore(seconds=options.latency), options.collections[0], options.objects)
    with deployment.in_place():
        deployment.back_up()
        # A restore has functions that a backup has, too.
        backup, deployment.took = deployment.took, defaultdict(Took)
        if not options.backup_only:
            deployment.verify()
            deployment.restore()
    told = {"backup": backup, "restore": deployment.took}
    found = {run: {name: asdict(took) for name, took in functions.items()} for run, functions in told.items()}
    print(json.dumps({"took": found, "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


def measure(options: argparse.Namespace) -> None:
    """Measure each size with each build, and print a table of each."""
    here = Path(__file__).parent.parent
    sizes = [("this build", here, collections) for collections in options.collections]
    if options.before:
        sizes += [("before", options.before, collections) for collections in options.before_collections]
    rows = list[Row]()
    for name, checkout, collections in sizes:
        path = ":".join(str(folder) for folder in (checkout / "layers/shared", checkout / "functions", here))
        given = ["--objects", str(options.objects), "--latency", str(options.latency)]
        given += ["--collections", str(collections), *(["--backup-only"] if options.backup_only else [])]
        command = [sys.executable, "-m", "bench.many_collections", "--once", *given]
        told = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=True, stdout=subprocess.PIPE)
        found = json.loads(told.stdout)
        title = f"{name}, {collections} collections of {options.objects} objects, {options.latency * 1000:.0f} ms"
        for run, functions in found["took"].items():
            _print(f"{title}: {run}", functions, collections * options.latency)
        print(f"memory at most {found['rss_mb']} MB, with the store and the instance in it")
        size = {"build": name, "collections": collections, "objects": options.objects, "latency": options.latency}
        rows += [
            size | {"run": run, "function": function} | {name: round(value, 3) for name, value in took.items()}
            for run, functions in found["took"].items()
            for function, took in functions.items()
        ]
    if options.json:
        write_run(options.json, "many_collections", rows)


def _print(title: str, functions: Json, unit_seconds: float) -> None:
    table = Table("function", "calls", "seconds", "longest call", "CPU seconds", "requests", "in a row", title=title)
    rows = [(name, Took(**found)) for name, found in functions.items()]
    parts = ("calls", "seconds", "cpu_seconds", "requests")
    whole = Took(**{part: sum(getattr(took, part) for _, took in rows) for part in parts})
    whole.longest_seconds = max((took.longest_seconds for _, took in rows), default=0)
    for name, took in [*rows, ("all", whole)]:
        table.add_row(
            name,
            f"{took.calls:,}",
            f"{took.seconds:.1f}",
            f"{took.longest_seconds:.1f}",
            f"{took.cpu_seconds:.1f}",
            f"{took.requests:,}",
            f"{took.seconds / unit_seconds:.2f}",
        )
    Console(width=120).print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collections", type=int, nargs="+", default=[150], help="sizes (default: 150)")
    parser.add_argument("--objects", type=int, default=10, help="of each collection (default: %(default)s)")
    parser.add_argument("--latency", type=float, default=0.03, help="seconds of a request (default: %(default)s)")
    parser.add_argument("--before", type=Path, help="another checkout")
    parser.add_argument("--before-collections", type=int, nargs="+", default=[300], help="its sizes (default: 300)")
    parser.add_argument("--backup-only", action="store_true", help="neither verify nor restore")
    parser.add_argument("--json", type=Path, help="write the figures to this file too, for bench.plots")
    parser.add_argument("--once", action="store_true", help="measure one size of this build, and print JSON")
    options = parser.parse_args(arguments)
    os.environ.update(ENVIRONMENT)
    logger.setLevel("CRITICAL")
    (once if options.once else measure)(options)


if __name__ == "__main__":
    main()
