"""What is deployed for arm64, run by an arm64 Python under emulation: `make check-arm64`.

Elsewhere the tests run what is built for the processor that they run on. Only the compiled parts differ.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, override

import pytest

from local.aws import Ministack
from tests.restore.servers import BOOKS, PENS, PLAIN, Filled, fill
from tests.support import restoring as support
from tests.support.milvus_server.core import Settings
from tests.support.milvus_server.server import MilvusServer
from tests.support.restoring import Restoring
from tests.template.loading import ROOT, functions, leaves
from tests.template.test_layers import LAYERS, too_new
from tools.arm64 import command

FOLDER = ROOT / ".make" / "arm64"
PYTHON = command(FOLDER / "python")
BUILT = FOLDER / "build"
# S3 alone, with Milvus, with Jinja2, and with Milvus and pyarrow.
EMULATED = ("PlanCopy", "SnapshotBatch", "PublishBackup", "ProveDrill")

type Json = dict[str, Any]


def paths(function: str) -> list[str]:
    """Return the folders on a function's path: its own, and those of its layers."""
    layers = [layer["Ref"] for layer in functions()[f"{function}Function"]["Layers"]]
    return [str(BUILT / f"{function}Function"), *(str(BUILT / layer / "python") for layer in layers)]


def emulated(code: str, *folders: str) -> str:
    """Return what code prints that finds modules in these folders only, and in the standard library."""
    done = subprocess.run(
        [*PYTHON, "-I", "-S", "-B", "-c", code, *folders], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@dataclass
class Functions:
    """The functions, each in an emulated process of its own that lives as long as this."""

    running: ExitStack
    processes: dict[str, "subprocess.Popen[str]"] = field(default_factory=dict)

    def call(self, function: str, event: Json) -> Json:
        """Return what a function answers. Raises the error that it raised."""
        if function not in self.processes:
            self.processes[function] = self._start(function)
        process = self.processes[function]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(event) + "\n")
        process.stdin.flush()
        answer: Json = json.loads(process.stdout.readline())
        if "error" in answer:
            raise leaves()[answer["error"]](answer["message"], hint="")
        result: Json = answer["result"]
        return result

    def _start(self, function: str) -> "subprocess.Popen[str]":
        driver = str(Path(__file__).with_name("driver.py"))
        process = subprocess.Popen(
            [*PYTHON, "-S", "-P", "-B", driver, *paths(function)],
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.running.enter_context(process)
        self.running.callback(process.kill)
        return process


@dataclass
class Emulating(Restoring):
    """A deployment of which some functions run on arm64."""

    functions_there: Functions = field(kw_only=True)

    @override
    def _call(self, handler: Callable[..., Any], event: Json) -> Json:
        folder = handler.__module__.partition(".")[0]
        name = folder.title().replace("_", "")
        return self.functions_there.call(name, event) if name in EMULATED else super()._call(handler, event)


@pytest.fixture(scope="module")
def filled(ministack: Ministack) -> Iterator[Filled]:
    with ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        # An emulated function takes ten times as long to start.
        patch.setattr(support, "_PATIENCE_SECONDS", 500)
        server = MilvusServer(ministack.url, version="2.6.19", bucket="arm64", settings=Settings(speed=60))
        running.enter_context(server)
        restoring = Emulating(ministack.client("s3"), server, functions_there=Functions(running))
        fill(restoring)
        yield Filled(restoring, restoring.milvus, "on_arm64")


def test_it_is_the_python_of_lambda_on_arm64() -> None:
    assert emulated("import platform, sys; print(platform.machine(), *sys.version_info[:2])").split() == [
        "aarch64",
        "3",
        "13",
    ]


@pytest.mark.parametrize("layer", LAYERS)
def test_each_compiled_module_of_a_layer_is_of_arm64_and_loads(layer: str) -> None:
    folder = BUILT / layer / "python"
    modules = [path.relative_to(folder) for path in sorted(folder.rglob("*.*.so"))]
    names = [".".join([*path.parent.parts, path.name.partition(".")[0]]) for path in modules]
    assert names
    code = "import sys; sys.path[:0] = sys.argv[2:]; from importlib import import_module\n"
    code += "for name in sys.argv[1].split(): print(import_module(name).__file__)"
    others = [str(BUILT / other / "python") for other in LAYERS]
    assert emulated(code, " ".join(names), *others).split() == [str(folder / path) for path in modules]


@pytest.mark.parametrize("layer", LAYERS)
def test_what_is_compiled_needs_no_newer_system_than_lambdas(layer: str) -> None:
    assert too_new(BUILT / layer) == []


def test_a_backup_is_made_checked_and_proven_by_handlers_on_arm64(filled: Filled) -> None:
    filled.restoring.back_up(filled.backup)
    assert filled.restoring.manifest(filled.backup)["collections"]

    drilled = filled.restoring.drill({"backup_name": filled.backup, "seed": 7})

    assert (drilled["status"], drilled["error"], drilled["differences"]) == ("proven", "", [])
    assert drilled["compared_count"] == drilled["row_count"] == len(BOOKS) + len(PENS) + len(PLAIN)
