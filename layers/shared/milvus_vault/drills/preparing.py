"""PrepareDrill: choose a backup and what to restore of it, and make the scratch database."""

import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Protocol

from milvus_vault.archive.tombstones import check_not_being_deleted
from milvus_vault.backup.selection import select_collections
from milvus_vault.catalogue import Catalogue
from milvus_vault.claims import CLAIM, Claims
from milvus_vault.drills.scratch import Databases, Scratch, ScratchDatabases
from milvus_vault.drills.working_files import PLAN, DrilledCollection, DrillPlan
from milvus_vault.errors import EmptySelectionError, InvalidRequestError, VersionUnsupportedError
from milvus_vault.model.collections import DEFAULT_RESOURCE_GROUP, CollectionName
from milvus_vault.model.names import drill_database, short_hash
from milvus_vault.model.readable import number_of
from milvus_vault.model.requests import DrillRequest, RestoreRequest
from milvus_vault.model.resources import BackedUpCollection, Backup
from milvus_vault.model.rights import Right
from milvus_vault.model.versions import check_target_version, has_databases, parse_version
from milvus_vault.ports import Access, Executions, Server
from milvus_vault.rights import check_rights
from milvus_vault.workspace import Workspace

# Of both requests as JSON: the state of an execution may have 256 KiB, and has these and some more.
_LONGEST_REQUESTS = 200_000

# What a drill does beside the restore, which looks at its own rights.
_RIGHTS = (
    Right.CREATE_DATABASE,
    Right.DROP_DATABASE,
    Right.DROP_COLLECTION,
    Right.CREATE_INDEX,
    Right.INDEX_DETAIL,
    Right.LOAD,
    Right.RELEASE,
    Right.GET_LOAD_STATE,
    Right.QUERY,
    Right.SEARCH,
)


class DrillMilvus(Databases, Server, Access, Protocol):
    """Milvus, as far as a drill is prepared there."""


def input_of(restore: RestoreRequest) -> dict[str, Any]:
    """Return a restore's request as the machine `restore` is given it."""
    return restore.model_dump(mode="json", exclude_defaults=True)


def choose_backup(catalogue: Catalogue, request: DrillRequest) -> str:
    """Return the name of the backup that is drilled. Raises `BackupNotFoundError` where a schedule has none."""
    return request.backup_name or catalogue.newest_of(request.newest_of or "")


def choices_of(request: DrillRequest, backup: Backup) -> list[BackedUpCollection]:
    """Return the collections of a backup that a drill may restore, of which `max_bytes` has room for one at least.

    Raises `InvalidRequestError` for a backup without rows and where none fits, `DatabaseNotFoundError`,
    `CollectionNotFoundError`, and `EmptySelectionError` where the backup has none at all.
    """
    if backup.meta_only:
        msg = f"backup '{backup.name}' holds metadata alone: there are no rows that could be compared"
        raise InvalidRequestError(msg, hint="Drill a backup that was made with rows.")
    by_name = {(found.database, found.name): found for found in backup.collections}
    databases = {database: [name for of, name in by_name if of == database] for database, _ in by_name}
    selected = select_collections(
        request.collections,
        sorted(databases),
        lambda database: sorted(databases[database]),
        where=f"backup '{backup.name}'",
    )
    if not selected:
        msg = f"there is no collection of backup '{backup.name}' to restore"
        raise EmptySelectionError(msg, hint="Correct `collections`, or drill another backup.")
    chosen = [by_name[name.database, name.name] for name in selected]
    smallest = min(chosen, key=lambda one: one.size_bytes)
    if request.max_bytes is not None and smallest.size_bytes > request.max_bytes:
        msg = f"no collection has at most {number_of(request.max_bytes, 'byte')}: the smallest, "
        msg += f"{smallest.database}.{smallest.name}, has {number_of(smallest.size_bytes, 'byte')}"
        raise InvalidRequestError(msg, hint="Raise `max_bytes`, or name a smaller collection.")
    return chosen


@dataclass(frozen=True, slots=True)
class DrillPreparation:
    """Everything that PrepareDrill works with."""

    run: Workspace
    request: DrillRequest
    backup_name: str
    catalogue: Catalogue
    database: DrillMilvus
    scratches: ScratchDatabases
    executions: Executions
    execution_arn: str
    started_at: datetime
    restore_run_of: Callable[[RestoreRequest], str]
    """Gives the name of a restore's run."""

    def prepare(self) -> RestoreRequest:
        """Return the restore that comes next, when the plan is written and the scratch database is made.

        Raises what is wrong with the request, the backup or the target, and makes nothing then.
        """
        server = self.database.server_version()
        if not has_databases(server):
            msg = f"Milvus {server} has no databases, and a drill restores into one of its own"
            raise VersionUnsupportedError(
                msg, hint="Drill into Milvus 2.2.9 or newer: by a stack that is deployed there."
            )
        check_rights(self.database, server, _RIGHTS, {self._database: ()})
        backup = self.catalogue.get(self.backup_name)
        choices = choices_of(self.request, backup)
        # The restore asks the same, but only when the scratch database is there, and its failure would be the backup's.
        check_target_version(parse_version(backup.milvus_version), server, allow_version=self.request.allow_version)
        seed = self.request.seed if self.request.seed is not None else int(short_hash(self.execution_arn, 12), 16)
        chosen = self._within_limits(choices, Random(seed))  # noqa: S311 - a sample, and no secret
        plan = DrillPlan(
            request=self.request,
            execution_arn=self.execution_arn,
            started_at=self.started_at,
            backup_name=self.backup_name,
            backup_finished_at=backup.finished_at,
            milvus=self.scratches.milvus,
            milvus_version=str(server),
            database=self._database,
            seed=seed,
            collections=tuple(self._drilled(index, found) for index, found in enumerate(chosen)),
            collection_total=len(backup.collections),
            warnings=tuple(self.scratches.drop_left()),
        )
        restore = self._restore(plan.collections)
        scratch = Scratch(
            database=plan.database,
            milvus=plan.milvus,
            execution_arn=self.execution_arn,
            collection_prefix=self._prefix,
            restore_run=self.restore_run_of(restore),
        )
        self._claims.take_own(self.run.key(CLAIM))
        self.run.write(PLAN, plan)
        check_not_being_deleted(self.run.store, self.run.bucket, self.run.prefix, self.backup_name)
        self.scratches.make(scratch)
        return restore

    @property
    def _claims(self) -> Claims:
        """Return the claims by which a prune knows that the backup is read."""
        return Claims(
            self.run.store, self.executions, self.run.bucket, execution_arn=self.execution_arn, run=self.run.run
        )

    @property
    def _database(self) -> str:
        return self.request.database or drill_database(self.execution_arn)

    @property
    def _prefix(self) -> str:
        return f"drill_{short_hash(self.execution_arn, 12)}_"

    def _within_limits(self, found: Sequence[BackedUpCollection], random: Random) -> list[BackedUpCollection]:
        """Return as many collections as the limits have room for, in the order of their names.

        Where there is not room for all, each is asked for in random order. Those whose bytes do not fit any more are
        passed by.
        """
        left = self.request.max_bytes if self.request.max_bytes is not None else sum(one.size_bytes for one in found)
        chosen = []
        for one in random.sample(found, len(found)):
            if one.size_bytes <= left:
                left -= one.size_bytes
                chosen.append(one)
        room = _LONGEST_REQUESTS - len(json.dumps(self.request.model_dump(mode="json", exclude_defaults=True)))
        most = bisect_right(range(1, len(chosen) + 1), room, key=lambda number: self._length_of(chosen[:number]))
        return sorted(chosen[: max(1, most)], key=lambda one: (one.database, one.name))

    def _length_of(self, chosen: Sequence[BackedUpCollection]) -> int:
        """Return how long the restore's request is, as JSON."""
        restore = self._restore([self._drilled(index, one) for index, one in enumerate(chosen)])
        return len(json.dumps(input_of(restore)))

    def _drilled(self, index: int, found: BackedUpCollection) -> DrilledCollection:
        return DrilledCollection(
            source=CollectionName(database=found.database, name=found.name),
            # Of all databases they come into one, where two may have the same name.
            target=CollectionName(database=self._database, name=f"{self._prefix}{index}"),
            size_bytes=found.size_bytes,
        )

    def _restore(self, collections: Sequence[DrilledCollection]) -> RestoreRequest:
        return RestoreRequest(
            backup_name=self.backup_name,
            collections=tuple(str(one.source) for one in collections),
            rename={str(one.source): str(one.target) for one in collections},
            restore_aliases=False,
            # A drill is to cost no more memory than it has to.
            replicas=1,
            resource_groups={"*": DEFAULT_RESOURCE_GROUP},
            allow_version=self.request.allow_version,
        )
