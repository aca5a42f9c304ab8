"""Any schema and any history, backed up and restored, is the same again: from each version to every allowed one.

`ROUND_TRIPS=300 pytest tests/restore/test_round_trip.py -k 2.5` tries as many, other ones each time.
"""

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mypy_boto3_s3 import S3Client

from tests.compatibility.features import Feature
from tests.conformance.asking import Milvus
from tests.support.histories import Collection, Shape, Step, histories, shapes, whole_rows
from tests.support.milvus_server.core import Settings
from tests.support.milvus_server.server import MilvusServer
from tests.support.milvus_server.versions import VERSIONS
from tests.support.quick_s3 import QuickS3
from tests.support.restoring import BACKUPS, PREFIX, Restoring, staged_keys

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

EXAMPLES = int(os.environ.get("ROUND_TRIPS", "8"))
SPEED = 100
QUICK = {"flush": 0.2, "sort": 0.1, "import_job": 4.0, "index": 0.5, "flush_limit": 0.0, "l0_compaction": 10.0**6}
INDEX = [{"key": "index_type", "value": "FLAT"}, {"key": "metric_type", "value": "L2"}]
NO_REST = "http://127.0.0.1:9"
_numbers = itertools.count()

type Request = dict[str, Any]


class Way(NamedTuple):
    """How a backup is made and restored."""

    target: str
    fold_copies: int
    """Above so many copies, deletes are composed; 0: always."""
    fold_bytes: int
    """Above so many, deletes are imported by themselves; 0: always."""
    has_rest: bool
    is_in_place: bool
    """Whether backups are kept in the target's own bucket."""
    is_loaded: bool
    meanwhile: str
    """What happens to the source while the backup is made."""
    asked: str
    """What else the restore is asked for."""
    repeats: bool
    """Whether each function is called twice."""


def ways(source: str) -> st.SearchStrategy[Way]:
    """Return the strategy for ways that a backup of a version can take."""
    newer = [version for version in VERSIONS if VERSIONS[version].minor >= VERSIONS[source].minor]
    return st.builds(
        Way,
        target=st.sampled_from(newer),
        fold_copies=st.sampled_from((64, 0, 3)),
        fold_bytes=st.sampled_from((10**9, 10**9, 10**9, 0)),
        has_rest=st.booleans(),
        is_in_place=st.booleans(),
        is_loaded=st.booleans(),
        meanwhile=st.sampled_from(("", "fold", "compact")),
        asked=st.sampled_from(("", "partitions", "max_shards", "everything", "skip_create")),
        repeats=st.integers(0, 4).map(lambda number: number == 4),
    )


@dataclass
class Servers:
    """A source and a target of each version, started when they are needed."""

    s3: S3Client
    running: ExitStack
    started: dict[str, MilvusServer]

    def get(self, role: str, version: str) -> MilvusServer:
        """Return a server, empty but for what a test has left in it."""
        name = f"{role}-{version.replace('.', '-')}"
        if name not in self.started:
            durations = replace(VERSIONS[version].durations, **QUICK)
            endpoint = self.s3.meta.endpoint_url
            chosen = Settings(speed=SPEED, durations=durations)
            server = MilvusServer(endpoint, version=version, bucket=f"trip-{name}", settings=chosen)
            self.started[name] = self.running.enter_context(server)
        return self.started[name]


@pytest.fixture(scope="module")
def servers(quick_s3: QuickS3) -> Iterator[Servers]:
    with ExitStack() as running:
        yield Servers(quick_s3.client(), running, {})


class Trip:
    """One collection, its backup and its restore."""

    def __init__(self, servers: Servers, source: str, shape: Shape, way: Way) -> None:
        self.s3 = servers.s3
        self.source, self.target = servers.get("source", source), servers.get("target", way.target)
        self.way, self.name = way, f"trip_{next(_numbers)}"
        self.bucket = self.target.bucket if way.is_in_place else BACKUPS
        server = self.source
        self.milvus = Milvus(server.uri, server.management_uri, self.s3, server.bucket, server.root_path, 0.02, 0.005)
        self.collection = Collection(self.milvus, self.source, self.name, shape)

    def go(self, steps: list[Step]) -> None:
        """Fill the collection, back it up, restore it, and compare."""
        self.collection.create()
        for step in steps:
            self.collection.take(step)
        if self.way.is_loaded:
            self._load()
        environment = {
            "BACKUP_BUCKET_NAME": self.bucket,
            "FOLD_COPIES": str(self.way.fold_copies),
            "FOLD_SEGMENT_BYTES": str(self.way.fold_bytes),
        }
        if not self.way.has_rest:
            environment["MILVUS_REST_URI"] = NO_REST
        after = {"snapshot_batch": self._meddle}
        Restoring(self.s3, self.source, environment, after).back_up(self.name, collections=[f"default.{self.name}"])
        restoring = Restoring(self.s3, self.target, environment, repeats=self.way.repeats)
        request: Request = {"backup_name": self.name, "allow_version": True}
        if self.way.asked == "skip_create":
            self._restore(restoring, request | {"meta_only": True, "load": False})
        self._restore(restoring, request | self._more())
        assert self.collection.found() == self.collection.expected
        rows = whole_rows(self.source, self.name)
        if "partitions" in self._more():
            rows = {"_default": [], "p": rows["p"]}
        assert whole_rows(self.target, self.name) == rows
        assert staged_keys(restoring) == []

    @staticmethod
    def _restore(restoring: Restoring, request: Request) -> None:
        report = restoring.restore(request)
        assert [found["message"] for found in report["collections"]] == [""]

    def _more(self) -> Request:
        """Return what the restore is asked for beside the usual."""
        name = f"default.{self.name}"
        match self.way.asked:
            case "max_shards":
                return {"max_shards": 1}
            case "partitions" if not self.collection.shape.partition_key:
                return {"partitions": {name: ["p"]}}
            case "skip_create":
                return {"skip_create": True}
            case "everything":
                return {"point_in_time": False}
        return {}

    def _load(self) -> None:
        self.milvus.must("CreateIndex", collection_name=self.name, field_name="v", extra_params=INDEX)
        for vector in ("sparse", "bits"):
            if vector in self.collection.shape.extras:
                self.milvus.must("CreateIndex", collection_name=self.name, field_name=vector, extra_params=INDEX)
        self.milvus.must("LoadCollection", collection_name=self.name, replica_number=1)

    def _meddle(self) -> None:
        if self.way.meanwhile:
            self.collection.take(Step(self.way.meanwhile))

    def end(self) -> None:
        """Leave nothing to those that follow."""
        for server in (self.source, self.target):
            with server.core.lock:
                server.core.catalog.databases["default"].collections.pop(self.name, None)
        there = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{PREFIX}/")
        for page in there:
            if found := page.get("Contents", []):
                self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": i["Key"]} for i in found]})


@pytest.mark.feature(Feature.EVERY_ROW_ONCE, Feature.ANY_HISTORY, parameter="source")
@pytest.mark.parametrize("source", list(VERSIONS))
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="ROUND_TRIPS" not in os.environ,
    database=None,
    # Each example takes a second: what is found is worth more than that it is small.
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_what_is_restored_is_what_was_backed_up(servers: Servers, source: str, data: st.DataObject) -> None:
    version = VERSIONS[source]
    shape, way = data.draw(shapes(version)), data.draw(ways(source))
    trip = Trip(servers, source, shape, way)
    try:
        trip.go(data.draw(histories(version)))
    finally:
        trip.end()
