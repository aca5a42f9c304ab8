"""Run the benchmarks one after the other, and write what they print into one document with the machine they ran on.

    make bench                         # those that need no server
    make bench ARGS=--servers          # also those with a Milvus and the local stack
    make bench ARGS="--only copies listing --output /dev/stdout"

Each is a process of its own. Beside each stand how long it took and the load before and after it: on a machine that
does something else read the ratios alone.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "docs" / "benchmarks.md"


class Bench(NamedTuple):
    """A benchmark as it is run."""

    title: str
    command: str
    needs_servers: bool = False


BENCHES = (
    Bench("Copies", "copies --rounds 3"),
    Bench("Copies by HTTPS", "copies --rounds 2 --https"),
    Bench("Listings, processor time", "listing cpu"),
    Bench("Listings in spans", "listing spans"),
    Bench("Small rounds", "at_once"),
    Bench("Many collections", "many_collections --collections 150 1000"),
    Bench("Many objects", "objects --objects 100000 300000"),
    Bench("Folding of deletes", "folding"),
    Bench("Deletions", "deleting"),
    Bench("Deep verification", "deep"),
    Bench("Cutting and reading deletes", "cutting"),
    Bench("Datasets", "dataset --megabytes 512"),
    Bench("Publishing", "publishing"),
    Bench("An unchanged second backup", "incremental unchanged --objects 100000"),
    Bench("The sweep of the pool", "pool --objects 100000"),
    Bench("Starting a function", "starting"),
    Bench("Starting the command line", "cli_start"),
    Bench("Pages of the console", "console"),
    Bench("What it costs", "cost --objects 200000 --tib 20"),
    Bench("Steps of the demo", "steps", needs_servers=True),
    Bench("Restores into newer servers", "newer_restores", needs_servers=True),
    Bench("Cases of milvus-backup", "peer_cases --quick", needs_servers=True),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them, and return 1 where one has failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", action="store_true", help="also those that start a Milvus or the local stack")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="those of these modules of bench")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the document (default: docs/benchmarks.md)")
    options = parser.parse_args(arguments)
    chosen = [
        one
        for one in BENCHES
        if (one.command.partition(" ")[0] in options.only if options.only else options.servers or not one.needs_servers)
    ]
    if not chosen:
        parser.error(f"no benchmark has any of these names: {' '.join(options.only)}")
    # Written as it goes on, so that what was measured stays where one fails or is interrupted.
    with options.output.open("w") as document:
        document.write("\n".join(_head()))
        failed = [one.title for one in chosen if not _run(one, document.write)]
    print(f"{len(chosen) - len(failed)} of {len(chosen)} ran; {options.output} has what they say", file=sys.stderr)
    for title in failed:
        print(f"failed: {title}", file=sys.stderr)
    return 1 if failed else 0


def _head() -> Iterator[str]:
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    memory_kib = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    commit = _said("git", "rev-parse", "--short", "HEAD") or "unknown"
    changed = ", with changes" if _said("git", "status", "--porcelain", "--untracked-files=no") else ""
    yield "# Benchmarks"
    yield ""
    yield "Written by `make bench`; [performance.md](performance.md) says what the figures mean, and has more of them."
    yield ""
    yield f"* {time.strftime('%d %B %Y')}, commit {commit}{changed}"
    yield f"* {os.cpu_count()} cores, {cpu or platform.machine()}, {memory_kib / 2**20:.0f} GiB"
    yield f"* {platform.system()} {platform.release().partition('-')[0]}, Python {platform.python_version()}"
    yield ""


def _run(one: Bench, write: Callable[[str], object]) -> bool:
    """Run a benchmark and write what it says; return whether it ran to its end."""
    print(f"{one.title} ...", file=sys.stderr, flush=True)
    name, *arguments = one.command.split()
    paths = ("layers/shared", "functions", ".")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore", "COLUMNS": "120"}
    load, began = os.getloadavg()[0], time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{name}", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    took = time.monotonic() - began
    text = done.stdout.strip() if done.returncode == 0 else (done.stdout + done.stderr)[-2000:].strip()
    ended = "" if done.returncode == 0 else f", **failed with {done.returncode}**"
    write(f"\n## {one.title}\n\n`bench.{one.command}`, {took:.0f} s, load {load:.1f} before and ")
    write(f"{os.getloadavg()[0]:.1f} after{ended}\n\n")
    # What is a table already is rendered as one.
    write(f"{text}\n" if "\n|---" in text else f"```\n{text}\n```\n")
    return done.returncode == 0


def _lines(path: str) -> list[str]:
    found = Path(path)
    return found.read_text().splitlines() if found.exists() else []


def _said(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
