"""Runs: executions of the state machines, and how far they are."""

from pydantic import Field

from milvus_vault.api.routing import Caller, Paging, Routes
from milvus_vault.api.services import Services
from milvus_vault.errors import RunEndedError, RunNotFoundError
from milvus_vault.model.resources import Page, Run, RunCollection, RunId, RunKind, RunStatus, RunSummary
from milvus_vault.runs.describing import describe_run, list_run_collections
from milvus_vault.runs.listing import list_runs
from milvus_vault.runs.starting import stop_run

routes = Routes("runs")


class RunFilter(Paging):
    """Which runs."""

    kind: RunKind | None = Field(default=None, description="Only runs of this kind.")
    status: RunStatus | None = Field(default=None, description="Only runs of this status.")


@routes.get("/runs")
def get_runs(services: Services, query: RunFilter) -> Page[RunSummary]:
    """List the runs of the last 90 days, newest first. A page may be shorter than `limit`; the token decides."""
    return list_runs(
        services.machines,
        limit=query.limit,
        token=query.token,
        kinds=[query.kind] if query.kind else None,
        status=query.status,
    )


@routes.get("/runs/{run_id}", errors=[RunNotFoundError])
def get_run(services: Services, run_id: RunId) -> Run:
    """Tell how far a run is, or what came of it."""
    return describe_run(services.machines, services.working_files, run_id, services.now)


@routes.get("/runs/{run_id}/collections", errors=[RunNotFoundError])
def get_run_collections(services: Services, run_id: RunId, query: Paging) -> Page[RunCollection]:
    """List the collections of a run, in the order in which it takes them."""
    return list_run_collections(services.machines, services.working_files, run_id, limit=query.limit, token=query.token)


@routes.delete("/runs/{run_id}", errors=[RunNotFoundError, RunEndedError])
def delete_run(services: Services, run_id: RunId, caller: Caller) -> None:
    """Stop a run. What it has done stays, and the same request goes on from there."""
    stop_run(services.machines, run_id, f"stopped by {caller.arn or 'a caller of the API'}")
