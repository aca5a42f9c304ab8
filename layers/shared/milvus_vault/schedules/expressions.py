"""When a schedule fires: rate and cron expressions of EventBridge Scheduler.

Written here, since the libraries for it fail where it matters: pyawscron knows no time zones, no `L` as a
weekday, and gives up on dates that are years apart.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from milvus_vault.errors import InvalidRequestError, SettingsError
from milvus_vault.model.schedules import StoredSchedule
from milvus_vault.schedules.cron import CronFields, parse_fields
from milvus_vault.timezones import time_zone

_RATE = re.compile(r"rate\(\s*([1-9][0-9]{0,5})\s+(minute|hour|day)s?\s*\)")
_CRON = re.compile(r"cron\((.*)\)")
_END_OF_YEARS = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Rate:
    """A schedule that fires again and again after the same time."""

    interval: timedelta

    def next_after(self, moment: datetime, since: datetime) -> datetime | None:
        """Return the first firing after a moment of a schedule that was last changed at `since`."""
        if moment < since:
            return since + self.interval
        return since + ((moment - since) // self.interval + 1) * self.interval

    def firings_after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the firings after one that was at that moment, as far as there are years for them."""
        while moment <= _END_OF_YEARS - self.interval:
            moment += self.interval
            yield moment

    def newest_due(self, moment: datetime, since: datetime) -> datetime | None:
        """Return the time after which there must have been a firing by that moment; None where none was due yet.

        Scheduler does not say from when on it counts, so this is one interval ago.
        """
        due = moment - self.interval
        return due if due >= since else None

    def interval_at(self, moment: datetime) -> timedelta:  # noqa: ARG002 - a cron's differs
        """Return the time between two firings."""
        return self.interval


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule that fires by the calendar of a time zone.

    As Scheduler has it: a local time that is skipped in spring does not fire, one that comes twice in autumn
    fires once.
    """

    fields: CronFields
    zone: ZoneInfo

    def next_after(self, moment: datetime, since: datetime) -> datetime | None:
        """Return the first firing after a moment, or None where there are no more."""
        return next(self.firings_after(max(moment, since)), None)

    def firings_after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the firings after a moment, as many as there are."""
        return (fires for fires in self._firings(moment, back=False) if fires > moment)

    def newest_due(self, moment: datetime, since: datetime) -> datetime | None:
        """Return the newest firing up to a moment of a schedule that was last changed at `since`."""
        found = next((fires for fires in self._firings(moment, back=True) if fires <= moment), None)
        return found if found is not None and found > since else None

    def interval_at(self, moment: datetime) -> timedelta:
        """Return the time between the firings around a moment; zero where there are no two."""
        before = self.newest_due(moment, datetime.min.replace(tzinfo=UTC))
        after = self.next_after(moment, moment)
        return after - before if before and after else timedelta()

    def _firings(self, moment: datetime, *, back: bool) -> Iterator[datetime]:
        start = moment.astimezone(self.zone).replace(tzinfo=None)
        if back:
            # In the hour that comes twice, a time that was may be later on the clock.
            start += timedelta(days=1)
        for local in self.fields.times(start, back=back):
            fires = local.replace(tzinfo=self.zone).astimezone(UTC)
            if fires.astimezone(self.zone).replace(tzinfo=None) == local:
                yield fires


type Expression = Rate | Cron


def parse_expression(text: str, timezone: str) -> Expression:
    """Return when a schedule fires. Raises `InvalidRequestError`, which says what is wrong."""
    zone = _zone(timezone)
    if found := _RATE.fullmatch(text.strip()):
        return Rate(timedelta(**{f"{found[2]}s": int(found[1])}))
    if found := _CRON.fullmatch(text.strip()):
        try:
            return Cron(parse_fields(found[1]), zone)
        except ValueError as err:
            msg = f"the schedule expression '{text}' is not valid: {err}"
            raise InvalidRequestError(msg, hint="docs/schedules.md explains the fields.") from err
    if text.strip().startswith("at("):
        msg = f"the schedule expression '{text}' would fire once only"
        raise InvalidRequestError(msg, hint="Start a backup at that time, or use cron() with a year.")
    msg = f"the schedule expression '{text}' is neither rate(<number> <unit>) nor cron(<six fields>)"
    raise InvalidRequestError(msg, hint="For example rate(12 hours), or cron(0 3 * * ? *) for every day at 3:00.")


def expression_of(stored: StoredSchedule) -> Expression:
    """Return when a schedule that exists fires. Raises `SettingsError` for an expression that we cannot read."""
    try:
        return parse_expression(stored.expression, stored.timezone)
    except InvalidRequestError as err:
        msg = f"schedule '{stored.name}' cannot be read: {err.message}"
        raise SettingsError(msg, hint=err.hint) from err


def _zone(name: str) -> ZoneInfo:
    zone = time_zone(name)
    if zone is None:
        msg = f"'{name}' is not a time zone"
        raise InvalidRequestError(msg, hint="Use a name of the IANA database, for example Europe/Berlin.")
    return zone
