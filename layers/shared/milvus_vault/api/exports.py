"""Exports: runs that write a backup once more, as a full one in milvus-backup's layout, or its rows as Parquet."""

from milvus_vault.api.backups import backup_exists
from milvus_vault.api.routing import Caller, Routes
from milvus_vault.api.services import Services
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.backup.export import read_exportable
from milvus_vault.backup.publish import export_name_taken
from milvus_vault.datasets.preparing import read_exportable_rows
from milvus_vault.errors import (
    BackupDamagedError,
    BackupExistsError,
    BackupFormatError,
    BackupNotExportableError,
    BackupNotFoundError,
    IdempotencyConflictError,
)
from milvus_vault.model.requests import ExportRequest
from milvus_vault.model.resources import Started
from milvus_vault.runs.starting import find_started, start

routes = Routes("exports")


@routes.post(
    "/exports",
    errors=[
        BackupNotFoundError,
        BackupDamagedError,
        BackupFormatError,
        BackupNotExportableError,
        BackupExistsError,
        IdempotencyConflictError,
    ],
)
def post_export(services: Services, body: ExportRequest, caller: Caller) -> Started:
    """Start an export: a full backup in milvus-backup's layout, of a backup that may be incremental, or a dataset.

    A dataset has the rows of a backup as files of Parquet; milvus-backup may have written it, too.
    A backup that cannot be exported, a place to which nothing may go, and a name that is taken, are refused at once.
    Whether the name is taken in another place, or by another dataset, the run tells.
    """
    started = find_started(services.machines, "export", body, caller.idempotency_key)
    if started is None:
        if not backup_exists(services, body.backup_name):
            raise services.catalogue.no_backup(body.backup_name)
        layout = BackupLayout(services.prefix, body.backup_name)
        place = services.export_places.find(body)
        if body.format == "parquet":
            read_exportable_rows(services.store, services.bucket, layout)
        else:
            read_exportable(services.store, services.bucket, layout, services.catalogue.damaged_contents)
            if place is None and backup_exists(services, body.export_name):
                raise export_name_taken(body.export_name)
        started = start(services.machines, "export", body, caller.idempotency_key)
    return Started(id=started.id, kind="export", execution_arn=started.execution_arn, backup_name=body.backup_name)
