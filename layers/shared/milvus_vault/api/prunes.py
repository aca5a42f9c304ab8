"""Prunes: runs that delete what no policy keeps."""

from milvus_vault.api.routing import Caller, Routes
from milvus_vault.api.services import Services
from milvus_vault.errors import IdempotencyConflictError
from milvus_vault.model.requests import PruneRequest
from milvus_vault.model.resources import Started
from milvus_vault.runs.starting import start

routes = Routes("prunes")


@routes.post("/prune", errors=[IdempotencyConflictError])
def post_prune(services: Services, body: PruneRequest, caller: Caller) -> Started:
    """Start deleting what no policy keeps, or, with `dry_run`, telling what that would be. The run's result says it."""
    started = start(services.machines, "prune", body, caller.idempotency_key)
    return Started(id=started.id, kind="prune", execution_arn=started.execution_arn)
