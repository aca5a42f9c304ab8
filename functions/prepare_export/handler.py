"""PrepareExport: check a backup, claim it and the name of its export or copy, and write down what others have to do."""

from collections.abc import Callable
from functools import partial

from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.backup.copies import CopyPreparation, PlaceNotes
from milvus_vault.backup.export import ExportPreparation
from milvus_vault.backup.places import Place
from milvus_vault.catalogue import Catalogue
from milvus_vault.datasets.preparing import DatasetPreparation, Unwritten
from milvus_vault.datasets.working_files import DatasetLayout
from milvus_vault.execution_records import record_execution
from milvus_vault.model.messages import PrepareExportRequest, PrepareExportResult
from milvus_vault.model.messages_copy import Round
from milvus_vault.model.messages_rows import DatasetResult
from milvus_vault.model.names import attempt_of, backup_run, dataset_run, export_elsewhere_run
from milvus_vault.model.requests import ExportRequest
from milvus_vault.runtime import logger, read_request, task
from milvus_vault.settings import ExportSettings, StorageSettings
from milvus_vault.stores import open_workspace
from milvus_vault.wiring import open_export_places
from milvus_vault.workspace import Workspace


@task
def handler(event: PrepareExportRequest) -> PrepareExportResult:
    """Return what the rest of the machine needs. Safe to repeat: it finds its own claims and files.

    Of a dataset it is called again when WriteRows has written the rows.
    """
    request = read_request(ExportRequest, event.request, "export request")
    storage = StorageSettings.from_env()
    places = open_export_places(storage, ExportSettings.from_env())
    place = places.find(request)
    if request.format == "parquet":
        return _write_dataset(event, request, storage, place or places.own)
    name = request.export_name
    run = open_workspace(storage, export_elsewhere_run(place.bucket, place.prefix, name) if place else backup_run(name))
    catalogue = _begin(event, request, run)
    begin: Callable[..., ExportPreparation] = ExportPreparation
    if place and request.is_copy:
        begin = partial(CopyPreparation, notes=PlaceNotes(place.run_of(run, name)))
    plan = begin(
        run=run,
        request=request,
        executions=StepFunctionsExecutions(),
        execution_arn=event.execution.arn,
        started_at=event.execution.started_at,
        was_listed=lambda: catalogue.remembered(name) is not None,
        damaged_contents=catalogue.damaged_contents,
        place=place,
    ).prepare()
    return PrepareExportResult(
        run=run.run,
        attempt=attempt_of(event.execution.arn),
        round=Round(number=1),
        collection_count=len(plan.collections) if plan else 0,
        meta_only=plan.request.meta_only if plan else False,
        is_published=plan is None,
    )


def _write_dataset(
    event: PrepareExportRequest, request: ExportRequest, storage: StorageSettings, place: Place
) -> PrepareExportResult:
    layout = DatasetLayout(place.bucket, place.prefix, request.export_name)
    run = open_workspace(storage, dataset_run(layout.bucket, layout.root))
    found = DatasetPreparation(
        run=run,
        request=request,
        executions=StepFunctionsExecutions(),
        execution_arn=event.execution.arn,
        started_at=event.execution.started_at,
        damaged_contents=_begin(event, request, run).damaged_contents,
        place=place,
        write_count=event.write_count,
    ).prepare()
    is_written = isinstance(found, DatasetResult)
    return PrepareExportResult(
        run=run.run,
        attempt=attempt_of(event.execution.arn),
        round=Round(number=1),
        collection_count=found.collection_count if isinstance(found, DatasetResult) else 0,
        meta_only=False,
        is_published=is_written,
        has_rows=not is_written,
        bucket=run.bucket,
        batches_key=found.batches_key if isinstance(found, Unwritten) else "",
        write_count=event.write_count + 1,
        is_dataset=True,
        dataset=found if isinstance(found, DatasetResult) else None,
    )


def _begin(event: PrepareExportRequest, request: ExportRequest, run: Workspace) -> Catalogue:
    logger.set_correlation_id(run.run)
    record_execution(run, event.execution, "export", request.backup_name)
    return Catalogue(run.store, run.bucket, run.prefix)
