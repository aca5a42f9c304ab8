"""What stands in the way of a restore in the target Milvus, what a run may replace, and what it is to make."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from milvus_vault.archive.contents import ArchivedCollection
from milvus_vault.claims import DIED, Claim
from milvus_vault.errors import (
    CollectionExistsError,
    CollectionNotFoundError,
    InvalidRequestError,
    TargetClaimedError,
)
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.messages import Occupied
from milvus_vault.model.names import WATCH_OR_STOP, named_run
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.model.times import utc_second
from milvus_vault.parallel import SMALL_REQUESTS_AT_A_TIME, do_each, each
from milvus_vault.ports import Executions, Flushes, Loads, Schemas
from milvus_vault.restore.cut import cut_of
from milvus_vault.restore.journal import Journal, JournalEntry
from milvus_vault.restore.loading import Loading
from milvus_vault.restore.schema import NAMED_IN_MESSAGE, check_alike
from milvus_vault.restore.working_files import PLAN, Created, Finished, RestorePlan, Target
from milvus_vault.source import StoredCollections
from milvus_vault.workspace import Workspace

EMPTINESS_FLUSH_SECONDS = 120.0


class FlushedCollections(StoredCollections, Flushes, Protocol):
    """Which collections there are, and whether they have rows."""


@dataclass(frozen=True, slots=True)
class TargetCheck:
    """Compares the wanted targets with what is there."""

    request: RestoreRequest
    database: FlushedCollections
    journal: Journal
    may_flush: bool = True
    """Whether rows that are still in memory may be flushed to see whether there are any: else they are not seen."""

    def replaced(
        self, collections: Sequence[tuple[ArchivedCollection, CollectionName]], progress: Mapping[int, JournalEntry]
    ) -> list[int | None]:
        """Return for each target the ID of the collection that it replaces, if any.

        What an earlier, killed execution of this very run made does not count. Raises
        `CollectionExistsError`, or with skip_create `CollectionNotFoundError` and `FieldIdMismatchError`.
        """
        names = [name for _, name in collections]
        occupied = find_occupied(self.database, names)
        current = {
            index: self.database.collection_id(name.database, name.name)
            for index, name in enumerate(names)
            if name in occupied.collections
        }
        made = each(lambda index: self._made(index, progress.get(index)), current, threads=SMALL_REQUESTS_AT_A_TIME)
        own = {index for (index, number), numbers in zip(current.items(), made, strict=True) if number in numbers}
        to_replace = check_targets(self.request, names, occupied, own)
        if self.request.skip_create:

            def check(numbered: tuple[int, tuple[ArchivedCollection, CollectionName]]) -> None:
                index, (collection, name) = numbered
                self._check_existing(collection, name, is_own=index in own)

            do_each(check, enumerate(collections))
        return [current[index] if index in to_replace else None for index in range(len(names))]

    def gone(
        self, collections: Sequence[tuple[ArchivedCollection, CollectionName]], progress: Mapping[int, JournalEntry]
    ) -> list[int]:
        """Return which collections an earlier execution of this run finished, and somebody has removed since."""
        finished = [(index, name) for index, (_, name) in enumerate(collections) if self._is_finished(progress, index)]
        databases = set(self.database.list_databases()) if finished else set()

        def is_gone(numbered: tuple[int, CollectionName]) -> bool:
            index, name = numbered
            there = self.database.collection_id(name.database, name.name) if name.database in databases else None
            return there is None or there != self.journal.get(index, "finished", Finished).collection_id

        gone = each(is_gone, finished, threads=SMALL_REQUESTS_AT_A_TIME)
        return [index for (index, _), is_it in zip(finished, gone, strict=True) if is_it]

    @staticmethod
    def _is_finished(progress: Mapping[int, JournalEntry], index: int) -> bool:
        return index in progress and progress[index].is_finished

    def _made(self, index: int, progress: JournalEntry | None) -> set[int]:
        """Return the IDs of the collections that earlier executions of this run made for an index."""
        if progress is None:
            return set()
        made = {
            self.journal.get(index, "created", Created, attempt).collection_id
            for attempt, steps in progress.attempts.items()
            if "created" in steps
        }
        if progress.is_finished:
            made.add(self.journal.get(index, "finished", Finished).collection_id)
        return made

    def _check_existing(self, collection: ArchivedCollection, name: CollectionName, *, is_own: bool) -> None:
        """Check that a collection made by the user has the backup's fields, and no rows but this run's."""
        check_alike(collection.layout.collection_schema, self.database.schema(name.database, name.name), name)
        if is_own:
            return
        # Rows that are still in memory are not listed.
        if self.may_flush:
            self.database.flush(name.database, name.name, timeout_seconds=EMPTINESS_FLUSH_SECONDS)
        rows = sum(segment.row_count for segment in self.database.list_segments(name.database, name.name))
        if rows:
            msg = f"`skip_create` restores into empty collections, and {name} has {rows} row(s)"
            raise CollectionExistsError(
                msg, hint="Restore under another name: merging could double rows whose keys are in both."
            )


def find_occupied(database: Schemas, names: Sequence[CollectionName]) -> Occupied:
    """Return which of these names collections and aliases of the target have."""
    places = {name.database for name in names} & {*database.list_databases()}
    there = {place: {*database.list_collections(place)} for place in places}
    aliases = {place: database.list_aliases(place) for place in places}
    return Occupied(
        collections=frozenset(name for name in names if name.name in there.get(name.database, ())),
        aliases=frozenset(name for name in names if name.name in aliases.get(name.database, ())),
    )


def check_targets(
    request: RestoreRequest, names: Sequence[CollectionName], occupied: Occupied, own: Set[int] = frozenset()
) -> set[int]:
    """Return the indexes of the targets that replace a collection.

    The one rule on names that are taken, for a run and for the API before it. `own` are the indexes whose collections
    earlier executions of the run made: they do not count. Raises `CollectionExistsError`, or with skip_create
    `CollectionNotFoundError`.
    """
    to_replace: set[int] = set()
    taken: list[str] = []
    for index, name in enumerate(names):
        if name in occupied.aliases:
            taken.append(f"{name} (an alias)")
        elif name not in occupied.collections:
            if request.skip_create:
                msg = f"`skip_create` restores into collections that exist, and {name} does not"
                raise CollectionNotFoundError(
                    msg, hint="Create it with the backup's fields, or leave out `skip_create`."
                )
        elif request.skip_create or index in own:
            continue
        elif request.drop_existing:
            to_replace.add(index)
        else:
            taken.append(str(name))
    if taken:
        more = f" and {len(taken) - NAMED_IN_MESSAGE} more" if len(taken) > NAMED_IN_MESSAGE else ""
        msg = f"the target has {', '.join(taken[:NAMED_IN_MESSAGE])}{more} already"
        raise CollectionExistsError(
            msg,
            hint="Restore under other names (`suffix`, `rename`), or replace what is there: `drop_existing`.",
        )
    return to_replace


def target_claimed(holder: Claim, status: str, key: str = "") -> TargetClaimedError:
    """Return the error where another execution holds the claim of a run, or of a target: see `ClaimHeldError`.

    `key` is that of the claim, to be deleted by hand where nobody can tell whether its execution runs.
    """
    if status == "SUCCEEDED":
        msg = f"{named_run(holder.execution_arn)} has restored to the same target since this one began"
        return TargetClaimedError(msg, hint="Look at what is there; start this one again if it is to replace that.")
    msg = f"{named_run(holder.execution_arn)} is restoring to the same target since {utc_second(holder.claimed_at)}"
    gone = f" If it is long gone, delete the claim {key}." if status == "UNKNOWN" and key else ""
    return TargetClaimedError(msg, hint=f"{WATCH_OR_STOP}.{gone}")


def can_resume(
    run: Workspace, previous: Claim, executions: Executions, *, backup_etag: str, execution_arn: str = ""
) -> bool:
    """Return whether a run resumes what an earlier execution did: it died, and restored this very backup.

    `execution_arn` is that of the execution which asks, and may continue its own work.
    """
    if previous.execution_arn != execution_arn and executions.status(previous.execution_arn) not in DIED:
        return False
    plan = run.find(PLAN, RestorePlan)
    return plan is None or plan.backup_etag == backup_etag


def check_takes_deletes(database: Loads, name: CollectionName) -> None:
    """Return if a collection of the user's takes deletes by themselves, as it must where they cannot be folded.

    Milvus refuses them to a loaded collection, which would be when all rows are in, the deleted ones too. Raises
    `InvalidRequestError`.
    """
    if database.load_percent(name.database, name.name):
        msg = f"{name} is loaded, and the backup has more deletes for it than can be imported with their rows"
        raise InvalidRequestError(msg, hint="Release it for the restore.")


def shards_of(request: RestoreRequest, collection: ArchivedCollection) -> int:
    """Return how many shards a collection is to have."""
    return min(collection.layout.shards, request.max_shards or collection.layout.shards)


def make_target(
    request: RestoreRequest, index: int, collection: ArchivedCollection, name: CollectionName, loading: Loading
) -> Target:
    """Return the target of a collection, without what it imports and replaces."""
    loaded = tuple(partition.name for partition in collection.partitions if partition.is_loaded)
    return Target(
        index=index,
        source=collection.name,
        name=name,
        collection_id=collection.collection_id,
        layout=collection.layout.model_copy(update={"shards": shards_of(request, collection)}),
        indexes=collection.indexes,
        aliases=collection.aliases,
        load_state=collection.load_state,
        replicas=loading.replicas,
        resource_groups=loading.resource_groups,
        loaded_partitions=loaded if 0 < len(loaded) < len(collection.partitions) else (),
        cut=cut_of(request, collection),
        # What was counted is what there was at the moment of the backup.
        live_row_count=None if request.as_of else collection.live_row_count,
    )
