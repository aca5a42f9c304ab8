"""The command `console`: a page in the browser."""

import os
from typing import Annotated

import typer

from milvus_vault.cli.exit_codes import ExitCode
from milvus_vault.cli.session import session_of


def console(
    context: typer.Context,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="N",
            min=1024,
            max=65535,
            help="Port on this machine. Default: one that is free.",
            show_default=False,
        ),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Show backups, runs and schedules in the browser, and start, restore, verify, hold and delete there.

    It listens on 127.0.0.1 until Ctrl-C, and lets in the one browser that opens the address that it prints. The API is
    asked as by all other commands, with your credentials.

    [dim]milvus-vault console[/]
    """
    import webbrowser

    from milvus_vault.errors import InvalidRequestError

    try:
        from milvus_vault.console.serving import ConsoleServer
    except ModuleNotFoundError as err:
        msg = f"the console needs {err.name}, which is not installed"
        raise InvalidRequestError(
            msg, hint="pipx install --force '.[rows,console]', in a clone of the repository."
        ) from err
    session = session_of(context)
    output, vault = session.output, session.vault()

    def tell(address: str) -> None:
        if output.is_json:
            output.document({"address": address})
        else:
            output.say("The console is at {address}", is_whole=True, address=address)
            output.say("[dim]Ctrl-C ends it.[/]")
        if not no_browser:
            webbrowser.open(address)

    try:
        ConsoleServer(vault).serve(port or 0, tell)
    except KeyboardInterrupt:
        # At its end Python waits for threads, and one may wait minutes for an API that does not answer.
        output.errors.print()
        os._exit(ExitCode.INTERRUPTED)
    except OSError as err:
        msg = f"port {port} cannot be listened at: {err.strerror or err}"
        raise InvalidRequestError(msg, hint="Leave out --port, and one that is free is taken.") from err
