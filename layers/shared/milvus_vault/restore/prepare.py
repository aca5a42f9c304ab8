"""PrepareRestore: refuse what cannot work, claim the targets, and write down what is to be done."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, override

from milvus_vault.archive.contents import Archive, ArchivedCollection, list_bytes
from milvus_vault.archive.layout import join
from milvus_vault.archive.remains import check_stays
from milvus_vault.claims import CLAIM, ClaimHeldError, Claims, check_owner
from milvus_vault.copying.working_files import CopyPart, CopyTarget, write_job, write_target
from milvus_vault.errors import BackupDamagedError, VaultError
from milvus_vault.model.collections import DEFAULT_DATABASE, CollectionName
from milvus_vault.model.names import attempt_of, short_hash, temporary_prefix
from milvus_vault.model.objects import CopyJob
from milvus_vault.parallel import LISTS_AT_A_TIME, LISTS_AT_A_TIME_BYTES, SMALL_REQUESTS_AT_A_TIME, do_each, each
from milvus_vault.ports import Executions
from milvus_vault.restore.content_check import ContentCheck, ContentsFound
from milvus_vault.restore.deciding import Decision, RestoreDecider, Sources, left_out_warning, refuse_damaged
from milvus_vault.restore.journal import Journal, JournalEntry
from milvus_vault.restore.loading import Loading
from milvus_vault.restore.rbac import restore_rbac
from milvus_vault.restore.targets import TargetCheck, can_resume, check_takes_deletes, make_target, target_claimed
from milvus_vault.restore.working_files import (
    PLAN,
    PREPARED,
    Prepared,
    RestorePlan,
    cut_done_name,
    cut_name,
    target_name,
)
from milvus_vault.source import MilvusStorage

# A call that is repeated writes at most so many targets again, which takes a second.
_NOTED_AT_A_TIME = 100
# Hexadecimal digits of a hash, of 48 bits: enough for the few that one run can have.
_IDENTITY_LENGTH = 12


class Unchecked(NamedTuple):
    """Where the batches lie that CheckObjects is to look at before the restore can be prepared."""

    run: str
    batches_key: str


class _Written(NamedTuple):
    """What is told of all collections whose targets are written."""

    row_count: int
    is_cut: bool


@dataclass(frozen=True, slots=True)
class RestorePreparation(RestoreDecider):
    """Everything that PrepareRestore works with."""

    executions: Executions
    execution_arn: str
    started_at: datetime
    check_count: int = 0
    """How often the batches of the content check were given to CheckObjects."""

    @property
    def _copying_attempt(self) -> str:
        return attempt_of(self.execution_arn)

    def prepare(self) -> RestorePlan | Unchecked:
        """Return what to do, or what CheckObjects is to look at before it can be said.

        Raises what is wrong with the request, the backup or the target, and leaves nothing. What a content check finds
        is raised later, when the claims are those of a call before: they end with the execution.
        """
        decision = self.decide()
        chosen = decision.chosen
        plan = RestorePlan(
            request=self.request,
            execution_arn=self.execution_arn,
            started_at=self.started_at,
            backup_etag=decision.backup_etag,
            backup_version=str(decision.archive.milvus_version),
            server_version=str(decision.server),
            content_checked=decision.archive.has_checksums,
            is_staged=decision.is_staged,
            staging_folder=self.staging_folder,
            targets=tuple(target for _, target in chosen),
            databases=decision.databases,
            warnings=decision.warnings,
        )
        claims, target_claims = self._claims(self.run.bucket), self._claims(self.storage.bucket)
        try:
            self._claim(claims, target_claims, plan.targets)
            check_stays(self._store, self.run.bucket, self.layout, plan.backup_etag)
            progress, replaced = self._check_targets(chosen)
            found = ContentsFound({})
            if decision.listed.levels:
                check = self._content_check(decision)
                if (ended := check.check(self.check_count)) is None:
                    return Unchecked(check.run.run, check.batches_key)
                found = ended
            archived = decision.archive.collections
            damaged = decision.listed.damaged | {archived[index].name: err for index, err in found.damaged.items()}
            refuse_damaged(self.request, damaged, decision.collections)
            # What an earlier execution of this run imported no longer needs objects.
            left_out = {
                index: damaged[collection.name]
                for index, (collection, _) in enumerate(chosen)
                if collection.name in damaged and not progress[index].is_imported
            }
            update = {
                "read_count": found.read_count,
                "warnings": (*plan.warnings, *found.warnings, *map(left_out_warning, left_out.values())),
            }
            plan = self._write(plan.model_copy(update=update), decision, progress, replaced, left_out)
            if decision.rbac is not None:
                restore_rbac(decision.rbac, self.database)
        except VaultError as err:
            target_claims.give_back()
            # After a failure that passes, the next call goes on with what this one has written.
            if not err.retryable:
                claims.give_back()
            raise
        return plan

    def _content_check(self, decision: Decision) -> ContentCheck:
        """Return the check of the contents that are to be checked."""
        listed = decision.listed
        return ContentCheck.of(
            self.run,
            self.layout,
            "deep" if "deep" in listed.levels.values() else "checksum",
            {
                index: self._part(collection)
                for index, collection in enumerate(decision.archive.collections)
                if collection.name in listed.levels
            },
            listed.doubts,
            listed.contents.hexdigest()[:_IDENTITY_LENGTH],
        )

    @override
    def _probe(self, what: str) -> CollectionName:
        return CollectionName(
            database=DEFAULT_DATABASE, name=f"{temporary_prefix(self.run.run)}{what}_{self._copying_attempt}"
        )

    @override
    def _may_list(self, archive: Archive, collections: Sequence[ArchivedCollection]) -> bool:
        return True

    def _check_targets(
        self, chosen: Sequence[tuple[ArchivedCollection, CollectionName]]
    ) -> tuple[dict[int, JournalEntry], list[int | None]]:
        """Return how far an earlier execution of this run came, and the ID of the collection that each target replaces.

        Raises what stands in the way in the target.
        """
        journal = Journal(self.run)
        progress = journal.read()
        check = TargetCheck(self.request, self.database, journal)
        gone = check.gone(chosen, progress)
        check_owner(self.run, self._copying_attempt)
        do_each(journal.forget, gone, threads=SMALL_REQUESTS_AT_A_TIME)
        for index in gone:
            del progress[index]
        replaced = check.replaced(chosen, progress)
        journal.forget_failures(index for index, entry in progress.items() if entry.has_failed)
        return progress, replaced

    def _write(
        self,
        plan: RestorePlan,
        decision: Decision,
        progress: Mapping[int, JournalEntry],
        replaced: Sequence[int | None],
        left_out: Mapping[int, BackupDamagedError],
    ) -> RestorePlan:
        """Write down what is to become of each collection, and what to read and to copy for it."""
        journal, chosen, loading = Journal(self.run), decision.chosen, decision.loading
        check_owner(self.run, self._copying_attempt)
        if plan.is_staged:
            job = CopyJob(source_bucket=self.run.bucket, destination_bucket=self.storage.bucket, lists_objects=False)
            write_job(self.run, self._copying_attempt, job)
        prepared = self._prepared(plan, loading, progress, replaced, left_out)
        # Each call has forgotten the failures of the one before, also of what that one has written down as prepared.
        do_each(lambda index: journal.fail(index, left_out[index]), left_out)

        def write(index: int) -> _Written:
            collection, name = chosen[index]
            sources = Sources()
            if index not in left_out and decision.has_rows:
                sources = self.sources(decision, index)
                if decision.is_staged and not progress[index].is_imported:
                    self._write_copies(index, collection, self.base(decision, collection), sources)
            if sources.deletes and self.request.skip_create and not progress[index].is_imported:
                check_takes_deletes(self.database, name)
            target = make_target(self.request, index, self._part(collection), name, loading[index])
            found = {"imports": sources.rows, "deletes": sources.deletes, "replaces": replaced[index]}
            self.run.write(target_name(index), target.model_copy(update=found))
            is_cut = sources.cut is not None and not progress[index].is_imported
            if sources.cut is not None and is_cut:
                self.run.delete([cut_done_name(index)])
                self.run.write(cut_name(index), sources.cut)
            return _Written(sum(source.row_count for source in sources.rows), is_cut)

        row_counts, cuts = list(prepared.row_counts), list(prepared.cuts)
        for written in each(
            write,
            range(len(row_counts), len(chosen)),
            threads=LISTS_AT_A_TIME,
            weight=lambda index: list_bytes(chosen[index][0]),
            max_weight=LISTS_AT_A_TIME_BYTES,
        ):
            cuts += [len(row_counts)] if written.is_cut else []
            row_counts.append(written.row_count)
            if len(row_counts) % _NOTED_AT_A_TIME == 0:
                self.run.write(PREPARED, Prepared(of=prepared.of, row_counts=tuple(row_counts), cuts=tuple(cuts)))
        plan = plan.model_copy(update={"cuts": tuple(cuts), "row_counts": tuple(row_counts)})
        check_owner(self.run, self._copying_attempt)
        self.run.write(PLAN, plan)
        return plan

    def _write_copies(self, index: int, collection: ArchivedCollection, base: str, sources: Sources) -> None:
        """Write down what to copy of a collection."""
        pairs = [pair for source in sources.rows for pair in source.pairs]
        # Those that are staged are imported while the others are copied, by their order.
        parts = [CopyPart(prefixes=tuple(filter(None, (pair.insert_prefix, pair.delta_prefix)))) for pair in pairs]
        target = CopyTarget(index=index, name=str(collection.name), folders=(base,), parts=tuple(parts))
        write_target(self.run, self._copying_attempt, target, sources.items)

    def _prepared(
        self,
        plan: RestorePlan,
        loading: Sequence[Loading],
        progress: Mapping[int, JournalEntry],
        replaced: Sequence[int | None],
        left_out: Iterable[int],
    ) -> Prepared:
        """Return what a call before this one has written down, if it knew of the same that is decided by it."""
        known = (
            self._copying_attempt,
            plan.model_dump_json(exclude={"warnings", "read_count"}),
            *map(str, loading),
            *map(str, replaced),
            *(f"{index} is left out" for index in sorted(left_out)),
            *(f"{index} is imported" for index in sorted(progress) if progress[index].is_imported),
            str(self.fold_limits),
        )
        of = short_hash("\n".join(known), _IDENTITY_LENGTH)
        found = self.run.find(PREPARED, Prepared)
        return found if found is not None and found.of == of else Prepared(of=of)

    def _claims(self, bucket: str) -> Claims:
        return Claims(self._store, self.executions, bucket, execution_arn=self.execution_arn, run=self.run.run)

    def _claim(self, claims: Claims, target_claims: Claims, targets: Iterable[CollectionName]) -> None:
        """Claim the run and its targets; forget what an earlier execution of it did, unless it can be resumed.

        It is forgotten even if a target is refused then: the next execution would take what the failed one left
        for its own.
        """
        try:
            previous = claims.take(self.run.key(CLAIM))
            if previous is None or not can_resume(
                self.run,
                previous,
                self.executions,
                backup_etag=self._backup_etag(),
                execution_arn=self.execution_arn,
            ):
                self.run.delete([name for name in self.run.names() if name != CLAIM])
            keys = (claim_key(self.staging_prefix, self.storage, target) for target in targets)
            target_claims.take_all(keys, self.started_at)
        except ClaimHeldError as err:
            raise target_claimed(err.holder, err.status, err.key) from err


def claim_key(staging_prefix: str, storage: MilvusStorage, target: CollectionName) -> str:
    """Return the key of a target's claim.

    In Milvus' own bucket, and below its root path's name, so that restores of all stacks into this Milvus meet.
    """
    return join(staging_prefix, "claims", short_hash(storage.root_path), target.database, f"{target.name}.json")
