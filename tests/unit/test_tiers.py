"""What `make test` leaves out: tests that are marked so, and those of tools that are as they were."""

import json
from pathlib import Path
from textwrap import dedent

import pytest

from tests import tiers

pytest_plugins = ["pytester"]

# Each is imported anew by each run.
WITHOUT = [f"-pno:{name}" for name in ("anyio", "cacheprovider", "hypothesispytest", "schemathesis", "xdist")]
CONFTEST = """
    from tests import tiers

    def pytest_addoption(parser):
        tiers.add_option(parser)

    def pytest_configure(config):
        tiers.register(config)

    def pytest_collection_modifyitems(config, items):
        tiers.leave_out(config, items)
"""
TESTS = """
    import pytest

    def test_always():
        pass

    @pytest.mark.thorough
    def test_twice():
        pass

    @pytest.mark.parametrize("value", [1, pytest.param(2, marks=pytest.mark.thorough)])
    def test_values(value):
        pass

    @pytest.mark.tools("hammer")
    def test_hammer():
        pass
"""


SERVED = """
    import pytest

    @pytest.mark.parametrize("version", ["2.2.16", "2.3.5", "2.4.23", "2.5.27", "2.6.19"])
    def test_each(version):
        pass

    @pytest.mark.versions("2.2.16")
    @pytest.mark.parametrize("version", ["2.2.16", "2.3.5"])
    def test_oldest(version):
        pass

    @pytest.mark.parametrize("version", ["2.2.16", "2.5.27"])
    def test_others(version):
        pass

    @pytest.mark.parametrize("archive", ["new", pytest.param("old", marks=pytest.mark.versions("2.4.23"))])
    @pytest.mark.parametrize("version", ["2.4.23", "2.6.19"])
    def test_archives(version, archive):
        pass

    @pytest.fixture(params=["2.5.27", "2.6.19"])
    def server(request):
        return request.param

    def test_server(server):
        pass
"""


@pytest.fixture
def hammer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a tool's file; the tool was tested as it is."""
    tool = tmp_path / "tool" / "hammer.py"
    tool.parent.mkdir()
    tool.write_text("iron")
    monkeypatch.setattr(tiers, "ROOT", tmp_path)
    monkeypatch.setattr(tiers, "TOOLS", {"hammer": ("tool",)})
    monkeypatch.setattr(tiers, "TESTED", tmp_path / "tools.json")
    (tmp_path / "tools.json").write_text(json.dumps({"hammer": tiers.digest("tool")}))
    tiers.has_changed.cache_clear()
    return tool


def run(pytester: pytest.Pytester, *options: str) -> list[str]:
    """Return the names of the tests that run."""
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    passed, skipped, failed = pytester.inline_run(*WITHOUT, *options).listoutcomes()
    assert not skipped
    assert not failed
    return [report.nodeid.partition("::")[2] for report in passed]


def test_what_is_thorough_or_of_an_unchanged_tool_is_left_out(pytester: pytest.Pytester, hammer: Path) -> None:
    assert hammer.exists()
    assert run(pytester) == ["test_always", "test_values[1]"]


def test_all_tests_run_where_that_is_asked_for(pytester: pytest.Pytester, hammer: Path) -> None:
    assert hammer.exists()
    assert run(pytester, "--all") == ["test_always", "test_twice", "test_values[1]", "test_values[2]", "test_hammer"]


def test_the_tests_of_a_tool_that_changed_run(pytester: pytest.Pytester, hammer: Path) -> None:
    hammer.write_text("wood")
    assert run(pytester) == ["test_always", "test_values[1]", "test_hammer"]


def test_of_versions_of_a_server_those_run_that_the_product_decides_by(pytester: pytest.Pytester, hammer: Path) -> None:
    assert hammer.exists()
    folder = pytester.mkdir("tests") / "restore"
    folder.mkdir()
    (folder / "test_served.py").write_text(dedent(SERVED))
    found = run(pytester)
    assert [name for name in found if name.startswith(("test_each", "test_oldest", "test_others"))] == [
        *("test_each[2.3.5]", "test_each[2.6.19]"),
        "test_oldest[2.2.16]",
        *("test_others[2.2.16]", "test_others[2.5.27]"),
    ]
    assert {name for name in found if name.startswith(("test_archives", "test_server"))} == {
        *("test_archives[2.6.19-new]", "test_archives[2.4.23-old]", "test_server[2.6.19]"),
    }
    # With the three that are left out above.
    assert len(run(pytester, "--all")) == len(found) + 7 + 3


@pytest.mark.parametrize("change", ["other text", "another file", "another name", "no record"])
def test_a_tool_is_another_where_its_files_are(hammer: Path, change: str) -> None:
    assert not tiers.has_changed("hammer")
    tiers.has_changed.cache_clear()
    match change:
        case "other text":
            hammer.write_text("wood")
        case "another file":
            (hammer.parent / "handle.py").touch()
        case "another name":
            hammer.rename(hammer.with_name("mallet.py"))
        case _:
            tiers.TESTED.unlink()
    assert tiers.has_changed("hammer")


def test_compiled_files_are_not_part_of_a_tool(hammer: Path) -> None:
    before = tiers.digest("tool")
    (hammer.parent / "__pycache__").mkdir()
    (hammer.parent / "__pycache__" / "hammer.pyc").touch()
    assert tiers.digest("tool") == before


def test_each_tool_is_made_of_files_that_there_are() -> None:
    assert [name for paths in tiers.TOOLS.values() for name in paths if not (tiers.ROOT / name).exists()] == []
