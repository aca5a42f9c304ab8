"""How long backups wait to be pruned."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from milvus_vault.model.events import Measure, MeasureUnit, Metric
from milvus_vault.model.requests import ScheduleTag
from milvus_vault.model.resources import BackupSummary
from milvus_vault.retention.policy import decide_all


def unpruned_totals(
    backups: Sequence[BackupSummary],
    schedules: Mapping[str, ScheduleTag],
    now: datetime,
    flaws: Mapping[str, str],
) -> tuple[Measure, ...]:
    """Return the age of the oldest backup that no policy keeps and that is still there; zero where there is none.

    It goes by the catalogue, for it only counts; `flaws` says which backups stand in for no other.
    """
    found = {backup.name: backup.created_at for backup in backups}
    doomed = [found[decision.name] for decision in decide_all(backups, schedules, now, flaws) if not decision.keep]
    age = now - min(doomed) if doomed else timedelta()
    return (Measure(Metric.OLDEST_UNPRUNED_AGE, MeasureUnit.SECONDS, age.total_seconds()),)
