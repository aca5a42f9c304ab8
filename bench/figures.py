"""What a benchmark measured, as a file of JSON with the machine that it was measured on; bench.plots draws them."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"

type Row = dict[str, Any]


class Run(NamedTuple):
    """Rows that were measured in one run of a benchmark."""

    benchmark: str
    """The module's name."""
    machine: dict[str, Any]
    """As `machine` returns it."""
    rows: Sequence[Row]


def machine() -> dict[str, Any]:
    """Return date, commit, machine, versions and the load of the last 1, 5 and 15 minutes."""
    cpu = next((_value(line) for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory_kib = next((int(_value(line).split()[0]) for line in _lines("/proc/meminfo") if "MemTotal" in line), 0)
    commit = _said("git", "rev-parse", "--short", "HEAD") or "unknown"
    changed = ", with changes" if _said("git", "status", "--porcelain", "--untracked-files=no") else ""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "commit": f"{commit}{changed}",
        "cores": os.cpu_count(),
        "processor": cpu or platform.machine(),
        "memory_gib": round(memory_kib / 2**20),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def write_run(path: Path, benchmark: str, rows: Sequence[Row]) -> None:
    """Write a run's rows; the load is that at its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A row a line, so that a difference is one of rows.
    lines = ",\n".join(json.dumps(row) for row in rows)
    head = json.dumps({"benchmark": benchmark, "machine": machine()}, indent=1).removesuffix("\n}")
    path.write_text(f'{head},\n "rows": [\n{lines}\n]\n}}\n')


def read_runs(folder: Path, benchmark: str) -> Iterator[Run]:
    """Yield the runs of a benchmark that files in a folder have, the oldest first."""
    found = [Run(**json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]
    yield from sorted((run for run in found if run.benchmark == benchmark), key=lambda run: str(run.machine["date"]))


def _value(line: str) -> str:
    return line.partition(":")[2].strip()


def _lines(path: str) -> list[str]:
    found = Path(path)
    return found.read_text().splitlines() if found.exists() else []


def _said(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
