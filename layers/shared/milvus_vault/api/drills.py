"""Drills: runs that prove that a backup can be restored."""

from milvus_vault.api.backups import backup_exists
from milvus_vault.api.routing import Caller, Routes
from milvus_vault.api.services import Services
from milvus_vault.drills.preparing import choices_of, choose_backup
from milvus_vault.errors import (
    BackupDamagedError,
    BackupFormatError,
    BackupNotFoundError,
    CollectionNotFoundError,
    DatabaseNotFoundError,
    EmptySelectionError,
    IdempotencyConflictError,
)
from milvus_vault.model.requests import DrillRequest
from milvus_vault.model.resources import Started
from milvus_vault.runs.starting import find_started, start

routes = Routes("drills")


@routes.post(
    "/drills",
    errors=[
        BackupNotFoundError,
        BackupDamagedError,
        BackupFormatError,
        CollectionNotFoundError,
        DatabaseNotFoundError,
        EmptySelectionError,
        IdempotencyConflictError,
    ],
)
def post_drill(services: Services, body: DrillRequest, caller: Caller) -> Started:
    """Start a drill: restore a backup into a scratch database, compare what came back with the backup, and drop it.

    Nothing that exists in Milvus is touched. A backup that is not there, a schedule that has none, collections that the
    backup lacks, and a limit below the smallest of them, are refused at once; whether the name of the scratch database
    is free, the run tells.
    """
    started = find_started(services.machines, "drill", body, caller.idempotency_key)
    if started is None:
        if body.backup_name is not None and not backup_exists(services, body.backup_name):
            raise services.catalogue.no_backup(body.backup_name)
        name = choose_backup(services.catalogue, body)
        if body.collections is not None or body.max_bytes is not None:
            choices_of(body, services.catalogue.get(name))
        started = start(services.machines, "drill", body, caller.idempotency_key)
    return Started(id=started.id, kind="drill", execution_arn=started.execution_arn, backup_name=body.backup_name)
