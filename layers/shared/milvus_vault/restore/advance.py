"""AdvanceRestore: bring every collection as far as it goes without waiting, whatever the others wait for.

    staged ─ created (create.py) ─ imported (submission.py, imports.py) ─ indexed, loaded, counted, named (finish.py)

Its journal tells how far a collection is. The import of a large one begins with those of its segments that are staged.
What is waited for is S3's copying or Milvus' own work, never another collection.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from milvus_vault.copying.verify import incomplete_targets
from milvus_vault.errors import MilvusUnavailableError
from milvus_vault.model.names import attempt_of
from milvus_vault.ports import Importer, VectorDatabase
from milvus_vault.restore.create import Creation
from milvus_vault.restore.finish import Finishing
from milvus_vault.restore.imports import Imports, Look
from milvus_vault.restore.journal import Journal, JournalEntry
from milvus_vault.restore.submission import Submission
from milvus_vault.restore.working_files import RestorePlan, ServedSoFar, ServingMoved, Target, serving_name, target_name
from milvus_vault.workspace import Workspace

# Before a call has to be over, a collection gets no further turn: it may wait for two answers, a minute each.
RESERVE_SECONDS = 120

LONGEST_SECONDS = 60
SHORTEST_SECONDS = 1

# Three state transitions cost as much as 2.2 s of a function with 2 GB ($0.000025 each, $0.0000167 a GB-second).
LONGEST_IN_CALL_SECONDS = 2

# A Wait, a Task and a Choice are 9 of the 25,000 events that an execution's history may have. Collections that get
# further one by one would be looked at every few seconds, all day: so a wait outside the function is at least a
# fiftieth of the execution's age, up to 45 s: in 24 h 50 * ln(2250 / 30) = 216 rounds, and 84,150 / 45 = 1,870.
_ROUNDS_WHILE_YOUNG = 50
_LONGEST_ROUND_SECONDS = 45

# For so long a pass looks whether collections are staged, before it turns to those that are.
_PROVING_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Advanced:
    """How many collections are where they should be."""

    finished: int
    failed: int
    pending: int
    wait_seconds: int
    """When to look again."""

    @property
    def is_done(self) -> bool:
        """Return whether there is nothing left to wait for."""
        return self.pending == 0


@dataclass(slots=True)
class _Pass:
    """What one pass over the collections has seen, from many threads."""

    looks: dict[int, Look] = field(default_factory=dict)
    """By index: how far the imports are of the collections that were asked for."""
    served: dict[int, ServedSoFar] = field(default_factory=dict)
    """By index: how far the collections are that Milvus indexes or loads."""
    unanswered: list[MilvusUnavailableError] = field(default_factory=list)
    since: list[datetime] = field(default_factory=list)
    """Since when the collections have waited for what they wait for."""
    ran_short: bool = False
    """Whether the call had no time for some of them."""

    def wait_seconds(self, now: datetime) -> int:
        """Return when the first of them should be looked at again."""
        if self.ran_short:
            return SHORTEST_SECONDS
        return min((seconds_to_wait((now - since).total_seconds()) for since in self.since), default=0)


@dataclass(frozen=True, slots=True)
class Advance:
    """The collections of a restore, in one call of a function."""

    run: Workspace
    plan: RestorePlan
    database: VectorDatabase
    importer: Importer
    execution_arn: str
    threads: int
    seconds_left: Callable[[], float]
    """Until the call has to be over."""
    _checked: set[int] = field(default_factory=set)
    """Targets of the copy that this call has looked at: each once."""

    def advance_for(self, seconds: float, pause: Callable[[float], None] = time.sleep) -> Advanced:
        """Advance, and again after each short wait, for about so many seconds."""
        end = time.monotonic() + seconds
        while True:
            advanced = self.advance()
            wait = advanced.wait_seconds
            if advanced.is_done or wait > LONGEST_IN_CALL_SECONDS or time.monotonic() + wait > end:
                age = (datetime.now(UTC) - self.plan.started_at).total_seconds()
                return replace(advanced, wait_seconds=max(wait, seconds_of_round(age)))
            pause(wait)

    def advance(self) -> Advanced:
        """Bring each collection as far as it goes now, and write down which cannot be restored.

        Raises `MilvusUnavailableError` where Milvus answered no question about imports, and what befalls all
        collections alike, as a database that cannot be made.
        """
        creation = Creation(self.run, self.plan, self.database, self.execution_arn)
        submission = Submission(self.run, self.plan, self.database, self.importer, self.execution_arn)
        imports = Imports(self.run, self.plan, self.database, self.importer, self.execution_arn, submission)
        finishing = Finishing(self.run, self.plan, self.database, self.execution_arn)
        creation.make_databases()
        journal = Journal(self.run)
        progress = journal.read()
        todo = [i for i in range(len(self.plan.targets)) if not (progress[i].is_finished or progress[i].has_failed)]
        seen, unstaged = _Pass(), self._unstaged()
        if not unstaged.keys().isdisjoint(todo):
            seen.since.append(self.plan.started_at)

        def bring_on(index: int) -> None:
            if self.seconds_left() < RESERVE_SECONDS:
                seen.ran_short = True
                return
            # Read anew in each pass: of 10,000 collections, with 20 fields each, they would take 670 MB.
            target, entry = self.run.read(target_name(index), Target), progress[index]
            if not creation.can_go_on(journal, index, entry):
                creation.new_attempt(index, entry.latest)
                entry = journal.entry(index)
            if self._has_rows and not entry.has("imported"):
                if not self._is_imported(seen, imports, journal, index, entry, target, unstaged.get(index)):
                    return
                entry = journal.entry(index)
            waiting = finishing.bring_on(journal, index, entry, target)
            if waiting is not None:
                seen.since.append(waiting.since)
                seen.served[index] = waiting.served

        ready = [index for index in todo if unstaged.get(index) != 0]
        journal.work_on(ready, bring_on, execution_arn=self.execution_arn, threads=self.threads)
        if seen.unanswered and not seen.looks:
            raise seen.unanswered[0]
        if seen.looks:
            imports.check_moves(journal, seen.looks)
        self._note_served(seen.served)
        entries = journal.read().values()
        finished = sum(entry.is_finished for entry in entries)
        failed = sum(entry.has_failed and not entry.is_finished for entry in entries)
        return Advanced(
            finished=finished,
            failed=failed,
            pending=len(self.plan.targets) - finished - failed,
            wait_seconds=max(SHORTEST_SECONDS, seen.wait_seconds(datetime.now(UTC))),
        )

    def _note_served(self, served: Mapping[int, ServedSoFar]) -> None:
        """Write down how far Milvus is with indexing and loading, for those who follow the run."""
        if not served:
            return
        name = serving_name(self.execution_arn)
        before = self.run.find(name, ServingMoved) or ServingMoved()
        now = before.seen(served, datetime.now(UTC))
        if now is not before:
            self.run.write(name, now)

    def _is_imported(
        self,
        seen: _Pass,
        imports: Imports,
        journal: Journal,
        index: int,
        entry: JournalEntry,
        target: Target,
        staged_pairs: int | None,
    ) -> bool:
        """Look after the imports of a collection, and return whether they are through."""
        try:
            look = imports.look(journal, index, entry, target, staged_pairs=staged_pairs)
        except MilvusUnavailableError as err:
            # The next pass asks again. The others were perhaps answered.
            seen.unanswered.append(err)
            seen.since.append(datetime.now(UTC))
            return False
        seen.looks[index] = look
        if not look.is_done:
            seen.since.append(look.since)
        return look.is_done

    @property
    def _has_rows(self) -> bool:
        return not self.plan.request.meta_only

    def _unstaged(self) -> dict[int, int]:
        """Return the collections whose objects are not yet all where Milvus can import them from.

        Each with how many of its pairs of prefixes, from the first, are. With skip_create nothing is begun before all
        are: a clean-up does not drop the user's collections, and what was imported stays.
        """
        if not self.plan.is_staged:
            return {}
        end = time.monotonic() + _PROVING_SECONDS
        left = incomplete_targets(
            self.run,
            attempt_of(self.execution_arn),
            checked=self._checked,
            has_time=lambda: time.monotonic() < end and self.seconds_left() > RESERVE_SECONDS,
        )
        return dict.fromkeys(range(len(self.plan.targets)), 0) if left and self.plan.request.skip_create else left


def seconds_to_wait(elapsed_seconds: float) -> int:
    """Return a tenth of the time that has passed: at most a tenth more is lost by looking too late."""
    return min(LONGEST_SECONDS, max(SHORTEST_SECONDS, int(elapsed_seconds / 10)))


def seconds_of_round(age_seconds: float) -> int:
    """Return for how long at least the machine waits between two calls, by the age of its execution."""
    return min(_LONGEST_ROUND_SECONDS, max(SHORTEST_SECONDS, int(age_seconds / _ROUNDS_WHILE_YOUNG)))
