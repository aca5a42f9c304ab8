"""The commands `config ...`: deployments by name."""

from typing import Annotated

import typer

from milvus_vault.cli.help import App
from milvus_vault.cli.session import Output, session_of

app = App(help="Deployments by name, for --deployment.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the deployment is called.", show_default=False)]


@app.command()
def add(context: typer.Context, name: Name) -> None:
    """Remember an API under a name, with the global options that lead to it; a name that is there gets new ones.

    [dim]milvus-vault config add prod --stack milvus-vault --region eu-central-1 --profile operations[/]
    [dim]milvus-vault --deployment prod list[/]
    """
    from milvus_vault.client.deployments import Deployment, read_deployments, write_deployments
    from milvus_vault.client.discovery import checked_address
    from milvus_vault.errors import InvalidRequestError

    session = session_of(context)
    if session.deployment or bool(session.url) == bool(session.stack):
        msg = f"of deployment '{name}' either a stack or an address is needed"
        raise InvalidRequestError(msg, hint="Give --stack, and --region where AWS has no default, or --url.")
    if session.url:
        checked_address(session.url)
    # In this order, so that a file that cannot be read is never replaced.
    found = read_deployments()
    found[name] = Deployment(url=session.url, stack=session.stack, region=session.region, profile=session.profile)
    write_deployments(found)
    _show(session.output)


@app.command("list")
def list_deployments(context: typer.Context) -> None:
    """List the deployments that have a name.

    [dim]milvus-vault config list[/]
    """
    _show(session_of(context).output)


@app.command()
def remove(context: typer.Context, name: Name) -> None:
    """Forget a name. The deployment stays as it is.

    [dim]milvus-vault config remove prod[/]
    """
    from milvus_vault.client.deployments import find_deployment, read_deployments, write_deployments

    find_deployment(name)
    write_deployments({key: found for key, found in read_deployments().items() if key != name})
    _show(session_of(context).output)


def _show(output: Output) -> None:
    from milvus_vault.cli import tables
    from milvus_vault.client.deployments import deployments_path, read_deployments

    found = read_deployments()
    if output.is_json:
        output.document({"deployments": [{"name": name, **of.model_dump()} for name, of in found.items()]})
    elif found:
        headings = ("name", "stack", "address", "region", "profile")
        rows = ((name, of.stack, of.url, of.region, of.profile) for name, of in found.items())
        output.show(tables.listed(output, headings, rows))
    else:
        output.say("No deployment has a name yet. They are kept in {path}", path=deployments_path())
