"""CarryOutPrune: delete the objects of the pool that no backup lists any more.

Backups are made meanwhile, by this stack and by others, and what a backup is about to list no list says yet. So the
objects of a group go in steps, each of which is written down in the group's list of condemned objects
(`pool/condemned.py`) before the next one begins:

1. Which objects does no backup list? They are condemned: who begins to make a backup from now on passes them by.
2. Who began before? Their notes are looked up after the list was written.
3. These have to come to an end: their lists are written, or their execution has ended, and then their note becomes
   void, so that a function of theirs that still runs cannot publish. One that runs is waited for, until the next sweep.
4. Which of the condemned objects does no backup list now? These are decided on, and deleted.

Each step holds whatever another sweep does at the same time. The claim only keeps two from doing the same work, and a
function whose execution was stopped from going on for long. Each step is done of some groups before the next one of
them begins, of small groups side by side: no step of one asks for anything of another. Who decides deletes; if that
function dies on its way, another one goes on an hour later, when there can be no request of it any more: an attempt
that was started again may copy to its own keys once more. What was written a short while ago stays in any case: a run
that died is resumed with what it has copied. All times are S3's own.

An execution of another stack nobody may ask about. It counts as running, until its claim or its note is older than any
execution can be. Should it have been redriven later, it is stopped as one that was taken for dead: at its next step a
sweep sees that it lost the claim, and a backup finds its note void before it publishes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import batched, islice
from threading import Lock
from typing import NamedTuple
from uuid import uuid4

from milvus_vault.archive.pool import PoolLayout, is_group
from milvus_vault.catalogue import UNREADABLE_BACKUP, Catalogue
from milvus_vault.claims import LONGEST_EXECUTION, RUNNING, Claim, ClaimHeldError, Claims
from milvus_vault.copying.pacer import Pacer
from milvus_vault.copying.verify import DELETE_AT_A_TIME
from milvus_vault.deleting import delete_batches, deletion_pacer
from milvus_vault.errors import BackupDamagedError, WorkingFileError
from milvus_vault.model.objects import ListedObject
from milvus_vault.parallel import REQUESTS_AT_A_TIME, each
from milvus_vault.pool.condemned import Condemned, read_condemned
from milvus_vault.pool.doubts import PoolDoubts
from milvus_vault.pool.references import ReferenceList, References, listed_keys, read_references, unlisted
from milvus_vault.pool.users import PoolUser, read_user
from milvus_vault.ports import Executions
from milvus_vault.retention.working_files import POOL_GROUPS_AT_A_TIME, POOL_SWEPT, PoolSwept
from milvus_vault.workspace import Workspace

# A list of 200,000 keys has 14 MB, which who makes a backup reads for each collection that has one, and a set of them
# 35 MB. A night's changes of 2 % of 10 million objects are one list.
CONDEMNED_AT_A_TIME = 200_000

# Objects of a group that is dealt with side by side with others: what is known of 16 such groups takes some 40 MB.
_SMALL_GROUP = 5000

# Groups: of each, up to eight requests are under way.
_DELETIONS_AT_A_TIME = 4

# One of 16,000 collections takes 50 MB while it is read.
_MANIFESTS_AT_A_TIME = 4

# Objects that are listed between two looks at the clock: a page.
_LISTED_BETWEEN_LOOKS = 1000

# A function of AWS Lambda runs for a quarter of an hour at most; this is four times that.
_DEAD_AFTER = timedelta(hours=1)

# Where S3 does not say what time it is, nothing is old.
_LONG_AGO = datetime.fromtimestamp(0, UTC)

# A walk along the lists of a group may take minutes, and so may the deletion of a run with 100,000 objects at 1,000 a
# second: what is left then is another call's.
STOP_SECONDS = 120

_FAULTS_OF_A_GROUP = (BackupDamagedError, WorkingFileError)


class _OutOfTimeError(Exception):
    """The function has no time for more."""


class _ListsTooLongError(_OutOfTimeError):
    """It was reading lists, which is lost."""


class _TakenOverError(Exception):
    """Another execution sweeps the pool."""

    def __init__(self, claim: Claim | None, key: str) -> None:
        who = f"execution {claim.execution_arn}" if claim else "nobody that is known"
        super().__init__(f"{who} sweeps the pool: {key}")


class UserAliveError(Exception):
    """An attempt that runs, or may run, uses the pool."""

    def __init__(self, execution_arn: str, status: str, user: str) -> None:
        self.message = f"execution {execution_arn} ({status}) may be about to share objects: {user}"
        super().__init__(self.message)


class Settled(NamedTuple):
    """A list of condemned objects whose users have been waited for, and its ETag at that time."""

    condemned: Condemned
    etag: str


@dataclass
class PoolSweep:
    """One sweep of the pool below the backup prefix. It may be stopped and repeated at any point."""

    run: Workspace
    """Of the prune."""
    executions: Executions
    execution_arn: str
    grace: timedelta
    """How long what was written last stays in any case."""
    seconds_left: Callable[[], float]
    pacer: Pacer = field(default_factory=deletion_pacer)
    threads: int = REQUESTS_AT_A_TIME
    waiting: list[str] = field(default_factory=list)
    """Groups of which objects go in a later sweep."""
    reasons: list[str] = field(default_factory=list)
    """Why, each once."""
    counts: Counter[str] = field(default_factory=Counter)
    """`objects` and `bytes` that were deleted."""
    _settled: set[str] = field(default_factory=set)
    _me: str = field(default_factory=lambda: uuid4().hex)
    _is_last: set[str] = field(default_factory=set)
    """Groups whose list has all that a look found: another look would walk along all lists for nothing."""
    _layout: PoolLayout = field(init=False)
    _now: datetime = field(init=False)
    """By S3's clock, when the sweep began or somewhat earlier."""
    _claims: Claims = field(init=False)
    _counting: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        """Find the pool."""
        self._layout = PoolLayout(self.run.prefix)
        self._claims = Claims(
            self.run.store, self.executions, self.run.bucket, execution_arn=self.execution_arn, run=self.run.run
        )

    def sweep(self) -> bool:
        """Delete what no backup lists; return whether all groups were dealt with, or time ran short.

        Where nobody can tell what backups list, nothing is deleted, and `reasons` says why.
        """
        try:
            self._sweep()
        except _OutOfTimeError:
            return False
        except _TakenOverError as err:
            self._because(str(err))
            return True
        except UNREADABLE_BACKUP as err:
            self._because(f"nothing of the pool is deleted: {err.message}")
        self._give_claim_back()
        return True

    def _because(self, reason: str) -> None:
        if reason not in self.reasons:
            self.reasons.append(reason)

    def _sweep(self) -> None:
        store, bucket = self.run.store, self.run.bucket
        folders = {name for name in store.list_folders(bucket, self._layout.root) if is_group(name)}
        lists = {_group(listed.key): listed for listed in store.list_objects(bucket, self._layout.condemned_lists)}
        users = list(store.list_objects(bucket, self._layout.users))
        if not (folders or lists or users):
            return
        progress = self.run.find(POOL_SWEPT, PoolSwept) or PoolSwept()
        left = sorted(group for group in folders | lists.keys() if group > progress.group)
        progress = progress.model_copy(update={"groups_total": progress.groups_done + len(left)})
        self.run.write(POOL_SWEPT, progress)
        self._now = self._written_at(self.run.key(POOL_SWEPT)) or _LONG_AGO
        progress = progress.model_copy(update={"begun_at": progress.begun_at or self._now})
        self._claim()
        is_first = True
        while left:
            some, left = left[: progress.at_a_time], left[progress.at_a_time :]
            progress = self._bring_on(some, progress, is_first=is_first)
            is_first = False
        self._forget_lists(lists, folders)
        PoolDoubts(store, bucket, self.run.prefix).forget_all_but(folders, self._is_old)
        self._forget_users(users)

    def _bring_on(self, groups: Sequence[str], progress: PoolSwept, *, is_first: bool) -> PoolSwept:
        """Bring groups to their end, and return how far the sweep is then.

        Where a function runs out of time over the first that it deals with, they were too many; where it began with one
        alone, that is too large.
        """
        again, before = groups, self.counts["objects"]

        def note(**update: object) -> PoolSwept:
            object_count = progress.object_count + self.counts["objects"] - before
            noted = progress.model_copy(update={"object_count": object_count, **update})
            self.run.write(POOL_SWEPT, noted)
            return noted

        try:
            while again:
                self._check()
                again = self._turn(again)
        except _OutOfTimeError as err:
            if is_first and progress.at_a_time > 1:
                note(at_a_time=max(1, len(groups) // 4))
            elif is_first and isinstance(err, _ListsTooLongError):
                self._wait(groups[0], "the lists of a collection take longer to read than a function may run")
                note(group=groups[0], groups_done=progress.groups_done + 1)
            else:
                note()
            raise
        return note(
            group=groups[-1],
            groups_done=progress.groups_done + len(groups),
            at_a_time=min(POOL_GROUPS_AT_A_TIME, 4 * progress.at_a_time),
        )

    def _turn(self, groups: Sequence[str]) -> Sequence[str]:
        """Bring groups one list further; return those of which there may be more to do.

        Each step is done of all groups before the next one begins, of small groups side by side.
        """
        references = self._references(groups)
        condemned = self._condemn_all(groups, references)
        found_settled = zip(condemned, each(self._settle, condemned, threads=self.threads), strict=True)
        settled = {group: found for group, found in found_settled if found}
        # Only now: those that were waited for, or could not be, have written their lists.
        references = self._references([group for group, found in settled.items() if not found.condemned.is_decided])

        def delete(group: str) -> bool:
            return self._delete_unlisted(group, settled[group], references.get(group, ()))

        small = [group for group, found in settled.items() if len(found.condemned.keys) <= _SMALL_GROUP]
        more = zip(small, each(delete, small, threads=min(self.threads, _DELETIONS_AT_A_TIME)), strict=True)
        again = {group for group, is_more in more if is_more}
        again |= {group for group in settled if group not in small and delete(group)}
        return [group for group in settled if group in again]

    def _condemn_all(self, groups: Sequence[str], references: References) -> list[str]:
        """See that groups have lists of condemned objects; return those that have one to go on with."""

        def look(group: str) -> bool | None:
            # One that is alone may be so because its listing takes long, of which nothing is to be lost.
            return self._condemn(group, references, are_many=len(groups) == 1)

        looks = zip(groups, list(each(look, groups, threads=self.threads)), strict=True)
        # Large ones one after the other: what is listed of one may take much of the memory.
        return [
            group
            for group, has_list in looks
            if (self._condemn(group, references, are_many=True) if has_list is None else has_list)
        ]

    def _references(self, groups: Sequence[str]) -> References:
        if not groups:
            return {}
        store, bucket, prefix = self.run.store, self.run.bucket, self.run.prefix
        names = Catalogue(store, bucket, prefix).sharing()
        threads = min(self.threads, _MANIFESTS_AT_A_TIME)
        return read_references(store, bucket, prefix, names, frozenset(groups), threads)

    def _condemn(self, group: str, references: References, *, are_many: bool) -> bool | None:
        """See that a group has a list of condemned objects; return whether there is one to go on with.

        None where `are_many` is not set, and it has more objects than are looked at side by side with other groups'.
        """
        self._check()
        store, bucket, folder = self.run.store, self.run.bucket, self._layout.folder(group)
        try:
            found = read_condemned(store, bucket, self._layout, group)
            if found is not None and found[0].keys:
                return True
            old: Iterable[ListedObject] = self._old(folder)
            if not are_many:
                old = list(islice(old, _SMALL_GROUP + 1))
                if len(old) > _SMALL_GROUP:
                    return None
            found_unlisted = unlisted(store, bucket, folder, references[group], old, self._check_reading)
            chosen, has_time = list[tuple[str, int]](), True
            try:
                # What came before the time was over stays in it.
                chosen.extend(islice(found_unlisted, CONDEMNED_AT_A_TIME))
            except _ListsTooLongError:
                if not chosen:
                    raise
                has_time = False
        except _FAULTS_OF_A_GROUP as err:
            self._wait(group, f"nothing of a collection is deleted: {err.message}")
            return False
        if not chosen:
            return False
        if len(chosen) < CONDEMNED_AT_A_TIME:
            self._is_last.add(group)
        keys, sizes = zip(*chosen, strict=True)
        # Where another sweep has written a list meanwhile, this one goes on with that.
        self._write(group, Condemned(turn=uuid4().hex, keys=keys, sizes=sizes), found[1] if found else None)
        if not has_time:
            # Another call goes on with these, and looks once more for others.
            raise _OutOfTimeError
        return True

    def _old(self, folder: str) -> Iterator[ListedObject]:
        """Yield the objects of a group that were not written lately. Raises `_ListsTooLongError` when time is over."""
        for number, listed in enumerate(self.run.store.list_objects(self.run.bucket, folder)):
            if number % _LISTED_BETWEEN_LOOKS == 0:
                self._check_reading()
            if self._is_old(listed.modified_at):
                yield listed

    def _settle(self, group: str) -> Settled | None:
        """Return a group's list once none of those who may have been about to list its objects can do so any more.

        None where one is to be waited for, or where another sweep has done it all.
        """
        try:
            found = read_condemned(self.run.store, self.run.bucket, self._layout, group)
            if found is None or not found[0].keys:
                return None
            condemned, etag = found
            if condemned.is_decided:
                return self._take_over(group, condemned, etag)
            if condemned.users is None:
                users = self.run.store.list_objects(self.run.bucket, self._layout.users)
                looked = condemned.model_copy(update={"users": tuple(listed.key for listed in users)})
                self._write(group, looked, etag)
                return self._settle(group)
            for user in condemned.users:
                self._end_use(user)
        except (*_FAULTS_OF_A_GROUP, UserAliveError) as err:
            self._wait(group, err.message)
            return None
        return Settled(condemned, etag)

    def _take_over(self, group: str, condemned: Condemned, etag: str) -> Settled | None:
        """Return a list that is decided on, once it is this function that deletes its objects."""
        if condemned.deleted_by == self._me:
            return Settled(condemned, etag)
        since = self._written_at(self._layout.condemned(group))
        if condemned.deleted_by and (since is None or since > self._now - _DEAD_AFTER):
            self._wait(group, "another sweep is deleting objects, or died less than an hour ago")
            return None
        self._write(group, condemned.model_copy(update={"deleted_by": self._me}), etag)
        # Where another sweep was faster, this one waits for it.
        return self._settle(group)

    def _end_use(self, user: str) -> None:
        """See that a user of the pool begins to list nothing more. Raises `UserAliveError` where one may."""
        found = None if user in self._settled else read_user(self.run.store, self.run.bucket, user)
        # Who publishes has written all lists: they count from here on.
        if found is not None and found[0].state == "working":
            note, etag = found
            if status := self._running(note, user):
                raise UserAliveError(note.execution_arn, status, user)
            void = note.model_copy(update={"state": "void"}).model_dump_json().encode()
            if not self.run.store.put_if_unchanged(self.run.bucket, user, void, etag):
                self._end_use(user)
        self._settled.add(user)

    def _running(self, note: PoolUser, key: str) -> str:
        """Return the status of a user's execution if it runs, or may run; else nothing."""
        status = self.executions.status(note.execution_arn)
        has_ended = status not in RUNNING or (status == "UNKNOWN" and self._has_outlived(key))
        return "" if has_ended else status

    def _delete_unlisted(self, group: str, settled: Settled, lists: Sequence[ReferenceList]) -> bool:
        """Delete those of the condemned objects that no list has; return whether there may be more to do."""
        condemned = settled.condemned
        if condemned.is_decided:
            return self._delete(group, settled)
        self._check()
        try:
            decided = self._decide(group, condemned, lists)
        except _FAULTS_OF_A_GROUP as err:
            self._wait(group, f"nothing of a collection is deleted: {err.message}")
            return False
        is_written = self._write(group, decided, settled.etag)
        if not decided.keys:
            return is_written and len(condemned.keys) == CONDEMNED_AT_A_TIME
        # Where another sweep was faster, its decision counts.
        mine = self._settle(group)
        return mine is not None and mine.condemned.is_decided and self._delete(group, mine)

    def _delete(self, group: str, settled: Settled) -> bool:
        """Delete what this function has decided on, or taken over; return whether there may be more to do."""
        condemned = settled.condemned
        try:
            for some in delete_batches(
                self.run.store,
                self.run.bucket,
                batched(zip(condemned.keys, condemned.sizes, strict=True), DELETE_AT_A_TIME, strict=False),
                lambda named: self._layout.folder(group) + named[0],
                pacer=self.pacer,
                before=self._check,
            ):
                with self._counting:
                    self.counts["objects"] += len(some)
                    self.counts["bytes"] += sum(size for _, size in some)
        except (_OutOfTimeError, _TakenOverError):
            self._write(group, condemned.model_copy(update={"deleted_by": ""}), settled.etag)
            raise
        self._write(group, condemned.model_copy(update={"keys": (), "sizes": ()}), settled.etag)
        return group not in self._is_last

    def _decide(self, group: str, condemned: Condemned, lists: Sequence[ReferenceList]) -> Condemned:
        """Return a list of those of the condemned objects that none of the lists has."""
        folder = self._layout.folder(group)
        left = {key.encode(): size for key, size in zip(condemned.keys, condemned.sizes, strict=True)}
        for listed in lists:
            for keys in listed_keys(self.run.store, self.run.bucket, folder, listed):
                self._check_reading()
                for key in left.keys() & set(keys):
                    del left[key]
        chosen = {"keys": tuple(each.decode() for each in left), "sizes": tuple(left.values())}
        return condemned.model_copy(update=chosen | {"is_decided": True, "deleted_by": self._me})

    def _write(self, group: str, condemned: Condemned, etag: str | None) -> bool:
        """Write a group's list if it is as it was read; return whether it was written."""
        store, bucket, key = self.run.store, self.run.bucket, self._layout.condemned(group)
        body = condemned.model_dump_json().encode()
        if etag is None:
            return store.put_if_absent(bucket, key, body)
        return store.put_if_unchanged(bucket, key, body, etag)

    def _forget_lists(self, lists: Mapping[str, ListedObject], folders: Set[str]) -> None:
        """Remove lists of groups that have had nothing for long."""
        old = [group for group, listed in lists.items() if group not in folders and self._is_old(listed.modified_at)]
        for group in old:
            with self._told():
                found = read_condemned(self.run.store, self.run.bucket, self._layout, group)
                if found and not found[0].keys:
                    self.run.store.delete(self.run.bucket, [self._layout.condemned(group)])

    def _forget_users(self, users: Sequence[ListedObject]) -> None:
        """Remove notes of executions that have ended long ago: first they become void, and later they go."""
        for listed in users:
            if self._is_old(listed.modified_at):
                # It may have been started again since.
                with self._told(), suppress(UserAliveError):
                    self._forget_user(listed.key)

    def _forget_user(self, key: str) -> None:
        found = read_user(self.run.store, self.run.bucket, key)
        if found is None or self._running(found[0], key):
            return
        if found[0].state == "working":
            self._end_use(key)
        elif self._is_old_still(key):
            self.run.store.delete(self.run.bucket, [key])

    def _is_old_still(self, key: str) -> bool:
        """Return whether a note is as it was for long: this sweep itself may have made it void since it was listed.

        Without the note an execution that is started again has a new one, under which a function of before could
        publish that still runs.
        """
        return self._is_old(self._written_at(key))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Go on where a small file cannot be read, and say so."""
        try:
            yield
        except WorkingFileError as err:
            self._because(err.message)

    def _is_old(self, written_at: datetime | None) -> bool:
        return written_at is not None and written_at <= self._now - self.grace

    def _written_at(self, key: str) -> datetime | None:
        """Return when an object was written, by S3's clock; None for one that is gone by now."""
        found = self.run.store.list_objects(self.run.bucket, key)
        return next((listed.modified_at for listed in found if listed.key == key), None)

    def _has_outlived(self, key: str) -> bool:
        """Return whether a claim or a note was written longer ago than any execution lives.

        Then it is the one that was read before, since a later one is younger.
        """
        written_at = self._written_at(key)
        return written_at is not None and written_at <= self._now - LONGEST_EXECUTION

    def _wait(self, group: str, reason: str) -> None:
        self.waiting.append(group)
        self._because(reason)

    def _claim(self) -> None:
        try:
            self._claims.take(self._layout.claim, lambda: self._has_outlived(self._layout.claim))
        except ClaimHeldError as err:
            raise _TakenOverError(err.holder, self._layout.claim) from err

    def _give_claim_back(self) -> None:
        """Remove the claim: another stack, which may not ask about this execution, would wait for a day."""
        holder = self._claims.holder(self._layout.claim)
        if holder and holder[0].execution_arn == self.execution_arn:
            self.run.store.delete(self.run.bucket, [self._layout.claim])

    def _check_reading(self) -> None:
        if self.seconds_left() < STOP_SECONDS:
            raise _ListsTooLongError

    def _check(self) -> None:
        if self.seconds_left() < STOP_SECONDS:
            raise _OutOfTimeError
        holder = self._claims.holder(self._layout.claim)
        if holder is None or holder[0].execution_arn != self.execution_arn:
            raise _TakenOverError(holder[0] if holder else None, self._layout.claim)


def _group(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".json")
