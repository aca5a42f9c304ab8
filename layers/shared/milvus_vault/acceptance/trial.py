"""What the items share: whom they ask, what they may do, and what they have made."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import batched

from milvus_vault.acceptance.account import Account, Stack
from milvus_vault.acceptance.scratch import Scratch
from milvus_vault.client.vault import VaultClient
from milvus_vault.errors import RunEndedError, RunNotFoundError, ServiceUnavailableError, VaultError
from milvus_vault.model.collections import DEFAULT_DATABASE
from milvus_vault.model.requests import BackupRequest, PruneRequest
from milvus_vault.model.resources import Run, Started

PREFIX = "vault_acceptance_"

# Of one trial, or of any: nobody else gives such names.
_OWN_NAME = re.compile(rf"^{PREFIX}[0-9a-f]{{8}}_")
RUN_TIMEOUT_SECONDS = 900.0
_LOCAL_POLL_SECONDS = 0.3

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
    """`vault_acceptance_<digits>_`, with which all names begin that are given; `PREFIX` to clean up after others."""
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
        return name is not None and name.startswith(self.name) and bool(_OWN_NAME.match(name))

    def clean_up(self) -> list[str]:
        """Remove everything that was made, and return what could not be removed and why. It may be called again."""
        return [
            problem
            for step in (self._unschedule, self._stop, self._delete, self._drop, self._unstage)
            if (problem := _try(step))
        ]

    def _stop(self) -> None:
        for run in self._own_runs():
            try:
                self.vault.stop_run(run)
                self.vault.wait_for_run(run, timeout_seconds=60)
            except (RunEndedError, RunNotFoundError):
                continue

    def _own_runs(self) -> list[str]:
        return [
            run.id
            for run in self.vault.list_runs(status="running")
            if any(map(self.owns, (run.backup_name, run.export_name, run.schedule)))
        ]

    def _unschedule(self) -> None:
        for schedule in list(self.vault.list_schedules()):
            if self.owns(schedule.name):
                self.vault.delete_schedule(schedule.name)

    def _delete(self) -> None:
        owned = [
            backup.name for backup in self.vault.list_backups() if self.owns(backup.name) or self.owns(backup.schedule)
        ]
        for names in batched(owned, 1000, strict=False):
            run = self.vault.wait_for_run(
                self.vault.prune(PruneRequest(backup_names=names)).id, timeout_seconds=RUN_TIMEOUT_SECONDS
            )
            if run.status != "succeeded":
                msg = f"the backups {', '.join(names)} were not deleted: {run.error}: {run.message}"
                raise ServiceUnavailableError(msg, hint=run.hint)
        folder = f"{self.folder}.datasets/"
        found = self.account.keys(self.bucket, folder + self.name)
        self.account.delete(self.bucket, (key for key in found if self.owns(key.removeprefix(folder))))

    def staged(self) -> list[str]:
        """Return the keys of what restores of the trial, and of its drills, have staged in Milvus' bucket."""
        parameters = self.stack.parameters
        folder = f"{parameters.get('StagingPrefix', '').strip('/')}/restore-"
        found = self.account.keys(parameters["MilvusBucketName"], folder + self.name)
        return [key for key in found if self.owns(key.removeprefix(folder))]

    def _unstage(self) -> None:
        # A restore that was stopped leaves it to the daily prune.
        self.account.delete(self.stack.parameters["MilvusBucketName"], self.staged())

    def _drop(self) -> None:
        if self.scratch is not None:
            self.scratch.remove(self.owns)

    def until(self, seconds: float, look: Callable[[], bool]) -> bool:
        """Look again and again, and return whether it was so within the time."""
        deadline = time.monotonic() + seconds
        while not (found := look()) and time.monotonic() < deadline:
            time.sleep(_LOCAL_POLL_SECONDS if self.is_local else 2.0)
        return found


def _try(step: Callable[[], None]) -> str:
    try:
        step()
    except VaultError as err:
        return err.message
    return ""
