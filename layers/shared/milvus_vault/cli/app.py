"""The commands by name, and the global options."""

from importlib import import_module
from typing import Annotated, Literal

import typer

from milvus_vault import __version__
from milvus_vault.cli.help import App
from milvus_vault.cli.session import Output, Session

_EPILOG = (
    "Exit codes: 0 done, 1 failed or damaged, 2 wrong usage, 3 partial, 4 not found, 5 refused, 6 denied, "
    "7 unavailable, 8 waited long enough, 130 interrupted."
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        print(f"milvus-vault {__version__}")
        raise typer.Exit


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

# In the order of help: where a command is, below cli/commands, and its heading there.
_COMMANDS = {
    "check": ("planning.check", _SETUP),
    "acceptance": ("acceptance.acceptance", _SETUP),
    "console": ("console.console", _SETUP),
    "collections": ("planning.collections", _SETUP),
    "estimate": ("planning.estimate", _SETUP),
    "create": ("backups.create", _BACKUPS),
    "list": ("backups.list_backups", _BACKUPS),
    "get": ("backups.get", _BACKUPS),
    "diff": ("backups.diff", _BACKUPS),
    "rows": ("rows.rows", _BACKUPS),
    "restore": ("restores.restore", _BACKUPS),
    "export": ("backups.export", _BACKUPS),
    "copy": ("backups.copy", _BACKUPS),
    "verify": ("backups.verify", _BACKUPS),
    "drill": ("drills.drill", _BACKUPS),
    "repair": ("backups.repair", _BACKUPS),
    "report": ("runs.report", _BACKUPS),
    "hold": ("backups.hold", _BACKUPS),
    "delete": ("backups.delete", _BACKUPS),
    "runs": ("runs.runs", _RUNS),
    "watch": ("runs.watch", _RUNS),
    "stop": ("runs.stop", _RUNS),
    "prune": ("planning.prune", _TIME),
    "stats": ("planning.stats", _TIME),
    "schedule": ("schedules.app", _TIME),
    "local": ("local.app", _SETUP),
    "config": ("config.app", _SETUP),
}


def app_for(word: str = "") -> App:
    """Return the program with the command of this name alone, since to make the others takes its time.

    For a word that is none, and for no word, it has all of them: it is to list or to suggest them.
    """
    app = App(name="milvus-vault", epilog=_EPILOG)
    app.callback(invoke_without_command=True)(_global_options)
    for name in [word] if word in _COMMANDS else _COMMANDS:
        place, heading = _COMMANDS[name]
        module, _, attribute = place.partition(".")
        command = getattr(import_module(f"milvus_vault.cli.commands.{module}"), attribute)
        if isinstance(command, App):
            app.add_typer(command, name=name, rich_help_panel=heading)
        else:
            app.command(name, rich_help_panel=heading)(command)
    return app
