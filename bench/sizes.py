"""A whole backup and a restore on the real Milvus at several sizes, by phase.

    PYTHONPATH=layers/shared:functions:. .venv/bin/python -m bench.sizes --megabytes 1 20 200

Each size is one collection of rows with vectors of 128 dimensions, flushed each 25,000 rows and indexed by IVF_FLAT,
in a Milvus 2.3.5 and an emulated AWS that both start for it. A backup and a restore of a small collection go before,
so that the starts of functions are not in the times. The collection is dropped before it is restored under its name,
and its rows are counted after.

A phase is a task or a wait of the state machine: the time from entering it to leaving it, added up where that is done
again. A restore has two branches, which copy and import at once, so that its phases may add up to more than the whole.
"""

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pymilvus import DataType, MilvusClient

from bench.figures import Row, write_run
from bench.steps import Steps, run_counted
from local.stack import QUIET, LocalStack

DIMENSIONS = 128
_ROW_BYTES = 8 + 4 * DIMENSIONS
_FLUSHED_ROWS, _INSERTED_ROWS = 25_000, 5_000
NAME, WARM = "rows", "warm"


class Taken(NamedTuple):
    """What one size took."""

    rows: int
    objects: int
    stored_mb: float
    backup: Steps
    restore: Steps


def main() -> None:
    """Measure each size, and print a table of phases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[1, 20, 200], help="of rows (default: 1 20 200)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    found = {megabytes: _measure(megabytes) for megabytes in options.megabytes}
    cells = [f"{megabytes} MB" for megabytes in found]
    print(f"| | {' | '.join(cells)} |\n|---|{'---|' * len(cells)}")
    _line("rows", [f"{taken.rows:,}" for taken in found.values()])
    _line("objects", [f"{taken.objects}" for taken in found.values()])
    _line("stored", [f"{taken.stored_mb:.1f} MB" for taken in found.values()])
    rows = list[Row]()
    for run in ("backup", "restore"):
        of = [getattr(taken, run) for taken in found.values()]
        _line(f"**{run}**", [f"**{steps.seconds:.1f} s**" for steps in of])
        for phase in dict.fromkeys(name for steps in of for name in steps.phases):
            _line(f"{run}: {phase}", [f"{steps.phases.get(phase, 0):.2f} s" for steps in of])
        _line(
            f"{run}: a second", [f"{taken.stored_mb / getattr(taken, run).seconds:.1f} MB" for taken in found.values()]
        )
        rows += [
            {"megabytes": megabytes, "run": run, "seconds": steps.seconds, "phases": dict(steps.phases)}
            for megabytes, steps in zip(found, of, strict=True)
        ]
    if options.json:
        write_run(options.json, "sizes", rows)


def _line(name: str, cells: list[str]) -> None:
    print(f"| {name} | {' | '.join(cells)} |")


def _measure(megabytes: int) -> Taken:
    with LocalStack(QUIET) as stack:
        client = MilvusClient(uri=stack.milvus_uri)
        rows = math.ceil(megabytes * 1_000_000 / _ROW_BYTES)
        for name, count in ((WARM, 100), (NAME, rows)):
            _fill(client, name, count)
            request = {"backup_name": f"of_{name}", "collections": [f"default.{name}"]}
            backup = run_counted(stack, "BackupStateMachineArn", request)
            client.drop_collection(name)
            restore = run_counted(stack, "RestoreStateMachineArn", {"backup_name": f"of_{name}", "allow_version": True})
        if (there := _count(client, NAME)) != rows:
            msg = f"{there} of {rows} rows came back"
            raise SystemExit(msg)
        stored = _stored(stack)
    return Taken(rows, len(stored), sum(stored.values()) / 1_000_000, backup, restore)


def _fill(client: MilvusClient, name: str, rows: int) -> None:
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSIONS)
    client.create_collection(name, schema=schema, num_shards=1, consistency_level="Strong")
    random = np.random.default_rng(7)
    for first in range(0, rows, _INSERTED_ROWS):
        numbers = range(first, min(rows, first + _INSERTED_ROWS))
        vectors = random.random((len(numbers), DIMENSIONS), dtype=np.float32)
        client.insert(name, [{"id": i, "vector": vector} for i, vector in zip(numbers, vectors, strict=True)])
        if numbers.stop == rows or numbers.stop % _FLUSHED_ROWS == 0:
            client.flush(name)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="IVF_FLAT", metric_type="L2", params={"nlist": 64})
    client.create_index(name, index)
    client.load_collection(name)


def _count(client: MilvusClient, name: str) -> int:
    rows = client.query(name, "", output_fields=["count(*)"], consistency_level="Strong")
    return int(rows[0]["count(*)"])


def _stored(stack: LocalStack) -> Mapping[str, int]:
    """Return the size of each log of the backup."""
    bucket = stack.outputs["BackupBucketName"]
    pages = stack.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
    objects = [one for page in pages for one in page.get("Contents", [])]
    return {one["Key"]: one["Size"] for one in objects if f"of_{NAME}/binlogs/" in one["Key"]}


if __name__ == "__main__":
    main()
