"""How far each collection of a restore has come: small documents, each written once.

    collections/<index>/attempt-<n>.json         `Attempt`: this name is going to be created
    collections/<index>/created-<n>.json         `Created`: it exists, with the right fields
    collections/<index>/importing-<n>-<k>.json   `Attempt`: from now on jobs may have been started
    collections/<index>/jobs-<n>-<k>.json        `ImportJobs`: these were, for rows, as many as it took of a round
    collections/<index>/deletes-<n>-<k>.json     `ImportJobs`: those for deletes, which come after all rows
    collections/<index>/done-<n>.json            `JobsDone`: what is done of them; the one that is written again
    collections/<index>/imported-<n>.json        `Imported`: all are done, and the rows are all there
    collections/<index>/abandoned-<n>.json       `Attempt`: its collection was dropped
    collections/<index>/replaced.json            `Replaced`: what has its name is dropped from now on
    collections/<index>/finished.json            `Finished`
    collections/<index>/failed.json              `Failed`

Importing the same files twice doubles the rows, and a killed execution can have started jobs of which
nobody knows (its function may even still run). So a successor never continues an attempt whose jobs
are not all written down: it makes a new collection under another name, where nobody else imports.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from milvus_vault.claims import check_owner
from milvus_vault.errors import VaultError
from milvus_vault.model.base import Model
from milvus_vault.model.names import attempt_of
from milvus_vault.parallel import for_each
from milvus_vault.restore.working_files import Failed
from milvus_vault.workspace import Workspace

_NAME = re.compile(
    r"collections/(\d+)/(?:"
    r"(attempt|created|importing|jobs|deletes|done|imported|abandoned)-(\d+)(?:-\d+)?|(finished|failed|replaced))\.json"
)


@dataclass(slots=True)
class JournalEntry:
    """Which documents a collection has."""

    attempts: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """How many documents of each step an attempt has."""
    is_finished: bool = False
    has_failed: bool = False
    has_replaced: bool = False
    """Whether what has its name was dropped, or may have been: then this is the only one."""

    @property
    def latest(self) -> int:
        """Return the number of the latest attempt; 0 where there is none."""
        return max(self.attempts, default=0)

    @property
    def is_imported(self) -> bool:
        """Return whether the rows are in a collection that is still there."""
        return self.is_finished or (self.has("imported") and not self.has("abandoned"))

    def has(self, step: str) -> bool:
        """Return whether the latest attempt has got to a step."""
        return self.count(step) > 0

    def count(self, step: str) -> int:
        """Return how many documents of a step the latest attempt has."""
        return self.attempts[self.latest][step] if self.attempts else 0

    @property
    def knows_its_jobs(self) -> bool:
        """Return whether all jobs that may have been started are written down."""
        return self.count("importing") == self.count("jobs")


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of all collections of a run."""

    run: Workspace

    def read(self) -> dict[int, JournalEntry]:
        """Return the progress of every collection that has any, by one listing."""
        return self._read("collections/")

    def entry(self, index: int) -> JournalEntry:
        """Return the progress of one collection."""
        return self._read(f"collections/{index}/")[index]

    def _read(self, folder: str) -> dict[int, JournalEntry]:
        progress: dict[int, JournalEntry] = defaultdict(JournalEntry)
        for name in self.run.names(folder):
            if not (found := _NAME.fullmatch(name)):
                continue
            entry = progress[int(found[1])]
            if found[2]:
                entry.attempts[int(found[3])][found[2]] += 1
            elif found[4] == "finished":
                entry.is_finished = True
            elif found[4] == "replaced":
                entry.has_replaced = True
            else:
                entry.has_failed = True
        return progress

    def note(self, index: int, step: str, document: Model, *numbers: int) -> bool:
        """Write a step down unless it was before; return whether it was written. Atomic.

        `numbers` are that of the attempt and, of jobs, that of the turn in which they were started.
        """
        return self.run.write_new(self._name(index, step, *numbers), document)

    def note_again(self, index: int, step: str, document: Model, attempt: int) -> None:
        """Write a step down, whether or not it was before."""
        self.run.write(self._name(index, step, attempt), document)

    def take_back(self, index: int, step: str, *numbers: int) -> None:
        """Delete what this execution has noted."""
        self.run.delete([self._name(index, step, *numbers)])

    def get[T: Model](self, index: int, step: str, model: type[T], *numbers: int) -> T:
        """Return what was written of a step. Raises `ObjectNotFoundError`."""
        return self.run.read(self._name(index, step, *numbers), model)

    def find[T: Model](self, index: int, step: str, model: type[T]) -> T | None:
        """Return what was written of a step, or None."""
        return self.run.find(self._name(index, step), model)

    def work_on(self, indexes: Iterable[int], work: Callable[[int], None], *, execution_arn: str, threads: int) -> None:
        """Do the work for each collection, in threads, and write down each failure that lasts.

        Raises `RunTakenOverError` once another execution has the run: it may have dropped what fails here.
        """
        copying_attempt = attempt_of(execution_arn)

        def work_as_owner(index: int) -> None:
            check_owner(self.run, copying_attempt)
            work(index)

        def fail_as_owner(index: int, error: VaultError) -> None:
            check_owner(self.run, copying_attempt)
            self.fail(index, error)

        for_each(indexes, work_as_owner, threads=threads, on_failure=fail_as_owner)

    def fail(self, index: int, error: VaultError) -> None:
        """Write down why a collection cannot be restored."""
        failed = Failed(error=type(error).__name__, message=error.message, hint=error.hint)
        self.run.write(self._name(index, "failed"), failed)

    def forget(self, index: int) -> None:
        """Begin anew with a collection."""
        self.run.delete(list(self.run.names(f"collections/{index}/")))

    def forget_failures(self, indexes: Iterable[int]) -> None:
        """Give failed collections another chance, in a run that is started again."""
        self.run.delete([self._name(index, "failed") for index in indexes])

    @staticmethod
    def _name(index: int, step: str, *numbers: int) -> str:
        return f"collections/{index}/{'-'.join((step, *map(str, numbers)))}.json"
