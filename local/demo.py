"""`make demo`: fill a real Milvus, back it up with the state machines, lose it, restore it, and compare."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pymilvus import MilvusClient
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from local.sample_data import Fingerprint, fill, fingerprint
from local.stack import LocalStack
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.model.names import backup_run
from milvus_vault.progress import RunProgress, backup_progress, restore_progress
from milvus_vault.workspace import Workspace

BACKUP_NAME = "demo"
TIMEOUT_SECONDS = 300.0
WIDEST_VALUE = 18

console = Console(highlight=False)


def main() -> int:
    """Run the demo; return 0 where everything came back, and 1 where not."""
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep everything running afterwards, until Ctrl-C")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _demo(keep=arguments.keep)
    except KeyboardInterrupt:
        console.print("\n[yellow]Interrupted; everything is stopped and removed.[/]")
        return 130


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


def _demo(*, keep: bool) -> int:
    with _step("Start Milvus 2.3.5 and an emulated AWS, deploy the template"):
        stack = LocalStack().__enter__()
    try:
        with _step("Fill four collections in two databases"):
            names = fill(stack.milvus_uri)
        with _step("Record what is in them"):
            before = {name: fingerprint(stack.milvus_uri, name) for name in names}

        backup = _run(stack, "Backup", "BackupStateMachineArn", {"backup_name": BACKUP_NAME}, backup_progress)
        _print_outcome("Backup", backup)
        if backup["status"] != "SUCCEEDED":
            return 1

        with _step("Drop all collections from Milvus"):
            _drop(stack.milvus_uri, names)

        # 2.3 is older than the version matrix allows as a target; it is the newest that runs here.
        request = {"backup_name": BACKUP_NAME, "allow_version": True}
        restore = _run(stack, "Restore", "RestoreStateMachineArn", request, restore_progress)
        _print_outcome("Restore", restore)
        if restore["status"] != "SUCCEEDED":
            return 1

        with _step("Look again"):
            after = {name: fingerprint(stack.milvus_uri, name) for name in names}
        is_equal = _print_comparison(before, after)
        if keep:
            _print_what_next(stack)
            signal.pause()
        return 0 if is_equal else 1
    finally:
        stack.__exit__(None, None, None)


@contextmanager
def _step(text: str) -> Iterator[None]:
    started = time.monotonic()
    with console.status(text):
        yield
    console.print(f"[green]✓[/] {text} [dim]{time.monotonic() - started:.1f} s[/]")


def _run(
    stack: LocalStack,
    title: str,
    machine: str,
    request: dict[str, Any],
    progress_of: Callable[[Workspace], RunProgress],
) -> dict[str, Any]:
    """Start a machine and follow it to its end, with bars for collections, objects and bytes."""
    execution = stack.start(machine, request)
    console.print(f"[bold]{title}[/] [dim]execution {execution.rpartition(':')[2]}[/]")
    with Progress(
        TextColumn("  {task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        console=console,
    ) as bars:
        collections = bars.add_task("collections", total=None, unit="")
        objects = bars.add_task("objects", total=None, unit="")
        size = bars.add_task("data", total=None, unit="KiB")
        run: Workspace | None = None

        def show(_: object = None) -> None:
            nonlocal run
            run = run or _find_run(stack, title)
            if run is None:
                return
            progress = progress_of(run)
            bars.update(collections, completed=progress.collections_done, total=progress.collections_total or None)
            bars.update(objects, completed=progress.copy.objects_done, total=progress.copy.objects_total or None)
            bars.update(
                size, completed=progress.copy.bytes_done // 1024, total=progress.copy.bytes_total // 1024 or None
            )

        described = stack.wait(execution, TIMEOUT_SECONDS, show)
        show()
    return dict(described)


def _find_run(stack: LocalStack, title: str) -> Workspace | None:
    """Return the working files of the run that was started last, once they are there."""
    store = local_store(stack)
    bucket, prefix = stack.outputs["BackupBucketName"], stack.outputs["BackupPrefix"]
    begins = backup_run(BACKUP_NAME) if title == "Backup" else f"restore-{BACKUP_NAME}-"
    names = [name for name in store.list_folders(bucket, f"{prefix}/.runs/") if name.startswith(begins)]
    return Workspace(store, bucket, prefix, names[-1]) if names else None


def local_store(stack: LocalStack) -> S3ObjectStore:
    """Return the store of the local stack's S3."""
    client = stack.client("s3")
    return S3ObjectStore(client, client, ThreadPoolExecutor(1))


def _drop(uri: str, names: list[str]) -> None:
    for full_name in names:
        database, _, name = full_name.partition(".")
        MilvusClient(uri=uri, db_name=database).drop_collection(name)


def _print_outcome(title: str, described: dict[str, Any]) -> None:
    seconds = (described["stopDate"] - described["startDate"]).total_seconds()
    if described["status"] != "SUCCEEDED":
        console.print(f"[red]✗ {title}: {described['status']}: {described.get('error')}[/]\n{described.get('cause')}")
        return
    output = json.loads(described["output"])
    shown = ", ".join(
        f"{key.removesuffix('_count')} {value:,}" for key, value in output.items() if key.endswith("_count")
    )
    console.print(f"[green]✓[/] {title}: {output['status']}, {shown} [dim]{seconds:.1f} s[/]")
    for warning in output["warnings"]:
        console.print(f"  [yellow]![/] {warning}")


def _print_comparison(before: dict[str, Fingerprint], after: dict[str, Fingerprint]) -> bool:
    table = Table(title="Before the backup and after the restore")
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

  export AWS_ENDPOINT_URL={stack.ministack.url} AWS_DEFAULT_REGION=us-east-1
  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test

  a restore beside the original, with the AWS CLI
    aws stepfunctions start-execution --state-machine-arn {stack.outputs["RestoreStateMachineArn"]} \\
      --input '{{"backup_name": "{BACKUP_NAME}", "suffix": "_copy", "allow_version": true}}'

  what the backup consists of
    aws s3 ls --recursive s3://{stack.outputs["BackupBucketName"]}/{stack.outputs["BackupPrefix"]}/{BACKUP_NAME}/

  Milvus itself, for any client: {stack.milvus_uri}
""",
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(main())
