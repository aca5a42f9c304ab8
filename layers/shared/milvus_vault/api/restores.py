"""Restores: runs that make collections from a backup."""

from typing import Annotated

from pydantic import Field

from milvus_vault.api.backups import backup_exists, no_backup
from milvus_vault.api.endpoints import Caller, Paging, Routes
from milvus_vault.api.runs import get_run
from milvus_vault.api.services import Services
from milvus_vault.errors import (
    BackupDamagedError,
    BackupFormatError,
    BackupNotFoundError,
    CollectionNotFoundError,
    DatabaseNotFoundError,
    EmptySelectionError,
    IdempotencyConflictError,
    NameConflictError,
    RunNotFoundError,
)
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.requests import RestoreRequest
from milvus_vault.model.resources import Backup, Page, Run, RunSummary, Started
from milvus_vault.model.words import Form
from milvus_vault.restore.loading import check_replicas
from milvus_vault.restore.naming import resolve_targets
from milvus_vault.restore.partitions import check_partitions
from milvus_vault.runs.listing import list_runs
from milvus_vault.runs.starting import find_started, start

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


@routes.post(
    "/restores",
    errors=[
        BackupNotFoundError,
        BackupDamagedError,
        BackupFormatError,
        CollectionNotFoundError,
        DatabaseNotFoundError,
        EmptySelectionError,
        NameConflictError,
        IdempotencyConflictError,
    ],
)
def post_restore(services: Services, body: RestoreRequest, caller: Caller) -> Started:
    """Start a restore. What the backup itself rules out is refused at once; what Milvus does, the run tells."""
    started = find_started(services.machines, "restore", body, caller.idempotency_key)
    if started is None:
        if not backup_exists(services, body.backup_name):
            raise no_backup(services, body.backup_name)
        _check_names(services.catalogue.get(body.backup_name), body)
        started = start(services.machines, "restore", body, caller.idempotency_key)
    return Started(id=started.id, kind="restore", execution_arn=started.execution_arn, backup_name=body.backup_name)


def _check_names(backup: Backup, request: RestoreRequest) -> None:
    """Raise what PrepareRestore would raise of the names in a request, as the backup alone tells."""
    names = [CollectionName(database=found.database, name=found.name) for found in backup.collections]
    chosen = list(resolve_targets(request, names, backup.databases).collections)
    check_partitions(request.partitions, chosen)
    check_replicas(request.replicas, chosen)


@routes.get("/restores")
def get_restores(services: Services, query: Paging) -> Page[RunSummary]:
    """List the restores of the last 90 days, newest first."""
    return list_runs(services.machines, limit=query.limit, token=query.token, kinds=["restore"])


@routes.get("/restores/{restore_id}", errors=[RunNotFoundError])
def get_restore(services: Services, restore_id: RestoreId) -> Run:
    """Tell how far a restore is, or what came of it."""
    return get_run(services, restore_id)
