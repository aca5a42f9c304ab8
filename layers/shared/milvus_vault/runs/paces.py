"""How fast the last runs of a kind were, phase by phase: what a phase that has not moved yet is told by."""

from collections.abc import Iterable, Mapping

from pydantic import Field

from milvus_vault.errors import WorkingFileError
from milvus_vault.model.base import Model
from milvus_vault.model.resources import RunKind
from milvus_vault.runs.measuring import Phase
from milvus_vault.workspace import Workspace


class Paces(Model):
    """The rates of the phases of runs, each by the last run that had it."""

    per_second: dict[str, float] = Field(default_factory=dict)
    """By the phase's name, in its first unit."""


def _paces_of(run: Workspace, kind: RunKind) -> tuple[Workspace, str]:
    """Return where they are kept: among the reports, which are swept once no run has been there for long."""
    return Workspace(run.store, run.bucket, run.prefix, "reports"), f"paces/{kind}.json"


def read_paces(run: Workspace, kind: RunKind) -> Mapping[str, float]:
    """Return the rates of the last runs of a kind; none where there were none. `run` is any of the deployment's."""
    reports, name = _paces_of(run, kind)
    try:
        found = reports.find(name, Paces)
    except WorkingFileError:
        # Nobody needs them, and they are written anew by the next run.
        return {}
    return found.per_second if found else {}


def remember_paces(run: Workspace, kind: RunKind, phases: Iterable[Phase]) -> None:
    """Write down how fast the phases of a run were that are done; others keep the rate that they had."""
    paces = dict(pace for phase in phases if (pace := phase.pace))
    if paces:
        reports, name = _paces_of(run, kind)
        reports.write(name, Paces(per_second={**read_paces(run, kind), **paces}))
