"""What forms send, and the requests that it means."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from milvus_vault.errors import InvalidRequestError, VaultError
from milvus_vault.model.resources import Schedule, ScheduleSpec
from milvus_vault.model.retention import Retention
from milvus_vault.model.words import wrong_fields

KEEPS = tuple(Retention.model_fields)
"""Fields of a schedule's form that say what is kept, each called as in `Retention`."""


class Form(dict[str, str]):
    """What a form has sent: its last values by name, without blanks around them. What is missing is empty."""

    def __missing__(self, name: str) -> str:
        return ""

    def words(self, name: str) -> tuple[str, ...]:
        """Return the words of a field, between blanks and commas."""
        return tuple(self[name].replace(",", " ").split())

    def given(self, *names: str) -> dict[str, str]:
        """Return those of some fields that are not empty."""
        return {name: self[name] for name in names if self[name]}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a form is shown once more."""

    message: str = ""
    hint: str = ""
    error: str = ""
    """The error's name; empty where fields of the form are wrong."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """What is wrong with single fields, by their names in the form."""


def refusal_of(err: VaultError) -> Refusal:
    """Return what was refused, by its name."""
    return Refusal(err.message, err.hint, type(err).__name__)


def wrong_request(err: ValidationError) -> InvalidRequestError:
    """Return what is wrong first with a request, its field in backquotes, for which `spoken` has the form's word."""
    path, words = next(wrong_fields(err))
    return InvalidRequestError(f"`{path.partition('.')[0]}`: {words}" if path else words)


def wrong_fields_of(err: ValidationError, fields: Iterable[str]) -> Refusal:
    """Return what is wrong with a form, beside its field where it has one of that name, and else above all."""
    found: dict[str, str] = {}
    others: list[str] = []
    shown = set(fields)
    for path, words in wrong_fields(err):
        # `collections.0` is of the field `collections`, `request.verify.sample_percent` of `sample_percent`.
        name = next((part for part in reversed(path.split(".")) if part in shown), "")
        if name:
            found.setdefault(name, words)
        else:
            others.append(f"{path}: {words}" if path else words)
    return Refusal(message="; ".join(others), fields=found)


def schedule_fields(schedule: Schedule | None, kind: str) -> Form:
    """Return what the form of a schedule begins with."""
    if schedule is None:
        return Form(kind=kind, timezone="UTC", enabled="yes", mode="incremental", row_count="100")
    request, drill, retention = schedule.request, schedule.drill, schedule.retention
    found: dict[str, object] = {
        "kind": schedule.kind,
        "name": schedule.name,
        "expression": schedule.expression,
        "timezone": schedule.timezone,
        "enabled": "yes" if schedule.enabled else "",
        "collections": ", ".join((drill or request).collections or ()),
        "mode": request.mode,
        "level": request.verify.level if request.verify else "",
        "sample_percent": request.verify.sample_percent if request.verify else None,
        "copy": "yes" if request.copy_to else "",
    }
    if drill:
        found |= drill.model_dump(include={"newest_of", "backup_name", "max_bytes", "row_count"})
        found["allow_version"] = "yes" if drill.allow_version else ""
    if retention:
        found |= retention.model_dump()
    return Form((name, str(value)) for name, value in found.items() if value not in {None, ""})


def schedule_spec(form: Form, before: Schedule | None) -> ScheduleSpec:
    """Return the schedule that a form asks for; what the form has no field for stays as it was.

    Raises pydantic's `ValidationError`.
    """
    given = spec_of(before).model_dump(mode="json", exclude_defaults=True) if before else {}
    given |= {"expression": form["expression"], "timezone": form["timezone"] or "UTC", "enabled": bool(form["enabled"])}
    if form["kind"] == "drill":
        wanted = given.get("drill", {})
        _set(wanted, "collections", form.words("collections"))
        for name in ("newest_of", "backup_name", "max_bytes", "row_count"):
            _set(wanted, name, form[name])
        _set(wanted, "allow_version", bool(form["allow_version"]))
        given["drill"] = wanted
    else:
        wanted = given.get("request", {})
        _set(wanted, "collections", form.words("collections"))
        _set(wanted, "mode", form["mode"])
        verify = {**(wanted.get("verify") or {}), "level": form["level"]} if form["level"] else {}
        if verify:
            # No field of this form: what a deep verification may read at most.
            if form["level"] != "deep":
                verify.pop("max_bytes", None)
            _set(verify, "sample_percent", form["sample_percent"])
        _set(wanted, "verify", verify)
        # The stack's own place is an empty one.
        wanted = {**wanted, "copy_to": wanted.get("copy_to") or {}} if form["copy"] else wanted
        if not form["copy"]:
            wanted.pop("copy_to", None)
        given["request"] = wanted
        # A minimum of one is what there is without: by itself it is no policy.
        kept = {name: text for name, text in form.given(*KEEPS).items() if (name, text) != ("keep_at_least", "1")}
        _set(given, "retention", kept)
    return ScheduleSpec.model_validate(given)


def spec_of(schedule: Schedule) -> ScheduleSpec:
    """Return what would have to be asked for to get a schedule as it is.

    Raises `InvalidRequestError` for one that cannot be read: nobody knows what it does.
    """
    if schedule.problem:
        msg = f"schedule '{schedule.name}' cannot be read: {schedule.problem}"
        raise InvalidRequestError(msg, hint="Delete it and make it anew.")
    return ScheduleSpec.model_validate({name: getattr(schedule, name) for name in ScheduleSpec.model_fields})


def _set(target: dict[str, Any], name: str, value: object) -> None:
    """Set a member, or leave it out where a form says nothing of it."""
    if value:
        target[name] = value
    else:
        target.pop(name, None)
