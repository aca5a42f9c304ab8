"""Indexes, load, a last count, and then the collection's real name."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from milvus_vault.claims import check_owner
from milvus_vault.errors import (
    CollectionExistsError,
    IndexFailedError,
    LoadFailedError,
    MilvusRequestError,
    RowCountMismatchError,
)
from milvus_vault.model.names import attempt_of
from milvus_vault.model.readable import with_reason
from milvus_vault.ports import VectorDatabase
from milvus_vault.restore.aliases import dropped_warnings, give_aliases
from milvus_vault.restore.indexes import create_missing_indexes
from milvus_vault.restore.journal import Journal, JournalEntry
from milvus_vault.restore.working_files import (
    Attempt,
    Created,
    Finished,
    Imported,
    Replaced,
    RestorePlan,
    ServedSoFar,
    Target,
)
from milvus_vault.workspace import Workspace

FULLY_LOADED = 100

# In a collection that was loaded before the import, a 2.3 server shows the rows 12 to 15 s after it (measured).
LATE_ROWS_SECONDS = 300

_STAYS_HINT = (
    "The collection that was to be replaced stays as it is. Restore beside it (`suffix`), where what Milvus refuses is"
    " a warning, or with `load: false`."
)


class Waiting(NamedTuple):
    """A collection of which all rows are imported, and which Milvus indexes or loads."""

    since: datetime
    """Since when it has been waited for."""
    served: ServedSoFar


class _Served(NamedTuple):
    """How far a collection's indexes and load are, and what cannot be."""

    waits: ServedSoFar | None = None
    """None: there is nothing left to be done."""
    warnings: tuple[str, ...] = ()
    is_counted: bool = False
    """Whether a query has counted the rows."""


@dataclass(frozen=True, slots=True)
class Finishing:
    """Brings imported collections to their end, a step further with each call."""

    run: Workspace
    plan: RestorePlan
    database: VectorDatabase
    execution_arn: str

    def bring_on(self, journal: Journal, index: int, entry: JournalEntry, target: Target) -> Waiting | None:
        """Bring an imported collection as far as it goes without waiting for Milvus; None where it is finished."""
        made = {
            journal.get(index, "created", Created, attempt).collection_id: attempt
            for attempt, steps in entry.attempts.items()
            if "created" in steps
        }
        current = self.database.collection_id(target.name.database, target.name.name)
        # Found under its real name, it is an existing target (skip_create), or one that an execution named
        # and was killed before it could say so.
        attempt = made.get(current, entry.latest) if current is not None else entry.latest
        name = journal.get(index, "attempt", Attempt, attempt).name if current not in made else target.name.name
        imported = journal.get(index, "imported", Imported, attempt) if self._has_rows else Imported(row_count=0)
        served = self._serve(target, name, imported)
        if served.waits:
            return Waiting(self._since(imported), served.waits)
        if current not in made:
            self._take_name(target, name, current, journal)
        aliases, warnings = self._give_aliases(target, journal)
        collection_id = next(number for number, made_by in made.items() if made_by == attempt)
        finished = Finished(
            collection_id=collection_id,
            row_count=imported.row_count,
            # What was imported is counted by Milvus' jobs, what deletes leave of it by a query alone.
            is_counted=served.is_counted or not target.deletes,
            aliases=tuple(aliases),
            warnings=(*served.warnings, *warnings, *_doubts(target, imported)),
        )
        journal.note(index, "finished", finished)
        return None

    def _since(self, imported: Imported) -> datetime:
        """Return when this execution began to index and to load a collection."""
        return max(imported.imported_at or self.plan.started_at, self.plan.started_at)

    @property
    def _has_rows(self) -> bool:
        return not self.plan.request.meta_only

    def _serve(self, target: Target, name: str, imported: Imported) -> _Served:
        """Bring indexes and load state to what they were; say whether Milvus has got there, or cannot.

        What Milvus refuses can be done later, by hand, and is a warning: it costs no rows that are in. What a restore
        is to replace is still served, and stays: then the refusal is raised.
        """
        refused: tuple[str, ...] = ()
        try:
            refused = self._refused_indexes(target, name)
            if not self._wants_load(target):
                return _Served(warnings=refused)
            indexes = self.database.index_progress(target.name.database, name)
            so_far = ServedSoFar(indexed_rows=indexes.rows_done, rows_to_index=indexes.rows_total)
            # Before its index is built, a segment that is loaded answers from a makeshift index, less exactly.
            if not indexes.is_built:
                return _Served(so_far)
            percent = self._load_percent(target, name)
            is_counted = self._has_rows and not target.loaded_partitions
            if percent == FULLY_LOADED and (not is_counted or self._shows_all_rows(target, name, imported)):
                return _Served(warnings=refused, is_counted=is_counted)
            return _Served(so_far.model_copy(update={"load_percent": percent or 0}))
        except (IndexFailedError, LoadFailedError, MilvusRequestError) as err:
            # Milvus knows it by the name that it has until it is whole.
            said = err.message.replace(name, target.name.name)
            if target.replaces is not None:
                raise type(err)(said, hint=_STAYS_HINT) from err
            uncounted = f"{target.name} is restored, but not as it was, and no query has counted its rows."
            return _Served(warnings=(*refused, with_reason(uncounted, said)))

    def _refused_indexes(self, target: Target, name: str) -> tuple[str, ...]:
        """Create the indexes, and say where Milvus refuses some; the others serve all the same."""
        try:
            if self.plan.request.restore_index:
                create_missing_indexes(self.database, target, name)
        except MilvusRequestError as err:
            if target.replaces is not None:
                raise
            said = err.message.replace(name, target.name.name)
            return (with_reason(f"{target.name} is restored without an index.", said),)
        return ()

    def _wants_load(self, target: Target) -> bool:
        request = self.plan.request
        return request.load and request.restore_index and target.load_state.is_wanted

    def _load_percent(self, target: Target, name: str) -> int | None:
        """Return how much of the collection is loaded; where nothing is, ask for it."""
        database, partitions = target.name.database, target.loaded_partitions
        percent = self.database.load_percent(database, name, partitions)
        if not percent:
            self.database.request_load(
                database,
                name,
                replicas=target.replicas,
                partitions=partitions,
                resource_groups=target.resource_groups,
            )
        return percent

    def _shows_all_rows(self, target: Target, name: str, imported: Imported) -> bool:
        """Return whether a query finds all rows; raises `RowCountMismatchError` where it will not."""
        found, rows = self.database.count_rows(target.name.database, name), imported.row_count
        may_be_fewer = target.has_time_to_live or imported.has_deletes_after
        if found == rows or (may_be_fewer and found < rows):
            return True
        # With skip_create the user may have loaded the collection already.
        seconds = (datetime.now(UTC) - self._since(imported)).total_seconds()
        if self.plan.request.skip_create and found < rows and seconds < LATE_ROWS_SECONDS:
            return False
        msg = f"{target.name} was restored with {rows} row(s), and a query finds {found}"
        if found < rows:
            # From 2.5 on a query leaves such rows out, and no call tells of the setting.
            msg += "; the others may have expired, if the target has common.entityExpiration"
        raise RowCountMismatchError(msg, hint="Do not use the restored collection; start the restore again.")

    def _take_name(self, target: Target, name: str, current: int | None, journal: Journal) -> None:
        """Give the collection its real name; what it replaces is dropped only now that this one is whole.

        Milvus refuses a name that is taken, so of two restores that get here only one has it.
        """
        database, real = target.name.database, target.name.name
        if current is not None and current == target.replaces:
            aliases = sorted(self.database.list_aliases(database, real))
            journal.note(target.index, "replaced", Replaced(aliases=tuple(aliases)))
            # A clean-up ends the work and then looks for these notes: either it keeps the new one, or this drops none.
            check_owner(self.run, attempt_of(self.execution_arn))
            self.database.drop_collection(database, real)
        elif current is not None:
            msg = f"{target.name} was created by somebody else during the restore"
            raise CollectionExistsError(msg, hint="Rename or drop it, and start the restore again.")
        self.database.rename_collection(database, name, real)

    def _give_aliases(self, target: Target, journal: Journal) -> tuple[list[str], list[str]]:
        """Give the collection its aliases and those of the one that it replaces; return them, and warnings."""
        replaced = journal.find(target.index, "replaced", Replaced) or Replaced()
        request = self.plan.request
        if not request.restore_aliases:
            return [], dropped_warnings(replaced.aliases)
        aliases = sorted({*target.aliases, *replaced.aliases})
        return give_aliases(self.database, target.name, aliases, switch=request.switch_aliases)


def _doubts(target: Target, imported: Imported) -> Iterator[str]:
    """Yield a warning where a collection came back empty, and nothing proves that its rows were all deleted.

    2.2 and 2.3 call an import of a path that they cannot see completed, with no rows.
    """
    expected = sum(pair.row_count for source in target.imports for pair in source.pairs)
    if expected and not imported.row_count and target.live_row_count is None:
        yield f"None of the {expected} row(s) of {target.source} came back: right only if all of them were deleted."
