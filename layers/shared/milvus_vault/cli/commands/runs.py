"""Commands about runs, and the reports that backups, restores and verifications leave."""

import itertools
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from milvus_vault.cli.files import check_writable, written_whole
from milvus_vault.cli.options import Limit, NameArgument, NameOption, Timeout, backup_name
from milvus_vault.cli.session import Session, session_of
from milvus_vault.errors import BackupNotFoundError, InvalidRequestError, RunNotFoundError

if TYPE_CHECKING:
    from milvus_vault.model.resources import Run

_PAGE, _LOOKED_AT = 50, 500
_IN_TERMINAL = {"www-browser", "lynx", "links", "elinks", "w3m"}


def runs(
    context: typer.Context,
    limit: Limit = 20,
    kind: Annotated[
        Literal["backup", "restore", "verify", "prune", "export", "drill"] | None,
        typer.Option(help="Only runs of this kind.", show_default=False),
    ] = None,
    status: Annotated[
        Literal["running", "succeeded", "partial", "failed", "stopped", "timed_out"] | None,
        typer.Option(help="Only runs that are like this.", show_default=False),
    ] = None,
) -> None:
    """List the runs of the last 90 days, newest first.

    [dim]milvus-vault runs --kind backup --status failed[/]
    """
    from milvus_vault.cli import tables
    from milvus_vault.cli.listing import show_list

    session = session_of(context)
    items = session.vault().list_runs(kind=kind, status=status, page_size=min(limit, 100))
    found = list(itertools.islice(items, limit + 1))
    show_list(session.output, found, limit, tables.runs, "There is no such run.")
    failed = next((item for item in found[:limit] if item.error), None)
    if failed and session.output.text.is_terminal and not session.output.is_json:
        session.output.tell("[dim]Why:[/] milvus-vault watch {run}", is_whole=True, run=failed.id)


def watch(
    context: typer.Context,
    run_id: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="ID of the run; or a backup, for its newest. Default: the newest.",
            show_default=False,
        ),
    ] = "",
    timeout: Timeout = 0,
) -> None:
    """Follow a run to its end; the exit code is that of its outcome. Ctrl-C leaves the run going.

    With [bold]--output json[/], each change is one line: a document of its own.

    [dim]milvus-vault watch[/]
    [dim]milvus-vault watch backup-9d1c7a52 --timeout 600[/]
    """
    from milvus_vault.cli.following import finish, follow

    session = session_of(context)
    found = _run_called(session, run_id)
    run = follow(session, found.id if found else _newest(session, run_id), timeout, each_as_json=True)
    finish(session.output, run, is_document_written=True)


def _run_called(session: Session, name: str) -> "Run | None":
    """Return the run of this ID; None where a backup is meant, which may be called like a run where it was copied to.

    Raises RunNotFoundError.
    """
    if not is_called_like_a_run(name):
        return None
    try:
        return session.vault().get_run(name)
    except RunNotFoundError:
        with suppress(BackupNotFoundError):
            session.vault().get_backup(name)
            return None
        raise


def is_called_like_a_run(name: str) -> bool:
    """Whether a name has the form of a run's ID; a backup may be called so too, where it was copied to."""
    # Within the function, as all that starts slowly here.
    from milvus_vault.model.resources import RunKind

    kind, _, rest = name.partition("-")
    return kind in get_args(RunKind.__value__) and bool(rest)


def _newest(session: Session, name: str) -> str:
    """Return the newest run, of a backup where one is named. Raises RunNotFoundError and BackupNotFoundError."""
    for run in itertools.islice(session.vault().list_runs(page_size=_PAGE if name else 1), _LOOKED_AT):
        if name in {"", run.backup_name, run.export_name}:
            return run.id
    if name:
        session.vault().get_backup(name)  # what is not there has no runs, and may be misspelt
        msg = f"none of the last {_LOOKED_AT} runs was of backup '{name}'"
        raise RunNotFoundError(msg, hint="'milvus-vault runs' lists the runs.")
    msg = "there is no run yet"
    raise RunNotFoundError(msg, hint="Start one: milvus-vault create -n NAME --wait")


def stop(
    context: typer.Context,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="ID of the run, see 'milvus-vault runs'.")],
) -> None:
    """Stop a run. A backup, restore or export that is started again with the same input resumes.

    [dim]milvus-vault stop backup-9d1c7a52[/]
    """
    if not is_called_like_a_run(run_id):
        msg = f"'{run_id}' is no ID of a run"
        raise InvalidRequestError(msg, hint="'milvus-vault runs' lists them.")
    session = session_of(context)
    session.vault().stop_run(run_id)
    if session.output.is_json:
        session.output.document({"id": run_id, "is_stopped": True})
    else:
        session.output.say("[green]✓[/] {run} is stopped.", run=run_id)


def report(
    context: typer.Context,
    argument: NameArgument = "",
    name: NameOption = "",
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the HTML to this file instead.", show_default=False)
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Open the HTML report of a backup, or of a run, in the browser.

    Where there is no browser, its address is printed; it can be read there for an hour.

    [dim]milvus-vault report before_upgrade[/]
    [dim]milvus-vault report restore-5f0e --save report.html[/]
    """
    session = session_of(context)
    output = session.output
    chosen = backup_name(argument, name)
    if save is not None:
        check_writable(save)
    url = _report_url(session, chosen)
    is_opened = False
    if save is not None:
        page = session.vault().download(url)
        with written_whole(save) as sink:
            sink.write(page)
    elif not (no_browser or output.is_json):
        is_opened = _open_in_browser(url)
    if output.is_json:
        output.document({"url": url, "file": str(save) if save else None})
    elif save is not None:
        output.say("[green]✓[/] written to {file}", file=save)
    elif is_opened:
        output.say("[green]✓[/] opened in the browser: {url}", is_whole=True, url=url)
    else:
        output.say("{url}", is_whole=True, url=url)


def _report_url(session: Session, name: str) -> str:
    if run := _run_called(session, name):
        if run.report_url is None:
            msg = f"run {name} has left no report"
            raise RunNotFoundError(msg, hint="Backups, restores and verifications do, when they end.")
        return run.report_url
    url = session.vault().get_backup(name).report_url
    if url is None:
        msg = f"backup '{name}' has no report"
        raise BackupNotFoundError(msg, hint="Those that other tools or older releases made have none.")
    return url


def _open_in_browser(url: str) -> bool:
    """Open an address, and return whether a browser with windows did. Those inside a terminal are left alone."""
    import webbrowser

    has_display = sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if not (has_display or os.environ.get("BROWSER")):
        return False
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    return getattr(browser, "name", "") not in _IN_TERMINAL and browser.open(url)
