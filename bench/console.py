"""Measure the console's pages: seconds, processor time and requests to the API, with many backups and collections.

    PYTHONPATH=layers/shared:. python -m bench.console
    PYTHONPATH=layers/shared:. python -m bench.console --backups 5000 --collections 10000

The API is that of the tests, in a process of its own. The peer is the client alone: the same questions to the API, and
no page. So the ratio says what the page adds, and the number of requests what a network adds to that.
"""

import argparse
import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

import boto3

from milvus_vault.client import VaultClient
from milvus_vault.console.serving import ConsoleServer
from milvus_vault.model.resources import (
    BackedUpCollection,
    BackupDiff,
    CollectionDiff,
    ComparedBackup,
    ComparedCollection,
    Schedule,
)
from milvus_vault.model.retention import Retention
from tests.support.fake_api import FakeApi, backup, run

NEWEST, OLDER = "nightly_0", "nightly_1"


def fill(api: FakeApi, backups: int, collections: int) -> None:
    """Let the API have these backups of one schedule, of which the newest two have so many collections."""
    begun = datetime.now(UTC).replace(microsecond=0)
    for number in range(backups):
        name = f"nightly_{number}"
        api.backups[name] = backup(
            name, schedule="nightly", created_at=begun - timedelta(days=number), mode="incremental",
            copied_size_bytes=1_000_000, copied_object_count=9,
        )  # fmt: skip
    sides = []
    for number, name in enumerate((NEWEST, OLDER)):
        found = [
            BackedUpCollection(
                database="default", name=f"collection_{n}", row_count=1000 + number, segment_count=2, object_count=20,
                size_bytes=1_000_000 + n,
            )
            for n in range(collections)
        ]  # fmt: skip
        of = {"collections": tuple(found), "collection_count": collections}
        api.backups[name] = api.backups[name].model_copy(update=of)
        sides.append([ComparedCollection(**one.model_dump(), collection_id=n) for n, one in enumerate(found)])
    b, a = (
        ComparedBackup(**{name: getattr(api.backups[one], name) for name in ComparedBackup.model_fields})
        for one in (NEWEST, OLDER)
    )
    changes = [CollectionDiff(change="changed", a=before, b=after) for after, before in zip(*sides, strict=True)]
    api.diffs.append(
        BackupDiff(
            a=a, b=b, same_source=True, databases_added=(), databases_removed=(), collections=tuple(changes),
            differing_count=collections, unchanged_count=0, objects=None,
        )
    )  # fmt: skip
    api.schedules["nightly"] = Schedule(
        name="nightly", expression="cron(0 3 * * ? *)", retention=Retention(keep_daily=14, keep_monthly=12),
        next_run_at=begun + timedelta(hours=3),
    )  # fmt: skip
    api.runs |= {f"backup-{number}": [run(f"backup-{number}")] for number in range(min(backups, 1000))}


def serve(backups: int, collections: int, channel: Connection) -> None:
    """Be the API: tell the address, then on each word how many requests there were since, until the other end goes."""
    with FakeApi() as api:
        fill(api, backups, collections)
        channel.send(api.url)
        while channel.recv():
            channel.send(len(api.asked))
            api.asked.clear()


class Console:
    """The console, and the one browser that it lets in."""

    def __init__(self, vault: VaultClient) -> None:
        """Start it."""
        self._server = ConsoleServer(vault)
        ready, addresses = threading.Event(), list[str]()

        def tell(address: str) -> None:
            addresses.append(address)
            ready.set()

        self._thread = threading.Thread(target=self._server.serve, args=(0, tell))
        self._thread.start()
        ready.wait()
        parts = urlsplit(addresses[0])
        self._connection = HTTPConnection(parts.netloc)
        self._connection.request("GET", f"/?{parts.query}")
        entered = self._connection.getresponse()
        entered.read()
        self._cookie = (entered.headers["Set-Cookie"] or "").partition(";")[0]

    def get(self, path: str) -> int:
        """Return the bytes of a page. Raises `RuntimeError` for any other answer."""
        self._connection.request("GET", path, headers={"Cookie": self._cookie})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:  # noqa: PLR2004 - OK
            msg = f"{path} is answered with {answer.status}"
            raise RuntimeError(msg)
        return len(content)

    def stop(self) -> None:
        """End it."""
        self._connection.close()
        self._server.stop()
        self._thread.join()


@contextmanager
def served(backups: int, collections: int) -> Iterator[tuple[str, Connection]]:
    """Have the API run, and give its address and where it tells of requests."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(backups, collections, there))
    process.start()
    try:
        yield here.recv(), here
    finally:
        here.send(False)
        process.join()


def first_pages(vault: VaultClient) -> None:
    """Ask what the page of backups asks."""
    next(vault.backup_pages())


def of_schedule(vault: VaultClient) -> None:
    """Ask what a schedule's page asks."""
    vault.get_schedule("nightly")
    for page, _ in zip(vault.backup_pages(schedule="nightly"), range(2), strict=False):
        page.items  # noqa: B018 - it was parsed


def overview(vault: VaultClient) -> None:
    """Ask what the overview asks."""
    for status in ("running", "failed"):
        next(vault.run_pages(status=status))
    next(vault.backup_pages())
    list(vault.list_schedules())


def differences(vault: VaultClient) -> None:
    """Ask what the page of differences asks."""
    vault.diff_backups(OLDER, NEWEST, objects=False)
    next(vault.backup_pages())


PAGES = (
    ("/", "overview", overview),
    ("/backups", "backups", first_pages),
    (f"/backups/{NEWEST}", "a backup", lambda vault: (vault.get_backup(NEWEST), next(vault.backup_pages()))),
    (f"/diff?a={OLDER}&b={NEWEST}", "differences", differences),
    ("/runs", "runs", lambda vault: next(vault.run_pages())),
    ("/schedules", "schedules", lambda vault: list(vault.list_schedules())),
    ("/schedules/nightly", "a schedule", of_schedule),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backups", type=int, default=1000)
    parser.add_argument("--collections", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=7, help="the first of them does not count")
    given = parser.parse_args(arguments)
    session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="eu-west-1")  # noqa: S106 - none
    with served(given.backups, given.collections) as (url, channel):
        vault = VaultClient(url, session)
        console = Console(vault)
        print(f"{given.backups} backups, {given.collections} collections, load {os.getloadavg()[0]:.1f}")
        for path, title, peer in PAGES:
            turns = []
            for _ in range(given.turns):
                channel.send(True)
                channel.recv()
                cpu, begin = time.process_time(), time.perf_counter()
                size = console.get(path)
                page, page_cpu = time.perf_counter() - begin, time.process_time() - cpu
                channel.send(True)
                requests = channel.recv()
                begin = time.perf_counter()
                peer(vault)
                turns.append((page, page_cpu, time.perf_counter() - begin))
            pages, cpus, peers = (sorted(column) for column in zip(*turns[1:], strict=True))
            print(
                f"{title:12} {statistics.median(pages):6.3f} s ({pages[0]:.3f} at least), "
                f"{statistics.median(cpus):.3f} s of a processor, {requests} requests, {size / 1000:,.0f} kB, "
                f"{statistics.median(pages) / statistics.median(peers):.1f} times the client alone"
            )
        console.stop()


if __name__ == "__main__":
    main()
