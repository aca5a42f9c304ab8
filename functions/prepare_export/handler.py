"""PrepareExport: check a backup, claim it and the name of its export or copy, and write down what is to be copied."""

from collections.abc import Mapping

from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.backup.copies import CopyPreparation, read_known_etags
from milvus_vault.backup.export import ExportPreparation
from milvus_vault.catalogue import Catalogue
from milvus_vault.execution_records import record_execution
from milvus_vault.model.messages import PrepareExportRequest, PrepareExportResult, Round
from milvus_vault.model.names import attempt_of, backup_run, export_elsewhere_run
from milvus_vault.model.requests import ExportRequest
from milvus_vault.runtime import logger, read_request, task
from milvus_vault.settings import ExportSettings, StorageSettings
from milvus_vault.wiring import open_export_places, open_workspace


@task
def handler(event: PrepareExportRequest) -> PrepareExportResult:
    """Return what the rest of the machine needs. Safe to repeat: it finds its own claims and files."""
    request = read_request(ExportRequest, event.request, "export request")
    storage = StorageSettings.from_env()
    place = open_export_places(storage, ExportSettings.from_env()).find(request)
    name = request.export_name
    run = open_workspace(storage, export_elsewhere_run(place.bucket, place.prefix, name) if place else backup_run(name))
    logger.set_correlation_id(run.run)
    record_execution(run, event.execution, "export", request.backup_name)
    catalogue = Catalogue(run.store, run.bucket, run.prefix)
    known_etags: Mapping[str, tuple[str, str]] = {}
    if place and request.is_copy:
        known_etags = read_known_etags(place.run_of(run, name), catalogue.copied_to(place.folder))
    preparation = CopyPreparation if request.is_copy else ExportPreparation
    plan = preparation(
        run=run,
        request=request,
        executions=StepFunctionsExecutions(),
        execution_arn=event.execution.arn,
        started_at=event.execution.started_at,
        was_listed=lambda: catalogue.remembered(name) is not None,
        damaged_contents=catalogue.damaged_contents,
        place=place,
        known_etags=known_etags,
    ).prepare()
    return PrepareExportResult(
        run=run.run,
        attempt=attempt_of(event.execution.arn),
        round=Round(number=1),
        collection_count=len(plan.collections) if plan else 0,
        meta_only=plan.request.meta_only if plan else False,
        is_published=plan is None,
    )
