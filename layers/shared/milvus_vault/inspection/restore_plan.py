"""The plan of a restore: what it would do, by the code that decides it. Nothing is claimed, made or written."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, override

from milvus_vault.archive.contents import Archive, ArchivedCollection, list_bytes
from milvus_vault.archive.reader import read_manifest
from milvus_vault.errors import (
    BackupDamagedError,
    CollectionExistsError,
    CollectionNotFoundError,
    FieldIdMismatchError,
    InvalidRequestError,
    VaultError,
)
from milvus_vault.inspection.estimate import (
    COPIES_PER_SECOND,
    copy_requests,
    pages,
)
from milvus_vault.model.collections import CollectionName, SegmentLevel
from milvus_vault.model.messages import RefusedRestore, RestorePlanFound
from milvus_vault.model.prices import GET_USD, REQUEST_USD
from milvus_vault.model.readable import count, number_of
from milvus_vault.model.requests import VerifyLevel
from milvus_vault.model.resources import ObjectCount, PlannedCollection, PlannedRestore
from milvus_vault.model.versions import has_import_jobs
from milvus_vault.paging import fitting
from milvus_vault.parallel import LISTS_AT_A_TIME_BYTES, SMALL_REQUESTS_AT_A_TIME, each
from milvus_vault.ports import Importer
from milvus_vault.restore.aliases import foresee_aliases
from milvus_vault.restore.content_check import level_of
from milvus_vault.restore.cut import cut_of
from milvus_vault.restore.deciding import Decision, RestoreDecider, left_out_warning, refuse_damaged
from milvus_vault.restore.journal import Journal
from milvus_vault.restore.partitions import objects_in
from milvus_vault.restore.staging import rows_until
from milvus_vault.restore.submission import shares
from milvus_vault.restore.targets import TargetCheck, check_takes_deletes, make_target

# An answer of the API has half a minute, of which Milvus takes some seconds. 50,000 objects took 3.5 s of a processor,
# of which the function has a half, and a thousand collections 1.7 s and 5,000 requests, 32 at a time.
MOST_OBJECTS = 50_000
MOST_COLLECTIONS = 1000

# docs/performance.md: what the states of a restore take with waits between them; each import job in turn before 2.4;
# and a round of jobs, which newer servers work through together.
STATES_SECONDS = 10.0
JOB_SECONDS = 2.0
ROUND_SECONDS = 16.0
BY_RATES = "rates in docs/performance.md, without the time that Milvus takes for many rows"

# Its document, its list twice, and what is written down of it and read again.
COLLECTION_GETS = 5
# The source once, what is staged before and after copying.
LISTINGS = 3


class _Measured(NamedTuple):
    """What a restore would do for a collection, and what that takes."""

    planned: PlannedCollection
    warnings: tuple[str, ...] = ()
    """What its restore will say of it."""
    copy_requests: int = 0
    list_requests: int = 0
    checked_count: int = 0
    """Objects whose content or checksum is looked at."""
    rounds: int = 0
    """How often Milvus is waited for, one set of jobs after the other."""
    is_cut: bool = False
    """Whether logs are read before it is imported."""
    refusal: VaultError | None = None


@dataclass(frozen=True, slots=True)
class RestorePlanner(RestoreDecider):
    """Tells what a restore would do."""

    importer: Importer

    def plan(self) -> RestorePlanFound:
        """Return what the restore would do, and what would be refused of the target.

        Raises what PrepareRestore would raise before it claims anything.
        """
        decision = self.decide()
        replaced, refusal = self._replaced(decision)
        refused = [_refused(refusal, is_of_target=True)] if refusal else []
        damaged = decision.listed.damaged
        try:
            refuse_damaged(self.request, damaged, decision.collections)
        except BackupDamagedError as err:
            refused.append(_refused(err))
        known = {} if decision.is_listed else self._recorded(decision.archive, decision.collections)
        left_out = {index for index, (collection, _) in enumerate(decision.chosen) if collection.name in damaged}
        aliases = foresee_aliases(self.request, decision.chosen, replaced, left_out, self.database)
        found = list(
            each(
                lambda index: self._measure(decision, index, known, aliases[index], is_replaced=index in replaced),
                range(len(decision.chosen)),
                threads=SMALL_REQUESTS_AT_A_TIME,
                weight=lambda index: list_bytes(decision.chosen[index][0]),
                max_weight=LISTS_AT_A_TIME_BYTES,
            )
        )
        refused += [_refused(one.refusal, is_of_target=True) for one in found if one.refusal]
        return RestorePlanFound(run=self.run.run, plan=self._told(decision, found), refused=tuple(refused))

    @override
    def _probe(self, what: str) -> CollectionName | None:
        return None

    @override
    def _may_list(self, archive: Archive, collections: Sequence[ArchivedCollection]) -> bool:
        counts = self._recorded(archive, collections).values()
        return len(collections) <= MOST_COLLECTIONS and sum(one.object_count for one in counts) <= MOST_OBJECTS

    def _recorded(
        self, archive: Archive, collections: Sequence[ArchivedCollection]
    ) -> dict[CollectionName, ObjectCount]:
        """Return the objects of each collection as the backup's documents tell them."""
        if not self._has_rows(archive):
            return {collection.name: ObjectCount() for collection in collections}
        manifest = read_manifest(self._store, self.run.bucket, self.layout)
        if manifest is None:
            return {
                one.name: ObjectCount(
                    object_count=len(one.listed_objects), size_bytes=sum(item.size_bytes for item in one.listed_objects)
                )
                for one in collections
            }
        wanted = {collection.name for collection in collections}
        return {
            entry.name: ObjectCount(object_count=entry.object_count, size_bytes=entry.size_bytes)
            for entry in manifest.collections
            if entry.name in wanted
        }

    def _replaced(self, decision: Decision) -> tuple[set[int], VaultError | None]:
        """Return which targets replace a collection, or what is refused unless an earlier execution made it."""
        check = TargetCheck(self.request, self.database, Journal(self.run), may_flush=False)
        try:
            there = check.replaced(decision.chosen, {})
        except (CollectionExistsError, CollectionNotFoundError, FieldIdMismatchError) as err:
            return set(), err
        return {index for index, number in enumerate(there) if number is not None}, None

    def _measure(
        self,
        decision: Decision,
        index: int,
        recorded: Mapping[CollectionName, ObjectCount],
        aliases: tuple[list[str], list[str]],
        *,
        is_replaced: bool,
    ) -> _Measured:
        """Return what the restore would do for a collection; of `recorded` objects without looking at them."""
        collection, target = decision.chosen[index]
        part = self._part(collection)
        made = make_target(self.request, index, part, target, decision.loading[index])
        damage = decision.listed.damaged.get(collection.name)
        planned = PlannedCollection(
            source=str(collection.name),
            target=str(target),
            is_replaced=is_replaced,
            partition_count=len(part.partitions),
            row_count=0,
            live_row_count=made.live_row_count,
            object_count=0,
            size_bytes=0,
            import_jobs=0,
            index_count=len(part.indexes) if self.request.restore_index else 0,
            is_loaded=self.request.load and self.request.restore_index and part.load_state.is_wanted,
            aliases=tuple(aliases[0]),
            verify=decision.listed.levels.get(collection.name, self._unlisted_level(decision)),
            damage=left_out_warning(damage) if damage else "",
        )
        warnings = (planned.damage,) if damage else tuple(aliases[1])
        if damage or not decision.has_rows:
            return _Measured(planned, warnings)
        if not decision.is_listed:
            return self._by_documents(planned, part, recorded[collection.name])._replace(warnings=warnings)
        sources = self.sources(decision, index)
        sizes = [item.size_bytes for item in sources.items] if decision.is_staged else []
        pairs_a_job = self.importer.pairs_a_job
        rows, deletes = (sum(1 for one in some for _ in shares(one, pairs_a_job)) for some in sources[:2])
        update = {
            "row_count": sum(source.row_count for source in sources.rows),
            "object_count": len(sizes),
            "size_bytes": sum(sizes),
            "import_jobs": rows + deletes,
        }
        is_checked = planned.verify != "quick"
        checked = sum(1 for _ in objects_in(part, self._objects(collection))) if is_checked else 0
        return _Measured(
            planned.model_copy(update=update),
            warnings,
            copy_requests=sum(map(copy_requests, sizes)),
            list_requests=2 + LISTINGS * pages(len(sizes)),
            checked_count=checked,
            rounds=len({source.before_field for source in sources.rows}) + bool(sources.deletes),
            is_cut=sources.cut is not None,
            refusal=self._refused_deletes(target) if sources.deletes and self.request.skip_create else None,
        )

    def _by_documents(self, planned: PlannedCollection, part: ArchivedCollection, recorded: ObjectCount) -> _Measured:
        cut = cut_of(self.request, part)
        rows = (rows_until(one, cut) for one in part.segments if one.level is not SegmentLevel.L0)
        unknown = {"object_count": None, "size_bytes": None, "import_jobs": None}
        return _Measured(
            planned.model_copy(update={"row_count": sum(rows), **unknown}),
            copy_requests=recorded.object_count,
            list_requests=2 + LISTINGS * pages(recorded.object_count),
            checked_count=recorded.object_count if planned.verify != "quick" else 0,
            rounds=1,
        )

    def _unlisted_level(self, decision: Decision) -> VerifyLevel:
        """Return how objects are looked at that were not listed, as far as what is known of none of them decides it."""
        if decision.is_listed or not decision.has_rows:
            return "quick"
        has_checksums = decision.archive.has_checksums
        return level_of(self.request.verify, has_checksums=has_checksums, last=None, is_doubted=False)

    def _refused_deletes(self, target: CollectionName) -> InvalidRequestError | None:
        try:
            check_takes_deletes(self.database, target)
        except InvalidRequestError as err:
            return err
        return None

    def _told(self, decision: Decision, found: Sequence[_Measured]) -> PlannedRestore:
        planned = [one.planned for one in found]
        copies = sum(one.copy_requests for one in found)
        listings = sum(one.list_requests for one in found)
        gets = COLLECTION_GETS * len(found) + sum(one.checked_count for one in found)
        there = {*self.database.list_databases()}
        warnings = (*decision.warnings, *(warning for one in found for warning in one.warnings))
        left = tuple(self._left_to_run(decision, found))
        told = fitting([*warnings, *left, *planned]) - len(warnings) - len(left)
        jobs = _sum(one.import_jobs for one in planned)
        return PlannedRestore(
            backup_name=decision.archive.name,
            backup_version=str(decision.archive.milvus_version),
            server_version=str(decision.server),
            new_databases=tuple(one.name for one in decision.databases if one.name not in there),
            collection_count=len(planned),
            partition_count=sum(one.partition_count for one in planned),
            row_count=sum(one.row_count for one in planned),
            object_count=_sum(one.object_count for one in planned),
            size_bytes=_sum(one.size_bytes for one in planned),
            import_jobs=jobs,
            copy_requests=copies,
            list_requests=listings,
            get_requests=gets,
            request_cost_usd=(copies + listings) * REQUEST_USD + gets * GET_USD,
            expected_seconds=STATES_SECONDS
            + copies / COPIES_PER_SECOND
            + (
                ROUND_SECONDS * max((one.rounds for one in found), default=0)
                if has_import_jobs(decision.server)
                else JOB_SECONDS * (jobs or 0)
            ),
            expected_by=BY_RATES,
            warnings=warnings,
            left_to_run=left,
            collections=tuple(planned[: max(told, 0)]),
        )

    def _left_to_run(self, decision: Decision, found: Sequence[_Measured]) -> Iterator[str]:
        """Yield what only the restore finds out."""
        yield from decision.untried
        if not decision.is_listed:
            yield (
                f"With more than {count(MOST_OBJECTS)} objects, or {count(MOST_COLLECTIONS)} collections, nothing is"
                " listed for a plan: the restore itself compares all objects with what the backup records. Requests and"
                " time are of all that is recorded, with no jobs where Milvus works on one after the other."
            )
        if checked := [one for one in found if one.planned.verify != "quick"]:
            yield (
                f"The contents of {number_of(sum(one.checked_count for one in checked), 'object')} of"
                f" {number_of(len(checked), 'collection')} are looked at before anything is staged: what is damaged"
                " there refuses the restore."
            )
        if cut := sum(one.is_cut for one in found):
            yield f"Logs of {number_of(cut, 'collection')} are read before anything is imported."
        if self.request.as_of:
            yield (
                "Whether the chosen time is before the first row is seen when logs are read, before anything is made;"
                " so is whether it is after the last one, where nobody knows the moment of the backup."
            )
        if self.request.skip_create:
            yield "Rows that are not flushed yet are seen when the restore begins: it flushes what it is to fill."


def _sum(counts: Iterable[int | None]) -> int | None:
    """Return the sum, or None where one of them is not known."""
    known = list(counts)
    return None if None in known else sum(one for one in known if one is not None)


def _refused(error: VaultError, *, is_of_target: bool = False) -> RefusedRestore:
    return RefusedRestore(error=type(error).__name__, message=error.message, hint=error.hint, is_of_target=is_of_target)
