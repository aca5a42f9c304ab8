"""Measure what staging a collection takes whose deletes are in many logs of level 0, composed and as it was before.

    PYTHONPATH=layers/shared python -m bench.folding --sizes 10x10 100x200 1000x20 1000x200

Before, each log was copied beside each segment, and above 20,000 copies the deletes were imported by themselves, by
another job that waits for all rows. The store is in memory: CPU is that of planning, composing, copying and verifying
without the client of S3, which takes its own for each request. Each line is a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import NamedTuple

from bench.counting_store import CountingStore
from bench.cutting import objects as delta_log
from milvus_vault.archive.contents import ArchivedCollection, ArchivedPartition, ArchivedSegment
from milvus_vault.copying.batches import BatchLimits
from milvus_vault.copying.engine import copy_batch
from milvus_vault.copying.plan import plan_copy
from milvus_vault.copying.verify import verify_copy
from milvus_vault.copying.working_files import CopyTarget, batch_name, round_folder, write_job, write_target
from milvus_vault.model.collections import (
    CollectionLayout,
    CollectionName,
    CollectionSchema,
    LoadState,
    SegmentLevel,
)
from milvus_vault.model.names import attempt_of
from milvus_vault.model.objects import ArchivedObject, CopyJob, ListedObject
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.restore.cutting import Cutting
from milvus_vault.restore.staging import CollectionImport, FoldLimits
from milvus_vault.restore.working_files import Cut, RestorePlan, Target, composed_folder, cut_name, target_name
from milvus_vault.settings import RestoreSettings
from milvus_vault.workspace import Workspace

ARN = "arn:aws:states:eu-west-1:123456789012:execution:restore:bench"
VAULT, MILVUS, STAGING = "vault", "milvus", "staging/restore-bench/7/"
LOGS_OF_A_SEGMENT = 10
COPIES_BEFORE = 20_000
WAYS = ("before", "composed")


class Size(NamedTuple):
    """How much there is."""

    segments: int
    logs: int
    """Of level 0, all of the one partition."""

    @classmethod
    def of(cls, text: str) -> "Size":
        """Return what `100x200` says."""
        segments, _, logs = text.partition("x")
        return cls(int(segments), int(logs))


class Measured(NamedTuple):
    """What staging took."""

    objects: int
    copies: int
    later_jobs: int
    """For deletes, when all rows are in."""
    requests: dict[str, int]
    composing_seconds: float
    """Of CPU, as all."""
    seconds: float
    peak_mib: float


def limits_of(way: str, size: Size) -> FoldLimits:
    """Return the limits of today, or those that have the effect of those before."""
    if way == "composed":
        settings = RestoreSettings()
        return FoldLimits(settings.fold_copies, settings.fold_segment_bytes)
    folds = size.segments * size.logs <= COPIES_BEFORE
    return FoldLimits(copies=COPIES_BEFORE, segment_bytes=RestoreSettings().fold_segment_bytes if folds else 0)


def fill(store: CountingStore, size: Size, deletes: int) -> tuple[ArchivedCollection, list[ArchivedObject]]:
    """Put a backup of a collection into the store."""
    found: list[ArchivedObject] = []
    bucket = store.bucket(VAULT)
    for segment in range(1, size.segments + 1):
        for field in range(100, 100 + LOGS_OF_A_SEGMENT):
            key = f"insert_log/7/1/{segment}/{field}/{segment * 1000 + field}"
            found.append(ArchivedObject(f"backup/{key}", f"files/{key}", 5000, "e" * 32))
            bucket.objects[f"backup/{key}"] = ListedObject(f"backup/{key}", 5000, "e" * 32)
    bucket.changed()
    level_zero = range(10**6, 10**6 + size.logs)
    for segment in level_zero:
        key = f"delta_log/7/1/{segment}/{segment}"
        body = delta_log(range(segment, segment + deletes))
        store.put(VAULT, f"backup/{key}", body)
        found.append(ArchivedObject(f"backup/{key}", f"files/{key}", len(body), bucket.documents[f"backup/{key}"].etag))
    segments = [ArchivedSegment(n, 1, n, 1000, SegmentLevel.L1, 0) for n in range(1, size.segments + 1)]
    segments += [ArchivedSegment(n, 1, n, 0, SegmentLevel.L0, 0) for n in level_zero]
    collection = ArchivedCollection(
        name=CollectionName(database="default", name="c"),
        collection_id=7,
        layout=CollectionLayout(collection_schema=CollectionSchema(name="c", fields=()), shards=1, consistency_level=0),
        indexes=(),
        aliases=(),
        load_state=LoadState.NOT_LOADED,
        replicas=0,
        partitions=(ArchivedPartition(1, "_default", False, tuple(segments)),),
        l0_segments=(),
        live_row_count=None,
        object_list=None,
    )
    return collection, found


def stage(way: str, size: Size, deletes: int) -> Measured:
    """Stage a collection, and return what that took."""
    store = CountingStore()
    collection, found = fill(store, size, deletes)
    run, attempt = Workspace(store, VAULT, "team", "restore-bench"), attempt_of(ARN)
    store.requests.clear()
    begun = time.process_time()
    whole = CollectionImport.of(collection, found, limits_of(way, size), composed=run.key(composed_folder(0)))
    later = whole.deletes_staged(STAGING, "")
    write_job(run, attempt, CopyJob(source_bucket=VAULT, destination_bucket=MILVUS, lists_objects=False))
    write_target(run, attempt, CopyTarget(index=0, name="c", folders=(STAGING,)), whole.staged_items(STAGING))
    target = Target(
        index=0,
        source=collection.name,
        name=collection.name,
        collection_id=7,
        layout=collection.layout,
        indexes=(),
        aliases=(),
        load_state=LoadState.NOT_LOADED,
        replicas=0,
        loaded_partitions=(),
        imports=whole.sources_staged(STAGING),
        deletes=later,
        live_row_count=None,
    )
    run.write(target_name(0), target)
    composing = time.process_time()
    if whole.compositions:
        cut = Cut(name=collection.name, end_timestamp=0, is_chosen=False, moment=1, compositions=whole.compositions)
        run.write(cut_name(0), cut)
        plan = RestorePlan(
            request=RestoreRequest(backup_name="backup"),
            execution_arn=ARN,
            started_at=datetime.now(UTC),
            backup_etag="e",
            backup_version="2.5.27",
            server_version="2.5.27",
            content_checked=True,
            is_staged=True,
            staging_folder=STAGING,
            cuts=(0,),
            targets=(collection.name,),
            databases=(),
        )
        Cutting(run, plan, MILVUS, ARN).cut_all()
    composed = time.process_time()
    planned = plan_copy(run, attempt, 1, BatchLimits(max_objects=1000, max_bytes=50 * 1024**3))
    for number in range(planned.batch_count):
        name = batch_name(round_folder(attempt, 1), number)
        copy_batch(run, name, threads=16, deadline_seconds_left=lambda: 900.0)
    if verify_copy(run, attempt, 1).complete != (0,):
        sys.exit("not all of it is staged")
    return Measured(
        objects=len(found),
        copies=store.requests["COPY"],
        later_jobs=len(later),
        requests=dict(store.requests),
        composing_seconds=composed - composing,
        seconds=time.process_time() - begun,
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def main() -> None:
    """Measure each size in each way, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m bench.folding"
    )
    parser.add_argument("--sizes", nargs="+", default=["10x10", "100x200", "1000x20", "1000x200"])
    parser.add_argument("--deletes", type=int, default=1000, help="in each log")
    parser.add_argument("--one", choices=WAYS, help="measure one way of the first size in this process, print JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(stage(options.one, Size.of(options.sizes[0]), options.deletes)))
        return
    print("| segments x logs | | copies | an object | later jobs | GET, PUT, LIST | CPU | of it composing | peak |")
    print("|---|---|---|---|---|---|---|---|---|")
    for text in options.sizes:
        for way in WAYS:
            command = [sys.executable, "-m", "bench.folding", "--one", way, "--sizes", text]
            done = subprocess.run(
                [*command, "--deletes", str(options.deletes)], check=True, stdout=subprocess.PIPE, text=True
            )
            found = Measured(*json.loads(done.stdout))
            cells = (
                text,
                way,
                f"{found.copies:,}",
                f"{found.copies / found.objects:.2f}",
                str(found.later_jobs),
                ", ".join(f"{found.requests.get(name, 0):,}" for name in ("GET", "PUT", "LIST")),
                f"{found.seconds:.2f} s",
                f"{found.composing_seconds:.2f} s",
                f"{found.peak_mib:.0f} MiB",
            )
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
