"""Drills: runs that prove that a backup can be restored."""

from milvus_vault.api.restores import check_version, find_targets
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
    VersionUnsupportedError,
)
from milvus_vault.model.requests import DrillRequest, RestoreRequest
from milvus_vault.model.resources import BackupSummary, Started
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
        VersionUnsupportedError,
    ],
)
def post_drill(services: Services, body: DrillRequest, caller: Caller) -> Started:
    """Start a drill: restore a backup into a scratch database, compare what came back with the backup, and drop it.

    Nothing that exists in Milvus is touched. A backup that is not there, a schedule that has none, collections that the
    backup lacks, a limit below the smallest of them, and a Milvus that does not take a backup of its version, are
    refused at once; whether the name of the scratch database is free, the run tells.
    """
    started = find_started(services.machines, "drill", body, caller.idempotency_key)
    if started is None:
        if body.backup_name is not None:
            services.check_backup(body.backup_name)
        name = choose_backup(services.catalogue, body)
        backup: BackupSummary | None
        if body.collections is not None or body.max_bytes is not None:
            choices_of(body, backup := services.catalogue.get(name))
        else:
            # What is wrong with its metadata the run tells, and the catalogue keeps that.
            backup = services.catalogue.remembered(name)
        if backup is not None:
            restore = RestoreRequest(backup_name=name, allow_version=body.allow_version)
            if found := find_targets(services, restore, ()):
                check_version(restore, found, backup.milvus_version)
        started = start(services.machines, "drill", body, caller.idempotency_key)
    return Started(id=started.id, kind="drill", execution_arn=started.execution_arn, backup_name=body.backup_name)
