"""Servers of each version for the tests here, and one of each with collections and a backup of them."""

import itertools
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from milvus_vault.backup.moment import SUSPECT_SECONDS
from tests.conformance.asking import Milvus, base_fields
from tests.support.milvus_server.catalog import FLUSHED, L0
from tests.support.milvus_server.compaction import fold_deletes
from tests.support.milvus_server.core import Settings
from tests.support.milvus_server.server import MilvusServer
from tests.support.milvus_server.versions import VERSIONS
from tests.support.quick_s3 import QuickS3
from tests.support.restoring import Restoring

SPEED = 60
ROWS = 30
INDEX = [{"key": "index_type", "value": "FLAT"}, {"key": "metric_type", "value": "L2"}]
_NEVER = 10**6
_numbers = itertools.count()

each_version = pytest.mark.parametrize("version", VERSIONS)

type Json = dict[str, Any]


def start_server(
    quick_s3: QuickS3, running: ExitStack, version: str, environment: dict[str, str] | None = None, **settings: Any
) -> Restoring:
    """Start a server of a version that stops with what runs; further settings of it by name."""
    s3 = quick_s3.client()
    durations = replace(VERSIONS[version].durations, l0_compaction=_NEVER)
    server = MilvusServer(
        s3.meta.endpoint_url,
        version=version,
        bucket=f"restore-{next(_numbers)}",
        settings=Settings(**{"speed": SPEED, "durations": durations, **settings}),
    )
    running.enter_context(server)
    return Restoring(s3, server, environment or {})


@dataclass
class Filled:
    """A server with collections, and a backup of all of them.

    `books` has two partitions and two aliases, is loaded, and has deletes of both partitions; in `pens` deletes
    lie beside their segments in every version; `plain` has none.
    """

    restoring: Restoring
    milvus: Milvus
    backup: str

    def restore(self, **request: Any) -> Json:
        """Return the report of a restore."""
        version = self.restoring.server.core.version
        return self.restoring.restore(
            {"backup_name": self.backup, "allow_version": not version.at_least(2, 4), **request}
        )

    def keys(self, name: str, partition: str = "") -> list[Any]:
        """Return the keys of a collection's live rows."""
        database, _, collection = name.rpartition(".")
        found = self.restoring.server.live_rows(database or "default", collection, *([partition] if partition else []))
        return sorted(found.get(100, []))

    def named(self, name: str) -> str:
        """Return a name for a backup that no other server's has."""
        return f"{self.backup}_{name}"

    def collections(self, database: str) -> set[str]:
        """Return the names of a database's collections."""
        return set(self.restoring.server.core.catalog.databases[database].collections)


@dataclass
class Servers:
    """Servers by version, made when asked for."""

    quick_s3: QuickS3
    running: ExitStack
    _filled: dict[str, Filled] = field(default_factory=dict)

    def filled(self, version: str) -> Filled:
        """Return the server of a version."""
        if version not in self._filled:
            restoring = start_server(self.quick_s3, self.running, version, query_nodes=2)
            # Deletes shortly before the moment of a backup would bring all of them into a second round.
            restoring.server.core.clock.behind = 2 * SUSPECT_SECONDS
            fill(restoring)
            restoring.server.core.clock.behind = 0
            name = f"of_{restoring.server.bucket.replace('-', '_')}"
            found = self._filled[version] = Filled(restoring, restoring.milvus, name)
            restoring.back_up(found.backup)
        return self._filled[version]


def fill(restoring: Restoring) -> None:
    """Make the collections."""
    milvus = restoring.milvus
    milvus.make("books", *base_fields(), shards=2, partitions=("p",))
    milvus.insert("books", range(ROWS))
    milvus.insert("books", range(ROWS, 2 * ROWS), "p")
    for name in ("pens", "plain"):
        milvus.make(name, *base_fields())
        milvus.insert(name, range(ROWS))
    for name in ("books", "pens", "plain"):
        milvus.flush(name)
        milvus.must("CreateIndex", collection_name=name, field_name="v", index_name="by_v", extra_params=INDEX)
    milvus.must("LoadCollection", collection_name="books", replica_number=1)
    for alias in ("now", "then"):
        milvus.must("CreateAlias", collection_name="books", alias=alias)
    milvus.settle()
    milvus.delete("books", (0, ROWS))
    milvus.delete("pens", (1, 2))
    for name in ("books", "pens"):
        milvus.flush(name)
    core = restoring.server.core
    with core.lock:
        collection = core.catalog.collection("default", "pens")
        for segment in collection.of_state(FLUSHED):
            if segment.level == L0 and core.version.has_l0:
                fold_deletes(core, collection, segment)


BOOKS = [*range(1, ROWS), *range(ROWS + 1, 2 * ROWS)]
PENS = [0, *range(3, ROWS)]
PLAIN = list(range(ROWS))
