"""The commands `local ...`: a Milvus and an emulated AWS on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from milvus_vault.cli.exit_codes import ExitCode
from milvus_vault.cli.help import App
from milvus_vault.cli.session import Output, session_of

app = App(help="A Milvus and an emulated AWS on this machine, to try everything.")

Repo = Annotated[
    Path | None,
    typer.Option(
        "--repo",
        metavar="FOLDER",
        help="Clone of the repository. Default: the one that the current folder is in.",
        show_default=False,
    ),
]


@app.command()
def up(
    context: typer.Context,
    repo: Repo = None,
    sample: Annotated[bool, typer.Option("--sample", help="Fill four sample collections.")] = False,
) -> None:
    """Start the local stack in the background, from a clone of the repository.

    The first time takes some minutes, for what it needs is downloaded and built. All other commands then use this
    stack, unless an address or a stack is named. The exit code is 7 where it runs, and Milvus is not well.

    [dim]milvus-vault local up --sample[/]
    """
    from milvus_vault.cli import details, local_health, local_stack

    output = session_of(context).output
    state = local_stack.start(output, repo, with_sample=sample)
    milvus = local_health.milvus(state)
    is_well = milvus.verdict != "failed"
    _show(output, state.model_dump() | ({} if is_well else {"checks": [milvus.model_dump()]}))
    if not is_well:
        if not output.is_json:
            output.show(details.verdicts((milvus,)))
        raise typer.Exit(ExitCode.UNAVAILABLE)
    if not output.is_json:
        output.say("\nTry [bold]milvus-vault check[/], then [bold]milvus-vault create -n first --wait[/]")
        output.say("Stop it with [bold]milvus-vault local down[/]")


@app.command()
def status(context: typer.Context) -> None:
    """Say where the local stack runs, and ask Milvus, S3 and Step Functions of it whether they are well.

    The exit code is 4 where it does not run, and 7 where one of them does not answer as it should.

    [dim]milvus-vault local status[/]
    """
    from milvus_vault.cli import details, local_health
    from milvus_vault.client.local_state import is_alive, is_starting, running_stack

    output = session_of(context).output
    state = running_stack()
    if state is None:
        if is_starting():
            text = "The local stack is being started."
        else:
            text = "The local stack is starting or stopping." if is_alive() else "The local stack does not run."
        if output.is_json:
            output.document({"is_running": False, "message": text})
        else:
            output.say("{text}", text=text)
        raise typer.Exit(ExitCode.NOT_FOUND)
    found = local_health.look(state)
    if output.is_json:
        checks = [item.model_dump() for item in found]
        output.document({"is_running": True, **state.model_dump(), "checks": checks})
    else:
        output.say("The local stack runs:")
        _show(output, state.model_dump())
        output.show(details.verdicts(found))
    if any(item.verdict == "failed" for item in found):
        raise typer.Exit(ExitCode.UNAVAILABLE)


@app.command()
def down(context: typer.Context) -> None:
    """Stop the local stack and remove all that it holds: collections, backups, files.

    [dim]milvus-vault local down[/]
    """
    from milvus_vault.cli import local_stack

    output = session_of(context).output
    was_running = local_stack.stop()
    if output.is_json:
        output.document({"is_running": False, "was_running": was_running})
    elif was_running:
        output.say("[green]✓[/] The local stack is stopped; nothing of it is left.")
    else:
        output.say("The local stack does not run.")


@app.command()
def demo(context: typer.Context, repo: Repo = None) -> None:
    """Back up sample collections, drop them, restore them and compare, on a stack that is gone afterwards.

    [dim]milvus-vault local demo[/]
    """
    from milvus_vault.cli import local_stack

    code = local_stack.make(session_of(context).output, local_stack.find_repository(repo), "demo")
    raise typer.Exit(code)


def _show(output: Output, facts: dict[str, object]) -> None:
    from milvus_vault.cli import details

    if output.is_json:
        output.document({"is_running": True, **facts})
        return
    names = {"api_url": "API", "aws_url": "AWS", "milvus_uri": "Milvus", "pid": "process", "repository": "started from"}
    output.show(details.facts((name, str(facts[key])) for key, name in names.items()))
