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

WRITE_REPORTS = {"PublishBackupFunction", "ReportRestoreFunction", "VerifyBackupFunction"}
READ_LOGS = {"WriteRowsFunction", "CutCollectionsFunction", "CheckObjectsFunction", "ProveDrillFunction"}
TALK_TO_MILVUS = {name for name, function in functions().items() if talks_to_milvus(function)}
# What only copies starts the most, and cold: up to 16 at a time.
COPY = {"CopyBatchFunction"}

IMPORTED_BY: dict[str, set[str]] = {
    # 130 ms of processor time (ADR 51).
    "aws_xray_sdk": set(),
    # 300 ms together (ADR 12).
    "pandas": set(),
    "numpy": set(),
    # It adds 50 ms to a cold start.
    "jinja2": WRITE_REPORTS,
    "pyarrow": READ_LOGS,
    "pymilvus": TALK_TO_MILVUS,
    "grpc": TALK_TO_MILVUS,
    # The requests of users and what becomes of them, with all that these need.
    "milvus_vault.model.resources": functions().keys() - COPY - {"WriteRowsFunction"},
}

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
    imported = set(done.stdout.split())
    assert imported & IMPORTED_BY.keys() == {module for module, those in IMPORTED_BY.items() if name in those}


def test_the_layers_are_all_there_is() -> None:
    done = run(IMPORT, BUILD / "CopyBatchFunction")
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'aws_lambda_powertools'" in done.stderr
