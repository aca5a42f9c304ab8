"""CarryOutPrune: delete one backup, so that nobody ever finds half of one.

The claim keeps a new backup of the name away, the tombstone a restore. Then the marker goes, and with it the
backup; what is left is rubbish that may be removed in any order, by this execution or a later one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import batched
from operator import attrgetter

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.remains import has_lost_its_marker, marker_etag
from milvus_vault.archive.sealing import seal
from milvus_vault.archive.tombstones import Tombstone, has_begun, is_being_deleted, tombstone_key
from milvus_vault.catalogue import Catalogue
from milvus_vault.claims import CLAIM, DIED, ClaimHeldError, Claims, check_owner
from milvus_vault.copying.pacer import Pacer
from milvus_vault.copying.verify import DELETE_AT_A_TIME
from milvus_vault.deleting import STOP_SECONDS, delete_batches, deletion_pacer
from milvus_vault.errors import (
    BackupDamagedError,
    BackupHeldError,
    BackupInProgressError,
    BackupInUseError,
    BackupLockedError,
    InvalidRequestError,
    RunTakenOverError,
    VaultError,
)
from milvus_vault.model.names import attempt_of, backup_run, named_run
from milvus_vault.model.objects import ListedObject
from milvus_vault.model.resources import ObjectCount
from milvus_vault.ports import Executions
from milvus_vault.retention.proof import Prover
from milvus_vault.retention.working_files import Deletion, Outcome, PrunePlan, outcome_name, removed_name
from milvus_vault.workspace import Workspace

# Batches of a thousand keys, of which a second has one or a few: a note each half minute or so.
_BATCHES_A_NOTE = 32

_REASONS_TO_SKIP = (BackupHeldError, BackupLockedError, BackupInUseError, BackupInProgressError, BackupDamagedError)


@dataclass(frozen=True, slots=True)
class BackupDeletion:
    """The deletion of one backup of a plan."""

    run: Workspace
    plan: PrunePlan
    index: int
    catalogue: Catalogue
    executions: Executions
    now: datetime
    seconds_left: Callable[[], float]
    pacer: Pacer = field(default_factory=deletion_pacer)
    """The rate of keys a second, which deletions at the same time share."""

    @property
    def _deletion(self) -> Deletion:
        if not 0 <= self.index < len(self.plan.deletions):
            msg = f"the plan of {self.run.run} has no deletion {self.index}"
            raise InvalidRequestError(msg, hint="The indices are those that PlanPrune returned.")
        return self.plan.deletions[self.index]

    @property
    def _layout(self) -> BackupLayout:
        return BackupLayout(self.run.prefix, self._deletion.name)

    @property
    def _backup_run(self) -> Workspace:
        """Return the working files of the backup's own run."""
        return Workspace(self.run.store, self.run.bucket, self.run.prefix, backup_run(self._deletion.name))

    def delete(self) -> bool:
        """Delete the backup, or write down why not; return whether that is done, or time ran short.

        A hold, a lock, a running restore and a running backup or prune of the name make it skip the backup, and a
        policy's deletion is skipped where the reasons for it can no longer be proven. Safe to repeat; a later execution
        may continue it. Raises `RunTakenOverError` where the execution has ended, and what passes.
        """
        if self.run.find(outcome_name(self.index), Outcome) is not None:
            return True
        # A function goes on for up to 15 minutes, and who has stopped its execution wants what is left.
        if (status := self.executions.status(self.plan.execution_arn)) in DIED:
            msg = f"execution {self.plan.execution_arn} has ended ({status}), and deletes nothing more"
            raise RunTakenOverError(msg, hint="Start another prune if need be.")
        try:
            is_done = self._delete()
        except _REASONS_TO_SKIP as err:
            self._write("skipped", err)
            return True
        except VaultError as err:
            if err.retryable:
                raise
            self._write("failed", err)
            return True
        if is_done:
            self._write("deleted", size_bytes=self._deletion.size_bytes or self._removed().size_bytes)
        return is_done

    def _delete(self) -> bool:
        self._claim()
        try:
            if self._marker_exists() or self._is_to_go_without_marker():
                self._bury()
            elif not has_begun(self.run.store, self.run.bucket, self.run.prefix, self._deletion.name):
                self._check_not_lost()
                # Somebody else has deleted it since it was planned. What lies there now may be a backup to be resumed.
                self._give_claim_back()
                return True
        except _REASONS_TO_SKIP:
            self._give_claim_back()
            raise
        if not self._remove_objects():
            return False
        self._remove_traces()
        return True

    def _claim(self) -> None:
        claims = Claims(
            self.run.store,
            self.executions,
            self.run.bucket,
            execution_arn=self.plan.execution_arn,
            run=self.run.run,
        )
        try:
            claims.take(self._backup_run.key(CLAIM))
        except ClaimHeldError as err:
            msg = f"{named_run(err.holder.execution_arn)} is working on backup '{self._deletion.name}'"
            raise BackupInProgressError(msg, hint="The next prune tries again.") from err

    def _give_claim_back(self) -> None:
        self._check_owner()
        self._backup_run.delete([CLAIM])

    def _check_owner(self) -> None:
        check_owner(self._backup_run, attempt_of(self.plan.execution_arn))

    def _marker_exists(self) -> bool:
        etag = marker_etag(self.run.store, self.run.bucket, self._layout)
        if etag is None:
            return False
        if etag != self._deletion.marker_etag:
            msg = f"backup '{self._deletion.name}' was made anew since it was decided to delete it"
            raise BackupInProgressError(msg, hint="The next prune decides again.")
        return True

    def _is_to_go_without_marker(self) -> bool:
        """Return whether somebody wants a backup gone, by its name, that had lost its marker before."""
        is_wanted = self.plan.request.backup_names is not None and not self._deletion.marker_etag
        return is_wanted and has_lost_its_marker(self.run.store, self.run.bucket, self._layout)

    def _check_not_lost(self) -> None:
        if has_lost_its_marker(self.run.store, self.run.bucket, self._layout):
            msg = f"backup '{self._deletion.name}' has lost its marker, and nothing proves that a prune deleted that"
            raise BackupDamagedError(msg, hint="It stays; repair it, or delete it by its name.")

    def _is_buried(self, name: str) -> bool:
        return is_being_deleted(self.run.store, self.run.bucket, self.run.prefix, name)

    def _bury(self) -> None:
        """Write the tombstone, look who needs the backup, and delete marker and entry where nobody does."""
        name, store, bucket = self._deletion.name, self.run.store, self.run.bucket
        if self.plan.request.backup_names is None:
            self._check_proven()
        tombstone = Tombstone(backup_name=name, execution_arn=self.plan.execution_arn, since=self.now)
        key = tombstone_key(self.run.prefix, name)
        # Who may not delete anything finds out before anybody is kept from the backup.
        store.delete(bucket, [key])
        store.put(bucket, key, seal(tombstone))
        try:
            self.catalogue.check_deletable(name, self.executions)
        except (BackupHeldError, BackupLockedError, BackupInUseError):
            store.delete(bucket, [key])
            raise
        self._check_owner()
        # By this alone another execution goes on where there is no marker: else who died before may have seen a hold.
        store.put(bucket, key, seal(tombstone.model_copy(update={"is_decided": True})))
        try:
            store.delete(bucket, [self._layout.marker])
        except VaultError as err:
            if not err.retryable and self._marker_exists():
                store.delete(bucket, [key])
            raise
        self.catalogue.forget(name)

    def _check_proven(self) -> None:
        """Return if a policy may delete the backup: its own documents, and the backups kept in its place, can be read.

        That its marker is the one of the plan was seen. Raises `BackupDamagedError`.
        """
        prover = Prover(self.run.store, self.run.bucket, self.run.prefix, self.catalogue, self.now)
        own = prover.prove(self._deletion.name)
        if own is None or own.sealed is None:
            msg = f"backup '{self._deletion.name}' cannot be read: {own.why_kept if own else 'its marker is gone'}"
            raise BackupDamagedError(msg, hint="It stays; delete it by its name.")
        for name in self._deletion.guards:
            guard = prover.prove(name)
            if guard is None or guard.sealed is None or guard.flaw or self._is_buried(name):
                why = (guard.flaw or guard.why_kept or "it is being deleted") if guard else "its marker is gone"
                msg = (
                    f"backup '{self._deletion.name}' stays, since {name}, which is newer, could not be restored: {why}"
                )
                raise BackupDamagedError(msg, hint=f"See what happened to {name}; the next prune decides again.")

    def _remove_objects(self) -> bool:
        """Remove the folder; return whether all of it is gone, or time ran short."""
        store, bucket = self.run.store, self.run.bucket
        has_time = True
        before = self._removed()
        count, size_bytes = before.object_count, before.size_bytes

        def in_time() -> Iterator[Sequence[ListedObject]]:
            nonlocal has_time
            for some in batched(store.list_objects(bucket, self._layout.root), DELETE_AT_A_TIME, strict=False):
                has_time = self.seconds_left() >= STOP_SECONDS
                if not has_time:
                    return
                yield some

        # Functions of a stopped execution go on: what is there by then may be the successor's.
        batches = delete_batches(
            store, bucket, in_time(), attrgetter("key"), pacer=self.pacer, before=self._check_owner
        )
        for number, some in enumerate(batches, start=1):
            objects = [listed.size_bytes for listed in some if listed.key.startswith(self._layout.binlogs)]
            count, size_bytes = count + len(objects), size_bytes + sum(objects)
            if number % _BATCHES_A_NOTE == 0:
                self._note_removed(count, size_bytes)
        self._note_removed(count, size_bytes)
        return has_time

    def _note_removed(self, count: int, size_bytes: int) -> None:
        if count:
            self.run.write(removed_name(self.index), ObjectCount(object_count=count, size_bytes=size_bytes))

    def _removed(self) -> ObjectCount:
        """Return what `_remove_objects` removed so far of the objects in the backup's folder."""
        return self.run.find(removed_name(self.index), ObjectCount) or ObjectCount()

    def _remove_traces(self) -> None:
        """Remove what else is known of the backup: the tombstone after all that it stands for, and the claim last."""
        self._check_owner()
        self.catalogue.forget_traces(self._deletion.name)
        files = [name for name in self._backup_run.names() if name != CLAIM]
        # Where S3 is slow they may be a successor's by now.
        self._check_owner()
        self._backup_run.delete(files)
        self.run.store.delete(self.run.bucket, [tombstone_key(self.run.prefix, self._deletion.name)])
        self._give_claim_back()

    def _write(self, status: str, error: VaultError | None = None, *, size_bytes: int = 0) -> None:
        outcome = Outcome.model_validate(
            {
                "name": self._deletion.name,
                "status": status,
                "size_bytes": size_bytes,
                "error": type(error).__name__ if error else "",
                "message": error.message if error else "",
                "hint": error.hint if error else "",
            }
        )
        self.run.write(outcome_name(self.index), outcome)
