"""Commands about backups."""

import itertools
from typing import Annotated, Literal

import typer

from milvus_vault.cli.commands.planning import show_estimate
from milvus_vault.cli.commands.runs import is_called_like_a_run
from milvus_vault.cli.options import (
    AllOrNothing,
    BackupRbac,
    CopyBackup,
    CopyBackupTo,
    CopyKmsKey,
    CopyPlace,
    CopyRegion,
    CopyRole,
    Databases,
    Filter,
    Incremental,
    Key,
    Level,
    Limit,
    LockDays,
    LockMode,
    MaxBytes,
    NameArgument,
    NameOption,
    NoGcPause,
    Sample,
    Timeout,
    VerifyBackup,
    Wait,
    backup_name,
    lock,
    percent,
    point_in_time,
    selectors,
    size_bytes,
)
from milvus_vault.cli.questions import ask
from milvus_vault.cli.session import Session, session_of
from milvus_vault.errors import BackupNotFoundError, InvalidRequestError, ScheduleNotFoundError


def create(
    context: typer.Context,
    argument: NameArgument = "",
    name: NameOption = "",
    filters: Filter = [],
    databases: Databases = [],
    strategy: Annotated[
        Literal["auto", "meta_only", "skip_flush"],
        typer.Option(
            help="[bold]meta_only[/]: no rows; [bold]skip_flush[/]: only rows that Milvus has written already."
        ),
    ] = "auto",
    incremental: Incremental = False,
    meta_only: Annotated[bool, typer.Option("--meta-only", help="The same as --strategy meta_only.")] = False,
    skip_flush: Annotated[bool, typer.Option("--skip-flush", help="The same as --strategy skip_flush.")] = False,
    no_gc_pause: NoGcPause = False,
    rbac: BackupRbac = False,
    all_or_nothing: AllOrNothing = False,
    expire_after: Annotated[
        str, typer.Option(metavar="DURATION", help="Delete it so long after now: 30d, 12h, 4w.", show_default=False)
    ] = "",
    lock_days: LockDays = None,
    lock_mode: LockMode = None,
    verify: VerifyBackup = None,
    sample: Sample = "",
    max_bytes: MaxBytes = "",
    copy: CopyBackup = False,
    copy_to: CopyBackupTo = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Back up nothing; say what it would take, as [bold]estimate[/] does.")
    ] = False,
    wait: Wait = False,
    timeout: Timeout = 0,
    key: Key = "",
) -> None:
    """Back up all collections, or those that are named.

    [dim]milvus-vault create -n before_upgrade --wait[/]
    [dim]milvus-vault create -n shop_only --filter 'shop.*,default.articles' --expire-after 30d[/]
    [dim]milvus-vault create --incremental --verify deep --sample 5% --wait[/]
    [dim]milvus-vault create --incremental --copy-to s3://archive/milvus-vault --wait[/]
    [dim]milvus-vault create -n for_the_audit --lock-days 365 --lock-mode compliance[/]
    """
    from milvus_vault.cli.following import start_or_follow
    from milvus_vault.cli.requests import backup_copy, backup_request, backup_verification

    session = session_of(context)
    request = backup_request(
        context,
        backup_name=backup_name(argument, name) if argument or name else None,
        collections=selectors(filters, databases),
        mode="incremental" if incremental else None,
        meta_only=meta_only or strategy == "meta_only" or None,
        skip_flush=skip_flush or strategy == "skip_flush" or None,
        gc_pause=False if no_gc_pause else None,
        include_rbac=rbac or None,
        on_collection_failure="fail" if all_or_nothing else None,
        lock=lock(lock_days, lock_mode),
        expire_after=expire_after or None,
        verify=backup_verification(
            context, level=verify, sample_percent=percent(sample), max_bytes=size_bytes(max_bytes)
        ),
        copy_to=backup_copy(context, is_asked_for=copy, to=copy_to),
    )
    if dry_run:
        show_estimate(session, request)
        return
    start_or_follow(
        session,
        lambda vault: vault.create_backup(request, idempotency_key=key),
        wait=wait,
        timeout_seconds=timeout,
        what="backup",
        name=request.backup_name,
        key=key,
    )


def list_backups(
    context: typer.Context,
    limit: Limit = 20,
    schedule: Annotated[
        str, typer.Option(metavar="NAME", help="Only backups of this schedule.", show_default=False)
    ] = "",
) -> None:
    """List the backups, newest first.

    [dim]milvus-vault list --limit 100[/]
    [dim]milvus-vault --output json list | jq -r '.items[].name'[/]
    """
    from milvus_vault.cli import tables
    from milvus_vault.cli.listing import show_list

    session = session_of(context)
    found = session.vault().list_backups(schedule=schedule, page_size=min(limit, 100))
    items = list(itertools.islice(found, limit + 1))
    if schedule:
        if not items:
            _check_schedule(session, schedule)
        none = f"Schedule {schedule} has made no backup yet, or none of its backups is left."
    else:
        none = "There is no backup yet: milvus-vault create -n NAME --wait"
    show_list(session.output, items, limit, tables.backups, none)
    for item in items[:limit]:
        if item.damage and not session.output.is_json:
            session.output.say("[red]✗[/] {name}: {damage}", name=item.name, damage=item.damage)


def _check_schedule(session: Session, name: str) -> None:
    """Raise `ScheduleNotFoundError` where no backup of it was found, and there is none: its name may be misspelt."""
    try:
        session.vault().get_schedule(name)
    except ScheduleNotFoundError as err:
        msg = f"{err.message}, and no backup of one of that name"
        raise ScheduleNotFoundError(msg, hint=err.hint) from err


def get(
    context: typer.Context,
    argument: NameArgument = "",
    name: NameOption = "",
    unique: Annotated[
        bool,
        typer.Option(
            "--unique",
            help="Also what deleting it would free. Of an incremental backup the object lists of all others are read "
            "for that, which takes its time.",
        ),
    ] = False,
) -> None:
    """Show a backup: its collections, sizes, holds and the last verification.

    [dim]milvus-vault get before_upgrade[/]
    [dim]milvus-vault get nightly_1 --unique[/]
    """
    from milvus_vault.cli import details

    session = session_of(context)
    chosen = backup_name(argument, name)
    try:
        found = session.vault().get_backup(chosen, unique=unique)
    except BackupNotFoundError as err:
        if not is_called_like_a_run(chosen):
            raise
        raise BackupNotFoundError(err.message, hint=f"Of a run tells 'milvus-vault watch {chosen}'.") from err
    if session.output.is_json:
        session.output.document(found)
    else:
        session.output.show(details.backup(session.output, found, with_unique=unique))


def diff(
    context: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="Name of the one backup, the older as a rule.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Name of the other backup.")],
    no_objects: Annotated[
        bool, typer.Option("--no-objects", help="Do not compare the lists of objects, which takes its time.")
    ] = False,
) -> None:
    """Say what has changed from backup A to backup B: collections, schemas, rows and objects.

    Nothing but documents is read, and the exit code does not say whether anything differs.

    [dim]milvus-vault diff nightly_1 nightly_2[/]
    [dim]milvus-vault --output json diff nightly_1 nightly_2 | jq .objects[/]
    """
    from milvus_vault.cli import details

    session = session_of(context)
    found = session.vault().diff_backups(backup_name(a, ""), backup_name(b, ""), objects=not no_objects)
    if session.output.is_json:
        session.output.document(found)
    else:
        session.output.show(details.diff(session.output, found))


def delete(
    context: typer.Context,
    argument: NameArgument = "",
    name: NameOption = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Wait = False,
    timeout: Timeout = 0,
    key: Key = "",
) -> None:
    """Delete a backup, after asking. Refused while it has a hold or a lock, or a run reads it.

    [dim]milvus-vault delete before_upgrade[/]
    [dim]milvus-vault delete before_upgrade --yes --wait[/]
    """
    from milvus_vault.cli.following import start_or_follow

    session = session_of(context)
    chosen = backup_name(argument, name)
    if not yes:
        _ask_before_deleting(session, chosen)
    start_or_follow(
        session,
        lambda vault: vault.delete_backup(chosen, idempotency_key=key),
        wait=wait,
        timeout_seconds=timeout,
        what="deletion",
        name=chosen,
        key=key,
    )


def _ask_before_deleting(session: Session, name: str) -> None:
    from milvus_vault.cli import formats
    from milvus_vault.model import readable

    found = session.vault().get_backup(name)
    session.output.tell(
        "Backup [bold]{name}[/] of {time} holds {collections}, {rows}, {size}. Deleting it cannot be undone.",
        name=name,
        time=formats.moment(found.created_at),
        collections=readable.number_of(found.collection_count, "collection"),
        rows=readable.number_of(found.row_count, "row"),
        size=readable.size(found.size_bytes),
    )
    ask(
        session.output,
        "Type its name to delete it",
        undone=f"'{name}' is not deleted",
        otherwise="That is another name. Nothing is deleted.",
        typed=name,
    )


def export(
    context: typer.Context,
    export_name: Annotated[
        str, typer.Option("--as", metavar="OTHER", help="Name of what is written.", show_default=False)
    ],
    form: Annotated[
        Literal["milvus-backup", "parquet"],
        typer.Option(
            "--format",
            help="[bold]milvus-backup[/]: a full backup; [bold]parquet[/]: the rows of each collection, as files for "
            "DuckDB, Spark or pyarrow.",
        ),
    ] = "milvus-backup",
    filters: Filter = [],
    databases: Databases = [],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="PLACE",
            help="Another place for it: s3://BUCKET/PREFIX, or a prefix of the backup bucket; with s3://BUCKET alone "
            "the stack's ExportPrefix there. It may have the name of the backup itself there.",
            show_default=False,
        ),
    ] = "",
    argument: NameArgument = "",
    name: NameOption = "",
    lock_days: LockDays = None,
    lock_mode: LockMode = None,
    wait: Wait = False,
    timeout: Timeout = 0,
    key: Key = "",
) -> None:
    """Write a backup once more, as a full one that milvus-backup can restore, or its rows as Parquet.

    It shares nothing with other backups, and stays until somebody deletes it. To other places than beside the other
    backups it goes where the stack's parameters allow it. Of rows all or some collections are written, to .datasets/
    there; the command rows reads some rows at once.

    [dim]milvus-vault export nightly_31 --as for_the_archive --wait[/]
    [dim]milvus-vault export nightly_31 --as orders --format parquet -c shop.orders --wait[/]
    """
    from milvus_vault.cli.following import start_or_follow
    from milvus_vault.cli.requests import export_request

    session = session_of(context)
    request = export_request(
        context,
        to=to,
        backup_name=backup_name(argument, name),
        export_name=export_name,
        lock=lock(lock_days, lock_mode),
        # What is default is left out, so that older deployments take it as well.
        format=None if form == "milvus-backup" else form,
        collections=selectors(filters, databases),
    )
    start_or_follow(
        session,
        lambda vault: vault.export(request, idempotency_key=key),
        wait=wait,
        timeout_seconds=timeout,
        what="export",
        name=request.backup_name,
        key=key,
    )


def copy(
    context: typer.Context,
    argument: NameArgument = "",
    name: NameOption = "",
    to: CopyPlace = "",
    to_region: CopyRegion = "",
    to_role: CopyRole = "",
    to_kms_key: CopyKmsKey = "",
    wait: Wait = False,
    timeout: Timeout = 0,
    key: Key = "",
) -> None:
    """Copy a backup as it is to another place: another prefix, bucket, Region or account.

    A Milvus Vault that is deployed there lists, verifies and restores it. Of an incremental backup only what is not
    there yet is copied. A copy that died goes on with the same command. Region, role and key of another bucket are
    parameters of the stack, whose rights name them; the options say what has to be so.

    [dim]milvus-vault copy nightly_31 --wait[/]
    [dim]milvus-vault copy nightly_31 --to s3://archive/milvus-vault --wait[/]
    """
    from milvus_vault.cli.following import start_or_follow
    from milvus_vault.cli.requests import copy_request

    session = session_of(context)
    chosen = backup_name(argument, name)
    request = copy_request(context, to=to, bucket_region=to_region, role_arn=to_role, kms_key_arn=to_kms_key)
    start_or_follow(
        session,
        lambda vault: vault.copy_backup(chosen, request, idempotency_key=key),
        wait=wait,
        timeout_seconds=timeout,
        what="copy",
        name=chosen,
        key=key,
    )


def verify(
    context: typer.Context,
    argument: NameArgument = "",
    name: NameOption = "",
    level: Level = "quick",
    sample: Sample = "",
    max_bytes: MaxBytes = "",
    wait: Wait = False,
    timeout: Timeout = 0,
    key: Key = "",
) -> None:
    """Check that all objects of a backup are there and unchanged. Nothing is restored.

    [bold]--level quick[/] compares a listing with what was recorded, [bold]checksum[/] the checksums that S3 keeps, and
    [bold]deep[/] reads the objects.

    [dim]milvus-vault verify before_upgrade --wait[/]
    [dim]milvus-vault verify before_upgrade --level deep --sample 5% --wait[/]
    """
    from milvus_vault.cli.following import start_or_follow
    from milvus_vault.cli.requests import verify_options

    session = session_of(context)
    chosen = backup_name(argument, name)
    options = verify_options(context, level=level, sample_percent=percent(sample), max_bytes=size_bytes(max_bytes))
    start_or_follow(
        session,
        lambda vault: vault.verify_backup(chosen, options, idempotency_key=key),
        wait=wait,
        timeout_seconds=timeout,
        what="check",
        name=chosen,
        key=key,
    )


def repair(
    context: typer.Context,
    argument: NameArgument = "",
    name: NameOption = "",
    wait: Wait = False,
    timeout: Timeout = 0,
    key: Key = "",
) -> None:
    """Mend what is lost or damaged of a backup's marker and manifest, then check all of it, and say what is lost.

    In a replica of a backup, whose objects have other ETags, their content is compared.

    [dim]milvus-vault repair before_upgrade --wait[/]
    """
    from milvus_vault.cli.following import start_or_follow

    session = session_of(context)
    chosen = backup_name(argument, name)
    start_or_follow(
        session,
        lambda vault: vault.repair_backup(chosen, idempotency_key=key),
        wait=wait,
        timeout_seconds=timeout,
        what="repair",
        name=chosen,
        key=key,
    )


def hold(
    context: typer.Context,
    argument: NameArgument = "",
    name: NameOption = "",
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why it must stay.", show_default=False)] = "",
    until: Annotated[
        str,
        typer.Option(
            metavar="WHEN", help="When the hold ends by itself: 2027-01-31, or 30d from now.", show_default=False
        ),
    ] = "",
    lift: Annotated[bool, typer.Option("--lift", help="Take the hold away.")] = False,
) -> None:
    """Forbid that a backup is deleted, by hand or by retention; or allow it again.

    [dim]milvus-vault hold before_upgrade --reason 'audit 2027' --until 2027-12-31[/]
    [dim]milvus-vault hold before_upgrade --lift[/]
    """
    from milvus_vault.cli import formats

    session = session_of(context)
    output = session.output
    chosen = backup_name(argument, name)
    if lift:
        if reason or until:
            msg = "--lift goes with neither --reason nor --until"
            raise InvalidRequestError(msg)
        session.vault().lift_hold(chosen)
        if output.is_json:
            output.document({"name": chosen, "is_held": False})
        else:
            output.say("[green]✓[/] [bold]{name}[/] has no hold; it can be deleted.", name=chosen)
        return
    placed = session.vault().place_hold(chosen, reason=reason, until=point_in_time(until) if until else None)
    if output.is_json:
        output.document(placed)
    else:
        ending = f" until {formats.moment(placed.until)}" if placed.until else " until the hold is lifted"
        output.say("[green]✓[/] [bold]{name}[/] cannot be deleted{ending}.", name=chosen, ending=ending)
