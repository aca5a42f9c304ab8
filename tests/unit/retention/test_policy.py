"""Which backups are kept: examples, properties, and a model that is written another way."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.model.requests import ScheduleTag
from milvus_vault.model.resources import BackupSummary
from milvus_vault.model.retention import Retention, parse_duration
from milvus_vault.retention.policy import decide, decide_all

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RULES = ("keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")


def backup(
    name: str,
    created_at: datetime,
    *,
    partial: bool = False,
    held: bool = False,
    expires_at: datetime | None = None,
    schedule: str | None = "nightly",
) -> BackupSummary:
    """Return a backup of a schedule."""
    return BackupSummary(
        name=name,
        status="partial" if partial else "complete",
        created_at=created_at,
        finished_at=created_at,
        size_bytes=1,
        object_count=1,
        collection_count=1,
        row_count=1,
        milvus_version="v2.3.5",
        schedule=schedule,
        expires_at=expires_at,
        is_held=held,
    )


def daily(count: int) -> list[BackupSummary]:
    """Return a backup of each day at 3:00, `day_0` today."""
    return [backup(f"day_{n}", NOW.replace(hour=3) - timedelta(days=n)) for n in range(count)]


def kept(backups: Sequence[BackupSummary], retention: Retention | None, timezone: str = "UTC") -> set[str]:
    """Return the names of those that are kept now."""
    return {decision.name for decision in decide(backups, retention, timezone, NOW) if decision.keep}


def reasons(backups: Sequence[BackupSummary], retention: Retention | None) -> list[str]:
    """Return the reasons, newest backup first."""
    return [decision.reason for decision in decide(backups, retention, "UTC", NOW)]


def test_the_last_n_are_kept() -> None:
    assert reasons(daily(4), Retention(keep_last=2)) == [
        "kept: the newest complete one of its schedule",
        "kept: among the last 2",
        "deleted: not among the last 2 and no other rule keeps it",
        "deleted: not among the last 2 and no other rule keeps it",
    ]


@pytest.mark.parametrize("changes", [{"meta_only": True}, {"row_count": 0}])
def test_backups_without_rows_take_places_where_the_schedule_makes_no_others(changes: dict[str, object]) -> None:
    empty = [each.model_copy(update=changes) for each in daily(3)]
    assert reasons(empty, Retention(keep_last=2)) == reasons(daily(3), Retention(keep_last=2))
    assert reasons([*daily(1), *empty[1:]], Retention(keep_last=2))[1].endswith(
        "it takes no place: it holds no rows, and others of its schedule do"
    )


def test_the_newest_of_each_week_is_kept_and_weeks_begin_on_monday() -> None:
    # 2026-11-22 is a Sunday: the days 0 to 6 are of one week.
    assert kept(daily(20), Retention(keep_weekly=2)) == {"day_0", "day_7"}
    assert reasons(daily(8), Retention(keep_weekly=2))[-1] == "kept: newest of week 2026-W46"


def test_a_backup_that_several_rules_want_uses_up_a_place_of_each() -> None:
    assert kept(daily(40), Retention(keep_daily=2, keep_monthly=2)) == {"day_0", "day_1", "day_22"}


def test_days_are_those_of_the_schedules_time_zone() -> None:
    # 23:30 and 00:30 in Berlin are one day in UTC, 22:30 and 23:30.
    backups = [backup("late", NOW.replace(day=20, hour=22, minute=30)), backup("early", NOW.replace(day=20, hour=23))]
    assert kept(backups, Retention(keep_daily=5), "UTC") == {"early"}
    assert kept(backups, Retention(keep_daily=5), "Europe/Berlin") == {"late", "early"}


def test_periods_without_a_backup_use_up_no_place() -> None:
    old = [backup(f"year_{year}", datetime(year, 5, 1, tzinfo=UTC)) for year in (2010, 2018, 2024)]
    assert kept(old, Retention(keep_yearly=2)) == {"year_2024", "year_2018"}


def test_expiry_beats_keep_rules_but_not_the_minimum() -> None:
    retention = Retention(keep_last=10, keep_at_least=2, expire_after="1d")
    backups = daily(5)[1:]
    assert reasons(backups, retention) == [
        "kept: among the newest 2 complete ones of its schedule, although it is older than 1d",
        "kept: among the newest 2 complete ones of its schedule, although it is older than 1d",
        "deleted: it is older than 1d",
        "deleted: it is older than 1d",
    ]


def test_without_keep_rules_nothing_is_deleted_before_it_expires() -> None:
    backups = [*daily(3), backup("partial", NOW - timedelta(days=2), partial=True)]
    assert kept(backups, Retention(expire_after="30d")) == {"day_0", "day_1", "day_2", "partial"}


def test_a_partial_backup_is_kept_until_a_newer_one_is_complete() -> None:
    partial = backup("partial", NOW - timedelta(hours=30), partial=True)
    older, newer = daily(3)[2], daily(1)[0]
    assert kept([partial, older], Retention(keep_last=1)) == {"partial", older.name}
    assert kept([partial, older, newer], Retention(keep_last=2)) == {older.name, newer.name}


def test_only_complete_backups_take_a_place() -> None:
    backups = [*daily(2), *(backup(f"p{n}", NOW - timedelta(minutes=n), partial=True) for n in range(5))]
    assert kept(backups, Retention(keep_last=2)) >= {"day_0", "day_1"}


def test_a_hold_keeps_a_backup_that_every_rule_deletes() -> None:
    held = backup("held", NOW - timedelta(days=900), held=True, expires_at=NOW - timedelta(days=1))
    assert kept([*daily(3), held], Retention(keep_last=1, expire_after="1d")) == {"day_0", "held"}


def test_a_backups_own_expiry_counts_beside_its_schedules_policy() -> None:
    backups = daily(3)
    expired = backups[1].model_copy(update={"expires_at": NOW})
    assert kept([backups[0], expired, backups[2]], Retention(keep_last=3)) == {"day_0", "day_2"}
    assert kept([expired], Retention(keep_last=3)) == {"day_1"}
    assert kept([backups[0], expired, backups[2]], None) == {"day_0", "day_2"}


def test_an_unknown_time_zone_deletes_nothing() -> None:
    assert kept(daily(3), Retention(keep_last=1), "Middle/Earth") == {"day_0", "day_1", "day_2"}


def test_each_schedule_has_its_own_policy() -> None:
    backups = [
        *daily(3),
        *(backup(f"weekly_{n}", NOW - timedelta(days=7 * n), schedule="weekly") for n in range(3)),
        backup("lost", NOW - timedelta(days=5), schedule="removed"),
        backup("lost_and_expired", NOW - timedelta(days=5), schedule="removed", expires_at=NOW - timedelta(days=1)),
        backup("by_hand", NOW - timedelta(days=900), schedule=None),
        backup("by_hand_expired", NOW, schedule=None, expires_at=NOW),
        backup("by_hand_not_yet", NOW, schedule=None, expires_at=NOW + timedelta(seconds=1)),
        backup("by_hand_held", NOW, schedule=None, expires_at=NOW, held=True),
    ]
    schedules = {
        "nightly": ScheduleTag(name="nightly", retention=Retention(keep_last=1)),
        "weekly": ScheduleTag(name="weekly"),
    }
    decisions = {decision.name: decision for decision in decide_all(backups, schedules, NOW)}
    assert {name for name, decision in decisions.items() if not decision.keep} == {
        "day_1",
        "day_2",
        "lost_and_expired",
        "by_hand_expired",
    }
    assert decisions["lost"].reason == "kept: schedule 'removed' does not exist any more, and the backup has no expiry"
    assert decisions["by_hand"].reason == "kept: it belongs to no schedule and has no expiry"
    assert decisions["by_hand_not_yet"].reason == "kept: it expires on 2026-11-22 12:00 UTC"
    assert decisions["weekly_2"].reason == "kept: its schedule has no retention"


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia", "Asia/Kathmandu"])
COUNTS = st.none() | st.integers(1, 6)
RETENTIONS = st.builds(
    lambda rules, at_least, expire: Retention(
        **dict(zip(RULES, rules, strict=True)),
        keep_at_least=at_least,
        expire_after=expire if expire or any(rules) else "9d",
    ),
    st.tuples(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS),
    st.integers(1, 4),
    st.none() | st.sampled_from(["12h", "3d", "2w", "400d"]),
)
# Minutes before now: near ones often, so that days have several; some years, for the long periods.
AGES = st.integers(0, 4 * 1440) | st.integers(0, 60 * 1440) | st.integers(0, 1500 * 1440)


@st.composite
def backup_lists(draw: st.DrawFn) -> list[BackupSummary]:
    """Draw backups of one schedule."""
    ages = draw(st.lists(AGES, max_size=25))
    return [
        backup(
            f"b{number}",
            NOW - timedelta(minutes=age),
            partial=draw(st.sampled_from([False, False, False, True])),
            held=draw(st.sampled_from([False, False, False, False, True])),
            expires_at=draw(st.sampled_from([None, None, None, NOW - timedelta(days=1), NOW + timedelta(days=1)])),
        )
        for number, age in enumerate(ages)
    ]


def period(rule: str, moment: datetime) -> object:
    """Return the period that a moment of local time is in, by subtraction instead of by name."""
    day: date = moment.date()
    match rule:
        case "keep_daily":
            return day
        case "keep_weekly":
            return day - timedelta(days=day.weekday())
        case "keep_monthly":
            return day.replace(day=1)
    return day.year


def test_days_are_those_of_the_rules_of_2026() -> None:
    # Both in the evening of 20 November in Casablanca; by the rules before 2026 the later one is of the 21st.
    evening = [
        backup(name, datetime(2026, 11, 20, hour, 30, tzinfo=UTC)) for name, hour in (("earlier", 20), ("later", 23))
    ]

    assert kept(evening, Retention(keep_daily=5), "Africa/Casablanca") == {"later"}


def model_keeps(  # noqa: C901, PLR0911 - the rules, one after another
    item: BackupSummary, backups: Sequence[BackupSummary], retention: Retention, zone: str
) -> bool:
    """Say of one backup whether it is kept, by asking how many stand before it: without sets, without sorting."""

    def newer(other: BackupSummary) -> bool:
        return (other.created_at, other.name) > (item.created_at, item.name)

    def local(other: BackupSummary) -> datetime:
        return other.created_at.astimezone(ZoneInfo(zone))

    complete_newer = [other for other in backups if other.status == "complete" and newer(other)]
    if item.is_held or (item.status == "complete" and len(complete_newer) < retention.keep_at_least):
        return True
    if item.expires_at and item.expires_at <= NOW:
        return False
    if retention.expire_after and NOW - item.created_at >= parse_duration(retention.expire_after):
        return False
    if not any(getattr(retention, rule) for rule in RULES):
        return True
    if item.status == "partial":
        return not any(other.created_at > item.created_at for other in complete_newer)
    if len(complete_newer) < (retention.keep_last or 0):
        return True
    for rule in RULES[1:]:
        newer_periods = {period(rule, local(other)) for other in complete_newer}
        is_newest = period(rule, local(item)) not in newer_periods
        if is_newest and len(newer_periods) < (getattr(retention, rule) or 0):
            return True
    return False


@given(backup_lists(), RETENTIONS, ZONES)
def test_decisions_are_those_of_the_model(backups: list[BackupSummary], retention: Retention, zone: str) -> None:
    expected = {item.name for item in backups if model_keeps(item, backups, retention, zone)}
    assert kept(backups, retention, zone) == expected


@given(backup_lists(), RETENTIONS, ZONES)
def test_the_newest_complete_ones_and_held_ones_are_never_deleted(
    backups: list[BackupSummary], retention: Retention, zone: str
) -> None:
    complete = sorted((b.created_at, b.name) for b in backups if b.status == "complete")
    found = kept(backups, retention, zone)
    assert {name for _, name in complete[-retention.keep_at_least :]} <= found
    assert {item.name for item in backups if item.is_held} <= found


@given(backup_lists(), RETENTIONS, ZONES, st.randoms())
def test_what_is_damaged_never_deletes_more_and_never_counts(
    backups: list[BackupSummary], retention: Retention, zone: str, random: Random
) -> None:
    flaws = {item.name: "damaged" for item in backups if random.random() < 0.3}
    decisions = decide(backups, retention, zone, NOW, flaws)
    found = {decision.name for decision in decisions if decision.keep}
    sound = [item for item in backups if item.name not in flaws]
    assert found >= kept(backups, retention, zone) | kept(sound, retention, zone)
    newest = sorted(((b.created_at, b.name) for b in sound if b.status == "complete"), reverse=True)
    guards = [name for _, name in newest[: retention.keep_at_least]]
    assert all(list(decision.guards) == guards for decision in decisions if not decision.keep)


@given(backup_lists(), RETENTIONS, ZONES, st.sampled_from([*RULES, "keep_at_least"]), st.integers(1, 5))
def test_to_keep_more_never_deletes_more(
    backups: list[BackupSummary], retention: Retention, zone: str, rule: str, more: int
) -> None:
    # From no keep rule at all to one is another thing: then what no rule wants is deleted before it expires.
    if getattr(retention, rule) is not None:
        larger = retention.model_copy(update={rule: getattr(retention, rule) + more})
        assert kept(backups, retention, zone) <= kept(backups, larger, zone)


@given(backup_lists(), RETENTIONS, ZONES)
def test_to_decide_again_on_what_is_kept_deletes_nothing(
    backups: list[BackupSummary], retention: Retention, zone: str
) -> None:
    first = kept(backups, retention, zone)
    assert kept([item for item in backups if item.name in first], retention, zone) == first


@given(backup_lists(), RETENTIONS, ZONES, st.randoms())
def test_the_order_does_not_matter_and_each_gets_one_reason(
    backups: list[BackupSummary], retention: Retention, zone: str, random: Random
) -> None:
    decisions = decide(backups, retention, zone, NOW)
    shuffled = list(backups)
    random.shuffle(shuffled)
    assert decide(shuffled, retention, zone, NOW) == decisions
    assert sorted(decision.name for decision in decisions) == sorted(item.name for item in backups)
    assert all(d.reason.startswith("kept: " if d.keep else "deleted: ") for d in decisions)


@pytest.mark.parametrize("number", range(1, 8))
def test_a_backup_a_minute_with_keep_last_holds_at_that_number(number: int) -> None:
    held: list[BackupSummary] = []
    for minute in range(20):
        held.append(backup(f"b{minute}", NOW + timedelta(minutes=minute)))
        names = kept(held, Retention(keep_last=number))
        held = [item for item in held if item.name in names]
        assert len(held) == min(number, minute + 1)
