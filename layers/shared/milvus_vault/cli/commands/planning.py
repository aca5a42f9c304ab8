"""Commands that look before anything is done."""

from typing import TYPE_CHECKING, Annotated

import typer

from milvus_vault.cli.exit_codes import ExitCode
from milvus_vault.cli.options import Databases, Filter, Timeout, selectors
from milvus_vault.cli.session import Session, session_of

if TYPE_CHECKING:
    from milvus_vault.model.requests import BackupRequest
    from milvus_vault.model.resources import PoolListing


def check(context: typer.Context) -> None:
    """Try every connection and permission that a backup and a restore need. Nothing is changed.

    [dim]milvus-vault check[/]
    """
    from milvus_vault.cli import details

    session = session_of(context)
    report = session.vault().check()
    if session.output.is_json:
        session.output.document(report)
    else:
        session.output.show(details.check(report))
    if not report.is_ok:
        raise typer.Exit(ExitCode.FAILED)


def collections(
    context: typer.Context,
    database: Annotated[
        str, typer.Option(metavar="NAME", help="Only those of this database.", show_default=False)
    ] = "",
    sizes: Annotated[bool, typer.Option("--sizes", help="Also their objects, which must be listed for that.")] = False,
) -> None:
    """List the collections in Milvus that could be backed up.

    [dim]milvus-vault collections --sizes[/]
    """
    from milvus_vault.cli import tables
    from milvus_vault.cli.listing import show_list

    session = session_of(context)
    items = list(session.vault().list_collections(database=database, sizes=sizes))
    show_list(session.output, items, len(items), tables.collections, "Milvus has no collection.")


def estimate(
    context: typer.Context,
    filters: Filter = [],
    databases: Databases = [],
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Of an incremental backup, beside what a full one would take.")
    ] = False,
    meta_only: Annotated[bool, typer.Option("--meta-only", help="Of a backup without rows.")] = False,
) -> None:
    """Say what a backup would take: objects, bytes, requests, cost and time. Nothing is copied.

    [dim]milvus-vault estimate --filter 'shop.*'[/]
    [dim]milvus-vault estimate --incremental[/]
    """
    from milvus_vault.cli.requests import backup_request

    session = session_of(context)
    request = backup_request(
        context,
        collections=selectors(filters, databases),
        mode="incremental" if incremental else None,
        meta_only=meta_only or None,
    )
    show_estimate(session, request)


def show_estimate(session: Session, request: "BackupRequest") -> None:
    """Show what a backup would take."""
    from milvus_vault.cli import details

    found = session.vault().estimate(request)
    if session.output.is_json:
        session.output.document(found)
    else:
        session.output.show(details.estimate(session.output, found))


def stats(
    context: typer.Context,
    no_pool: Annotated[
        bool, typer.Option("--no-pool", help="Do not list what incremental backups share, which takes its time.")
    ] = False,
) -> None:
    """Say what is stored: backups, what they list and what that takes, and what each schedule costs a month.

    [dim]milvus-vault stats[/]
    [dim]milvus-vault --output json stats | jq .ratio[/]
    """
    from milvus_vault.cli import details
    from milvus_vault.model import readable

    session = session_of(context)

    def tell(listing: "PoolListing") -> None:
        """Say how far the listing of the pool is: each answer takes half a minute."""
        session.output.tell(
            "[dim]listing what incremental backups share: {done} of {total} collections, {objects}, {size}[/]",
            done=readable.count(listing.collection_count),
            total=readable.count(listing.collection_total),
            objects=readable.number_of(listing.object_count, "object"),
            size=readable.size(listing.size_bytes),
        )

    found = session.vault().stats(pool=not no_pool, on_progress=tell)
    if session.output.is_json:
        session.output.document(found)
    else:
        session.output.show(details.stats(session.output, found))


def prune(
    context: typer.Context,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Delete nothing; say of each backup whether it would go, why, and what that would free."
        ),
    ] = False,
    no_sweep: Annotated[
        bool, typer.Option("--no-sweep", help="Leave working files and uploads of dead runs alone.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Follow the run to its end. --dry-run always does.")
    ] = False,
    timeout: Timeout = 0,
) -> None:
    """Delete what no policy keeps. This also happens by itself, after scheduled backups and every day.

    What incremental backups share is deleted once no backup lists it; --dry-run says what that would be.

    [dim]milvus-vault prune --dry-run[/]
    [dim]milvus-vault prune --wait[/]
    """
    from milvus_vault.cli import tables
    from milvus_vault.cli.following import finish, follow, start, start_or_follow
    from milvus_vault.cli.requests import prune_request

    session = session_of(context)
    request = prune_request(context, dry_run=dry_run or None, sweep=False if no_sweep else None)
    if not (dry_run or wait):
        start_or_follow(session, lambda vault: vault.prune(request), wait=False, timeout_seconds=0, what="prune")
        return
    run = follow(session, start(session, lambda vault: vault.prune(request), what="prune").id, timeout)
    if not session.output.is_json and (decided := tables.decisions(session.output, run)):
        session.output.show(decided)
    finish(session.output, run)
