"""The fields of a cron expression, as EventBridge Scheduler reads them: `minutes hours days months weekdays years`."""

import calendar
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {"SUN": 1, "MON": 2, "TUE": 3, "WED": 4, "THU": 5, "FRI": 6, "SAT": 7}
_SATURDAY = 7
_LAST_WEEK = 5

# The days of a month (year, month) that a field names.
type DayRule = Callable[[int, int], Iterable[int]]


@dataclass(frozen=True, slots=True)
class CronFields:
    """What a cron expression matches: local times, whatever the time zone."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[DayRule, ...]
    months: tuple[int, ...]
    years: tuple[int, ...]

    def times(self, start: datetime, *, back: bool = False) -> Iterator[datetime]:
        """Yield the matching local times from `start` on, or back from it, in order, up to the year 2199 or 1970."""

        def beyond(*parts: int) -> bool:
            here = start.timetuple()[: len(parts)]
            return parts > here if back else parts < here

        for year in sorted(self.years, reverse=back):
            for month in sorted(self.months, reverse=back):
                if beyond(year, month):
                    continue
                for day in sorted(self._days_of(year, month), reverse=back):
                    if not beyond(year, month, day):
                        yield from (
                            datetime(year, month, day, hour, minute)  # noqa: DTZ001 - the caller knows the zone
                            for hour in sorted(self.hours, reverse=back)
                            for minute in sorted(self.minutes, reverse=back)
                            if not beyond(year, month, day, hour, minute)
                        )

    def _days_of(self, year: int, month: int) -> set[int]:
        length = calendar.monthrange(year, month)[1]
        return {day for rule in self.days for day in rule(year, month) if 1 <= day <= length}


def parse_fields(text: str) -> CronFields:
    """Return the fields of what stands between the brackets of `cron(...)`.

    Raises `ValueError`, which says what is wrong with which field.
    """
    fields = text.upper().split()
    if len(fields) != 6:  # noqa: PLR2004 - the sentence says it
        msg = f"cron takes 6 fields (minutes hours day-of-month month day-of-week year), and this has {len(fields)}"
        raise ValueError(msg)
    minutes, hours, days, months, weekdays, years = fields
    if (days == "?") == (weekdays == "?"):
        msg = "one of day-of-month and day-of-week must be '?', and the other one not"
        raise ValueError(msg)
    return CronFields(
        minutes=_numbers("minutes", minutes, 0, 59),
        hours=_numbers("hours", hours, 0, 23),
        days=_month_days(days) if weekdays == "?" else _week_days(weekdays),
        months=_numbers("month", months, 1, 12, _MONTHS),
        years=_numbers("year", years, 1970, 2199),
    )


def _numbers(field: str, text: str, low: int, high: int, names: Mapping[str, int] | None = None) -> tuple[int, ...]:
    return tuple(sorted({number for item in text.split(",") for number in _range(field, item, low, high, names or {})}))


def _range(field: str, item: str, low: int, high: int, names: Mapping[str, int]) -> range:
    """Return the numbers of `*`, `n`, `n-m`, and each of them with `/step`."""
    span, has_step, step_text = item.partition("/")
    step = _number(field, step_text, 1, high, {}) if has_step else 1
    if span == "*":
        return range(low, high + 1, step)
    first_text, has_last, last_text = span.partition("-")
    first = _number(field, first_text, low, high, names)
    if has_last:
        last = _number(field, last_text, low, high, names)
        if last < first:
            msg = f"{field}: '{item}' runs backwards"
            raise ValueError(msg)
    else:
        last = high if has_step else first
    return range(first, last + 1, step)


def _number(field: str, text: str, low: int, high: int, names: Mapping[str, int]) -> int:
    value = names.get(text, int(text) if text.isascii() and text.isdigit() else None)
    if value is None or not low <= value <= high:
        msg = f"{field}: '{text}' is not between {low} and {high}"
        raise ValueError(msg)
    return value


def _month_days(text: str) -> tuple[DayRule, ...]:
    return tuple(_month_day(item) for item in text.split(","))


def _month_day(item: str) -> DayRule:
    """Return the rule of `L`, `L-3`, `LW`, `15W` or of plain numbers."""
    if item == "LW":
        return lambda year, month: [_nearest_weekday(year, month, _length(year, month))]
    if item.startswith("L"):
        before = _number("day-of-month", item[2:], 1, 30, {}) if item != "L" and item[1] == "-" else 0
        if item not in {"L", f"L-{item[2:]}"}:
            msg = f"day-of-month: '{item}' is none of L, LW and L-<number>"
            raise ValueError(msg)
        return lambda year, month: [_length(year, month) - before]
    if item.endswith("W"):
        wanted = _number("day-of-month", item[:-1], 1, 31, {})
        return lambda year, month: [_nearest_weekday(year, month, wanted)] if wanted <= _length(year, month) else []
    days = _range("day-of-month", item, 1, 31, {})
    return lambda year, month: days  # noqa: ARG005


def _week_days(text: str) -> tuple[DayRule, ...]:
    return tuple(_week_day(item) for item in text.split(","))


def _week_day(item: str) -> DayRule:
    """Return the rule of `L` (Saturday), `FRIL` (the last Friday), `TUE#2` (the second Tuesday) or plain weekdays."""
    field = "day-of-week"
    if item == "L":
        return lambda year, month: _days_on(year, month, {_SATURDAY})
    if item.endswith("L"):
        weekday = _number(field, item[:-1], 1, 7, _WEEKDAYS)
        return lambda year, month: _days_on(year, month, {weekday})[-1:]
    if "#" in item:
        weekday_text, _, nth_text = item.partition("#")
        wanted, nth = _number(field, weekday_text, 1, 7, _WEEKDAYS), _number(field, nth_text, 1, _LAST_WEEK, {})
        return lambda year, month: _days_on(year, month, {wanted})[nth - 1 : nth]
    weekdays = set(_range(field, item, 1, 7, _WEEKDAYS))
    return lambda year, month: _days_on(year, month, weekdays)


def _length(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def _weekday(year: int, month: int, day: int) -> int:
    """Return a day's number in the week: 1 is Sunday."""
    return (calendar.weekday(year, month, day) + 1) % 7 + 1


def _days_on(year: int, month: int, weekdays: set[int]) -> list[int]:
    return [day for day in range(1, _length(year, month) + 1) if _weekday(year, month, day) in weekdays]


def _nearest_weekday(year: int, month: int, day: int) -> int:
    """Return the day from Monday to Friday that is nearest to a day, in the same month."""
    working = [d for d in range(1, _length(year, month) + 1) if _weekday(year, month, d) not in {1, _SATURDAY}]
    # A Saturday's neighbour is the Friday before, a Sunday's the Monday after: never two equally near ones.
    return min(working, key=lambda other: abs(other - day))
