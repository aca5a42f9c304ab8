"""Measure what functions take to start: bytes of code and layers, and processor time to import the handler.

    PYTHONPATH=layers/shared python -m bench.starting [--build FOLDER ...] [FUNCTION ...]

By default of this build, and of one function for each set of layers. Several builds take turns, so that what else the
machine does is in the figures of all of them, and so does a Python that imports boto3 alone, from the layer: what
every function that asks AWS something has to pay at least.
"""

import argparse
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

FUNCTIONS = ("CopyBatchFunction", "AdvanceRestoreFunction", "VerifyCopyFunction")

# As tests/functions/test_imports.py does it: nothing but the function and its layers.
PYTHON = (sys.executable, "-I", "-S", "-B", "-c")
IMPORT = "import sys; sys.path[:0] = sys.argv[1:]; import "


def folders(build: Path, function: str) -> list[Path]:
    """Return what Lambda would unpack for a function: its own code, and its layers."""
    template = yaml_parse((build / "template.yaml").read_text())
    own = template["Resources"][function]["Properties"].get("Layers", [])
    layers = [*template["Globals"]["Function"]["Layers"], *own]
    return [build / function, *(build / layer["Ref"] / "python" for layer in layers)]


def unpacked_bytes(found: list[Path]) -> int:
    """Return the size of all files."""
    return sum(path.stat().st_size for folder in found for path in folder.rglob("*") if path.is_file())


def import_seconds(module: str, found: list[Path]) -> float:
    """Return the processor time of a Python that imports a module from these folders and ends."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*PYTHON, IMPORT + module, *map(str, found)], env={}, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a line for each function and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("functions", nargs="*", default=FUNCTIONS)
    parser.add_argument("--build", action="append", type=Path, help="default: .aws-sam/build")
    parser.add_argument("--turns", type=int, default=9)
    arguments = parser.parse_args()
    for function in arguments.functions:
        builds = {build: folders(build, function) for build in arguments.build or [Path(".aws-sam/build")]}
        # The first turn has to read the files from the disk, and does not count.
        turns = [
            {
                build: (import_seconds("boto3", found), import_seconds("handler", found))
                for build, found in builds.items()
            }
            for _ in range(arguments.turns + 1)
        ][1:]
        for build, found in builds.items():
            alone, seconds = zip(*(turn[build] for turn in turns), strict=True)
            print(
                f"{build} {function}: {unpacked_bytes(found) / 1e6:.0f} MB unpacked, "
                f"{statistics.median(seconds):.3f} s to import ({min(seconds):.3f} to {max(seconds):.3f}), "
                f"{statistics.median(seconds) / statistics.median(alone):.2f} times boto3 alone "
                f"({min(seconds) / min(alone):.2f} at the least of each)"
            )


if __name__ == "__main__":
    main()
