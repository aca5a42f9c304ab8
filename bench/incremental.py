"""What backups take in requests of S3, bytes and time where little changes: synthetic instances, real handlers.

    export PYTHONPATH=layers/shared:functions:.
    .venv/bin/python -m bench.incremental unchanged --objects 100000
    .venv/bin/python -m bench.incremental nights --objects 100000 --nights 30
    .venv/bin/python -m bench.incremental full --objects 100000 --before CHECKOUT --turns 3

`unchanged`: a second incremental backup of an instance to which nothing was written, beside the first. `nights`: one
each night, while 2 % of the segments are replaced by new ones each day, beside one full backup. `full`: full backups of
this build and of another checkout, in turn.

All functions run in this process, one after the other, in the state machine's order; S3 and Milvus are in memory. S3
answers at once, or makes as many copies a second as `--copies-per-second` says. Priced is what AWS charges as PUT,
COPY, POST and LIST. A GET costs a twelfth of one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from copy_batch import handler as copy_batch
from plan_copy import handler as plan_copy
from prepare_backup import handler as prepare_backup
from publish_backup import handler as publish_backup
from snapshot_batch import handler as snapshot_batch
from tend_pauses import handler as tend_pauses
from verify_copy import handler as verify_copy

from bench.counting_store import PRICED, CountingStore
from bench.instance import BEGIN, DAY, ENVIRONMENT, Instance, Json
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.inspection.estimate import GB
from milvus_vault.model.prices import GB_MONTH_USD, REQUEST_USD
from milvus_vault.runtime import logger, metrics
from tests.support.lambda_context import Invocation


class Cost(NamedTuple):
    """What a backup took."""

    priced: float
    copies: float
    lists: float
    gets: float
    copied_bytes: float
    seconds: float
    cpu_seconds: float

    @property
    def usd(self) -> float:
        """Return what `estimate` says of the requests, and of a month of what was stored."""
        return self.priced * REQUEST_USD + self.copied_bytes / GB * GB_MONTH_USD

    def plus(self, other: "Cost") -> "Cost":
        """Return both together."""
        return Cost(*(mine + others for mine, others in zip(self, other, strict=True)))


class Bench:
    """An instance, and a deployment that backs it up."""

    def __init__(self, collections: int, objects: int, copies_per_second: float) -> None:
        """Fill the instance."""
        self.store = CountingStore(copies_per_second)
        self.instance = Instance(self.store, collections, objects)
        self.started_at = BEGIN

    def back_up(self, name: str, **request: str) -> Cost:
        """Make a backup, and return what it took."""
        requests, copied = self.store.requests.copy(), self.store.copied_bytes
        began, cpu = time.perf_counter(), time.process_time()
        # Measures of a hundred batches are printed, even where they are switched off.
        quiet = patch.object(metrics, "add_metric")
        with patch.object(S3ObjectStore, "shared", lambda *_: self.store), self.milvus(), quiet:
            self._run(name, request)
        cpu_seconds, seconds = time.process_time() - cpu, time.perf_counter() - began
        found = self.store.requests - requests
        return Cost(
            priced=sum(found[kind] for kind in PRICED),
            copies=found["COPY"],
            lists=found["LIST"],
            gets=found["GET"],
            copied_bytes=self.store.copied_bytes - copied,
            seconds=seconds,
            cpu_seconds=cpu_seconds,
        )

    def forget_runs(self) -> None:
        """Remove working files, as a sweep does after a week."""
        documents = self.store.bucket("backups").documents
        for key in [key for key in documents if key.startswith("nightly/.runs/")]:
            del documents[key]

    @contextmanager
    def milvus(self) -> Iterator[None]:
        """Let the functions find the instance."""

        @contextmanager
        def connected(*_: object) -> Iterator[Instance]:
            yield self.instance

        of = (patch.object(module, "connect_milvus", connected) for module in (prepare_backup, snapshot_batch))
        with next(of), next(of):
            yield

    def _run(self, name: str, request: Json) -> None:
        arn = f"arn:aws:states:us-east-1:000000000000:execution:backup:{name}"
        execution = {"arn": arn, "started_at": self.started_at.isoformat()}
        plan = call(prepare_backup, {"execution": execution, "request": {"backup_name": name, **request}})
        turn = {"run": plan["run"], "attempt": plan["attempt"]}
        for batch in plan["round"]["batches"]:
            call(snapshot_batch, turn | {"round": 1, "batch": batch})
        planned = call(plan_copy, turn | {"round": 1})
        if planned["batch_count"]:
            # The Map reads its list of items.
            for batch in json.loads(self.store.get(planned["bucket"], planned["batches_key"])):
                call(copy_batch, {"run": plan["run"], **batch})
        verified = call(verify_copy, turn | {"round": 1, "purpose": "backup"})
        published = call(publish_backup, turn | {"round": 1})["published"]
        call(tend_pauses, {"ending": arn})
        if verified["status"] != "complete" or published["status"] != "complete":
            msg = f"{name} is not complete: {verified} {published}"
            raise SystemExit(msg)


def call(module: Any, event: Json) -> Json:
    """Return what a function answers."""
    result: Json = module.handler(event, Invocation())
    return result


def _print(what: str, cost: Cost, beside: Cost | None = None) -> None:
    print(
        f"{what}: {cost.priced:,.0f} priced requests ({cost.copies:,.0f} copies, {cost.lists:,.0f} lists), "
        f"{cost.gets:,.0f} GETs, "
        f"{cost.copied_bytes / GB:.2f} GiB copied, {cost.usd:.4f} USD, "
        f"{cost.seconds:.1f} s, {cost.cpu_seconds:.1f} s of CPU"
    )
    if beside is not None:
        pairs = {"priced requests": (cost.priced, beside.priced), "GETs": (cost.gets, beside.gets)}
        pairs |= {"bytes": (cost.copied_bytes, beside.copied_bytes), "USD": (cost.usd, beside.usd)}
        pairs |= {"seconds": (cost.seconds, beside.seconds), "CPU": (cost.cpu_seconds, beside.cpu_seconds)}
        shares = ", ".join(f"{name} {mine / max(other, 1e-9):.4f}" for name, (mine, other) in pairs.items())
        print(f"  beside the first: {shares}")


def unchanged(options: argparse.Namespace) -> None:
    """Make two incremental backups of an instance to which nobody writes."""
    bench = Bench(options.collections, options.objects, options.copies_per_second)
    first = bench.back_up("first", mode="incremental")
    _print("first", first)
    bench.forget_runs()
    bench.started_at += DAY
    _print("second", bench.back_up("second", mode="incremental"), first)


def nights(options: argparse.Namespace) -> None:
    """Make an incremental backup each night, and a full one of the same instance before."""
    bench = Bench(options.collections, options.objects, options.copies_per_second)
    full = bench.back_up("full", mode="full")
    _print("one full backup", full)
    bench.forget_runs()
    total = Cost(0, 0, 0, 0, 0, 0, 0)
    for night in range(options.nights):
        bench.started_at += DAY
        if night:
            bench.instance.replace(options.changed, bench.started_at)
        cost = bench.back_up(f"night{night:02}", mode="incremental")
        total = total.plus(cost)
        _print(f"night {night + 1}", cost)
        bench.forget_runs()
    _print(f"{options.nights} nights", total, full)


def full(options: argparse.Namespace) -> None:
    """Make full backups with this build and another one, in turn, each in a process of its own."""
    here = Path(__file__).parent.parent
    checkouts = {"this build": here} | ({"before": options.before} if options.before else {})
    found: dict[str, list[Cost]] = {name: [] for name in checkouts}
    for _ in range(options.turns):
        for name, checkout in checkouts.items():
            path = ":".join(str(folder) for folder in (checkout / "layers/shared", checkout / "functions", here))
            given = ["--objects", str(options.objects), "--collections", str(options.collections)]
            command = [sys.executable, "-m", "bench.incremental", "once", *given]
            told = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=True, capture_output=True)
            found[name].append(Cost(*json.loads(told.stdout)))
            _print(name, found[name][-1])
    for name, costs in found.items():
        medians = (statistics.median(getattr(cost, what) for cost in costs) for what in ("seconds", "cpu_seconds"))
        print(f"{name}: median {', '.join(f'{seconds:.2f} s' for seconds in medians)} of CPU")


def once(options: argparse.Namespace) -> None:
    """Make one full backup, and print what it took as JSON."""
    # Not by its mode: a build that is older does not know of modes.
    print(json.dumps(Bench(options.collections, options.objects, options.copies_per_second).back_up("full")))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands: dict[str, Callable[[argparse.Namespace], None]] = {
        "unchanged": unchanged,
        "nights": nights,
        "full": full,
        "once": once,
    }
    parser.add_argument("what", choices=commands)
    parser.add_argument("--objects", type=int, default=100_000, help="of all collections (default: %(default)s)")
    parser.add_argument("--collections", type=int, default=1, help="of equal size (default: %(default)s)")
    parser.add_argument("--copies-per-second", type=float, default=0, help="0: all at once (default: %(default)s)")
    parser.add_argument("--nights", type=int, default=30, help="(default: %(default)s)")
    parser.add_argument("--changed", type=float, default=0.02, help="share, each day (default: %(default)s)")
    parser.add_argument("--before", type=Path, help="another checkout")
    parser.add_argument("--turns", type=int, default=3, help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    os.environ.update(ENVIRONMENT)
    logger.setLevel("CRITICAL")
    commands[options.what](options)


if __name__ == "__main__":
    main()
