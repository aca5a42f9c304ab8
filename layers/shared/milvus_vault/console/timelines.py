"""What a schedule does by itself: when it fires next, and which of its backups stay. By the rules that the API has."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile

from milvus_vault.model.resources import BackupSummary, Schedule, ScheduleSpec
from milvus_vault.model.retention import Retention
from milvus_vault.reports.charts import Timeline, timeline
from milvus_vault.retention.policy import decide
from milvus_vault.schedules.expressions import parse_expression

SHOWN_FIRINGS = 5
LONG_RUN = 1000
"""Backups after which a policy is looked at that is not yet in use."""
LONGEST = timedelta(days=3653)
"""How far that looks ahead at most."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A backup, and what is to become of it."""

    name: str
    created_at: datetime
    is_kept: bool
    reason: str
    """Without the decision, which is shown beside it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a policy does with some backups, newest first."""

    decided: Sequence[Decided]
    chart: Timeline | None

    @property
    def kept_count(self) -> int:
        """Return how many stay."""
        return sum(one.is_kept for one in self.decided)


def kept(backups: Sequence[BackupSummary], retention: Retention | None, timezone: str, now: datetime) -> Kept:
    """Return what a prune decides of one schedule's backups, as far as lists tell of them: it reads each itself."""
    begun = {one.name: one.created_at for one in backups}
    decided = [
        Decided(one.name, begun[one.name], one.keep, one.reason.partition(": ")[2])
        for one in decide(backups, retention, timezone, now)
    ]
    return Kept(decided, timeline(((one.name, one.created_at, one.is_kept, one.reason) for one in decided), now))


def in_the_long_run(spec: ScheduleSpec, now: datetime) -> Kept | None:
    """Return what is there once a schedule has fired often, with a complete backup each time; None: it never fires.

    Raises `InvalidRequestError` for an expression or a time zone that is none.
    """
    fires = parse_expression(spec.expression, spec.timezone).firings_after(now)
    times = list(takewhile(lambda at: at - now < LONGEST, islice(fires, LONG_RUN)))
    if not times:
        return None
    return kept([_backup_of(number, at) for number, at in enumerate(times)], spec.retention, spec.timezone, times[-1])


def next_firings(schedule: Schedule) -> list[datetime]:
    """Return when a schedule fires next. Raises `InvalidRequestError`, as `in_the_long_run`."""
    first = schedule.next_run_at
    if first is None:
        return []
    expression = parse_expression(schedule.expression, schedule.timezone)
    return [first, *islice(expression.firings_after(first), SHOWN_FIRINGS - 1)]


def _backup_of(number: int, at: datetime) -> BackupSummary:
    return BackupSummary(
        name=f"number {number + 1} to come",
        status="complete",
        created_at=at,
        finished_at=at,
        size_bytes=1,
        object_count=1,
        collection_count=1,
        row_count=1,
        milvus_version="",
    )
