"""The command that tries a whole deployment."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from milvus_vault.cli.exit_codes import ExitCode
from milvus_vault.cli.files import check_writable, written_whole
from milvus_vault.cli.options import selectors
from milvus_vault.cli.questions import ask
from milvus_vault.cli.session import Output, Session, session_of
from milvus_vault.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from milvus_vault.acceptance.account import Account
    from milvus_vault.acceptance.trial import Trial
    from milvus_vault.acceptance.trying import AcceptanceReport, ItemResult

# That many names of one kind are told.
_SHOWN = 10


def acceptance(
    context: typer.Context,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Make nothing: only the items that look at what is there.")
    ] = False,
    collection: Annotated[
        str,
        typer.Option(
            metavar="DB.COLLECTION",
            help="Back up this small collection in place of one that is made for it: the way to try backups without a "
            "Milvus that can be reached from here.",
            show_default=False,
        ),
    ] = "",
    milvus_uri: Annotated[
        str,
        typer.Option(
            metavar="URI",
            help="Where Milvus answers from here by gRPC. Default: where the stack reaches it.",
            show_default=False,
        ),
    ] = "",
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a report without names, accounts and addresses.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    clean_up: Annotated[
        bool,
        typer.Option(
            "--clean-up",
            help="Only remove what an acceptance left that was killed. It says what it finds, and asks. One that goes "
            "on now, whoever began it, is stopped and loses what it made.",
        ),
    ] = False,
) -> None:
    """Try a deployment item by item: roles, runs, alarms, quotas, prices. It cleans up after itself.

    It makes a collection of 1,000 rows, backs it up, restores it beside itself, stops runs and starts them again. Some
    runs fail on purpose: the topic of alarms gets a message about each. Milvus is asked with what the stack's secret
    has, or with the variable MILVUS_TOKEN.

    [dim]milvus-vault --stack milvus-vault acceptance --save acceptance.json[/]
    [dim]milvus-vault acceptance --read-only[/]
    """
    from milvus_vault.acceptance import trying

    session = session_of(context)
    if clean_up and read_only:
        msg = "--clean-up removes what it finds, and --read-only changes nothing"
        raise InvalidRequestError(msg, hint="Leave one of them out.")
    selected = _one_collection(collection)
    if save is not None:
        check_writable(save)
    account, vault = _account(session), session.vault()
    token = os.environ.get("MILVUS_TOKEN", "")
    if clean_up:
        left = trying.leftovers(vault, account)
        trying.connect_scratch(left, milvus_uri, token)
        _ask_what_is_removed(session.output, left.left(), is_sure=yes)
        _tell_clean_up(session, left.clean_up(), left)
        return
    trial = trying.begin(vault, account, may_write=not read_only, selected=selected)
    _ask(session, trial, is_sure=yes)
    report = trying.conduct(
        trial, milvus_uri=milvus_uri, token=token, on_result=lambda found: _tell(session.output, found)
    )
    _show(session.output, report)
    if save is not None:
        _save(session.output, report, trial, save)
    if not report.is_whole:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if not report.is_ok:
        raise typer.Exit(ExitCode.FAILED)


def _one_collection(given: str) -> str:
    named = selectors([given]) if given else None
    if named is None:
        return ""
    if len(named) > 1 or named[0].endswith(".*"):
        msg = f"--collection '{given}' is not one collection"
        raise InvalidRequestError(msg, hint="Name one: database.collection.")
    return named[0]


def _account(session: Session) -> "Account":
    from milvus_vault.acceptance.account import Account
    from milvus_vault.client import find_door

    door = find_door(
        url=session.url,
        stack=session.stack,
        deployment=session.deployment,
        region=session.region,
        profile=session.profile,
    )
    if not door.stack:
        msg = "an address tells of the API alone, and the acceptance looks at the stack"
        raise InvalidRequestError(msg, hint="Name it with --stack, or a deployment that was added with its stack.")
    return Account(door.caller.session, door.stack, door.aws_url)


def _ask(session: Session, trial: "Trial", *, is_sure: bool) -> None:
    """Say what it will make and cost, and go on if that is wanted."""
    from milvus_vault.acceptance import bill
    from milvus_vault.acceptance.scratch import INSTALL

    if not trial.may_write:
        session.output.tell("Nothing is made: only items that look at what is there are tried.")
        return
    cost = bill.EXPECTED
    session.output.tell(
        "About {runs} runs of a small collection, {transitions} state transitions: {price}, {minutes} minutes.",
        runs=bill.EXPECTED_RUNS,
        transitions=cost.transitions,
        price="nothing to pay on the local stack" if trial.is_local else f"{100 * cost.usd:.0f} cents",
        minutes=bill.LOCAL_MINUTES if trial.is_local else bill.MINUTES,
    )
    session.output.tell(
        "On purpose, {failed} of these runs fail and {stopped} {are} stopped: "
        "the topic of alarms gets a message about each.",
        failed=bill.FAILED_RUNS,
        stopped=(stopped := bill.LOCAL_STOPPED_RUNS if trial.is_local else bill.STOPPED_RUNS),
        are="is" if stopped == 1 else "are",
    )
    if not trial.selected and find_spec("pymilvus") is None:
        session.output.tell(
            "pymilvus is not installed here, which makes that collection: some fifty items are not tried. "
            "{install} in the clone brings it; --collection DB.NAME backs up one that is there.",
            install=INSTALL,
        )
    if not is_sure:
        ask(session.output, "Begin?", undone="nothing is made", otherwise="Nothing was made.")


def _ask_what_is_removed(output: Output, found: "Mapping[str, Sequence[str] | None]", *, is_sure: bool) -> None:
    """Say what cleaning up will remove, and go on if that is wanted. Where nothing is there, nobody is asked."""
    for title, names in found.items():
        if names is None:
            output.tell("{title}: they cannot be listed now, and those that are found later are removed", title=title)
            continue
        shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        output.tell("{count} {title}: {names}", count=len(names), title=title, names=shown)
    if not found or is_sure:
        return
    output.tell("An acceptance that goes on now, whoever began it, is stopped and loses what it made.")
    ask(output, "Remove all of this?", undone="nothing is removed", otherwise="Nothing was removed.")


def _tell(output: Output, found: "ItemResult") -> None:
    """Say of each item at once that it was tried: on AWS they take minutes. The table has what they found."""
    mark = {"passed": "[green]✓[/]", "failed": "[red]✗[/]"}.get(found.verdict, "[dim]-[/]")
    output.tell(mark + " {name} [dim]{seconds} s[/]", name=found.name.replace("_", " "), seconds=f"{found.seconds:.1f}")


def _show(output: Output, report: "AcceptanceReport") -> None:
    from milvus_vault.cli import tables

    if output.is_json:
        output.document(report)
        return
    output.show(tables.acceptance(output, report))
    style = "green" if report.is_ok else "red"
    text = f"[{style}]{{passed}} passed, {{failed}} failed[/], {{impossible}} not possible here"
    output.say(
        text + ("" if report.is_whole else "; it was interrupted"),
        passed=report.count("passed"),
        failed=report.count("failed"),
        impossible=report.count("not_possible"),
    )


def _save(output: Output, report: "AcceptanceReport", trial: "Trial", file: Path) -> None:
    from milvus_vault.acceptance import redaction

    safe = redaction.redacted_report(report, redaction.names_of(trial))
    with written_whole(file) as sink:
        sink.write(safe.model_dump_json(indent=2).encode() + b"\n")
    output.tell("{file} has the report without names, accounts and addresses. Read it before you send it.", file=file)


def _tell_clean_up(session: Session, problems: list[str], trial: "Trial") -> None:
    output = session.output
    said = [*problems, *([f"collections were not looked at: {trial.scratch_problem}"] if trial.scratch_problem else [])]
    if later := trial.later():
        output.tell("{later}.", later=later[0].upper() + later[1:])
    if output.is_json:
        output.document({"is_clean": not said, "problems": said})
    for problem in said:
        output.tell("[yellow]![/] {problem}", problem=problem)
    if said:
        raise typer.Exit(ExitCode.FAILED)
    if not output.is_json:
        output.say("[green]✓[/] Nothing {more}of an acceptance is left.", more="else " if later else "")
