"""Which backups are kept, and why. Pure: the same backups, policies and time give the same decisions.

docs/retention.md explains the rules with examples.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo

from milvus_vault.model.base import Model
from milvus_vault.model.requests import ScheduleTag
from milvus_vault.model.resources import BackupSummary
from milvus_vault.model.retention import Retention, parse_duration
from milvus_vault.model.times import utc_minute
from milvus_vault.timezones import time_zone


class Decision(Model):
    """What is to become of a backup."""

    name: str
    keep: bool
    reason: str
    """`kept: ...` or `deleted: ...`, for people."""
    guards: tuple[str, ...] = ()
    """Where it is deleted for there are better ones: those that must be there for it."""


# How a rule names the period of a local time, e.g. `week 2026-W47`. Sorted as text, the newest period is last.
_PERIODS: dict[str, Callable[[datetime], str]] = {
    "keep_daily": lambda local: f"day {local:%Y-%m-%d}",
    "keep_weekly": lambda local: f"week {local:%G-W%V}",
    "keep_monthly": lambda local: f"month {local:%Y-%m}",
    "keep_yearly": lambda local: f"year {local:%Y}",
}


def decide_all(
    backups: Iterable[BackupSummary],
    schedules: Mapping[str, ScheduleTag],
    now: datetime,
    flaws: Mapping[str, str] = MappingProxyType({}),
) -> list[Decision]:
    """Return a decision for each backup, given the schedules that exist, by name.

    `flaws` says of backups, by name, why they could not be restored: no other one is deleted in their favour.
    """
    groups: dict[str | None, list[BackupSummary]] = {}
    for backup in backups:
        groups.setdefault(backup.schedule, []).append(backup)
    decisions: list[Decision] = []
    for name, group in groups.items():
        if name is None:
            decisions += [
                _by_own_expiry(backup, now, "it belongs to no schedule and has no expiry") for backup in group
            ]
        elif name not in schedules:
            why = f"schedule '{name}' does not exist any more, and the backup has no expiry"
            decisions += [_by_own_expiry(backup, now, why) for backup in group]
        else:
            decisions += decide(group, schedules[name].retention, schedules[name].timezone, now, flaws)
    return decisions


def decide(
    backups: Sequence[BackupSummary],
    retention: Retention | None,
    timezone: str,
    now: datetime,
    flaws: Mapping[str, str] = MappingProxyType({}),
) -> list[Decision]:
    """Return a decision for each backup of one schedule, newest first; its days are those of the time zone."""
    newest_first = sorted(backups, key=lambda backup: (backup.created_at, backup.name), reverse=True)
    zone = time_zone(timezone)
    if zone is None:
        reason = f"kept: '{timezone}', the time zone of its schedule, is not known"
        return [Decision(name=backup.name, keep=True, reason=reason) for backup in newest_first]
    rules = _Rules(newest_first, retention, zone, now, flaws)
    return [rules.decide(backup) for backup in newest_first]


def _banned(backup: BackupSummary, now: datetime) -> str:
    """Return what forbids to delete a backup, whatever its policy; empty: nothing does."""
    if backup.is_held:
        return "it has a hold"
    if backup.lock is not None and backup.lock.lasts_at(now):
        return f"it is locked until {utc_minute(backup.lock.until)}"
    return ""


def _by_own_expiry(backup: BackupSummary, now: datetime, why_else: str) -> Decision:
    if ban := _banned(backup, now):
        return Decision(name=backup.name, keep=True, reason=f"kept: {ban}")
    if backup.expires_at is None:
        return Decision(name=backup.name, keep=True, reason=f"kept: {why_else}")
    if backup.expires_at <= now:
        return Decision(name=backup.name, keep=False, reason=f"deleted: it expired on {utc_minute(backup.expires_at)}")
    return Decision(name=backup.name, keep=True, reason=f"kept: it expires on {utc_minute(backup.expires_at)}")


class _Rules:
    """The rules of one schedule, applied to all of its backups."""

    def __init__(
        self,
        newest_first: Sequence[BackupSummary],
        retention: Retention | None,
        zone: ZoneInfo,
        now: datetime,
        flaws: Mapping[str, str],
    ) -> None:
        self._retention = retention
        self._now = now
        self._flaws = {**flaws, **_empty_ones([b for b in newest_first if b.name not in flaws])}
        complete = [backup for backup in newest_first if backup.status == "complete"]
        sound = [backup for backup in complete if backup.name not in self._flaws]
        self._newest_sound = sound[0] if sound else None
        # Without any policy the minimum is 1: the newest backup of a schedule stays.
        self._minimum = retention.keep_at_least if retention else 1
        self._guards = tuple(backup.name for backup in sound[: self._minimum])
        # A flaw may be a false alarm. So it gives others a place, and takes none away: what has a place among all is
        # kept like what has one among the sound.
        self._at_least = {*self._guards, *(backup.name for backup in complete[: self._minimum])}
        self._wanted: dict[str, str] | None = None
        if retention:
            self._wanted = _wanted(sound, retention, zone)
            if self._wanted is not None and len(sound) < len(complete):
                self._wanted = (_wanted(complete, retention, zone) or {}) | self._wanted

    def decide(self, backup: BackupSummary) -> Decision:
        keep, why = self._decide(backup)
        if keep and backup.name in self._flaws:
            why = f"{why}; it takes no place: {self._flaws[backup.name]}"
        guards = () if keep else self._guards
        return Decision(name=backup.name, keep=keep, reason=f"{'kept' if keep else 'deleted'}: {why}", guards=guards)

    def _decide(self, backup: BackupSummary) -> tuple[bool, str]:  # noqa: PLR0911 - one for each reason
        if ban := _banned(backup, self._now):
            return True, ban
        expiry = self._expired(backup)
        if backup.name in self._at_least:
            which = (
                "the newest complete one" if self._minimum == 1 else f"among the newest {self._minimum} complete ones"
            )
            return True, f"{which} of its schedule{f', although {expiry}' if expiry else ''}"
        if expiry:
            return False, expiry
        if self._retention is None:
            return True, "its schedule has no retention"
        if self._wanted is None:
            return True, "no rule but expiry deletes it, and it has not expired"
        if backup.status == "partial":
            return self._decide_partial(backup)
        if backup.name in self._wanted:
            return True, self._wanted[backup.name]
        last = f"not among the last {self._retention.keep_last} and " if self._retention.keep_last else ""
        return False, f"{last}no other rule keeps it" if last else "no rule keeps it"

    def _decide_partial(self, backup: BackupSummary) -> tuple[bool, str]:
        newest = self._newest_sound
        if newest is not None and newest.created_at > backup.created_at:
            return False, f"it is partial, and {newest.name} is newer and complete"
        return True, "it is partial, and there is no newer complete one"

    def _expired(self, backup: BackupSummary) -> str:
        """Return why a backup has expired, or an empty text."""
        if backup.expires_at is not None and backup.expires_at <= self._now:
            return f"it expired on {utc_minute(backup.expires_at)}"
        after = self._retention.expire_after if self._retention else None
        # Not the time at which it expires: with 1,900 years there may be none.
        if after is not None and self._now - backup.created_at >= parse_duration(after):
            return f"it is older than {after}"
        return ""


def _empty_ones(backups: Sequence[BackupSummary]) -> dict[str, str]:
    """Return which backups hold no rows, where others of their schedule do: these are not to be driven out by them."""
    empty = {backup.name for backup in backups if backup.meta_only or not backup.row_count}
    is_alike = not any(backup.name not in empty for backup in backups)
    return {} if is_alike else dict.fromkeys(empty, "it holds no rows, and others of its schedule do")


def _wanted(complete: Sequence[BackupSummary], retention: Retention, zone: ZoneInfo) -> dict[str, str] | None:
    """Return the backups that a `keep_` rule wants, with the reason; None where there is no such rule."""
    if not any(getattr(retention, rule) for rule in ("keep_last", *_PERIODS)):
        return None
    wanted: dict[str, str] = {}
    for backup in complete[: retention.keep_last or 0]:
        wanted[backup.name] = f"among the last {retention.keep_last}"
    for rule, period_of in _PERIODS.items():
        # Of the periods that have a backup at all: a week without any does not use up a place.
        newest: dict[str, str] = {}
        for backup in complete:
            newest.setdefault(period_of(backup.created_at.astimezone(zone)), backup.name)
        for period in sorted(newest, reverse=True)[: getattr(retention, rule) or 0]:
            wanted.setdefault(newest[period], f"newest of {period}")
    return wanted
