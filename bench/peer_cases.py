"""The cases on which milvus-backup was measured, with Milvus Vault on the local stack, and with that tool beside it.

    python -m bench.peer_cases [--peer PATH] [--quick] [--json FILE]

Cases, each with small rows, since what is measured is the work around the bytes:

* `30 segments`: one collection flushed 30 times, compaction off; its backup and its restore.
* `43 collections`: 43 collections of two partitions; backups of 1, 10 and all of them, from which follows what each
  further collection costs, and a restore of all.

With `--peer`, a milvus-backup binary (v0.5.16 is what the documentation names) backs up and restores the same
collections of the same server, and times stand side by side. Without it only ours are measured.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pymilvus import DataType, MilvusClient
from rich.console import Console
from rich.table import Table

from local.stack import MILVUS_BUCKET, MILVUS_ROOT_PATH, LocalStack

FLUSHES = 30
COLLECTIONS = 43
ROWS_A_FLUSH = 100
PEER_TIMEOUT_SECONDS = 900


class Cases:
    """Runs the cases on one stack and keeps the times."""

    def __init__(self, stack: LocalStack, peer: Path | None, *, is_quick: bool) -> None:
        """Measure on `stack`, with the milvus-backup binary `peer` beside, if there is one."""
        self.stack = stack
        self.peer = peer
        self.is_quick = is_quick
        self.client = MilvusClient(uri=stack.milvus_uri)
        self.seconds: dict[str, dict[str, float]] = {}
        self.rng = np.random.default_rng(3)

    def run(self) -> None:
        """Run all cases."""
        self._warm_up()
        self._many_segments()
        self._many_collections()

    def _warm_up(self) -> None:
        """Back up and restore once, so that no function's first start is in a figure; the peer has none."""
        self._fill("warm", flushes=1, partitions=("_default",))
        self._ours("warm-up backup", "BackupStateMachineArn", {"backup_name": "warm", "collections": ["default.warm"]})
        restore = {"backup_name": "warm", "suffix": "_ours", "allow_version": True}
        self._ours("warm-up restore", "RestoreStateMachineArn", restore)
        del self.seconds["warm-up backup"], self.seconds["warm-up restore"]

    def _many_segments(self) -> None:
        self._fill("segments", flushes=FLUSHES, partitions=("_default",))
        names = ["default.segments"]
        self._backup_and_restore(f"{FLUSHES} segments", "segments", names)

    def _many_collections(self) -> None:
        names = [f"small{number:02}" for number in range(COLLECTIONS)]
        for name in names:
            self._fill(name, flushes=1, partitions=("_default", "other"))
        for count in (1, 10):
            backup = {"backup_name": f"small_{count}", "collections": [f"default.{n}" for n in names[:count]]}
            self._ours(f"{count} collection(s): backup", "BackupStateMachineArn", backup)
        self._backup_and_restore(f"{COLLECTIONS} collections", "small", [f"default.{name}" for name in names])

    def _backup_and_restore(self, case: str, backup: str, names: list[str]) -> None:
        self._ours(f"{case}: backup", "BackupStateMachineArn", {"backup_name": backup, "collections": names})
        if self.peer is not None:
            self._peer(f"{case}: backup", "create", "-n", f"peer_{backup}", "--filter", ",".join(names))
        if self.is_quick and len(names) > 1:
            return
        restore = {"backup_name": backup, "suffix": "_ours", "allow_version": True}
        self._ours(f"{case}: restore", "RestoreStateMachineArn", restore)
        if self.peer is not None:
            self._peer(f"{case}: restore", "restore", "-n", f"peer_{backup}", "-s", "_peer", "--rebuild_index")

    def _fill(self, name: str, *, flushes: int, partitions: tuple[str, ...]) -> None:
        schema = self.client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=16)
        self.client.create_collection(name, schema=schema, num_shards=1)
        for partition in partitions:
            if partition != "_default":
                self.client.create_partition(name, partition)
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="L2")
        self.client.create_index(name, index)
        first = 0
        for _ in range(flushes):
            for partition in partitions:
                rows = [{"id": first + i, "vector": self.rng.random(16, dtype=np.float32)} for i in range(ROWS_A_FLUSH)]
                self.client.insert(name, rows, partition_name=partition)
                first += ROWS_A_FLUSH
            self.client.flush(name)

    def _ours(self, what: str, machine: str, request: dict[str, Any]) -> None:
        described = self.stack.wait(self.stack.start(machine, request), timeout_seconds=600)
        if described["status"] != "SUCCEEDED":
            sys.exit(f"{what}: {described.get('error')}: {described.get('cause')}")
        self.seconds.setdefault(what, {})["ours"] = (described["stopDate"] - described["startDate"]).total_seconds()

    def _peer(self, what: str, *arguments: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "backup.yaml"
            config.write_text(yaml.safe_dump(self._peer_config()))
            started = time.monotonic()
            done = subprocess.run(
                [str(self.peer), "--config", str(config), *arguments],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=PEER_TIMEOUT_SECONDS,
                check=False,
            )
        if done.returncode:
            sys.exit(f"{what} by the peer failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        self.seconds.setdefault(what, {})["milvus-backup"] = time.monotonic() - started

    def _peer_config(self) -> dict[str, Any]:
        milvus_host, _, milvus_port = self.stack.milvus_uri.removeprefix("http://").partition(":")
        s3_host, _, s3_port = self.stack.ministack.url.removeprefix("http://").partition(":")
        return {
            "milvus": {"address": milvus_host, "port": int(milvus_port)},
            "minio": {
                "storageType": "minio",
                "address": s3_host,
                "port": int(s3_port),
                "accessKeyID": "test",
                "secretAccessKey": "test",
                "useSSL": False,
                "bucketName": MILVUS_BUCKET,
                "rootPath": MILVUS_ROOT_PATH,
                "backupBucketName": MILVUS_BUCKET,
                "backupRootPath": "peer",
            },
            "backup": {"gcPause": {"enable": False}},
        }

    def each_further_collection(self) -> float:
        """Return the seconds that a backup takes longer for each further collection, from 1 to all."""
        one = self.seconds["1 collection(s): backup"]["ours"]
        return (self.seconds[f"{COLLECTIONS} collections: backup"]["ours"] - one) / (COLLECTIONS - 1)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="a milvus-backup binary to measure beside")
    parser.add_argument("--json", type=Path, help="write the times to this file too")
    parser.add_argument("--quick", action="store_true", help="leave out the restore of all collections, 3 min each")
    arguments = parser.parse_args()
    # Compaction would merge the segments that the case is about.
    with LocalStack(milvus_settings={"dataCoord.enableCompaction": "false"}) as stack:
        cases = Cases(stack, arguments.peer, is_quick=arguments.quick)
        cases.run()
    table = Table("case", "ours, s", "milvus-backup, s", "ratio")
    for what, seconds in cases.seconds.items():
        ours, theirs = seconds["ours"], seconds.get("milvus-backup")
        table.add_row(
            what, f"{ours:.1f}", f"{theirs:.1f}" if theirs else "-", f"{theirs / ours:.1f}" if theirs else "-"
        )
    console = Console()
    console.print(table)
    console.print(f"Each further collection adds {cases.each_further_collection():.2f} s to a backup.")
    if arguments.json:
        arguments.json.write_text(json.dumps(cases.seconds, indent=1))


if __name__ == "__main__":
    main()
