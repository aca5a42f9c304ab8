"""Clients that write to a running Milvus while something else happens, and the log of what they did.

A row holds the number of the operation that wrote it, so that a restored row tells which one it is of.
"""

import itertools
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from pymilvus import MilvusClient

from tests.conformance.asking import Milvus, base_fields, numbers, vectors
from tests.conformance.asking import field as schema_field

type Kind = Literal["insert", "upsert", "delete"]
type Profile = Literal["mixed", "whole"]
"""`mixed`: inserts, upserts and deletes of a few rows each; `whole`: all rows are upserted, again and again."""

INSERTED, UPSERTED, DELETED = 15, 8, 6
"""Rows of a mixed operation, by kind."""
SECONDS_APART = {"mixed": 0.035, "whole": 0.1}
"""From one turn of a client to its next: three operations of a mixed one, one of the other."""
NUMBER = "n"
NUMBER_FIELD_ID = 102
"""The field with the operation's number, after key and vector."""

_INDEX = [{"key": "index_type", "value": "FLAT"}, {"key": "metric_type", "value": "L2"}]
_LOAD_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Operation:
    """A request that was acknowledged."""

    number: int
    """Counts up over all collections and clients, in the order of sending."""
    collection: str
    kind: Kind
    keys: tuple[int, ...]
    sent: float
    acknowledged: float
    """Both by this process' monotonic clock."""
    timestamp: int
    """The hybrid timestamp that the server gave its rows and deletes; 0 where it does not tell, as 2.3.5 of a delete.

    For inserts and upserts the answers of the real 2.3.5 have just the timestamps in its files.
    """


@dataclass(frozen=True, slots=True)
class Target:
    """A collection to write to. Its keys divide among the partitions, so that a key is never in two."""

    name: str
    shards: int = 1
    partitions: tuple[str, ...] = ("_default",)
    is_loaded: bool = True


@dataclass(frozen=True, slots=True)
class _Home:
    """A partition, and the client that inserts keys into it."""

    target: Target
    partition: str
    client: int


@dataclass
class _Keys:
    """Which keys of a home are there, as far as acknowledged operations tell."""

    unused: Iterator[int]
    live: dict[int, None] = field(default_factory=dict)
    """In the order in which they came."""


class Writer:
    """Writes from threads, each a client of its own, until it is left.

    A context manager. What a client was refused is raised when it is left: a log with a gap proves nothing.
    """

    def __init__(
        self, milvus: Milvus, targets: Sequence[Target], profile: Profile, *, seed: int, clients: int = 1
    ) -> None:
        """Describe the writer; nothing is written before it is told to.

        Args:
            milvus: the server.
            targets: the collections, which each client writes to by turns.
            profile: what it writes.
            seed: of all that is left to chance but for time.
            clients: how many write at once. All upsert the same keys where they upsert all; else each has keys of its
                own, so that what happened to a key is clear even where the server does not tell when it was deleted.
        """
        self._milvus, self._targets, self._profile = milvus, tuple(targets), profile
        self._seed, self._clients = seed, clients
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._numbers = itertools.count(1)
        self._keys: dict[_Home, _Keys] = {
            _Home(target, partition, client): _Keys(itertools.count(place, len(target.partitions) * clients))
            for target in self._targets
            for place, (partition, client) in enumerate(itertools.product(target.partitions, range(clients)))
        }
        self._pool = ThreadPoolExecutor(clients, thread_name_prefix="writer")
        self._running: list[Future[None]] = []
        self._log: list[Operation] = []

    @property
    def log(self) -> list[Operation]:
        """What was acknowledged up to now, in the order of sending."""
        with self._lock:
            return sorted(self._log, key=lambda operation: operation.number)

    def make(self) -> None:
        """Create the collections, each with an index, and load those that are to be."""
        for target in self._targets:
            others = [name for name in target.partitions if name != "_default"]
            fields = [*base_fields(), schema_field(NUMBER, "Int64")]
            self._milvus.make(target.name, *fields, shards=target.shards, partitions=others)
            self._milvus.must(
                "CreateIndex", collection_name=target.name, field_name="v", index_name="by_v", extra_params=_INDEX
            )
        client = MilvusClient(self._milvus.uri)
        for target in self._targets:
            if target.is_loaded:
                client.load_collection(target.name, timeout=_LOAD_SECONDS)
        client.close()

    def fill(self, rows: int) -> None:
        """Insert about so many rows into each partition, as operations like all others."""
        for home in self._keys:
            self._insert(self._milvus, home, rows // self._clients)

    def __enter__(self) -> Self:
        """Begin."""
        self._running = [self._pool.submit(self._write, number) for number in range(self._clients)]
        return self

    def __exit__(self, *_: object) -> None:
        """Stop when all requests are answered."""
        self._stop.set()
        self._pool.shutdown()
        for client in self._running:
            client.result()

    def wait_for(self, operations: int, most_seconds: float) -> None:
        """Wait until so many more were acknowledged, or a client was refused something, or for so long."""
        wanted, end = len(self._log) + operations, time.monotonic() + most_seconds
        while len(self._log) < wanted and time.monotonic() < end and not any(one.done() for one in self._running):
            time.sleep(0.01)

    def _write(self, client: int) -> None:
        milvus = replace(self._milvus)  # with a connection of its own
        chance = random.Random(f"{self._seed}/{client}")  # noqa: S311 - the same each time
        due = time.monotonic()
        for target in itertools.cycle(self._targets):
            if self._profile == "mixed":
                self._write_some(milvus, _Home(target, chance.choice(target.partitions), client), chance)
            else:
                self._write_all(milvus, target)
            due = max(due + SECONDS_APART[self._profile], time.monotonic())
            if self._stop.wait(due - time.monotonic()):
                return

    def _write_some(self, milvus: Milvus, home: _Home, chance: random.Random) -> None:
        kinds: list[Kind] = ["insert", "upsert", "delete"]
        chance.shuffle(kinds)
        for kind in kinds:
            live = list(self._keys[home].live)
            match kind:
                case "insert":
                    self._insert(milvus, home, INSERTED)
                case "upsert":
                    keys = chance.sample(live, min(UPSERTED, len(live)))
                    self._send(milvus, "upsert", home.target, home.partition, keys)
                case "delete":
                    keys = chance.sample(live, min(DELETED, len(live)))
                    self._send(milvus, "delete", home.target, chance.choice((home.partition, "")), keys)
                    for key in keys:
                        del self._keys[home].live[key]

    def _write_all(self, milvus: Milvus, target: Target) -> None:
        for partition in target.partitions:
            homes = [home for home in self._keys if (home.target, home.partition) == (target, partition)]
            keys = [key for home in homes for key in self._keys[home].live]
            self._send(milvus, "upsert", target, partition, keys)

    def _insert(self, milvus: Milvus, home: _Home, count: int) -> None:
        keys = list(itertools.islice(self._keys[home].unused, count))
        self._send(milvus, "insert", home.target, home.partition, keys)
        self._keys[home].live |= dict.fromkeys(keys)

    def _send(self, milvus: Milvus, kind: Kind, target: Target, partition: str, keys: Sequence[int]) -> None:
        if not keys:
            return
        names = {"collection_name": target.name, "partition_name": partition}
        with self._lock:
            number = next(self._numbers)
        if kind != "delete":
            data = [numbers("id", keys), vectors("v", len(keys)), numbers(NUMBER, [number] * len(keys))]
            more = {"num_rows": len(keys), "fields_data": data}
        else:
            more = {"expr": f"id in {[*keys]}"}
        sent = time.monotonic()
        answer = milvus.must(kind.capitalize(), **names, **more)
        done = Operation(number, target.name, kind, tuple(keys), sent, time.monotonic(), int(answer.timestamp))
        with self._lock:
            self._log.append(done)
