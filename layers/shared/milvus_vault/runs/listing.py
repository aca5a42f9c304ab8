"""The runs of all machines in one list, newest first.

Step Functions lists the executions of one machine at a time, and its tokens lead to whole pages. Our token holds
for each machine the token of the page that is being read, and the last execution of it that was given out: so a
page may end anywhere, and an execution that starts meanwhile shifts nothing.
"""

import base64
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pydantic import TypeAdapter

from milvus_vault.model.base import Model
from milvus_vault.model.executions import ExecutionSummary
from milvus_vault.model.resources import Page, RunKind, RunStatus, RunSummary
from milvus_vault.paging import wrong_token
from milvus_vault.parallel import each
from milvus_vault.runs.describing import summary_of
from milvus_vault.runs.machines import FILTERS, Machines

_PAGE = 100

# Executions that one request looks at: each costs a call, and an answer has 29 s.
_MAX_LOOKED_AT = 200
_CONCURRENT_CALLS = 8


class _Position(Model):
    """Where a list stands in the executions of one machine."""

    token: str | None = None
    after: ExecutionSummary | None = None
    """The last execution that was given out."""


_POSITIONS = TypeAdapter[dict[str, _Position]](dict[str, _Position])


@dataclass(frozen=True, slots=True)
class _Found:
    """An execution, and where the list stands behind it."""

    kind: RunKind
    execution: ExecutionSummary
    position: _Position


def list_runs(
    machines: Machines,
    *,
    limit: int,
    token: str | None = None,
    kinds: Sequence[RunKind] | None = None,
    status: RunStatus | None = None,
) -> Page[RunSummary]:
    """Return some runs, newest first.

    With `status` partial or failed a page can have fewer than `limit` runs, and yet a token. Raises
    `InvalidRequestError` for a token that is none.
    """
    positions = _read_token(token)
    wanted = [kind for kind in kinds or machines.arns if kind in machines.arns]
    streams = [_executions(machines, kind, positions.get(kind, _Position()), status) for kind in wanted]
    merged = heapq.merge(*streams, key=lambda found: found.execution.started_at, reverse=True)
    runs: list[RunSummary] = []
    looked_at = 0
    while len(runs) < limit and looked_at < _MAX_LOOKED_AT:
        found = list(islice(merged, limit - len(runs)))
        if not found:
            return Page(items=tuple(runs))
        looked_at += len(found)
        positions |= {item.kind: item.position for item in found}
        runs += [run for run in _summaries(machines, found) if status in {None, run.status}]
    is_all = next(merged, None) is None
    return Page(items=tuple(runs), next_token=None if is_all else _write_token(positions))


def _executions(machines: Machines, kind: RunKind, start: _Position, status: RunStatus | None) -> Iterator[_Found]:
    """Yield the executions of one machine behind a position."""
    position = start
    while True:
        page = machines.states.list_executions(
            machines.arns[kind], status=FILTERS[status] if status else None, limit=_PAGE, token=position.token
        )
        for execution in _behind(page.executions, position.after):
            yield _Found(kind, execution, _Position(token=position.token, after=execution))
        if page.next_token is None:
            return
        position = _Position(token=page.next_token, after=position.after)


def _behind(executions: Sequence[ExecutionSummary], after: ExecutionSummary | None) -> Sequence[ExecutionSummary]:
    """Return the executions that come after one which may have been given out before, or have left the list."""
    if after is None:
        return executions
    names = [execution.name for execution in executions]
    if after.name in names:
        return executions[names.index(after.name) + 1 :]
    return [execution for execution in executions if execution.started_at < after.started_at]


def _summaries(machines: Machines, found: Sequence[_Found]) -> list[RunSummary]:
    """Return the executions as runs. The list of Step Functions tells neither their input nor why one failed."""

    def summary(item: _Found) -> RunSummary:
        return summary_of(item.kind, machines.states.describe(item.execution.arn))

    return list(each(summary, found, threads=_CONCURRENT_CALLS))


def _write_token(positions: dict[str, _Position]) -> str:
    return base64.urlsafe_b64encode(_POSITIONS.dump_json(positions)).decode()


def _read_token(token: str | None) -> dict[str, _Position]:
    if token is None:
        return {}
    try:
        return _POSITIONS.validate_json(base64.urlsafe_b64decode(token))
    except ValueError as err:
        raise wrong_token(token) from err
