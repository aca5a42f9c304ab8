"""How fast the last runs of a kind were, phase by phase: what a phase that has not moved yet is told by."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from milvus_vault.errors import StorageAccessDeniedError, WorkingFileError
from milvus_vault.model.base import Model
from milvus_vault.model.resources import RunKind
from milvus_vault.parallel import each
from milvus_vault.runs.measuring import Phase
from milvus_vault.workspace import Workspace


class Pace(Model):
    """The rate of a phase, by the last run that had it. Each has a document, so that who writes one reads none."""

    name: str
    """Of the phase."""
    per_second: float
    """In its first unit."""


def _paces_of(run: Workspace, kind: RunKind) -> tuple[Workspace, str]:
    """Return where they are kept: among the reports, which are swept once no run has been there for long."""
    return Workspace(run.store, run.bucket, run.prefix, "reports"), f"paces/{kind}/"


def read_paces(run: Workspace, kind: RunKind) -> Mapping[str, float]:
    """Return the rates of the last runs of a kind; none where there were none. `run` is any of the deployment's."""
    reports, folder = _paces_of(run, kind)

    def read(name: str) -> Pace | None:
        # Nobody needs one that is damaged, and it is written anew by the next run.
        with suppress(WorkingFileError):
            return reports.find(name, Pace)
        return None

    return {pace.name: pace.per_second for pace in each(read, reports.names(folder)) if pace}


def remember_paces(run: Workspace, kind: RunKind, phases: Callable[[], Iterable[Phase]]) -> None:
    """Write down how fast the phases of a run were that are done; others keep the rate that they had.

    Where a working file cannot be read by which that is known, or none may be written, as in the minute after an update
    that brings the right, it gets lost: all else of the run is done by then.
    """
    reports, folder = _paces_of(run, kind)
    with suppress(WorkingFileError, StorageAccessDeniedError):
        for name, per_second in filter(None, (phase.pace for phase in phases())):
            reports.write(f"{folder}{name.replace(' ', '_')}.json", Pace(name=name, per_second=per_second))
