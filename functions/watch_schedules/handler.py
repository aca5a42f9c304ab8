"""WatchSchedules: every quarter of an hour, see whether backups and drills of all schedules come when they should."""

from datetime import UTC, datetime
from functools import partial

from milvus_vault.adapters.announcements import emit, publish
from milvus_vault.announcing.damage import tell_of_damage
from milvus_vault.announcing.measures import unpruned_totals
from milvus_vault.announcing.overdue import OverdueMemory, overdue_totals, schedule_measures, tell_of_overdue
from milvus_vault.catalogue import Catalogue
from milvus_vault.model.messages import WatchSchedulesRequest, WatchSchedulesResult
from milvus_vault.retention.plan import schedule_policies
from milvus_vault.runtime import task
from milvus_vault.schedules import Schedules
from milvus_vault.schedules.watching import look_at
from milvus_vault.settings import AnnounceSettings, ScheduleSettings, StorageSettings
from milvus_vault.stores import open_store
from milvus_vault.wiring import open_scheduler


@task
def handler(_: WatchSchedulesRequest) -> WatchSchedulesResult:
    """Tell of overdue schedules, and of damage that prunes found. Safe to repeat: what was told is remembered."""
    now = datetime.now(UTC)
    storage, told = StorageSettings.from_env(), AnnounceSettings.from_env()
    store = open_store(storage)
    place = (store, storage.backup_bucket_name, storage.backup_prefix)
    catalogue = Catalogue(*place)
    scheduler = open_scheduler(ScheduleSettings.from_env())
    # A backup counts as a success also where its entry was not written yet.
    backups = list(catalogue.read(catalogue.entries(adopt=True)))
    schedules = Schedules(scheduler, catalogue, lambda: now).stored()
    drills = catalogue.drill_successes({stored.name for stored in schedules if stored.kind == "drill"})
    found = look_at(schedules, backups, drills, now)
    tell = partial(publish, told.alarm_topic_arn)
    tell_of_overdue(found, OverdueMemory(*place), tell, stack=told.stack_name, now=now)
    damaged = tell_of_damage(catalogue, tell, stack=told.stack_name, now=now)
    flaws = {backup.name: backup.damage for backup in backups if backup.damage}
    unpruned = unpruned_totals(backups, schedule_policies(scheduler), now, flaws)
    emit((*overdue_totals(found), *unpruned, *damaged), stack=told.stack_name)
    for health in found:
        emit(schedule_measures(health), stack=told.stack_name, schedule=health.name)
    return WatchSchedulesResult(
        schedule_count=len(found), overdue=tuple(health.name for health in found if health.overdue_since)
    )
