"""Backups: make, list, read, verify, hold, delete."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import chain
from typing import Annotated
from urllib.parse import unquote

from pydantic import BeforeValidator, Field

from milvus_vault.api.routing import ANSWER_SECONDS, Caller, Paging, QueryFlag, Routes
from milvus_vault.api.services import Services
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.reader import is_backup
from milvus_vault.backup.prepare import default_name
from milvus_vault.backup.publish import name_taken
from milvus_vault.catalogue import compare_backups, describe_collection
from milvus_vault.errors import (
    AnswerTimeoutError,
    BackupDamagedError,
    BackupExistsError,
    BackupFormatError,
    BackupHeldError,
    BackupInUseError,
    BackupLockedError,
    BackupNotFoundError,
    BucketNotLockableError,
    CollectionNotFoundError,
    DatabaseNotFoundError,
    EmptySelectionError,
    IdempotencyConflictError,
    InvalidRequestError,
    ObjectNotFoundError,
    VaultError,
    VersionUnsupportedError,
)
from milvus_vault.model.base import Model
from milvus_vault.model.messages import InspectMilvusRequest
from milvus_vault.model.requests import (
    BackupName,
    BackupRequest,
    PruneRequest,
    ScheduleName,
    VerifyOptions,
    VerifyRequest,
)
from milvus_vault.model.resources import (
    LISTS_OF_A_BACKUP,
    Backup,
    BackupDiff,
    BackupSummary,
    CollectionDetails,
    Hold,
    HoldState,
    Link,
    ObjectCount,
    Page,
    Started,
)
from milvus_vault.paging import fitting, index_of
from milvus_vault.pool.unique import unique_objects
from milvus_vault.runs.starting import find_started, start
from milvus_vault.runtime import logger

# A name may have a blank, and whether a gateway decodes the path is its own affair: no name has a percent sign.
NameInPath = Annotated[BackupName, BeforeValidator(unquote)]

CollectionInPath = Annotated[str, BeforeValidator(unquote), Field(examples=["default.products"])]
"""`<database>.<collection>`, as the backup has it."""

routes = Routes("backups")


_REFUSED_BY_MILVUS = (
    BucketNotLockableError,
    CollectionNotFoundError,
    DatabaseNotFoundError,
    EmptySelectionError,
    VersionUnsupportedError,
)


@routes.post("/backups", errors=[BackupExistsError, *_REFUSED_BY_MILVUS, IdempotencyConflictError])
def post_backup(services: Services, body: BackupRequest, caller: Caller) -> Started:
    """Start a backup.

    A name that is taken, a place to which nothing may be copied, collections that are not there, a Milvus that cannot
    be backed up and a bucket that cannot lock what is to be locked, are refused at once.
    """
    if body.schedule is not None:
        msg = "the body is not valid: schedule: only schedules set it"
        raise InvalidRequestError(msg, hint="Leave it out; `PUT /schedules/{name}` makes a schedule.")
    # First, so that a request that is sent again after its backup is complete is not told that the name is taken.
    started = find_started(services.machines, "backup", body, caller.idempotency_key)
    if started is None:
        if body.backup_name and backup_exists(services, body.backup_name):
            raise _exists_already(services, body.backup_name)
        services.export_places.check_copy(body.backup_name or default_name(services.now, ""), body.copy_to)
        _check_selection(services, body)
        started = start(services.machines, "backup", body, caller.idempotency_key)
    return Started(
        id=started.id,
        kind="backup",
        execution_arn=started.execution_arn,
        backup_name=body.backup_name or default_name(started.started_at, started.execution_arn),
    )


def _exists_already(services: Services, name: str) -> BackupExistsError:
    lacking: list[str] = []
    with suppress(VaultError):
        lacking = [f"{one.database}.{one.name}" for one in services.catalogue.get(name).failures]
    return name_taken(name, lacking)


def _check_selection(services: Services, request: BackupRequest) -> None:
    """Refuse collections that Milvus does not have, a Milvus that cannot be backed up, and a bucket without locks.

    Where everything is wanted, and no lock, there is hardly anything to refuse, and nobody waits for Milvus.
    """
    if request.collections is None and request.lock is None:
        return
    try:
        services.inspector.inspect(InspectMilvusRequest(inspection="selection", backup=request))
    except _REFUSED_BY_MILVUS:
        raise
    except VaultError as err:
        # Whatever else keeps Milvus from being asked now, the run tries for longer, and tells.
        logger.info("selection not checked", error_name=type(err).__name__, error_message=err.message)


class BackupFilter(Paging):
    """Which backups."""

    schedule: ScheduleName | None = Field(default=None, description="Only backups that this schedule asked for.")


@routes.get("/backups")
def get_backups(services: Services, query: BackupFilter) -> Page[BackupSummary]:
    """List the backups, newest first."""
    return services.catalogue.list(query.limit, query.token, query.schedule)


class BackupParts(Model):
    """What is told of a backup beside what it says itself."""

    unique: QueryFlag = Field(
        default=False,
        description="Also what no other backup lists, for which object lists of all are read; not with `token`.",
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        description="How many failures, warnings and collections at most. Default: as many as an answer can hold.",
    )
    token: str | None = Field(default=None, max_length=4096, description="`next_token` of the answer before.")


_NOT_TOLD = (BackupNotFoundError, BackupDamagedError, BackupFormatError, AnswerTimeoutError)


@routes.get("/backups/{name}", errors=_NOT_TOLD)
def get_backup(services: Services, name: NameInPath, query: BackupParts) -> Backup:
    """Tell what a backup holds. Of thousands of collections the first, and `next_token` for those that follow."""
    end = time.monotonic() + ANSWER_SECONDS
    backup = services.catalogue.get(name)
    update: dict[str, object] = {"report_url": services.working_files.report_link("backup", "", name)}
    if backup.mode == "full":
        update["unique"] = ObjectCount(object_count=backup.object_count, size_bytes=backup.size_bytes)
    elif query.unique and query.token is None:
        update["unique"] = _unique(services, name, lambda: time.monotonic() < end)
    return part_of(backup.model_copy(update=update), query.limit, index_of(query.token))


def part_of(backup: Backup, limit: int | None, first: int) -> Backup:
    """Return a backup with those of its failures, warnings and collections that go into an answer."""
    lists = {field: getattr(backup, field) for field in LISTS_OF_A_BACKUP}
    listed = list(chain.from_iterable(lists.values()))
    end = first + fitting(listed[first:][:limit])
    update: dict[str, object] = {"next_token": str(end) if end < len(listed) else None}
    before = 0
    for field, items in lists.items():
        update[field] = items[max(first - before, 0) : max(end - before, 0)]
        before += len(items)
    return backup.model_copy(update=update)


def _unique(services: Services, name: str, has_time: Callable[[], bool]) -> ObjectCount:
    """Return what of the pool only this backup lists. Raises `BackupDamagedError` where nobody can tell."""

    def check() -> None:
        if not has_time():
            msg = f"what only backup '{name}' lists takes longer to find out than an answer of the API may take"
            raise AnswerTimeoutError(msg, hint="Ask without `unique`: all else is told.")

    found = unique_objects(
        services.store, services.bucket, services.prefix, [name], services.catalogue.sharing(), check=check
    )
    total = Counter[str]()
    with closing(found):
        for one in found:
            if one.problem:
                raise one.problem
            total += Counter(one.together.model_dump())
    return ObjectCount(**total)


class DiffFilter(Model):
    """What is compared."""

    objects: QueryFlag = Field(
        default=True, description="Also compare the object lists; without, only what the documents say."
    )
    token: str | None = Field(default=None, max_length=4096, description="`next_token` of the answer before.")


@routes.get("/backups/{name}/diff/{other}", errors=_NOT_TOLD)
def get_backup_diff(services: Services, name: NameInPath, other: NameInPath, query: DiffFilter) -> BackupDiff:
    """Tell what differs between two backups, `a` and `b`, without reading data.

    What one of them does not record is told as not known. Where they have too many collections for one answer,
    `next_token` is there to go on.
    """
    end = time.monotonic() + ANSWER_SECONDS
    return compare_backups(
        services.store,
        services.bucket,
        BackupLayout(services.prefix, name),
        BackupLayout(services.prefix, other),
        with_objects=query.objects,
        token=query.token,
        has_time=lambda: time.monotonic() < end,
    )


@routes.get("/backups/{name}/collections/{collection}", errors=[*_NOT_TOLD, CollectionNotFoundError])
def get_backup_collection(services: Services, name: NameInPath, collection: CollectionInPath) -> CollectionDetails:
    """Tell what a backup holds of a collection: schema, indexes, aliases, load state, partitions, objects by kind."""
    end = time.monotonic() + ANSWER_SECONDS
    return describe_collection(
        services.store,
        services.bucket,
        BackupLayout(services.prefix, name),
        collection,
        has_time=lambda: time.monotonic() < end,
    )


@routes.get("/backups/{name}/report", errors=[BackupNotFoundError, ObjectNotFoundError])
def get_backup_report(services: Services, name: NameInPath) -> Link:
    """Tell where the HTML report of a backup can be read for an hour, without credentials."""
    services.check_backup(name)
    url = services.working_files.report_link("backup", "", name)
    if url is None:
        msg = f"backup '{name}' has no report: another program made it, or an older release"
        raise ObjectNotFoundError(msg, hint="The backup itself tells what is in it.")
    return Link(url=url)


@routes.put("/backups/{name}/hold", errors=[BackupNotFoundError])
def put_hold(services: Services, name: NameInPath, body: Hold, caller: Caller) -> HoldState:
    """Hold a backup: until then nobody can delete it. Replaces an older hold."""
    return services.catalogue.place_hold(name, body, caller.arn)


@routes.delete("/backups/{name}/hold", errors=[BackupNotFoundError])
def delete_hold(services: Services, name: NameInPath) -> None:
    """Lift the hold of a backup; one without a hold is no error."""
    services.catalogue.lift_hold(name)


@routes.post("/backups/{name}/verify", errors=[BackupNotFoundError, IdempotencyConflictError])
def post_verify(services: Services, name: NameInPath, body: VerifyOptions, caller: Caller) -> Started:
    """Start a check of a backup: whether each of its objects is there, and is what was copied, as far as asked for."""
    return _start_check(services, VerifyRequest(backup_name=name, **dict(body)), caller)


@routes.post("/backups/{name}/repair", errors=[BackupNotFoundError, IdempotencyConflictError])
def post_repair(services: Services, name: NameInPath, caller: Caller) -> Started:
    """Start to mend what can be mended of a backup's metadata, and a check of it. Its result says what was lost.

    In a replica of a backup, whose objects have other ETags, their content is compared.
    """
    return _start_check(services, VerifyRequest(backup_name=name, repair=True), caller)


@routes.delete(
    "/backups/{name}",
    errors=[BackupNotFoundError, BackupHeldError, BackupLockedError, BackupInUseError, IdempotencyConflictError],
)
def delete_backup(services: Services, name: NameInPath, caller: Caller) -> Started:
    """Start deleting a backup, whatever any policy says. Refused while it has a hold or a lock, or a run reads it."""
    request = PruneRequest(backup_names=(name,))
    started = find_started(services.machines, "prune", request, caller.idempotency_key)
    if started is None:
        services.check_backup(name)
        services.catalogue.check_deletable(name, services.executions)
        started = start(services.machines, "prune", request, caller.idempotency_key)
    return Started(id=started.id, kind="prune", execution_arn=started.execution_arn, backup_name=name)


def _start_check(services: Services, request: VerifyRequest, caller: Caller) -> Started:
    name = request.backup_name
    started = find_started(services.machines, "verify", request, caller.idempotency_key)
    if started is None:
        services.check_backup(name)
        started = start(services.machines, "verify", request, caller.idempotency_key)
    return Started(id=started.id, kind="verify", execution_arn=started.execution_arn, backup_name=name)


def backup_exists(services: Services, name: str) -> bool:
    """Return whether a backup has its commit marker, or has lost it."""
    return is_backup(services.store, services.bucket, BackupLayout(services.prefix, name))
