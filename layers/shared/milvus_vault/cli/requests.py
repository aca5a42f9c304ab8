"""Requests from options: what was not given is left out, so that the API's defaults hold.

Each takes the context of the command, which a wrong one names, and raises InvalidRequestError, which names the fields.
"""

from collections.abc import Mapping

import typer
from pydantic import ValidationError

from milvus_vault.cli.session import help_hint
from milvus_vault.errors import InvalidRequestError
from milvus_vault.model.base import Model
from milvus_vault.model.requests import (
    BackupRequest,
    CopyRequest,
    DrillRequest,
    ExportPlace,
    ExportRequest,
    PruneRequest,
    RestoreRequest,
    VerifyOptions,
)
from milvus_vault.model.resources import ScheduleSpec
from milvus_vault.model.retention import Retention
from milvus_vault.model.words import wrong_fields


def backup_request(context: typer.Context, **fields: object) -> BackupRequest:
    """Return a backup's request."""
    return _made(context, BackupRequest, fields)


def restore_request(context: typer.Context, **fields: object) -> RestoreRequest:
    """Return a restore's request."""
    return _made(context, RestoreRequest, fields)


def export_request(context: typer.Context, *, to: str = "", **fields: object) -> ExportRequest:
    """Return an export's request.

    Args:
        context: Of the command.
        to: Another place for it, as `s3://bucket/prefix`, or a prefix of the backup bucket; empty: none.
        fields: The other fields.
    """
    return _made(context, ExportRequest, {"to": _place(to) if to else None, **fields})


def copy_request(context: typer.Context, *, to: str = "", **access: str) -> CopyRequest:
    """Return what a copy is asked for.

    Args:
        context: Of the command.
        to: Where to, as for an export; empty: to the stack's own place.
        access: How that place has to be reached, by the fields of `ExportPlace`; empty: in any way.
    """
    place = _place(to) | {name: value for name, value in access.items() if value}
    return _made(context, CopyRequest, {"to": place or None})


def _place(text: str) -> dict[str, str]:
    """Return what a place names of bucket and prefix, without the slash that a folder may end with."""
    bucket, _, prefix = text.removeprefix("s3://").partition("/") if text.startswith("s3://") else ("", "", text)
    given = {"bucket": bucket, "prefix": prefix.removesuffix("/")}
    return {name: value for name, value in given.items() if value}


def prune_request(context: typer.Context, **fields: object) -> PruneRequest:
    """Return a prune's request."""
    return _made(context, PruneRequest, fields)


def verify_options(context: typer.Context, **fields: object) -> VerifyOptions:
    """Return how a backup is checked."""
    return _made(context, VerifyOptions, fields)


def backup_verification(
    context: typer.Context, *, level: str | None, sample_percent: float | None, max_bytes: int | None
) -> VerifyOptions | None:
    """Return how a backup is to be verified, or nothing where no level is given."""
    if level:
        return verify_options(context, level=level, sample_percent=sample_percent, max_bytes=max_bytes)
    if sample_percent is not None or max_bytes is not None:
        msg = "--sample and --max-bytes say how much a deep verification reads, and none is asked for"
        raise InvalidRequestError(msg, hint="Give --verify deep as well.")
    return None


def backup_copy(context: typer.Context, *, is_asked_for: bool, to: str) -> ExportPlace | None:
    """Return where a backup is to be copied, or nothing where that is not asked for; `to` as in `copy_request`."""
    return copy_request(context, to=to).to if is_asked_for or to else None


def drill_request(context: typer.Context, *, words: Mapping[str, str] | None = None, **fields: object) -> DrillRequest:
    """Return a drill's request. `words` are options that have other names than the command `drill` gives them."""
    return _made(context, DrillRequest, fields, words or {})


def retention(context: typer.Context, **fields: object) -> Retention | None:
    """Return a policy, or nothing where no rule is given."""
    return _made(context, Retention, fields) if any(value is not None for value in fields.values()) else None


def schedule_spec(context: typer.Context, **fields: object) -> ScheduleSpec:
    """Return a schedule."""
    return _made(context, ScheduleSpec, fields)


def _made[Request: Model](
    context: typer.Context, request: type[Request], fields: dict[str, object], words: Mapping[str, str] = {}
) -> Request:
    try:
        return request(**{name: value for name, value in fields.items() if value is not None})
    except ValidationError as err:
        found = [(path.partition(".")[0], text) for path, text in wrong_fields(err)]
        wrong = [f"{words.get(field, f'`{field}`')}: {text}" if field else text for field, text in found]
        raise InvalidRequestError("; ".join(wrong), hint=help_hint(context)) from err
