"""Run the benchmarks one after the other, and write what they print into one document with the machine they ran on.

    make bench                         # those that need no server
    make bench ARGS=--servers          # also those with a Milvus and the local stack
    make bench ARGS="--servers --quick"
    make bench ARGS="--servers --before CHECKOUT"
    make bench ARGS="--only copies listing --output /dev/stdout"

Each is a process of its own. Beside each stand how long it took and the load before and after it: on a machine that
does something else read the ratios alone.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.figures import RESULTS, ROOT, machine

OUTPUT = ROOT / "docs" / "benchmarks.md"


class Bench(NamedTuple):
    """A benchmark as it is run."""

    title: str
    command: str
    quick: str
    """The arguments with which it is run by `--quick`."""
    needs_servers: bool = False
    results: str = ""
    """The file in bench/results to which it writes its rows, but by `--quick`."""
    before: str = ""
    """Where the build is, below the checkout, that it can measure beside this one."""

    @property
    def module(self) -> str:
        """Which module of bench it is."""
        return self.command.partition(" ")[0]

    def line(self, options: argparse.Namespace) -> list[str]:
        """Return module and arguments."""
        given = [self.module, *self.quick.split()] if options.quick else self.command.split()
        given += (
            ["--json", str((RESULTS / self.results).relative_to(ROOT))] if self.results and not options.quick else []
        )
        return [*given, *(["--before", str(options.before / self.before)] if self.before and options.before else [])]


BENCHES = (
    Bench("Copies", "copies --rounds 3 --peers", "--rounds 2 --peers --objects 3000"),
    Bench("Copies by HTTPS", "copies --rounds 2 --peers --https", "--rounds 1 --peers --https --objects 3000"),
    Bench("Listings, processor time", "listing cpu", "cpu --turns 5"),
    Bench("Listings in spans", "listing spans", "spans --turns 1 --keys 30000"),
    Bench("Small rounds", "at_once", ""),
    Bench(
        "Many collections",
        "many_collections --collections 1 10 100 150 1000",
        "--collections 10 150",
        results="many_collections.json",
    ),
    Bench("Many objects", "objects --objects 10000 100000 300000", "--objects 10000 50000", results="objects.json"),
    Bench(
        "Many collections, memory",
        "objects --objects 50 500 5000 50000 --collections 1 10 100 1000 --runs backup",
        "--objects 50 500 --collections 1 10 --runs backup",
        results="objects-of-collections.json",
    ),
    Bench("Plots", "plots", ""),
    Bench("Folding of deletes", "folding", "--sizes 10x10 100x200"),
    Bench("Deletions", "deleting", "--objects 30000"),
    Bench("Deep verification", "deep", "--megabytes 8 --turns 2 --large 0"),
    Bench("Cutting and reading deletes", "cutting", "--turns 2"),
    Bench("Datasets", "dataset --megabytes 512", "--megabytes 128"),
    Bench("Publishing", "publishing", "--collections 20"),
    Bench("An unchanged second backup", "incremental unchanged --objects 100000", "unchanged --objects 20000"),
    Bench("The sweep of the pool", "pool --objects 100000", "--objects 30000"),
    Bench("Starting a function", "starting", "--turns 3"),
    Bench("Starting the command line", "cli_start", "--turns 5"),
    Bench("Pages of the console", "console", "--turns 3"),
    Bench("What it costs", "cost --objects 200000 --tib 20", "--objects 50000 --tib 20"),
    Bench("Steps of the demo", "steps", "", needs_servers=True, before=".aws-sam/build"),
    Bench("Backup and restore by size", "sizes", "--megabytes 1 20", needs_servers=True),
    Bench("Restores into newer servers", "newer_restores", "", needs_servers=True),
    Bench("Cases of milvus-backup", "peer_cases --quick", "--quick", needs_servers=True),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them, and return 1 where one has failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", action="store_true", help="also those that start a Milvus or the local stack")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="those of these modules of bench")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the document (default: docs/benchmarks.md)")
    parser.add_argument("--quick", action="store_true", help="fewer turns and smaller sizes, and no plots of them")
    parser.add_argument(
        "--before", type=Path, metavar="CHECKOUT", help="of another build, made there, whose steps stand beside ours"
    )
    options = parser.parse_args(arguments)
    options.before = options.before and options.before.resolve()
    if options.before and not (options.before / ".aws-sam" / "build").is_dir():
        parser.error(f"{options.before} has no .aws-sam/build: make build there first")
    chosen = [
        one
        for one in BENCHES
        if (one.module in options.only if options.only else options.servers or not one.needs_servers)
    ]
    if not chosen:
        parser.error(f"no benchmark has any of these names: {' '.join(options.only)}")
    # Written line by line, so that what was measured stays where one fails or is interrupted.
    with options.output.open("w", buffering=1) as document:
        document.write("\n".join(_head(quick=options.quick)))
        failed = [one.title for one in chosen if not _run(one, one.line(options), document.write)]
    print(f"{len(chosen) - len(failed)} of {len(chosen)} ran; {options.output} has what they say", file=sys.stderr)
    for title in failed:
        print(f"failed: {title}", file=sys.stderr)
    return 1 if failed else 0


def _head(*, quick: bool) -> Iterator[str]:
    here = machine()
    yield "# Benchmarks"
    yield ""
    yield "Written by `make bench`; [performance.md](performance.md) says what the figures mean, and has more of them."
    yield ""
    yield f"* {here['date']}, commit {here['commit']}"
    yield f"* {here['cores']} cores, {here['processor']}, {here['memory_gib']} GiB"
    yield f"* {here['system']}, Python {here['python']}"
    if quick:
        yield "* with `--quick`: fewer turns and smaller sizes, of which single figures mean less"
    yield ""


def _run(one: Bench, line: Sequence[str], write: Callable[[str], object]) -> bool:
    """Run a benchmark and write what it says; return whether it ran to its end."""
    print(f"{one.title} ...", file=sys.stderr, flush=True)
    paths = ("layers/shared", "functions", ".")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore", "COLUMNS": "120"}
    load, began = os.getloadavg()[0], time.monotonic()
    command = [sys.executable, "-m", f"bench.{line[0]}", *line[1:]]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    text = done.stdout.strip() if done.returncode == 0 else (done.stdout + done.stderr)[-2000:].strip()
    ended = "" if done.returncode == 0 else f", **failed with {done.returncode}**"
    write(f"\n## {one.title}\n\n`bench.{' '.join(line)}`, {took:.0f} s, load {load:.1f} before and ")
    write(f"{os.getloadavg()[0]:.1f} after{ended}\n\n")
    # What is a table already is rendered as one.
    write(f"{text}\n" if "\n|---" in text else f"```\n{text}\n```\n")
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
