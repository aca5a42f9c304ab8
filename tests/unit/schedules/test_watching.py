"""Which schedules are overdue, and that people are told once of each."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from milvus_vault.announcing.measures import unpruned_totals
from milvus_vault.announcing.overdue import OverdueMemory, overdue_totals, schedule_measures, tell_of_overdue
from milvus_vault.errors import ServiceUnavailableError
from milvus_vault.model.events import Metric, Notification
from milvus_vault.model.requests import ScheduleTag
from milvus_vault.model.resources import BackupStatus, BackupSummary
from milvus_vault.model.retention import Retention
from milvus_vault.model.schedules import DrillSuccess, ScheduleKind, StoredSchedule
from milvus_vault.schedules.watching import ScheduleHealth, look_at
from tests.support import fake_scheduler
from tests.support.memory_store import InMemoryObjectStore

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
BUCKET = "backups"


def nightly(
    expression: str = "cron(0 3 * * ? *)",
    *,
    is_enabled: bool = True,
    changed_at: datetime = LONG_AGO,
    kind: ScheduleKind = "backup",
) -> StoredSchedule:
    """Return a schedule."""
    return StoredSchedule("nightly", expression, "UTC", is_enabled, "{}", changed_at, kind)


def backup(begun: datetime, minutes: int = 0, status: BackupStatus = "complete") -> BackupSummary:
    """Return a backup of the schedule that took some minutes."""
    return fake_scheduler.backup("nightly", begun, minutes, status)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """Return a time in May."""
    return datetime(2026, 5, day, hour, minute, tzinfo=UTC)


def health(stored: StoredSchedule, now: datetime, *backups: BackupSummary) -> ScheduleHealth:
    """Return how the one schedule is doing."""
    (found,) = look_at([stored], backups, {}, now)
    return found


def test_a_schedule_whose_newest_backup_is_of_the_newest_firing_is_well() -> None:
    found = health(nightly(), at(5, 12), backup(at(5, 3, 1)))
    assert found == ScheduleHealth("nightly", at(5, 3, 1), timedelta(hours=8, minutes=59), None)


@pytest.mark.parametrize(
    ("now", "overdue_since"),
    [
        # A tenth of a day is 2 h 24 min.
        (at(5, 5, 23), None),
        (at(5, 5, 25), at(5, 3)),
        (at(6, 2, 59), at(5, 3)),
        (at(6, 12), at(6, 3)),
    ],
)
def test_a_daily_backup_may_be_late_by_a_tenth_of_a_day(now: datetime, overdue_since: datetime | None) -> None:
    assert health(nightly(), now, backup(at(4, 3))).overdue_since == overdue_since


def test_backups_that_take_long_are_waited_for_longer() -> None:
    usual = [backup(at(4, 3), minutes=90), backup(at(3, 3), minutes=30)]
    assert health(nightly(), at(5, 6, 50), *usual).overdue_since is None
    assert health(nightly(), at(5, 6, 55), *usual).overdue_since == at(5, 3)


def test_a_backup_each_minute_may_be_half_an_hour_late() -> None:
    each_minute = nightly("rate(1 minute)")
    assert health(each_minute, at(5, 3, 30), backup(at(5, 3))).overdue_since is None
    assert health(each_minute, at(5, 3, 32), backup(at(5, 3))).overdue_since == at(5, 3, 1)


def test_a_partial_backup_is_no_success() -> None:
    found = health(nightly(), at(5, 12), backup(at(5, 3), status="partial"), backup(at(4, 3)))
    assert (found.last_success_at, found.overdue_since) == (at(4, 3), at(5, 3))


def test_a_success_before_many_partial_ones_is_found() -> None:
    partial = [backup(at(5, 3) - timedelta(minutes=number), status="partial") for number in range(20)]
    assert health(nightly(), at(5, 12), *partial, backup(at(1, 3))).last_success_at == at(1, 3)


def test_neither_damaged_backups_nor_those_of_others_are_a_success() -> None:
    damaged = backup(at(5, 3)).model_copy(update={"damage": "its objects are gone"})
    other = backup(at(5, 3)).model_copy(update={"schedule": "weekly"})
    by_hand = backup(at(5, 3)).model_copy(update={"schedule": None})
    assert health(nightly(), at(5, 12), damaged, other, by_hand, backup(at(4, 3))).last_success_at == at(4, 3)


def test_a_schedule_is_not_overdue_for_what_was_before_its_last_change() -> None:
    changed = nightly(changed_at=at(5, 4))
    assert health(changed, at(5, 12)).overdue_since is None
    assert health(changed, at(5, 12)).age == timedelta(hours=8)
    assert health(changed, at(6, 12)).overdue_since == at(6, 3)


def test_a_schedule_that_is_off_is_not_looked_at() -> None:
    assert look_at([nightly(is_enabled=False)], [], {}, at(5, 12)) == ()


def test_an_expression_that_cannot_be_read_hides_no_other() -> None:
    found = look_at([nightly("cron(0 3 * * *)"), nightly()], [], {}, at(5, 12))
    assert [health.name for health in found] == ["nightly"]


def drill_health(now: datetime, *drills: DrillSuccess, backups: Sequence[BackupSummary] = ()) -> ScheduleHealth:
    """Return how a schedule of drills of that name is doing."""
    known = {drill.schedule: drill for drill in drills}
    (found,) = look_at([nightly(kind="drill")], backups, known, now)
    return found


def drill(begun: datetime, minutes: int = 0, schedule: str = "nightly") -> DrillSuccess:
    """Return a drill that succeeded."""
    return DrillSuccess(schedule=schedule, run="drill-1", begun_at=begun, ended_at=begun + timedelta(minutes=minutes))


def test_a_schedule_of_drills_is_well_while_one_of_the_newest_firing_has_succeeded() -> None:
    assert drill_health(at(5, 12), drill(at(5, 3, 1))) == ScheduleHealth(
        "nightly", at(5, 3, 1), timedelta(hours=8, minutes=59), None, "drill"
    )


@pytest.mark.parametrize("drills", [(), (drill(at(4, 3)),), (drill(at(5, 3), schedule="weekly"),)])
def test_a_schedule_of_drills_is_overdue_where_none_has_succeeded_in_time(drills: tuple[DrillSuccess, ...]) -> None:
    # Neither do backups that carry its name count, as before it was made one of drills.
    assert drill_health(at(5, 12), *drills, backups=[backup(at(5, 3))]).overdue_since == at(5, 3)


def test_drills_that_take_long_are_waited_for_longer() -> None:
    usual = drill(at(4, 3), minutes=90)
    assert drill_health(at(5, 6, 50), usual).overdue_since is None
    assert drill_health(at(5, 6, 55), usual).overdue_since == at(5, 3)


def test_a_drill_is_no_success_of_a_schedule_of_backups() -> None:
    (found,) = look_at([nightly()], [], {"nightly": drill(at(5, 3))}, at(5, 12))
    assert (found.overdue_since, found.kind) == (at(5, 3), "backup")


class Told:
    """People who are told, and what is remembered of it."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self.memory = OverdueMemory(InMemoryObjectStore(BUCKET), BUCKET, "team")
        self.heard: list[Notification] = []
        self.is_deaf = False

    def look(self, *found: ScheduleHealth) -> list[str]:
        """Do what happens each quarter of an hour, and return the subjects of what was heard."""
        before = len(self.heard)
        tell_of_overdue(found, self.memory, self.publish, stack="vault", now=at(5, 12))
        return [notification.subject for notification in self.heard[before:]]

    def publish(self, notification: Notification) -> None:
        """Hear something."""
        if self.is_deaf:
            msg = "SNS does not answer"
            raise ServiceUnavailableError(msg)
        self.heard.append(notification)


WELL = ScheduleHealth("nightly", at(5, 3), timedelta(hours=9), None)
OVERDUE = ScheduleHealth("nightly", at(4, 3), timedelta(hours=33), at(5, 3))
NEVER = ScheduleHealth("weekly", None, timedelta(days=9), at(3, 3))


def test_that_a_schedule_is_well_again_is_told_where_what_was_told_before_cannot_be_read() -> None:
    told = Told()
    told.look(OVERDUE)
    (key,) = (found.key for found in told.memory.store.list_objects(BUCKET, "team/"))
    told.memory.store.put(BUCKET, key, b'{"schedule":')
    assert told.look(WELL) == ["[vault] schedule nightly is well again"]
    assert told.look(WELL) == []


def test_of_an_overdue_schedule_people_are_told_once_and_again_when_it_is_well() -> None:
    told = Told()
    assert told.look(WELL) == []
    assert told.look(OVERDUE) == ["[vault] schedule nightly is overdue"]
    assert told.look(OVERDUE) == []
    assert told.look(WELL) == ["[vault] schedule nightly is well again"]
    assert told.look(WELL) == []
    assert told.look(OVERDUE) == ["[vault] schedule nightly is overdue"]


def test_each_overdue_schedule_is_told_of_by_itself() -> None:
    told = Told()
    assert told.look(OVERDUE, NEVER) == ["[vault] schedule nightly is overdue", "[vault] schedule weekly is overdue"]
    assert told.look(WELL, NEVER) == ["[vault] schedule nightly is well again"]


def test_the_message_says_what_is_missing_and_what_there_is() -> None:
    told = Told()
    told.look(OVERDUE, NEVER)
    told.look(WELL, NEVER)
    overdue, never, well = (notification.body for notification in told.heard)
    assert "A complete backup should have begun at 2026-05-05 03:00 UTC or after" in overdue
    assert "Its newest complete backup began on 2026-05-04 03:00 UTC." in overdue
    assert "Its newest complete backup does not exist." in never
    assert "It was overdue since 2026-05-05 03:00 UTC." in well


def test_of_drills_the_message_speaks_of_drills() -> None:
    told = Told()
    told.look(ScheduleHealth("tried", at(4, 3), timedelta(hours=33), at(5, 3), "drill"))
    told.look(ScheduleHealth("tried", at(5, 11), timedelta(hours=1), None, "drill"))
    overdue, well = (notification.body for notification in told.heard)
    assert "A successful drill should have begun at 2026-05-05 03:00 UTC or after" in overdue
    assert "Its newest successful drill began on 2026-05-04 03:00 UTC." in overdue
    assert "Its newest successful drill began on 2026-05-05 11:00 UTC." in well
    assert "backup" not in overdue + well


def test_what_could_not_be_told_is_told_the_next_time() -> None:
    told = Told()
    told.is_deaf = True
    with pytest.raises(ServiceUnavailableError):
        told.look(OVERDUE)
    told.is_deaf = False
    assert told.look(OVERDUE) == ["[vault] schedule nightly is overdue"]


def test_a_schedule_that_is_deleted_or_turned_off_is_forgotten() -> None:
    told = Told()
    told.look(OVERDUE)
    assert told.look() == []
    assert told.memory.names() == []


def test_what_is_found_is_measured() -> None:
    (total,) = overdue_totals([OVERDUE, NEVER, WELL])
    assert (total.metric, total.value) == (Metric.SCHEDULES_OVERDUE, 2)
    (total,) = overdue_totals([])
    assert total.value == 0
    (age,) = schedule_measures(OVERDUE)
    assert (age.metric, age.value) == (Metric.LAST_SUCCESS_AGE, 33 * 3600)


def test_the_oldest_backup_that_no_policy_keeps_is_measured() -> None:
    tags = {"nightly": ScheduleTag(name="nightly", retention=Retention(keep_last=1))}
    newest_first = [
        backup(at(day, 3)).model_copy(update={"name": f"backup_{day}", "schedule": "nightly"}) for day in (5, 4, 3)
    ]
    (age,) = unpruned_totals(newest_first, tags, at(5, 12), {})
    assert (age.metric, age.value) == (Metric.OLDEST_UNPRUNED_AGE, 57 * 3600)
    for kept in (newest_first[:1], [backup(at(1, 3))], []):
        (age,) = unpruned_totals(kept, tags, at(5, 12), {})
        assert age.value == 0
