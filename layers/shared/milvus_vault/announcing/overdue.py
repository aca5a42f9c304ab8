"""Telling of schedules whose backups or drills do not come: once when it begins, once when it is over."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from milvus_vault.announcing.notifications import as_subject
from milvus_vault.archive.layout import CATALOGUE_FOLDER, join
from milvus_vault.errors import ObjectNotFoundError
from milvus_vault.model.events import Measure, MeasureUnit, Metric, Notification
from milvus_vault.model.schedules import ScheduleKind
from milvus_vault.model.times import utc_minute
from milvus_vault.ports import ObjectStore
from milvus_vault.schedules.watching import Overdue, ScheduleHealth

_SUCCESSES: Mapping[ScheduleKind, str] = {"backup": "complete backup", "drill": "successful drill"}


@dataclass(frozen=True, slots=True)
class OverdueMemory:
    """Which schedules people were told of: `<prefix>/.catalogue/overdue/<schedule>.json`."""

    store: ObjectStore
    bucket: str
    prefix: str

    def find(self, schedule: str) -> Overdue | None:
        """Return what was told of a schedule; None where nothing was, or where it cannot be read."""
        try:
            return Overdue.model_validate_json(self.store.get(self.bucket, self._key(schedule)))
        except (ObjectNotFoundError, ValidationError):
            return None

    def remember(self, overdue: Overdue) -> None:
        """Write down that people were told."""
        self.store.put(self.bucket, self._key(overdue.schedule), overdue.model_dump_json().encode())

    def forget(self, schedules: Iterable[str]) -> None:
        """Remove what was written down."""
        self.store.delete(self.bucket, [self._key(schedule) for schedule in schedules])

    def names(self) -> list[str]:
        """Return the schedules of which something is written down."""
        listed = self.store.list_objects(self.bucket, join(self.prefix, CATALOGUE_FOLDER, "overdue") + "/")
        return [found.key.rpartition("/")[2].removesuffix(".json") for found in listed]

    def _key(self, schedule: str) -> str:
        return join(self.prefix, CATALOGUE_FOLDER, "overdue", f"{schedule}.json")


def tell_of_overdue(
    found: Sequence[ScheduleHealth],
    memory: OverdueMemory,
    publish: Callable[[Notification], None],
    *,
    stack: str,
    now: datetime,
) -> None:
    """Send a notification for each schedule that became overdue or well since the last time.

    What is told is written down after it was sent: an interruption between the two repeats a notification, and
    loses none.
    """
    told = set(memory.names())
    for health in found:
        if health.overdue_since and health.name not in told:
            publish(_overdue(health, stack))
            memory.remember(Overdue(schedule=health.name, due_at=health.overdue_since, found_at=now))
        elif health.overdue_since is None and health.name in told:
            publish(_well_again(health, memory.find(health.name), stack))
            memory.forget([health.name])
    # Schedules that were deleted or turned off meanwhile.
    memory.forget(told - {health.name for health in found})


def overdue_totals(found: Sequence[ScheduleHealth]) -> tuple[Measure, ...]:
    """Return what counts for the whole stack."""
    count = sum(health.overdue_since is not None for health in found)
    return (Measure(Metric.SCHEDULES_OVERDUE, MeasureUnit.COUNT, count),)


def schedule_measures(health: ScheduleHealth) -> tuple[Measure, ...]:
    """Return what counts for one schedule."""
    return (Measure(Metric.LAST_SUCCESS_AGE, MeasureUnit.SECONDS, health.age.total_seconds()),)


def _overdue(health: ScheduleHealth, stack: str) -> Notification:
    last = f"began on {_moment(health.last_success_at)}" if health.last_success_at else "does not exist"
    success = _SUCCESSES[health.kind]
    lines = [
        f"Stack {stack}: schedule {health.name} is overdue.",
        "",
        f"A {success} should have begun at {_moment(health.overdue_since)} or after, and there is none.",
        f"Its newest {success} {last}.",
        "",
        "What to do: see which run failed, or did not start (docs/operations.md, 'A schedule is overdue'). Another",
        f"message comes when there is a {success} of this schedule.",
    ]
    return Notification(
        as_subject(f"[{stack}] schedule {health.name} is overdue"),
        "\n".join(lines),
        (("kind", "schedule"), ("status", "overdue"), ("stack", stack), ("schedule", health.name)),
    )


def _well_again(health: ScheduleHealth, overdue: Overdue | None, stack: str) -> Notification:
    since = f" It was overdue since {_moment(overdue.due_at)}." if overdue else ""
    newest = f" Its newest {_SUCCESSES[health.kind]} began on {_moment(health.last_success_at)}."
    last = newest if health.last_success_at else ""
    return Notification(
        as_subject(f"[{stack}] schedule {health.name} is well again"),
        f"Stack {stack}: schedule {health.name} is well again.{since}{last}",
        (("kind", "schedule"), ("status", "well"), ("stack", stack), ("schedule", health.name)),
    )


def _moment(moment: datetime | None) -> str:
    return utc_minute(moment) if moment else "no time"
