"""The pause of Milvus' garbage collection during a backup: asked for, written down, and given back.

From 2.6.8 on each pause has its own ticket. Before, there is one pause for all, and who ends it ends it for
everybody; so the last of the executions that asked for it ends it. Pauses are renewed as long as
their executions run. TendPauses, which renews them, also gives back those of aborted executions; at the latest a pause
ends by itself.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from milvus_vault.errors import MilvusRequestError, MilvusUnavailableError, WorkingFileError
from milvus_vault.model.base import Model
from milvus_vault.model.names import attempt_of
from milvus_vault.model.times import Time
from milvus_vault.ports import Executions, GarbageCollector, ObjectStore
from milvus_vault.workspace import Workspace

# For so long at most garbage collection stays paused after an execution that nobody could end properly.
GC_PAUSE_SECONDS = 3600

# A pause that ends within this time is renewed: the clock ticks three times in it.
RENEW_SECONDS = 1800

_FOLDER = "pauses"


class Pause(Model):
    """A pause that an execution has asked for: `<prefix>/.runs/pauses/<attempt>.json`."""

    execution_arn: str
    ticket: str
    """Names it to the server; empty where the server has one pause for all."""
    ends_at: Time
    """When it ends by itself."""


class Tended(NamedTuple):
    """What was done about the pauses that are noted."""

    renewed: int
    ended: int
    failures: tuple[str, ...]


class Pauses:
    """The pauses that backups have asked for."""

    def __init__(self, store: ObjectStore, bucket: str, prefix: str) -> None:
        self._store = store
        self._bucket = bucket
        # Not a run's, but documents like those.
        self._notes = Workspace(store, bucket, prefix, _FOLDER)
        self._folder = self._notes.folder

    def begin(self, collector: GarbageCollector, execution_arn: str, now: datetime) -> list[str]:
        """Pause garbage collection, unless this execution has; return a warning where that is not possible.

        Without a pause a backup is as right, only slower where segments vanish.
        """
        try:
            mine = self._find(self._key(execution_arn))
            if mine is not None and mine.ends_at > now:
                return []
            self._begin(collector, execution_arn, now)
        except (MilvusRequestError, MilvusUnavailableError, WorkingFileError) as err:
            return [f"Garbage collection was not paused: {err.message}"]
        return []

    def tend(self, collector: GarbageCollector, executions: Executions, now: datetime, *, ending: str = "") -> Tended:
        """Renew the pauses of executions that run and give back those of executions that have ended.

        A pause that cannot be renewed or given back is reported, and left for the next time. Those of another stack are
        left to it. With `ending` only the pause of that execution is given back, though it still runs; raises
        `MilvusUnavailableError` where Milvus does not answer, since the machine tries again.
        """
        if ending:
            return self._tend_ending(collector, ending, now)
        renewed = ended = 0
        failures: list[str] = []
        for listed in list(self._store.list_objects(self._bucket, self._folder)):
            try:
                pause = self._find(listed.key)
                status = executions.status(pause.execution_arn) if pause else "UNKNOWN"
                if pause is None or status == "UNKNOWN":
                    continue
                if status != "RUNNING":
                    ended += self.end(collector, pause.execution_arn, now)
                elif pause.ends_at - now < timedelta(seconds=RENEW_SECONDS):
                    self._renew(collector, pause, now)
                    renewed += 1
            except (MilvusRequestError, MilvusUnavailableError, WorkingFileError) as err:
                failures.append(err.message)
        return Tended(renewed, ended, tuple(failures))

    def _tend_ending(self, collector: GarbageCollector, execution_arn: str, now: datetime) -> Tended:
        try:
            return Tended(0, int(self.end(collector, execution_arn, now)), ())
        except (MilvusRequestError, WorkingFileError) as err:
            # Milvus was restarted and no longer knows the ticket, or another one holds it, or the note is damaged.
            return Tended(0, 0, (err.message,))

    def _renew(self, collector: GarbageCollector, pause: Pause, now: datetime) -> None:
        """Pause anew, note it, and only then give back the ticket of before: a ticket that is lost could not be."""
        ticket = self._begin(collector, pause.execution_arn, now)
        if ticket and pause.ticket and pause.ends_at > now:
            collector.resume(pause.ticket)

    def _begin(self, collector: GarbageCollector, execution_arn: str, now: datetime) -> str:
        ticket = collector.pause(GC_PAUSE_SECONDS)
        pause = Pause(execution_arn=execution_arn, ticket=ticket, ends_at=now + timedelta(seconds=GC_PAUSE_SECONDS))
        self._store.put(self._bucket, self._key(execution_arn), pause.model_dump_json().encode())
        return ticket

    def end(self, collector: GarbageCollector, execution_arn: str, now: datetime) -> bool:
        """Give the execution's pause back; return whether the server was told.

        Raises `MilvusUnavailableError` or `MilvusRequestError` where it could not be told, and `WorkingFileError`
        where what is noted of a pause cannot be read.
        """
        key = self._key(execution_arn)
        mine = self._find(key)
        if mine is None:
            return False
        if mine.ends_at <= now:
            # Over by itself. Without a ticket, what is paused now would be somebody else's.
            self._store.delete(self._bucket, [key])
            return False
        if mine.ticket:
            collector.resume(mine.ticket)
            self._store.delete(self._bucket, [key])
            return True
        # First: of two executions that end at once, the second sees only its own.
        self._store.delete(self._bucket, [key])
        try:
            if any(not other.ticket for other in self._others(now)):
                return False
            collector.resume("")
        except (MilvusUnavailableError, WorkingFileError):
            self._store.put(self._bucket, key, mine.model_dump_json().encode())
            raise
        return True

    def _others(self, now: datetime) -> Iterator[Pause]:
        """Yield the pauses that have not ended, and forget those that have."""
        for listed in list(self._store.list_objects(self._bucket, self._folder)):
            found = self._find(listed.key)
            if found is not None and found.ends_at > now:
                yield found
            else:
                self._store.delete(self._bucket, [listed.key])

    def _key(self, execution_arn: str) -> str:
        return f"{self._folder}{attempt_of(execution_arn)}.json"

    def _find(self, key: str) -> Pause | None:
        return self._notes.find(key.removeprefix(self._folder), Pause)
