"""CleanUpRestore: remove what a restore leaves in Milvus and in its bucket.

Only what is this execution's: one that was started since with the same input uses the same names.
"""

from dataclasses import dataclass, field
from itertools import batched
from operator import attrgetter

from milvus_vault.claims import check_owner, end_work
from milvus_vault.copying.pacer import Pacer
from milvus_vault.copying.verify import DELETE_AT_A_TIME
from milvus_vault.deleting import delete_batches, deletion_pacer
from milvus_vault.model.collections import DEFAULT_DATABASE
from milvus_vault.model.names import attempt_of, temporary_name, temporary_prefix
from milvus_vault.parallel import do_each
from milvus_vault.ports import VectorDatabase
from milvus_vault.restore.journal import Journal, JournalEntry
from milvus_vault.restore.working_files import COMPOSED, Attempt, RestorePlan
from milvus_vault.source import MilvusStorage
from milvus_vault.workspace import Workspace

_DROPPED_AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class CleanUp:
    """Removes staged objects and temporary collections. Both belong to this run alone, by their names.

    Each step raises `RunTakenOverError` once another execution has the run.
    """

    run: Workspace
    plan: RestorePlan
    storage: MilvusStorage
    execution_arn: str
    pacer: Pacer = field(default_factory=deletion_pacer)

    def end_work(self) -> None:
        """End the work of this execution's other functions: one of a branch that was given up may still run."""
        end_work(self.run, attempt_of(self.execution_arn))

    def remove_staged_objects(self) -> int:
        """Delete what was copied into Milvus' bucket, and return how many objects that were; then what was composed.

        First of all: a damaged object among them would kill a server that tries its import again on each start.
        """
        if not self.plan.is_staged:
            return 0
        store, bucket = self.run.store, self.storage.bucket
        staged = batched(store.list_objects(bucket, self.plan.staging_folder), DELETE_AT_A_TIME, strict=False)
        gone = delete_batches(store, bucket, staged, attrgetter("key"), pacer=self.pacer, before=self._check_owner)
        count = sum(map(len, gone))
        if composed := list(self.run.names(COMPOSED)):
            self._check_owner()
            self.run.delete(composed)
        return count

    def abandon_unfinished(self) -> None:
        """Write down that no later execution may continue what is dropped now."""
        if self.plan.request.skip_create:
            # Nothing is dropped: the collection is the user's, and what was imported stays in it.
            return
        self._check_owner()
        journal = Journal(self.run)

        def abandon(numbered: tuple[int, JournalEntry]) -> None:
            index, entry = numbered
            if entry.attempts and not (entry.is_finished or entry.has_replaced):
                mark = Attempt(number=entry.latest, name="", execution_arn=self.execution_arn)
                journal.note(index, "abandoned", mark, entry.latest)

        do_each(abandon, journal.read().items())

    def drop_temporary_collections(self, database: VectorDatabase) -> int:
        """Drop the collections that did not get their real name, and return how many there were.

        Not those for which what they replace was dropped, or may have been: the next execution names them.
        """
        kept = {
            temporary_name(self.run.run, index, entry.latest)
            for index, entry in Journal(self.run).read().items()
            if entry.has_replaced and not entry.is_finished
        }
        there = set(database.list_databases())
        # The row that proves the bucket is in the default database, and its collection stays where a task is killed.
        found = [
            (name, collection)
            for name in sorted(({target.database for target in self.plan.targets} | {DEFAULT_DATABASE}) & there)
            for collection in database.list_collections(name)
            if collection.startswith(temporary_prefix(self.run.run)) and collection not in kept
        ]

        def drop(named: tuple[str, str]) -> None:
            self._check_owner()
            database.drop_collection(*named)

        do_each(drop, found, threads=_DROPPED_AT_A_TIME)
        return len(found)

    def _check_owner(self) -> None:
        check_owner(self.run, attempt_of(self.execution_arn), cleans_up=True)
