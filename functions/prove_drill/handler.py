"""ProveDrill: compare what a drill restored with what the binlogs of the backup hold."""

from datetime import UTC, datetime

from aws_lambda_powertools.utilities.typing import LambdaContext

from milvus_vault.connection import connect_milvus
from milvus_vault.drills.proving import DrillProof
from milvus_vault.model.messages_drill import ProveDrillRequest, ProveDrillResult
from milvus_vault.runs.following import comparing_phases
from milvus_vault.runs.paces import remember_paces
from milvus_vault.runtime import task
from milvus_vault.settings import MilvusSettings, StorageSettings
from milvus_vault.stores import open_workspace


@task
def handler(event: ProveDrillRequest, context: LambdaContext) -> ProveDrillResult:
    """Compare as much as is loaded and as there is time for. Safe to repeat: what was compared is written down."""
    run = open_workspace(StorageSettings.from_env(), event.run)
    with connect_milvus(MilvusSettings.from_env()) as database:
        proof = DrillProof.of(run, database, datetime.now(UTC), lambda: context.get_remaining_time_in_millis() / 1000)
        result = proof.prove()
    if result.is_done:
        remember_paces(run, "drill", lambda: comparing_phases(run, proof.plan))
    return result
