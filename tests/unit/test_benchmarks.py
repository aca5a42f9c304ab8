"""`make bench`: which commands it runs, the files that they leave, and the pictures that are made of these."""

import argparse
import importlib.util
import json
from pathlib import Path

import pytest

from bench import copy_peers
from bench.everything import BENCHES, Bench, main
from bench.figures import RESULTS, read_runs, write_run
from bench.plots import IMAGES, drawn

ROW = {"build": "this build", "objects": 100, "collections": 1, "function": "backup: plan_copy"}


def options(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**({"quick": False, "before": None} | given))


def bench(module: str) -> Bench:
    return next(one for one in BENCHES if one.module == module)


@pytest.mark.parametrize("one", BENCHES, ids=lambda one: one.title)
def test_each_is_a_module(one: Bench) -> None:
    assert importlib.util.find_spec(f"bench.{one.module}")


def test_a_quick_run_has_other_arguments_and_leaves_the_figures_as_they_are() -> None:
    assert bench("objects").line(options()) == [
        "objects", "--objects", "10000", "100000", "300000", "--json", "bench/results/objects.json"
    ]  # fmt: skip
    assert bench("objects").line(options(quick=True)) == ["objects", "--objects", "10000", "50000"]


def test_the_build_of_another_checkout_stands_beside_ours_where_steps_are_counted() -> None:
    before = options(before=Path("/other"))

    assert bench("steps").line(before) == ["steps", "--before", "/other/.aws-sam/build"]
    assert bench("cutting").line(before) == ["cutting"]


def test_a_checkout_that_was_not_built_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--before", str(tmp_path), "--output", str(tmp_path / "benchmarks.md")])

    assert "has no .aws-sam/build: make build there first" in capsys.readouterr().err
    assert not (tmp_path / "benchmarks.md").exists()


def test_figures_are_read_as_they_were_written_the_oldest_run_first(tmp_path: Path) -> None:
    write_run(tmp_path / "a.json", "objects", [ROW | {"cpu_seconds": 2.5, "peak_mb": 80.0}])
    write_run(tmp_path / "c.json", "steps", [])
    older = json.loads((tmp_path / "a.json").read_text())
    older["machine"]["date"], older["rows"] = "2020-01-01 10:00", [ROW | {"cpu_seconds": 9.5, "peak_mb": 80.0}]
    (tmp_path / "b.json").write_text(json.dumps(older))

    runs = list(read_runs(tmp_path, "objects"))

    assert [run.rows[0]["cpu_seconds"] for run in runs] == [9.5, 2.5]
    assert runs[1].machine["cores"] >= 1
    of_time = next(plot for plot in drawn(runs, []) if plot.name == "by-objects-time")
    assert of_time.lines == {"backup: plan_copy": {100: 2.5}}


def test_each_picture_of_the_documents_has_a_text_and_colours_for_both_kinds_of_page() -> None:
    plots = list(drawn(*(list(read_runs(RESULTS, name)) for name in ("objects", "many_collections"))))

    assert plots
    for plot in plots:
        picture = (IMAGES / f"{plot.name}.svg").read_text()
        assert f"<title>{plot.title}" in picture
        assert "prefers-color-scheme:dark" in picture
        assert all(name in picture for name in plot.lines)
        # What was to be replaced by a colour of the page.
        assert "#010101" not in picture
        assert "#fefefe" not in picture


def test_a_peer_that_is_not_there_has_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_peers, "VENV", tmp_path)
    monkeypatch.setattr(copy_peers, "PYTHON", tmp_path / "python")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert {copy_peers.version_of(name) for name in (*copy_peers.PACKAGES, *copy_peers.TOOLS)} == {""}


@pytest.mark.parametrize(
    ("name", "told", "version"),
    [
        ("s5cmd", "v2.3.0-991c9fb", "v2.3.0-991c9fb"),
        ("aws s3 cp", "aws-cli/1.46.2 Python/3.13.0 Linux/6.18.44 botocore/1.43.62", "1.46.2"),
        ("rclone copy", "rclone v1.60.1-DEV\n- os/version: debian 12.11 (64 bit)", "v1.60.1-DEV"),
    ],
)
def test_each_tool_tells_its_version_in_its_own_way(
    name: str, told: str, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / copy_peers.TOOLS[name].program
    program.write_text(f"#!/bin/sh\nprintf '%s' '{told}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(copy_peers, "VENV", tmp_path / "none")

    assert copy_peers.version_of(name) == version
