"""What the last restores of a deployment took: by which the time of the next one is told."""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from milvus_vault.model.executions import ExecutionDescription
from milvus_vault.model.names import run_id
from milvus_vault.model.readable import count, duration
from milvus_vault.model.times import utc_minute
from milvus_vault.parallel import each
from milvus_vault.runs.machines import Machines, as_object

_LAST = 10
_CONCURRENT_CALLS = 8
# A restore of many more rows, or of far fewer, spends its time on other things.
_ALIKE = 10


class Measured(NamedTuple):
    """A restore that ended well."""

    id: str
    ended_at: datetime
    seconds: float
    row_count: int
    """Rows that were imported, deleted ones included."""


class Expected(NamedTuple):
    """How long a restore may take, and by what that is told."""

    seconds: float
    told_by: str


def last_restores(machines: Machines) -> list[Measured]:
    """Return the last restores that ended well and imported rows, the newest first."""
    listed = machines.states.list_executions(machines.arns["restore"], status="SUCCEEDED", limit=_LAST, token=None)
    described = each(
        lambda one: machines.states.describe(one.arn), islice(listed.executions, _LAST), threads=_CONCURRENT_CALLS
    )
    return [measured for one in described if (measured := _measured(one))]


def _measured(execution: ExecutionDescription) -> Measured | None:
    rows = as_object(execution.output_json or "{}").get("imported_row_count")
    if execution.ended_at is None or not isinstance(rows, int) or not rows:
        return None
    seconds = (execution.ended_at - execution.started_at).total_seconds()
    return Measured(run_id("restore", execution.name), execution.ended_at, seconds, rows)


def expect(row_count: int, history: Sequence[Measured]) -> Expected | None:
    """Return how long a restore of so many rows may take, by the slowest of the history that is near in rows.

    The slowest, since one that went on with what another had done was fast for its rows. Its time is taken for each
    row, and never less than the shortest restore took. None where none is near enough: within ten times, either way.
    """
    near = [one for one in history if row_count <= one.row_count * _ALIKE and one.row_count <= row_count * _ALIKE]
    if not near:
        return None
    slowest = max(near, key=lambda one: one.seconds / one.row_count)
    seconds = max(slowest.seconds * row_count / slowest.row_count, min(one.seconds for one in history))
    told_by = (
        f"{slowest.id} of {utc_minute(slowest.ended_at)}, which imported {count(slowest.row_count)} rows in"
        f" {duration(slowest.seconds)}"
    )
    return Expected(seconds, told_by)
