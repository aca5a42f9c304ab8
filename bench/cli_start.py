"""Measure what a command of the command line takes to start: processor time from `milvus-vault` to its end.

    PYTHONPATH=layers/shared:. python -m bench.cli_start [--before FOLDER] [--turns 15]

`--help` is asked for, and `list` from an API in this process with twenty backups: with credentials of the environment,
and with those of a profile, which botocore has to look for. The builds take turns, so that what
else the machine does is in the figures of all of them, and so does a Python that does nothing. A
build is the folder that has the package, such as layers/shared of a worktree of the release before; its bytecode is
made first, as `pip install` does.
"""

import argparse
import compileall
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import override

COMMANDS = {"--help": ["--help"], "list": ["list"], "list by a profile": ["--profile", "bench", "list"]}
BACKUPS = 20
_BACKUP = {
    "status": "complete",
    "created_at": "2026-11-29T03:00:00Z",
    "finished_at": "2026-11-29T03:01:00Z",
    "size_bytes": 123_456_789,
    "object_count": 836,
    "collection_count": 12,
    "row_count": 304_000,
    "milvus_version": "v2.3.5",
}
_PROFILE = "[bench]\naws_access_key_id = none\naws_secret_access_key = none\n"
_RUN = "import sys; from milvus_vault.cli.main import main; sys.argv[0] = 'milvus-vault'; main()"


class _Lists(BaseHTTPRequestHandler):
    """Answers every GET with a page of backups."""

    def do_GET(self) -> None:
        items = [{"name": f"nightly_{number}", **_BACKUP} for number in range(BACKUPS)]
        body = json.dumps({"items": items, "next_cursor": None}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def served() -> Iterator[str]:
    """Run the API, and yield its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Lists) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def cpu_seconds(code: str, arguments: list[str], environment: dict[str, str]) -> float:
    """Return the processor time of a Python with this code. Raises CalledProcessError where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a line for each command and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="folder of the package of an earlier build")
    parser.add_argument("--turns", type=int, default=15)
    arguments = parser.parse_args()
    builds = {"now": Path("layers/shared"), **({"before": arguments.before} if arguments.before else {})}
    for folder in builds.values():
        compileall.compile_dir(folder, quiet=2)
    with served() as url, tempfile.TemporaryDirectory() as home:
        environment = {"HOME": home, "PATH": os.environ["PATH"], "MILVUS_VAULT_URL": url, "COLUMNS": "120"}
        environment |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_REGION": "us-east-1"}
        (Path(home) / ".aws").mkdir()
        (Path(home) / ".aws" / "credentials").write_text(_PROFILE)
        for command, words in COMMANDS.items():
            # The first turn has to read the files from the disk, and does not count.
            turns = [
                {
                    "python": cpu_seconds("", [], environment),
                    **{
                        name: cpu_seconds(_RUN, words, environment | {"PYTHONPATH": str(folder.absolute())})
                        for name, folder in builds.items()
                    },
                }
                for _ in range(arguments.turns + 1)
            ][1:]
            for name in turns[0]:
                seconds = [turn[name] for turn in turns]
                print(
                    f"{command} {name}: {statistics.median(seconds):.3f} s ({min(seconds):.3f} to {max(seconds):.3f})"
                )
            if arguments.before:
                ratio = statistics.median(turn["now"] / turn["before"] for turn in turns)
                print(f"{command}: {ratio:.2f} times what it took before")


if __name__ == "__main__":
    main()
