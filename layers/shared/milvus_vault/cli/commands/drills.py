"""Commands about drills."""

from typing import Annotated

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
    selectors,
    size_bytes,
)
from milvus_vault.cli.session import session_of
from milvus_vault.errors import InvalidRequestError


def drill(
    context: typer.Context,
    argument: NameArgument = "",
    name: NameOption = "",
    schedule: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="The newest complete backup of this schedule, in place of a name.", show_default=False
        ),
    ] = "",
    filters: Filter = [],
    databases: Databases = [],
    max_bytes: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="Restore no more than that, as 50GiB: where there is more, a random sample of the collections.",
            show_default=False,
        ),
    ] = "",
    rows: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="How many rows of each collection to compare. Default: 100.", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Choose at random as the drill did that tells this seed.", show_default=False),
    ] = None,
    scratch: Annotated[
        str,
        typer.Option(
            metavar="DB",
            help="Name of the scratch database, which must not exist. Default: one of its own.",
            show_default=False,
        ),
    ] = "",
    allow_version: Annotated[
        bool, typer.Option("--allow-version", help="Drill into a server before 2.4, where the version matrix begins.")
    ] = False,
    wait: Wait = False,
    timeout: Timeout = 0,
    key: Key = "",
) -> None:
    """Prove that a backup can be restored: into a scratch database, which is compared and dropped.

    Rows are counted by partition, and those of a sample compared, value by value, with what the backup's files hold.
    Nothing that exists in Milvus is touched.

    [dim]milvus-vault drill nightly_31 --wait[/]
    [dim]milvus-vault drill --schedule nightly --max-bytes 50GiB --wait[/]
    """
    from milvus_vault.cli.following import start_or_follow
    from milvus_vault.cli.requests import drill_request

    session = session_of(context)
    if schedule and (argument or name):
        msg = f"'{argument or name}' and --schedule are given: a drill is of one backup"
        raise InvalidRequestError(msg, hint="Give one of them.")
    request = drill_request(
        context,
        backup_name=None if schedule else backup_name(argument, name),
        newest_of=schedule or None,
        collections=selectors(filters, databases),
        max_bytes=size_bytes(max_bytes),
        row_count=rows,
        seed=seed,
        database=scratch or None,
        allow_version=allow_version or None,
    )
    start_or_follow(
        session,
        lambda vault: vault.drill(request, idempotency_key=key),
        wait=wait,
        timeout_seconds=timeout,
        what="drill",
        name=request.backup_name,
        key=key,
    )
