"""The commands by name, and the global options."""

from typing import Annotated, Literal

import typer

from milvus_vault import __version__
from milvus_vault.cli.commands import (
    acceptance,
    backups,
    config,
    console,
    drills,
    local,
    planning,
    restores,
    rows,
    runs,
    schedules,
)
from milvus_vault.cli.help import App
from milvus_vault.cli.session import Output, Session

app = App(
    name="milvus-vault",
    epilog="Exit codes: 0 done, 1 failed or damaged, 2 wrong usage, 3 partial, 4 not found, 5 refused, 6 denied, "
    "7 unavailable, 8 waited long enough, 130 interrupted.",
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        print(f"milvus-vault {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _global_options(
    context: typer.Context,
    url: Annotated[
        str, typer.Option(metavar="URL", help="Address of the API. Or set MILVUS_VAULT_URL.", show_default=False)
    ] = "",
    stack: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="CloudFormation stack that has the API. Or set MILVUS_VAULT_STACK.", show_default=False
        ),
    ] = "",
    deployment: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Name that 'config add' gave one. Or set MILVUS_VAULT_DEPLOYMENT.", show_default=False
        ),
    ] = "",
    region: Annotated[str, typer.Option(help="AWS Region.", metavar="NAME", show_default=False)] = "",
    profile: Annotated[str, typer.Option(help="AWS profile.", metavar="NAME", show_default=False)] = "",
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="[bold]json[/]: one document, for scripts.")
    ] = "text",
    version: Annotated[  # noqa: ARG001 - its callback is all
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Back up and restore Milvus on AWS.

    Where no API is named, the running local stack is used. The options below may stand anywhere.

    [dim]milvus-vault local up --sample[/]
    [dim]milvus-vault create -n first --wait[/]
    [dim]milvus-vault --stack milvus-vault list[/]
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        return
    context.obj = Session(url, stack, deployment, region, profile, Output(is_json=output == "json"))


_SETUP, _BACKUPS, _RUNS, _TIME = "Look first", "Back up and restore", "Runs", "By itself"

app.command(rich_help_panel=_SETUP)(planning.check)
app.command(rich_help_panel=_SETUP)(acceptance.acceptance)
app.command(rich_help_panel=_SETUP)(console.console)
app.command(rich_help_panel=_SETUP)(planning.collections)
app.command(rich_help_panel=_SETUP)(planning.estimate)
app.command(rich_help_panel=_BACKUPS)(backups.create)
app.command("list", rich_help_panel=_BACKUPS)(backups.list_backups)
app.command(rich_help_panel=_BACKUPS)(backups.get)
app.command(rich_help_panel=_BACKUPS)(backups.diff)
app.command(rich_help_panel=_BACKUPS)(rows.rows)
app.command(rich_help_panel=_BACKUPS)(restores.restore)
app.command(rich_help_panel=_BACKUPS)(backups.export)
app.command(rich_help_panel=_BACKUPS)(backups.copy)
app.command(rich_help_panel=_BACKUPS)(backups.verify)
app.command(rich_help_panel=_BACKUPS)(drills.drill)
app.command(rich_help_panel=_BACKUPS)(backups.repair)
app.command(rich_help_panel=_BACKUPS)(runs.report)
app.command(rich_help_panel=_BACKUPS)(backups.hold)
app.command(rich_help_panel=_BACKUPS)(backups.delete)
app.command(rich_help_panel=_RUNS)(runs.runs)
app.command(rich_help_panel=_RUNS)(runs.watch)
app.command(rich_help_panel=_RUNS)(runs.stop)
app.add_typer(schedules.app, name="schedule", rich_help_panel=_TIME)
app.command(rich_help_panel=_TIME)(planning.prune)
app.command(rich_help_panel=_TIME)(planning.stats)
app.add_typer(local.app, name="local", rich_help_panel=_SETUP)
app.add_typer(config.app, name="config", rich_help_panel=_SETUP)
