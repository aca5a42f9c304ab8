"""What can be done with schedules."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from pydantic import ValidationError

from milvus_vault.errors import (
    InvalidRequestError,
    ScheduleManagedError,
    ScheduleNotFoundError,
    SettingsError,
    did_you_mean,
)
from milvus_vault.model.requests import BackupRequest, DrillRequest, ScheduleTag
from milvus_vault.model.resources import BackupSummary, Page, Schedule, ScheduleSpec
from milvus_vault.model.schedules import DrillSuccess, StoredSchedule
from milvus_vault.model.words import wrong_fields
from milvus_vault.paging import fitting
from milvus_vault.ports import Scheduler
from milvus_vault.schedules.expressions import expression_of, parse_expression

DEPLOYED = "deployed"
"""The schedule that the stack's parameters describe. Only a deployment changes it."""


class Successes(Protocol):
    """The catalogue, as far as schedules use it."""

    def newest_complete(self, schedules: Collection[str]) -> Mapping[str, BackupSummary]:
        """Return the newest backup of each of these schedules that is complete and not known to be damaged."""

    def drill_successes(self, schedules: Collection[str]) -> Mapping[str, DrillSuccess]:
        """Return the newest drill of each of these schedules that succeeded."""


class Schedules:
    """The schedules of a stack.

    Every method raises `ServiceUnavailableError` and `ServiceRequestError`. A schedule whose input or expression cannot
    be read is told with what is wrong with it.
    """

    def __init__(self, scheduler: Scheduler, successes: Successes, clock: Callable[[], datetime]) -> None:
        """Take where they are kept, what knows their backups, and what says how late it is (UTC)."""
        self._scheduler = scheduler
        self._successes = successes
        self._clock = clock

    def list(self, limit: int, token: str | None = None) -> Page[Schedule]:
        """Return a page of schedules by name, no more than an answer can hold.

        `token` is the name that the page before ended with.
        """
        names = [name for name in sorted(self._scheduler.names()) if token is None or name > token]
        page = names[:limit]
        # One that was deleted since the names were listed is left out.
        items = self._describe([stored for name in page if (stored := self._scheduler.find(name))])
        if (count := fitting(items)) < len(items):
            return Page(items=items[:count], next_token=items[count - 1].name)
        return Page(items=items, next_token=page[-1] if len(names) > limit else None)

    def get(self, name: str) -> Schedule:
        """Return a schedule. Raises `ScheduleNotFoundError`."""
        stored = self._scheduler.find(name)
        if stored is None:
            raise self._not_found(name)
        (described,) = self._describe([stored])
        return described

    def put(self, name: str, spec: ScheduleSpec) -> Schedule:
        """Create a schedule or change it, and return it.

        Where nothing differs nothing is written, so that a rate goes on counting. Raises `InvalidRequestError`, and
        `ScheduleManagedError` for the one that comes from the stack.
        """
        _check_unmanaged(name)
        parse_expression(spec.expression, spec.timezone)
        wanted = StoredSchedule(
            name=name,
            expression=spec.expression,
            timezone=spec.timezone,
            is_enabled=spec.enabled,
            request=_input_of(name, spec),
            changed_at=self._clock(),
            kind="drill" if spec.drill else "backup",
        )
        stored = self._scheduler.find(name)
        if stored is None or replace(wanted, changed_at=stored.changed_at) != stored:
            self._scheduler.put(
                name,
                kind=wanted.kind,
                expression=wanted.expression,
                timezone=wanted.timezone,
                is_enabled=wanted.is_enabled,
                request=wanted.request,
            )
        return self.get(name)

    def exists(self, name: str) -> bool:
        """Return whether there is a schedule of that name, whatever it does."""
        return self._scheduler.find(name) is not None

    def delete(self, name: str) -> None:
        """Delete a schedule; its backups stay. Raises `ScheduleNotFoundError` and `ScheduleManagedError`."""
        _check_unmanaged(name)
        if not self._scheduler.delete(name):
            raise self._not_found(name)

    def near(self, name: str) -> str:
        """Return what a hint asks of a schedule that is not there: whether a near one was meant; nothing if none is."""
        return did_you_mean(name, self._scheduler.names())

    def stored(self) -> tuple[StoredSchedule, ...]:
        """Return all schedules as Scheduler keeps them, by name."""
        found = [self._scheduler.find(name) for name in sorted(self._scheduler.names())]
        return tuple(stored for stored in found if stored)

    def _not_found(self, name: str) -> ScheduleNotFoundError:
        return ScheduleNotFoundError(
            f"there is no schedule '{name}'", hint=self.near(name) or "Names are case sensitive."
        )

    def _describe(self, found: Sequence[StoredSchedule]) -> tuple[Schedule, ...]:
        """Return schedules, after one look into the catalogue for all of them."""
        backups = self._successes.newest_complete({stored.name for stored in found if stored.kind == "backup"})
        drills = self._successes.drill_successes({stored.name for stored in found if stored.kind == "drill"})
        successes = {name: backup.created_at for name, backup in backups.items()}
        successes |= {name: drill.begun_at for name, drill in drills.items()}
        return tuple(self._describe_one(stored, successes.get(stored.name)) for stored in found)

    def _describe_one(self, stored: StoredSchedule, last_success_at: datetime | None) -> Schedule:
        """Return a schedule; of one that cannot be read, what is wrong with it, so that it never hides the others."""
        problems: list[str] = []
        request, drill, next_run_at = BackupRequest(), None, None
        try:
            if stored.kind == "drill":
                drill = DrillRequest.model_validate_json(stored.request).model_copy(update={"schedule": None})
            else:
                request = BackupRequest.model_validate_json(stored.request)
        except ValidationError as err:
            wrong = "; ".join(f"{field or 'input'}: {text}" for field, text in wrong_fields(err))
            problems.append(f"its input is not a {stored.kind} request: {wrong}. {_HINT_OF_INPUT}")
        try:
            expression = expression_of(stored)
            next_run_at = expression.next_after(self._clock(), stored.changed_at) if stored.is_enabled else None
        except SettingsError as err:
            problems.append(f"{err.message}. {err.hint}")
        return Schedule(
            expression=stored.expression,
            timezone=stored.timezone,
            enabled=stored.is_enabled,
            request=request.model_copy(update={"schedule": None}),
            retention=request.schedule.retention if request.schedule else None,
            drill=drill,
            name=stored.name,
            kind=stored.kind,
            is_deployed=stored.name == DEPLOYED,
            next_run_at=next_run_at,
            last_success_at=last_success_at,
            problem=" ".join(problems),
        )


_HINT_OF_INPUT = (
    "Correct ScheduleRequest, ScheduleVerify and ScheduleRetention and deploy the stack again; put other schedules "
    "once more."
)


def _input_of(name: str, spec: ScheduleSpec) -> str:
    """Return the input that a schedule starts its machine with. Raises `InvalidRequestError`."""
    if spec.drill:
        _check_without(spec.drill, "drill", ("schedule",))
    else:
        _check_without(spec.request, "request", ("backup_name", "schedule"))
    tag = ScheduleTag(name=name, timezone=spec.timezone, retention=spec.retention)
    return (spec.drill or spec.request).model_copy(update={"schedule": tag}).model_dump_json(exclude_defaults=True)


def _check_without(request: BackupRequest | DrillRequest, where: str, fields: Sequence[str]) -> None:
    for field in fields:
        if getattr(request, field) is not None:
            msg = f"{where}.{field}: the request of a schedule must not have it"
            raise InvalidRequestError(msg, hint="Each run gets the schedule's tag, and a backup a name of its own.")


def _check_unmanaged(name: str) -> None:
    if name == DEPLOYED:
        msg = f"schedule '{name}' belongs to the stack's parameters"
        raise ScheduleManagedError(
            msg, hint="Change ScheduleExpression and its neighbours, and deploy the stack again."
        )
