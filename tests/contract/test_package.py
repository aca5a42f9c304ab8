"""What users install is the client and the command line, with all that they need and nothing of the functions."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ARCHIVES = REPOSITORY / "layers/shared/milvus_vault/cli/archives.py"


def pip(programs: Path) -> list[str | Path]:
    """Return the command of pip, for an environment."""
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", programs / "python"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a copy of the repository into an environment of its own, as pipx does, and return its programs."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    (source / "layers").mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    shutil.copytree(
        REPOSITORY / "layers" / "shared", source / "layers" / "shared", ignore=shutil.ignore_patterns("__pycache__")
    )
    # By the pip of these tests: to install one of its own takes longer than all else.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    subprocess.run([*pip(folder / "venv" / "bin"), "install", "--quiet", source], check=True, cwd=folder)
    assert not list((source / "layers" / "shared").glob("*.egg-info"))
    return folder / "venv" / "bin"


def test_the_command_runs(installed: Path) -> None:
    done = subprocess.run([installed / "milvus-vault", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("milvus-vault ")


def test_the_client_and_every_command_can_be_imported(installed: Path, tmp_path: Path) -> None:
    lost = subprocess.run(
        [installed / "milvus-vault", "list"], env={"XDG_STATE_HOME": str(tmp_path)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert lost.returncode == 7
    # The one module that the extra `rows` is for; without it the command says what to install.
    modules = sorted({*(REPOSITORY / "layers/shared/milvus_vault/cli").rglob("*.py")} - {ARCHIVES})
    names = [".".join(path.relative_to(REPOSITORY / "layers/shared").with_suffix("").parts) for path in modules]
    imports = "; ".join(f"import {name.removesuffix('.__init__')}" for name in [*names, "milvus_vault.client"])
    subprocess.run([installed / "python", "-c", imports], check=True, cwd=tmp_path)


def test_without_the_extra_the_command_for_rows_says_what_it_needs(installed: Path) -> None:
    assert ARCHIVES.exists()
    refused = subprocess.run(
        [installed / "milvus-vault", "rows", "nightly", "shop.orders"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "pip install" in refused.stderr


def test_nothing_of_the_functions_is_needed(installed: Path) -> None:
    listed = subprocess.run(
        [*pip(installed), "list", "--format=freeze"], capture_output=True, text=True, check=True
    ).stdout.lower()
    assert "pymilvus" not in listed
    assert "aws-lambda-powertools" not in listed


def test_who_only_tries_has_the_versions_of_the_developers() -> None:
    pins = {
        name: set((REPOSITORY / "requirements" / f"{name}.txt").read_text().splitlines()) for name in ("dev", "local")
    }
    assert {pin for pin in pins["local"] - pins["dev"] if not pin.startswith("#")} == set()
