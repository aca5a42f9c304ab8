"""How long a restore of twenty collections takes of which one has half of all bytes, with this build and another one.

    python -m bench.unequal [--before FOLDER] [--version 2.5.27] [--segments 60] [--copies-per-second 5]

`FOLDER` is what `sam build` made of another revision (its .aws-sam/build). Both restore the same backup, one after the
other and as often as `--turns` says, on the local stack's machines and functions; the median counts. Each also restores
the largest collection alone: what all of them take at least, however well they go side by side. With `--version`
the target is the tests' protocol server at the pace of a real one of that version; without, the real Milvus 2.3.5.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
from pymilvus import DataType, MilvusClient
from rich.console import Console
from rich.table import Table

from bench.paced_s3 import paced
from local.aws import Ministack
from local.milvus import Milvus
from local.processes import LOOPBACK, free_ports
from local.stack import BUILD_FOLDER, QUIET, Deployment, MilvusServer, deploy
from tests.support.milvus_server.core import Settings
from tests.support.milvus_server.server import MilvusServer as ProtocolServer
from tests.support.milvus_server.versions import VERSIONS

COLLECTIONS = 20
DIMENSIONS = 64
_NEVER = 10**6
_PATIENCE_SECONDS = 1800


def main() -> None:
    """Back up once, restore with each build, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="the build folder of another revision")
    parser.add_argument("--version", choices=list(VERSIONS), help="of the protocol server; the real 2.3.5 without")
    parser.add_argument("--segments", type=int, default=60, help="of all collections together, half of them in one")
    parser.add_argument("--partitions", type=int, default=1, help="of the largest: each is an import job on 2.3.5")
    parser.add_argument("--copies-per-second", type=float, help="how many S3 makes; as many as the emulator without")
    parser.add_argument("--batch-objects", type=int, default=1000, help="in a batch of copies, as in the template")
    parser.add_argument("--concurrency", type=int, default=16, help="batches that are copied at a time")
    parser.add_argument("--turns", type=int, default=1, help="how often each build restores")
    arguments = parser.parse_args()
    builds = {"before": arguments.before} if arguments.before else {}
    builds["this build"] = BUILD_FOLDER
    seconds: dict[str, list[float]] = {name: [] for name in builds}
    alone: dict[str, list[float]] = {name: [] for name in builds}
    with ExitStack() as running:
        port = free_ports()
        rate = arguments.copies_per_second
        behind = f"http://{LOOPBACK}:{port}"
        environment = {"COPY_BATCH_OBJECTS": str(arguments.batch_objects)}
        if rate:
            environment["AWS_ENDPOINT_URL_S3"] = running.enter_context(paced(behind, rate))
        aws = running.enter_context(Ministack(port=port, environment=environment))
        source = running.enter_context(_server(aws, arguments.version, "source", speed=40))
        _fill(source.uri, arguments.segments, arguments.partitions)
        vault = deploy(aws, "source", source, QUIET | _bucket(aws))
        _run(vault, "BackupStateMachineArn", {"backup_name": "unequal"})
        for turn, (name, build) in product(range(arguments.turns), builds.items()):
            once = f"{name.partition(' ')[0]}{turn}"
            with _target(aws, arguments.version, once, source) as target:
                parameters = QUIET | _bucket(aws) | {"CopyConcurrency": str(arguments.concurrency)}
                vault = deploy(aws, name.replace(" ", "-"), target, parameters, build_folder=build)
                # Once before, so that no start of a function is in the time.
                warm = {"collections": ["default.c1"], "suffix": f"_{once}_warm"}
                largest = {"collections": ["default.c0"], "suffix": f"_{once}_alone"}
                _, took_alone, took = (
                    _run(vault, "RestoreStateMachineArn", {"backup_name": "unequal", "allow_version": True, **more})
                    for more in (warm, largest, {"suffix": f"_{once}"})
                )
                alone[name].append(took_alone)
                seconds[name].append(took)
                _drop_restored(target.uri)
    table = Table("build", "seconds", "median", "ratio", "the largest alone", "all / the largest alone")
    first = median(next(iter(seconds.values())))
    for name, each in seconds.items():
        least = median(alone[name])
        table.add_row(
            name,
            " ".join(f"{took:.1f}" for took in each),
            f"{median(each):.1f}",
            f"{median(each) / first:.2f}",
            f"{least:.1f}",
            f"{median(each) / least:.2f}",
        )
    Console().print(table)


def _bucket(aws: Ministack) -> dict[str, str]:
    """Return the parameter of a bucket for backups that all deployments share."""
    s3 = aws.client("s3")
    if "bench-backups" not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket="bench-backups")
    return {"BackupBucketName": "bench-backups"}


@contextmanager
def _server(aws: Ministack, version: str | None, bucket: str, *, speed: float) -> Iterator[MilvusServer]:
    if version is None:
        aws.client("s3").create_bucket(Bucket=bucket)
        with Milvus(aws.url, bucket=bucket, root_path="files") as milvus:
            yield milvus
    else:
        durations = replace(VERSIONS[version].durations, l0_compaction=_NEVER)
        settings = Settings(speed=speed, durations=durations)
        with ProtocolServer(aws.url, version=version, bucket=bucket, settings=settings) as server:
            yield server


@contextmanager
def _target(aws: Ministack, version: str | None, bucket: str, source: MilvusServer) -> Iterator[MilvusServer]:
    """Yield where to restore to: the real server itself, or a protocol server of its own."""
    if version is None:
        yield source
        return
    with _server(aws, version, bucket, speed=1) as server:
        yield server


def _fill(uri: str, segments: int, partitions: int) -> None:
    client, rng = MilvusClient(uri), np.random.default_rng(3)
    small = max(1, segments // 2 // (COLLECTIONS - 1))
    for number in range(COLLECTIONS):
        name, flushes = f"c{number}", segments // 2 if number == 0 else small
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSIONS)
        client.create_collection(name, schema=schema, num_shards=1)
        index = client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="L2")
        client.create_index(name, index)
        client.load_collection(name)
        names = ["_default", *(f"p{partition}" for partition in range(1, partitions if number == 0 else 1))]
        for partition in names[1:]:
            client.create_partition(name, partition)
        for flush in range(flushes):
            keys = range(1000 * flush, 1000 * flush + 200)
            rows = [{"id": key, "vector": rng.random(DIMENSIONS, dtype=np.float32)} for key in keys]
            client.insert(name, rows, partition_name=names[flush % len(names)])
            client.flush(name)
    client.close()


def _drop_restored(uri: str) -> None:
    """Let the next turn find the server as this one did."""
    client = MilvusClient(uri)
    for name in client.list_collections():
        if "_" in name:
            client.drop_collection(name)
    client.close()


def _run(vault: Deployment, machine: str, request: dict[str, object]) -> float:
    started = time.monotonic()
    described = vault.wait(vault.start(machine, request), timeout_seconds=_PATIENCE_SECONDS)
    if described["status"] != "SUCCEEDED":
        msg = f"{described['executionArn']}: {described.get('error')}: {described.get('cause')}"
        raise SystemExit(msg)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
