"""The console's pages about schedules: when they fire, what they keep, and the forms that make and change them."""

from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from itertools import islice
from urllib.parse import quote

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from milvus_vault.client import VaultClient
from milvus_vault.console.forms import (
    Form,
    Refusal,
    schedule_fields,
    schedule_spec,
    spec_of,
    wrong_fields_of,
)
from milvus_vault.console.showing import Clock, Show, to
from milvus_vault.console.timelines import Kept, in_the_long_run, kept, next_firings
from milvus_vault.errors import InvalidRequestError, ScheduleNotFoundError, VaultError
from milvus_vault.model.resources import BackupSummary, Schedule, ScheduleSpec

LOOKED_AT = 200
"""Backups of a schedule for which it is said what becomes of them: two questions to the API."""


class SchedulePages:
    """What is answered to requests about schedules."""

    def __init__(self, vault: VaultClient, now: Clock, show: Show, refused: Callable[[VaultError], Refusal]) -> None:
        """Take whom to ask, what says how late it is, what makes a page, and what says why a form comes once more."""
        self._vault, self._now, self._show, self._refused = vault, now, show, refused

    def all(self, _: Request, __: Form) -> Response:
        """Show the schedules."""
        return self._show("schedules", schedules=list(self._vault.list_schedules()))

    def one(self, request: Request, _: Form) -> Response:
        """Show a schedule: when it fires, what it keeps of what is there, and the form to change it."""
        schedule = self._vault.get_schedule(request.path_params["name"])
        return self._page(schedule, schedule_fields(schedule, schedule.kind), Refusal())

    def new(self, request: Request, _: Form) -> Response:
        """Ask what a new schedule is to do."""
        kind = "drill" if request.query_params.get("kind") == "drill" else "backup"
        return self._page(None, schedule_fields(None, kind), Refusal())

    def create(self, _: Request, form: Form) -> Response:
        """Make a schedule under a name that none has yet, or show what it would keep."""
        return self._put(None, form["name"], form)

    def change(self, request: Request, form: Form) -> Response:
        """Change a schedule, or show what it would keep."""
        schedule = self._vault.get_schedule(request.path_params["name"])
        return self._put(schedule, schedule.name, form)

    def switch(self, request: Request, form: Form) -> Response:
        """Let a schedule fire, or no longer."""
        schedule = self._vault.get_schedule(request.path_params["name"])
        spec = spec_of(schedule).model_copy(update={"enabled": bool(form["on"])})
        self._vault.put_schedule(schedule.name, ScheduleSpec.model_validate(spec.model_dump(exclude_defaults=True)))
        return _to_schedule(schedule.name)

    def delete(self, request: Request, form: Form) -> Response:
        """Delete a schedule, whose name was typed."""
        name = request.path_params["name"]
        if form["typed"] != name:
            msg = f"'{form['typed']}' is not the name of the schedule: nothing is deleted"
            refusal = Refusal(msg, f"Type '{name}' to delete it.")
            schedule = self._vault.get_schedule(name)
            return self._page(schedule, schedule_fields(schedule, schedule.kind), refusal)
        self._vault.delete_schedule(name)
        return to("/schedules")

    def _put(self, before: Schedule | None, name: str, form: Form) -> Response:
        try:
            spec = schedule_spec(form, before)
            planned = in_the_long_run(spec, self._now())
            if form["do"] == "preview":
                return self._page(before, form, Refusal(), spec=spec, planned=planned)
            if before is None:
                self._check_is_free(name)
            self._vault.put_schedule(name, spec)
        except ValidationError as err:
            return self._page(before, form, wrong_fields_of(err, _FIELDS))
        except VaultError as err:
            return self._page(before, form, self._refused(err))
        return _to_schedule(name)

    def _check_is_free(self, name: str) -> None:
        if not name:
            msg = "the schedule has no name"
            raise InvalidRequestError(msg, hint="For example nightly.")
        try:
            self._vault.get_schedule(name)
        except ScheduleNotFoundError:
            return
        msg = f"there is a schedule '{name}' already"
        raise InvalidRequestError(msg, hint="Choose another name, or open that one to change it.")

    def _page(
        self,
        schedule: Schedule | None,
        form: Form,
        refusal: Refusal,
        *,
        spec: ScheduleSpec | None = None,
        planned: Kept | None = None,
    ) -> Response:
        """Show a schedule and its form; with `spec`, what would become of its backups by that one."""
        backups: Sequence[BackupSummary] = ()
        if schedule is not None and schedule.kind == "backup":
            listed = self._vault.list_backups(schedule=schedule.name)
            backups = [one for one in islice(listed, LOOKED_AT) if one.status != "damaged"]
        policy = spec or schedule
        found = kept(backups, policy.retention, policy.timezone, self._now()) if policy and backups else None
        code = HTTPStatus.CONFLICT if refusal.message or refusal.fields else HTTPStatus.OK
        return self._show(
            "schedule",
            code,
            schedule=schedule,
            form=form,
            refusal=refusal,
            is_preview=spec is not None,
            firings=_firings(schedule),
            kept=found,
            is_all=len(backups) < LOOKED_AT,
            planned=planned,
            policy=policy.retention if policy else None,
        )


def _firings(schedule: Schedule | None) -> list[datetime]:
    return [] if schedule is None or schedule.problem else next_firings(schedule)


def _to_schedule(name: str) -> Response:
    return to(f"/schedules/{quote(name, safe='')}")


_FIELDS = (
    "expression", "timezone", "collections", "mode", "level", "sample_percent", "newest_of", "backup_name",
    "max_bytes", "row_count", "keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly",
    "keep_at_least", "expire_after",
)  # fmt: skip
