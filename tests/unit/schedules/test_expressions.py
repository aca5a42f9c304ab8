"""When schedules fire: what EventBridge Scheduler documents, and what holds for every expression."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.errors import InvalidRequestError
from milvus_vault.schedules.expressions import Cron, parse_expression

# A Thursday.
START = datetime(2026, 1, 1, 0, 0, tzinfo=UTC)


def firings(expression: str, count: int, *, zone: str = "UTC", start: datetime = START) -> list[str]:
    """Return the next firings in local time."""
    parsed, found, moment = parse_expression(expression, zone), [], start
    for _ in range(count):
        fires = parsed.next_after(moment, start)
        if fires is None:
            break
        found.append(f"{fires.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}")
        moment = fires
    return found


# The examples of "Schedule types on EventBridge Scheduler" and of "Cron expressions" of EventBridge, from 2026 on.
EXAMPLES = {
    "cron(15 10 ? * 6L 2026-2027)": ["2026-01-30 10:15", "2026-02-27 10:15"],
    "cron(0 10 * * ? *)": ["2026-01-01 10:00", "2026-01-02 10:00"],
    "cron(15 12 * * ? *)": ["2026-01-01 12:15", "2026-01-02 12:15"],
    "cron(0 18 ? * MON-FRI *)": ["2026-01-01 18:00", "2026-01-02 18:00", "2026-01-05 18:00"],
    "cron(0 8 1 * ? *)": ["2026-01-01 08:00", "2026-02-01 08:00"],
    "cron(0/15 * * * ? *)": ["2026-01-01 00:15", "2026-01-01 00:30", "2026-01-01 00:45", "2026-01-01 01:00"],
    "cron(0/10 * ? * MON-FRI *)": ["2026-01-01 00:10", "2026-01-01 00:20"],
    "cron(0/5 8-17 ? * MON-FRI *)": ["2026-01-01 08:00", "2026-01-01 08:05"],
    "cron(0 9 ? * 2#1 *)": ["2026-01-05 09:00", "2026-02-02 09:00", "2026-03-02 09:00"],
    "rate(5 minutes)": ["2026-01-01 00:05", "2026-01-01 00:10"],
    "rate(1 hour)": ["2026-01-01 01:00", "2026-01-01 02:00"],
    "rate(7 days)": ["2026-01-08 00:00", "2026-01-15 00:00"],
}
MORE = {
    "cron(0 3 L * ? *)": ["2026-01-31 03:00", "2026-02-28 03:00"],
    "cron(0 3 L-3 2 ? *)": ["2026-02-25 03:00", "2027-02-25 03:00", "2028-02-26 03:00"],
    "cron(0 3 LW 2 ? *)": ["2026-02-27 03:00", "2027-02-26 03:00"],
    "cron(0 3 15W 2,3 ? *)": ["2026-02-16 03:00", "2026-03-16 03:00"],
    # The 1st is a Sunday in February and in March, and its nearest weekday is in the same month.
    "cron(0 3 1W 2-8 ? *)": ["2026-02-02 03:00", "2026-03-02 03:00", "2026-04-01 03:00", "2026-05-01 03:00"],
    "cron(0 3 31W * ? 2026)": ["2026-01-30 03:00", "2026-03-31 03:00", "2026-05-29 03:00", "2026-07-31 03:00"],
    "cron(0 3 ? * L *)": ["2026-01-03 03:00", "2026-01-10 03:00"],
    "cron(0 3 ? * friL *)": ["2026-01-30 03:00", "2026-02-27 03:00"],
    "cron(0 3 ? * TUE#5 *)": ["2026-03-31 03:00", "2026-06-30 03:00"],
    "cron(0 3 ? * 1,SAT *)": ["2026-01-03 03:00", "2026-01-04 03:00", "2026-01-10 03:00"],
    "cron(5,50 */12 10-11 jan-FEB ? *)": ["2026-01-10 00:05", "2026-01-10 00:50", "2026-01-10 12:05"],
    "cron(0 0 1/10 * ? *)": ["2026-01-11 00:00", "2026-01-21 00:00", "2026-01-31 00:00", "2026-02-01 00:00"],
    # Eight years between two of them, and none in 2100.
    "cron(0 0 29 2 ? 2096-2199)": ["2096-02-29 00:00", "2104-02-29 00:00"],
    "cron(0 0 1 1 ? 2027/50)": ["2027-01-01 00:00", "2077-01-01 00:00", "2127-01-01 00:00"],
    "cron(0 0 30 2 ? *)": [],
    "cron(0 0 1 1 ? 2025)": [],
}
WRONG = {
    "cron(0/30 20-2 * * ? *)": "'20-2' runs backwards",
    "cron(0 0 29 2 ? 2096-2200/1)": "year: '2200' is not between 1970 and 2199",
    "cron(0 3 * * *)": "cron takes 6 fields",
    "cron(0 3 * * * *)": "must be '?'",
    "cron(0 3 ? * ? *)": "must be '?'",
    "cron(60 3 * * ? *)": "minutes: '60' is not between 0 and 59",
    "cron(0 24 * * ? *)": "hours: '24'",
    "cron(0 3 0 * ? *)": "day-of-month: '0'",
    "cron(0 3 LL * ? *)": "day-of-month: 'LL'",
    "cron(0 3 L-31 * ? *)": "day-of-month: '31'",
    "cron(0 3 W * ? *)": "day-of-month: ''",
    "cron(0 3 ? * MON#6 *)": "day-of-week: '6'",
    "cron(0 3 ? * XXL *)": "day-of-week: 'XX'",
    "cron(0 3 ? FOO * *)": "month: 'FOO'",
    "cron(0/0 3 * * ? *)": "minutes: '0' is not between 1 and 59",
    "cron(², 3 * * ? *)": "minutes: '²'",
    "rate(0 minutes)": "neither rate",
    "rate(1 week)": "neither rate",
    "rate(999999999 days)": "neither rate",
    "at(2026-12-01T03:00:00)": "would fire once only",
    "daily": "neither rate",
    "": "neither rate",
}


@pytest.mark.parametrize(("expression", "expected"), [*EXAMPLES.items(), *MORE.items()])
def test_an_expression_fires_when_aws_says(expression: str, expected: list[str]) -> None:
    assert firings(expression, max(len(expected), 1)) == expected


@pytest.mark.parametrize(("expression", "reason"), WRONG.items())
def test_what_is_no_expression_is_refused_with_its_reason(expression: str, reason: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_expression(expression, "UTC")
    assert reason in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "Europe", "../etc/passwd", "/etc/localtime", "UTC\0"])
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not a time zone"):
        parse_expression("rate(1 day)", zone)


def test_a_schedule_fires_at_the_local_time_of_its_zone_in_summer_and_in_winter() -> None:
    parsed = parse_expression("cron(0 3 * * ? *)", "Europe/Berlin")
    assert parsed.next_after(datetime(2026, 1, 10, tzinfo=UTC), START) == datetime(2026, 1, 10, 2, 0, tzinfo=UTC)
    assert parsed.next_after(datetime(2026, 7, 10, tzinfo=UTC), START) == datetime(2026, 7, 10, 1, 0, tzinfo=UTC)


def test_a_local_time_that_spring_skips_does_not_fire() -> None:
    start = datetime(2026, 3, 7, 12, 0, tzinfo=UTC)
    expected = ["2026-03-09 02:30", "2026-03-10 02:30"]
    assert firings("cron(30 2 * * ? *)", 2, zone="America/New_York", start=start) == expected


def test_a_local_time_that_comes_twice_in_autumn_fires_once() -> None:
    parsed = parse_expression("cron(30 1 * * ? *)", "America/New_York")
    first = parsed.next_after(datetime(2026, 11, 1, 0, 0, tzinfo=UTC), START)
    assert first == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert parsed.next_after(first, START) == datetime(2026, 11, 2, 6, 30, tzinfo=UTC)
    # In between, the clock shows 1:30 a second time.
    second_time = datetime(2026, 11, 1, 6, 40, tzinfo=UTC)
    assert parsed.newest_due(second_time, START) == first
    assert parsed.next_after(second_time, START) == datetime(2026, 11, 2, 6, 30, tzinfo=UTC)


def test_a_rate_of_a_day_is_24_hours_when_the_clocks_change() -> None:
    start = datetime(2026, 3, 7, 12, 0, tzinfo=UTC)
    assert firings("rate(1 day)", 2, zone="America/New_York", start=start) == ["2026-03-08 08:00", "2026-03-09 08:00"]


def test_what_is_due_is_the_newest_firing_since_the_last_change() -> None:
    parsed = parse_expression("cron(0 3 * * ? *)", "UTC")
    noon = datetime(2026, 5, 5, 12, 0, tzinfo=UTC)
    assert parsed.newest_due(noon, START) == datetime(2026, 5, 5, 3, 0, tzinfo=UTC)
    assert parsed.newest_due(noon, datetime(2026, 5, 5, 11, 0, tzinfo=UTC)) is None
    assert parsed.interval_at(noon) == timedelta(days=1)


def test_of_a_rate_one_interval_must_have_passed_before_anything_is_due() -> None:
    parsed = parse_expression("rate(6 hours)", "UTC")
    assert parsed.newest_due(START + timedelta(hours=5), START) is None
    assert parsed.newest_due(START + timedelta(hours=7), START) == START + timedelta(hours=1)
    assert parsed.interval_at(START) == timedelta(hours=6)


def test_the_interval_of_a_schedule_that_fires_once_is_zero() -> None:
    assert parse_expression("cron(0 0 1 1 ? 2027)", "UTC").interval_at(START) == timedelta()


def number_field(low: int, high: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """Return fields of numbers with what they match."""
    numbers = st.integers(low, high)
    everything = frozenset(range(low, high + 1))
    lists = st.frozensets(numbers, min_size=1, max_size=4).map(lambda s: (",".join(map(str, s)), s))
    ranges = st.tuples(numbers, numbers).map(
        lambda pair: (f"{min(pair)}-{max(pair)}", frozenset(range(min(pair), max(pair) + 1)))
    )
    steps = st.tuples(numbers, st.integers(1, high)).map(
        lambda pair: (f"{pair[0]}/{pair[1]}", frozenset(range(pair[0], high + 1, pair[1])))
    )
    return st.one_of(st.just(("*", everything)), lists, ranges, steps)


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2150, 1, 1)).map(lambda naive: naive.replace(tzinfo=UTC))  # noqa: DTZ001


@given(
    minutes=number_field(0, 59),
    hours=number_field(0, 23),
    days=number_field(1, 31),
    months=number_field(1, 12),
    by_weekday=st.booleans(),
    weekdays=number_field(1, 7),
    zone=ZONES,
    moment=MOMENTS,
)
def test_the_next_firing_is_later_matches_every_field_and_nothing_between_does(
    minutes: tuple[str, frozenset[int]],
    hours: tuple[str, frozenset[int]],
    days: tuple[str, frozenset[int]],
    months: tuple[str, frozenset[int]],
    by_weekday: bool,
    weekdays: tuple[str, frozenset[int]],
    zone: str,
    moment: datetime,
) -> None:
    days_text, weekdays_text = ("?", weekdays[0]) if by_weekday else (days[0], "?")
    parsed = parse_expression(f"cron({minutes[0]} {hours[0]} {days_text} {months[0]} {weekdays_text} *)", zone)
    assert isinstance(parsed, Cron)

    def matches(when: datetime) -> bool:
        local = when.astimezone(ZoneInfo(zone))
        right_day = local.isoweekday() % 7 + 1 in weekdays[1] if by_weekday else local.day in days[1]
        right_time = local.minute in minutes[1] and local.hour in hours[1] and local.second == 0
        return right_day and right_time and local.month in months[1] and local.fold == 0

    found = parsed.next_after(moment, moment)
    if found is None:
        # Only a day that no month has can be missing for ever.
        assert not by_weekday
        assert all(day > 29 for day in days[1])
        return
    assert found > moment
    assert matches(found)
    assert parsed.newest_due(found, datetime.min.replace(tzinfo=UTC)) == found
    # Every minute of the day before it, since the moment.
    minute = found - timedelta(minutes=1)
    while minute > max(moment, found - timedelta(days=1)):
        assert not matches(minute)
        minute -= timedelta(minutes=1)


@given(every=st.integers(1, 5000), unit=st.sampled_from(["minute", "hour", "day"]), moment=MOMENTS, age=st.integers(0))
def test_a_rate_fires_in_equal_steps(every: int, unit: str, moment: datetime, age: int) -> None:
    parsed = parse_expression(f"rate({every} {unit}s)", "UTC")
    since = moment - timedelta(seconds=age % (10 * 365 * 86400))
    fires = [moment]
    for _ in range(3):
        following = parsed.next_after(fires[-1], since)
        assert following is not None
        fires.append(following)
    step = timedelta(**{f"{unit}s": every})
    assert moment < fires[1] <= moment + step
    assert [later - earlier for earlier, later in pairwise(fires[1:])] == [step, step]


def test_fires_by_the_rules_of_2026() -> None:
    # British Columbia stays on summer time: 3:00 is 10:00 UTC, not 11:00.
    parsed = parse_expression("cron(0 3 * * ? *)", "America/Vancouver")

    fires = parsed.next_after(datetime(2026, 11, 28, tzinfo=UTC), START)

    assert fires == datetime(2026, 11, 28, 10, tzinfo=UTC)
