"""Which tests `make test` leaves to `make test-all`: a plugin of pytest.

`python -m tests.tiers` writes down that the tools are tested as they are.

Three things leave a test out, unless pytest is given `--all`:

* `thorough`: it takes a way through the product that another test takes as well, in another version or with another
  value. docs/performance.md has what was measured of that.
* its version of Milvus: a test that goes through several on the protocol server runs in `IN_GATE` of them, or in those
  that its marker `versions("2.2.16", "2.6.19")` names, where the product decides otherwise in others.
* `tools("name")`: it tests a tool of the tests, such as the server that speaks Milvus' protocols. It runs when that
  tool's files are not those that it was last tested with. tests/tools.json has their digests, which `make test-tools`
  and `make test-all` write once all these tests have passed.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support.milvus_server.versions import NEWER, OLDER, VERSIONS

ROOT = Path(__file__).parents[1]
TESTED = Path(__file__).with_name("tools.json")

# The last of those that import the older way, which the end-to-end tests have as well, and the newest.
IN_GATE = frozenset({OLDER[-1], NEWER[-1]})
_ON_SERVERS = ("tests/conformance/", "tests/restore/", "tests/threads/")

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
        "tests/conformance/golden_imports.py",
        "tests/conformance/import_questions.py",
        "tests/conformance/questions.py",
        "tests/conformance/test_access.py",
        "tests/conformance/test_concurrent_writes.py",
        "tests/conformance/test_faults.py",
        "tests/conformance/test_golden_archives.py",
        "tests/conformance/test_history.py",
        "tests/conformance/test_imports.py",
        "tests/conformance/test_names.py",
        "tests/conformance/test_protocol_server.py",
        "tests/conformance/test_real_milvus.py",
        "tests/conformance/test_rows.py",
        "tests/conformance/test_segments.py",
        "tests/support/milvus_server",
    ),
}

_MARKERS = (
    "thorough: takes a way that another test takes as well; `make test-all` runs it, or `--all`",
    "tools(name): tests a tool of the tests; runs when the tool has changed, or with `--all`",
    "versions(*numbers): in which of its versions `make test` runs the test",
)


# Requests that are made up for each route of the API: `make test-all` has more of them.
OF_ROUTES, _FEW, _MORE = "of routes", 1, 5


def add_option(parser: pytest.Parser) -> None:
    """Let `--all` be given."""
    parser.addoption("--all", action="store_true", help="run the tests that are left to `make test-all` as well")


def register(config: pytest.Config) -> None:
    """Describe the markers."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    hypothesis.settings.register_profile(OF_ROUTES, max_examples=_MORE if config.getoption("--all") else _FEW)


def parameters(values: Iterable[str], thorough: Collection[str]) -> list[Any]:
    """Return parameters of a test, of which those of `thorough` are left to `make test-all`."""
    return [pytest.param(value, marks=[pytest.mark.thorough] * (value in thorough)) for value in values]


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out of `items` what is left to `make test-all`."""
    if config.getoption("--all"):
        return
    versions: dict[str, set[str]] = defaultdict(set)
    for item in items:
        versions[_function(item)] |= _versions(item)
    left = {item for item in items if _is_left(item, versions[_function(item)])}
    if left:
        config.hook.pytest_deselected(items=[*left])
        items[:] = [item for item in items if item not in left]


def _is_left(item: pytest.Item, versions: set[str]) -> bool:
    """Return whether a test is left out, of a function that is there for some versions."""
    if item.get_closest_marker("thorough"):
        return True
    tool = item.get_closest_marker("tools")
    if tool is not None:
        return not has_changed(*tool.args)
    chosen = item.get_closest_marker("versions")
    wanted = versions & (set(chosen.args) if chosen else IN_GATE)
    return bool(wanted) and not _versions(item) <= wanted


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def _versions(item: pytest.Item) -> set[str]:
    """Return the versions of the protocol server among a test's parameters."""
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return set()
    is_on_server = item.nodeid.startswith(_ON_SERVERS)
    return {str(value) for value in item.callspec.params.values() if is_on_server and str(value) in VERSIONS}


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
