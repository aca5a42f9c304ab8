"""Writes down which features tests have shown, and in which versions: a plugin of pytest.

A test names features by a marker; its version is the one that the test is parametrized with, or one given:

    @pytest.mark.feature(Feature.LOAD_STATE)                          # of the parameter `version`
    @pytest.mark.feature(Feature.LOAD_STATE, parameter="target")      # of another parameter
    @pytest.mark.feature(Feature.PAUSE_TICKETS, since="2.6")          # where the parameter is that or newer
    @pytest.mark.feature(Feature.FLUSH, version="2.3")                # of a test that has no such parameter
    @pytest.mark.feature(Feature.RESTORE_RBAC, version=("2.2", "2.3"))  # or where the parameter is one of these

Tests on the local stack are of the real Milvus that it runs, and others that start it say `real=True`. What a
feature's row says is refused counts only where the test made that error. The features go to .make/features.json, by
test; a test that runs again replaces what it showed before.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from milvus_vault.errors import VaultError
from tests.compatibility.features import VERSIONS, Feature, versions_since

RECORD = Path(".make") / "features.json"
TESTED, REAL, REFUSED = "tested", "real", "refused"

_MARKER = (
    "feature(*features, version=(), since='', parameter='version', real=False): "
    "what the test shows of docs/compatibility.md"
)
_KEY = "features"
_STACK, _REAL_VERSION = "stack", "2.3"

type Shown = tuple[str, str, str]
"""The name of a feature, a minor version, and how it was shown."""


class Recorder:
    """Collects what tests show; with several processes each tells it to the first by its reports."""

    def __init__(self, record: Path, *, writes: bool) -> None:
        self._record = record
        self._writes = writes
        self._shown: dict[str, object] = {}

    @staticmethod
    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        """Complain of a marker that says no feature or no version, before any test runs."""
        for item in items:
            list(_named(item))

    @staticmethod
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
        """Note what a test has shown when it passes."""
        with _errors_made() as made:
            yield
        shown = [_shown(feature, version, made, is_real=is_real) for feature, version, is_real in _named(item)]
        item.user_properties.append((_KEY, shown))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test has shown."""
        properties = dict(report.user_properties)
        if report.failed:
            self._shown[report.nodeid] = []
        elif report.when == "call" and _KEY in properties:
            self._shown[report.nodeid] = properties[_KEY]

    def pytest_sessionfinish(self) -> None:
        """Write all of it down."""
        if self._writes:
            found = read_record(self._record) | self._shown
            self._record.parent.mkdir(exist_ok=True)
            self._record.write_text(json.dumps({test: shown for test, shown in found.items() if shown}, indent=1))


def register(config: pytest.Config) -> None:
    """Add the marker and the recorder."""
    config.addinivalue_line("markers", _MARKER)
    writes = not hasattr(config, "workerinput")
    config.pluginmanager.register(Recorder(config.rootpath / RECORD, writes=writes))


def read_record(path: Path) -> dict[str, list[Shown]]:
    """Return what each test has shown; nothing where no test has run yet."""
    found: dict[str, list[Shown]] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def _named(item: pytest.Item) -> Iterator[tuple[Feature, str, bool]]:
    """Yield the features of a test, each with its version, and whether the real server is asked."""
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    is_on_stack = isinstance(item, pytest.Function) and _STACK in item.fixturenames
    for marker in item.iter_markers("feature"):
        is_real = marker.kwargs.get("real", is_on_stack)
        try:
            for feature, version in named(marker, parameters, _REAL_VERSION if is_real else ""):
                yield feature, version, is_real and version == _REAL_VERSION
        except ValueError as err:
            msg = f"{item.nodeid}: {err}"
            raise pytest.UsageError(msg) from err


def named(marker: pytest.Mark, parameters: Mapping[str, object], fallback: str) -> list[tuple[Feature, str]]:
    """Return the features of a marker with their versions, `fallback` where neither marker nor parameters have one.

    Raises `ValueError` where it names no feature, or no version that there is.
    """
    given, since = marker.kwargs.get("version", ()), marker.kwargs.get("since", "")
    allowed = [_minor(version) for version in ([given] if isinstance(given, str) else given)]
    own = str(parameters.get(marker.kwargs.get("parameter", "version"), fallback))
    # A test that runs with one version shows nothing of those that came after it.
    versions = [_minor(own)] if own else allowed
    if not marker.args or not versions or not {*versions, *allowed, since or versions[0]} <= {*VERSIONS}:
        msg = f"marker 'feature' needs features and versions: {marker.args}, {versions or allowed}"
        raise ValueError(msg)
    if not all(isinstance(feature, Feature) for feature in marker.args):
        msg = f"marker 'feature' has what is none: {marker.args}"
        raise ValueError(msg)
    if since:
        allowed = list(versions_since(since))
    return [pair for pair in itertools.product(marker.args, versions) if not allowed or pair[1] in allowed]


def _minor(version: str) -> str:
    """Return the minor version of a release."""
    return ".".join(version.split(".")[:2])


def _shown(feature: Feature, version: str, made: set[str], *, is_real: bool) -> Shown:
    refusal = feature.value.refused.get(version)
    if refusal is not None and refusal.__name__ in made:
        return feature.name, version, REFUSED
    return feature.name, version, REAL if is_real else TESTED


@contextmanager
def _errors_made() -> Iterator[set[str]]:
    """Collect the names of our errors that are made meanwhile."""
    made: set[str] = set()
    make = VaultError.__init__

    def note(self: VaultError, message: str, *, hint: str = "") -> None:
        made.add(type(self).__name__)
        make(self, message, hint=hint)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VaultError, "__init__", note)
        yield made
