"""PlanPrune: decide what is deleted, and write it down before anything is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.catalogue import Catalogue
from milvus_vault.claims import CLAIM, Claims
from milvus_vault.copying.concurrently import each
from milvus_vault.errors import BackupHeldError, BackupInUseError, BackupNotFoundError, ObjectNotFoundError
from milvus_vault.model.requests import PruneRequest
from milvus_vault.model.resources import BackupSummary
from milvus_vault.ports import Executions, Scheduler
from milvus_vault.retention.documents import PLAN, Deletion, PrunePlan
from milvus_vault.retention.policies import schedule_policies
from milvus_vault.retention.policy import Decision, decide_all
from milvus_vault.workspace import Workspace

# Each takes some 8 events of the 25,000 that an execution's history may have. The next prune goes on.
MAX_DELETIONS = 1000


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
            BackupInUseError: A running restore reads a backup.
        """
        existing = self.run.find(PLAN, PrunePlan)
        if existing is not None:
            return existing
        claims = Claims(
            self.run.store, self.executions, self.run.bucket, execution_arn=self.execution_arn, run=self.run.run
        )
        claims.take(self.run.key(CLAIM))
        summaries = {item.name: item for item in self.catalogue.read(self.catalogue.entries(adopt=True))}
        if self.request.backup_names is None:
            decisions = [
                *self._unfinished(),
                *decide_all(summaries.values(), schedule_policies(self.scheduler), self.started_at),
            ]
        else:
            buried = set(self.catalogue.being_deleted())
            decisions = []
            for name in dict.fromkeys(self.request.backup_names):
                if name not in buried:
                    self._check(name)
                decisions.append(Decision(name=name, keep=False, reason="deleted: asked for by name"))
        plan = PrunePlan(
            request=self.request,
            execution_arn=self.execution_arn,
            started_at=self.started_at,
            decisions=tuple(decisions),
            deletions=() if self.request.dry_run else tuple(self._deletions(decisions, summaries)),
        )
        self.run.write(PLAN, plan)
        return plan

    def _unfinished(self) -> Iterator[Decision]:
        for name in self.catalogue.being_deleted():
            yield Decision(name=name, keep=False, reason="deleted: an earlier prune began to delete it")

    def _check(self, name: str) -> None:
        if self._marker_etag(name) == "":
            msg = f"there is no backup {name} in s3://{self.run.bucket}/{self.run.prefix}"
            raise BackupNotFoundError(msg, hint="Check the name. Nothing was deleted.")
        if (hold := self.catalogue.hold(name)) is not None:
            until = f"until {hold.until:%Y-%m-%d %H:%M} UTC" if hold.until else "until somebody lifts it"
            msg = f"backup {name} has a hold {until}: {hold.reason or 'no reason given'}"
            raise BackupHeldError(msg, hint="Lift the hold first. Nothing was deleted.")
        if (restore := self.catalogue.in_use(name, self.executions)) is not None:
            msg = f"backup {name} is being read by restore {restore}"
            raise BackupInUseError(msg, hint="Wait for the restore, or stop it. Nothing was deleted.")

    def _deletions(self, decisions: Iterable[Decision], summaries: Mapping[str, BackupSummary]) -> Iterator[Deletion]:
        # The oldest first: what is left for the next prune is what was to go last.
        names = [decision.name for decision in decisions if not decision.keep]
        names.sort(key=lambda name: summaries[name].created_at.timestamp() if name in summaries else 0.0)
        chosen = names[:MAX_DELETIONS]
        for name, etag in zip(chosen, each(self._marker_etag, chosen), strict=True):
            size_bytes = summaries[name].size_bytes if name in summaries else 0
            yield Deletion(name=name, size_bytes=size_bytes, marker_etag=etag)

    def _marker_etag(self, name: str) -> str:
        """Return the ETag of a backup's marker; an empty text where there is none."""
        try:
            return self.run.store.get_with_etag(self.run.bucket, BackupLayout(self.run.prefix, name).marker)[1]
        except ObjectNotFoundError:
            return ""
