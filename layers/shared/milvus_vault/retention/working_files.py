"""The working files of a prune, by their names in its workspace, and its report.

    read.json                        `BackupsRead`: how many backups were read before it is decided
    plan.json                        `PrunePlan`
    outcomes/<index>.json            `Outcome` of one deletion
    outcomes/<index>.removed.json    what is gone so far of the objects in a backup's folder, an `ObjectCount`
    swept.json                       `Swept`
    pool.json                        `PoolSwept`: how far the sweep of the pool has come
    freed.json                       `FreedSoFar` of a dry run

The report is `<prefix>/.runs/reports/<execution name>.json`, a `PruneReport`.
"""

from typing import Literal

from milvus_vault.model.base import Count, Model
from milvus_vault.model.requests import PruneRequest
from milvus_vault.model.resources import ObjectCount
from milvus_vault.model.times import Time
from milvus_vault.retention.policy import Decision

READ = "read.json"
PLAN = "plan.json"
SWEPT = "swept.json"
FREED = "freed.json"
POOL_SWEPT = "pool.json"

POOL_GROUPS_AT_A_TIME = 100
"""Manifests are read twice for these together: 16,000 collections and 30 backups are then 9,600 reads."""


class Deletion(Model):
    """A backup that is to be deleted."""

    name: str
    size_bytes: int
    """Of the objects that its manifest lists. Where nothing is sealed of it 0, and with `dry_run` of those in its
    folder."""
    marker_etag: str
    """Which shows whether the backup was made anew under the name; empty where an earlier prune deleted the marker."""
    object_count: int = 0
    may_share: bool = True
    """Whether its objects may lie in the pool: false where it is known to be a full one."""
    guards: tuple[str, ...] = ()
    """Backups that must be there and sound while this one is deleted: the newest of its schedule."""


class BackupsRead(Model):
    """How far PlanPrune is with the backups of which it decides."""

    begun_at: Time
    done: Count
    total: Count


class PrunePlan(Model):
    """What one execution deletes. Written by PlanPrune, read by all later tasks."""

    request: PruneRequest
    execution_arn: str
    started_at: Time
    decisions: tuple[Decision, ...]
    deletions: tuple[Deletion, ...]
    """Their positions are the indexes by which outcomes name them; none with `dry_run`."""
    spared: tuple[Deletion, ...] = ()
    """With `dry_run`, what would be deleted. Not among `deletions`, so that no mistake deletes it."""
    damaged: tuple[str, ...] = ()
    """Backups that cannot be read or have lost their objects, with what is wrong."""

    @property
    def sweeps(self) -> bool:
        """Return whether what ended executions left behind is removed, too."""
        return self.request.sweep and not self.request.dry_run and self.request.backup_names is None


class Outcome(Model):
    """What became of one deletion."""

    name: str
    status: Literal["deleted", "skipped", "failed"]
    size_bytes: int = 0
    """Of the objects that its manifest listed; where nothing was sealed of it, of those that were in its folder. What a
    function removed that died on its way is not in it."""
    error: str = ""
    """Unless deleted, the error's name."""
    message: str = ""
    hint: str = ""


class Swept(Model):
    """What a sweep removed."""

    runs: tuple[str, ...] = ()
    """Runs that are gone: working files, staged objects, and unfinished backups, also those in another place."""
    folders: tuple[str, ...] = ()
    """Folders, in the form `s3://bucket/key/`, that no longer belonged to a run."""
    quarantined: tuple[str, ...] = ()
    """Unfinished backups, and runs that left one in another place, that were noted, to be removed by a sweep
    `KeepWorkingFilesDays` later if they stay so."""
    left_elsewhere: tuple[str, ...] = ()
    """Runs that left something in another place where it cannot be removed now, with why. They stay."""
    record_count: int = 0
    claim_count: int = 0
    catalogue_count: int = 0
    upload_count: int = 0
    object_count: int = 0
    """Objects in all, working files included."""
    size_bytes: int = 0
    pool_object_count: int = 0
    """Objects of the pool that no backup lists any more; not among the others."""
    pool_size_bytes: int = 0
    pool_waiting: tuple[str, ...] = ()
    """Groups of the pool of which what no backup lists stays until a later sweep."""
    pool_reasons: tuple[str, ...] = ()
    """Why something of the pool stays that no backup lists, each once."""

    def plus(self, more: "Swept") -> "Swept":
        """Return what both sweeps removed together."""
        sums = {name: getattr(self, name) + getattr(more, name) for name in Swept.model_fields}
        # One function after another may meet what the pool waits for.
        once = {name: tuple(dict.fromkeys(sums[name])) for name in ("pool_waiting", "pool_reasons")}
        return Swept.model_validate(sums | once)


class PoolSwept(Model):
    """How far a sweep of the pool has come."""

    begun_at: Time | None = None
    """None in documents of before it was noted, as is the number of groups."""
    group: str = ""
    """The last group that was dealt with; groups come in order."""
    groups_done: Count = 0
    groups_total: Count | None = None
    """As many as the call found that works, and those that were done before it."""
    object_count: Count = 0
    """Objects that are deleted so far."""
    at_a_time: int = POOL_GROUPS_AT_A_TIME
    """Groups that are dealt with together next: fewer where a function had not the time for so many."""


class FreedBackup(ObjectCount):
    """What deleting one backup alone would free."""

    name: str


class Freed(ObjectCount):
    """What all deletions of a dry run together would free.

    Of a full backup all objects, and of the pool those that no other backup lists: a sweep deletes them, once they have
    been there for `KeepWorkingFilesDays` and nobody who runs may share them.
    """

    backups: tuple[FreedBackup, ...] = ()
    """What each alone would, by name. They add up to less where two of them share what no other backup lists."""
    reasons: tuple[str, ...] = ()
    """Why a sweep would leave more, as things are, or why nobody knows, each once."""


class FreedSoFar(Model):
    """How far a dry run has come in telling what would be freed."""

    freed: Freed
    group: str = ""
    """The last group of the pool that was looked at; groups come in order."""
    groups_done: Count = 0
    groups_total: Count | None = None
    """None before the first group."""
    is_all: bool = False


class PruneReport(Model):
    """What a prune did, or would do."""

    dry_run: bool
    started_at: Time
    finished_at: Time
    decisions: tuple[Decision, ...]
    outcomes: tuple[Outcome, ...]
    swept: Swept
    freed: Freed | None = None
    """Null unless it was a dry run."""
    damaged: tuple[str, ...] = ()
    """Backups that cannot be read or have lost their objects, with what is wrong."""


def outcome_name(index: int) -> str:
    """Return the name of a deletion's outcome."""
    return f"outcomes/{index}.json"


def removed_name(index: int) -> str:
    """Return the name of what was removed so far by a deletion."""
    return f"outcomes/{index}.removed.json"
