"""What the items share: whom they ask, what they may do, and what they have made."""

import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import batched
from typing import NamedTuple

from milvus_vault.acceptance.account import GARBLED, Account, Stack
from milvus_vault.acceptance.scratch import Scratch
from milvus_vault.client.vault import VaultClient
from milvus_vault.errors import RunEndedError, RunNotFoundError, ServiceUnavailableError, VaultError
from milvus_vault.model.collections import DEFAULT_DATABASE
from milvus_vault.model.names import drill_database, is_of_acceptance, temporary_prefix
from milvus_vault.model.requests import BackupRequest, PruneRequest
from milvus_vault.model.resources import Run, Started

RUN_TIMEOUT_SECONDS = 900.0
_LOCAL_POLL_SECONDS = 0.3
_PRUNED_AT_ONCE = 1000

# What nobody but the product itself may remove, by the kinds of the runs that leave it.
_LATER_POOL = "objects of incremental backups go from the pool with the daily prune"
_LATER = {
    "export": "uploads that a stopped export had begun go with the daily prune",
}

# What is left besides where Milvus is not reached from here.
_LATER_IN_MILVUS = {
    "restore": "collections vault_restoring_… of a stopped restore are yours to drop",
    "drill": "the scratch database of a stopped drill goes with the next drill",
}

ROWS = "rows"
"""The scratch collection that nobody changes."""
WRITTEN = "written"
"""The scratch collection that is upserted during a backup."""


@dataclass(slots=True)
class Trial:
    """One acceptance of a deployment."""

    vault: VaultClient
    account: Account
    name: str
    """`vault_acceptance_<digits>_`, with which all names begin; `ACCEPTANCE_PREFIX` to clean up after others."""
    marked: str
    """A text that each scratch row has."""
    may_write: bool = True
    selected: str = ""
    """An existing collection to back up in place of one of its own: `database.collection`."""
    scratch: Scratch | None = None
    scratch_problem: str = ""
    """Why there is no scratch."""
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    runs: list[Run] = field(default_factory=list)
    """Those that were waited for."""
    stopped: list[str] = field(default_factory=list)
    """IDs of the runs that cleaning up has stopped."""
    has_pooled: bool = False
    """Whether it has had incremental backups, whose objects are the pool's."""

    @property
    def is_local(self) -> bool:
        """Whether the deployment is the local stack."""
        return self.account.is_local

    @property
    def stack(self) -> Stack:
        """The deployed stack."""
        return self.account.stack

    @property
    def bucket(self) -> str:
        """The backup bucket."""
        return self.stack.outputs["BackupBucketName"]

    @property
    def folder(self) -> str:
        """The backup prefix, with a slash at its end."""
        return self.stack.outputs["BackupPrefix"].rstrip("/") + "/"

    @property
    def collections(self) -> tuple[str, ...]:
        """What the runs are of."""
        return (self.selected,) if self.selected else (f"{DEFAULT_DATABASE}.{self.name}{ROWS}",)

    def backup_request(self, name: str) -> BackupRequest:
        """Return the request of a full backup of the collection, without its default values."""
        return BackupRequest(backup_name=self.name + name, collections=self.collections)

    def wait(self, started: Started) -> Run:
        """Return a run once it has ended. Raises as the client does."""
        run = self.vault.wait_for_run(
            started.id,
            timeout_seconds=RUN_TIMEOUT_SECONDS,
            poll_seconds=_LOCAL_POLL_SECONDS if self.is_local else None,
        )
        self.runs.append(run)
        return run

    def marker(self, name: str) -> str:
        """Return the key of the marker of a backup that the trial made."""
        return f"{self.folder}{self.name}{name}/meta/backup_meta.json"

    def owns(self, name: str | None) -> bool:
        """Return whether something of this name was made by the trial, or where it has no digits by any."""
        return name is not None and name.startswith(self.name) and is_of_acceptance(name)

    def is_anothers(self, name: str) -> bool:
        """Return whether another trial made what has this name, and removes it whenever it ends."""
        return is_of_acceptance(name) and not self.owns(name)

    def clean_up(self) -> list[str]:
        """Remove everything that was made, and return what could not be removed and why. It may be called again."""
        # What keeps one kind from being found may keep others, too.
        problems = dict.fromkeys(_try(kind.remove_found) for kind in self._kinds())
        return [problem for problem in problems if problem]

    def left(self) -> dict[str, list[str] | None]:
        """Return the names of what `clean_up` would remove, by what they are; None where they cannot be listed now."""
        found: dict[str, list[str] | None] = {}
        for kind in self._kinds():
            found[kind.title] = None
            # The cleaning up says why, or finds them then.
            with suppress(VaultError, *GARBLED):
                found[kind.title] = kind.find()
        return {title: names for title, names in found.items() if names != []}

    def _kinds(self) -> tuple["_Kind", ...]:
        """Return what is removed, in this order: what makes more comes first."""
        return (
            _Kind("schedules", self._own_schedules, self._unschedule),
            _Kind("runs that go on", self._own_runs, self._stop),
            _Kind("backups", self._own_backups, self._delete),
            _Kind("objects of datasets", self._own_datasets, self._delete_objects),
            # What has no marker is no backup, which the prune of it would refuse.
            _Kind("objects of stopped backups", self._own_objects, self._delete_objects),
            _Kind("collections", self._own_collections, self._drop),
            _Kind("collections of stopped restores", self._own_temporary_collections, self._drop),
            _Kind("databases of stopped drills", lambda: [*self._own_scratch_databases()], self._drop_databases),
            # A restore that was stopped leaves it to the daily prune.
            _Kind("staged objects", self.staged, self._unstage),
        )

    def _own_schedules(self) -> list[str]:
        return [schedule.name for schedule in self.vault.list_schedules() if self.owns(schedule.name)]

    def _unschedule(self, names: Iterable[str]) -> None:
        for name in names:
            self.vault.delete_schedule(name)

    def _own_runs(self) -> list[str]:
        return [
            run.id
            for run in self.vault.list_runs(status="running")
            if any(map(self.owns, (run.backup_name, run.export_name, run.schedule)))
        ]

    def _stop(self, runs: Iterable[str]) -> None:
        for run in runs:
            try:
                self.vault.stop_run(run)
                self.stopped.append(run)
                self.vault.wait_for_run(run, timeout_seconds=60)
            except (RunEndedError, RunNotFoundError):
                continue

    def later(self) -> str:
        """Return what cleaning up has left to others, and what removes it; empty where all is gone."""
        kinds = {run.partition("-")[0] for run in self.stopped}
        left = _LATER if self.scratch is not None else _LATER | _LATER_IN_MILVUS
        said = [said for kind, said in left.items() if kind in kinds]
        if self.has_pooled or "backup" in kinds:
            said.insert(0, _LATER_POOL)
        return "; ".join(said)

    def _own_backups(self) -> list[str]:
        owned = [one for one in self.vault.list_backups() if self.owns(one.name) or self.owns(one.schedule)]
        self.has_pooled |= any(one.mode == "incremental" for one in owned)
        return [one.name for one in owned]

    def _delete(self, owned: Iterable[str]) -> None:
        for names in batched(owned, _PRUNED_AT_ONCE, strict=False):
            run = self.vault.wait_for_run(
                self.vault.prune(PruneRequest(backup_names=names)).id, timeout_seconds=RUN_TIMEOUT_SECONDS
            )
            if run.status != "succeeded":
                msg = f"the backups {', '.join(names)} were not deleted: {run.error}: {run.message}"
                raise ServiceUnavailableError(msg, hint=run.hint)

    def _own_datasets(self) -> list[str]:
        return self._own_keys(self.bucket, f"{self.folder}.datasets/")

    def _own_objects(self) -> list[str]:
        backups = {f"{self.folder}{name}/" for name in self._own_backups()}
        found = self._own_keys(self.bucket, self.folder)
        return [key for key in found if not key.startswith(tuple(backups))]

    def _delete_objects(self, keys: Iterable[str]) -> None:
        self.account.delete(self.bucket, keys)

    def staged(self) -> list[str]:
        """Return the keys of what restores of the trial, and of its drills, have staged in Milvus' bucket."""
        staging = self.stack.parameters.get("StagingPrefix", "").strip("/")
        return self._own_keys(self._milvus_bucket, f"{staging}/restore-")

    def _unstage(self, keys: Iterable[str]) -> None:
        self.account.delete(self._milvus_bucket, keys)

    def _own_keys(self, bucket: str, folder: str) -> list[str]:
        found = self.account.keys(bucket, folder + self.name)
        return [key for key in found if self.owns(key.removeprefix(folder))]

    @property
    def _milvus_bucket(self) -> str:
        return self.stack.parameters["MilvusBucketName"]

    def _own_collections(self) -> list[str]:
        # Restored ones have the name of the original and a suffix.
        return [] if self.scratch is None else [name for name in self.scratch.collections() if self.owns(name)]

    def _own_temporary_collections(self) -> list[str]:
        """Return what restores of the trial have not given its name; it is named by the run, whose files are there."""
        if self.scratch is None:
            return []
        folder = f"{self.folder}.runs/"
        keys = self.account.keys(self.bucket, f"{folder}restore-{self.name}")
        runs = {key.removeprefix(folder).partition("/")[0] for key in keys}
        prefixes = tuple(temporary_prefix(run) for run in runs if self.owns(run.removeprefix("restore-")))
        return [name for name in self.scratch.collections() if name.startswith(prefixes)]

    def _own_scratch_databases(self) -> dict[str, tuple[str, ...]]:
        """Return what drills of the trial have not dropped, each with what the names of its collections begin with.

        They are known by the notes that drills keep as long as they are there. As a drill itself does, it passes by a
        database that may be somebody's: it has a name that was chosen, and Milvus has not said that the drill made it.
        """
        if self.scratch is None:
            return {}
        keys = self.account.keys(self.bucket, f"{self.folder}.runs/scratch/")
        notes = [json.loads(note) for key in keys if (note := self.account.find(self.bucket, key))]
        owned = {
            note["database"]: (note["collection_prefix"], temporary_prefix(note["restore_run"]))
            for note in notes
            if self.owns(note["restore_run"].removeprefix("restore-"))
            and (note["is_made"] or note["database"] == drill_database(note["execution_arn"]))
        }
        # Milvus is not asked where there is none: an older one has no databases, and not every user may list them.
        there = self.scratch.databases() if owned else []
        return {name: prefixes for name, prefixes in owned.items() if name in there}

    def _drop_databases(self, names: Iterable[str]) -> None:
        if self.scratch is not None:
            owned, wanted = self._own_scratch_databases(), set(names)
            for name in wanted & owned.keys():
                self.scratch.drop_database(name, owned[name])

    def _drop(self, names: Iterable[str]) -> None:
        if self.scratch is not None:
            self.scratch.drop(names)

    def drop_collections(self) -> None:
        """Drop the trial's collections. Raises MilvusRequestError."""
        self._drop(self._own_collections())

    def until(self, seconds: float, look: Callable[[], bool]) -> bool:
        """Look again and again, and return whether it was so within the time."""
        deadline = time.monotonic() + seconds
        while not (found := look()) and time.monotonic() < deadline:
            time.sleep(_LOCAL_POLL_SECONDS if self.is_local else 2.0)
        return found


class _Kind(NamedTuple):
    """One kind of what a trial makes."""

    title: str
    find: Callable[[], list[str]]
    remove: Callable[[Iterable[str]], None]

    def remove_found(self) -> None:
        """Remove what there is now."""
        if found := self.find():
            self.remove(found)


def _try(step: Callable[[], None]) -> str:
    try:
        step()
    except VaultError as err:
        return err.message
    except GARBLED as err:
        return f"{type(err).__name__}: {err}"
    return ""
