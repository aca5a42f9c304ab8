"""`make demo`: fill a real Milvus, back it up, change it, back up what has changed, lose it, restore it, and compare.

All by the command line.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pymilvus import MilvusClient
from rich.console import Console
from rich.table import Table

from local.clients import REGION
from local.sample_data import Fingerprint, change, fill, fingerprint
from local.stack import QUIET, LocalStack
from milvus_vault.cli.main import run
from milvus_vault.client.local_state import LOCAL_ACCESS_KEY, LOCAL_SECRET_KEY
from milvus_vault.client.vault import VaultClient
from milvus_vault.inspection.estimate import GB
from milvus_vault.model import readable
from milvus_vault.model.prices import GB_MONTH_USD, GET_USD, REQUEST_USD
from milvus_vault.model.requests import BackupRequest
from milvus_vault.model.resources import Backup, IncrementalEstimate

FIRST, SECOND = "demo_1", "demo_2"
WIDEST_VALUE = 18
_COSTS = (
    "objects",
    "of them copied",
    "size",
    "of it copied",
    "copies + listings + reads",
    "they cost",
    "storage that it adds",
)
REPORT = Path(__file__).parent.parent / ".local-cache" / "demo-report.html"

console = Console(highlight=False)


class CommandFailedError(RuntimeError):
    """A command of the demo ended with an exit code other than 0."""


def main() -> int:
    """Run the demo; return 0 where everything came back, and 1 where not."""
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep everything running afterwards, until Ctrl-C")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _demo(keep=arguments.keep)
    except CommandFailedError as err:
        console.print(f"[red]✗[/] {err}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\n[yellow]Interrupted; everything is stopped and removed.[/]")
        return 130


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


def _demo(*, keep: bool) -> int:
    with _step("Start Milvus 2.3.5 and an emulated AWS, deploy the template"):
        stack = LocalStack(QUIET).__enter__()
    try:
        _talk_to(stack)
        with _step("Fill four collections in two databases"):
            names = fill(stack.milvus_uri)
        _type("check")
        costs = [_back_up(stack, FIRST)]
        with _step("Change some rows of one collection"):
            change(stack.milvus_uri)
        _type("estimate", "--incremental")
        costs.append(_back_up(stack, SECOND))
        _type("list")
        _print_costs(costs)
        with _step("Record what is in them"):
            before = {name: fingerprint(stack.milvus_uri, name) for name in names}
        with _step("Drop all collections from Milvus"):
            _drop(stack.milvus_uri, names)
        # 2.3 is older than the version matrix allows as a target; it is the newest that runs here.
        _type("restore", SECOND, "--allow-version", "--wait")
        _type("verify", SECOND, "--wait")
        REPORT.parent.mkdir(exist_ok=True)
        _type("report", SECOND, "--save", str(REPORT))
        with _step("Look again"):
            after = {name: fingerprint(stack.milvus_uri, name) for name in names}
        is_equal = _print_comparison(before, after)
        if keep:
            _print_what_next(stack)
            signal.pause()
        return 0 if is_equal else 1
    finally:
        stack.__exit__(None, None, None)


def _talk_to(stack: LocalStack) -> None:
    """Let the command line find this stack, whatever account the person at the keyboard uses."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        os.environ.pop(name, None)
    os.environ |= {
        "MILVUS_VAULT_URL": stack.api_url,
        "AWS_ACCESS_KEY_ID": LOCAL_ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": LOCAL_SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
    }


def _type(*arguments: str) -> None:
    """Show a command line and run it, as a person would."""
    line = " ".join(["milvus-vault", *arguments])
    console.print(f"\n[bold cyan]$ {line}[/]", soft_wrap=True)
    code = run(arguments)
    if code == 130:  # noqa: PLR2004 - Ctrl-C, as shells have it
        raise KeyboardInterrupt
    if code != 0:
        msg = f"'{line}' ended with exit code {code}"
        raise CommandFailedError(msg)


@contextmanager
def _step(text: str) -> Iterator[None]:
    started = time.monotonic()
    with console.status(text):
        yield
    console.print(f"[green]✓[/] {text} [dim]{time.monotonic() - started:.1f} s[/]")


def _back_up(stack: LocalStack, name: str) -> tuple[Backup, IncrementalEstimate]:
    """Make an incremental backup, and return it with what it was estimated to take."""
    vault = VaultClient(stack.api_url)
    estimate = vault.estimate(BackupRequest(mode="incremental")).incremental
    if estimate is None:
        msg = "the API estimates no incremental backup"
        raise CommandFailedError(msg)
    _type("create", "-n", name, "--incremental", "--wait")
    return vault.get_backup(name), estimate


def _print_costs(costs: list[tuple[Backup, IncrementalEstimate]]) -> None:
    table = Table(title="What the two backups took")
    table.add_column()
    for backup, _ in costs:
        table.add_column(backup.name, justify="right")
    for what, *values in zip(_COSTS, *(_cost(backup, estimate) for backup, estimate in costs), strict=True):
        table.add_row(what, *values)
    console.print(table)
    console.print("[dim]Of what was changed Milvus may compact a whole partition, which lies in new objects then.[/]")


def _cost(backup: Backup, estimate: IncrementalEstimate) -> tuple[str, ...]:
    """Return what a backup took, by what it has copied and by the listings and prices of its estimate."""
    # None of the demo's objects is so large that it takes more than one request.
    copies, copied_bytes = backup.copied_object_count or 0, backup.copied_size_bytes or 0
    usd = (copies + estimate.list_requests) * REQUEST_USD + estimate.get_requests * GET_USD
    return (
        readable.count(backup.object_count),
        readable.count(copies),
        readable.size(backup.size_bytes),
        readable.size(copied_bytes),
        " + ".join(map(readable.count, (copies, estimate.list_requests, estimate.get_requests))),
        f"${usd:.6f}",
        f"${copied_bytes / GB * GB_MONTH_USD:.6f} a month",
    )


def _drop(uri: str, names: list[str]) -> None:
    for full_name in names:
        database, _, name = full_name.partition(".")
        MilvusClient(uri=uri, db_name=database).drop_collection(name)


def _print_comparison(before: dict[str, Fingerprint], after: dict[str, Fingerprint]) -> bool:
    table = Table(title="Before they were dropped and after the restore")
    for heading in ("collection", "what", "before", "after", ""):
        table.add_column(heading)
    all_equal = True
    for collection, fingerprints in before.items():
        for number, (what, was, now, is_equal) in enumerate(fingerprints.differences(after[collection])):
            all_equal &= is_equal
            mark = "[green]equal[/]" if is_equal else "[red]DIFFERENT[/]"
            table.add_row(collection if number == 0 else "", what, _short(was), _short(now), mark)
        table.add_section()
    console.print(table)
    console.print("[green]Everything came back.[/]" if all_equal else "[red]Something did not come back.[/]")
    return all_equal


def _short(value: object) -> str:
    if isinstance(value, list):
        if value and isinstance(value[0], list):
            return f"{len(value)} x top {len(value[0])}"
        text = ", ".join(map(str, value)) or "none"
        return text if len(text) <= WIDEST_VALUE else f"{len(value)} entries"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _print_what_next(stack: LocalStack) -> None:
    console.print(
        f"""
[bold]Everything keeps running until Ctrl-C.[/] To try, in another terminal:

  export MILVUS_VAULT_URL={stack.api_url}
  export AWS_ENDPOINT_URL={stack.ministack.url} AWS_DEFAULT_REGION={REGION}
  export AWS_ACCESS_KEY_ID={LOCAL_ACCESS_KEY} AWS_SECRET_ACCESS_KEY={LOCAL_SECRET_KEY}

  a restore beside the original
    milvus-vault restore {SECOND} --suffix _copy --allow-version --wait

  what the backups consist of
    aws s3 ls --recursive s3://{stack.outputs["BackupBucketName"]}/{stack.outputs["BackupPrefix"]}/

  Milvus itself, for any client: {stack.milvus_uri}
""",
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(main())
