"""The command `console`: a page in the browser."""

from typing import Annotated

import typer

from milvus_vault.cli.session import session_of


def console(
    context: typer.Context,
    port: Annotated[
        int,
        typer.Option(
            "--port", min=0, max=65535, help="Port on this machine. Default: one that is free.", show_default=False
        ),
    ] = 0,
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
        raise InvalidRequestError(msg, hint="pipx install '.[console]', from the clone of the repository.") from err
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
        ConsoleServer(vault).serve(port, tell)
    except OSError as err:
        msg = f"port {port} cannot be listened at: {err.strerror or err}"
        raise InvalidRequestError(msg, hint="Leave out --port, and one that is free is taken.") from err
