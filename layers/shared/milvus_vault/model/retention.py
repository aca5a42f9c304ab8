"""How long backups are kept."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from milvus_vault.model.base import Model
from milvus_vault.model.words import Form

_FORM = Form(
    r"^[1-9][0-9]{0,4}[mhdw]$", "length of time", "a number with m (minutes), h, d or w (weeks), for example 30d"
)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: str) -> timedelta:
    """Return the length of a time such as `30d`. Raises `ValueError`."""
    _FORM.check(text)
    return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})


Duration = Annotated[str, _FORM, Field(examples=["30d"])]
"""A length of time: a number with `m` (minutes), `h`, `d` or `w`."""


class Retention(Model):
    """Which backups of a schedule are kept. A backup stays if any of the `keep_` rules wants it.

    Days, weeks (from Monday), months and years are those of the schedule's time zone; of each, the newest
    complete backup counts. Without any `keep_` rule nothing is deleted before `expire_after`.
    """

    keep_last: int | None = Field(default=None, ge=1, le=10_000, description="The newest N.")
    keep_daily: int | None = Field(default=None, ge=1, le=10_000, description="The newest of each of the last N days.")
    keep_weekly: int | None = Field(default=None, ge=1, le=10_000, description="The newest of each of N weeks.")
    keep_monthly: int | None = Field(default=None, ge=1, le=10_000, description="The newest of each of N months.")
    keep_yearly: int | None = Field(default=None, ge=1, le=10_000, description="The newest of each of N years.")
    keep_at_least: int = Field(
        default=1,
        ge=1,
        le=10_000,
        description="The newest N complete backups are never deleted, not even when they have expired.",
    )
    expire_after: Duration | None = Field(
        default=None,
        description="Backups older than this are deleted, even where a `keep_` rule wants them: `30d`, `12h`, `4w`.",
    )

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        rules = (self.keep_last, self.keep_daily, self.keep_weekly, self.keep_monthly, self.keep_yearly)
        if not any(rules) and self.expire_after is None:
            msg = (
                "give at least one of `keep_last`, `keep_daily`, `keep_weekly`, `keep_monthly`, `keep_yearly`,"
                " `expire_after`"
            )
            raise ValueError(msg)
        return self
