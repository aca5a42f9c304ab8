"""Draw what functions take by numbers of objects and of collections, from the files in bench/results.

    .venv/bin/python -m bench.plots     # or `make bench`, which measures some sizes anew before

Writes docs/images/by-*.svg, and prints them with a table of all their points as Markdown. Where two files have the
same size of the same function, the later one is drawn. Each file says where it comes from; benchmarks write one by
`--json`. The pictures have colours for light and for dark pages, which the reader's browser chooses.
"""

import argparse
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from bench.copy_peers import PYTHON
from bench.figures import RESULTS, ROOT, Run, read_runs

IMAGES = ROOT / "docs" / "images"
type Lines = Mapping[str, Mapping[int, float]]
"""By function: the value of each size."""

# Stand-ins, in place of which the picture's style sheet has colours for either kind of page. Each line has a marker of
# its own as well, for who does not tell the colours apart.
_INK, _PAPER, _GRID = "#010101", "#fefefe", "#c0c0c1"
_HUES = ("#4477aa", "#cc3311", "#228833", "#aa3377", "#0077bb", "#997700", "#009988", "#ee7733", "#555555")
_DARK = ("#77aadd", "#ee8866", "#bbcc33", "#ffaabb", "#99ddff", "#eedd88", "#44bb99", "#eebb77", "#dddddd")
_LARGE = 100
"""Values from here on are shown without decimals."""
_MARKERS = "osD^vPX*h"


class Plot(NamedTuple):
    """A picture."""

    name: str
    title: str
    size: str
    """What is along."""
    value: str
    """What is up."""
    lines: Lines
    is_linear: bool = False
    """Up is no logarithm."""


def main() -> None:
    """Draw all, and print what is drawn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    # matplotlib is where the other packages of benchmarks are.
    if Path(sys.executable) != PYTHON:
        if not PYTHON.exists():
            parser.error("what draws is not there: make .make/venv-bench")
        raise SystemExit(subprocess.run([PYTHON, "-m", "bench.plots"], check=False).returncode)
    objects, collections = (list(read_runs(RESULTS, name)) for name in ("objects", "many_collections"))
    for plot in drawn(objects, collections):
        (IMAGES / f"{plot.name}.svg").write_text(_draw(plot))
        print(f"![{_told(plot)}](images/{plot.name}.svg)\n\n{_table(plot)}\n")
    print("Measured by:\n")
    for run in (*objects, *collections):
        here = run.machine
        of = f"{here['date']}, commit {here['commit']}, Python {here['python']}"
        load = f"load {min(here['load'])} to {max(here['load'])}"
        on = f"{here['cores']} cores, {here['memory_gib']} GiB, {load}"
        print(f"* `bench.{run.benchmark}`, {of}; {on}")


def drawn(objects: Sequence[Run], collections: Sequence[Run]) -> Iterator[Plot]:
    """Yield what is drawn of these runs; what none of them measured is left out."""
    yield from (plot for plot in _plots(objects, collections) if plot.lines)


def _plots(objects: Sequence[Run], collections: Sequence[Run]) -> Iterator[Plot]:
    one = [row | {"size": row["objects"]} for row in _rows(objects) if row["collections"] == 1]
    many = [row | {"size": row["collections"]} for row in _rows(objects) if row["objects"] == 50 * row["collections"]]
    title, of, memory = "One collection of many objects", "objects", "peak memory, MB"
    yield Plot("by-objects-memory", title, of, memory, _lines(one, "peak_mb"), is_linear=True)
    yield Plot("by-objects-time", title, of, "processor time, s", _lines(one, "cpu_seconds"))
    title, of = "Many collections of 50 objects", "collections"
    yield Plot("by-collections-memory", title, of, memory, _lines(many, "peak_mb"), is_linear=True)
    waited = [
        row | {"size": row["collections"], "function": f"{row['run']}: {row['function']}"} for row in _rows(collections)
    ]
    title, up = "Many collections of 10 objects, 30 ms for each request", "longest call, s"
    yield Plot("by-collections-time", title, of, up, _lines(waited, "longest_seconds"))
    up = "processor time of all calls, s"
    yield Plot("by-collections-processor", title, of, up, _lines(waited, "cpu_seconds"))


def _rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    return [row for run in runs for row in run.rows if row["build"] == "this build"]


def _lines(rows: Sequence[Mapping[str, Any]], value: str) -> Lines:
    """Return the functions that take most where they are given most, nine at most, with the values of each."""
    found = defaultdict[str, dict[int, float]](dict)
    for row in rows:
        found[row["function"]][row["size"]] = row[value]
    largest = sorted(found, key=lambda name: (max(found[name]), found[name][max(found[name])]), reverse=True)
    return {name: dict(sorted(found[name].items())) for name in largest[: len(_HUES)]}


def _told(plot: Plot) -> str:
    """Return what the picture shows, for who does not see it; the table has all of it."""
    name, points = next(iter(plot.lines.items()))
    first, *_, last = points if len(points) > 1 else (*points, *points)
    grows = f"{name} takes most, {_shown(points[first])} at {first:,} and {_shown(points[last])} at {last:,}"
    return f"{plot.title}: {plot.value} of {len(plot.lines)} functions by number of {plot.size}; {grows}"


def _table(plot: Plot) -> str:
    sizes = sorted({size for points in plot.lines.values() for size in points})
    rows = [f"| {plot.value} | {' | '.join(f'{size:,}' for size in sizes)} |", f"|---|{'---|' * len(sizes)}"]
    for name, points in plot.lines.items():
        cells = (_shown(points[size]) if size in points else "" for size in sizes)
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _shown(value: float) -> str:
    return f"{value:,.{0 if value >= _LARGE else 1 if value >= 1 else 2}f}"


def _draw(plot: Plot) -> str:
    """Return a picture as SVG."""
    import matplotlib as mpl  # noqa: PLC0415 - it is in an environment of the benchmarks' own
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import FuncFormatter, NullFormatter  # noqa: PLC0415

    # Text stays text, and the same figures make the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": plot.name, "font.family": "sans-serif"})
    figure = Figure(figsize=(9, 5), facecolor=_PAPER, layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor(_PAPER)
    for number, (name, points) in enumerate(plot.lines.items()):
        shown = {"color": _HUES[number], "marker": _MARKERS[number], "markersize": 5}
        axes.plot(list(points), list(points.values()), label=name, **shown)
    axes.set_xscale("log")
    if plot.is_linear:
        axes.set_ylim(bottom=0)
    else:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title(plot.title, color=_INK, loc="left")
    axes.set_xlabel(plot.size, color=_INK)
    axes.set_ylabel(plot.value, color=_INK)
    axes.tick_params(colors=_INK, which="both")
    axes.grid(color=_GRID, linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_color(_GRID)
    figure.legend(loc="outside right upper", labelcolor=_INK, facecolor=_PAPER, edgecolor=_GRID, fontsize=9)
    file = StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return _with_both_colours(file.getvalue(), _told(plot))


def _with_both_colours(svg: str, told: str) -> str:
    """Return a picture in which the page's scheme chooses the colours."""
    names = {_INK: "ink", _PAPER: "paper", _GRID: "grid"} | {hue: f"line{n}" for n, hue in enumerate(_HUES)}
    light = {"ink": "#1f2328", "paper": "#ffffff", "grid": "#d1d9e0"} | {f"line{n}": c for n, c in enumerate(_HUES)}
    dark = {"ink": "#e6edf3", "paper": "#1b1e26", "grid": "#3d444d"} | {f"line{n}": c for n, c in enumerate(_DARK)}
    for colour, name in names.items():
        svg = svg.replace(colour, f"var(--{name})")
    first, second = (
        f":root{{{''.join(f'--{name}:{colour};' for name, colour in colours.items())}}}" for colours in (light, dark)
    )
    style = f"<style>{first}@media (prefers-color-scheme:dark){{{second}}}</style>"
    text = told.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"(<svg [^>]*>)", lambda found: f"{found[1]}<title>{text}</title>{style}", svg, count=1)


if __name__ == "__main__":
    main()
