"""Drills: runs that prove that a backup can be restored."""

from milvus_vault.api.backups import backup_exists
from milvus_vault.api.routing import Caller, Routes
from milvus_vault.api.services import Services
from milvus_vault.errors import BackupNotFoundError, IdempotencyConflictError
from milvus_vault.model.requests import DrillRequest
from milvus_vault.model.resources import Started
from milvus_vault.runs.starting import find_started, start

routes = Routes("drills")


@routes.post("/drills", errors=[BackupNotFoundError, IdempotencyConflictError])
def post_drill(services: Services, body: DrillRequest, caller: Caller) -> Started:
    """Start a drill: restore a backup into a scratch database, compare what came back with the backup, and drop it.

    Nothing that exists in Milvus is touched. A backup that is not there, and a schedule that has none, are refused at
    once; whether the name of the scratch database is free, the run tells.
    """
    started = find_started(services.machines, "drill", body, caller.idempotency_key)
    if started is None:
        if body.backup_name is not None and not backup_exists(services, body.backup_name):
            raise services.catalogue.no_backup(body.backup_name)
        if body.newest_of is not None:
            services.catalogue.newest_of(body.newest_of)
        started = start(services.machines, "drill", body, caller.idempotency_key)
    return Started(id=started.id, kind="drill", execution_arn=started.execution_arn, backup_name=body.backup_name)
