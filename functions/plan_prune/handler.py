"""PlanPrune: decide which backups are deleted, and write down why."""

from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.adapters.scheduler import EventBridgeScheduler
from milvus_vault.catalogue import Catalogue
from milvus_vault.execution_records import record_execution
from milvus_vault.model.messages_prune import PlanPruneRequest, PlanPruneResult
from milvus_vault.model.names import execution_name, run_id
from milvus_vault.model.requests import PruneRequest
from milvus_vault.retention.plan import PrunePreparation
from milvus_vault.runtime import logger, read_request, task
from milvus_vault.settings import PolicySettings, StorageSettings
from milvus_vault.stores import open_workspace


@task
def handler(event: PlanPruneRequest) -> PlanPruneResult:
    """Write down what is to be deleted. Safe to repeat: the plan of an execution is made once."""
    request = read_request(PruneRequest, event.request, "prune request")
    storage, policies = StorageSettings.from_env(), PolicySettings.from_env()
    run = open_workspace(storage, run_id("prune", execution_name(event.execution.arn)))
    logger.set_correlation_id(run.run)
    names = request.backup_names or ()
    record_execution(run, event.execution, "prune", names[0] if len(names) == 1 else None)
    plan = PrunePreparation(
        run=run,
        request=request,
        catalogue=Catalogue(run.store, run.bucket, run.prefix),
        # It only reads, and needs none of what a schedule is made with.
        scheduler=EventBridgeScheduler(policies.schedule_group, machine_arns={}, role_arn="", dead_letter_arn=""),
        executions=StepFunctionsExecutions(),
        execution_arn=event.execution.arn,
        started_at=event.execution.started_at,
    ).prepare()
    for decision in plan.decisions:
        logger.info("decided", backup=decision.name, keep=decision.keep, reason=decision.reason)
    return PlanPruneResult(run=run.run)
