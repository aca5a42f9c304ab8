"""PlanPrune: decide what is deleted, and write it down before anything is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import ValidationError

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.reader import no_backup
from milvus_vault.archive.tombstones import has_begun, tombstone_key
from milvus_vault.catalogue import Catalogue
from milvus_vault.claims import CLAIM, RUNNING, ClaimHeldError, Claims
from milvus_vault.model.names import backup_run
from milvus_vault.model.requests import BackupRequest, PruneRequest, ScheduleTag
from milvus_vault.model.resources import BackupSummary, ObjectCount
from milvus_vault.model.schedules import StoredSchedule
from milvus_vault.parallel import each
from milvus_vault.ports import Executions, Scheduler
from milvus_vault.retention.policy import Decision, decide_all
from milvus_vault.retention.proof import Proof, Prover
from milvus_vault.retention.working_files import PLAN, READ, BackupsRead, Deletion, PrunePlan
from milvus_vault.workspace import Workspace

# Each takes some 8 events of the 25,000 that an execution's history may have. The next prune goes on.
MAX_DELETIONS = 1000

# A manifest of 16,000 collections takes 100 MB while it is read.
_READ_AT_A_TIME = 4

# Backups, after which it is written down how many were read.
_NOTED_AT_A_TIME = 20


@dataclass(frozen=True, slots=True)
class PrunePreparation:
    """Everything that PlanPrune works with."""

    run: Workspace
    request: PruneRequest
    catalogue: Catalogue
    scheduler: Scheduler
    executions: Executions
    execution_arn: str
    started_at: datetime

    def prepare(self) -> PrunePlan:
        """Return what to do. Safe to repeat: a plan that this execution has written stays.

        Raises, with `backup_names` and before anything is deleted:
            BackupNotFoundError: There is no backup of a name.
            BackupHeldError: A backup has a hold.
            BackupLockedError: A backup is locked.
            BackupInUseError: A running restore or export reads a backup.
        """
        existing = self.run.find(PLAN, PrunePlan)
        if existing is not None:
            return existing
        claims = Claims(
            self.run.store, self.executions, self.run.bucket, execution_arn=self.execution_arn, run=self.run.run
        )
        claims.take_own(self.run.key(CLAIM))
        buried = set(self.catalogue.being_deleted())
        begun = [name for name in sorted(buried) if has_begun(self.run.store, self.run.bucket, self.run.prefix, name)]
        damages: dict[str, str] = {}
        if self.request.backup_names is None:
            proofs = self._proofs(sorted(self.catalogue.folders()))
            decisions = self._decide(proofs, buried, begun)
            damages = {proof.name: proof.damage for proof in proofs.values() if proof.damage}
            self.catalogue.note_damages(damages)
        else:
            proofs = self._proofs(dict.fromkeys(self.request.backup_names))
            decisions = []
            for name in dict.fromkeys(self.request.backup_names):
                if name not in begun or name in proofs:
                    self._check(name, proofs.get(name))
                decisions.append(Decision(name=name, keep=False, reason="deleted: asked for by name"))
        doomed = tuple(self._deletions(decisions, proofs))
        plan = PrunePlan(
            request=self.request,
            execution_arn=self.execution_arn,
            started_at=self.started_at,
            decisions=tuple(decisions),
            deletions=() if self.request.dry_run else doomed,
            spared=doomed if self.request.dry_run else (),
            damaged=tuple(f"backup '{name}' is damaged: {damage}" for name, damage in sorted(damages.items())),
        )
        self.run.write(PLAN, plan)
        return plan

    def _proofs(self, names: Iterable[str]) -> dict[str, Proof]:
        """Return what is sealed of those that have a marker, or have lost it."""
        prover = Prover(self.run.store, self.run.bucket, self.run.prefix, self.catalogue, self.started_at)
        wanted, found = list(names), []
        self._note_read(0, len(wanted))
        for number, proof in enumerate(each(prover.prove, wanted, threads=_READ_AT_A_TIME), start=1):
            found += [proof] if proof else []
            if number == len(wanted) or number % _NOTED_AT_A_TIME == 0:
                self._note_read(number, len(wanted))
        # The marker of a backup that is running may be about to be written.
        return {proof.name: proof for proof in found if proof.marker_etag or not self._is_running(proof.name)}

    def _note_read(self, done: int, total: int) -> None:
        """Write down how many backups are read, for whoever follows the run."""
        self.run.write(READ, BackupsRead(begun_at=self.started_at, done=done, total=total))

    def _is_running(self, name: str) -> bool:
        claims = Claims(self.run.store, self.executions, self.run.bucket, execution_arn="", run="")
        found = claims.holder(replace(self.run, run=backup_run(name)).key(CLAIM))
        return found is not None and found[1] in RUNNING

    def _decide(self, proofs: Mapping[str, Proof], buried: Iterable[str], begun: Iterable[str]) -> list[Decision]:
        sealed = [proof.sealed for proof in proofs.values() if proof.sealed]
        flaws = {proof.name: proof.flaw for proof in proofs.values() if proof.flaw}
        decisions = [
            Decision(name=name, keep=False, reason="deleted: an earlier prune began to delete it")
            for name in begun
            if name not in proofs
        ]
        decisions += decide_all(sealed, schedule_policies(self.scheduler), self.started_at, flaws)
        decisions += [
            Decision(name=proof.name, keep=True, reason=f"kept: {proof.why_kept}")
            for proof in proofs.values()
            if proof.sealed is None
        ]
        if not self.request.dry_run:
            for decision in decisions:
                if decision.keep and decision.name in buried:
                    self._lift(decision.name)
        return decisions

    def _lift(self, name: str) -> None:
        """Remove the tombstone of a backup that is to stay: it has its marker, or nothing proves that it was to go.

        A prune died before it deleted the marker, or no prune wrote this. Under the claim of the name no function of
        one goes on to delete the marker.
        """
        claims = Claims(
            self.run.store, self.executions, self.run.bucket, execution_arn=self.execution_arn, run=self.run.run
        )
        try:
            claims.take(replace(self.run, run=backup_run(name)).key(CLAIM))
        except ClaimHeldError:
            return
        self.run.store.delete(self.run.bucket, [tombstone_key(self.run.prefix, name)])

    def _check(self, name: str, proof: Proof | None) -> None:
        if proof is None:
            raise no_backup(self.run.store, self.run.bucket, BackupLayout(self.run.prefix, name))
        self.catalogue.check_deletable(name, self.executions)

    def _deletions(self, decisions: Iterable[Decision], proofs: Mapping[str, Proof]) -> Iterator[Deletion]:
        # The oldest first: what is left for the next prune is what was to go last.
        doomed = [(proofs.get(decision.name), decision) for decision in decisions if not decision.keep]
        doomed.sort(key=lambda pair: pair[0].sealed.created_at.timestamp() if pair[0] and pair[0].sealed else 0.0)
        for proof, decision in doomed[:MAX_DELETIONS]:
            sealed = proof.sealed if proof else None
            contents: ObjectCount | BackupSummary = sealed or self._lying_in(decision.name)
            # One that shares has nothing in its own folder but documents.
            is_full = sealed.mode == "full" if sealed else contents.object_count > 0
            yield Deletion(
                name=decision.name,
                size_bytes=contents.size_bytes,
                object_count=contents.object_count,
                may_share=not is_full,
                marker_etag=proof.marker_etag if proof else "",
                guards=decision.guards,
            )

    def _lying_in(self, name: str) -> ObjectCount:
        """Return the objects in a backup's folder, its documents left out, as what is sealed of others counts them.

        Of a dry run alone: it takes a request for each 1,000. A deletion lists them in any case, and counts them then.
        """
        if not self.request.dry_run:
            return ObjectCount()
        listed = self.run.store.list_objects(self.run.bucket, BackupLayout(self.run.prefix, name).binlogs)
        sizes = [found.size_bytes for found in listed]
        return ObjectCount(object_count=len(sizes), size_bytes=sum(sizes))


def schedule_policies(scheduler: Scheduler) -> dict[str, ScheduleTag]:
    """Return time zone and retention of each schedule, by its name.

    One whose input cannot be read has no retention: then nothing of it is deleted. Raises
    `ServiceUnavailableError` and `ServiceRequestError`.
    """
    found = [scheduler.find(name) for name in scheduler.names()]
    return {stored.name: _tag(stored) for stored in found if stored}


def _tag(stored: StoredSchedule) -> ScheduleTag:
    try:
        tag = BackupRequest.model_validate_json(stored.request).schedule
    except ValidationError:
        tag = None
    retention = tag.retention if tag else None
    return ScheduleTag(name=stored.name, timezone=stored.timezone, retention=retention)
