"""Backups while clients write, each restored and judged operation by operation.

    python -m tests.moments --version 2.5.27 [--seeds 50] [--first 1]
    python -m tests.moments --version 2.3.5-real --whole 20

with PYTHONPATH=layers/shared:functions, and for the real one with what `make build` makes.

A seed draws what is written to, how, and what the server does meanwhile. 2.3.5-real is a real Milvus with the deployed
state machines; the other versions are protocol servers, and functions in this process. `--whole` backs up, instead of
what seeds draw, a loaded collection of 500 keys of one shard that one client upserts as a whole every 0.1 s.
"""

import argparse
import json
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from mypy_boto3_s3 import S3Client
from pymilvus import MilvusClient

from local.aws import Ministack
from local.stack import QUIET, LocalStack
from milvus_vault.errors import VaultError
from milvus_vault.model.names import backup_run
from milvus_vault.runtime import logger
from tests.conformance.asking import Milvus
from tests.support import vault_runs
from tests.support.judging import Fault, Restored, Violation, count_faults, dated, judge, state_at
from tests.support.milvus_server.core import Settings
from tests.support.milvus_server.server import MilvusServer
from tests.support.milvus_server.versions import VERSIONS
from tests.support.restoring import PREFIX, Restoring
from tests.support.writing import NUMBER, NUMBER_FIELD_ID, Profile, Target, Writer

REAL = "2.3.5-real"
WHOLE_KEYS = 500
_SUFFIX = "_then"
_SETTLE_SECONDS, _POLL_SECONDS = 2.0, 0.1
_MOST_SECONDS_BEFORE = 1.5
_MOST_SHOWN = 8
_IMPORT_JOB_SECONDS = 2.0
_COLUMNS: tuple[Fault, ...] = ("torn", "missing", "doubled", "too new", "foreign", "no moment", "clock")


@dataclass(frozen=True, slots=True)
class Plan:
    """A backup while clients write."""

    name: str
    """Of the backup; the names of its collections begin with it."""
    seed: int
    targets: tuple[Target, ...]
    profile: Profile
    rows: int
    """In each partition, before the clients begin."""
    clients: int = 1
    is_flushed: bool = True
    """Whether the rows before are flushed."""
    operations_before: int = 20
    """Until the backup is asked for."""
    speed: float = 20.0
    in_flight: float = 0.0
    """Seconds that a request to a protocol server is on its way, at the longest."""
    compacts_every: float = 0.0
    """Seconds of real time after which a protocol server compacts, again and again."""
    folds_after: float = 2.0
    """Seconds of real time after which a protocol server folds deletes of level 0."""


def draw(seed: int) -> Plan:
    """Return what a seed draws."""
    chance = random.Random(seed)  # noqa: S311 - the same each time
    in_flight = chance.choice((0.0, 0.05, 0.2, 0.6))
    name = f"seed_{seed}"
    profile: Profile = chance.choice(("mixed", "mixed", "whole"))
    is_loaded = chance.choice((True, False))
    targets = tuple(
        Target(
            f"{name}_{number}",
            shards=chance.randint(1, 3),
            partitions=("_default", "p")[: 1 if profile == "whole" else chance.randint(1, 2)],
            is_loaded=is_loaded,
        )
        for number in range(chance.choice((1, 1, 2, 3)))
    )
    return Plan(
        name,
        seed,
        targets,
        profile,
        rows=chance.randint(50, 200),
        clients=chance.choice((1, 2, 3) if in_flight else (1, 1, 2)),
        is_flushed=chance.choice((True, False)),
        operations_before=chance.randint(5, 40),
        speed=chance.choice((10.0, 20.0, 40.0)),
        in_flight=in_flight,
        compacts_every=chance.choice((0.0, 5.0, 10.0)),
        folds_after=chance.choice((0.5, 2.0, 30.0)),
    )


def whole(number: int, rows: int = WHOLE_KEYS, *, in_flight: float = 0.0) -> Plan:
    """Return the plan of a loaded collection of one shard that one client upserts as a whole."""
    name = f"whole_{number}"
    return Plan(name, number, (Target(name),), "whole", rows, in_flight=in_flight)


class Outcome(NamedTuple):
    """What became of a plan."""

    violations: list[Violation]
    error: str
    """Why there was no backup, or no restore."""
    moments: dict[str, int]
    """By collection, as far as the backup tells them."""
    warnings: list[str]
    """Of the backup."""
    rounds: int
    backup_seconds: float
    operations: int
    """On their way at some time while the backup was made."""
    keys: int
    """Restored keys that have the row that they should."""
    keys_expected: int

    @property
    def is_right(self) -> bool:
        """Whether each collection came back as it was at its moment."""
        return not self.violations and not self.error

    def __str__(self) -> str:
        """Say what became of it."""
        shared = len(set(self.moments.values()))
        told = f"moments: {shared} of {len(self.moments)} collections"
        said = [self.error] * bool(self.error) + [f"warning: {text}" for text in self.warnings]
        said += [str(violation) for violation in self.violations[:_MOST_SHOWN]]
        said += [f"and {len(self.violations) - _MOST_SHOWN} more"] * (len(self.violations) > _MOST_SHOWN)
        first = (
            f"{'right' if self.is_right else 'WRONG'}  {self.keys} of {self.keys_expected} keys, {told}, "
            f"{self.rounds} rounds, {self.backup_seconds:.1f} s, {self.operations} operations meanwhile"
        )
        return "\n    ".join([first, *said])


class NotDoneError(RuntimeError):
    """A backup or a restore failed."""


class Vault(Protocol):
    """A server, and a deployment that backs it up."""

    milvus: Milvus
    s3: S3Client

    @property
    def archives(self) -> tuple[str, str]:
        """Bucket and prefix of the backups."""

    def back_up(self, name: str, collections: Sequence[str]) -> None:
        """Make a backup of collections of the default database, or raise `NotDoneError`."""

    def restore(self, name: str) -> None:
        """Restore a backup under a suffix, or raise `NotDoneError`."""

    def rows(self, name: str) -> Restored:
        """Return what is in a collection, which is there."""


@dataclass
class InProcess:
    """A protocol server; the functions are called in this process."""

    restoring: Restoring

    def __post_init__(self) -> None:
        """Take what asks the server."""
        self.milvus, self.s3 = self.restoring.milvus, self.restoring.s3

    @property
    def archives(self) -> tuple[str, str]:
        """Bucket and prefix of the backups."""
        return self.restoring.backups, PREFIX

    def back_up(self, name: str, collections: Sequence[str]) -> None:
        """Make a backup."""
        with _told():
            self.restoring.back_up(name, collections=list(collections))

    def restore(self, name: str) -> None:
        """Restore it. Those before 2.4 are too old for the version matrix."""
        with _told():
            report = self.restoring.restore({"backup_name": name, "suffix": _SUFFIX, "allow_version": True})
            assert report["status"] == "complete", [item.get("message") for item in report["collections"]]

    def rows(self, name: str) -> Restored:
        """Return what is in a collection."""
        columns = self.restoring.server.live_rows("default", name)
        pairs = zip(columns.get(100, []), columns.get(NUMBER_FIELD_ID, []), strict=True)
        rows = tuple((key, number) for key, number in pairs if isinstance(key, int) and isinstance(number, int))
        return Restored(rows, len(columns.get(100, [])))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (VaultError, AssertionError) as err:  # the latter of a backup that is not complete
        raise NotDoneError(f"{type(err).__name__}: {err}") from err


@dataclass
class Deployed:
    """The real Milvus of a local stack, and the deployed state machines."""

    stack: LocalStack

    def __post_init__(self) -> None:
        """Take what asks the server."""
        milvus = self.stack.milvus
        self.s3 = self.stack.client("s3")
        self.milvus = Milvus(
            milvus.uri, milvus.management_uri, self.s3, milvus.bucket, milvus.root_path, _SETTLE_SECONDS, _POLL_SECONDS
        )

    @property
    def archives(self) -> tuple[str, str]:
        """Bucket and prefix of the backups."""
        return self.stack.outputs["BackupBucketName"], self.stack.outputs["BackupPrefix"]

    def back_up(self, name: str, collections: Sequence[str]) -> None:
        """Make a backup."""
        self._run("Backup", {"backup_name": name, "collections": list(collections)})

    def restore(self, name: str) -> None:
        """Restore it."""
        self._run("Restore", {"backup_name": name, "suffix": _SUFFIX, "allow_version": True})

    def _run(self, machine: vault_runs.Machine, request: Mapping[str, object]) -> None:
        ended = vault_runs.run(self.stack, machine, request)
        if ended.status != "SUCCEEDED":
            raise NotDoneError(f"{ended.error}: {ended.cause}")

    def rows(self, name: str) -> Restored:
        """Return what is in a collection, which is loaded for it."""
        client = MilvusClient(self.milvus.uri)
        client.load_collection(name, timeout=vault_runs.TIMEOUT_SECONDS)
        found = client.query(name, "id >= 0", output_fields=["id", NUMBER], consistency_level="Strong")
        counted = client.query(name, "", output_fields=["count(*)"], consistency_level="Strong")
        client.close()
        return Restored(tuple((int(row["id"]), int(row[NUMBER])) for row in found), int(counted[0]["count(*)"]))


def try_out(vault: Vault, plan: Plan) -> Outcome:
    """Do what a plan says, and judge what comes back. Its collections are gone afterwards."""
    names = [target.name for target in plan.targets]
    writer = Writer(vault.milvus, plan.targets, plan.profile, seed=plan.seed, clients=plan.clients)
    error, restored = "", dict[str, Restored]()
    writer.make()
    writer.fill(plan.rows)
    for name in names if plan.is_flushed else ():
        vault.milvus.flush(name)
    with writer:
        writer.wait_for(plan.operations_before, _MOST_SECONDS_BEFORE)
        started = time.monotonic()
        try:
            vault.back_up(plan.name, [f"default.{name}" for name in names])
        except NotDoneError as err:
            error = f"no backup: {err}"
        ended = time.monotonic()
    log = writer.log
    manifest, rounds = _manifest(vault, plan.name), _rounds(vault, plan.name)
    told = {item["name"]["name"]: int(item.get("moment", 0)) for item in manifest.get("collections", ())}
    moments = {name: moment for name, moment in told.items() if moment}
    if not error:
        try:
            vault.restore(plan.name)
            restored = {name: vault.rows(name + _SUFFIX) for name in names}
        except NotDoneError as err:
            error = f"no restore: {err}"
    for name in [*names, *(name + _SUFFIX for name in names)]:
        vault.milvus.call("DropCollection", collection_name=name)
    expected = {
        (name, key): number
        for name in names
        for key, number in state_at(
            (done for done in dated(log) if done.collection == name),
            moments.get(name, max(done.timestamp for done in log)),
        ).items()
    }
    there = {(name, key): number for name, rows in restored.items() for key, number in rows.rows}
    return Outcome(
        judge(log, restored, moments, started=started, ended=ended),
        error,
        moments,
        list(manifest.get("warnings", ())),
        rounds,
        ended - started,
        sum(done.acknowledged >= started and done.sent <= ended for done in log),
        sum((there.get(key) == number) if moments else (key in there) for key, number in expected.items()),
        len(expected),
    )


def _manifest(vault: Vault, name: str) -> dict[str, Any]:
    """Return a backup's manifest; nothing where there is no backup."""
    bucket, prefix = vault.archives
    key = f"{prefix}/{name}/meta/vault/manifest.json"
    if key not in _keys(vault, key):
        return {}
    manifest: dict[str, Any] = json.loads(vault.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    return manifest


def _rounds(vault: Vault, name: str) -> int:
    """Return how many rounds a backup took, by the working files of its copies."""
    _, prefix = vault.archives
    folder = f"{prefix}/.runs/{backup_run(name)}/copy/"
    found = (re.match(rf"{re.escape(folder)}[^/]+/r([0-9]+)/", key) for key in _keys(vault, folder))
    return max((int(number[1]) for number in found if number), default=0)


def _keys(vault: Vault, prefix: str) -> Iterator[str]:
    bucket, _ = vault.archives
    for page in vault.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from (item["Key"] for item in page.get("Contents", []))


def protocol_server(ministack: Ministack, running: ExitStack, version: str, plan: Plan, bucket: str) -> InProcess:
    """Start a server that does meanwhile what a plan says; it stops with what runs."""
    durations = replace(
        VERSIONS[version].durations,
        l0_compaction=plan.folds_after * plan.speed,
        import_job=_IMPORT_JOB_SECONDS,  # how long a restore takes is no matter here
    )
    settings = Settings(
        speed=plan.speed,
        durations=durations,
        in_flight=plan.in_flight,
        compacts_every=plan.compacts_every * plan.speed,
        seed=plan.seed,
    )
    server = MilvusServer(ministack.url, version=version, bucket=bucket, settings=settings)
    running.enter_context(server)
    quiet = {"POWERTOOLS_METRICS_DISABLED": "true", "BACKUP_BUCKET_NAME": f"{bucket}-backups"}
    return InProcess(Restoring(ministack.client("s3"), server, quiet))


def main() -> None:
    """Try plans out, and print a line each and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", choices=[REAL, *VERSIONS], required=True)
    parser.add_argument("--seeds", type=int, default=50, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--whole", type=int, default=0, help="so many backups of one collection instead")
    given = parser.parse_args()
    numbers = range(given.first, given.first + (given.whole or given.seeds))
    plans = [whole(number) if given.whole else draw(number) for number in numbers]
    run = _on_real if given.version == REAL else _on_protocol_server
    logger.setLevel("ERROR")
    outcomes, output = [], sys.stdout
    with redirect_stdout(sys.stderr):  # where metrics then go
        for plan, outcome in run(given.version, plans):
            print(f"{plan.name:>10}  {outcome}", file=output, flush=True)
            outcomes.append(outcome)
    print(table(given.version, outcomes))


def _on_real(_: str, plans: Iterable[Plan]) -> Iterator[tuple[Plan, Outcome]]:
    with LocalStack(QUIET) as stack:
        for plan in plans:
            yield plan, try_out(Deployed(stack), plan)


def _on_protocol_server(version: str, plans: Iterable[Plan]) -> Iterator[tuple[Plan, Outcome]]:
    with Ministack() as ministack:
        for plan in plans:
            with ExitStack() as running:
                bucket = plan.name.replace("_", "-")
                yield plan, try_out(protocol_server(ministack, running, version, plan, bucket), plan)


def table(version: str, outcomes: Sequence[Outcome]) -> str:
    """Return what became of all plans: how many have each fault."""
    faults = [count_faults(outcome.violations) for outcome in outcomes]
    seconds = [outcome.backup_seconds for outcome in outcomes]
    cells: dict[str, object] = {
        "version": version,
        "backups": len(outcomes),
        "right": sum(outcome.is_right for outcome in outcomes),
        **{name: sum(name in found for found in faults) for name in _COLUMNS},
        "warned": sum(bool(outcome.warnings) for outcome in outcomes),
        "failed": sum(bool(outcome.error) for outcome in outcomes),
        "rounds": _spread([outcome.rounds for outcome in outcomes], str),
        "seconds": _spread(seconds, "{:.1f}".format),
        "operations": sum(outcome.operations for outcome in outcomes),
    }
    widths = [max(len(name), len(str(value))) for name, value in cells.items()]
    return "\n".join(
        "  ".join(f"{cell!s:>{width}}" for cell, width in zip(line, widths, strict=True))
        for line in (cells, cells.values())
    )


def _spread[N: (int, float)](values: Sequence[N], form: Callable[[N], str]) -> str:
    return f"{form(min(values))}/{form(statistics.median_low(values))}/{form(max(values))}" if values else ""


if __name__ == "__main__":
    main()
