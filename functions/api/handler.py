"""Api: answer the requests that API Gateway hands over.

Not a state of a machine but a door. It needs no Milvus: what long work there is, it starts.
"""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.adapters.inspector import LambdaInspector
from milvus_vault.adapters.state_machines import StepFunctionsMachines
from milvus_vault.api.app import Api
from milvus_vault.api.routes import ROUTES
from milvus_vault.api.services import Services
from milvus_vault.catalogue import Catalogue
from milvus_vault.runs.machines import Machines
from milvus_vault.runtime import logger
from milvus_vault.schedules import Schedules
from milvus_vault.settings import ApiSettings, ExportSettings, ScheduleSettings, StorageSettings
from milvus_vault.stores import open_store
from milvus_vault.wiring import open_export_places, open_scheduler


def open_services() -> Services:
    """Return the deployment that the environment names."""
    storage, api = StorageSettings.from_env(), ApiSettings.from_env()
    store, bucket, prefix = open_store(storage), storage.backup_bucket_name, storage.backup_prefix
    catalogue, now = Catalogue(store, bucket, prefix), datetime.now(UTC)
    return Services(
        store=store,
        bucket=bucket,
        prefix=prefix,
        inspector=LambdaInspector(api.inspect_milvus_function_name),
        export_places=open_export_places(storage, ExportSettings.from_env()),
        now=now,
        catalogue=catalogue,
        executions=StepFunctionsExecutions(),
        machines=Machines(
            StepFunctionsMachines(),
            {
                "backup": api.backup_state_machine_arn,
                "restore": api.restore_state_machine_arn,
                "verify": api.verify_state_machine_arn,
                "prune": api.prune_state_machine_arn,
                "export": api.export_state_machine_arn,
                "drill": api.drill_state_machine_arn,
            },
        ),
        schedules=Schedules(open_scheduler(ScheduleSettings.from_env()), catalogue, lambda: now),
    )


_api = Api(ROUTES, open_services)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Return the answer to a request. What starts work may be repeated with the same idempotency key."""
    return _api.handle(event, context)
