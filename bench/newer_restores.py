"""How long a restore into Milvus 2.4, 2.5 or 2.6 takes where its import jobs take as long as shipped.

    python -m bench.newer_restores [--version 2.5.27] [--collections 8] [--largest 10]

No real server of these versions is at hand: the tests' protocol server stands in, at the pace of a real one (a job
waits 14 to 20 s, however small). The functions run in this process, in the state machine's order and with its waits;
what Lambda and Step Functions take is not in the figure. Each collection has three partitions, rows in each, and
deletes of one partition and of all; the first has as many times the segments of another one as `--largest` says. It is
also restored alone: what all of them take at least, where none waits for another one.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any, override

import numpy as np
from pymilvus import DataType, MilvusClient

from local.aws import Ministack
from tests.support.milvus_server.core import Settings
from tests.support.milvus_server.server import MilvusServer
from tests.support.milvus_server.versions import VERSIONS
from tests.support.restoring import Restoring

PARTITIONS = ("_default", "p1", "p2")
ROWS_A_PARTITION = 200
_NEVER = 10**6
_QUIET = {"POWERTOOLS_METRICS_DISABLED": "true"}


class _Patient(Restoring):
    """Waits between two questions as the state machine does."""

    @override
    def _until_done(self, handler: Callable[..., Any], step: dict[str, Any]) -> None:
        while not (answer := self._call(handler, step))["is_done"]:
            time.sleep(answer["wait_seconds"])


def main() -> None:
    """Back up from a quick server, restore into one at a real one's pace, and print the time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", choices=list(VERSIONS), default="2.5.27", help="of both servers")
    parser.add_argument("--collections", type=int, default=8)
    parser.add_argument("--largest", type=int, default=1, help="segments of the first, in those of another one")
    arguments = parser.parse_args()
    with Ministack() as aws:
        with _server(aws, arguments.version, "source", speed=40) as source:
            _fill(source.uri, arguments.collections, arguments.largest)
            Restoring(aws.client("s3"), source, _QUIET).back_up("bench")
        with _server(aws, arguments.version, "target", speed=1) as target:
            patient = _Patient(aws.client("s3"), target, _QUIET)
            # The first one imports what is imported when it is used, and makes clients.
            warm = {"collections": ["default.c1"], "suffix": "_warm"}
            alone = {"collections": ["default.c0"], "suffix": "_alone"}
            seconds, before = [], 0
            for more in (warm, alone, {}):
                before = len(list(target.service.imports.all()))
                started = time.monotonic()
                report = patient.restore({"backup_name": "bench", "allow_version": True, **more})
                seconds.append(time.monotonic() - started)
            jobs = len(list(target.service.imports.all())) - before
    rows = sum(collection["row_count"] for collection in report["collections"])
    print(
        f"{report['status']}: {arguments.collections} collections, {rows} rows, {jobs} import jobs, "
        f"{seconds[2]:.1f} s, {seconds[2] / seconds[1]:.2f} times the first alone ({seconds[1]:.1f} s)"
    )


def _server(aws: Ministack, version: str, bucket: str, *, speed: float) -> MilvusServer:
    durations = replace(VERSIONS[version].durations, l0_compaction=_NEVER)
    settings = Settings(speed=speed, durations=durations)
    return MilvusServer(aws.url, version=version, bucket=bucket, settings=settings)


def _fill(uri: str, collections: int, largest: int) -> None:
    client, rng = MilvusClient(uri), np.random.default_rng(3)
    for name, flushes in ((f"c{number}", 1 if number else largest) for number in range(collections)):
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
        client.create_collection(name, schema=schema, num_shards=1)
        index = client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="L2")
        client.create_index(name, index)
        for number, partition in enumerate(PARTITIONS):
            if number:
                client.create_partition(name, partition)
        for flush, (number, partition) in product(range(flushes), enumerate(PARTITIONS)):
            keys = range(1000 * number + 10_000 * flush, 1000 * number + 10_000 * flush + ROWS_A_PARTITION)
            rows = [{"id": key, "vector": rng.random(4, dtype=np.float32)} for key in keys]
            client.insert(name, rows, partition_name=partition)
            if partition == PARTITIONS[-1]:
                client.flush(name)
        # Deletes of flushed rows: by key alone, so of all partitions, and of one.
        client.delete(name, ids=[1, 1001, 2001])
        client.delete(name, ids=[1005], partition_name="p1")
    client.close()


if __name__ == "__main__":
    main()
