"""Restores: runs that make collections from a backup."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from milvus_vault.api.inspection import ABOUT_MILVUS
from milvus_vault.api.routing import Caller, Paging, Routes
from milvus_vault.api.runs import get_run
from milvus_vault.api.services import Services
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.remains import marker_etag
from milvus_vault.claims import CLAIM, RUNNING, Claim
from milvus_vault.errors import (
    AliasConflictError,
    BackupDamagedError,
    BackupFormatError,
    BackupNotFoundError,
    CollectionExistsError,
    CollectionNotFoundError,
    DatabaseNotFoundError,
    EmptySelectionError,
    FieldIdMismatchError,
    IdempotencyConflictError,
    MilvusPermissionError,
    MomentOutOfRangeError,
    NameConflictError,
    ObjectArchivedError,
    ResourceGroupError,
    RunNotFoundError,
    ServiceUnavailableError,
    TargetClaimedError,
    VaultError,
    VersionUnsupportedError,
    WorkingFileError,
    WrongRootPathError,
    leaf_named,
    together,
)
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.hybrid import from_datetime
from milvus_vault.model.messages import InspectMilvusRequest, RestorePlanFound, TargetsFound
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.model.resources import Backup, Page, PlannedRestore, Run, RunSummary, Started
from milvus_vault.model.versions import check_target_version, parse_version
from milvus_vault.model.words import Form
from milvus_vault.restore.cut import check_not_after
from milvus_vault.restore.loading import check_replicas
from milvus_vault.restore.naming import resolve_targets
from milvus_vault.restore.partitions import check_partitions
from milvus_vault.restore.targets import can_resume, check_targets, target_claimed
from milvus_vault.runs.history import expect, last_restores
from milvus_vault.runs.listing import list_runs
from milvus_vault.runs.starting import find_started, start
from milvus_vault.runtime import logger
from milvus_vault.workspace import Workspace

routes = Routes("restores")

RestoreId = Annotated[
    str,
    Form(
        r"^restore-[A-Za-z0-9_-]{1,80}$",
        "ID of a restore",
        "restore, a dash and the name of its execution, for example restore-9d1c7a52",
    ),
    Field(examples=["restore-9d1c7a52"]),
]


_REFUSED = (
    BackupNotFoundError,
    BackupDamagedError,
    BackupFormatError,
    CollectionNotFoundError,
    DatabaseNotFoundError,
    EmptySelectionError,
    NameConflictError,
    CollectionExistsError,
    MomentOutOfRangeError,
    TargetClaimedError,
    VersionUnsupportedError,
)
_REFUSED_BY_PLANS = (
    *_REFUSED,
    AliasConflictError,
    FieldIdMismatchError,
    MilvusPermissionError,
    ObjectArchivedError,
    ResourceGroupError,
    WorkingFileError,
    WrongRootPathError,
    *ABOUT_MILVUS,
)


@routes.post("/restores", errors=[*_REFUSED, IdempotencyConflictError])
def post_restore(services: Services, body: RestoreRequest, caller: Caller) -> Started:
    """Start a restore. What the backup rules out is refused at once, and so are targets that are taken, and versions.

    Where Milvus cannot be asked in time, and of all else that it may refuse, the run tells.
    """
    started = find_started(services.machines, "restore", body, caller.idempotency_key)
    if started is None:
        services.check_backup(body.backup_name)
        backup = services.catalogue.get(body.backup_name)
        _check_targets(services, body, _check_names(backup, body), backup.milvus_version)
        started = start(services.machines, "restore", body, caller.idempotency_key)
    return Started(id=started.id, kind="restore", execution_arn=started.execution_arn, backup_name=body.backup_name)


@routes.post("/restores/plan", errors=_REFUSED_BY_PLANS)
def post_restore_plan(services: Services, body: RestoreRequest) -> PlannedRestore:
    """Say what a restore would do, with its warnings; what it would refuse is refused. Nothing is claimed or written.

    Of more than 50,000 objects or 1,000 collections none is listed, as the plan then says.
    """
    services.check_backup(body.backup_name)
    try:
        found = services.look_at_milvus(RestorePlanFound, InspectMilvusRequest(inspection="plan", restore=body))
    except VersionUnsupportedError:
        # With what a start would refuse beside it.
        backup = services.catalogue.get(body.backup_name)
        _check_targets(services, body, _check_names(backup, body), backup.milvus_version)
        raise
    earlier = _earlier(services, body, found.run)
    refusals = [one for one in found.refused if not (earlier and one.is_of_target)]
    if refusals:
        raise together([leaf_named(one.error)(one.message, hint=one.hint) for one in refusals])
    excused = [f"Refused, unless the earlier execution made it: {one.message}." for one in found.refused]
    left_to_run = (*found.plan.left_to_run, *excused)
    update: dict[str, object] = {"continues": earlier, "left_to_run": left_to_run}
    try:
        expected = expect(found.plan.row_count, last_restores(services.machines))
    except ServiceUnavailableError as err:
        # The plan holds without a history, as where there was no restore yet.
        update["expected_by"] = (
            f"{found.plan.expected_by}, since earlier restores could not be looked up: {err.message}"
        )
    else:
        update |= {"expected_seconds": expected.seconds, "expected_by": expected.told_by} if expected else {}
    return found.plan.model_copy(update=update)


def _check_names(backup: Backup, request: RestoreRequest) -> list[CollectionName]:
    """Return the targets, in the order of the run; raise what PrepareRestore would raise of the names in a request."""
    names = [CollectionName(database=found.database, name=found.name) for found in backup.collections]
    targets = resolve_targets(request, names, backup.databases).collections
    check_partitions(request.partitions, list(targets))
    check_replicas(request.replicas, list(targets))
    moments = (found.moment for name, found in zip(names, backup.collections, strict=True) if name in targets)
    if not (backup.meta_only or request.meta_only):
        check_not_after(request, (from_datetime(moment) for moment in moments if moment))
    return list(targets.values())


def _check_targets(services: Services, request: RestoreRequest, names: list[CollectionName], version: str) -> None:
    """Refuse a Milvus that takes no backup of this version, another execution of the same run, and taken targets.

    These are not refused where what has their names may be of an earlier execution of the same run. Whatever is
    refused is told at once.
    """
    if not names:
        return
    found = find_targets(services, request, names)
    if found is None:
        return
    refusals: list[VaultError] = []
    try:
        check_version(request, found, version)
    except VersionUnsupportedError as err:
        refusals.append(err)
    try:
        if _earlier(services, request, found.run) is None:
            check_targets(request, names, found.occupied)
    except (TargetClaimedError, CollectionExistsError, CollectionNotFoundError) as err:
        refusals.append(err)
    except VaultError as err:
        _tell_unchecked(err)
    if refusals:
        raise together(refusals)


def check_version(request: RestoreRequest, found: TargetsFound, version: str) -> None:
    """Raise `VersionUnsupportedError` where Milvus takes no backup of this version, as far as it told its own."""
    if found.server_version:
        check_target_version(
            parse_version(version), parse_version(found.server_version), allow_version=request.allow_version
        )


def find_targets(services: Services, request: RestoreRequest, names: Sequence[CollectionName]) -> TargetsFound | None:
    """Return what is in the way of a restore, or None where Milvus cannot be asked now."""
    inspection = InspectMilvusRequest(inspection="targets", restore=request, targets=tuple(names))
    try:
        return services.look_at_milvus(TargetsFound, inspection)
    except VaultError as err:
        _tell_unchecked(err)
        return None


def _tell_unchecked(err: VaultError) -> None:
    """Log why targets were not looked at: whatever keeps Milvus from being asked now, the run waits for, and tells."""
    logger.info("targets not checked", error_name=type(err).__name__, error_message=err.message)


def _earlier(services: Services, request: RestoreRequest, name: str) -> str | None:
    """Return the ARN of the execution whose work a run would go on with, and which knows the names; None: of none.

    Raises `TargetClaimedError` where it runs. Where nobody can tell, it is taken for one that has died.
    """
    run = Workspace(services.store, services.bucket, services.prefix, name)
    claim = run.find(CLAIM, Claim)
    if claim is None:
        return None
    status = services.executions.status(claim.execution_arn)
    if status == "RUNNING":
        raise target_claimed(claim, status)
    etag = marker_etag(services.store, services.bucket, BackupLayout(services.prefix, request.backup_name))
    is_resumed = etag is not None and can_resume(run, claim, services.executions, backup_etag=etag)
    return claim.execution_arn if is_resumed or status in RUNNING else None


@routes.get("/restores")
def get_restores(services: Services, query: Paging) -> Page[RunSummary]:
    """List the restores of the last 90 days, newest first."""
    return list_runs(services.machines, limit=query.limit, token=query.token, kinds=["restore"])


@routes.get("/restores/{restore_id}", errors=[RunNotFoundError])
def get_restore(services: Services, restore_id: RestoreId) -> Run:
    """Tell how far a restore is, or what came of it."""
    return get_run(services, restore_id)
