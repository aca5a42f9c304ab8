"""The commands `schedule ...`."""

from typing import Annotated

import typer

from milvus_vault.cli.help import App
from milvus_vault.cli.options import (
    AllOrNothing,
    BackupRbac,
    CopyBackup,
    CopyBackupTo,
    Databases,
    Filter,
    Incremental,
    LockDays,
    LockMode,
    MaxBytes,
    NoGcPause,
    Sample,
    VerifyBackup,
    lock,
    percent,
    selectors,
    size_bytes,
)
from milvus_vault.cli.session import session_of
from milvus_vault.errors import InvalidRequestError

app = App(help="Back up and drill by itself, and keep what a policy says.")

_DRILL = "A drill instead of backups"

ScheduleNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the schedule.")]


def _keep(what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        metavar="N", min=1, help=what, show_default=False, rich_help_panel="What is kept (default: all)"
    )
    return option


@app.command("list")
def list_schedules(context: typer.Context) -> None:
    """List the schedules, with their next run and last success.

    [dim]milvus-vault schedule list[/]
    """
    from milvus_vault.cli import tables
    from milvus_vault.cli.listing import show_list

    session = session_of(context)
    items = list(session.vault().list_schedules())
    none = "There is no schedule yet: milvus-vault schedule put NAME 'rate(1 day)' --keep-last 7"
    show_list(session.output, items, len(items), tables.schedules, none)
    for item in items:
        if item.problem and not session.output.is_json:
            session.output.say("[red]✗[/] {name}: {problem}", name=item.name, problem=item.problem)


@app.command()
def get(context: typer.Context, name: ScheduleNameArgument) -> None:
    """Show a schedule.

    [dim]milvus-vault schedule get nightly[/]
    """
    from milvus_vault.cli import details

    session = session_of(context)
    found = session.vault().get_schedule(name)
    if session.output.is_json:
        session.output.document(found)
    else:
        session.output.show(details.schedule(found))


@app.command()
def put(
    context: typer.Context,
    name: ScheduleNameArgument,
    expression: Annotated[
        str, typer.Argument(metavar="WHEN", help="'rate(1 day)', or 'cron(0 3 * * ? *)': at 3 o'clock each day.")
    ],
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="Time zone of a cron expression: Europe/Berlin.")
    ] = "UTC",
    off: Annotated[bool, typer.Option("--off", help="Keep it, but do not let it fire.")] = False,
    filters: Filter = [],
    databases: Databases = [],
    incremental: Incremental = False,
    meta_only: Annotated[bool, typer.Option("--meta-only", help="Back up no rows.")] = False,
    skip_flush: Annotated[
        bool, typer.Option("--skip-flush", help="Only rows that Milvus has written already.")
    ] = False,
    no_gc_pause: NoGcPause = False,
    rbac: BackupRbac = False,
    all_or_nothing: AllOrNothing = False,
    lock_days: LockDays = None,
    lock_mode: LockMode = None,
    verify: VerifyBackup = None,
    sample: Sample = "",
    max_bytes: MaxBytes = "",
    copy: CopyBackup = False,
    copy_to: CopyBackupTo = "",
    keep_last: Annotated[int | None, _keep("Keep its newest N backups.")] = None,
    keep_daily: Annotated[int | None, _keep("Keep the newest of each of the last N days.")] = None,
    keep_weekly: Annotated[int | None, _keep("Keep the newest of each of the last N weeks.")] = None,
    keep_monthly: Annotated[int | None, _keep("Keep the newest of each of the last N months.")] = None,
    keep_yearly: Annotated[int | None, _keep("Keep the newest of each of the last N years.")] = None,
    keep_at_least: Annotated[int | None, _keep("Keep never fewer complete backups than this. Default: 1.")] = None,
    expire_after: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="Keep no backup that is older than this: 30d, 12h, 4w.",
            show_default=False,
            rich_help_panel="What is kept (default: all)",
        ),
    ] = "",
    drill: Annotated[
        str,
        typer.Option(
            metavar="SCHEDULE",
            help="Make no backup, but restore the newest one of this schedule into a scratch database, compare it, and "
            "drop it. With --filter and --max-bytes no more than that.",
            show_default=False,
            rich_help_panel=_DRILL,
        ),
    ] = "",
    drill_backup: Annotated[
        str,
        typer.Option(
            metavar="BACKUP", help="The same with this one backup.", show_default=False, rich_help_panel=_DRILL
        ),
    ] = "",
    rows: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Of each collection, how many rows are compared value by value. Default: 100.",
            show_default=False,
            rich_help_panel=_DRILL,
        ),
    ] = None,
    allow_version: Annotated[
        bool,
        typer.Option(
            "--allow-version",
            help="Drill into a server before 2.4, where the version matrix begins.",
            rich_help_panel=_DRILL,
        ),
    ] = False,
) -> None:
    """Make a schedule, or replace the one of that name.

    [dim]milvus-vault schedule put nightly 'cron(0 3 * * ? *)' --timezone Europe/Berlin --keep-daily 7[/]
    [dim]milvus-vault schedule put often 'rate(1 hour)' --filter 'shop.*' --incremental --keep-last 24[/]
    [dim]milvus-vault schedule put nightly 'rate(1 day)' --verify deep --sample 5%[/]
    [dim]milvus-vault schedule put nightly 'rate(1 day)' --incremental --copy[/]
    [dim]milvus-vault schedule put tried 'rate(7 days)' --drill nightly --max-bytes 50GiB[/]
    """
    from milvus_vault.cli import details, requests

    session = session_of(context)
    selected, limit = selectors(filters, databases), size_bytes(max_bytes)
    drilled = None
    if drill and drill_backup:
        msg = "--drill and --drill-backup exclude each other: a drill is of one backup"
        raise InvalidRequestError(msg, hint="Give one.")
    if drill or drill_backup:
        drilled = requests.drill_request(
            context,
            words={"newest_of": "--drill", "backup_name": "--drill-backup"},
            newest_of=drill or None,
            backup_name=drill_backup or None,
            collections=selected,
            max_bytes=limit,
            row_count=rows,
            allow_version=allow_version or None,
        )
    elif rows is not None or allow_version:
        msg = "--rows and --allow-version are of a drill, and none is asked for"
        raise InvalidRequestError(msg, hint="Give --drill SCHEDULE as well.")
    request = requests.backup_request(
        context,
        collections=None if drilled else selected,
        mode="incremental" if incremental else None,
        meta_only=meta_only or None,
        skip_flush=skip_flush or None,
        gc_pause=False if no_gc_pause else None,
        include_rbac=rbac or None,
        on_collection_failure="fail" if all_or_nothing else None,
        lock=lock(lock_days, lock_mode),
        verify=requests.backup_verification(
            context, level=verify, sample_percent=percent(sample), max_bytes=None if drilled else limit
        ),
        copy_to=requests.backup_copy(context, is_asked_for=copy, to=copy_to),
    )
    retention = requests.retention(
        context,
        keep_last=keep_last,
        keep_daily=keep_daily,
        keep_weekly=keep_weekly,
        keep_monthly=keep_monthly,
        keep_yearly=keep_yearly,
        keep_at_least=keep_at_least,
        expire_after=expire_after or None,
    )
    if drilled and (retention or request.model_fields_set):
        msg = "a drill makes no backup: only --filter, --databases, --max-bytes and --rows say what it does"
        raise InvalidRequestError(
            msg, hint="Leave out what says how to back up, to verify and to copy, and what is kept."
        )
    what = {"drill": drilled} if drilled else {"request": request, "retention": retention}
    spec = requests.schedule_spec(context, expression=expression, timezone=timezone, enabled=not off, **what)
    made = session.vault().put_schedule(name, spec)
    if session.output.is_json:
        session.output.document(made)
    else:
        session.output.say("[green]✓[/] This schedule is set:")
        session.output.show(details.schedule(made))


@app.command()
def delete(
    context: typer.Context,
    name: ScheduleNameArgument,
) -> None:
    """Delete a schedule. Backups that it made stay, and are no longer pruned.

    [dim]milvus-vault schedule delete nightly[/]
    """
    session = session_of(context)
    session.vault().delete_schedule(name)
    if session.output.is_json:
        session.output.document({"name": name, "is_deleted": True})
    else:
        session.output.say("[green]✓[/] schedule [bold]{name}[/] is deleted; all backups stay.", name=name)
