"""What thirty nightly backups cost a month: full ones, incremental ones, and what others take for the same copies.

    export PYTHONPATH=layers/shared:functions:.
    .venv/bin/python -m bench.cost [--objects 100000] [--tib 10] [--changed 0.02]

The real handlers back up a synthetic instance, and each of their requests is counted: a full backup, an incremental
one, and one of a night on which a share of the segments was replaced. What a function costs is its memory times how
long it takes: its processor time here, at the share of a vCPU that Lambda gives it (memory / 1,769 MB), and its
requests, of which so many are under way at a time, at 30 ms each. State transitions follow from the numbers of
collections and batches, as `bench.steps` counts them.

Prices are those of us-east-1 in 2026, for arm64 and S3 Standard, without free tiers, as AWS' price pages have them.
They change seldom, and differ by Region: look at them before you rely on a figure. Flushes, transfers between Regions
and KMS are not in it.
"""

import argparse
import math
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import yaml

from bench import incremental
from bench.counting_store import CountingStore
from bench.instance import DAY, ENVIRONMENT
from milvus_vault.model.names import COLLECTIONS_PER_BATCH
from milvus_vault.model.prices import (
    GB_MONTH_USD,
    GB_SECOND_USD,
    GET_USD,
    INVOCATION_USD,
    REQUEST_USD,
    TRANSITION_USD,
)
from milvus_vault.runtime import logger

# https://aws.amazon.com/fargate/pricing and .../datasync/pricing
VCPU_HOUR_USD, GB_HOUR_USD = 0.03238, 0.00356
BATCH_JOB_USD, BATCH_OBJECT_USD = 0.25, 1.00 / 1_000_000
DATASYNC_GB_USD = 0.0125

HOURS = 730.0
NIGHTS = 30

# Lambda, Developer Guide: a function has a whole vCPU at 1,769 MB.
VCPU_MB = 1769
REQUEST_SECONDS = 0.03
IN_FLIGHT = {"copy_batch": 64}
IN_FLIGHT_ELSE = 16

# A pod for milvus-backup that waits for its next backup.
POD_VCPU, POD_GB = 1, 2

BATCH_OBJECTS = 1000


@dataclass(slots=True)
class Meter:
    """What functions took."""

    store: CountingStore
    memory_mb: dict[str, int]
    gb_seconds: float = 0.0
    invocations: int = 0
    _before: list[float] = field(default_factory=list)

    @contextmanager
    def metered(self) -> Iterator[None]:
        """Measure the calls of handlers that are made meanwhile."""
        carry_out = incremental.call

        def measured(module: Any, event: dict[str, Any]) -> dict[str, Any]:
            requests, cpu = self.store.requests.total(), time.process_time()
            result = carry_out(module, event)
            self._add(
                module.__name__.partition(".")[0], time.process_time() - cpu, self.store.requests.total() - requests
            )
            return result

        with patch.object(incremental, "call", measured):
            yield

    def _add(self, function: str, cpu_seconds: float, requests: int) -> None:
        memory_mb = self.memory_mb[function]
        waited = requests * REQUEST_SECONDS / IN_FLIGHT.get(function, IN_FLIGHT_ELSE)
        seconds = cpu_seconds * max(1.0, VCPU_MB / memory_mb) + waited
        self.gb_seconds += memory_mb / 1024 * seconds
        self.invocations += 1


class Bill(NamedTuple):
    """What a backup costs, in US dollars."""

    requests: float
    lambda_: float
    transitions: float

    @property
    def total(self) -> float:
        """Return the sum."""
        return sum(self)


def main(arguments: Sequence[str] | None = None) -> None:
    """Count, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=100_000, help="of the instance (default: %(default)s)")
    parser.add_argument("--collections", type=int, default=100, help="of equal size (default: %(default)s)")
    parser.add_argument("--tib", type=float, default=10.0, help="of the instance (default: %(default)s)")
    parser.add_argument("--changed", type=float, default=0.02, help="share, each day (default: %(default)s)")
    options = parser.parse_args(arguments)
    os.environ.update(ENVIRONMENT)
    logger.setLevel("CRITICAL")
    full, first, night = _bills(options)
    _print(options, full, first, night)


def _bills(options: argparse.Namespace) -> tuple[Bill, Bill, Bill]:
    """Return what a full backup costs, a first incremental one, and one after a night."""
    bench = incremental.Bench(options.collections, options.objects, 0)
    full = _bill(bench, "full", options.collections, mode="full")
    bench.forget_runs()
    bench.started_at += DAY
    first = _bill(bench, "first", options.collections, mode="incremental")
    bench.forget_runs()
    bench.started_at += DAY
    bench.instance.replace(options.changed, bench.started_at)
    return full, first, _bill(bench, "night", options.collections, mode="incremental")


def _bill(bench: incremental.Bench, name: str, collections: int, **request: str) -> Bill:
    meter = Meter(bench.store, _memory())
    with meter.metered():
        cost = bench.back_up(name, **request)
    transitions = transitions_of(collections, math.ceil(cost.copies / BATCH_OBJECTS))
    return Bill(
        cost.priced * REQUEST_USD + cost.gets * GET_USD,
        meter.gb_seconds * GB_SECOND_USD + meter.invocations * INVOCATION_USD,
        transitions * TRANSITION_USD,
    )


def transitions_of(collections: int, batches: int) -> int:
    """Return the state transitions of a backup, as `bench.steps` counts them.

    Twelve, and one for each batch of collections; where PlanCopy does not copy the objects at once, four more and two
    for each batch of them.
    """
    return 12 + math.ceil(collections / COLLECTIONS_PER_BATCH) + (4 + 2 * batches if batches > 1 else 0)


def _memory() -> dict[str, int]:
    """Return the memory of each function by its folder, in MB, as the template has it."""

    class Loader(yaml.SafeLoader):
        """Reads CloudFormation's short forms as nothing."""

    Loader.add_multi_constructor("!", lambda *_: None)
    template = yaml.load(Path("template.yaml").read_text(), Loader)  # noqa: S506 - a safe loader
    default = template["Globals"]["Function"].get("MemorySize", 128)
    functions = (found["Properties"] for found in template["Resources"].values() if "Function" in found["Type"])
    return {Path(found["CodeUri"]).name: found.get("MemorySize", default) for found in functions if "CodeUri" in found}


def _print(options: argparse.Namespace, full: Bill, first: Bill, night: Bill) -> None:
    size_gb = options.tib * 1024
    kept_full = NIGHTS * size_gb * GB_MONTH_USD
    kept_pool = (1 + (NIGHTS - 1) * options.changed) * size_gb * GB_MONTH_USD
    copies = NIGHTS * options.objects * REQUEST_USD
    pod = (POD_VCPU * VCPU_HOUR_USD + POD_GB * GB_HOUR_USD) * HOURS
    batch = NIGHTS * (BATCH_JOB_USD + options.objects * BATCH_OBJECT_USD)
    incremental_run = first.total + (NIGHTS - 1) * night.total
    rows = (
        ("Milvus Vault, incremental", incremental_run, 0.0, kept_pool),
        ("Milvus Vault, full", NIGHTS * full.total, 0.0, kept_full),
        ("milvus-backup in a pod that is always there", copies, pod, kept_full),
        ("milvus-backup in a pod of a nightly job", copies, 0.0, kept_full),
        ("S3 Batch Operations, of the objects alone", copies, batch, kept_full),
        ("DataSync, of the objects alone", copies, NIGHTS * size_gb * DATASYNC_GB_USD, kept_full),
    )
    print(
        f"{options.objects:,} objects of {options.tib:g} TiB in {options.collections} collections, of which "
        f"{options.changed:.0%} are replaced each day; {NIGHTS} backups are kept. Python {platform.python_version()}, "
        f"{time.strftime('%Y-%m-%d')}.\n"
    )
    print("| a month | runs, USD | beside them, USD | storage, USD | in all |\n|---|---|---|---|---|")
    for name, runs, beside, kept in rows:
        print(f"| {name} | {runs:,.2f} | {beside:,.2f} | {kept:,.2f} | {runs + beside + kept:,.2f} |")
    print("\n| one backup | requests, USD | Lambda, USD | Step Functions, USD | in all |\n|---|---|---|---|---|")
    for name, bill in (("full", full), ("incremental, the first", first), ("incremental, a night later", night)):
        print(f"| {name} | {bill.requests:.4f} | {bill.lambda_:.4f} | {bill.transitions:.4f} | {bill.total:.4f} |")


if __name__ == "__main__":
    main()
