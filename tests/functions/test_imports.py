"""Each handler imports with nothing but its layers and its folder, as in Lambda, and with no environment."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.template.loading import BUILD, Data, functions, talks_to_milvus

# Without site-packages (-S), the environment and the current folder (-I), and without writing bytecode (-B).
PYTHON = (sys.executable, "-I", "-S", "-B", "-c")

IMPORT = "import sys; sys.path[:0] = sys.argv[1:]; import handler; assert callable(handler.handler)"
MODULES = IMPORT + "; print(*sorted(sys.modules))"

WRITE_REPORTS = {"PublishBackupFunction", "ReportRestoreFunction"}

FUNCTIONS = [pytest.param(name, function, id=name) for name, function in functions().items()]


def run(code: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a Python that finds modules in these folders only, and the standard library."""
    return subprocess.run(
        [*PYTHON, code, *map(str, folders)], env={}, cwd=BUILD, capture_output=True, text=True, check=False
    )


def layers(function: Data) -> list[Path]:
    """Return the folders that a function's layers put on the path."""
    return [BUILD / layer["Ref"] / "python" for layer in function["Layers"]]


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_a_handler_imports_with_its_layers_alone(name: str, function: Data) -> None:
    done = run(MODULES, BUILD / name, *layers(function))
    assert (done.returncode, done.stderr) == (0, "")
    assert ("pymilvus" in done.stdout.split()) == talks_to_milvus(function)
    # It adds 50 ms to a cold start.
    assert ("jinja2" in done.stdout.split()) == (name in WRITE_REPORTS)


def test_the_layers_are_all_there_is() -> None:
    done = run(IMPORT, BUILD / "CopyBatchFunction")
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'aws_lambda_powertools'" in done.stderr
