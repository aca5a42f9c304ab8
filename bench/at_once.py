"""What copying a small round at once saves, beside planning, copying and verifying it in three functions.

    python -m bench.at_once [--latency SECONDS]

A store in memory that answers each request after so long, four collections, and the functions of `copying/` as the
handlers call them, both ways in turn. What the functions' own starts take, and the nested execution between them, is
not in it: the difference is in the pacer's first rate.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median

from plan_copy.handler import PACER
from rich.console import Console
from rich.table import Table

from milvus_vault.copying.at_once import copy_at_once
from milvus_vault.copying.batches import BatchLimits
from milvus_vault.copying.engine import copy_batch
from milvus_vault.copying.pacer import Pacer
from milvus_vault.copying.plan import plan_copy
from milvus_vault.copying.verify import verify_copy
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.copying.job import AN_HOUR, BACKUPS, SOURCE, Job

COLLECTIONS = 4
TURNS = 5
LIMITS = BatchLimits(max_objects=1000, max_bytes=50 * 1024**3)
THREADS = 64


def main() -> None:
    """Copy both ways, and print how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.03, help="seconds of each request (default: %(default)s)")
    latency = parser.parse_args().latency
    table = Table("objects", "in three functions, s", "at once, s", "share", "requests", "at once")
    for objects in (20, 100, 1000):
        steps, at_once = [], []
        for _ in range(TURNS):
            steps.append(_measure(objects, latency, _by_steps))
            at_once.append(_measure(objects, latency, _at_once))
        before, after = (median(seconds for seconds, _ in measured) for measured in (steps, at_once))
        counts = [str(measured[0][1]) for measured in (steps, at_once)]
        table.add_row(str(objects), f"{before:.2f}", f"{after:.2f}", f"{after / before:.2f}", *counts)
    Console().print(table)


def _measure(objects: int, latency: float, way: Callable[[Job], object]) -> tuple[float, int]:
    """Return how many seconds and requests one way takes."""
    job = Job(InMemoryObjectStore(SOURCE, BACKUPS))
    job.write_sources(**{f"t{index}": objects // COLLECTIONS for index in range(COLLECTIONS)})
    job.store.before = lambda *_: time.sleep(latency)
    job.store.requests.clear()
    started = time.monotonic()
    way(job)
    return time.monotonic() - started, job.store.requests.total()


def _by_steps(job: Job) -> None:
    plan = plan_copy(job.run, job.attempt, 1, LIMITS)
    for number in range(plan.batch_count):
        _copy(job, Pacer(), f"copy/{job.attempt}/r1/batch-{number}.jsonl", lambda: AN_HOUR)
    verify_copy(job.run, job.attempt, 1)


def _at_once(job: Job) -> None:
    copy_at_once(
        job.run,
        job.attempt,
        1,
        LIMITS,
        max_objects=1000,
        copy=partial(_copy, job, Pacer(start_rate=PACER.rate)),
        verify=lambda: verify_copy(job.run, job.attempt, 1),
        seconds_left=lambda: AN_HOUR,
    )


def _copy(job: Job, pacer: Pacer, batch: str, seconds_left: Callable[[], float]) -> None:
    copy_batch(job.run, batch, threads=THREADS, deadline_seconds_left=seconds_left, pacer=pacer)


if __name__ == "__main__":
    main()
