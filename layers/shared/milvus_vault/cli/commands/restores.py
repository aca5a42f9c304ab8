"""The command `restore`."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from milvus_vault.cli.options import (
    Databases,
    Filter,
    Key,
    NameArgument,
    NameOption,
    Timeout,
    Wait,
    backup_name,
    partitions,
    past_time,
    renames,
    replicas,
    resource_groups,
    selectors,
)
from milvus_vault.cli.session import Session, session_of

if TYPE_CHECKING:
    from milvus_vault.model.resources import PlannedRestore


def restore(
    context: typer.Context,
    argument: NameArgument = "",
    name: NameOption = "",
    filters: Filter = [],
    databases: Databases = [],
    partition: Annotated[
        list[str],
        typer.Option(
            "--partition",
            "-p",
            metavar="COLLECTION:PARTITION,...",
            help="Of this collection only this partition. May be repeated; of others all come back.",
            show_default=False,
        ),
    ] = [],
    point_in_time: Annotated[
        bool,
        typer.Option(
            "--point-in-time/--everything",
            help="As it was at the backup's moment, or all that the backup holds, halves of upserts as well.",
        ),
    ] = True,
    as_of: Annotated[
        str,
        typer.Option(
            "--as-of",
            metavar="TIME",
            help="As it was at this time before the backup's moment, such as 2027-01-31T02:15:30.250Z.",
            show_default=False,
        ),
    ] = "",
    suffix: Annotated[
        str, typer.Option("--suffix", "-s", metavar="TEXT", help="Add this to each name.", show_default=False)
    ] = "",
    rename: Annotated[
        list[str],
        typer.Option(
            "--rename",
            "-r",
            metavar="OLD:NEW,...",
            help="New names: db.a:db.b for a collection, db1.*:db2.* for a database.",
            show_default=False,
        ),
    ] = [],
    drop_existing: Annotated[
        bool, typer.Option("--drop-existing", help="Replace targets that exist, each when its replacement is whole.")
    ] = False,
    skip_create: Annotated[
        bool, typer.Option("--skip-create", help="Fill targets that exist, with equal fields and empty.")
    ] = False,
    meta_only: Annotated[
        bool, typer.Option("--meta-only", help="Create collections and indexes, but no rows.")
    ] = False,
    no_index: Annotated[bool, typer.Option("--no-index", help="Create no indexes (and load nothing).")] = False,
    no_load: Annotated[bool, typer.Option("--no-load", help="Load nothing.")] = False,
    no_aliases: Annotated[bool, typer.Option("--no-aliases", help="Create no aliases.")] = False,
    switch_aliases: Annotated[
        bool,
        typer.Option(
            "--switch-aliases",
            help="As the last step also take aliases that other collections have, so that readers change over.",
        ),
    ] = False,
    max_shards: Annotated[
        int | None, typer.Option(metavar="N", help="At most so many shards for a collection.", show_default=False)
    ] = None,
    replica: Annotated[
        list[str],
        typer.Option(
            "--replicas",
            metavar="N|COLLECTION:N,...",
            help="Load with so many replicas: a number for all, or for [bold]db.collection[/] and [bold]db.*[/]. "
            "Default: as many as there were, if there are query nodes for them.",
            show_default=False,
        ),
    ] = [],
    resource_group: Annotated[
        list[str],
        typer.Option(
            "--resource-group",
            metavar="OLD:NEW,...",
            help="Load into NEW what was loaded in OLD; [bold]NEW[/] alone stands for all that is not named. "
            "Default: the groups that there were, if the target has them.",
            show_default=False,
        ),
    ] = [],
    verify: Annotated[
        Literal["quick", "checksum", "deep"] | None,
        typer.Option(
            help="Check the objects so before anything is staged, as verify does. Default: deep for another tool's "
            "archive and where verifications left a doubt, else quick.",
            show_default=False,
        ),
    ] = None,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out what is damaged, and restore the other collections.")
    ] = False,
    rbac: Annotated[
        bool, typer.Option("--rbac", help="Also restore users, roles and grants that are not there yet.")
    ] = False,
    allow_version: Annotated[
        bool, typer.Option("--allow-version", help="Restore into a Milvus older than those of the version matrix.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Restore nothing; say what would be done and what it would take, or what is refused."
        ),
    ] = False,
    wait: Wait = False,
    timeout: Timeout = 0,
    key: Key = "",
) -> None:
    """Make collections from a backup, under their own or other names.

    Names after [bold]--filter[/] and left of [bold]--rename[/] are those in the backup.

    [dim]milvus-vault restore before_upgrade --suffix _restored --dry-run[/]
    [dim]milvus-vault restore before_upgrade --suffix _restored --wait[/]
    [dim]milvus-vault restore -n before_upgrade -r 'shop.orders:shop.orders_old' --allow-version[/]
    [dim]milvus-vault restore before_upgrade --replicas 'shop.*:2,shop.orders:3' --resource-group blue:green[/]
    [dim]milvus-vault restore before_upgrade -c shop.orders -s _restored --switch-aliases --wait[/]
    [dim]milvus-vault restore before_upgrade -c shop.orders -p shop.orders:y2026 -s _2026[/]
    [dim]milvus-vault restore before_upgrade --as-of 2027-01-31T02:15:30Z -s _then[/]
    [dim]milvus-vault restore before_upgrade --verify deep --skip-damaged --wait[/]
    """
    from milvus_vault.cli.following import start_or_follow
    from milvus_vault.cli.requests import restore_request

    session = session_of(context)
    request = restore_request(
        context,
        backup_name=backup_name(argument, name),
        collections=selectors(filters, databases),
        suffix=suffix or None,
        rename=renames(rename) or None,
        drop_existing=drop_existing or None,
        skip_create=skip_create or None,
        meta_only=meta_only or None,
        restore_index=False if no_index else None,
        load=False if no_load or no_index else None,
        restore_aliases=False if no_aliases else None,
        switch_aliases=switch_aliases or None,
        partitions=partitions(partition) or None,
        point_in_time=None if point_in_time else False,
        as_of=past_time(as_of) if as_of else None,
        max_shards=max_shards,
        replicas=replicas(replica),
        resource_groups=resource_groups(resource_group) or None,
        verify=verify,
        skip_damaged=skip_damaged or None,
        rbac=rbac or None,
        allow_version=allow_version or None,
    )
    if dry_run:
        show_plan(session, session.vault().plan_restore(request))
        return
    start_or_follow(
        session,
        lambda vault: vault.restore(request, idempotency_key=key),
        wait=wait,
        timeout_seconds=timeout,
        what="restore",
        name=request.backup_name,
        key=key,
    )


def show_plan(session: Session, plan: "PlannedRestore") -> None:
    """Show what a restore would do."""
    from milvus_vault.cli import details

    if session.output.is_json:
        session.output.document(plan)
    else:
        session.output.show(details.restore_plan(session.output, plan))
