"""Import jobs of a protocol server, held back so that a test sees which of them wait for others."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tests.conformance.asking import base_fields
from tests.support.milvus_server.importing import Job
from tests.support.milvus_server.versions import VERSIONS, Durations
from tests.support.restoring import Restoring

_PATIENCE_SECONDS = 30


def jobs(restoring: Restoring) -> list[Job]:
    """Return the jobs of a server, oldest first."""
    return list(restoring.server.service.imports.all())[::-1]


@dataclass
class Gate:
    """Lets no job of a server end while a function runs, and all of them afterwards.

    So no function can have waited for a job that was started by the same call.
    """

    restoring: Restoring
    forgets: bool = False
    """Whether the server forgets a job as soon as a function could have seen that it is done."""
    rounds: list[list[Job]] = field(default_factory=list)
    """The jobs by the call that started them."""

    def __post_init__(self) -> None:
        """Shut it."""
        self.restoring.server.faults.stuck_at_index = True
        self.restoring.after = {"advance_restore": self._open}

    def _open(self) -> None:
        faults, imports = self.restoring.server.faults, self.restoring.server.service.imports
        running = [job for job in jobs(self.restoring) if job.ended_at is None]
        if self.forgets:
            faults.forgets_imports = True
            list(imports.all())
            faults.forgets_imports = False
        if running:
            self.rounds.append(running)
        faults.stuck_at_index = False
        end = time.monotonic() + _PATIENCE_SECONDS
        while any(job.ended_at is None for job in running):
            assert time.monotonic() < end, "import jobs do not end"
            time.sleep(0.01)
        faults.stuck_at_index = True


class Size(NamedTuple):
    """How much there is on a server."""

    collections: int
    partitions: int
    """Of each collection."""
    segments: int
    """Of each partition."""

    @property
    def names(self) -> list[str]:
        """Return the names of the collections."""
        return [f"c{number}" for number in range(self.collections)]


def quick(version: str) -> Durations:
    """Return durations with which a server is filled soon, and deletes stay where they are."""
    return replace(VERSIONS[version].durations, flush=0.5, sort=0.1, flush_limit=0.0, l0_compaction=10**6)


def fill(restoring: Restoring, size: Size, more_deletes: Iterable[str] = ()) -> None:
    """Make collections with rows in each partition, and deletes with and without a partition; in some more of them."""
    milvus = restoring.milvus
    for name in size.names:
        others = [f"p{number}" for number in range(1, size.partitions)]
        milvus.make(name, *base_fields(), partitions=others)
        for turn in range(size.segments):
            for number, partition in enumerate(("_default", *others)):
                first = 1000 * number + 10 * turn
                milvus.insert(name, range(first, first + 10), partition)
            milvus.flush(name)
        for number, partition in enumerate(("_default", *others)):
            milvus.must(
                "Delete", collection_name=name, partition_name=partition, expr=f"id in [{1000 * number}, {10**6}]"
            )
        milvus.delete(name, [1, 1001])
        milvus.flush(name)
    for name in more_deletes:
        milvus.delete(name, [2, 1002])
        milvus.flush(name)
    milvus.settle()


def keys(restoring: Restoring, size: Size) -> dict[str, list[str]]:
    """Return the keys of the live rows of all collections."""
    server = restoring.server
    return {name: sorted(map(str, server.live_rows("default", name).get(100, []))) for name in size.names}
