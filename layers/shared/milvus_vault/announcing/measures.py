"""What is measured: of a run's end, and of the backups that wait to be pruned."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from milvus_vault.model.events import Measure, MeasureUnit, Metric, RunEvent
from milvus_vault.model.names import is_restore_of_drill
from milvus_vault.model.requests import ScheduleTag
from milvus_vault.model.resources import BackupSummary, RunStatus
from milvus_vault.retention.policy import decide_all

_COUNTED: dict[RunStatus, Metric] = {
    "succeeded": Metric.RUNS_SUCCEEDED,
    "partial": Metric.RUNS_PARTIAL,
    "failed": Metric.RUNS_FAILED,
    "timed_out": Metric.RUNS_FAILED,
    "stopped": Metric.RUNS_FAILED,
}
DAMAGE = "BackupDamagedError"


def run_totals(event: RunEvent) -> tuple[Measure, ...]:
    """Return what counts for the whole stack: alarms watch these, so that one without data has a zero.

    How the restore of a drill ended is the drill's to tell, of which an alarm is enough.
    """
    if event.ended_at is None:
        return ()
    counted = None if is_restore_of_drill(event.run) else _COUNTED[event.status]
    values = {metric: metric == counted for metric in dict.fromkeys(_COUNTED.values())}
    values[Metric.BACKUPS_DAMAGED] = event.error == DAMAGE
    return tuple(Measure(metric, MeasureUnit.COUNT, value) for metric, value in values.items())


def run_measures(event: RunEvent) -> tuple[Measure, ...]:
    """Return what counts for the run's kind and schedule."""
    if event.ended_at is None or event.duration_seconds is None:
        return ()
    found = [
        Measure(_COUNTED[event.status], MeasureUnit.COUNT, 1),
        Measure(Metric.RUN_DURATION, MeasureUnit.SECONDS, event.duration_seconds),
    ]
    # What an incremental backup shares was there, and says nothing of how fast it was.
    is_incremental = event.copied_object_count is not None
    size_bytes = event.copied_size_bytes if is_incremental else event.size_bytes
    object_count = event.copied_object_count if is_incremental else event.object_count
    if event.kind == "backup" and size_bytes is not None:
        found.append(Measure(Metric.COPIED_BYTES, MeasureUnit.BYTES, size_bytes))
    if event.kind == "backup" and object_count and event.duration_seconds > 0:
        rate = object_count / event.duration_seconds
        found.append(Measure(Metric.OBJECTS_PER_SECOND, MeasureUnit.PER_SECOND, rate))
    return tuple(found)


def unpruned_totals(
    backups: Sequence[BackupSummary],
    schedules: Mapping[str, ScheduleTag],
    now: datetime,
    flaws: Mapping[str, str],
) -> tuple[Measure, ...]:
    """Return the age of the oldest backup that no policy keeps and that is still there; zero where there is none.

    It reads only the catalogue, since it deletes nothing; `flaws` says which backups take no other's place.
    """
    found = {backup.name: backup.created_at for backup in backups}
    doomed = [found[decision.name] for decision in decide_all(backups, schedules, now, flaws) if not decision.keep]
    age = now - min(doomed) if doomed else timedelta()
    return (Measure(Metric.OLDEST_UNPRUNED_AGE, MeasureUnit.SECONDS, age.total_seconds()),)
