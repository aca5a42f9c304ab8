"""Whatever happens to a collection, it holds just the rows that it should, and so does what is made of its files.

A property of the protocol server itself: tests of backup and restore rely on it.
"""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milvus_vault.adapters.milvus import connect
from tests.compatibility.features import Feature
from tests.conformance.asking import Milvus
from tests.support.capturing import Backups
from tests.support.histories import Collection, Step, histories
from tests.support.milvus_server.core import Settings
from tests.support.milvus_server.server import MilvusServer
from tests.support.milvus_server.versions import VERSIONS
from tests.support.quick_s3 import QuickS3

EXAMPLES = 12
SPEED = 40
QUICK = {"flush": 0.2, "sort": 0.1, "import_job": 1.0, "flush_limit": 0.0, "l0_compaction": 10.0**6}
_names = itertools.count()

STEPS = histories(VERSIONS["2.2.16"])


@pytest.fixture(scope="module", params=list(VERSIONS))
def server(quick_s3: QuickS3, request: pytest.FixtureRequest) -> Iterator[MilvusServer]:
    version = str(request.param)
    chosen = Settings(speed=SPEED, durations=replace(VERSIONS[version].durations, **QUICK))
    endpoint = quick_s3.client().meta.endpoint_url
    bucket = f"history-{version.replace('.', '-')}"
    with MilvusServer(endpoint, version=version, bucket=bucket, settings=chosen) as running:
        yield running


@pytest.fixture(scope="module")
def milvus(quick_s3: QuickS3, server: MilvusServer) -> Milvus:
    s3 = quick_s3.client()
    return Milvus(server.uri, server.management_uri, s3, server.bucket, server.root_path, 0.02, 0.005)


@dataclass
class _Collection(Collection):
    """A collection that can be copied by hand."""

    def copy_to(self, name: str) -> "_Collection":
        """Make another collection of this one's files, deletes of level 0 laid beside every segment."""
        copy = _Collection(self.milvus, self.server, name)
        copy.create()
        self.milvus.flush(self.name)
        self.milvus.settle()
        infos = self.milvus.infos(self.name)
        names = dict(zip(*self._partitions(), strict=True))
        for partition_id, partition in names.items():
            segments = [info.segmentID for info in infos if info.partitionID == partition_id and info.level != 1]
            folder = f"staged/{name}/{partition}"
            for segment in segments:
                place = f"{infos[0].collectionID}/{partition_id}/{segment}"
                self._stage(f"insert_log/{place}/", f"{folder}/insert/{segment}/")
                self._stage(f"delta_log/{place}/", f"{folder}/delta/{segment}/")
                for info in infos:
                    if info.level == 1 and info.partitionID in {-1, partition_id}:
                        place = f"{infos[0].collectionID}/{info.partitionID}/{info.segmentID}"
                        self._stage(f"delta_log/{place}/", f"{folder}/delta/{segment}/")
            if segments:
                self._import(name, partition, [f"{folder}/insert/", f"{folder}/delta/"])
        return copy

    def _partitions(self) -> tuple[list[int], list[str]]:
        answer = self.milvus.must("ShowPartitions", collection_name=self.name)
        return list(answer.partitionIDs), list(answer.partition_names)

    def _stage(self, source: str, target: str) -> None:
        folder = f"{self.milvus.root}/{source}"
        for key in self.milvus.keys(folder):
            copied = f"{target}{key.removeprefix(folder)}"
            origin = f"{self.milvus.bucket}/{key}"
            self.milvus.s3.copy_object(Bucket=self.milvus.bucket, Key=copied, CopySource=origin)

    def _import(self, name: str, partition: str, files: list[str]) -> None:
        options = [{"key": "backup", "value": "true"}]
        if self.server.core.version.storage:
            options.append({"key": "storage_version", "value": "2"})
        names = {"collection_name": name, "partition_name": partition}
        task = self.milvus.must("Import", **names, files=files, options=options).tasks[0]
        end = time.monotonic() + 20
        while (answer := self.milvus.must("GetImportState", task=task)).state != 6:
            assert time.monotonic() < end, answer
            assert answer.state != 1, answer
            time.sleep(self.milvus.poll_seconds)
        assert answer.row_count == len(self.expected[partition])


@pytest.mark.tools("milvus")
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_a_collection_holds_what_was_written_and_not_deleted_since(
    milvus: Milvus, server: MilvusServer, steps: list[Step]
) -> None:
    collection = _Collection(milvus, server, f"c{next(_names)}")
    collection.create()
    for step in steps:
        collection.take(step)
        assert collection.found() == collection.expected
    assert collection.copy_to(f"{collection.name}_copy").found() == collection.expected


@pytest.mark.feature(Feature.EVERY_ROW_ONCE, parameter="server")
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS, last=st.sampled_from(("none", "fold", "compact")))
def test_a_backup_holds_what_was_written_and_not_deleted_since(
    quick_s3: QuickS3, milvus: Milvus, server: MilvusServer, steps: list[Step], last: str
) -> None:
    collection = _Collection(milvus, server, f"c{next(_names)}")
    collection.create()
    for step in steps:
        collection.take(step)
    with connect(server.uri) as database:
        # What happens between the listing and the copying: what was listed stays until it is collected.
        meddle = _Meddling(collection, last)
        taken = Backups(server, database, quick_s3.client(), before_copies=meddle)
        manifest = taken.take("b", collections=[f"default.{collection.name}"], gc_pause=False)
        rows = taken.rows("b", f"default.{collection.name}")
    assert manifest.failures == ()
    expected = [pair for pairs in collection.expected.values() for pair in pairs.items()]
    assert sorted((key, value) for key, _, value in rows) == sorted(expected)


@dataclass
class _Meddling:
    """Changes the segments of a collection once."""

    collection: _Collection
    how: str

    def __call__(self) -> None:
        if self.how != "none":
            self.collection.take(Step(self.how))
        self.how = "none"
