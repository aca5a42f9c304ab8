"""What share of an incremental backup is copied again after what a day brings, on each version of Milvus.

    export PYTHONPATH=layers/shared:functions
    .venv/bin/python -m bench.share real 2.4.23 2.5.27 2.6.19 --segment-mib 1
    .venv/bin/python -m bench.share real 2.4.23 2.5.27 2.6.19 --segment-mib 512
    .venv/bin/python -m bench.share policy

Each workload has a collection of its own: 24,000 rows with vectors of 124 dimensions in three partitions of one shard.
After a first backup come nights: each workload writes, the server does by itself what it does, until its segments have
been the same for longer than it waits between two looks at them, and another backup is made. Copied is what no backup
before it lists.

`real` is the real Milvus 2.3.5, any other version the tests' protocol server, twenty times as fast as a real one. That
sorts, folds deletes of level 0, and merges what the policy in `tests/support/milvus_server/mix_compaction.py` picks.
`--segment-mib` is how large a segment is to become: 512 as the real 2.3.5 is shipped, so that a partition is a small
part of a segment; 1, so that it fills four of them. A share depends on that, and not on how many bytes a segment has.

`policy` has no server: it is what that policy makes of thirty nights of 2 % new rows, by how many segments the rows of
a partition and a shard fill.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from pymilvus import DataType, MilvusClient
from rich.console import Console
from rich.table import Table

from local.aws import Ministack
from local.milvus import VERSION, Milvus
from local.stack import QUIET, Deployment, MilvusServer, deploy
from milvus_vault.model import readable
from milvus_vault.model.objects import ArchivedObject
from tests.conformance.asking import Milvus as Asking
from tests.support import vault_runs
from tests.support.milvus_server.catalog import L1, Segment
from tests.support.milvus_server.core import Settings
from tests.support.milvus_server.mix_compaction import plans
from tests.support.milvus_server.server import MilvusServer as ProtocolServer
from tests.support.milvus_server.values import TIMESTAMP
from tests.support.milvus_server.versions import OBSERVED
from tests.support.tampering import StoredBackup

REAL, POLICY = "real", "policy"
# 2,000 rows, as a flush has of a partition, are just less than a mebibyte.
ROWS, DIMENSIONS = 24_000, 124
PARTITIONS = ("_default", "p1", "p2")
FLUSHES = 4
A_FIFTIETH = 50

_MIB = 1 << 20
_ROW_BYTES = 3 * 8 + 4 * DIMENSIONS  # with row ID and timestamp, as Milvus estimates it
_SPEED = 20.0
# dataCoord.compaction.global.interval in 2.3, dataCoord.compaction.mix.triggerInterval later.
_INTERVAL_SECONDS = 60.0
_QUIET_SECONDS = 75.0
_POLL_SECONDS = 0.5
_POLICY_NIGHTS, _POLICY_ROWS = 30, 100_000
_PATIENCE_SECONDS = 900.0


@dataclass
class Written:
    """A collection that a workload writes to."""

    client: MilvusClient
    asking: Asking
    name: str
    live: dict[str, list[int]] = field(default_factory=lambda: {partition: [] for partition in PARTITIONS})
    """Keys by partition."""
    _keys: Iterator[int] = field(default_factory=itertools.count)
    _random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(13))

    def create(self) -> None:
        """Make it, with its rows in as many segments of each partition as there are flushes."""
        schema = self.client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSIONS)
        self.client.create_collection(self.name, schema=schema, num_shards=1)
        # Milvus compacts segments that are indexed.
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="L2")
        self.client.create_index(self.name, index)
        for partition in PARTITIONS[1:]:
            self.client.create_partition(self.name, partition)
        for _ in range(FLUSHES):
            self.append(ROWS // FLUSHES, PARTITIONS)
            self.flush()

    def append(self, count: int, partitions: tuple[str, ...]) -> int:
        """Insert new rows, as many into each partition, and return how many."""
        for partition in partitions:
            keys = list(itertools.islice(self._keys, count // len(partitions)))
            self.client.insert(self.name, self._rows(keys), partition_name=partition)
            self.live[partition] += keys
        return count // len(partitions) * len(partitions)

    def upsert(self, night: int) -> int:
        """Write every fiftieth row anew, other ones each night, and return how many."""
        chosen = {partition: keys[night::A_FIFTIETH] for partition, keys in self.live.items()}
        for partition, keys in chosen.items():
            self.client.upsert(self.name, self._rows(keys), partition_name=partition)
        return sum(map(len, chosen.values()))

    def delete(self, night: int) -> int:
        """Delete every fiftieth row, and return how many."""
        chosen = [key for keys in self.live.values() for key in keys[night::A_FIFTIETH]]
        for keys in self.live.values():
            del keys[night::A_FIFTIETH]
        self.client.delete(self.name, ids=chosen)
        return len(chosen)

    def flush(self) -> None:
        """Have all of it in files."""
        self.asking.flush(self.name)

    def compact(self) -> int:
        """Ask for a compaction of all, which is under way afterwards, and return that no row has changed.

        By its number: 2.3 does not read the name, by which pymilvus asks, and compacts every collection.
        """
        number = self.asking.must("DescribeCollection", collection_name=self.name).collectionID
        self.asking.must("ManualCompaction", collectionID=number, collection_name=self.name)
        return 0

    def _rows(self, keys: list[int]) -> list[dict[str, object]]:
        vectors = self._random.random((len(keys), DIMENSIONS), dtype=np.float32)
        return [{"id": key, "vector": vector} for key, vector in zip(keys, vectors, strict=True)]


def _all_of_it(written: Written, night: int) -> int:
    changed = written.append(ROWS // A_FIFTIETH, PARTITIONS) + written.upsert(night) + written.delete(night)
    written.flush()
    written.compact()
    return changed


# What each does a night, with the number of rows that it has changed as its answer.
WORKLOADS: Mapping[str, Callable[[Written, int], int]] = {
    "nothing": lambda _, __: 0,
    "2 % new rows": lambda written, _: written.append(ROWS // A_FIFTIETH, PARTITIONS),
    "2 % new rows, in one partition": lambda written, _: written.append(ROWS // A_FIFTIETH, PARTITIONS[-1:]),
    "2 % upserted": Written.upsert,
    "2 % deleted": Written.delete,
    "a compaction by hand": lambda written, _: written.compact(),
    "2 % each new, upserted and deleted, and a compaction": _all_of_it,
}
AT_THE_LAST_MINUTE = "2 % new rows, just before the backup"


class Night(NamedTuple):
    """A backup of a collection."""

    changed_rows: int
    listed: list[ArchivedObject]
    copied: list[ArchivedObject]

    @property
    def share(self) -> float:
        """Return what part of the bytes was copied."""
        return _size(self.copied) / _size(self.listed)


def _size(objects: list[ArchivedObject]) -> int:
    return sum(item.size_bytes for item in objects)


class Bench:
    """A server with a collection for each workload, and a deployment that backs it up."""

    def __init__(self, server: MilvusServer, vault: Deployment, quiet_seconds: float) -> None:
        """Fill the collections."""
        self._vault, self._quiet_seconds, self._number = vault, quiet_seconds, itertools.count()
        s3 = vault.ministack.client("s3")
        asking = Asking(server.uri, server.management_uri, s3, server.bucket, server.root_path, 0, _POLL_SECONDS)
        self._asking, client = asking, MilvusClient(server.uri)
        titles = (*WORKLOADS, AT_THE_LAST_MINUTE)
        self.collections = {title: Written(client, asking, f"c{number}") for number, title in enumerate(titles)}
        self._pooled: set[str] = set()
        for collection in self.collections.values():
            collection.create()

    def night(self, number: int, *, writes: bool) -> dict[str, Night]:
        """Write what a day brings, or nothing, and back up when the server has done what it does by itself."""
        changed = dict.fromkeys(self.collections, 0)
        if writes:
            for title, work in WORKLOADS.items():
                if changed_rows := work(self.collections[title], number):
                    changed[title] = changed_rows
                    self.collections[title].flush()
        self._settle()
        late = self.collections[AT_THE_LAST_MINUTE]
        changed[AT_THE_LAST_MINUTE] = late.append(ROWS // A_FIFTIETH, PARTITIONS)
        name = f"night{number}"
        output = vault_runs.succeed(self._vault, "Backup", {"backup_name": name, "mode": "incremental"})
        stored, found = StoredBackup(self._vault, name), {}
        for title, collection in self.collections.items():
            listed = stored.listed(f"default.{collection.name}")
            copied = [item for item in listed if item.stored_key not in self._pooled]
            found[title] = Night(changed[title], listed, copied)
        self._pooled |= {item.stored_key for night in found.values() for item in night.listed}
        if output["copied_object_count"] != sum(len(night.copied) for night in found.values()):
            msg = f"{name} says that {output['copied_object_count']} objects were copied, which its lists do not"
            raise SystemExit(msg)
        return found

    def _settle(self) -> None:
        """Wait until no segment has been replaced for longer than the server waits between two looks at them."""
        end = time.monotonic() + _PATIENCE_SECONDS
        before, since = self._segments(), time.monotonic()
        while time.monotonic() < since + self._quiet_seconds:
            time.sleep(_POLL_SECONDS)
            if (now := self._segments()) != before:
                before, since = now, time.monotonic()
            if time.monotonic() > end:
                msg = f"segments are still replaced after {_PATIENCE_SECONDS:.0f} s"
                raise SystemExit(msg)

    def _segments(self) -> list[list[str]]:
        """Return the segments of each collection, which Milvus tells in any order."""
        return [sorted(map(str, self._asking.infos(item.name))) for item in self.collections.values()]


@contextmanager
def _started(version: str, segment_mib: int) -> Iterator[Bench]:
    with Ministack() as aws:
        aws.client("s3").create_bucket(Bucket="milvus")
        if version == REAL:
            sizes = {"dataCoord.segment.maxSize": segment_mib}
            with Milvus(aws.url, bucket="milvus", settings=sizes) as milvus:
                yield Bench(milvus, deploy(aws, "share", milvus, QUIET), _QUIET_SECONDS)
        else:
            rows = segment_mib * _MIB // _ROW_BYTES
            settings = Settings(speed=_SPEED, compacts_every=_INTERVAL_SECONDS, segment_rows=rows)
            with ProtocolServer(aws.url, version=version, bucket="milvus", settings=settings) as server:
                yield Bench(server, deploy(aws, "share", server, QUIET), server.seconds(_QUIET_SECONDS))


def _print(title: str, nights: list[dict[str, Night]]) -> None:
    table = Table(title=title)
    for heading in ("each day", "rows changed", "objects", "of them copied", "size", "of it copied", "share", "mean"):
        table.add_column(heading, justify="left" if heading == "each day" else "right")
    for workload in nights[0]:
        each = [night[workload] for night in nights]
        shares = [night.share for night in each]
        table.add_row(
            workload,
            readable.count(each[-1].changed_rows),
            readable.count(len(each[-1].listed)),
            " ".join(readable.count(len(night.copied)) for night in each),
            readable.size(_size(each[-1].listed)),
            readable.size(sum(_size(night.copied) for night in each) / len(each)),
            " ".join(f"{share:.1%}" for share in shares),
            f"{sum(shares) / len(shares):.1%}",
        )
    Console(width=200).print(table)


def _print_policy() -> None:
    """Print what 2 % new rows a night come to, which are flushed once or four times."""
    table = Table(title=f"copied a night of all rows, mean of {_POLICY_NIGHTS}")
    ways = list(itertools.product((False, True), (1, 4)))
    table.add_column("full segments", justify="right")
    for packs, flushes in ways:
        table.add_column(f"{'since 2.5' if packs else 'up to 2.4'}, {flushes} flushed a night", justify="right")
    for segments in (0.1, 0.4, 1, 4, 10, 20, 50):
        shares = [_policy_share(segments, packs=packs, flushes=flushes) for packs, flushes in ways]
        table.add_row(f"{segments}", *(f"{share:.1%}" for share in shares))
    Console(width=200).print(table)


def _policy_share(segments: float, *, packs: bool, flushes: int) -> float:
    numbers, shares = itertools.count(), []
    there = [_segment(numbers, round(rows * _POLICY_ROWS)) for rows in [0.99] * int(segments) or [segments]]
    new_rows = round(sum(segment.rows for segment in there) / A_FIFTIETH / flushes)
    for _ in range(_POLICY_NIGHTS):
        before = {segment.segment_id for segment in there}
        there += [_segment(numbers, new_rows) for _ in range(flushes)]
        while found := plans(there, _POLICY_ROWS, is_asked=False, packs=packs):
            merged = {segment.segment_id for plan in found for segment in plan}
            there = [segment for segment in there if segment.segment_id not in merged]
            there += [_segment(numbers, sum(segment.rows for segment in plan)) for plan in found]
        new = sum(segment.rows for segment in there if segment.segment_id not in before)
        shares.append(new / sum(segment.rows for segment in there))
    return sum(shares) / len(shares)


def _segment(numbers: Iterator[int], rows: int) -> Segment:
    return Segment(next(numbers), 1, 1, "channel", L1, columns={TIMESTAMP: [1] * rows})


def main() -> None:
    """Measure, and print a table for each version."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="+", choices=(REAL, *OBSERVED, POLICY), help="of Milvus")
    parser.add_argument("--segment-mib", type=int, default=1, help="of a full segment (default: %(default)s)")
    parser.add_argument("--nights", type=int, default=4, help="after the first backup (default: %(default)s)")
    options = parser.parse_args()
    for version in options.versions:
        if version == POLICY:
            _print_policy()
            continue
        with _started(version, options.segment_mib) as bench:
            bench.night(0, writes=False)
            nights = [bench.night(number, writes=True) for number in range(1, options.nights + 1)]
        what = f"the real {VERSION}" if version == REAL else f"protocol server of {version}"
        _print(f"{what}, segments of {options.segment_mib} MiB", nights)


if __name__ == "__main__":
    main()
