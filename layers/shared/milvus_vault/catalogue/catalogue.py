"""The catalogue of a backup prefix. The markers decide what backups there are; entries only make a list cheap.

Entries are written after the marker, and a listing repairs them: a folder with a marker and without an entry is
taken in, an entry without its folder is dropped.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from itertools import islice

from pydantic import BaseModel

from milvus_vault.archive.layout import RUNS_FOLDER, BackupLayout, join
from milvus_vault.archive.manifest import Manifest
from milvus_vault.archive.pool import PoolLayout, parse_pooled_key
from milvus_vault.archive.reader import backup_folders, check_backup_exists, find_manifest
from milvus_vault.archive.sealing import is_sealed, seal, unseal
from milvus_vault.archive.tombstones import check_not_being_deleted
from milvus_vault.catalogue.describe import damaged_summary, describe
from milvus_vault.catalogue.entries import CatalogueKeys, EntryKey, read_token, write_token
from milvus_vault.claims import CLAIM, RUNNING, Claims
from milvus_vault.errors import (
    BackupDamagedError,
    BackupFormatError,
    BackupHeldError,
    BackupInUseError,
    BackupLockedError,
    BackupNotFoundError,
    InvalidRequestError,
    ObjectArchivedError,
    ObjectNotFoundError,
    StorageAccessDeniedError,
    StorageRequestError,
    VaultError,
    WorkingFileError,
    did_you_mean,
)
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.names import backup_of, named_run
from milvus_vault.model.requests import backup_name_problem
from milvus_vault.model.resources import (
    Backup,
    BackupCopy,
    BackupSummary,
    Damage,
    Drill,
    Hold,
    HoldState,
    Page,
    Verification,
)
from milvus_vault.model.schedules import DrillSuccess
from milvus_vault.model.times import EPOCH, utc_minute, utc_second
from milvus_vault.parallel import each
from milvus_vault.pool.doubts import Doubt, PoolDoubts
from milvus_vault.ports import Executions, ObjectStore

# Backups of other tools are read whole once, so not many at a time: one may have a quarter of a gigabyte of metadata.
_ADOPT_AT_A_TIME = 4

# Those that an incremental backup asks what was recorded of shared objects, and how many entries it looks through.
_BASES, _LOOKED_AT = 3, 30

UNREADABLE_BACKUP = (
    BackupDamagedError,
    BackupFormatError,
    ObjectArchivedError,
    StorageAccessDeniedError,
    StorageRequestError,
)
"""Faults of one backup: who reads all backups tells of them, and continues with the others."""

_UNREADABLE_HOLD = HoldState(reason="the file of the hold cannot be read", since=EPOCH)


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Catalogue:
    """The backups of one prefix."""

    def __init__(
        self,
        store: ObjectStore,
        bucket: str,
        prefix: str,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._prefix = prefix
        self._clock = clock
        self._keys = CatalogueKeys(prefix)
        self._doubts = PoolDoubts(store, bucket, prefix)

    def list(self, limit: int, token: str | None, schedule: str | None = None) -> Page[BackupSummary]:
        """Return a page of backups, newest first: all, or those of a schedule. Those that cannot be read come first.

        It takes seven listings (of 1,000 keys a request), and one more where a backup on the page is incremental; a
        read for each backup on the page, for each hold, verification and drill of one, and for each group of the pool
        that had a doubt; and on the first page one for each folder that has no entry, as that of a running backup.
        Raises `InvalidRequestError` for a token that is none.
        """
        after = read_token(token) if token is not None else None
        entries = [
            entry
            for entry in self.entries(adopt=after is None or after.is_of_damaged)
            if (after is None or entry > after) and (schedule is None or entry.schedule == schedule)
        ]
        return Page[BackupSummary](
            items=tuple(self.read(entries[:limit])),
            next_token=write_token(entries[limit - 1]) if len(entries) > limit else None,
        )

    def entries(self, *, adopt: bool) -> Sequence[EntryKey]:
        """Return the entries of all backups, newest first, after having repaired them.

        Backups that are being deleted are left out. Without `adopt` no folder is looked into.
        """
        # In this order: what has an entry has a folder by the time that these are listed.
        found = self._listed_entries()
        deleting = set(self._names(self._keys.tombstones))
        folders = self.folders()
        newest: dict[str, EntryKey] = {}
        for entry in found:
            newest.setdefault(entry.name, entry)
        gone = [entry for entry in found if entry.name not in folders or newest[entry.name] != entry]
        self._store.delete(self._bucket, [self._keys.entry(entry) for entry in gone])
        kept = [entry for name, entry in newest.items() if name in folders and name not in deleting]
        if adopt:
            new = sorted(folders - newest.keys() - deleting)
            kept += [_key_of(s) for s in each(self._adopt, new, threads=_ADOPT_AT_A_TIME) if s]
        return sorted(kept)

    def read(self, entries: Iterable[EntryKey]) -> Iterator[BackupSummary]:
        """Yield the summaries of entries, in their order; what has vanished meanwhile is left out."""
        held = set(self._names(self._keys.holds))
        noted = {note.name: note.problem for note in self.damages()}
        verified = set(self._names(self._keys.verifications))
        drilled = set(self._names(self._keys.drills))
        doubts = cache(self._read_doubts)
        for summary in each(self._read_entry, entries):
            if summary is None:
                continue
            damage = summary.damage or noted.get(summary.name, "")
            if not damage and summary.name in verified:
                damage = self.verified_damaged(summary.name, summary.finished_at)
            if not damage and summary.mode == "incremental":
                damage = _doubted(doubts(), summary.name, summary.finished_at)
            is_held = summary.name in held and self.hold(summary.name) is not None
            drill = self.drill_of(summary.name, summary.finished_at) if summary.name in drilled else None
            yield summary.model_copy(update={"is_held": is_held, "damage": damage, **_proven(drill)})

    def get(self, name: str) -> Backup:
        """Return a backup in full, except `report_url`.

        Raises:
            BackupNotFoundError: There is no such backup.
            BackupDamagedError: Its metadata is missing or damaged.
            BackupFormatError: It is in a format that cannot be read.
        """
        backup = describe(self._store, self._bucket, BackupLayout(self._prefix, name))
        hold = self.hold(name)
        verification = self._readable_verification(name)
        damage = next((note.problem for note in self.damages() if note.name == name), "")
        drill = self.drill_of(name, backup.finished_at)
        update: dict[str, object] = {"hold": hold, "is_held": hold is not None, "verification": verification}
        update |= {"drill": drill, **_proven(drill), "copies": self.copies(name)}
        return backup.model_copy(update=update | {"damage": damage or self.found_damaged(backup)})

    def publish(self, summary: BackupSummary) -> None:
        """Write the entry of a backup whose marker is there, replacing an older one. Safe to repeat."""
        self._store.put(self._bucket, self._keys.entry(EntryKey.of(summary)), seal(summary))

    def newest_complete(self, schedules: Collection[str]) -> Mapping[str, BackupSummary]:
        """Return the newest backup of each of these schedules that is complete and not known to be damaged.

        Two listings for all of them, and one more where a backup that is looked at is incremental; and some reads for
        each backup that is newer. A schedule without one is left out.
        """
        missing = set(schedules)
        if not missing:
            return {}
        noted = {note.name for note in self.damages()}
        doubts = cache(self._read_doubts)
        found: dict[str, BackupSummary] = {}
        for entry in self._listed_entries():
            if entry.schedule not in missing or entry.name in noted:
                continue
            summary = self._read_entry(entry)
            if summary and summary.status == "complete" and not self._damage(summary, doubts):
                found[entry.schedule] = summary
                missing.remove(entry.schedule)
                if not missing:
                    break
        return found

    def drill_successes(self, schedules: Collection[str]) -> Mapping[str, DrillSuccess]:
        """Return the newest drill of each of these schedules that succeeded: a read for each.

        A schedule without one is left out, as one is of which what was written down cannot be read.
        """
        found = {name: self._drill_success(name) for name in schedules}
        return {name: success for name, success in found.items() if success}

    def note_drill_success(self, success: DrillSuccess) -> None:
        """Write down a drill of a schedule that succeeded, unless a newer one is known. Safe to repeat."""
        before = self._drill_success(success.schedule)
        if before is None or before.begun_at < success.begun_at:
            self._store.put(self._bucket, self._keys.drilled(success.schedule), seal(success))

    def _drill_success(self, schedule: str) -> DrillSuccess | None:
        try:
            found = self._find(self._keys.drilled(schedule), DrillSuccess)
        except ValueError:
            return None
        return found if found and found.schedule == schedule else None

    def newest_of(self, schedule: str) -> str:
        """Return the name of the newest backup of a schedule that is complete and not known to be damaged.

        Raises `BackupNotFoundError` where there is none.
        """
        newest = self.newest_complete({schedule}).get(schedule)
        if newest is None:
            msg = f"schedule '{schedule}' has no complete backup"
            there = {entry.schedule for entry in self._listed_entries() if entry.schedule}
            near = "" if schedule in there else did_you_mean(schedule, there)
            raise BackupNotFoundError(
                msg, hint=near or "`GET /backups` lists those that are there, with their schedules."
            )
        return newest.name

    def incremental(self, source: str, schedule: str | None) -> Sequence[str]:
        """Return the names of some incremental backups of a source, the newest first, as bases of another one.

        Of each schedule the newest goes before a second one of any, and that of the given schedule before all others:
        so no schedule is pushed out by one that backs up more often. By entries that may be of deleted ones; those of
        earlier releases do not tell their source. One listing and at most thirty reads. Nothing is repaired: an entry
        that is not as it was written counts as none.

        Args:
            source: Bucket and root path of Milvus, as `BackupSummary` has them.
            schedule: The one that asks; None: the backup is made by hand, and those by hand are its own.
        """
        looked_at = _in_turn(self._listed_entries(), schedule)[:_LOOKED_AT]
        summaries = zip(looked_at, each(self._sealed_entry, looked_at), strict=True)
        found = [
            entry
            for entry, summary in summaries
            if summary is not None and summary.mode == "incremental" and summary.source in {"", source}
        ]
        return [entry.name for entry in sorted(_in_turn(found, schedule)[:_BASES])]

    def earlier(self, manifest: Manifest, count: int) -> Sequence[BackupSummary]:
        """Return the newest backups of an incremental one's schedule, to compare it with; none where it has none.

        By entries that may be of deleted ones, in one listing and as many reads. For want of them no backup fails:
        an entry that is not as it was written is left out, and there are none where S3 refuses to tell.
        """
        if manifest.schedule is None or not manifest.is_incremental:
            return ()
        schedule = manifest.schedule.name
        try:
            newest = islice((entry for entry in self._listed_entries() if entry.schedule == schedule), count)
            return [summary for summary in each(self._sealed_entry, newest) if summary is not None]
        except VaultError:
            return ()

    def hold(self, name: str) -> HoldState | None:
        """Return the hold of a backup; None where it has none, or one that has run out.

        One whose file cannot be read holds until somebody lifts it or places another.
        """
        try:
            found = self._find(self._keys.hold(name), HoldState)
        except ValueError:
            return _UNREADABLE_HOLD
        return found if found and (found.until is None or found.until > self._clock()) else None

    def place_hold(self, name: str, hold: Hold, by: str) -> HoldState:
        """Place a hold on a backup, replacing one that it has.

        Raises `BackupNotFoundError`, and `InvalidRequestError` for one that would have run out already.
        """
        layout = BackupLayout(self._prefix, name)
        check_backup_exists(self._store, self._bucket, layout)
        now = self._clock()
        if hold.until is not None and hold.until <= now:
            msg = f"a hold of backup '{name}' until {utc_second(hold.until)} has ended: it is {utc_second(now)}"
            raise InvalidRequestError(msg, hint="Give a time to come; without one it holds until somebody lifts it.")
        key = self._keys.hold(name)
        older = self._body(key)
        state = HoldState(reason=hold.reason, until=hold.until, since=now, by=by)
        self._store.put(self._bucket, key, seal(state))
        try:
            # A prune looks for holds after it has written its tombstone: one of the two sees the other. One that is
            # through has removed its tombstone, and the backup before that.
            check_not_being_deleted(self._store, self._bucket, self._prefix, name)
            check_backup_exists(self._store, self._bucket, layout)
        except BackupNotFoundError:
            if older is None:
                self._store.delete(self._bucket, [key])
            else:
                # For this one the prune withdraws, or the next one, where that has died.
                self._store.put(self._bucket, key, older)
            raise
        return state

    def lift_hold(self, name: str) -> None:
        """Remove the hold of a backup; that it has none is no error. Raises `BackupNotFoundError`."""
        check_backup_exists(self._store, self._bucket, BackupLayout(self._prefix, name))
        self._store.delete(self._bucket, [self._keys.hold(name)])

    def note_copy(self, name: str, copy: BackupCopy) -> None:
        """Write down where a copy of a backup is, in place of an earlier one there."""
        self._store.put(self._bucket, self._keys.copy_in(name, copy.location), seal(copy))

    def copies(self, name: str) -> Sequence[BackupCopy]:
        """Return where copies of a backup are, the newest first. A note that cannot be read counts as none."""
        found = []
        for listed in self._store.list_objects(self._bucket, self._keys.copies(name)):
            with suppress(ValueError):
                if copy := self._find(listed.key, BackupCopy):
                    found.append(copy)
        return tuple(sorted(found, key=lambda copy: copy.copied_at, reverse=True))

    def found_damaged(self, backup: BackupSummary) -> str:
        """Return what verifications found wrong with a backup, or an empty text.

        That is what its own last one found, and what a deep one of another backup found wrong with contents that both
        list, as far as that one knew who lists them: for that, of an incremental one, a listing, and a read for each
        group of the pool that had a doubt. What decides about backups asks `PoolDoubts.listed_in` instead.
        """
        return self._damage(backup, self._read_doubts)

    def _read_doubts(self) -> Mapping[str, Doubt] | str:
        """Return the doubts of the pool, or why they cannot be read: a list has to go on."""
        try:
            return self._doubts.read()
        except WorkingFileError as err:
            return err.message

    def _damage(self, backup: BackupSummary, doubts: Callable[[], Mapping[str, Doubt] | str]) -> str:
        found = self.verified_damaged(backup.name, backup.finished_at)
        if found or backup.mode != "incremental":
            return found
        return _doubted(doubts(), backup.name, backup.finished_at)

    def verified_damaged(self, name: str, finished_at: datetime | None) -> str:
        """Return what the last verification of a backup found wrong with it, or an empty text."""
        try:
            found = self.verification_of(name, finished_at)
        except ValueError:
            return "its last verification cannot be read"
        if found is None or found.status != "damaged":
            return ""
        first = f": {found.problems[0]}" if found.problems else ""
        return f"its verification of {utc_minute(found.verified_at)} found it damaged{first}"

    def drill_of(self, name: str, finished_at: datetime | None) -> Drill | None:
        """Return the last drill of the backup that was finished then; None for one that cannot be read."""
        try:
            body = self._store.get(self._bucket, self._keys.drill(name))
            found = Drill.model_validate_json(unseal(body)) if is_sealed(body) else None
        except (ObjectNotFoundError, ValueError):
            return None
        return None if found and finished_at and found.drilled_at < finished_at else found

    def note_drill(self, name: str, drill: Drill) -> None:
        """Write down what a drill of a backup found, in place of the one before."""
        self._store.put(self._bucket, self._keys.drill(name), seal(drill))

    def damaged_contents(self, name: str, finished_at: datetime | None) -> Mapping[str, str]:
        """Return by key what deep verifications found wrong with contents of the backup that was finished then.

        Nothing of its own last verification where that cannot be read, since nothing is known then.
        """
        try:
            found = self.verification_of(name, finished_at)
        except ValueError:
            found = None
        return found.damaged_contents if found else {}

    def damaged_in_pool(self) -> Mapping[str, datetime]:
        """Return the keys of the pool's objects whose contents deep verifications found wrong, and when they did last.

        One listing, and a read for each group that had such an object. Raises `WorkingFileError` as `PoolDoubts.read`.
        """
        return {key: doubt.found_at for key, doubt in self._doubts.read().items()}

    def _readable_verification(self, name: str) -> Verification | None:
        try:
            return self.verification(name)
        except ValueError:
            return None

    def remembered(self, name: str) -> BackupSummary | None:
        """Return what a backup's own entry says of it, whatever has become of the backup."""
        for entry in self._listed_entries():
            if entry.name == name and (summary := self._sealed_entry(entry)) is not None:
                return summary
        return None

    def damages(self) -> Sequence[Damage]:
        """Return what prunes found wrong with backups, by name."""
        notes = []
        for name in sorted(self._names(self._keys.damages)):
            with suppress(ValueError):
                note = self._find(self._keys.damage(name), Damage)
                # A copy of another one's says nothing of this one.
                if note and note.name == name:
                    notes.append(note)
        return notes

    def note_damages(self, found: Mapping[str, str]) -> None:
        """Write down what is wrong with backups, by name, in place of all that was; what was told stays told."""
        before = {note.name: note for note in self.damages()}
        gone = set(self._names(self._keys.damages)) - found.keys()
        self._store.delete(self._bucket, [self._keys.damage(name) for name in gone])
        for name, problem in found.items():
            if name not in before:
                self.note_damage(Damage(name=name, problem=problem, found_at=self._clock()))

    def note_damage(self, damage: Damage) -> None:
        """Write down what is wrong with a backup."""
        self._store.put(self._bucket, self._keys.damage(damage.name), seal(damage))

    def forget_damage(self, name: str) -> None:
        """Remove what was written down of a backup's damage."""
        self._store.delete(self._bucket, [self._keys.damage(name)])

    def being_deleted(self) -> Sequence[str]:
        """Return the names of the backups that a prune began to delete."""
        return sorted(self._names(self._keys.tombstones))

    def forget(self, name: str) -> None:
        """Delete the entries of a backup whose marker is gone."""
        entries = [entry for entry in self._listed_entries() if entry.name == name]
        self._store.delete(self._bucket, [self._keys.entry(entry) for entry in entries])

    def forget_traces(self, name: str) -> None:
        """Delete what else is kept of a backup that is gone: hold, verification, drill, digests, copies, entries.

        The copies themselves stay.
        """
        self.forget(name)
        keys = (self._keys.hold(name), self._keys.verification(name), self._keys.drill(name), self._keys.damage(name))
        folders = (self._keys.digests(name), self._keys.copies(name))
        below = (found.key for folder in folders for found in self._store.list_objects(self._bucket, folder))
        self._store.delete(self._bucket, (*keys, *below))

    def check_deletable(self, name: str, executions: Executions) -> None:
        """Return if nothing forbids to delete a backup.

        Raises `BackupHeldError`, `BackupLockedError` before its lock ends, and `BackupInUseError` while a restore, an
        export or a drill reads it.
        """
        lock = self._lock(name)
        if lock is not None and lock.lasts_at(self._clock()):
            msg = f"backup '{name}' is locked until {utc_second(lock.until)}, in {lock.mode} mode"
            raise BackupLockedError(msg, hint="Until then S3 keeps its objects. Delete it when the lock has ended.")
        hold = self.hold(name)
        if hold is not None:
            until = f"until {utc_second(hold.until)}" if hold.until else "until somebody lifts it"
            msg = f"backup '{name}' has a hold {until}: {hold.reason or 'no reason given'}"
            raise BackupHeldError(msg, hint="Lift the hold first.")
        reader = self._reader(name, executions)
        if reader is not None:
            msg = f"backup '{name}' is being read by {named_run(reader)}, which is running"
            raise BackupInUseError(msg, hint="Wait until that run has ended, or stop it.")

    def _lock(self, name: str) -> ObjectLock | None:
        """Return the lock of a backup, by its manifest, or where that cannot be read, by its entry."""
        try:
            manifest = find_manifest(self._store, self._bucket, BackupLayout(self._prefix, name))
        except UNREADABLE_BACKUP:
            remembered = self.remembered(name)
            return remembered.lock if remembered else None
        return manifest.lock if manifest else None

    def _reader(self, name: str, executions: Executions) -> str | None:
        """Return the ARN of a running restore, export or drill (or one that may run) which reads a backup, or None."""
        claims = Claims(self._store, executions, self._bucket, execution_arn="", run="")
        runs = join(self._prefix, RUNS_FOLDER)
        for run in self._store.list_folders(self._bucket, f"{runs}/"):
            # The rest of the run's name is a hash without a dash.
            if run.rpartition("-")[0] in {f"restore-{name}", f"export-{name}", f"drill-{name}"}:
                found = claims.holder(f"{runs}/{run}/{CLAIM}")
                if found and found[1] in RUNNING:
                    return found[0].execution_arn
        return None

    def _adopt(self, name: str) -> BackupSummary | None:
        """Write and return the entry of a backup that has none; None where there is no backup.

        One that cannot be read gets no entry, and is shown with the reason: it never hides the others.
        """
        layout = BackupLayout(self._prefix, name)
        problem = backup_name_problem(name)
        try:
            if problem:
                check_backup_exists(self._store, self._bucket, layout)
                return damaged_summary(self._store, self._bucket, layout, problem)
            backup = describe(self._store, self._bucket, layout)
        except BackupNotFoundError:
            return None
        except UNREADABLE_BACKUP as err:
            return damaged_summary(self._store, self._bucket, layout, err.message)
        summary = BackupSummary(**{field: getattr(backup, field) for field in BackupSummary.model_fields})
        self.publish(summary)
        return summary

    def _sealed_entry(self, entry: EntryKey) -> BackupSummary | None:
        """Return an entry; None for one of another release, or one that is not what was written."""
        try:
            body = self._store.get(self._bucket, self._keys.entry(entry))
            summary = BackupSummary.model_validate_json(unseal(body)) if is_sealed(body) else None
        except (ObjectNotFoundError, ValueError):
            return None
        return summary if summary is not None and EntryKey.of(summary) == entry else None

    def _read_entry(self, entry: EntryKey) -> BackupSummary | None:
        summary = self._sealed_entry(entry)
        if summary is not None and not backup_name_problem(summary.name):
            return summary
        adopted = self._adopt(entry.name)
        if adopted is not None and _key_of(adopted) != entry:
            self._store.delete(self._bucket, [self._keys.entry(entry)])
        return adopted

    def verification(self, name: str) -> Verification | None:
        """Return the last verification of a backup, or None. Raises `ValueError` for one that cannot be read.

        Of one without a digest only the damage counts: that it found none is what nobody can prove. What it found wrong
        with contents in the pool is left out once a deep verification, of whichever backup, has settled it.
        """
        try:
            body = self._store.get(self._bucket, self._keys.verification(name))
        except ObjectNotFoundError:
            return None
        found = Verification.model_validate_json(unseal(body))
        return self._unsettled(found) if is_sealed(body) or found.status == "damaged" else None

    def _unsettled(self, found: Verification) -> Verification:
        """Return a verification without what there is no doubt of any more."""
        pooled = {key: log.group for key in found.damaged_contents if (log := parse_pooled_key(key))}
        if not pooled:
            return found
        try:
            settled = pooled.keys() - self._doubts.read(frozenset(pooled.values())).keys()
        except WorkingFileError:
            # Nobody can tell.
            return found
        texts = tuple(found.damaged_contents[key] for key in settled)
        # A later verification tells it with words behind.
        problems = tuple(problem for problem in found.problems if not problem.startswith(texts))
        return found.model_copy(
            update={
                "damaged_contents": {key: text for key, text in found.damaged_contents.items() if key not in settled},
                "problems": problems,
                "status": found.status if problems or not found.problems else "intact",
            }
        )

    def verification_of(self, name: str, finished_at: datetime | None) -> Verification | None:
        """Return the last verification of the backup that was finished then, or None. Raises as `verification`.

        One that is older than the backup was of another one of that name.
        """
        found = self.verification(name)
        return None if found and finished_at and found.verified_at < finished_at else found

    def _find[T: BaseModel](self, key: str, model: type[T]) -> T | None:
        """Return a document; None where there is none. Raises `ValueError` for one that is not what was written."""
        body = self._body(key)
        return None if body is None else model.model_validate_json(unseal(body))

    def _body(self, key: str) -> bytes | None:
        try:
            return self._store.get(self._bucket, key)
        except ObjectNotFoundError:
            return None

    def _listed_entries(self) -> Sequence[EntryKey]:
        names = (listed.key.rpartition("/")[2] for listed in self._store.list_objects(self._bucket, self._keys.entries))
        return sorted(entry for name in names if (entry := EntryKey.parse(name)))

    def _names(self, folder: str) -> Iterator[str]:
        """Yield the names of the backups of which a folder has a document. What lies below it in another is none."""
        for listed in self._store.list_objects(self._bucket, folder):
            if "/" not in (name := listed.key.removeprefix(folder)):
                yield name.removesuffix(".json")

    def names(self) -> frozenset[str]:
        """Return the names of all that may be backups: of folders, and of entries, should a listing lack one."""
        return self.folders() | {entry.name for entry in self._listed_entries()}

    def sharing(self) -> frozenset[str]:
        """Return the names of all that may list objects of the pool: of `names`, and of backups that are being made."""
        # Who publishes has a note as well: a listing may leave out a folder.
        runs = self._store.list_folders(self._bucket, PoolLayout(self._prefix).users)
        return self.names() | {backup_of(run) for run in runs}

    def folders(self) -> frozenset[str]:
        """Return the names of all folders that may be backups, whatever is in them."""
        return backup_folders(self._store, self._bucket, self._prefix)


def _in_turn(entries: Iterable[EntryKey], schedule: str | None) -> Sequence[EntryKey]:
    """Return entries, the newest of each schedule before a second of any; one schedule goes before the others."""
    counts = Counter[str | None]()
    ranked = []
    for entry in sorted(entries):
        ranked.append((counts[entry.schedule], entry.schedule != schedule, entry))
        counts[entry.schedule] += 1
    return [entry for _, _, entry in sorted(ranked)]


def _proven(drill: Drill | None) -> dict[str, object]:
    """Return what a summary has of a drill."""
    if drill is None:
        return {}
    return {"proven_at": drill.proven_at, "proven_count": drill.proven_count, "drill_status": drill.status}


def _doubted(doubts: Mapping[str, Doubt] | str, name: str, finished_at: datetime | None) -> str:
    """Return what there is a doubt of in the backup that was finished then, or nothing; or why no doubt can be read."""
    if isinstance(doubts, str):
        return doubts
    return next((doubt.of_another for doubt in doubts.values() if doubt.is_of(name, finished_at)), "")


def _key_of(summary: BackupSummary) -> EntryKey:
    return EntryKey.of_damaged(summary.name) if summary.status == "damaged" else EntryKey.of(summary)
