"""A plugin of pytest, `-p tests.reaching`, that writes down which tests reach each line of the package.

The data file, `.make/reached`, is one of coverage.py's, with the ID of a test as the context of what it ran: functions
that run in the tests' own process, in any thread. What the local stack's own processes run is not in it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).parents[1]
REACHED = ROOT / ".make" / "reached"
PACKAGE = Path("layers/shared/milvus_vault")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to watch: in each worker, where there are some."""
    if "PYTEST_XDIST_WORKER" in os.environ or not config.getoption("numprocesses", None):
        config.pluginmanager.register(_Watch())


class _Watch:
    def __init__(self) -> None:
        self._coverage = coverage.Coverage(
            data_file=str(REACHED), data_suffix=True, config_file=False, source=[str(ROOT / PACKAGE)], messages=False
        )
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._coverage.switch_context(item.nodeid)
        yield
        self._coverage.switch_context("")

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        self._coverage.save()


class Reached:
    """Which tests reach a line."""

    def __init__(self) -> None:
        """Read what was written; raises `coverage.CoverageException` where nothing was."""
        self._data = coverage.CoverageData(str(REACHED))
        self._data.read()
        self._files = {name.rpartition(f"{PACKAGE.name}/")[2]: name for name in self._data.measured_files()}

    def by(self, module: str, first: int, last: int) -> list[str]:
        """Return the tests that reach a line: `last`, or the nearest one before it down to `first`, or any at all."""
        tests = self._data.contexts_by_lineno(self._files[module]) if module in self._files else {}
        found = {line: [name for name in names if name] for line, names in tests.items()}
        for line in range(last, first - 1, -1):
            if found.get(line):
                return sorted(found[line])
        return sorted({name for names in found.values() for name in names})
