"""Our event of what Step Functions says of an execution."""

from datetime import UTC, datetime
from typing import Any, Literal, get_args

from pydantic import TypeAdapter, ValidationError

from milvus_vault.errors import InvalidRequestError
from milvus_vault.failures import run_failure
from milvus_vault.model.events import RunEvent
from milvus_vault.model.messages import StatusChange
from milvus_vault.model.names import run_id
from milvus_vault.model.requests import VerifyLevel
from milvus_vault.model.resources import RunKind
from milvus_vault.model.words import wrong_fields
from milvus_vault.runs.machines import STATUSES, as_object, backup_of, drilled_backup, run_status, schedule_of

_KIND = TypeAdapter[RunKind](RunKind)

# An event may have 256 KiB.
_MAX_WARNINGS = 20
_MAX_TEXT = 10_000
_MAX_NAME = 200
_MAX_COUNT = 2**63

CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


def run_event(change: StatusChange, stack: str) -> RunEvent:
    """Return the event of a change. The same change gives the same event.

    Raises `InvalidRequestError` for a change that is none of our machines', or that nobody here has heard of.
    """
    try:
        return _run_event(change, stack)
    except ValidationError as err:
        wrong = "; ".join(f"{field}: {text}" for field, text in wrong_fields(err))
        raise _unknown(change, wrong) from err


def _unknown(change: StatusChange, why: str) -> InvalidRequestError:
    msg = f"the change of {change.execution_arn[:_MAX_NAME]} cannot be told: {why}"
    return InvalidRequestError(msg, hint="Step Functions' event has something new; see the run in the console.")


def _run_event(change: StatusChange, stack: str) -> RunEvent:
    kind = _KIND.validate_python(change.state_machine_arn.rpartition("-")[2])
    if change.status not in STATUSES:
        raise _unknown(change, f"the status is {change.status[:_MAX_NAME]}")
    status = run_status(change.status, change.error or "")
    started_at = _moment(change, change.start_date)
    ended_at = _moment(change, change.stop_date) if change.stop_date is not None and status != "running" else None
    request, output = as_object(change.input or "{}"), as_object(change.output or "{}")
    failure = run_failure(kind, status, change.error or "", change.cause or "")
    warnings = output.get("warnings")
    texts = [text for text in warnings if isinstance(text, str)] if isinstance(warnings, list) else []
    backup = backup_of(kind, request, started_at, change.execution_arn)
    if kind == "drill" and backup is None:
        backup = drilled_backup(output)
    # A prune's counts are of backups.
    counts = {} if kind == "prune" else output
    return RunEvent(
        id=f"{run_id(kind, change.name)}/{status}",
        stack=stack,
        run=run_id(kind, change.name),
        kind=kind,
        status=status,
        execution_arn=change.execution_arn,
        started_at=started_at,
        ended_at=ended_at,
        duration_seconds=(ended_at - started_at).total_seconds() if ended_at else None,
        # Nobody knows what an input says that is too large for an event.
        backup_name=backup if change.input else None,
        schedule=schedule_of(request),
        location=_text(output, "location"),
        mode=_mode(request) if kind == "backup" and change.input else None,
        level=_level(request) if kind == "verify" and change.input else None,
        checksum_count=_count(output, "checksum_count"),
        read_count=_count(output, "read_count"),
        read_bytes=_count(output, "read_bytes"),
        collection_count=_count(counts, "collection_count", "restored_count"),
        failed_count=_count(counts, "failed_count"),
        object_count=_count(output, "object_count"),
        size_bytes=_count(output, "size_bytes"),
        copied_object_count=_count(output, "copied_object_count"),
        copied_size_bytes=_count(output, "copied_size_bytes"),
        row_count=_count(output, "row_count"),
        compared_count=_count(output, "compared_count"),
        restore_seconds=_seconds(output, "restore_seconds"),
        pool_object_count=_count(output, "pool_object_count"),
        pool_size_bytes=_count(output, "pool_size_bytes"),
        pool_waiting_count=_count(output, "pool_waiting_count"),
        error=failure.error,
        message=failure.message[:_MAX_TEXT],
        hint=failure.hint[:_MAX_TEXT],
        warnings=tuple(text[:_MAX_TEXT] for text in texts[:_MAX_WARNINGS]),
        report_key=_text(output, "report_key"),
        console_url=_console_url(change.execution_arn),
    )


def _moment(change: StatusChange, milliseconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError) as err:
        raise _unknown(change, "a time is out of range") from err


def _count(output: dict[str, Any], *names: str) -> int | None:
    """Return the first of these counts that an output has."""
    found = next((output[name] for name in names if name in output), None)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= _MAX_COUNT else None


def _seconds(output: dict[str, Any], name: str) -> float | None:
    found = output.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= _MAX_COUNT:
        return None
    return float(found)


def _text(output: dict[str, Any], name: str) -> str | None:
    found = output.get(name)
    return found if isinstance(found, str) else None


def _mode(request: dict[str, Any]) -> Literal["full", "incremental"] | None:
    """Return how a backup is made; None for a request that is refused for it."""
    match request.get("mode", "full"):
        case "full":
            return "full"
        case "incremental":
            return "incremental"
        case _:
            return None


def _level(request: dict[str, Any]) -> VerifyLevel | None:
    """Return how a backup is verified; None for a request that is refused for it."""
    return next((level for level in get_args(VerifyLevel) if level == request.get("level", "quick")), None)


def _console_url(execution_arn: str) -> str:
    """Return where the console shows an execution: each partition has one of its own."""
    _, partition, _, region, *_ = (*execution_arn.split(":"), "", "", "", "")
    domain = CONSOLES.get(partition, CONSOLES["aws"])
    return f"https://{region}.{domain}/states/home?region={region}#/v2/executions/details/{execution_arn}"
