"""The command that reads rows of a backup."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from milvus_vault.cli.options import full_name, split
from milvus_vault.cli.session import session_of
from milvus_vault.errors import InvalidRequestError


def rows(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the backup.", show_default=False)],
    collection: Annotated[
        str, typer.Argument(metavar="DB.COLLECTION", help="Collection in the backup.", show_default=False)
    ],
    where: Annotated[
        str,
        typer.Option(
            metavar="EXPRESSION",
            help="Only rows with these primary keys: [bold]id in [1, 2][/] or [bold]id == 1[/].",
            show_default=False,
        ),
    ] = "",
    partition: Annotated[
        str, typer.Option("--partition", "-p", metavar="NAME", help="Only this partition.", show_default=False)
    ] = "",
    limit: Annotated[
        int | None, typer.Option("--limit", "-l", metavar="N", min=1, help="How many rows at most.", show_default=False)
    ] = None,
    fields: Annotated[
        list[str],
        typer.Option("--fields", metavar="FIELD,...", help="Which fields. Default: all.", show_default=False),
    ] = [],
    output: Annotated[
        Literal["json", "csv", "parquet", "arrow"],
        typer.Option("--output", "-o", help="[bold]json[/]: an object on each line."),
    ] = "json",
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", metavar="FILE", help="Where to. Default: standard output.", show_default=False),
    ] = None,
) -> None:
    """Read the rows of a collection in a backup, without a Milvus.

    They are what a restore would bring back: deletes and upserts up to the moment of the backup are applied.
    Your own AWS credentials read the backup's bucket. Whole collections are written by export --format parquet.

    [dim]milvus-vault rows nightly_1 shop.articles --where 'id in [17, 18]'[/]
    [dim]milvus-vault rows nightly_1 shop.articles --fields id,title --output csv[/]
    [dim]milvus-vault rows nightly_1 shop.articles --output parquet --file articles.parquet[/]
    """
    if find_spec("pyarrow") is None:
        msg = "rows are read with pyarrow, which is not installed"
        raise InvalidRequestError(msg, hint="Install pyarrow beside milvus-vault: pip install 'pyarrow>=26'")
    from milvus_vault.cli import archives
    from milvus_vault.rows import KeysIn, Selection

    session = session_of(context)
    archives.check_sink(session, output, file)
    selection = Selection(
        fields=tuple(split(fields)),
        partition=partition,
        where=KeysIn.parse(where) if where else None,
        limit=limit,
    )
    with archives.opened(session, name) as archive:
        none = "No row matches." if where or partition else "The collection is empty."
        archives.write(session, archive.rows(full_name(collection), selection), output, file, if_none=none)
