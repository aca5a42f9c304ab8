"""The one place where the command line asks a person before it goes on."""

import sys

import typer

from milvus_vault.cli.exit_codes import ExitCode
from milvus_vault.cli.session import Output
from milvus_vault.errors import InvalidRequestError


def ask(output: Output, question: str, *, undone: str, otherwise: str, typed: str = "") -> None:
    """Go on where a person agrees, else say so and exit with 130.

    Raises `InvalidRequestError` where there is no terminal to ask on: what a script wants, it says with --yes.

    Args:
        output: says where to write.
        question: what is asked.
        undone: what does not happen without being asked for: `nothing is removed`.
        otherwise: what is said where the answer is another one.
        typed: what has to be typed; empty: yes.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        msg = f"{undone} without being asked for, and here is no terminal to ask on"
        raise InvalidRequestError(msg, hint="Give --yes.")
    if typed:
        is_agreed = typer.prompt(question, err=True, default="", show_default=False) == typed
    else:
        is_agreed = typer.confirm(question, err=True)
    if not is_agreed:
        output.tell("{text}", text=otherwise)
        raise typer.Exit(ExitCode.INTERRUPTED)
