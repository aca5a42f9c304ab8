"""CarryOutPrune: remove what ended executions left behind.

Nothing of an execution that runs, or may run, is touched: what belongs to a run is removed under the run's claim.
Nothing outside the backup prefix and the staging prefix is touched but what exports of this deployment have left in
another place, where their claims are, and nothing of a backup that has its marker, or that has lost it. An unfinished
backup is in quarantine first: noted by one sweep, removed by another one that comes at least the time of grace later.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import batched
from operator import attrgetter
from typing import NamedTuple

from milvus_vault.archive.layout import OWN_FOLDERS, RUNS_FOLDER, BackupLayout, join
from milvus_vault.archive.remains import has_lost_its_marker, is_there
from milvus_vault.archive.tombstones import has_begun
from milvus_vault.backup.working_files import DESTINATION, ExportDestination
from milvus_vault.catalogue import Catalogue
from milvus_vault.catalogue.entries import CatalogueKeys
from milvus_vault.claims import CLAIM, RUNNING, Claim, ClaimHeldError, Claims
from milvus_vault.copying.pacer import Pacer
from milvus_vault.copying.verify import DELETE_AT_A_TIME
from milvus_vault.deleting import delete_batches, deletion_pacer
from milvus_vault.errors import BucketNotFoundError, StorageAccessDeniedError, WorkingFileError
from milvus_vault.model.names import backup_of, backup_run
from milvus_vault.model.objects import ListedObject
from milvus_vault.ports import Executions, ObjectStore
from milvus_vault.retention.pool_sweep import STOP_SECONDS, PoolSweep
from milvus_vault.retention.working_files import Swept
from milvus_vault.workspace import Workspace

# Step Functions forgets executions after 90 days; so long their records are good for something.
KEEP_RECORDS = timedelta(days=90)
RECORDS = ("executions", "failures", "reports", "checks")
_EXPORTS = "export-"
RUN_KINDS = ("backup-", "restore-", "verify-", "prune-", _EXPORTS, "drill-")

# At least one interval of the daily sweep lies between the two that note and remove something.
QUARANTINE = timedelta(days=1)

_CLAIMS = "claims"

# What another place may say whose owner has changed his mind, or where the stack was given another one since; and that
# nobody can tell which place it is.
_OUT_OF_REACH = (BucketNotFoundError, StorageAccessDeniedError, WorkingFileError)


class _Destination(NamedTuple):
    """Where a run makes a backup."""

    bucket: str
    layout: BackupLayout
    claim: str
    """Key of what keeps the name for the run in another place; empty in the deployment's own."""


class KnownExecutions:
    """Executions that are asked for once: a restore may have a thousand claims."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._known: dict[str, str] = {}

    def status(self, execution_arn: str) -> str:
        """Return an execution's status, as it was when it was first asked for."""
        if execution_arn not in self._known:
            self._known[execution_arn] = self._executions.status(execution_arn)
        return self._known[execution_arn]


@dataclass
class Sweep:
    """One sweep of both buckets. It may be stopped and repeated at any point."""

    store: ObjectStore
    executions: Executions
    bucket: str
    prefix: str
    milvus_bucket: str
    staging_prefix: str
    run: str
    execution_arn: str
    now: datetime
    grace: timedelta
    seconds_left: Callable[[], float]
    pacer: Pacer = field(default_factory=deletion_pacer)
    """The rate of keys a second, which all that a function deletes shares."""
    _runs: list[str] = field(default_factory=list)
    _folders: list[str] = field(default_factory=list)
    _quarantined: list[str] = field(default_factory=list)
    _left_elsewhere: list[str] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)
    _known: KnownExecutions = field(init=False)
    _backup_claims: Claims = field(init=False)
    _target_claims: Claims = field(init=False)
    _pool: PoolSweep = field(init=False)

    def __post_init__(self) -> None:
        """Ask for each execution once."""
        self._known = KnownExecutions(self.executions)
        self._backup_claims = self._claims(self.bucket)
        self._target_claims = self._claims(self.milvus_bucket)
        self._pool = PoolSweep(
            run=Workspace(self.store, self.bucket, self.prefix, self.run),
            executions=self._known,
            execution_arn=self.execution_arn,
            grace=self.grace,
            seconds_left=self.seconds_left,
            pacer=self.pacer,
        )

    def sweep(self) -> tuple[Swept, bool]:
        """Remove what may be removed; return what that was, and whether it was all."""
        is_all = self._sweep_all()
        swept = Swept(
            runs=tuple(self._runs),
            folders=tuple(self._folders),
            quarantined=tuple(self._quarantined),
            left_elsewhere=tuple(self._left_elsewhere),
            record_count=self._counts["records"],
            claim_count=self._counts["claims"],
            catalogue_count=self._counts["catalogue"],
            upload_count=self._counts["uploads"],
            object_count=self._counts["objects"],
            size_bytes=self._counts["bytes"],
            pool_object_count=self._pool.counts["objects"],
            pool_size_bytes=self._pool.counts["bytes"],
            pool_waiting=tuple(self._pool.waiting),
            pool_reasons=tuple(self._pool.reasons),
        )
        return swept, is_all

    def _sweep_all(self) -> bool:
        # Staged objects and unfinished backups go under the claim of their run, and so before the run's folder.
        for step in (self._sweep_runs, self._sweep_staging, self._sweep_target_claims, self._sweep_backups):
            for _ in step():
                if self.seconds_left() < STOP_SECONDS:
                    return False
        self._sweep_records()
        self._sweep_catalogue()
        self._sweep_uploads()
        # Last, since it may take long, and what it finds depends on the backups that are gone by now.
        return self._pool.sweep()

    def _sweep_runs(self) -> Iterator[str]:
        for run in list(self.store.list_folders(self.bucket, self._run_folder())):
            if run.startswith(RUN_KINDS) and run != self.run and self._is_swept(run):
                self._runs.append(run)
            yield run

    def _is_swept(self, run: str) -> bool:
        try:
            return self._sweep_run(run)
        except _OUT_OF_REACH as err:
            # Of the deployment's own buckets the next run says so as well.
            if not run.startswith(_EXPORTS):
                raise
            self._left_elsewhere.append(f"{run}: {err.message}")
            return False

    def _sweep_run(self, run: str) -> bool:
        folder = self._run_folder(run)
        files = list(self.store.list_objects(self.bucket, folder))
        staged = list(self.store.list_objects(self.milvus_bucket, self._staging(run)))
        if not self._are_old([*files, *staged]) or self._is_running(folder + CLAIM):
            return False
        destination = self._destination(run)
        rest = list(self._unfinished_backup(destination))
        if not self._are_old(rest):
            return False
        if not self._may_go(backup_of(run), rest) or not self._take(self._backup_claims, folder + CLAIM):
            return False
        # A backup may have been published since: under the claim nobody can begin to.
        rest = list(self._unfinished_backup(destination))
        self._delete(self.milvus_bucket, staged)
        if destination:
            self._delete(destination.bucket, rest)
        if destination and destination.claim:
            self._abort_uploads(destination.bucket, destination.layout.root)
            self.store.delete(destination.bucket, [destination.claim])
        if rest:
            self.store.delete(self.bucket, [CatalogueKeys(self.prefix).orphan(backup_of(run))])
        self._delete(self.bucket, [file for file in files if file.key != folder + CLAIM])
        self.store.delete(self.bucket, [folder + CLAIM])
        return True

    def _destination(self, run: str) -> _Destination | None:
        """Return where a run makes a backup; None where it makes none, or where another one has the name by now."""
        name = backup_of(run)
        if name != run:
            return _Destination(self.bucket, BackupLayout(self.prefix, name), "")
        home = Workspace(self.store, self.bucket, self.prefix, run)
        told = home.find(DESTINATION, ExportDestination) if run.startswith(_EXPORTS) else None
        if told is None:
            return None
        there = told.place.run_of(home, told.backup_name)
        # Another deployment's run for the same name is called the same. Nobody here can ask for its execution.
        holder = self._claims(there.bucket).holder(there.key(CLAIM))
        if holder is None or holder[0].run != run or holder[1] in RUNNING:
            return None
        return _Destination(there.bucket, BackupLayout(there.prefix, told.backup_name), there.key(CLAIM))

    def _unfinished_backup(self, destination: _Destination | None) -> Iterator[ListedObject]:
        return self._parts_without_marker(destination.bucket, destination.layout) if destination else iter(())

    def _parts_without_marker(self, bucket: str, layout: BackupLayout) -> Iterator[ListedObject]:
        """Yield the objects of an unfinished backup: nothing if it is, or was, a whole one, or a prune deletes it."""
        if self._exists(bucket, layout.marker) or has_lost_its_marker(self.store, bucket, layout):
            return
        # What a prune began the next one ends. And no folder goes because a listing left its marker out.
        if has_begun(self.store, bucket, layout.prefix, layout.name) or is_there(self.store, bucket, layout.marker):
            return
        for folder in (layout.binlogs, f"{layout.root}meta/"):
            yield from self.store.list_objects(bucket, folder)

    def _sweep_backups(self) -> Iterator[str]:
        """Remove folders of unfinished backups that have had no run for the time of grace."""
        runs = set(self.store.list_folders(self.bucket, self._run_folder()))
        folder = join(self.prefix)
        for name in list(self.store.list_folders(self.bucket, f"{folder}/" if folder else "")):
            if name in OWN_FOLDERS or backup_run(name) in runs:
                continue
            parts = list(self._parts_without_marker(self.bucket, BackupLayout(self.prefix, name)))
            note = CatalogueKeys(self.prefix).orphan(name)
            if not parts:
                self.store.delete(self.bucket, [note])
            elif self._are_old(parts) and self._may_go(name, parts):
                self._sweep_orphan(name, note)
            yield name

    def _may_go(self, name: str, parts: list[ListedObject]) -> bool:
        """Return whether parts of an unfinished backup have been in quarantine for long enough; else see that they are.

        What was written since they were noted begins anew.
        """
        if not parts:
            return True
        note = CatalogueKeys(self.prefix).orphan(name)
        noted = self._find(self.bucket, note)
        since = noted.modified_at if noted else None
        if since is None or any(part.modified_at is None or part.modified_at > since for part in parts):
            self.store.put(self.bucket, note, b"{}")
            self._quarantined.append(name)
            return False
        return since <= self.now - max(self.grace, QUARANTINE)

    def _sweep_orphan(self, name: str, note: str) -> None:
        claim = self._run_folder(backup_run(name)) + CLAIM
        if self._take(self._backup_claims, claim):
            # Under the claim nobody can begin to make it a backup: only what has no marker by now goes.
            layout = BackupLayout(self.prefix, name)
            self._delete(self.bucket, list(self._parts_without_marker(self.bucket, layout)))
            self.store.delete(self.bucket, [note, claim])
            self._folders.append(f"s3://{self.bucket}/{layout.root}")

    def _sweep_staging(self) -> Iterator[str]:
        """Remove staged objects of runs that are gone. Runs of other stacks are known by their targets' claims."""
        runs = set(self.store.list_folders(self.bucket, self._run_folder()))
        held = {claim.run for claim, status in self._all_target_claims() if status in RUNNING}
        for run in list(self.store.list_folders(self.milvus_bucket, self._staging())):
            if run == _CLAIMS or run in runs or run in held:
                continue
            staged = list(self.store.list_objects(self.milvus_bucket, self._staging(run)))
            if self._are_old(staged):
                self._delete(self.milvus_bucket, staged)
                self._folders.append(f"s3://{self.milvus_bucket}/{self._staging(run)}")
            yield run

    def _all_target_claims(self) -> Iterator[tuple[Claim, str]]:
        for listed in self.store.list_objects(self.milvus_bucket, self._staging(_CLAIMS)):
            if found := self._target_claims.holder(listed.key):
                yield found

    def _sweep_target_claims(self) -> Iterator[str]:
        for listed in list(self.store.list_objects(self.milvus_bucket, self._staging(_CLAIMS))):
            if self._are_old([listed]) and self._take(self._target_claims, listed.key):
                self._delete(self.milvus_bucket, [listed])
                self._counts["claims"] += 1
            yield listed.key

    def _sweep_records(self) -> None:
        for kind in RECORDS:
            listed = self.store.list_objects(self.bucket, self._run_folder(kind))
            old = [record for record in listed if self._is_older(record, KEEP_RECORDS)]
            self._delete(self.bucket, old)
            self._counts["records"] += len(old)

    def _sweep_catalogue(self) -> None:
        """Remove what is kept of backups that are gone: entries (as a listing does), holds, verifications, drills."""
        keys = CatalogueKeys(self.prefix)
        Catalogue(self.store, self.bucket, self.prefix).entries(adopt=False)
        folder = join(self.prefix)
        names = set(self.store.list_folders(self.bucket, f"{folder}/" if folder else ""))
        # What an export left in another place is noted by the name of its run.
        names.update(self.store.list_folders(self.bucket, self._run_folder()))
        for place in (keys.holds, keys.verifications, keys.drills, keys.tombstones, keys.orphans, keys.damages):
            gone = []
            for listed in self.store.list_objects(self.bucket, place):
                name = listed.key.removeprefix(place).removesuffix(".json")
                # A listing of folders may have left it out, and a hold is not made anew.
                if self._are_old([listed]) and name not in names and not self._has_objects(name):
                    gone.append(listed)
            self._delete(self.bucket, gone)
            self._counts["catalogue"] += len(gone)

    def _sweep_uploads(self) -> None:
        for bucket, prefix in ((self.bucket, join(self.prefix)), (self.milvus_bucket, join(self.staging_prefix))):
            # Without a prefix the whole bucket would be ours.
            if prefix:
                self._abort_uploads(bucket, f"{prefix}/")

    def _abort_uploads(self, bucket: str, folder: str) -> None:
        for upload in list(self.store.list_uploads(bucket, folder)):
            if upload.begun_at <= self.now - self.grace:
                self.store.abort_upload(bucket, upload)
                self._counts["uploads"] += 1

    def _run_folder(self, run: str = "") -> str:
        return join(self.prefix, RUNS_FOLDER, run) + "/"

    def _staging(self, run: str = "") -> str:
        return join(self.staging_prefix, run) + "/"

    def _claims(self, bucket: str) -> Claims:
        return Claims(self.store, self._known, bucket, execution_arn=self.execution_arn, run=self.run)

    def _is_running(self, claim: str) -> bool:
        found = self._backup_claims.holder(claim)
        return found is not None and found[0].execution_arn != self.execution_arn and found[1] in RUNNING

    def _take(self, claims: Claims, key: str) -> bool:
        try:
            claims.take(key)
        except ClaimHeldError:
            return False
        return True

    def _has_objects(self, name: str) -> bool:
        return any(self.store.list_objects(self.bucket, BackupLayout(self.prefix, name).root))

    def _find(self, bucket: str, key: str) -> ListedObject | None:
        return next((listed for listed in self.store.list_objects(bucket, key) if listed.key == key), None)

    def _exists(self, bucket: str, key: str) -> bool:
        return self._find(bucket, key) is not None

    def _are_old(self, objects: list[ListedObject]) -> bool:
        return all(self._is_older(listed, self.grace) for listed in objects)

    def _is_older(self, listed: ListedObject, age: timedelta) -> bool:
        return listed.modified_at is not None and listed.modified_at <= self.now - age

    def _delete(self, bucket: str, objects: list[ListedObject]) -> None:
        batches = batched(objects, DELETE_AT_A_TIME, strict=False)
        for _ in delete_batches(self.store, bucket, batches, attrgetter("key"), pacer=self.pacer):
            pass
        self._counts["objects"] += len(objects)
        self._counts["bytes"] += sum(listed.size_bytes for listed in objects)
