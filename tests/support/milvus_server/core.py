"""One Milvus: its parts, and the settings that tests turn."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from tests.support.milvus_server.catalog import FLUSHED, Catalog, Collection, Segment
from tests.support.milvus_server.clock import Agenda, Clock
from tests.support.milvus_server.objects import Objects
from tests.support.milvus_server.segment_files import Writer
from tests.support.milvus_server.versions import Durations, Version


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator could have set, and how fast time goes."""

    speed: float = 20.0
    """A server that takes a twentieth of the time for everything; 1 for the durations of a real one."""
    durations: Durations | None = None
    """Instead of the version's own."""
    authorization: bool = False
    guards_binlogs: bool = False
    """Imports of binlogs and of deletes take the right ImportBinlog, as in the source of Milvus since August 2026."""
    auto_compaction: bool = True
    """Fold deletes at level 0 into the segments that they concern, by and by."""
    waits_for_index: bool = True
    """Import jobs stay at 70 % until the new segments are indexed."""
    query_nodes: int = 1
    """In the default resource group; each takes one replica of a collection."""
    most_databases: int = 64
    most_shards: int = 16
    most_import_files: int = 1024
    most_import_jobs: int = 1024
    """That have not ended."""
    in_flight: float = 0.0
    """The longest that a request with rows or deletes is on its way, in seconds of real time.

    Up to 2.5 it has its timestamp all the while, and its rows find their segments only at the end.
    """
    compacts_every: float = 0.0
    """Seconds of the server's time after which it compacts by itself, again and again; 0: it does not."""
    segment_rows: int = 0
    """How many rows fill a segment: compactions take what Milvus' policy picks. 0: they make one of each partition."""
    entity_expiration: float = 0.0
    """Seconds of real time after which rows expire in collections that do not say themselves; 0: never."""
    seed: int = 0
    """Of what is left to chance."""


@dataclass
class Faults:
    """What goes wrong, switched on by tests while the server runs."""

    unavailable_calls: int = 0
    """So many calls are answered with UNAVAILABLE, before anything is done."""
    unavailable_names: frozenset[str] = frozenset()
    """Only these calls are; empty: all."""
    refused_names: frozenset[str] = frozenset()
    """These calls are refused, whatever they ask for."""
    refused_index: str = ""
    """The index of this name is refused."""
    lost_answers: int = 0
    """So many calls are done, and then answered with UNAVAILABLE: the client cannot know."""
    dies_of_damage: bool = False
    """A damaged binlog ends the server as it ends 2.3 to 2.5, instead of failing the import."""
    empties_damaged: bool = False
    """A damaged binlog is imported as no rows at all, as 2.6 does with some."""
    stuck_at_index: bool = False
    """Import jobs stay at 70 %."""
    forgets_imports: bool = False
    """Records of import jobs vanish at once when they end."""
    loses_segments: int = 0
    """So many times the list of segments fails, as it does while a compaction swaps them."""
    loses_services: bool = False
    """Services that functions call do not answer."""
    expires_imports: bool = False
    """Import jobs end as those do that take longer than the server lets them."""
    garbles_wildcards: bool = False
    """A grant of all privileges comes out of RestoreRBAC as one of a group that there is not, as before 2.6.15."""
    admins_see_imports: bool = False
    """REST tells the state of imports to an admin alone, as 2.6.4 does."""
    names_old_nodes: bool = False
    """CheckHealth names nodes of the session before the server was started again, as the real 2.5.27 for a while."""
    over_disk_quota: bool = False
    """No rows are taken, nor imported where the import does not ask for no check of the quota."""
    moves_leader: int = 0
    """So many calls are answered as by a coordinator that has just lost its lead."""
    time_runs_back: int = 0
    """AllocTimestamp answers so many milliseconds too early, as by a clock that was set back."""


@dataclass
class Core:
    """All parts of one server. Whoever reads or changes any of them holds the lock."""

    version: Version
    settings: Settings
    objects: Objects
    root: str
    clock: Clock = field(init=False)
    agenda: Agenda = field(init=False)
    catalog: Catalog = field(init=False)
    writer: Writer = field(init=False)
    faults: Faults = field(default_factory=Faults)
    lock: threading.RLock = field(default_factory=threading.RLock)
    die: Callable[[], None] = lambda: None
    """What a fault calls that ends the server."""

    def __post_init__(self) -> None:
        """Make the parts."""
        self.clock = Clock(self.settings.speed)
        self.agenda = Agenda(self.clock)
        self._random = np.random.default_rng(self.settings.seed)
        self._arrived = threading.Condition(self.lock)
        self.catalog = Catalog(self.version)
        self.writer = Writer(
            self.objects, self.root, self.version.storage, self.version.names_fields, self.clock.new_id
        )

    @property
    def durations(self) -> Durations:
        """How long things take."""
        return self.settings.durations or self.version.durations

    def after(self, seconds: float, work: Callable[[], None]) -> None:
        """Do something later, with the lock held."""

        def locked() -> None:
            with self.lock:
                work()

        self.agenda.after(seconds, locked)

    @contextmanager
    def stamped(self, collection: Collection) -> Iterator[int]:
        """Give a request its timestamp, and begin when it has arrived, which may be a while later.

        Up to 2.5 it has its timestamp before its rows have segments: on the real 2.5.27 an upsert of just before a
        flush had its rows in a segment of just after. From 2.6 on the log gives timestamps to what is appended, as the
        source says: there is no such gap.
        """
        if not self.version.stamps_early:
            self._travel()
            yield self.clock.timestamp()
            return
        timestamp = self.clock.timestamp()
        collection.in_flight.append(timestamp)
        try:
            self._travel()
            yield timestamp
        finally:
            collection.in_flight.remove(timestamp)
            self._arrived.notify_all()

    def _travel(self) -> None:
        if self.settings.in_flight > 0:
            seconds = float(self._random.uniform(0, self.settings.in_flight))
            with self.unlocked():
                time.sleep(seconds)

    def wait_for_requests(self, collection: Collection, timestamp: int) -> None:
        """Return when all requests have arrived that have an older timestamp, as the time tick of a channel says."""
        self._arrived.wait_for(lambda: not collection.expects(timestamp))

    def new_segment(self, collection: Collection, partition_id: int, channel: str, level: int) -> Segment:
        """Add an empty segment."""
        segment = Segment(self.clock.new_id(), collection.collection_id, partition_id, channel, level)
        segment.storage_version = self.version.storage
        collection.segments[segment.segment_id] = segment
        return segment

    def mark_flushed(self, segment: Segment) -> None:
        """Say that a segment's files are written."""
        segment.state = FLUSHED
        segment.flushed_at = self.clock.now()

    @contextmanager
    def unlocked(self) -> Iterator[None]:
        """Let others in while files are read, or while a request is on its way."""
        self.lock.release()
        try:
            yield
        finally:
            self.lock.acquire()
