"""Following a run to its end, and what is said then."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import typer
from rich.live import Live

from milvus_vault.cli.exit_codes import ExitCode, code_of
from milvus_vault.cli.progress import RunBars, RunLines, kind_of
from milvus_vault.cli.session import Output, Session
from milvus_vault.errors import WaitTimeoutError
from milvus_vault.model import readable
from milvus_vault.model.resources import Progress, Run, RunKind, Started, UnitCount

if TYPE_CHECKING:
    from milvus_vault.client import VaultClient

# That many of a prune are shown; its report has all.
_REASONS = 5


type Start = Callable[["VaultClient"], Started]
"""Asks the API to start a run."""


def start(session: Session, send: Start, *, what: str, key: str = "") -> Started:
    """Start a run, and return what the API answered: all that commands start is started here.

    Ctrl-C meanwhile does not say whether the run was started; that is told, and the exit code is 130.

    Args:
        session: has the client, and says where to write.
        send: asks for the run.
        what: what is started, for a person: `backup`.
        key: the idempotency key, where one was given.
    """
    client = session.vault()
    try:
        return send(client)
    except KeyboardInterrupt:
        again = " The same command with the same --idempotency-key starts no other one." if key else ""
        session.output.tell(
            "\nInterrupted while the {what} was being started: it may run; see 'milvus-vault runs'.{again}",
            what=what,
            again=again,
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def start_or_follow(
    session: Session,
    send: Start,
    *,
    wait: bool,
    timeout_seconds: float,
    what: str,
    name: str | None = None,
    key: str = "",
) -> None:
    """Start a run, and say so, or follow it to its end; exit with the code of its outcome.

    Args:
        session: has the client, and says where to write.
        send: asks for the run.
        wait: whether to follow.
        timeout_seconds: when to stop following; 0: never.
        what: what is started, for a person: `backup`.
        name: of which backup; None: of the one that the API names.
        key: the idempotency key, where one was given.
    """
    output = session.output
    started = start(session, send, what=what, key=key)
    if wait:
        finish(output, follow(session, started.id, timeout_seconds))
        return
    if output.is_json:
        output.document(started)
        return
    name = name or started.backup_name
    of_name = " of [bold]{name}[/]" if name else ""
    output.say("[green]✓[/] {what}" + of_name + " started, run {run}", what=what, name=name, run=started.id)
    output.say("[dim]Whether it succeeds is told by[/] milvus-vault watch {run}", is_whole=True, run=started.id)


def follow(session: Session, run_id: str, timeout_seconds: float = 0, *, each_as_json: bool = False) -> Run:
    """Return a run once it has ended, and show on the way how far it is.

    Ctrl-C ends the following only: the run goes on, and the exit code is 130. Raises WaitTimeoutError.

    Args:
        session: says where to write.
        run_id: of the run.
        timeout_seconds: when to stop; 0: never.
        each_as_json: with JSON, write a document for each change instead of none.
    """
    output = session.output
    last: list[Run] = []
    with ExitStack() as on_screen:
        show = _json_lines(output) if output.is_json and each_as_json else _shown(output, on_screen)

        def remember(run: Run) -> None:
            last[:] = [run]
            show(run)

        try:
            return session.vault().wait_for_run(run_id, timeout_seconds=timeout_seconds or None, on_progress=remember)
        except KeyboardInterrupt:
            on_screen.close()
            _tell_that_it_goes_on(output, run_id)
            if output.is_json and last and not each_as_json:
                output.document(last[0])
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except WaitTimeoutError as err:
            on_screen.close()
            hint = f"Follow it with 'milvus-vault watch {run_id}', or wait longer."
            raise WaitTimeoutError(err.message, hint=hint) from err


def finish(output: Output, run: Run, *, is_document_written: bool = False) -> None:
    """Say how a run ended, and exit with the code of that unless all is well."""
    if output.is_json:
        if not is_document_written:
            output.document(run)
    else:
        _tell_outcome(output, run)
    code = outcome_code(run)
    if code is ExitCode.OK:
        return
    message = run.message or f"the run ended as '{run.status}'"
    output.error(run.error, f"{run.error}: {message}" if run.error else message, run.hint, code)
    raise typer.Exit(code)


def outcome_code(run: Run) -> ExitCode:
    """Return the exit code of a run that has ended."""
    if run.status == "succeeded":
        return ExitCode.OK
    return ExitCode.PARTIAL if run.status == "partial" else code_of(run.error)


def _shown(output: Output, on_screen: ExitStack) -> Callable[[Run], None]:
    if output.is_live:
        bars = RunBars()
        # Drawn with each answer of the API. Rich's own thread for it is not joined, and a thread that wakes up while
        # Python ends can abort the process.
        live = on_screen.enter_context(Live(bars, console=output.text, auto_refresh=False, transient=True))

        def draw(run: Run) -> None:
            bars.update(run)
            live.refresh()

        return draw
    lines = RunLines()

    def say(run: Run) -> None:
        for line in lines.lines(run, time.monotonic()):
            output.say("{line}", line=line)

    return say


def _json_lines(output: Output) -> Callable[[Run], None]:
    before: list[Run] = []

    def write(run: Run) -> None:
        if before != [run]:
            before[:] = [run]
            output.document(run, compact=True)

    return write


def _tell_that_it_goes_on(output: Output, run_id: str) -> None:
    output.tell("\nThe run goes on. To follow it again, or to stop it:")
    output.tell("  [bold]milvus-vault watch {run}[/]", is_whole=True, run=run_id)
    output.tell("  [bold]milvus-vault stop {run}[/]", is_whole=True, run=run_id)


def _tell_outcome(output: Output, run: Run) -> None:
    took = readable.duration((run.ended_at - run.started_at).total_seconds()) if run.ended_at else ""
    mark = {"succeeded": "[green]✓[/]", "partial": "[yellow]![/]"}.get(run.status, "[red]✗[/]")
    of_name = " of [bold]{name}[/]" if run.backup_name else ""
    how = run.status.replace("_", " ") + (f" in {took}" if took else "") + _numbers(run)
    output.say(mark + " {what}" + of_name + " {how}", what=kind_of(run), name=run.backup_name, how=how)
    output.say("  [dim]run {run}[/]", run=run.id)
    result = run.result or {}
    for line in _result_lines(run.kind, result):
        output.say("  {line}", line=line)
    for warning in run.warnings or result.get("warnings", ()):
        output.warn(*readable.warning_parts(warning))
    if run.kind == "verify":
        _tell_verified(output, result)
    for item in run.collections:
        if item.status == "failed":
            name = f"{item.database}.{item.name}"
            output.say("  {name}: {error}: {message}", name=name, error=item.error, message=item.message)
    # An answer has a hundred collections at most, failed ones first.
    if (untold := run.progress.collections_failed - sum(item.status == "failed" for item in run.collections)) > 0:
        output.say("  and {more} failed", more=readable.number_of(untold, "more collection"))
    # Many collections fail for one reason, and the run's own hint comes with its error.
    hints = dict.fromkeys(item.hint for item in run.collections if item.hint not in {"", run.hint})
    for hint in hints:
        output.say("  [bold]hint:[/] {hint}", hint=hint)


def _result_lines(kind: RunKind, result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what else is told of what a run did, a line each."""
    if kind == "restore":
        yield from _rows_told(result)
    if kind == "export" and isinstance(location := result.get("location"), str):
        yield location
    if kind == "backup" and (copied := result.get("copied_size_bytes")) and copied == result.get("size_bytes"):
        yield "no incremental backup had any of it before: everything was copied, and the next one shares it"
    if kind == "backup" and isinstance(verification := result.get("verification"), dict):
        run, level = verification.get("run"), verification.get("request", {}).get("level")
        yield f"its verification ({level}) was started: milvus-vault watch {run}"
    if kind == "backup" and isinstance(following := result.get("next_copy"), dict):
        to = readable.copy_place(following.get("request", {}).get("to"))
        yield f"its copy to {to} was started: milvus-vault watch {following.get('run')}"
    if kind == "drill" and "restore_seconds" in result:
        yield readable.how_drilled(result)
    if kind == "prune":
        yield from _freed_lines(result.get("freed") or {})
        yield from _pool_lines(result.get("swept") or {})


def _tell_verified(output: Output, result: Mapping[str, Any]) -> None:
    if "level" in result:
        output.say("  {level}: {how}", level=result["level"], how=readable.how_verified(result))
    for problem in result.get("problems", ()):
        output.say("  [red]✗[/] {problem}", problem=problem)
    for mended in result.get("mended", ()):
        output.say("  [green]✓[/] mended: {mended}", mended=mended)
    for lost in result.get("lost", ()):
        output.say("  [yellow]![/] lost: {lost}", lost=lost)


def _rows_told(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield how many rows a restore was to bring, and why that is less than its backup has in segments."""
    imported, rows = result.get("imported_row_count"), result.get("row_count")
    if not (isinstance(imported, int) and isinstance(rows, int)):
        return
    if isinstance(expected := result.get("expected_row_count"), int):
        counted = readable.number_of(expected, "row")
        yield f"{readable.count(rows)} of {counted} came back that were counted at the backup"
    if imported > rows > 0:
        left_out = readable.number_of(imported - rows, "row")
        why = "" if result.get("deleted_row_count") == imported - rows else ", or came after its moment"
        yield f"{left_out} of the {readable.count(imported)} in its segments had been deleted{why}"


def _freed_lines(freed: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the deletions of a dry run would free together, and why it is not more."""
    if freed.get("backups") or freed.get("reasons"):
        objects = readable.number_of(freed.get("object_count", 0), "object")
        yield f"this would free {readable.size(freed.get('size_bytes'))}, {objects} that no other backup lists"
        yield from _reasons(freed.get("reasons", ()))


def _reasons(reasons: Sequence[str]) -> Iterator[str]:
    yield from (f"  {reason}" for reason in reasons[:_REASONS])
    if len(reasons) > _REASONS:
        yield f"  and for {readable.number_of(len(reasons) - _REASONS, 'more reason')}"


def _pool_lines(swept: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a prune deleted of what incremental backups share, and what stays until a later one, and why."""
    count, waiting = swept.get("pool_object_count", 0), len(swept.get("pool_waiting", ()))
    reasons: Sequence[str] = swept.get("pool_reasons", ())
    if count:
        sizes = readable.size(swept.get("pool_size_bytes"))
        yield f"pool: {readable.number_of(count, 'object')} deleted that no backup lists any more ({sizes})"
    if waiting:
        yield f"pool: what no backup lists of {readable.number_of(waiting, 'collection')} waits for a later prune"
    elif reasons:
        yield "pool: what no backup lists waits for a later prune"
    yield from _reasons(reasons)


def _numbers(run: Run) -> str:
    result, now = run.result or {}, run.progress
    if run.kind == "prune" and "deleted_count" in result:
        verb = "would be deleted" if result.get("dry_run") else "deleted"
        sizes = f" ({readable.size(result.get('deleted_bytes'))})"
        return (
            f": {readable.number_of(result['deleted_count'], 'backup')} {verb}{sizes}, {result.get('kept_count')} kept"
        )
    if not result and run.status not in {"succeeded", "partial"}:
        return _how_far(now)
    collections = result.get("collection_count", result.get("restored_count", now.collections_total))
    counts = {
        "collection": collections,
        "row": result.get("row_count"),
        "object": result.get("object_count", now.objects_total),
    }
    parts = [readable.number_of(number, noun) for noun, number in counts.items() if isinstance(number, int) and number]
    size = result.get("size_bytes", now.bytes_total)
    if isinstance(size, int) and size:
        parts.append(readable.size(size))
    if isinstance(copied := result.get("copied_size_bytes"), int):
        # Of an incremental backup: the other objects were there.
        parts[-1:] = [f"{' '.join(parts[-1:])} ({readable.size(copied)} copied)".lstrip()]
    return f": {', '.join(parts)}" if parts else ""


def _how_far(now: Progress) -> str:
    """Return how much was done of a run that did not come to its end."""
    parts = [
        readable.counted(UnitCount(unit=unit, done=done, total=total))
        for unit, done, total in (
            ("collection", now.collections_done, now.collections_total),
            ("object", now.objects_done, now.objects_total),
            ("byte", now.bytes_done, now.bytes_total),
        )
        if total
    ]
    return f": {', '.join(parts)}" if parts else ""
