"""Which tests `make test` leaves to `make test-all`: a plugin of pytest.

`python -m tests.tiers` writes down that the tools are tested as they are.

Two markers leave a test out, unless pytest is given `--all`:

* `thorough`: it takes a way through the product that another test takes as well, in another version or with another
  value. docs/performance.md has what was measured of that.
* `tools("name")`: it tests a tool of the tests, such as the server that speaks Milvus' protocols. It runs when that
  tool's files are not those that it was last tested with. tests/tools.json has their digests, which `make test-tools`
  and `make test-all` write once all these tests have passed.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTED = Path(__file__).with_name("tools.json")

# What each tool is made of, with its tests and the part of the product that they hold to the real thing.
TOOLS: Mapping[str, tuple[str, ...]] = {
    "emulator": ("local", "tests/contract/test_emulator_patches.py", "tests/contract/test_local_stack.py"),
    "milvus": (
        "layers/shared/milvus_vault/adapters",
        "local/milvus.py",
        "requirements/dev.txt",
        "tests/conformance/asking.py",
        "tests/conformance/comparing.py",
        "tests/conformance/conftest.py",
        "tests/conformance/facts",
        "tests/conformance/import_questions.py",
        "tests/conformance/questions.py",
        "tests/conformance/test_protocol_server.py",
        "tests/conformance/test_real_milvus.py",
        "tests/support/milvus_server",
    ),
}

_MARKERS = (
    "thorough: takes a way that another test takes as well; `make test-all` runs it, or `--all`",
    "tools(name): tests a tool of the tests; runs when the tool has changed, or with `--all`",
)


def add_option(parser: pytest.Parser) -> None:
    """Let `--all` be given."""
    parser.addoption("--all", action="store_true", help="run the tests that are left to `make test-all` as well")


def register(config: pytest.Config) -> None:
    """Describe the markers."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out of `items` what is left to `make test-all`."""
    if config.getoption("--all"):
        return
    left = [item for item in items if _is_left(item)]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not _is_left(item)]


def _is_left(item: pytest.Item) -> bool:
    if item.get_closest_marker("thorough"):
        return True
    tool = item.get_closest_marker("tools")
    return tool is not None and not has_changed(*tool.args)


@cache
def has_changed(tool: str) -> bool:
    """Return whether a tool is another than the one that was tested."""
    tested: Mapping[str, str] = json.loads(TESTED.read_text()) if TESTED.exists() else {}
    return tested.get(tool) != digest(*TOOLS[tool])


def digest(*paths: str) -> str:
    """Return the SHA-256, in hex, of the names and contents of all files at or below some paths of the repository."""
    found = hashlib.sha256()
    for path in sorted(file for name in paths for file in _files(ROOT / name)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{path.relative_to(ROOT)}\0{content}\n".encode())
    return found.hexdigest()


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts]


if __name__ == "__main__":
    TESTED.write_text(json.dumps({tool: digest(*paths) for tool, paths in TOOLS.items()}, indent=2) + "\n")
