"""Exports: runs that write a backup once more, as a full one in milvus-backup's layout, or its rows, or copy it."""

from pydantic import ValidationError

from milvus_vault.api.backups import NameInPath, backup_exists
from milvus_vault.api.routing import Caller, Routes
from milvus_vault.api.services import Services
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.backup.export import read_exportable
from milvus_vault.backup.publish import export_name_taken
from milvus_vault.datasets.preparing import check_dataset_name, read_exportable_rows
from milvus_vault.datasets.working_files import DatasetLayout
from milvus_vault.errors import (
    BackupDamagedError,
    BackupExistsError,
    BackupFormatError,
    BackupNotExportableError,
    BackupNotFoundError,
    DatasetExistsError,
    IdempotencyConflictError,
    WorkingFileError,
)
from milvus_vault.model.names import dataset_run
from milvus_vault.model.requests import CopyRequest, ExportRequest
from milvus_vault.model.resources import Started
from milvus_vault.model.words import wrong_fields
from milvus_vault.runs.starting import find_started, start
from milvus_vault.workspace import Workspace

routes = Routes("exports")


@routes.post(
    "/exports",
    errors=[
        BackupNotFoundError,
        BackupDamagedError,
        BackupFormatError,
        BackupNotExportableError,
        BackupExistsError,
        DatasetExistsError,
        IdempotencyConflictError,
        WorkingFileError,
    ],
)
def post_export(services: Services, body: ExportRequest, caller: Caller) -> Started:
    """Start an export: a full backup in milvus-backup's layout, of a backup that may be incremental, or a dataset.

    A dataset has the rows of a backup as files of Parquet; milvus-backup may have written it, too.
    A backup that cannot be exported, a place to which nothing may go, and a name that is taken, are refused at once.
    Whether the name is taken in another place, the run tells.
    """
    return _started(services, body, caller)


@routes.post(
    "/backups/{name}/copies",
    errors=[
        BackupNotFoundError,
        BackupDamagedError,
        BackupFormatError,
        BackupNotExportableError,
        IdempotencyConflictError,
        WorkingFileError,
    ],
)
def post_copy(services: Services, name: NameInPath, body: CopyRequest, caller: Caller) -> Started:
    """Start to copy a backup as it is to another place, where a deployment can list, verify and restore it.

    The run is of the kind `export`. A backup that cannot be copied, and a place to which nothing may go, are refused at
    once. Whether the place has another backup of the name, the run tells. What is there already is not copied again.
    """
    try:
        asked = ExportRequest.copy_of(name, body.to)
    except ValidationError as err:
        services.check_backup(name)
        msg = f"backup '{name}' has a name that no new backup can have, and is not copied: {next(wrong_fields(err))[1]}"
        raise BackupNotExportableError(msg, hint="Copy its folder to have it elsewhere.") from err
    return _started(services, asked, caller)


def _started(services: Services, body: ExportRequest, caller: Caller) -> Started:
    started = find_started(services.machines, "export", body, caller.idempotency_key)
    if started is None:
        services.check_backup(body.backup_name)
        layout = BackupLayout(services.prefix, body.backup_name)
        place = services.export_places.find(body)
        if body.format == "parquet":
            read_exportable_rows(services.store, services.bucket, layout)
            if place is None:
                dataset = DatasetLayout(services.bucket, services.prefix, body.export_name)
                run = Workspace(
                    services.store, services.bucket, services.prefix, dataset_run(dataset.bucket, dataset.root)
                )
                check_dataset_name(run, dataset, body)
        else:
            read_exportable(
                services.store, services.bucket, layout, services.catalogue.damaged_contents, is_copy=body.is_copy
            )
            if place is None and backup_exists(services, body.export_name):
                raise export_name_taken(body.export_name)
        started = start(services.machines, "export", body, caller.idempotency_key)
    return Started(id=started.id, kind="export", execution_arn=started.execution_arn, backup_name=body.backup_name)
